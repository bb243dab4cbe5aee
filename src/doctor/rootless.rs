//! What an ordinary user's containers need from the administrator.

use super::{Facts, Finding, codes, remedy};
use crate::world::facts::Feature;
use crate::world::host::Cgroups;

/// Controllers that kubelet divides among pods.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Ids in a node: images use ids up to 65535.
const IDS: u64 = 65_536;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    if !facts.rootless() {
        return Vec::new();
    }
    let host = &facts.host;
    let user = &host.rootless;
    let name = user.user.clone().unwrap_or_else(|| host.uid.to_string());
    let mut findings = Vec::new();
    // Without version 2 nothing can be delegated, and that is said elsewhere.
    if host.host.cgroups == Cgroups::V2 {
        findings.extend(delegation(facts));
    }
    if user.subuids < IDS || user.subgids < IDS {
        let range = "--add-subuids 100000-165535 --add-subgids 100000-165535";
        findings.push(
            Finding::new(
                codes::ROOTLESS_NO_SUBIDS,
                format!("user {name} has too few subordinate ids"),
            )
            .seen(format!("{} user ids, {} group ids", user.subuids, user.subgids))
            .needed(format!("{IDS} of each"))
            .remedy(format!("sudo usermod {range} {name}\npodman system migrate")),
        );
    }
    if !user.id_maps {
        findings.push(
            Finding::new(codes::ROOTLESS_NO_ID_MAPS, "newuidmap and newgidmap are not installed")
                .remedy(remedy::install(host, &remedy::ID_MAPS)),
        );
    }
    let kernel = &host.kernel_features;
    let modules = [
        ("nf_tables", kernel.nf_tables),
        ("ip_tables", kernel.ip_tables),
        ("overlay", kernel.overlay),
    ];
    let filter_is_there = [kernel.nf_tables, kernel.ip_tables].contains(&Feature::Present);
    for (module, _) in modules.into_iter().filter(|(name, feature)| {
        *feature == Feature::Loadable && !(filter_is_there && *name != "overlay")
    }) {
        let load = "sudo tee -a /etc/modules-load.d/90-pipe.conf";
        findings.push(
            Finding::new(codes::ROOTLESS_MODULE, format!("kernel module {module} is not loaded"))
                .seen("only root can load it, and nodes of an ordinary user cannot")
                .remedy(format!("sudo modprobe {module}\necho {module} | {load}")),
        );
    }
    if host.host.systemd && !user.lingers {
        findings.push(
            Finding::new(
                codes::ROOTLESS_NO_LINGER,
                format!("containers of {name} end when {name} logs out"),
            )
            .remedy(format!("loginctl enable-linger {name}")),
        );
    }
    if findings.is_empty() {
        let what = format!("containers of user {name} have what they need");
        findings.push(Finding::new(codes::ROOTLESS_READY, what));
    }
    findings
}

fn delegation(facts: &Facts) -> Option<Finding> {
    let delegated = facts.host.rootless.delegated.clone().unwrap_or_default();
    let has = |name: &str| delegated.iter().any(|controller| controller == name);
    let seen = match &facts.host.rootless.delegated {
        None => "no systemd session of this user".to_owned(),
        Some(list) if list.is_empty() => "no controllers".to_owned(),
        Some(list) => list.join(" "),
    };
    if CONTROLLERS.iter().all(|name| has(name)) {
        return (!has("cpuset")).then(|| {
            Finding::new(
                codes::ROOTLESS_CPUSET,
                "cpuset is not delegated: pods cannot be pinned to CPUs",
            )
            .seen(seen)
        });
    }
    let folder = "/etc/systemd/system/user@.service.d";
    let what = "systemd does not let this user divide cpu, memory and processes";
    Some(
        Finding::new(codes::ROOTLESS_NOT_DELEGATED, what).seen(seen).needed(CONTROLLERS.join(" ")).remedy(format!(
            "sudo mkdir -p {folder}\nprintf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee {folder}/delegate.conf\nsudo systemctl daemon-reload\nthen log out of every session and in again"
        )),
    )
}
