//! Whether the addresses of services lead where they should, in every node: the endpoints are true,
//! and kube-proxy has put them in force. That its pod is ready says neither.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use jiff::Timestamp;

use super::context::Context;
use crate::world::engine::Exec;
use crate::world::kube::{Kube, PodState};
use crate::{Error, Result};

/// The metric that says when kube-proxy last put all rules in force, in seconds since 1970.
const SYNCED: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";

/// The metric that says when it last heard of something to put in force, likewise.
const QUEUED: &str = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds";

/// The metrics that count what it has heard of and not begun to put in force.
const PENDING: [&str; 2] = [
    "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
    "kubeproxy_sync_proxy_rules_service_changes_pending",
];

/// What stands before the node's own time, in seconds since 1970, after the metrics.
const NOW: &str = "now";

/// From when endpoints say they were written until kube-proxy has surely heard of them: the second
/// that their time is cut to, and what a watch may take.
const HEARD: f64 = 1.5;

/// What is not as it should be yet, in one namespace or in all; `None` when everything is.
pub(super) async fn fault(context: &Context, namespace: Option<&str>) -> Result<Option<String>> {
    let kube = context.kube().await?;
    let endpoints = kube.endpoints(namespace).await?;
    if endpoints.fault.is_some() {
        return Ok(endpoints.fault);
    }
    let url = format!("http://{}/metrics", kube.proxy_metrics().await?);
    let ask = format!("curl -s --max-time 5 --noproxy '*' '{url}'; date '+{NOW} %s.%N'");
    let proxies = kube.pods("kube-system", "k8s-app=kube-proxy").await?;
    let hosts = hosts(context, kube).await?;
    for host in &hosts {
        let serves = |pod: &PodState| pod.ready && pod.node.as_ref() == Some(host);
        if !proxies.iter().any(serves) {
            return Ok(Some(format!("kube-proxy does not run on {host} yet")));
        }
    }
    let followed = try_join_all(hosts.iter().map(|host| async {
        let said = context.world.engine.exec(host, Exec::new(["sh", "-c", &ask])).await?;
        Ok::<_, Error>(follows(&said.text(), &endpoints.written))
    }));
    let followed = followed.await?;
    let late = hosts.iter().zip(followed).find(|(_, follows)| !follows);
    Ok(late.map(|(host, _)| format!("kube-proxy on {host} has not followed yet")))
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

/// Whether kube-proxy has put the newest endpoints of each address family in force, and has heard of
/// nothing since.
fn follows(said: &str, written: &BTreeMap<String, Timestamp>) -> bool {
    let idle = PENDING.iter().all(|metric| value(said, metric).is_none_or(|count| count == 0.0));
    idle && written.iter().all(|(family, at)| in_force(said, family, *at))
}

/// kube-proxy works in intervals of a second, and endpoints tell the second they were written in and no
/// more: a time of that very second may be that of the round before.
fn in_force(said: &str, family: &str, written: Timestamp) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "exact for some hundred million years")]
    let written = written.as_second() as f64;
    let Some(synced) = of_family(said, SYNCED, family).filter(|at| *at > 0.0) else {
        return false;
    };
    let queued = of_family(said, QUEUED, family).unwrap_or_default();
    let heard = value(said, NOW).is_some_and(|now| now >= written + HEARD);
    synced >= queued && (synced >= written + 1.0 || (synced >= written && heard))
}

/// The value for a family; earlier versions do not tell them apart.
fn of_family(said: &str, metric: &str, family: &str) -> Option<f64> {
    value(said, &format!("{metric}{{ip_family=\"{family}\"}}")).or_else(|| value(said, metric))
}

fn value(said: &str, name: &str) -> Option<f64> {
    let text = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node says when kube-proxy was last done with IPv4 `synced` seconds after 1 500 000 000.
    fn said(queued: f64, synced: f64, pending: u32, now: f64) -> String {
        let at = |seconds: f64| format!("{:e}", 1.5e9 + seconds);
        let families = [("IPv4", queued, synced), ("IPv6", -100.0, -99.0)];
        let mut said = format!("# TYPE {SYNCED} gauge\n");
        for (family, queued, synced) in families {
            said.push_str(&format!("{SYNCED}{{ip_family=\"{family}\"}} {}\n", at(synced)));
            said.push_str(&format!("{QUEUED}{{ip_family=\"{family}\"}} {}\n", at(queued)));
        }
        said.push_str(&format!("{} {pending}\n{} 0\n", PENDING[0], PENDING[1]));
        said.push_str(&format!("{NOW} {:.9}\n", 1.5e9 + now));
        said
    }

    fn written(family: &str, second: i64) -> BTreeMap<String, Timestamp> {
        BTreeMap::from([(
            family.to_owned(),
            Timestamp::from_second(1_500_000_000 + second).unwrap(),
        )])
    }

    #[test]
    fn a_later_second_is_after_the_endpoints() {
        assert!(follows(&said(9.9, 11.0, 0, 11.1), &written("IPv4", 10)));
        assert!(!follows(&said(8.9, 9.9, 0, 20.0), &written("IPv4", 10)));
        assert!(!follows("", &written("IPv4", 10)));
    }

    /// Two Services change in one second: the first is in force at once, the other a second later.
    #[test]
    fn the_same_second_may_be_the_round_before() {
        let of = written("IPv4", 10);
        assert!(!follows(&said(10.2, 10.3, 0, 10.5), &of), "something may come yet");
        assert!(!follows(&said(10.6, 10.3, 1, 10.7), &of), "it came");
        assert!(!follows(&said(10.6, 10.3, 0, 12.0), &of), "it is being put in force");
        assert!(!follows(&said(10.6, 11.3, 1, 12.0), &of), "it came while others were");
        assert!(follows(&said(10.6, 11.3, 0, 11.4), &of));
        assert!(follows(&said(10.2, 10.3, 0, 11.5), &of), "nothing else came");
    }

    #[test]
    fn each_family_follows_its_own_endpoints() {
        let said = said(9.9, 11.0, 0, 12.0);
        assert!(follows(&said, &written("IPv4", 10)), "IPv6 has none, and nothing to do");
        assert!(!follows(&said, &written("IPv6", 10)));
    }

    #[test]
    fn earlier_versions_tell_no_family() {
        let plain = format!("{SYNCED} 1.500000011e+09\n");
        assert!(follows(&plain, &written("IPv4", 10)));
        assert!(!follows(&format!("{SYNCED} 0\n"), &written("IPv4", 10)));
    }
}
