//! Power cuts, imitated.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::podman;
use super::pipe::Home;

/// The service that `pipe` started in this home ends at once, as by the kernel's hand.
pub fn kill_service(home: &Home) {
    let record = home.path("run/pipe/podman-service.json");
    let text = std::fs::read_to_string(&record).expect("a service of this home runs");
    let record: Value = serde_json::from_str(&text).expect("its record");
    let pid = record["pid"].as_i64().expect("its process").to_string();
    kill(&pid);
}

/// A process of ours ends at once.
pub fn kill(pid: &str) {
    let status = Command::new("kill").args(["-s", "KILL", pid]).status().expect("kill runs");
    assert!(status.success(), "kill {pid}");
    // Also true of one that nobody has asked for its exit code yet.
    let ended = || std::fs::read_link(format!("/proc/{pid}/exe")).is_err();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ended() {
        assert!(Instant::now() < deadline, "{pid} goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nothing of a cluster runs any more, and nothing had time to end by itself.
pub fn cut(home: &Home, hosts: &[&str]) {
    for host in hosts {
        podman(["kill", host]);
    }
    kill_service(home);
}

/// The addresses that containers have, as the engine knows them; only while they run.
pub fn addresses(hosts: &[&str]) -> Vec<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let address = |host: &&str| podman(["inspect", host, "--format", format]).trim().to_owned();
    let found: Vec<String> = hosts.iter().map(address).collect();
    assert!(found.iter().all(|address| !address.is_empty()), "{found:?}");
    found
}
