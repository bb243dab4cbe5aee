//! What a cluster file says beyond its nodes arrives, and what the host cannot give is refused
//! before anything is made.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use super::Case;
use super::host::podman;
use super::pipe::Home;

pub const CASES: [Case; 1] = [Case::new("options_of_a_cluster_file_arrive", options)];

const NOTHING: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: nothing
components: []
";

/// One worker beside the control plane; `PORT`s are filled in.
const CLUSTER: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Cluster
name: options
profile: nothing
hostPorts: auto
kubernetes: v1.36
podSubnet: 10.60.0.0/20
serviceSubnet: 10.61.0.0/20
ports:
- {name: kubelet, hostPort: PORT1, containerPort: 10250, node: edge}
- {hostPort: PORT1, containerPort: 53, protocol: udp}
mounts:
- {hostPath: shared, containerPath: /shared}
- {hostPath: ./shared/one.txt, containerPath: /etc/one.txt, readOnly: true, node: edge}
patches:
  kubelet: {maxPods: 23}
  kubeadm:
  - {kind: ClusterConfiguration, apiServer: {extraArgs: [{name: profiling, value: 'false'}]}}
  containerd: |
    [plugins.\"io.containerd.cri.v1.runtime\"]
    max_container_log_line_size = 4321
nodes:
- {name: core, controlPlane: true}
- {name: edge, zone: b}
";

fn options() {
    let home = Home::new(&["options"]);
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = held.local_addr().expect("its address").port();
    let file = CLUSTER.replace("PORT1", &port.to_string());
    home.write_cluster("options", &file);
    home.write("profiles/nothing.yaml", NOTHING);

    let error = home.fails("up options", 4);
    assert!(error.contains("mount-missing") && error.contains("mkdir -p"), "{error}");
    home.write("clusters/shared/one.txt", "from the host");
    refused(&home, held);
    home.ok("up options");

    // Ports: the worker's kubelet answers on the host; UDP is published as such.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the kubelet's port");
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("HTTP request to an HTTPS server"), "{answer}");
    let bindings = podman([
        "inspect",
        "options-control-plane",
        "--format",
        "{{json .HostConfig.PortBindings}}",
    ]);
    let bindings: Value = serde_json::from_str(&bindings).expect("JSON");
    assert_eq!(bindings["53/udp"][0]["HostPort"], port.to_string(), "{bindings}");

    // Mounts: both ways where that was asked for.
    podman(["exec", "options-control-plane", "sh", "-c", "echo from the node >/shared/two.txt"]);
    let two = home.path("project/clusters/shared/two.txt");
    assert_eq!(std::fs::read_to_string(two).expect("the node's file"), "from the node\n");
    assert_eq!(podman(["exec", "options-worker", "cat", "/etc/one.txt"]), "from the host");
    let write = ["exec", "options-worker", "sh", "-c", "echo x >/etc/one.txt || echo refused"];
    assert_eq!(podman(write).trim(), "refused");
    podman(["exec", "options-control-plane", "test", "!", "-e", "/etc/one.txt"]);

    // Patches: in what runs, not only in files.
    let pods = "kubectl -c options -- get nodes -o jsonpath={.items[*].status.capacity.pods}";
    assert_eq!(home.ok(pods).trim(), "23 23");
    let server = "kubectl -c options -- get pods -n kube-system -l component=kube-apiserver -o jsonpath={.items[0].spec.containers[0].command}";
    let server = home.ok(server);
    assert!(
        server.contains("--profiling=false") && server.contains("--runtime-config="),
        "{server}"
    );
    assert!(server.contains("--service-cluster-ip-range=10.61.0.0/20"), "{server}");
    let config = podman(["exec", "options-worker", "containerd", "config", "dump"]);
    assert!(config.contains("max_container_log_line_size = 4321"), "{config}");
    let dns = "kubectl -c options -- get pods -n kube-system -l k8s-app=kube-dns -o jsonpath={.items[0].status.podIP}";
    let dns = home.ok(dns);
    assert!(dns.starts_with("10.60."), "{dns}");

    assert_eq!(home.json("plan options")["steps"], Value::Array(vec![]));
    home.write_cluster("options", &file.replace("maxPods: 23", "maxPods: 24"));
    let error = home.fails("plan options", 1);
    assert!(error.contains("replace-needed") && error.contains("patches was"), "{error}");
    home.ok("teardown options");
}

/// Ports and routes that only the host can say are found before anything is made.
fn refused(home: &Home, held: TcpListener) {
    let port = held.local_addr().expect("its address").port();
    let error = home.fails("up options", 4);
    let taken = format!("127.0.0.1:{port}/tcp");
    for part in [taken.as_str(), "held by another program", "[port-taken]"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    drop(held);

    let route = |verb: &str| {
        let done = Command::new("ip").args(["route", verb, "10.60.4.0/24", "dev", "lo"]).status();
        assert!(done.expect("ip runs").success(), "ip route {verb}");
    };
    route("add");
    let error = home.run("up options");
    route("del");
    assert_eq!(error.status.code(), Some(4));
    let error = super::host::text(&error);
    for part in ["subnet-taken", "10.60.4.0/24 over lo", "podSubnet: 10.244.0.0/16"] {
        assert!(error.contains(part), "{error}");
    }
    home.assert_clean();
}
