//! Nodes that pull from the local cache alone, and refuse what is not signed there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use pipe::run::cache::copy::{Freight, copy};
use pipe::run::cache::meter::Meter;
use pipe::world::registry::{Manifest, Registry, Shape};
use serde_json::{Value, json};

use super::bad_days::failed;
use super::host::{podman, text};
use super::pipe::Home;
use super::{Case, block_on};

pub const CASES: [Case; 1] = [Case::new("nodes_run_only_what_is_signed", nodes)];

const CLUSTER: &str = "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: one\nprofile: sealed\n\
    nodes: [{name: core, controlPlane: true}, {name: edge}]\n";

const PROFILE: &str = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: sealed\n\
    components: [{name: nats, namespace: messaging}]\nimages: {policy: enforce, standIns: allow}\n";

const HOSTS: [&str; 2] = ["one-control-plane", "one-worker"];

fn nodes() {
    let home = Home::new(&["one"]);
    home.write_cluster("one", CLUSTER);
    home.write("profiles/sealed.yaml", PROFILE);
    home.ok("up one");
    proven(&home);
    locked(&home);
    let nothing = || assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
    nothing();
    everything_is_from_the_cache(&home);
    own_images_are_signed(&home);
    others_are_refused(&home);
    everything_is_read_again(&home);
    a_lost_cache_is_filled_anew(&home);
    nothing();
    keys_change(&home);
    nothing();
    home.ok("teardown one");
    let left = podman(["volume", "ls", "--format", "{{.Name}}"]);
    assert!(left.contains("pipe-registry"), "what is cached outlives clusters: {left}");
}

/// `status` says so, and only because nodes have shown it.
fn proven(home: &Home) {
    let status = home.json("status one");
    let cache = &status["cache"];
    assert_eq!(cache["unsigned"], "refused", "{cache}");
    assert_eq!((&cache["proven"], &cache["state"]), (&json!(2), &json!("running")), "{cache}");
    assert_eq!(cache["signed"], cache["images"], "{cache}");
    assert_eq!((&cache["images"], &cache["names"]), (&json!(1), &json!(true)), "{cache}");
}

/// What the first run took is written down, with the manifest under which nodes get it, and is what
/// profile and engine say.
fn locked(home: &Home) {
    let text = std::fs::read_to_string(home.path("project/pipe.lock")).expect("a lock");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines.contains(&"docker.io/library/nats:2.15.2:"), "{text}");
    assert!(lines.contains(&"anchoredBy: config") && lines.contains(&"class: built"), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("digest: sha256:")), "{text}");
    home.ok("images lock --check --profile sealed");
}

/// What containerd pulled says itself from where; what was imported says nothing.
fn everything_is_from_the_cache(_home: &Home) {
    for host in HOSTS {
        let images = ctr(host, "images list -q");
        let name = images.lines().find(|name| name.contains("library/nats:")).expect("nats");
        let listed = ctr(host, &format!("images list name=={name}"));
        let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:"));
        let digest = digest.expect("its digest");
        let content = ctr(host, "content list");
        let line = content.lines().find(|line| line.starts_with(digest)).expect("its manifest");
        assert!(line.contains("distribution.source.docker.io=library/nats"), "{line}");
        assert!(!images.contains("pipe/canary"), "{images}");
    }
}

/// An image of the user's own goes through the cache, signed, and runs.
fn own_images_are_signed(home: &Home) {
    build(home, "pipe-e2e-own:1");
    home.ok("images load pipe-e2e-own:1 -c one");
    run(home, "own", "localhost/pipe-e2e-own:1", "Succeeded", "");
    // As if it had been pulled from a registry: nothing says who made it.
    let others = "docker.io/acme/pipe-e2e-other:1";
    podman(["tag", "localhost/pipe-e2e-own:1", others]);
    let error = home.fails(&format!("images add {others} -c one"), 7);
    assert!(error.contains("[evidence-refused]") && error.contains("profiles/trust/"), "{error}");
    podman(["rmi", others]);
    podman(["rmi", "localhost/pipe-e2e-own:1"]);
}

/// By a node, with the reason in the pod's event.
fn others_are_refused(home: &Home) {
    // Written into the cache past us, as whoever reaches it may.
    block_on(async {
        let registry = registry(home);
        let own = registry.repository("localhost/pipe-e2e-own");
        let signed = own.manifest("1").await.unwrap().unwrap();
        let mut other: Value = serde_json::from_slice(&signed.bytes).unwrap();
        other["annotations"] = json!({"by": "somebody else"});
        let other = Manifest::new(signed.media_type.clone(), other.to_string().into_bytes());
        own.put_manifest(&other, Some("2")).await.unwrap();
        // Signed, and forbidden all the same.
        let vault = registry.repository("docker.io/hashicorp/vault");
        let freight = Freight { digest: &signed.digest, tag: Some("1.20"), arches: &[] };
        copy(&own, &vault, freight, &Meter::default()).await.unwrap();
    });
    run(
        home,
        "foreign",
        "localhost/pipe-e2e-own:2",
        "Pending",
        "it is not signed in the image cache",
    );
    // By a node whatever asks it, and before that by the API server, in init containers too.
    let pull = "ctr --namespace=k8s.io images pull --hosts-dir /etc/containerd/certs.d \
        docker.io/hashicorp/vault:1.20 2>&1 || true";
    let said = podman(["exec", HOSTS[1], "sh", "-c", pull]);
    assert!(said.contains("OpenBao"), "{said}");
    refused_by_name(home, "docker.io/hashicorp/vault:1.20", "take OpenBao");
    refused_by_name(home, "r.example/mirror/Hashicorp/vault@sha256:00", "take OpenBao");
    refused_by_name(home, "registry.example/app:1", "nodes pull from the local cache alone");
    run(home, "unknown", "docker.io/library/unknown:1", "Pending", "not found");
    let error = home.fails("images add docker.io/hashicorp/vault:1.20 -c one", 7);
    assert!(error.contains("OpenBao"), "{error}");
}

/// The API server makes no pod that has such an image anywhere.
fn refused_by_name(home: &Home, image: &str, why: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "named"},
        "spec": {
            "initContainers": [{"name": "init", "image": image}],
            "containers": [{"name": "main", "image": "nats:2.15.2"}],
        },
    });
    home.write("named.json", &pod.to_string());
    let output = home.run("kubectl -c one -- apply --dry-run=server -f named.json");
    let said = text(&output);
    assert!(!output.status.success() && said.contains(why), "{said}");
}

/// `images verify` names each image that is not as it should be, and no other.
fn everything_is_read_again(home: &Home) {
    let faults = || -> Vec<String> {
        let error = failed(&mut home.command("images verify"), 7);
        assert_eq!(error["error"]["code"], "cache-faulty", "{error}");
        let causes = error["error"]["causes"].as_array().expect("causes");
        causes.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let about = |faults: &[String], name: &str| {
        faults.iter().filter(|fault| fault.starts_with(name)).cloned().collect::<Vec<_>>().join(" ")
    };
    let before = faults();
    assert!(about(&before, "localhost/pipe-e2e-own:2: ").contains("signature"), "{before:#?}");
    assert!(
        about(&before, "docker.io/hashicorp/vault:1.20: ").contains("HashiCorp Vault"),
        "{before:#?}"
    );
    for good in ["localhost/pipe-e2e-own:1: ", "docker.io/library/nats:2.15.2: "] {
        assert_eq!(about(&before, good), "", "{before:#?}");
    }
    // One byte of one layer, on the disk below the registry.
    let volume = podman(["volume", "inspect", "pipe-registry", "--format", "{{.Mountpoint}}"]);
    let layer = block_on(async {
        let own = registry(home).repository("localhost/pipe-e2e-own");
        let manifest = own.manifest("1").await.unwrap().unwrap();
        let Ok(Shape::Image(image)) = manifest.shape() else { panic!("{manifest:?}") };
        image.layers()[0].digest().digest().to_owned()
    });
    let blob = format!("distribution/docker/registry/v2/blobs/sha256/{}/{layer}/data", &layer[..2]);
    let blob = Path::new(volume.trim()).join(blob);
    let mut content = std::fs::read(&blob).expect("the layer");
    *content.last_mut().expect("a byte") ^= 1;
    std::fs::write(&blob, content).expect("a change");
    let after = faults();
    let said = about(&after, "localhost/pipe-e2e-own:1: ");
    assert!(said.contains(&layer), "{after:#?}");
}

/// Container and volume are gone under a cluster that runs; what a node pulls then is refused, and the
/// next `up` brings everything back.
fn a_lost_cache_is_filled_anew(home: &Home) {
    podman(["rm", "-f", "pipe-registry"]);
    podman(["volume", "rm", "pipe-registry"]);
    assert_eq!(home.json("status one")["cache"]["state"], "missing");
    let error = home.fails("images add docker.io/library/nats:2.15.2 -c one", 1);
    assert!(error.contains("cache-stopped") && error.contains("pipe up one"), "{error}");
    // Killed in the middle of filling: what is served is whole, and the next one goes on.
    let fills = "cache/nats-2.15.2";
    let before = home.begun("one", fills);
    let mut child = home.spawn("up one");
    home.await_step_after("one", fills, before, &mut child);
    child.kill().expect("it can be killed");
    child.wait().expect("it ended");
    home.ok("images verify");
    home.ok("up one");
    proven(home);
    home.ok("images verify");
}

/// A key that others may read signs nothing; one that is trusted no more is followed by the next, on
/// images and on nodes.
fn keys_change(home: &Home) {
    let key = home.path("state/pipe/shared/trust/signing-key.pem");
    let mode = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    mode(0o644);
    let error = home.fails("up one", 1);
    assert!(error.contains("trust-key-exposed") && error.contains("chmod 600"), "{error}");
    mode(0o600);

    let old = home.json("trust list")["keys"][0]["id"].as_str().expect("a key").to_owned();
    home.ok("trust rotate");
    home.ok("up one");
    home.ok(&format!("trust remove {old}"));
    let plan = home.json("plan one");
    let steps = plan["steps"].as_array().expect("steps");
    let ids: Vec<&str> = steps.iter().filter_map(|step| step["id"].as_str()).collect();
    let wanted = ["surroundings/core", "surroundings/edge", "cache/nats-2.15.2", "canary"];
    assert_eq!(ids, wanted);
    home.ok("up one");
    proven(home);
    assert_eq!(home.json("trust list")["keys"].as_array().map(Vec::len), Some(1));
}

fn registry(home: &Home) -> Registry {
    let address = home.json("status one")["cache"]["address"].as_str().expect("it").to_owned();
    Registry::own(&address, None).unwrap()
}

/// A pod of `image`, until it is in `phase` with `reason`.
fn run(home: &Home, name: &str, image: &str, phase: &str, reason: &str) {
    home.ok(&format!("kubectl -c one -- run {name} --image={image} --restart=Never"));
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let pod = home.ok(&format!("kubectl -c one -- get pod {name} -o json"));
        let pod: Value = serde_json::from_str(&pod).expect("a pod");
        let seen = pod["status"].to_string();
        if pod["status"]["phase"] == phase && seen.contains(reason) {
            break;
        }
        assert!(Instant::now() < deadline, "{name}: {seen}");
        std::thread::sleep(Duration::from_millis(200));
    }
    home.ok(&format!("kubectl -c one -- delete pod {name} --now"));
}

/// An image of one program that ends at once.
fn build(home: &Home, name: &str) {
    let folder = home.path("own");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("app.rs"), "fn main() {}").expect("a source");
    std::fs::write(
        folder.join("Containerfile"),
        "FROM scratch\nCOPY app /app\nENTRYPOINT [\"/app\"]\n",
    )
    .expect("a recipe");
    let folder: &Path = &folder;
    let compiled = std::process::Command::new("rustc")
        .args(["-C", "target-feature=+crt-static", "-o", "app", "app.rs"])
        .current_dir(folder)
        .status();
    assert!(compiled.expect("rustc").success());
    podman(["build", "-q", "--layers=false", "-t", name, &folder.display().to_string()]);
}

fn ctr(host: &str, arguments: &str) -> String {
    podman(["exec", host, "sh", "-c", &format!("ctr --namespace=k8s.io {arguments} 2>/dev/null")])
}
