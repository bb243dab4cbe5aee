//! Control groups against runtime, manager, engine and node image: which combinations boot.

use super::engine::numbers;
use super::{Facts, Finding, codes, remedy};
use crate::world::host::Cgroups;

/// How to run nodes on a host that has cgroup v1.
const BUILD: &str =
    "build a node image that boots here, in a clone of pipe: scripts/images/factory build node";

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let mut findings = Vec::new();
    if let Some(info) = facts.info()
        && info.cgroup_manager == "systemd"
        && !host.host.systemd
    {
        let what = "the engine asks systemd for control groups, and this host has no systemd";
        findings.push(
            Finding::new(codes::CGROUP_MANAGER, what)
                .seen("cgroup_manager = systemd")
                .needed("cgroupfs")
                .remedy("stop that service: pipe then starts one with the flags that this host needs")
                .remedy("or set cgroup_manager = \"cgroupfs\" in the [engine] table of /etc/containers/containers.conf"),
        );
    }
    let seen = match host.host.cgroups {
        Cgroups::V2 => {
            findings.push(Finding::new(codes::CGROUPS_V2, "control groups are version 2"));
            return findings;
        }
        Cgroups::Hybrid => "hybrid: controllers in version 1, an empty version 2 beside them",
        Cgroups::V1 => "version 1 only",
    };
    let what = "control groups are version 1, which Kubernetes and Podman are giving up";
    findings.push(Finding::new(codes::CGROUPS_V1, what).seen(seen));
    findings.extend(on_version_one(facts));
    findings
}

fn on_version_one(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let mut findings = Vec::new();
    if facts.rootless() {
        let what = "a rootless Podman cannot run nodes here";
        findings.push(
            Finding::new(codes::ROOTLESS_CGROUP_V1, what)
                .seen("kubelet needs its own control groups, and this host has cgroup v1")
                .remedy("run pipe as root")
                .remedy(remedy::cgroup_v2(host)),
        );
    }
    if let Some(info) = facts.info() {
        if info.runtime == "crun" && host.host.cgroups == Cgroups::Hybrid {
            findings.push(
                Finding::new(codes::CGROUP_V1_CRUN, "the engine runs containers by crun, which refuses this host")
                    .seen("crun on hybrid control groups")
                    .needed("runc")
                    .remedy(remedy::install(host, &remedy::RUNC))
                    .remedy("then stop that service: pipe starts one with `--runtime runc`; or set runtime = \"runc\" in the [engine] table of /etc/containers/containers.conf"),
            );
        }
        if numbers(&info.version)[0] >= 6 {
            let what = format!("Podman {} needs cgroup v2, and this host has v1", info.version);
            let finding = Finding::new(codes::CGROUP_V1_ENGINE, what)
                .needed("cgroup v2, or Podman 4.3 to 5.x");
            findings.push(finding.remedy(remedy::cgroup_v2(host)));
        }
    }
    if let Some(image) = facts.needs.image.as_deref().filter(|image| needs_cgroup_v2(image)) {
        findings.push(
            Finding::new(codes::NODE_IMAGE_CGROUP_V1, format!("{image} does not boot here"))
                .seen("upstream's node images from 1.35 on need cgroup v2, and this host has v1")
                .remedy(BUILD)
                .remedy(remedy::cgroup_v2(host)),
        );
    }
    findings
}

/// Upstream's images of Kubernetes 1.35 and later have a systemd that refuses cgroup v1.
fn needs_cgroup_v2(image: &str) -> bool {
    let minor = image
        .strip_prefix("docker.io/kindest/node:v1.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 35)
}

#[cfg(test)]
mod tests {
    use super::needs_cgroup_v2;

    #[test]
    fn upstream_images_are_known_by_their_version() {
        assert!(needs_cgroup_v2("docker.io/kindest/node:v1.36.4"));
        assert!(!needs_cgroup_v2("docker.io/kindest/node:v1.34.11"));
        assert!(!needs_cgroup_v2("localhost/pipe/node:v1.36.4-0123"));
    }
}
