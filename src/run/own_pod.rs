//! Pods that run this very program, from an image that is made here; what they are to do, they read in a
//! Secret.

use std::time::Duration;

use serde_json::{Value, json};

use super::cache::fill;
use super::context::Context;
use super::images::made::Made;
use super::images::{node_store, open_cache};
use crate::spec::{Arch, Component, ImageName};
use crate::world::engine::Stdin;
use crate::world::executable::Executable;
use crate::world::kube::Kube;
use crate::{Error, Result};

/// Where they run: every cluster has it.
pub(super) const NAMESPACE: &str = "kube-system";

/// The only key of the Secret.
pub(super) const FILE: &str = "errands.json";

/// What pods call the image, without its tag.
const IMAGE: &str = "localhost/pipe/probe";

/// Where the program lies in the image.
const FOLDER: &str = "/pipe";

/// Where the Secret is mounted.
const ERRANDS: &str = "/errands";

/// Until a node has unpacked the image.
const IMPORT: Duration = Duration::from_secs(120);

/// What such a pod is made of.
pub(super) struct OwnPod {
    image: String,
    command: Vec<String>,
    /// The command of `pipe` that reads the Secret.
    verb: &'static str,
}

impl OwnPod {
    /// Has every node able to run it: through the cache and past its verifier, where there is one.
    ///
    /// # Errors
    /// The image cannot be made, or a node or the cache does not take it.
    pub(super) async fn deliver(context: &Context, id: &str, verb: &'static str) -> Result<OwnPod> {
        let executable = Executable::running()?;
        let image = format!("{IMAGE}:{}", executable.fingerprint());
        let command = executable.command(FOLDER);
        let config = json!({"Entrypoint": command});
        let made = move || Made::of(Arch::of_host()?, executable.files(FOLDER), &config);
        match context.spec()?.profile.policy.is_cached() {
            true => into_cache(context, id, made, &image).await?,
            false => into_nodes(context, id, made, &image).await?,
        }
        Ok(OwnPod { image, command, verb })
    }

    /// What it is, for whoever makes it; `secret` is in [`NAMESPACE`].
    pub(super) fn spec(&self, secret: &str) -> Value {
        json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": self.verb,
                "image": self.image,
                "imagePullPolicy": "IfNotPresent",
                "command": self.command,
                "args": [self.verb, format!("{ERRANDS}/{FILE}")],
                "env": [{"name": "HOME", "value": "/tmp"}],
                "volumeMounts": [
                    {"name": "errands", "mountPath": ERRANDS, "readOnly": true},
                    {"name": "scratch", "mountPath": "/tmp"},
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "runAsNonRoot": true, "runAsUser": 65_532,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            }],
            "securityContext": {"fsGroup": 65_532},
            "volumes": [
                {"name": "errands", "secret": {"secretName": secret, "defaultMode": 0o440}},
                {"name": "scratch", "emptyDir": {}},
            ],
        })
    }
}

async fn into_cache(
    context: &Context,
    id: &str,
    made: impl FnOnce() -> Result<Made>,
    image: &str,
) -> Result<()> {
    let image = &ImageName::parse(image).map_err(Error::bug)?;
    let cache = open_cache(context).await?;
    if cache.look(image).await?.is_some_and(|there| there.signed_by.is_some()) {
        return Ok(());
    }
    let repository = cache.repository(image)?;
    context.events.progress(id, "putting pipe's own image into the cache");
    let made = made()?;
    made.put(&repository, None).await?;
    fill::seal(&cache, &repository, image, &made.manifest).await
}

async fn into_nodes(
    context: &Context,
    id: &str,
    made: impl FnOnce() -> Result<Made>,
    image: &str,
) -> Result<()> {
    let mut lacking = Vec::new();
    for node in &context.spec()?.cluster.nodes {
        if !node_store::images(&context.world.engine, &node.host).await?.contains_key(image) {
            lacking.push(node.host.as_str());
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    context.events.progress(id, "copying pipe's own image into the nodes");
    let archive = made()?.archive(image)?;
    for host in lacking {
        let import = node_store::ctr(["images", "import", "--snapshotter=overlayfs", "-"]);
        let import = import.within(IMPORT).stdin(Stdin::Bytes(archive.clone().into()));
        context.world.engine.exec(host, import).await?.checked()?;
    }
    Ok(())
}

/// By what name and port pods reach a component.
///
/// # Errors
/// It has no Service of its name with the port.
pub(super) async fn service(kube: &Kube, component: &Component) -> Result<(String, u16)> {
    let (name, namespace) = (component.name.as_str(), component.namespace.as_str());
    let smoke = component.definition.smoke.as_ref();
    let port = smoke.and_then(|smoke| smoke.port.as_deref()).unwrap_or_default();
    let found = kube.service_port(namespace, name, port).await?.ok_or_else(|| {
        let what = format!("component {name} cannot be reached from a pod");
        Error::failed("probe-service", what)
            .because(format!("there is no service {namespace}/{name} with a port called {port}"))
            .hint("give its chart a Service of its name, with that port")
    })?;
    // With its last dot, so that no search domain is tried first.
    Ok((format!("{name}.{namespace}.svc.cluster.local."), found))
}
