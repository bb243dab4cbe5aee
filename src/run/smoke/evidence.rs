//! What is shown of a component beside a check that failed: its pods, its nodes, its credentials.

use std::collections::BTreeSet;

use crate::run::components::selector;
use crate::run::context::Context;
use crate::run::credentials;
use crate::spec::Component;
use crate::world::engine::State;
use crate::world::kube::Kube;

/// State and last events of the pods; then what stands behind them where it is to blame.
pub(super) async fn collect(context: &Context, component: &Component) -> String {
    let kube = match context.kube().await {
        Ok(kube) => kube,
        Err(error) => return error.to_string(),
    };
    let mut all =
        vec![kube.explain(&component.namespace, &selector(component.name.as_str())).await];
    all.extend(nodes(context, kube, component).await);
    all.extend(secret(context, kube, component).await);
    all.join(". ")
}

/// Nodes of its pods that do not run; the API server is slow to notice.
async fn nodes(context: &Context, kube: &Kube, component: &Component) -> Vec<String> {
    let pods = kube.pods(&component.namespace, &selector(component.name.as_str())).await;
    let hosts: BTreeSet<String> =
        pods.unwrap_or_default().into_iter().filter_map(|pod| pod.node).collect();
    let mut said = Vec::new();
    for host in hosts {
        let is = match context.world.engine.inspect(&host).await {
            Ok(Some(node)) if node.state == State::Running => continue,
            Ok(Some(_)) => "does not run",
            Ok(None) => "is gone",
            Err(_unknown) => continue,
        };
        said.push(format!("Its node {host} {is}: `pipe up {}` brings it back", context.cluster));
    }
    said
}

/// What became of its credentials.
async fn secret(context: &Context, kube: &Kube, component: &Component) -> Option<String> {
    let spec = component.definition.credentials.as_ref()?;
    let found = kube.get_secret(&component.namespace, &spec.secret).await;
    let own = credentials::ensure(context, component).ok()?;
    let what = match found {
        Ok(Some(found)) => credentials::fault(&own, &found)?,
        Ok(None) => "is gone".to_owned(),
        Err(error) => return Some(error.to_string()),
    };
    let Component { name, namespace, .. } = component;
    Some(format!(
        "Its Secret {namespace}/{} {what}: somebody changed it; `pipe up {}` puts it back and restarts {name}",
        spec.secret, context.cluster
    ))
}
