//! The proof that nodes refuse what is not signed: an image that nobody signed must not run, and the
//! same one, signed, must. Nothing else makes a cluster's images "enforced".

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::cache::Cache;
use super::cache::signatures::{self, Pen};
use super::context::Context;
use super::images::made::Made;
use super::images::open_cache;
use super::wait::Seen;
use super::{images::node_store, surroundings};
use crate::spec::Arch;
use crate::world::engine::FileToPut;
use crate::world::kube::{Kube, PodState, Probe};
use crate::world::registry::Repository;
use crate::{Error, Kind, Result};

/// What pods call it, without its tag.
const NAME: &str = "localhost/pipe/canary";

/// Where its pods are: every cluster has it.
const NAMESPACE: &str = "kube-system";

/// Label of its pods; the value tells one proof from another.
const LABEL: &str = "pipe.dev/canary";

/// From the pods' creation until both answers are there on every node.
const ANSWERS: Duration = Duration::from_secs(90);

/// What the verifier says of an image without a signature. Any other reason why it does not run
/// proves nothing.
const REFUSED: &str = "it is not signed in the image cache";

/// Proves it on `hosts`, and leaves in each that it was.
pub(super) async fn prove(context: &Context, id: &str, hosts: &[String]) -> Result<()> {
    let cache = open_cache(context).await?;
    let kube = context.kube().await?;
    let nonce = format!("{:x}", Timestamp::now().as_microsecond());
    let repository = cache.registry.repository(NAME);
    let mut images = Vec::new();
    for tag in ["unsigned", "signed"] {
        images.push((tag, store(&cache, &repository, tag, &nonce).await?));
    }
    let proven = observe(context, kube, id, hosts, &nonce).await;
    let cleared = clear(context, kube, hosts, &nonce).await;
    for (tag, digest) in images {
        repository.remove_manifest(&digest).await?;
        let _gone_with_its_digest = repository.remove_manifest(&tag_of(tag, &nonce)).await;
    }
    proven?;
    cleared?;
    let verifier = context.verifier.as_ref().map(|it| it.fingerprint()).unwrap_or_default();
    for host in hosts {
        surroundings::proven(context, host, &verifier).await?;
    }
    Ok(())
}

fn tag_of(tag: &str, nonce: &str) -> String {
    format!("{tag}-{nonce}")
}

/// An image of one program that ends at once; gives its digest.
async fn store(cache: &Cache, repository: &Repository, tag: &str, nonce: &str) -> Result<String> {
    let arch = Arch::of_host()?;
    let files = vec![FileToPut::new("/canary", 0o755, program(arch))];
    let labels = json!({LABEL: format!("{tag}-{nonce}")});
    let made = Made::of(arch, files, &json!({"Entrypoint": ["/canary"], "Labels": labels}))?;
    made.put(repository, Some(&tag_of(tag, nonce))).await?;
    if tag == "signed" {
        let now = Timestamp::now().to_string();
        let pen = Pen { name: NAME, key: &cache.keys.signing, now: &now };
        signatures::sign(repository, &made.manifest.digest, pen).await?;
    }
    Ok(made.manifest.digest)
}

/// `exit(0)`, as an ELF program without anything around it (elf(5)): its header, one segment that
/// holds the whole file, and three instructions.
fn program(arch: Arch) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let (machine, code): (u16, &[u8]) = match arch {
        // mov eax, 60; xor edi, edi; syscall
        Arch::Amd64 => (62, &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]),
        // mov x0, #0; mov x8, #93; svc #0
        Arch::Arm64 => (183, &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]),
    };
    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2, machine] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    for word in [1u32, 5] {
        elf.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// Waits until every node has refused the one and run the other.
async fn observe(
    context: &Context,
    kube: &Kube,
    id: &str,
    hosts: &[String],
    nonce: &str,
) -> Result<()> {
    let what = "nodes did not show that they refuse what is not signed";
    let wait = context.wait(id, "canary-unproven", what, ANSWERS);
    let label = (LABEL, nonce);
    let selector = format!("{LABEL}={nonce}");
    let answers = wait.until(|| async {
        // Made in here: right after the start the namespace may lack its service account.
        for (index, node) in hosts.iter().enumerate() {
            for tag in ["unsigned", "signed"] {
                let (name, image) = (pod_name(tag, index, nonce), tag_of(tag, nonce));
                let image = format!("{NAME}:{image}");
                let probe = Probe { namespace: NAMESPACE, name: &name, node, image: &image, label };
                if let Err(error) = kube.probe(&probe).await {
                    return Seen::NotYet(error.to_string());
                }
            }
        }
        match kube.pods(NAMESPACE, &selector).await {
            Ok(pods) => judge(&pods, hosts.len()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    answers.await
}

fn pod_name(tag: &str, index: usize, nonce: &str) -> String {
    format!("pipe-canary-{tag}-{index}-{nonce}")
}

/// What pods of a proof on `nodes` nodes show.
fn judge(pods: &[PodState], nodes: usize) -> Seen<()> {
    let (mut refused, mut ran) = (0, 0);
    let mut waits = None;
    for pod in pods {
        let node = pod.node.as_deref().unwrap_or_default();
        let reason = pod.reason.as_deref().unwrap_or_default();
        let unsigned = pod.name.starts_with("pipe-canary-unsigned");
        match (unsigned, pod.phase.as_str()) {
            (true, "Running" | "Succeeded" | "Failed") => {
                let what = format!("node {node} runs images that nobody signed");
                return Seen::Never(
                    Error::new(Kind::Signature, "canary-ran", what)
                        .because("containerd does not ask pipe's image verifier there")
                        .hint("`podman exec NODE journalctl -u containerd` shows why")
                        .hint("a patch of containerd in the cluster's file may keep it from that"),
                );
            }
            (true, _) if reason.contains(REFUSED) => refused += 1,
            (false, "Succeeded") => ran += 1,
            _ => waits = Some(format!("pod {} on {node}: {} {reason}", pod.name, pod.phase)),
        }
    }
    match (refused, ran) {
        (refused, ran) if refused == nodes && ran == nodes => Seen::Ready(()),
        _ => Seen::NotYet(waits.unwrap_or_else(|| format!("{refused} refused, {ran} ran"))),
    }
}

/// The pods, and what nodes keep of the image.
async fn clear(context: &Context, kube: &Kube, hosts: &[String], nonce: &str) -> Result<()> {
    for (index, host) in hosts.iter().enumerate() {
        for tag in ["unsigned", "signed"] {
            kube.delete_pod(NAMESPACE, &pod_name(tag, index, nonce)).await?;
        }
        node_store::remove(&context.world.engine, host, NAME).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(tag: &str, phase: &str, reason: &str) -> PodState {
        PodState {
            namespace: NAMESPACE.to_owned(),
            name: pod_name(tag, 0, "1"),
            controller: None,
            uid: String::new(),
            phase: phase.to_owned(),
            ready: false,
            node: Some("one".to_owned()),
            node_address: None,
            reason: Some(reason.to_owned()),
            restarts: 0,
            started: None,
        }
    }

    #[test]
    fn only_our_own_refusal_proves_anything() {
        let signed = pod("signed", "Succeeded", "");
        let refused = format!("ErrImagePull: … for reason: {REFUSED}; `pipe images add …`");
        let seen = |unsigned: PodState| judge(&[unsigned, signed.clone()], 1);
        assert!(matches!(seen(pod("unsigned", "Pending", &refused)), Seen::Ready(())));
        let other = "ErrImagePull: not found";
        assert!(matches!(seen(pod("unsigned", "Pending", other)), Seen::NotYet(_)));
        assert!(matches!(seen(pod("unsigned", "Succeeded", "")), Seen::Never(_)));
        let early = [pod("unsigned", "Pending", &refused), pod("signed", "Running", "")];
        assert!(matches!(judge(&early, 1), Seen::NotYet(_)));
        let one_of_two = [pod("unsigned", "Pending", &refused), signed.clone()];
        assert!(matches!(judge(&one_of_two, 2), Seen::NotYet(_)));
    }

    #[test]
    fn the_words_are_the_verifiers() {
        let said = crate::verifier::Fault::Unsigned("x".to_owned()).to_string();
        assert!(said.contains(REFUSED), "{said}");
    }

    /// The kernel takes it.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_program_ends_with_success() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("canary");
        std::fs::write(&path, program(Arch::of_host().unwrap())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(std::process::Command::new(&path).status().unwrap().success());
    }
}
