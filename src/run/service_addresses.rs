//! Whether the addresses of services lead where they should, in every node: the endpoints are true,
//! and kube-proxy has put them in force. That its pod is ready says neither.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::context::Context;
use crate::Result;
use crate::world::engine::Exec;
use crate::world::kube::{Kube, PodState};

/// The metric that says when kube-proxy last put all rules in force, in seconds since 1970.
const SYNCED: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";

/// What is not as it should be yet; `None` when everything is.
pub(super) async fn fault(context: &Context) -> Result<Option<String>> {
    let kube = context.kube().await?;
    let endpoints = kube.endpoints().await?;
    if endpoints.fault.is_some() {
        return Ok(endpoints.fault);
    }
    let url = format!("http://{}/metrics", kube.proxy_metrics().await?);
    let proxies = kube.pods("kube-system", "k8s-app=kube-proxy").await?;
    for host in hosts(context, kube).await? {
        let serves = |pod: &PodState| pod.ready && pod.node.as_ref() == Some(&host);
        if !proxies.iter().any(serves) {
            return Ok(Some(format!("kube-proxy does not run on {host} yet")));
        }
        let ask = Exec::new(["curl", "--silent", "--max-time", "5", "--noproxy", "*", &url]);
        let said = context.world.engine.exec(&host, ask).await?;
        if !follows(&said.text(), &endpoints.written) {
            return Ok(Some(format!("kube-proxy on {host} has not followed yet")));
        }
    }
    Ok(None)
}

/// Nodes whose containers are there; what somebody removed by hand serves nobody.
async fn hosts(context: &Context, kube: &Kube) -> Result<Vec<String>> {
    let made = |host: &str| {
        let wanted = context
            .spec
            .as_ref()
            .is_some_and(|spec| spec.cluster.nodes.iter().any(|node| node.host == host));
        wanted || context.observed.nodes.contains_key(host)
    };
    Ok(kube.nodes().await?.into_iter().map(|node| node.name).filter(|host| made(host)).collect())
}

/// Whether kube-proxy was done after the newest endpoints of each address family were written.
fn follows(metrics: &str, written: &BTreeMap<String, Timestamp>) -> bool {
    written
        .iter()
        .all(|(family, at)| synced(metrics, family).is_some_and(|done| done >= at.as_second()))
}

/// When it was last done with a family, in whole seconds; earlier versions do not tell them apart.
fn synced(metrics: &str, family: &str) -> Option<i64> {
    let labels = [format!("{{ip_family=\"{family}\"}}"), String::new()];
    let value = labels.iter().find_map(|labels| {
        let name = format!("{SYNCED}{labels} ");
        let text = metrics.lines().find_map(|line| line.strip_prefix(name.as_str()))?;
        text.trim().parse::<f64>().ok()
    });
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are meant")]
    value.map(|value| value as i64).filter(|at| *at > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1.5000000099e+09
kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"} 1.4e+09
";

    #[test]
    fn the_last_sync_is_read_from_metrics() {
        assert_eq!(synced(METRICS, "IPv4"), Some(1_500_000_009));
        assert_eq!(synced(METRICS, "IPv6"), Some(1_400_000_000));
        let plain = "kubeproxy_sync_proxy_rules_last_timestamp_seconds 1.7637348e+09\n";
        assert_eq!(synced(plain, "IPv4"), Some(1_763_734_800));
        assert_eq!(synced("kubeproxy_sync_proxy_rules_last_timestamp_seconds 0\n", "IPv4"), None);
        assert_eq!(synced("", "IPv4"), None);
    }

    #[test]
    fn each_family_follows_its_own_endpoints() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let written = |second| BTreeMap::from([("IPv4".to_owned(), at(second))]);
        assert!(follows(METRICS, &written(1_500_000_009)), "IPv6 has none, and nothing to do");
        assert!(!follows(METRICS, &written(1_500_000_010)));
        assert!(!follows("", &written(1)));
    }
}
