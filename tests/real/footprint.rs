//! What services take after their checks, by kubelet, against what their charts ask for.

use std::time::{Duration, Instant};

use ::pipe::spec::memory::parse;
use serde_json::Value;

use super::pipe::Home;

/// Kubelet measures every ten to fifteen seconds.
const MEASURED: Duration = Duration::from_secs(60);

/// None of `services` lives so near to its limit that a little more work would end it.
pub fn has_room(home: &Home, services: &[&str]) {
    let pods = json(home, "get pods --all-namespaces -o json");
    let deadline = Instant::now() + MEASURED;
    for service in services {
        let name = format!("{service}-0");
        let mut all = pods["items"].as_array().expect("pods").iter();
        let pod = all.find(|pod| pod["metadata"]["name"] == name.as_str()).expect("its pod");
        let memory = &pod["spec"]["containers"][0]["resources"];
        let amount = |kind: &str| parse(memory[kind]["memory"].as_str().expect(kind)).expect(kind);
        let used = loop {
            if let Some(used) = working_set(home, &name) {
                break used;
            }
            assert!(Instant::now() < deadline, "{name} is not measured");
            std::thread::sleep(Duration::from_millis(500));
        };
        let (requested, limit) = (amount("requests"), amount("limits"));
        let [used_mib, asked, most] = [used, requested, limit].map(|bytes| bytes >> 20);
        println!("        {service}: {used_mib} MiB in use, {asked} asked for, {most} at most");
        assert!(used < limit / 10 * 9, "{service}: {used} of {limit} bytes");
    }
}

/// Bytes that a pod cannot do without now.
fn working_set(home: &Home, pod: &str) -> Option<u64> {
    let path = "/api/v1/nodes/one-control-plane/proxy/stats/summary";
    let stats = json(home, &format!("get --raw {path}"));
    let mut pods = stats["pods"].as_array()?.iter();
    let pod = pods.find(|line| line["podRef"]["name"] == pod)?;
    // Of a pod that was only just seen, kubelet says 0.
    pod["memory"]["workingSetBytes"].as_u64().filter(|bytes| *bytes > 0)
}

fn json(home: &Home, line: &str) -> Value {
    let text = home.ok(&format!("kubectl -c one -- {line}"));
    serde_json::from_str(&text).expect("JSON")
}
