//! The `static` pod network: no CNI pod, because node addresses and pod CIDRs are known before a
//! node boots. A conflist, and a script that kubelet's unit runs before it starts.

use std::fmt::Write as _;

use serde_json::json;

use crate::plan::NodePlan;

/// Where containerd looks for a conflist.
pub const CONFLIST: &str = "/etc/cni/net.d/10-pipe.conflist";

/// Routes and masquerade.
pub const SCRIPT: &str = "/kind/pipe-network.sh";

/// Makes kubelet's unit run the script, so that routes are back after every boot.
pub const DROP_IN: &str = "/etc/systemd/system/kubelet.service.d/20-pipe-network.conf";

/// Point-to-point links with host-local addresses, as kindnet does it. Leases live on the tmpfs, so
/// that none survives the pods it was for.
pub fn conflist(node: &NodePlan) -> String {
    let list = json!({
        "cniVersion": "0.4.0",
        "name": "pipe",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-ipam-state",
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "ranges": [[{"subnet": node.pod_cidr}]],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    format!("{list:#}\n")
}

/// Safe to run any number of times.
pub fn script(node: &NodePlan, pod_subnet: &str) -> String {
    let mut text = String::from("#!/bin/sh\nset -eu\nsysctl -qw net.ipv4.ip_forward=1\n");
    for route in &node.routes {
        let _ = writeln!(text, "ip route replace {} via {}", route.pod_cidr, route.via);
    }
    let rule = format!("POSTROUTING -s {} ! -d {pod_subnet} -j MASQUERADE", node.pod_cidr);
    let _ =
        writeln!(text, "iptables -w -t nat -C {rule} 2>/dev/null || iptables -w -t nat -A {rule}");
    text
}

/// The script of a node, without the route to pods of a node that is gone.
pub fn without_route(script: &str, pod_cidr: &str) -> String {
    let route = format!("ip route replace {pod_cidr} via ");
    script
        .lines()
        .filter(|line| !line.starts_with(&route))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The systemd drop-in.
pub fn drop_in() -> String {
    format!("[Service]\nExecStartPre={SCRIPT}\n")
}
