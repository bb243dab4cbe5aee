//! What is asked of whom, as data. Each answer has a deadline and a cap (`super`).

/// A command in a node.
pub(super) struct Command {
    /// File name in the archive.
    pub(super) file: &'static str,
    /// What it is.
    pub(super) what: &'static str,
    /// The command.
    pub(super) argv: &'static [&'static str],
}

const fn command(file: &'static str, what: &'static str, argv: &'static [&'static str]) -> Command {
    Command { file, what, argv }
}

/// Of every node that runs.
pub(super) const OF_NODES: &[Command] = &[
    command(
        "journal.txt",
        "everything that the node's services said, the last 5000 lines",
        &["journalctl", "--no-pager", "-o", "short-iso", "-n", "5000"],
    ),
    command(
        "kubelet.txt",
        "what kubelet said",
        &["journalctl", "--no-pager", "-o", "short-iso", "-n", "3000", "-u", "kubelet"],
    ),
    command(
        "containerd.txt",
        "what containerd said",
        &["journalctl", "--no-pager", "-o", "short-iso", "-n", "3000", "-u", "containerd"],
    ),
    command(
        "units.txt",
        "services and whether they run",
        &["systemctl", "--no-pager", "list-units", "--all", "--type=service"],
    ),
    command("images.txt", "images in containerd", &["ctr", "--namespace=k8s.io", "images", "list"]),
    command(
        "containers.txt",
        "containers in containerd",
        &["ctr", "--namespace=k8s.io", "containers", "list"],
    ),
    command(
        "tasks.txt",
        "processes of those containers",
        &["ctr", "--namespace=k8s.io", "tasks", "list"],
    ),
    command(
        "room.txt",
        "disk, inodes, memory and load",
        &["sh", "-c", "df -h; df -i; cat /proc/meminfo | head -n 5; cat /proc/loadavg"],
    ),
    command(
        "network.txt",
        "addresses, routes and how names are resolved",
        &["sh", "-c", "ip address; ip route; cat /etc/resolv.conf /etc/hosts"],
    ),
];

/// Files of every node, running or not, with what they are.
pub(super) const FILES: &[(&str, &str)] = &[
    ("/kind/kubeadm.conf", "what kubeadm was told"),
    ("/kind/version", "the node's Kubernetes"),
    ("/etc/containerd/config.toml", "containerd's settings"),
    ("/var/lib/kubelet/config.yaml", "kubelet's settings"),
];

/// Folders of every node, running or not.
pub(super) const FOLDERS: &[(&str, &str)] = &[
    ("/etc/cni/net.d", "how pods are connected"),
    ("/etc/kubernetes/manifests", "the control plane's own pods"),
];

/// Where kubelet keeps what pods say.
pub(super) const POD_LOGS: &str = "/var/log/pods";

/// Prints the end of every pod's logs, current and previous, each behind a line `MARK PATH`.
pub(super) const POD_LOGS_SCRIPT: &str = "\
cd /var/log/pods || exit 0
find . -name '*.log' -type f | sort | head -n 300 | while read -r file; do
  printf '\\n%s %s\\n' \"$1\" \"$file\"
  tail -c 131072 \"$file\"
done | head -c 16000000";

/// Arguments of kubectl on a control plane.
pub(super) const OF_CLUSTER: &[Command] = &[
    command(
        "readyz.txt",
        "whether the API server calls itself ready",
        &["get", "--raw", "/readyz?verbose"],
    ),
    command("nodes.txt", "nodes in detail", &["describe", "nodes"]),
    command("pods.txt", "all pods", &["get", "pods", "--all-namespaces", "-o", "wide"]),
    command(
        "pods-described.txt",
        "all pods in detail",
        &["describe", "pods", "--all-namespaces", "--show-events=true"],
    ),
    command(
        "events.txt",
        "events, the newest last",
        &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"],
    ),
    command(
        "objects.txt",
        "workloads, services and volumes",
        &[
            "get",
            "deployments,statefulsets,daemonsets,jobs,services,endpointslices,persistentvolumeclaims,persistentvolumes,storageclasses",
            "--all-namespaces",
            "-o",
            "wide",
        ],
    ),
    command(
        "kubeadm-config.yaml",
        "what kubeadm keeps in the cluster",
        &["get", "configmap", "kubeadm-config", "--namespace=kube-system", "-o", "yaml"],
    ),
];
