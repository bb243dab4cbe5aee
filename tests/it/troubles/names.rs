//! Names that somebody else has.

use super::case::hold;
use super::engine::{asks_for_image, image, scene};
use crate::scripted::Reply;

const NODE: &str = "docker.io/kindest/node:v1.34.0";

#[test]
fn a_cluster_of_kind() {
    let scene = scene(|request| {
        request.target.contains("/containers/json").then(|| {
            Reply::new(
                200,
                r#"[{"Id":"1","Names":["one-control-plane"],"Image":"kindest/node","State":"running",
                    "Labels":{"io.x-k8s.kind.cluster":"one","io.x-k8s.kind.role":"control-plane"},"Networks":["kind"]}]"#,
            )
        })
    });
    hold("foreign-cluster", &scene.env.pipe(["up", "one", "--json"]).result(), &[]);
}

/// A container that has nothing to do with any cluster must survive.
#[test]
fn a_container_of_that_name() {
    let scene = scene(|request| {
        let there = r#"{"Id":"1","Names":["one-control-plane"],"Image":"docker.io/library/postgres:18",
            "State":"running","Labels":{},"Networks":["podman"]}"#;
        if request.method == "DELETE" {
            panic!("{request:?}");
        }
        if request.target.contains("/containers/json") {
            let filtered =
                request.target.contains("pipe.dev") || request.target.contains("kind.cluster");
            return Some(Reply::new(
                200,
                if filtered { "[]".to_owned() } else { format!("[{there}]") },
            ));
        }
        asks_for_image(request).then(|| image("amd64"))
    });
    let result = scene.env.pipe(["up", "one", "--node-image", NODE, "--json"]).result();
    hold("name-taken", &result, &[]);
}
