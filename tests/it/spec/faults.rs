//! Everything that is wrong is said at once, each fault with its place and its remedy.

use pipe::Kind;

use super::{component, load};

/// The problems of a project, a line each.
fn problems(files: &[(&str, &str)], cluster: &str) -> String {
    let error = load(files, cluster).unwrap_err();
    assert_eq!(error.kind, Kind::Files);
    error.causes.join("\n")
}

/// A cluster file called `x` with these lines after its head, and an empty profile.
fn cluster_problems(lines: &str) -> String {
    let cluster =
        format!("{{apiVersion: pipe.dev/v1alpha1, kind: Cluster, name: x, profile: p,\n{lines}}}");
    let profile = "{apiVersion: pipe.dev/v1alpha1, kind: Profile, name: p, components: []}";
    match load(&[("clusters/x.yaml", &cluster), ("profiles/p.yaml", profile)], "x") {
        Ok(_) => String::new(),
        Err(error) => error.causes.join("\n"),
    }
}

#[test]
fn ten_faults_give_ten_lines() {
    let cluster = "\
apiVersion: pipe.dev/v1alpha1
kind: Cluster
name: dev
profile: laptop
hostPorts: random
podSubnet: 10.96.0.0/12
nodes:
- {name: core, controlPlane: true, rol: core}
- {name: edge, arch: arm64}
- {name: edge, labels: {kubernetes.io/arch: arm64, team: 7}}
- {name: gpu, taints: [\"accelerator=gpu\"], resources: {gpu: 2}}
";
    let profile = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: laptop
components:
- {name: nast, namespace: messaging}
";
    let files = [("clusters/dev.yaml", cluster), ("profiles/laptop.yaml", profile)];
    let lines = problems(&files, "dev");
    insta::assert_snapshot!(lines, @r#"
    clusters/dev.yaml:5:12: "random" is none of the choices: use one of default, auto
    clusters/dev.yaml:6:12: podSubnet 10.96.0.0/12 and serviceSubnet 10.96.0.0/16 overlap: use ranges apart, such as 10.244.0.0/16 and 10.96.0.0/16
    clusters/dev.yaml:8:36: unknown key "rol": did you mean "role"?
    clusters/dev.yaml:9:22: this host is amd64, so the node cannot really be arm64: add fidelity: labelled (a real node of this host with the label and taint arch=); emulated and simulated nodes come later
    clusters/dev.yaml:10:10: a second node is called edge; the first is on line 9: give each node a name of its own
    clusters/dev.yaml:10:25: the label kubernetes.io/arch cannot be set here: kubelet resets it to its own; use the field arch, which sets arch=
    clusters/dev.yaml:10:58: 7 is not valid here: it must be text: put it in quotes
    clusters/dev.yaml:11:24: the taint "accelerator=gpu" has no effect: write KEY=VALUE:NoSchedule, :PreferNoSchedule or :NoExecute
    clusters/dev.yaml:11:56: "gpu" has no domain, so it is not an extended resource: name an extended resource, such as nvidia.com/gpu
    profiles/laptop.yaml:5:10: unknown component "nast": did you mean "nats"?
    "#);
    assert_eq!(lines.lines().count(), 10);
}

#[test]
fn nodes_are_checked() {
    insta::assert_snapshot!(cluster_problems("nodes: []"), @"clusters/x.yaml:2:8: no node is the control plane: add controlPlane: true to one");
    insta::assert_snapshot!(cluster_problems("nodes: [{name: a}]"), @"clusters/x.yaml:2:8: no node is the control plane: add controlPlane: true to one");
    for several in [
        "{name: a, controlPlane: true}, {name: b, controlPlane: true}",
        "{name: a, controlPlane: true, count: 3}, {name: b}",
    ] {
        assert_eq!(cluster_problems(&format!("nodes: [{several}]")), "");
    }
    insta::assert_snapshot!(cluster_problems(
        "nodes: [{name: a, controlPlane: true, count: 2}, {name: a-2}, {name: B}, {name: c, count: 0}]"
    ), @r#"
    clusters/x.yaml:2:57: a second node is called a-2; the first is on line 2: give each node a name of its own
    clusters/x.yaml:2:70: "B" contains 'B'; only a-z, 0-9 and '-' may stand in it: use a name such as core or edge-2
    clusters/x.yaml:2:91: 0 is not valid here: write a whole number from 1 to 100
    "#);
    insta::assert_snapshot!(cluster_problems(
        "nodes: [{name: a, controlPlane: true, accelerator: gpu, taints: ['accelerator=x:NoSchedule']}]"
    ), @r#"
    clusters/x.yaml:2:8: every node has a taint, so cluster DNS and components could run nowhere: leave one node without taints, accelerator and labelled arch
    clusters/x.yaml:2:66: the taint accelerator:NoSchedule stands twice: leave it out: the field accelerator sets it
    "#);
    insta::assert_snapshot!(cluster_problems(
        "nodes: [{name: a, controlPlane: true, role: control-plane, zone: '', mounts: [], labels: \
         {node-role.kubernetes.io/x: '', x.k8s.io/y: z, pipe.dev/a: b, bad key: '', ok: 'a b'}}]"
    ), @r#"
    clusters/x.yaml:2:45: the role control-plane belongs to Kubernetes: write controlPlane: true, and a role of your own or none
    clusters/x.yaml:2:66: zone is empty: use letters, digits, '-', '_' and '.'
    clusters/x.yaml:2:70: "mounts" does not stand here: write it beside nodes:, with node: NAME for one node alone
    clusters/x.yaml:2:91: the label node-role.kubernetes.io/x cannot be set here: use the field role
    clusters/x.yaml:2:122: kubelet refuses the label x.k8s.io/y: use a prefix of your own, or node.kubernetes.io/
    clusters/x.yaml:2:137: the label pipe.dev/a belongs to pipe: use a prefix of your own
    clusters/x.yaml:2:152: "bad key" contains ' ': write NAME or DOMAIN/NAME, of letters, digits, '-', '_' and '.'
    clusters/x.yaml:2:169: the label's value "a b" contains ' ': use at most 63 letters, digits, '-', '_' and '.'
    "#);
    insta::assert_snapshot!(cluster_problems(
        "nodes: [{name: a, controlPlane: true}, {name: b, arch: arm64, fidelity: native},\n\
         {name: c, fidelity: simulated}, {name: d, fidelity: labelled}, {name: e, arch: mips}]"
    ), @r#"
    clusters/x.yaml:2:56: this host is amd64, so the node cannot really be arm64: add fidelity: labelled (a real node of this host with the label and taint arch=); emulated and simulated nodes come later
    clusters/x.yaml:3:21: "simulated" is not supported yet: use native or labelled for now
    clusters/x.yaml:3:53: fidelity: labelled without an architecture: add arch, or leave fidelity out
    clusters/x.yaml:3:80: "mips" is none of the choices: use one of amd64, arm64
    "#);
    let long = "b".repeat(62);
    let found = cluster_problems(&format!(
        "nodes: [{{name: a, controlPlane: true}}, {{name: {long}, count: 2}}, {{name: a, count: x}}]"
    ));
    assert!(found.contains("use a shorter name with count"), "{found}");
    assert!(
        found.contains("\"x\" is not valid here: write a whole number from 1 to 100"),
        "{found}"
    );
    assert!(found.contains("a second node is called a"), "{found}");
    insta::assert_snapshot!(cluster_problems(
        "nodes: [{name: a, controlPlane: true}, {name: b, count: 100}]"
    ), @"clusters/x.yaml:2:8: 101 nodes are too many: have at most 100");
}

#[test]
fn what_comes_later_is_refused_clearly() {
    insta::assert_snapshot!(cluster_problems(
        "provider: k3d,\n\
         nodes: [{name: a, controlPlane: true}]"
    ), @r#"clusters/x.yaml:2:11: "k3d" is not supported yet: use kind for now"#);
}

#[test]
fn versions_are_checked() {
    let node = "nodes: [{name: a, controlPlane: true}]";
    insta::assert_snapshot!(cluster_problems(&format!("kubernetes: v1.36.99, {node}")), @"clusters/x.yaml:2:13: no node image of Kubernetes v1.36.99 is known here: use one of v1.36.4, v1.36.1, v1.35.0, v1.34.0, v1.33.1, v1.32.2, v1.31.2, or name an image that has it: nodeImage: REGISTRY/REPOSITORY:TAG, or --node-image");
    insta::assert_snapshot!(cluster_problems(&format!("kubernetes: 1.36, {node}")), @"clusters/x.yaml:2:13: a number is not valid here: it must be text: put it in quotes");
    insta::assert_snapshot!(cluster_problems(&format!("kubernetes: latest, nodeImage: node, {node}")), @r#"
    clusters/x.yaml:2:13: "latest" is no version of Kubernetes: write one of v1.36.4, v1.36.1, v1.35.0, v1.34.0, v1.33.1, v1.32.2, v1.31.2
    clusters/x.yaml:2:32: "node" has no registry; write docker.io/library/NAME:TAG: write REGISTRY/REPOSITORY:TAG, with @sha256:… where you know it
    "#);
    for good in ["v1.36.4", "'1.35'", "v1.34", "v1.30.2, nodeImage: 'registry.example/node:v1'"] {
        assert_eq!(cluster_problems(&format!("kubernetes: {good}, {node}")), "", "{good}");
    }
}

#[test]
fn patches_are_checked() {
    let node = "nodes: [{name: a, controlPlane: true}]";
    insta::assert_snapshot!(cluster_problems(&format!("patches: {{kubelet: [], kubeadm: {{}}, containerd: 3, crio: x}}, {node}")), @r#"
    clusters/x.yaml:2:20: a list is not valid here: write a mapping
    clusters/x.yaml:2:33: a mapping is not valid here: write a list
    clusters/x.yaml:2:49: 3 is not valid here: it must be text: put it in quotes
    clusters/x.yaml:2:52: unknown key "crio": use one of kubelet, kubeadm, containerd
    "#);
    insta::assert_snapshot!(cluster_problems(&format!(
        "patches: {{kubelet: {{kind: ClusterConfiguration}}, kubeadm: [{{apiServer: {{}}}},\n\
         {{kind: ClusterConfig}}, {{kind: ClusterConfiguration, apiVersion: kubeadm.k8s.io/v1beta3,\n\
         networking: {{podSubnet: 10.0.0.0/16, dnsDomain: x.local}}, apiServer: {{extraArgs: {{v: '4'}}}}}},\n\
         {{kind: InitConfiguration, nodeRegistration: {{kubeletExtraArgs: [{{name: node-ip, value: x}},\n\
         {{name: v, value: 4}}]}}}}, {{kind: KubeletConfiguration, cgroupDriver: cgroupfs, maxPods: off}}]}}, {node}"
    )), @r#"
    clusters/x.yaml:2:27: ClusterConfiguration stands under kubelet: move it to kubeadm, or leave kind out
    clusters/x.yaml:2:60: the patch does not say of which document: add kind:, one of ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeletConfiguration, KubeProxyConfiguration
    clusters/x.yaml:3:8: kubeadm reads no document of kind "ClusterConfig": use one of ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeletConfiguration, KubeProxyConfiguration
    clusters/x.yaml:3:65: pipe writes ClusterConfiguration as kubeadm.k8s.io/v1beta4: leave apiVersion out, and write the patch in that form
    clusters/x.yaml:4:25: networking.podSubnet is pipe's to decide: write podSubnet: in the cluster file
    clusters/x.yaml:4:82: arguments are a list in this version of kubeadm's documents: write [{name: NAME, value: 'VALUE'}]
    clusters/x.yaml:5:72: the argument node-ip is pipe's to give: leave it out
    clusters/x.yaml:6:18: 4 is not valid here: it must be text: put it in quotes
    clusters/x.yaml:6:68: cgroupDriver is pipe's to decide: the node image decides it
    clusters/x.yaml:6:87: off means true or false to some programs and text to others: write true or false, or put it in quotes
    "#);
    assert_eq!(
        cluster_problems(&format!(
            "patches: {{kubelet: {{maxPods: 50}}, kubeadm: [{{kind: ClusterConfiguration, apiServer: \
             {{extraArgs: [{{name: v, value: '4'}}]}}}}], containerd: \"[debug]\\nlevel = 'debug'\"}}, {node}"
        )),
        ""
    );
}

#[test]
fn a_patch_of_containerd_is_read_as_toml() {
    let cluster = |lines: &str| {
        format!(
            "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: x\nprofile: quickstart\n\
             nodes: [{{name: a, controlPlane: true}}]\npatches:\n  containerd: |\n{lines}"
        )
    };
    let broken = cluster("    [debug]\n    level = info\n");
    insta::assert_snapshot!(problems(&[("clusters/x.yaml", &broken)], "x"), @"clusters/x.yaml:9:1: the patch is no TOML (invalid float, expected `inf`): correct it; keys with dots go in quotes");
    let owned = cluster("    [grpc]\n    gid = 0\n    address = \"/run/x.sock\"\n");
    insta::assert_snapshot!(problems(&[("clusters/x.yaml", &owned)], "x"), @"clusters/x.yaml:10:1: grpc.address of containerd is pipe's to decide: kubelet looks for the socket where it is");
}

#[test]
fn ports_are_checked() {
    insta::assert_snapshot!(cluster_problems(
        "ports: [{hostPort: 8080, nodePort: 30080}, {hostPort: 8080, containerPort: 80, address: 0.0.0.0},\n\
         {hostPort: 8080, containerPort: 53, protocol: udp}, {hostPort: 4222, nodePort: 30081},\n\
         {hostPort: 0, nodePort: 80}, {hostPort: 81}, {hostPort: 82, nodePort: 30082, containerPort: 82},\n\
         {name: Web, hostPort: 83, containerPort: 83, protocol: sctp, address: localhost, node: b},\n\
         {name: web, hostPort: 84, containerPort: 1}, {name: web, hostPort: 85, containerPort: 1, listen: x}],\n\
         nodes: [{name: a, controlPlane: true, ports: []}]"
    ), @r#"
    clusters/x.yaml:2:44: hostPort 8080/tcp stands twice; the first is on line 2: give each a port or an address of its own
    clusters/x.yaml:3:53: hostPort 4222 belongs to nats-client: choose another, or set hostPorts: auto, which takes free ones
    clusters/x.yaml:4:12: 0 is not valid here: write a whole number from 1 to 65535
    clusters/x.yaml:4:25: 80 is not valid here: write a whole number from 30000 to 32767
    clusters/x.yaml:4:30: a port needs nodePort or containerPort, and here stand neither: write nodePort: 30080 for a Service of type NodePort, containerPort: 80 for any other port of the node
    clusters/x.yaml:4:46: a port needs nodePort or containerPort, and here stand both: write nodePort: 30080 for a Service of type NodePort, containerPort: 80 for any other port of the node
    clusters/x.yaml:5:8: the port's name "Web" contains 'W'; only a-z, 0-9 and '-' may stand in it: use a name such as web
    clusters/x.yaml:5:56: "sctp" is not supported yet: use tcp or udp for now
    clusters/x.yaml:5:71: "localhost" is not an IP address: write 127.0.0.1 for this host alone, or 0.0.0.0 for everybody who reaches it
    clusters/x.yaml:5:88: there is no node "b": did you mean "a"?
    clusters/x.yaml:6:46: a second port is called web; the first is on line 6: give each a name of its own, or none
    clusters/x.yaml:6:90: unknown key "listen": use one of name, hostPort, nodePort, containerPort, protocol, address, node
    clusters/x.yaml:7:39: "ports" does not stand here: write it beside nodes:, with node: NAME for another node than the control plane
    "#);
    let free = "hostPorts: auto, ports: [{hostPort: 4222, nodePort: 30081}, {hostPort: 4222, nodePort: \
                30081, address: '::1'}], nodes: [{name: a, controlPlane: true}]";
    assert_eq!(cluster_problems(free), "");
}

#[test]
fn mounts_are_checked() {
    insta::assert_snapshot!(cluster_problems(
        "mounts: [{hostPath: /a, containerPath: /data}, {hostPath: b, containerPath: /data/, node: a},\n\
         {hostPath: ~/x, containerPath: data}, {hostPath: '', containerPath: /../etc},\n\
         {hostPath: /x, containerPath: /var}, {hostPath: /x, containerPath: /proc/x},\n\
         {hostPath: /x, containerPath: /x, propagation: rshared, readOnly: 'yes', node: c}, {from: x}],\n\
         nodes: [{name: a, controlPlane: true}, {name: b}]"
    ), @r#"
    clusters/x.yaml:2:48: containerPath /data stands twice; the first is on line 2: give each a path or a node of its own
    clusters/x.yaml:3:12: "~/x" is no path on this host: write /home/me/data, or ./data for a folder beside this file
    clusters/x.yaml:3:32: "data" is no path in a node: write an absolute path such as /data
    clusters/x.yaml:3:50: "" is no path on this host: write /home/me/data, or ./data for a folder beside this file
    clusters/x.yaml:3:69: "/../etc" is no path in a node: write an absolute path such as /data
    clusters/x.yaml:4:31: the node needs /var for itself: mount below another path, such as /data
    clusters/x.yaml:4:68: the node needs /proc/x for itself: mount below another path, such as /data
    clusters/x.yaml:5:48: "rshared" is none of the choices: use one of None, HostToContainer, Bidirectional
    clusters/x.yaml:5:67: "yes" is not valid here: write true or false
    clusters/x.yaml:5:80: there is no node "c": did you mean "a"?
    clusters/x.yaml:5:84: "hostPath" is missing: add hostPath: ./data
    clusters/x.yaml:5:84: "containerPath" is missing: add containerPath: /data
    clusters/x.yaml:5:85: unknown key "from": use one of hostPath, containerPath, readOnly, propagation, selinuxRelabel, node
    "#);
    assert_eq!(
        cluster_problems(
            "mounts: [{hostPath: a, containerPath: /data, node: a}, {hostPath: b, containerPath: /data,\n\
             node: b}, {hostPath: ./c/../d, containerPath: /var/local-path-provisioner, readOnly: true}],\n\
             nodes: [{name: a, controlPlane: true}, {name: b}]"
        ),
        ""
    );
}

#[test]
fn subnets_are_checked() {
    let node = "nodes: [{name: a, controlPlane: true}, {name: b}]";
    for (lines, fault) in [
        ("podSubnet: 10.0.0.0/24,", "is too small for 2 nodes"),
        ("podSubnet: 10.0.0.0/25,", "has the wrong size"),
        ("serviceSubnet: 10.0.0.0/8,", "has the wrong size"),
        ("serviceSubnet: 10.244.4.0/24,", "overlap"),
        ("podSubnet: 10.0.0.0/8,", "overlap"),
        ("podSubnet: 'fd00::/64',", "is not an IPv4 range"),
        ("podSubnet: 10.1.2.3/16,", "its first address, which is 10.1.0.0/16"),
    ] {
        let found = cluster_problems(&format!("{lines} {node}"));
        assert!(found.contains(fault) && found.lines().count() == 1, "{lines} gave {found:?}");
    }
    assert_eq!(cluster_problems(&format!("podSubnet: 10.0.0.0/23, {node}")), "");
}

/// A cluster `x` of one node with a profile of these components.
fn profile_problems(components: &str, files: &[(&str, &str)]) -> String {
    let profile =
        format!("apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: p\ncomponents:\n{components}");
    let cluster = "{apiVersion: pipe.dev/v1alpha1, kind: Cluster, name: x, profile: p, \
                   nodes: [{name: a, controlPlane: true}]}";
    let mut files = files.to_vec();
    files.extend([("clusters/x.yaml", cluster), ("profiles/p.yaml", &profile)]);
    problems(&files, "x")
}

#[test]
fn components_are_checked_together() {
    let one = component("one", "needs: [two]\nports: {http: spare-1}\nenv: {URL: '{host}'}\n");
    let two = component("two", "needs: [one]\nports: {http: spare-1}\nenv: {URL: '{host}'}\n");
    let three = component("three", "needs: [four]\n");
    let files = [
        ("profiles/components/one.yaml", one.as_str()),
        ("profiles/components/two.yaml", &two),
        ("profiles/components/three.yaml", &three),
    ];
    insta::assert_snapshot!(profile_problems("\
- {name: one, namespace: a}
- {name: two, namespace: a, size: big}
- {name: three, namespace: kube-system, values: []}
- {name: one, namespace: b}
- {name: five, whenUnavailable: shrug}
", &files), @r#"
    profiles/p.yaml:5:10: needs go in a circle: one → two → one: take one need out of the component files
    profiles/p.yaml:6:10: two and one both use the host port spare-1: leave one of them out, or change its component file
    profiles/p.yaml:6:10: two and one both use the setting URL: leave one of them out, or change its component file
    profiles/p.yaml:6:35: two has no size "big": use single
    profiles/p.yaml:7:10: three needs four, which is not here: add four to the components
    profiles/p.yaml:7:28: the namespace kube-system belongs to Kubernetes: use a name such as data or messaging
    profiles/p.yaml:7:49: a list is not valid here: write a mapping
    profiles/p.yaml:8:10: the component one stands twice: keep one of them
    profiles/p.yaml:9:3: "namespace" is missing: add namespace: data
    profiles/p.yaml:9:10: unknown component "five": use one of clickhouse, foundationdb, minio, nats, one, scylladb, silo, three, two
    profiles/p.yaml:9:33: "shrug" is none of the choices: use one of fail, skip
    "#);
}

#[test]
fn a_component_file_is_checked() {
    let bad = "\
apiVersion: pipe.dev/v1
kind: Component
name: bad
chart: nowhere
images: [nats, 'docker.io/library/nats:2']
needs: [bad]
ports: {client: nats-clien, other: s3, third: s3}
credentials:
  secret: s
  keys: {a: {value: x, generate: 20}, b: {generate: 4, fixed: x}, host: {value: x}}
values: {port: '{nodePort:thrd}'}
sizes: {single: {flag: off}}
ready: [{statefulSet: a}, {within: 3 minutes}, {deployment: a, endpoints: b, within: 1s}]
smoke: {driver: redis, port: clint, within: 0s}
env: {url: x, A: '{port:clint}', B: '{user}', C: '{'}
";
    let files = [("profiles/components/bad.yaml", bad)];
    insta::assert_snapshot!(profile_problems("- {name: bad, namespace: a}\n", &files), @r#"
    profiles/components/bad.yaml: there is no chart charts-cache/nowhere: add it there, or correct chart:
    profiles/components/bad.yaml:1:1: "description" is missing: add description: TEXT, one line for people
    profiles/components/bad.yaml:1:13: "pipe.dev/v1" is none of the choices: use pipe.dev/v1alpha1
    profiles/components/bad.yaml:5:10: "nats" has no registry; write docker.io/library/NAME:TAG: write REGISTRY/REPOSITORY:TAG
    profiles/components/bad.yaml:6:9: bad needs itself: leave it out here
    profiles/components/bad.yaml:7:17: "nats-clien" is not in the catalogue of host ports: did you mean "nats-client"?
    profiles/components/bad.yaml:7:47: third and other both use the host port s3: give each a port of its own, such as spare-1
    profiles/components/bad.yaml:10:13: is no credential: write {value: TEXT}, {generate: LENGTH, fixed: TEXT} or {crypt: KEY}
    profiles/components/bad.yaml:10:53: 4 is not valid here: write a whole number from 12 to 128
    profiles/components/bad.yaml:10:67: "host" cannot be a key here: use a name such as password
    profiles/components/bad.yaml:11:16: "thrd" is none of the ports: did you mean "third"?
    profiles/components/bad.yaml:12:24: off means true or false to some programs and text to others: write true or false, or put it in quotes
    profiles/components/bad.yaml:13:9: "within" is missing: add within: 3m
    profiles/components/bad.yaml:13:27: holds 0 conditions: name one of statefulSet, deployment and endpoints
    profiles/components/bad.yaml:13:36: "3 minutes" is not a length of time: write a time such as 90s, 3m or 1h
    profiles/components/bad.yaml:13:48: holds 2 conditions: name one of statefulSet, deployment and endpoints
    profiles/components/bad.yaml:14:17: "redis" is not supported yet: use clickhouse or cql or fdb or nats or s3 for now
    profiles/components/bad.yaml:14:30: "clint" is none of the ports: did you mean "client"?
    profiles/components/bad.yaml:14:45: "0s" is no time at all: write a time such as 90s, 3m or 1h
    profiles/components/bad.yaml:15:7: "url" cannot be a setting: use A-Z, 0-9 and '_'
    profiles/components/bad.yaml:15:18: {port:clint} is no variable here: did you mean "port:client"?
    profiles/components/bad.yaml:15:37: {user} is no variable here: use one of host, port:client, port:other, port:third, host
    profiles/components/bad.yaml:15:50: "{" has a { without }: write variables as {host} or {port:client}
    "#);
}

#[test]
fn files_of_a_component_and_a_driver_without_port_are_checked() {
    let bad = component(
        "bad",
        "ports: {http: spare-1}\nsmoke: {driver: fdb, port: http, within: 1m}\n\
         files: {.hidden: x, a: '{host}', b: '{node'}\n\
         env: {A: '{file:c}', B: '{node}'}\n",
    );
    let files = [("profiles/components/bad.yaml", bad.as_str())];
    let problems = profile_problems("- {name: bad, namespace: a}\n", &files);
    for expected in [
        "the driver has no port: leave it out: it works inside of the pod",
        "\".hidden\" cannot be a file's name",
        "names a variable that is not known here: write the node's address as {node}",
        "\"{node\" has a { without }",
        "{file:c} is no variable here",
        "{node} is no variable here",
    ] {
        assert!(problems.contains(expected), "{expected}: {problems}");
    }
}

#[test]
fn missing_files_list_what_there_is() {
    insta::assert_snapshot!(problems(&[], "deb"), @r#"clusters/deb.yaml: there is no such file: did you mean "dev"?"#);
    insta::assert_snapshot!(problems(&[], "No_Such"), @r#"clusters/No_Such.yaml: "No_Such" cannot be a name: it contains 'N'; only a-z, 0-9 and '-' may stand in it: use one of ci, dev, single, or write a starter set with `pipe init`"#);
    let nameless = "{apiVersion: pipe.dev/v1alpha1, kind: Cluster, name: y, nodes: [{name: a, controlPlane: true}]}";
    insta::assert_snapshot!(problems(&[("clusters/x.yaml", nameless)], "x"), @r#"clusters/x.yaml:1:54: the name is "y" but the file is x.yaml: write name: x, or rename the file"#);
    let gone = "{apiVersion: pipe.dev/v1alpha1, kind: Profil, name: x, profile: gone, nodes: [{name: a, controlPlane: true}]}";
    insta::assert_snapshot!(problems(&[("clusters/x.yaml", gone)], "x"), @r#"
    clusters/x.yaml:1:39: "Profil" is none of the choices: use Cluster
    profiles/gone.yaml: there is no such file: use one of ci, laptop, quickstart, or write a starter set with `pipe init`
    "#);
    let bare = "{apiVersion: pipe.dev/v1alpha1, kind: Cluster, name: x, nodes: [{name: a, controlPlane: true}]}";
    insta::assert_snapshot!(problems(&[("clusters/x.yaml", bare)], "x"), @"clusters/x.yaml: no profile is chosen: add profile: NAME, or pass --profile NAME; there are ci, laptop, quickstart");
}
