//! What the kernel counts: files, processes, inotify.

use super::{Facts, Finding, codes, remedy};

/// Open files of one process in a pod; databases ask for this many.
const FILES: u64 = 65_536;

/// Processes and threads of one node with a few pods: 200 to 350 measured, databases have more.
const NODE_PROCESSES: u64 = 1_000;

/// inotify instances of a control plane, and of any other node: counted with NATS running.
const CONTROL_INSTANCES: u64 = 26;
const WORKER_INSTANCES: u64 = 13;

/// What a host with room for several clusters has; kind's documentation names the same.
const INSTANCES: u64 = 512;
const WATCHES: u64 = 524_288;

/// inotify watches of one node.
const NODE_WATCHES: u64 = 500;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = files_and_processes(facts);
    findings.extend(inotify(facts));
    findings
}

fn files_and_processes(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let mut findings = Vec::new();
    if let Some(limit) = host.host.hard_nofile.filter(|limit| *limit < FILES) {
        let what = "processes in pods may open few files";
        findings.push(
            Finding::new(codes::NOFILE_LOW, what)
                .seen(format!("hard limit nofile {limit}"))
                .needed(format!("{FILES}, which ClickHouse and others ask for"))
                .remedy(remedy::limit(host, "nofile", 1_048_576)),
        );
    }
    let needed = NODE_PROCESSES * facts.needs.nodes().max(1);
    let used = host.limits.threads_used.unwrap_or(0);
    let limits = [
        ("kernel.pid_max", host.host.pid_max, used),
        ("kernel.threads-max", host.limits.threads_max, used),
        ("hard limit nproc", host.host.hard_nproc, 0),
        ("pids.max of this control group", host.limits.group_pids_max, 0),
    ];
    for (name, limit, used) in limits {
        let Some(limit) = limit.filter(|limit| limit.saturating_sub(used) < needed) else {
            continue;
        };
        let finding = Finding::new(codes::PROCESSES_LOW, "too few processes may be started")
            .seen(format!("{name} {limit}, {used} in use"))
            .needed(format!("{needed} for the nodes"));
        findings.push(match name {
            "hard limit nproc" => finding.remedy(remedy::limit(host, "nproc", 65_536)),
            "kernel.pid_max" | "kernel.threads-max" => {
                finding.remedy(remedy::sysctl(host, name, 131_072))
            }
            _ => finding.remedy("raise TasksMax of the unit or session in which the engine runs"),
        });
    }
    if findings.is_empty() {
        let what = "limits of open files and processes are high enough";
        findings.push(Finding::new(codes::LIMITS_READY, what));
    }
    findings
}

fn inotify(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let nodes = facts.needs.nodes();
    let mut findings = Vec::new();
    let used = host.limits.inotify_instances_used.unwrap_or(0);
    if let Some(limit) = host.host.inotify_instances {
        let control = u64::from(facts.needs.control_plane);
        let needed = control * CONTROL_INSTANCES + nodes.saturating_sub(control) * WORKER_INSTANCES;
        let (free, raise) = (
            limit.saturating_sub(used),
            remedy::sysctl(host, "fs.inotify.max_user_instances", INSTANCES.max(limit * 2)),
        );
        let seen = format!("fs.inotify.max_user_instances {limit}, {used} in use");
        let needs = format!("{needed} for {nodes} nodes");
        if free < needed {
            let what = "there are too few inotify instances for the nodes: kubelet and others would fail with \"too many open files\"";
            findings.push(
                Finding::new(codes::INOTIFY_FULL, what).seen(seen).needed(needs).remedy(raise),
            );
        } else if limit < INSTANCES && free < needed.max(CONTROL_INSTANCES) * 2 {
            let what = "inotify instances are scarce: another cluster may not fit";
            let needs = format!("{INSTANCES} for several clusters");
            findings.push(
                Finding::new(codes::INOTIFY_LOW, what).seen(seen).needed(needs).remedy(raise),
            );
        }
    }
    let used = host.limits.inotify_watches_used.unwrap_or(0);
    let needed = NODE_WATCHES * nodes.max(1);
    if let Some(limit) =
        host.host.inotify_watches.filter(|limit| limit.saturating_sub(used) < needed)
    {
        let raise = remedy::sysctl(host, "fs.inotify.max_user_watches", WATCHES);
        findings.push(
            Finding::new(codes::INOTIFY_LOW, "inotify watches are scarce")
                .seen(format!("fs.inotify.max_user_watches {limit}, {used} in use"))
                .needed(format!("{needed} for the nodes"))
                .remedy(raise),
        );
    }
    if findings.is_empty() {
        let what = "there are inotify instances and watches for the nodes";
        findings.push(Finding::new(codes::INOTIFY_READY, what));
    }
    findings
}
