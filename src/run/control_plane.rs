//! What a further control plane needs of those that are there: their certificate authorities, and a
//! place among etcd's members.

use serde::Deserialize;

use super::context::Context;
use super::wait::Seen;
use crate::plan::Observed;
use crate::world::engine::{Exec, FileToPut as File};
use crate::{Error, Result};

/// What control planes share, as kind copies it; everything else kubeadm makes from it.
const SHARED: &[&str] = &[
    "/etc/kubernetes/pki/ca.crt",
    "/etc/kubernetes/pki/ca.key",
    "/etc/kubernetes/pki/front-proxy-ca.crt",
    "/etc/kubernetes/pki/front-proxy-ca.key",
    "/etc/kubernetes/pki/sa.pub",
    "/etc/kubernetes/pki/sa.key",
    "/etc/kubernetes/pki/etcd/ca.crt",
    "/etc/kubernetes/pki/etcd/ca.key",
];

/// The label that kubeadm gives to control planes.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// From the last join until every member of etcd answers.
const ETCD: std::time::Duration = std::time::Duration::from_secs(180);

/// Copies the shared files from a control plane that serves.
pub(super) async fn share_certificates(context: &Context, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    let from = &context.control_plane_but(host)?.host;
    let mut files = Vec::new();
    for path in SHARED {
        let content = engine.get_file(from, path).await?.ok_or_else(|| {
            Error::failed("no-certificates", format!("{host} cannot join {from}"))
                .because(format!("{from} has no {path}"))
        })?;
        let mode = if path.ends_with(".key") { 0o600 } else { 0o644 };
        files.push(File::new(*path, mode, content));
    }
    Ok(engine.put_files(host, files).await?)
}

/// Waits until as many members of etcd are ready as there are control planes: each says so only
/// when it sees a leader that more than half follow.
pub(super) async fn await_etcd(context: &Context, id: &str, members: usize) -> Result<()> {
    let kube = context.kube().await?;
    let what = format!("etcd did not come to {members} members that agree");
    let wait = context.wait(id, "etcd-not-ready", what, ETCD);
    wait.until(|| async {
        match kube.pods("kube-system", "component=etcd").await {
            Ok(pods) => match pods.iter().filter(|pod| pod.ready).count() {
                ready if ready >= members => Seen::Ready(()),
                ready => Seen::NotYet(format!("{ready} of {members} members are ready")),
            },
            Err(error) => Seen::NotYet(error.to_string()),
        }
    })
    .await
}

/// Whether a node is a control plane, by its container or, where that is gone, by its entry.
pub(super) fn is_member(observed: &Observed, host: &str) -> bool {
    let container = observed.nodes.get(host).is_some_and(|facts| facts.control_plane);
    let entry = observed.live.as_ref().and_then(|live| live.nodes.get(host));
    container || entry.is_some_and(|node| node.labels.contains_key(CONTROL_PLANE))
}

/// Takes a control plane that is gone, or about to go, out of etcd: a member that never answers
/// counts against the others, and its name could not join again.
pub(super) async fn forget_member(context: &Context, host: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Members {
        #[serde(default)]
        members: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        #[serde(rename = "ID")]
        id: String,
        #[serde(default)]
        name: String,
        #[serde(default, rename = "peerURLs")]
        peers: Vec<String>,
    }
    let address = context.reservation()?.nodes.get(host).map(|node| node.address.to_string());
    let list = ask_etcd(context, host, "member/list", "{}").await?;
    let list: Members = serde_json::from_str(&list).map_err(|error| {
        Error::failed("etcd-members", "etcd's members cannot be read").because(error)
    })?;
    // One that was added and never started has no name yet.
    let is_it = |member: &&Member| {
        let own = |peer: &String| {
            address.as_ref().is_some_and(|address| peer.contains(&format!("//{address}:")))
        };
        member.name == host || member.peers.iter().any(own)
    };
    for member in list.members.iter().filter(is_it) {
        let body = serde_json::json!({ "ID": member.id }).to_string();
        ask_etcd(context, host, "member/remove", &body).await?;
    }
    Ok(())
}

/// Asks etcd on another control plane than `host`, through its gateway for JSON.
async fn ask_etcd(context: &Context, host: &str, what: &str, body: &str) -> Result<String> {
    let from = &context.control_plane_but(host)?.host;
    let url = format!("https://127.0.0.1:2379/v3/cluster/{what}");
    let pki = |file: &str| format!("/etc/kubernetes/pki/etcd/{file}");
    let command = [
        "curl",
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--max-time",
        "20",
        "--cacert",
        &pki("ca.crt"),
        "--cert",
        &pki("server.crt"),
        "--key",
        &pki("server.key"),
        "--data",
        body,
        &url,
    ]
    .map(str::to_owned);
    let output = context.world.engine.exec(from, Exec::new(command)).await?.checked()?;
    Ok(output.text())
}
