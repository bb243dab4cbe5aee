//! What guards the host, and its clock.

use super::{Facts, Finding, codes, remedy};
use jiff::Timestamp;

/// Clocks of one machine may differ by this much between programs that were copied to it.
const TOLERANCE: i64 = 24 * 60 * 60;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let mut findings = vec![clock(facts)];
    if host.security.selinux_enforcing == Some(true) {
        let what = "SELinux is enforcing: nodes are privileged containers, which it does not confine; folders that you mount into nodes must be readable for containers";
        findings.push(
            Finding::new(codes::SELINUX, what)
                .remedy("label such a folder: chcon -Rt container_file_t FOLDER"),
        );
    }
    if host.security.firewalld {
        let what = "firewalld runs: each reload of it removes the engine's rules, and nodes lose their ports";
        findings.push(
            Finding::new(codes::FIREWALLD, what)
                .remedy(remedy::as_root(host, "podman network reload --all")),
        );
    }
    if host.security.wsl {
        let what = "this is WSL: the clock may stand still while Windows sleeps, and older kernels lack what nf_tables needs";
        findings.push(Finding::new(codes::WSL, what).seen(&host.host.kernel).remedy(
            "in Windows, after sleep or for a newer kernel: wsl --update, then wsl --shutdown",
        ));
    }
    findings
}

fn clock(facts: &Facts) -> Finding {
    let clock = &facts.host.clock;
    let engine = facts.info().and_then(|info| Timestamp::from_second(info.built).ok());
    let engine = engine.filter(|at| at.as_second() > 0).map(|at| (at, "the engine was built"));
    let program = clock.program.map(|at| (at, "this program was installed"));
    let late = |at: &Timestamp| at.as_second() - clock.now.as_second() > TOLERANCE;
    let wrong = [engine, program].into_iter().flatten().find(|(at, _)| late(at));
    let day = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    match wrong {
        Some((at, why)) => {
            let set = match facts.host.host.systemd {
                true => remedy::as_root(&facts.host, "timedatectl set-ntp true"),
                false => remedy::as_root(&facts.host, "date -u -s 'YYYY-MM-DD HH:MM'"),
            };
            Finding::new(codes::CLOCK_WRONG, "the clock is wrong: certificates would not be valid")
                .seen(day(clock.now))
                .needed(format!("later than {}, when {why}", day(at)))
                .remedy(set)
        }
        None => {
            let how = if clock.synchronised { ", synchronised" } else { "" };
            Finding::new(codes::CLOCK_READY, "the clock is plausible")
                .seen(format!("{}{how}", day(clock.now)))
        }
    }
}
