//! Images that cannot be had, or cannot run here. The words are those that Podman 4.3.1 gives.

use super::case::hold;
use super::engine::{asks_for_image, image, scene};
use crate::scripted::Reply;

/// A node image that every host's control groups can boot.
const NODE: &str = "docker.io/kindest/node:v1.34.0";

/// What `up` says when a pull ends like this.
fn pull_fails(message: &'static str) -> serde_json::Value {
    let scene = scene(move |request| {
        let pulls = request.method == "POST" && request.target.contains("/images/create");
        pulls.then(|| {
            let line = serde_json::json!({"error": message, "errorDetail": {"message": message}});
            Reply::new(200, format!("{{\"status\":\"Pulling\"}}\r\n{line}\r\n"))
        })
    });
    scene.env.pipe(["up", "one", "--node-image", NODE, "--json"]).result()
}

#[test]
fn rate_limit() {
    let said = "initializing source docker://kindest/node:v1.34.0: reading manifest v1.34.0 in \
                docker.io/kindest/node: toomanyrequests: You have reached your pull rate limit. You may \
                increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit";
    hold("pull-rate-limit", &pull_fails(said), &[]);
}

#[test]
fn not_allowed() {
    let said = "initializing source docker://kindest/node:v1.34.0: Requesting bear token: invalid status \
                code from registry 403 (Forbidden)";
    let _also = pull_fails(said);
    let said = "initializing source docker://kindest/node:v1.34.0: reading manifest v1.34.0 in \
                docker.io/kindest/node: unauthorized: authentication required";
    hold("pull-unauthorised", &pull_fails(said), &[]);
}

#[test]
fn no_such_image() {
    let said = "initializing source docker://kindest/node:v1.34.0: reading manifest v1.34.0 in \
                docker.io/kindest/node: manifest unknown: manifest unknown";
    hold("pull-not-found", &pull_fails(said), &[]);
}

#[test]
fn unknown_authority() {
    let said = "initializing source docker://kindest/node:v1.34.0: pinging container registry \
                registry-1.docker.io: Get \"https://registry-1.docker.io/v2/\": x509: certificate signed \
                by unknown authority";
    hold("pull-certificate", &pull_fails(said), &[]);
}

#[test]
fn registry_cannot_be_reached() {
    let said = "initializing source docker://kindest/node:v1.34.0: pinging container registry \
                registry-1.docker.io: Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup \
                registry-1.docker.io: no such host";
    hold("pull-no-network", &pull_fails(said), &[]);
}

#[test]
fn no_room_while_pulling() {
    let said = "writing blob: adding layer with blob \"sha256:ab\": processing tar file(write \
                /usr/bin/kubelet: no space left on device): exit status 1";
    let result = pull_fails(said);
    assert_eq!(result["error"]["code"], "pull-no-space", "{result:#}");
}

#[test]
fn another_architecture() {
    let scene = scene(|request| asks_for_image(request).then(|| image("arm64")));
    let result = scene.env.pipe(["up", "one", "--node-image", NODE, "--json"]).result();
    hold("image-architecture", &result, &[]);
}
