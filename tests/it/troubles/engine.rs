//! An engine that has nothing and can do everything, but for what a case says.

use crate::env::TestEnv;
use crate::scripted::{Reply, Request, Scripted};

/// A served engine, and an environment whose `pipe` talks to it.
pub struct Scene {
    pub env: TestEnv,
    _server: Scripted,
    _runtime: tokio::runtime::Runtime,
}

/// What an engine of our kind says about itself.
pub const INFO: &str = r#"{"host":{"arch":"amd64","cgroupManager":"cgroupfs","cgroupVersion":"v1",
"ociRuntime":{"name":"runc"},"security":{"rootless":false}},"store":{"graphRoot":"/nowhere/storage"},
"version":{"APIVersion":"4.3.1","Version":"4.3.1"}}"#;

/// A scene with a cluster file `one`; `answer` gives the replies that differ from an empty engine's.
pub fn scene(answer: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Scene {
    let mut env = TestEnv::new();
    env.write("clusters/one.yaml", super::ONE);
    env.write("profiles/none.yaml", super::NONE);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let guard = runtime.enter();
    let (server, socket) = Scripted::unix(&env.path("run"), move |request, _| {
        answer(request).unwrap_or_else(|| empty(request))
    });
    drop(guard);
    env.set("PIPE_ENGINE", &format!("unix://{}", socket.display()));
    Scene { env, _server: server, _runtime: runtime }
}

/// What an engine that has nothing says.
pub fn empty(request: &Request) -> Reply {
    let path = request.target.split('?').next().unwrap_or_default();
    match (request.method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
        (_, "_ping") => Reply::new(200, "OK").header("Libpod-API-Version", "4.3.1"),
        (_, "info") => Reply::new(200, INFO),
        ("GET", "json") if path.contains("/containers/json") => Reply::new(200, "[]"),
        ("GET", "json") if path.ends_with("/networks/json") => Reply::new(200, "[]"),
        ("GET", "json") if path.ends_with("/volumes/json") => Reply::new(200, "[]"),
        ("POST", "create") if path.ends_with("/networks/create") => Reply::new(
            200,
            r#"{"name":"kind","subnets":[{"subnet":"10.89.0.0/24","gateway":"10.89.0.1"}]}"#,
        ),
        _ => Reply::podman_error(404, "no such object", "no such object"),
    }
}

/// An engine that has every image asked for, with these facts.
pub fn image(arch: &str) -> Reply {
    Reply::new(
        200,
        format!(
            r#"{{"Id":"{}","Size":1000,"Architecture":"{arch}","Labels":{{"pipe.dev/network":"none"}}}}"#,
            "ab".repeat(32)
        ),
    )
}

/// Whether the request asks for an image.
pub fn asks_for_image(request: &Request) -> bool {
    request.method == "GET"
        && request.target.contains("/images/")
        && request.target.ends_with("/json")
}
