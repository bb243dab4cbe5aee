//! Whether services lead to the pods that are there.
//!
//! What their endpoints say is the controller manager's work. After a restart it does none until the
//! lease of the one before has run out, and meanwhile addresses belong to other pods than they did.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};

use super::{Kube, pod};
use crate::Result;

/// The label by which a slice says whose it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Labels of slices that kube-proxy does not read.
const NOT_FOLLOWED: [&str; 2] =
    ["service.kubernetes.io/headless", "service.kubernetes.io/service-proxy-name"];

/// Where kube-proxy tells its metrics unless its configuration says otherwise.
const METRICS: &str = "127.0.0.1:10249";

/// The endpoints of services together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// What is not true of one of them, if anything.
    pub fault: Option<String>,
    /// When the newest that kube-proxy follows was written, in whole seconds, by address family:
    /// `IPv4`, `IPv6`.
    pub written: BTreeMap<String, Timestamp>,
}

impl Kube {
    /// What the endpoints of services say, compared with pods: of one namespace, or of all.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn endpoints(&self, namespace: Option<&str>) -> Result<Endpoints> {
        let all = ListParams::default();
        let services = self.in_one_or_all::<Service>(namespace);
        let slices = self.in_one_or_all::<EndpointSlice>(namespace);
        let pods = self.in_one_or_all::<Pod>(namespace);
        // Pods last: what they are now is what the slices must have said already.
        let services = self.call("list the services", services.list(&all)).await?.items;
        let slices = self.call("list the endpoints of services", slices.list(&all)).await?.items;
        let pods = self.call("list the pods", pods.list(&all)).await?.items;
        Ok(Endpoints { fault: fault(&services, &slices, &pods), written: written(&slices) })
    }

    fn in_one_or_all<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Where kube-proxy tells its metrics, seen from its node.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn proxy_metrics(&self) -> Result<String> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), "kube-system");
        let map =
            self.call("read the configuration of kube-proxy", api.get_opt("kube-proxy")).await?;
        let text = map.and_then(|map| map.data).and_then(|mut data| data.remove("config.conf"));
        Ok(metrics_address(&text.unwrap_or_default()))
    }
}

fn written(slices: &[EndpointSlice]) -> BTreeMap<String, Timestamp> {
    let mut newest: BTreeMap<String, Timestamp> = BTreeMap::new();
    let followed = |slice: &&EndpointSlice| {
        NOT_FOLLOWED.iter().all(|label| !slice.labels().contains_key(*label))
    };
    for slice in slices.iter().filter(followed) {
        let times = slice.managed_fields().iter().filter_map(|field| field.time.as_ref());
        let Some(last) = times.map(|time| time.0).max() else { continue };
        let known = newest.entry(slice.address_type.clone()).or_insert(last);
        *known = last.max(*known);
    }
    newest
}

fn metrics_address(configuration: &str) -> String {
    let line = configuration.lines().find_map(|line| line.strip_prefix("metricsBindAddress:"));
    let address = line.unwrap_or_default().trim().trim_matches(['"', '\'']);
    match address.rsplit_once(':') {
        Some(("0.0.0.0" | "[::]" | "", port)) => format!("127.0.0.1:{port}"),
        Some(_) => address.to_owned(),
        None => METRICS.to_owned(),
    }
}

/// The first thing that is not true.
fn fault(services: &[Service], slices: &[EndpointSlice], pods: &[Pod]) -> Option<String> {
    services.iter().find_map(|service| {
        let spec = service.spec.as_ref()?;
        let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let (namespace, name) = (service.namespace()?, service.name_any());
        let own = |slice: &&EndpointSlice| {
            slice.namespace().as_deref() == Some(namespace.as_str())
                && slice.labels().get(SERVICE_NAME) == Some(&name)
        };
        let endpoints: Vec<&Endpoint> =
            slices.iter().filter(own).flat_map(|slice| &slice.endpoints).flatten().collect();
        let pods: Vec<&Pod> = pods
            .iter()
            .filter(|pod| pod.namespace().as_deref() == Some(namespace.as_str()))
            .filter(|pod| chosen(selector, pod.labels()))
            .collect();
        let unready_too = spec.publish_not_ready_addresses == Some(true);
        lost(&endpoints, &pods, unready_too)
            .or_else(|| missing(&endpoints, &pods))
            .map(|what| format!("service {namespace}/{name} {what}"))
    })
}

fn chosen(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// An endpoint that leads to where its pod is not.
fn lost(endpoints: &[&Endpoint], pods: &[&Pod], unready_too: bool) -> Option<String> {
    endpoints.iter().filter(|endpoint| is_ready(endpoint)).find_map(|endpoint| {
        let name = pod_of(endpoint)?;
        let pod = pods.iter().find(|pod| pod.name_any() == name);
        let is_there = pod.is_some_and(|pod| {
            let has = |address: &String| addresses(pod).any(|own| own == address);
            endpoint.addresses.iter().all(has) && (unready_too || pod::is_ready(pod))
        });
        let addresses = endpoint.addresses.join(", ");
        (!is_there).then(|| format!("still leads to {addresses}, where pod {name} is not ready"))
    })
}

/// A pod that is ready, to which no endpoint leads.
fn missing(endpoints: &[&Endpoint], pods: &[&Pod]) -> Option<String> {
    let known = |pod: &Pod| {
        let name = pod.name_any();
        endpoints.iter().any(|e| is_ready(e) && pod_of(e) == Some(name.as_str()))
    };
    let pod = pods.iter().find(|pod| pod::is_ready(pod) && !known(pod))?;
    Some(format!("does not lead to pod {} yet", pod.name_any()))
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

fn pod_of(endpoint: &Endpoint) -> Option<&str> {
    let target = endpoint.target_ref.as_ref()?;
    target.name.as_deref().filter(|_| target.kind.as_deref() == Some("Pod"))
}

fn addresses(pod: &Pod) -> impl Iterator<Item = &String> {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    all.map(|ip| &ip.ip).chain(status.and_then(|status| status.pod_ip.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn pod(name: &str, address: &str, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        object(json!({
            "metadata": {"name": name, "namespace": "messaging", "labels": {"app": "nats"}},
            "status": {
                "podIP": address, "phase": "Running",
                "conditions": [{"type": "Ready", "status": ready}],
            },
        }))
    }

    fn slice(endpoints: &[(&str, &str, bool)]) -> EndpointSlice {
        let endpoints = endpoints.iter().map(|(name, address, ready)| {
            json!({
                "addresses": [address], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": name},
            })
        });
        object(json!({
            "addressType": "IPv4", "endpoints": endpoints.collect::<Vec<_>>(),
            "metadata": {
                "name": "nats-x", "namespace": "messaging",
                "labels": {"kubernetes.io/service-name": "nats"},
            },
        }))
    }

    fn said(endpoints: &[(&str, &str, bool)], pods: &[Pod]) -> String {
        let service = object(json!({
            "metadata": {"name": "nats", "namespace": "messaging"},
            "spec": {"selector": {"app": "nats"}},
        }));
        fault(&[service], &[slice(endpoints)], pods).unwrap_or_default()
    }

    #[test]
    fn endpoints_of_before_are_not_believed() {
        let now = [pod("nats-0", "10.244.0.7", true)];
        assert_eq!(said(&[("nats-0", "10.244.0.7", true)], &now), "");
        assert_eq!(
            said(&[("nats-0", "10.244.0.3", true)], &now),
            "service messaging/nats still leads to 10.244.0.3, where pod nats-0 is not ready"
        );
        assert_eq!(
            said(&[("nats-0", "10.244.0.7", false)], &now),
            "service messaging/nats does not lead to pod nats-0 yet"
        );
        let starting = [pod("nats-0", "10.244.0.7", false)];
        assert_eq!(said(&[("nats-0", "10.244.0.7", false)], &starting), "");
        assert_ne!(said(&[("nats-0", "10.244.0.7", true)], &starting), "");
        assert_ne!(said(&[("nats-1", "10.244.0.8", true)], &now), "");
    }

    #[test]
    fn what_nobody_selects_is_nobodys_fault() {
        let service: Service = object(json!({
            "metadata": {"name": "kubernetes", "namespace": "default"}, "spec": {},
        }));
        assert_eq!(fault(&[service], &[slice(&[("nats-0", "10.244.0.7", true)])], &[]), None);
    }

    #[test]
    fn what_kube_proxy_does_not_follow_is_not_waited_for() {
        let slice = |family: &str, at: &str, labels: Value| -> EndpointSlice {
            object(json!({
                "addressType": family, "endpoints": [],
                "metadata": {"name": "x", "labels": labels, "managedFields": [{"time": at}]},
            }))
        };
        let headless = json!({"service.kubernetes.io/headless": ""});
        let found = written(&[
            slice("IPv4", "2026-11-21T16:00:02Z", json!({})),
            slice("IPv4", "2026-11-21T16:00:01Z", json!({})),
            slice("IPv6", "2026-11-21T15:00:00Z", json!({})),
            slice("IPv4", "2026-11-21T17:00:00Z", headless),
        ]);
        let found: Vec<String> =
            found.iter().map(|(family, at)| format!("{family} {at}")).collect();
        assert_eq!(found, ["IPv4 2026-11-21T16:00:02Z", "IPv6 2026-11-21T15:00:00Z"]);
    }

    #[test]
    fn metrics_are_where_the_configuration_says() {
        assert_eq!(metrics_address("mode: iptables\nmetricsBindAddress: \"\"\n"), METRICS);
        assert_eq!(metrics_address("metricsBindAddress: 0.0.0.0:9999"), "127.0.0.1:9999");
        assert_eq!(metrics_address("metricsBindAddress: 127.0.0.1:9999"), "127.0.0.1:9999");
    }
}
