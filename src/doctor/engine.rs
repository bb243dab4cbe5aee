//! The engine: whether one answers, and whether that one will do.

use super::codes::{self, Code};
use super::{EngineFacts, Facts, Finding, remedy};
use crate::Error;

/// A Podman older than this has not been tried; neither has this one or a newer.
const FIRST_UNTRIED: u32 = 6;

/// A fault that versions from `from` up to, not including, `until` have.
struct KnownFault {
    from: [u32; 3],
    until: [u32; 3],
    what: &'static str,
}

const KNOWN_FAULTS: &[KnownFault] = &[KnownFault {
    from: [5, 5, 0],
    until: [5, 5, 1],
    what: "does not start containers that an earlier Podman made (its issue 26161)",
}];

/// Errors of the engine's discovery that have a code of their own here.
const OF_DISCOVERY: [Code; 5] = [
    codes::NO_PODMAN,
    codes::NO_RUNC,
    codes::ENGINE_TOO_OLD,
    codes::ENGINE_FORBIDDEN,
    codes::ENGINE_UNREACHABLE,
];

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    match &facts.engine {
        Err(error) => vec![absent(error)],
        Ok(engine) => present(facts, engine),
    }
}

/// Why there is no engine, in the words of the attempt to find one.
fn absent(error: &Error) -> Finding {
    let known = OF_DISCOVERY.into_iter().find(|code| code.name == error.code);
    let finding = Finding::new(known.unwrap_or(codes::ENGINE_UNREACHABLE), error.what.clone());
    let finding = match error.causes.join("; ") {
        none if none.is_empty() => finding,
        causes => finding.seen(causes),
    };
    error.hints.iter().fold(finding, |finding, hint| finding.remedy(hint))
}

fn present(facts: &Facts, engine: &EngineFacts) -> Vec<Finding> {
    let info = &engine.info;
    let user = if info.rootless { "rootless" } else { "as root" };
    let how = [user, &info.runtime, &info.cgroup_manager, &info.network_backend, &info.storage]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    let answers = format!("Podman {} (API {}) answers: {how}", info.version, info.api);
    let mut findings = vec![Finding::new(codes::ENGINE_ANSWERS, answers).seen(&engine.socket)];
    let version = numbers(&info.version);
    if version[0] >= FIRST_UNTRIED {
        let what = format!("Podman {} is newer than what pipe was tried with", info.version);
        findings.push(Finding::new(codes::ENGINE_NEWER, what).needed("4.3 to 5.x"));
    }
    for fault in KNOWN_FAULTS.iter().filter(|f| (f.from..f.until).contains(&version)) {
        let what = format!("Podman {} {}", info.version, fault.what);
        let until = fault.until.map(|part| part.to_string()).join(".");
        let upgrade = remedy::install(&facts.host, &remedy::PODMAN);
        let finding = Finding::new(codes::ENGINE_KNOWN_FAULT, what);
        findings.push(finding.needed(format!("{until} or newer")).remedy(upgrade));
    }
    if info.network_backend == "cni" {
        let finding = Finding::new(codes::NETWORK_BACKEND_CNI, "Podman makes networks by CNI");
        let install = remedy::install(&facts.host, &remedy::NETAVARK);
        findings.push(
            finding
                .seen("cni")
                .needed("netavark")
                .remedy(install)
                .remedy("then set network_backend = \"netavark\" in the [network] table of /etc/containers/containers.conf, and `podman system reset`, which removes all containers and images"),
        );
    }
    if info.dns == Some(false) && info.network_backend == "netavark" {
        let what = "aardvark-dns is not installed: nodes would not find each other by name";
        let install = remedy::install(&facts.host, &remedy::AARDVARK);
        findings.push(Finding::new(codes::NO_NETWORK_DNS, what).remedy(install));
    }
    if info.storage == "vfs" {
        let what = "images are stored without layers";
        findings.push(
            Finding::new(codes::STORAGE_VFS, what).seen("vfs").needed("overlay").remedy(
                "set driver = \"overlay\" in the [storage] table of storage.conf, and `podman system reset`, which removes all containers and images",
            ),
        );
    }
    findings
}

/// `5.4.2-rhel` as numbers; what is missing is 0.
pub(super) fn numbers(version: &str) -> [u32; 3] {
    let mut parts =
        version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    [parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0)]
}
