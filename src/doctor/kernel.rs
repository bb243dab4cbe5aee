//! What the kernel must be able to do.

use super::engine::numbers;
use super::{Facts, Finding, codes};
use crate::world::facts::Feature;

/// What to say where a kernel was built without something.
const REMEDY: &str = "run a kernel of your distribution, with its modules package installed";

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let kernel = &facts.host.kernel_features;
    let release = &facts.host.host.kernel;
    let mut findings = Vec::new();
    let needed = [
        ("overlay", "CONFIG_OVERLAY_FS", kernel.overlay),
        ("bridge", "CONFIG_BRIDGE", kernel.bridge),
        ("veth", "CONFIG_VETH", kernel.veth),
        ("nf_conntrack", "CONFIG_NF_CONNTRACK", kernel.conntrack),
    ];
    for (module, symbol, _) in needed.iter().filter(|(_, _, feature)| *feature == Feature::Absent) {
        findings.push(
            Finding::new(codes::KERNEL_FEATURE, format!("kernel {release} has no {module}"))
                .seen(format!("no module {module}, and not built in"))
                .needed(*symbol)
                .remedy(REMEDY),
        );
    }
    let no_nft = kernel.nf_tables == Feature::Absent;
    if no_nft && kernel.ip_tables == Feature::Absent {
        findings.push(
            Finding::new(codes::NO_PACKET_FILTER, format!("kernel {release} has no packet filter"))
                .needed("CONFIG_NF_TABLES or CONFIG_IP_NF_IPTABLES")
                .remedy(REMEDY),
        );
    } else if let Some(info) = facts.info().filter(|info| no_nft && numbers(&info.version)[0] >= 6)
    {
        let what =
            format!("Podman {} needs nf_tables, and kernel {release} has none", info.version);
        findings.push(
            Finding::new(codes::NO_NF_TABLES, what).needed("CONFIG_NF_TABLES").remedy(REMEDY),
        );
    }
    if findings.is_empty() {
        let what = format!("kernel {release} has what nodes need");
        findings.push(Finding::new(codes::KERNEL_READY, what));
    }
    let emulated = &kernel.binfmt;
    if !emulated.is_empty() {
        let archs: Vec<String> = emulated
            .iter()
            .map(|one| match one.fixed {
                true => one.arch.clone(),
                false => format!("{} (not in containers: its flag F is missing)", one.arch),
            })
            .collect();
        let what = "programs of other architectures run here by emulation";
        findings.push(Finding::new(codes::EMULATION, what).seen(archs.join(", ")));
    }
    findings
}
