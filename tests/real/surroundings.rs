//! A node that is told of the network around it: a proxy, a private authority, mirrors. The mirrors
//! are servers of this test on the cluster's network.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Case;
use super::cluster::ONE;
use super::host::podman;
use super::pipe::Home;
use super::registry::{self, Registry, tls_config};

pub const CASES: [Case; 1] =
    [Case::new("nodes_are_told_of_proxy_authority_and_mirrors", told_in_place)];

fn told_in_place() {
    let home = Home::new(&["one"]);
    let bare = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: bare\ncomponents: []\n";
    home.write("profiles/bare.yaml", bare);
    home.write_cluster("one", &ONE.replace("profile: messages", "profile: bare"));

    super::case::healed("proxy-without-exceptions");
    // Nothing listens there: whatever of our own went through it would fail.
    let mut up = home.command("up one");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        up.env(name, "http://127.0.0.1:9");
    }
    // The engine's service, which this starts, shall reach the servers below.
    let output = up.env("NO_PROXY", "10.0.0.0/8").output().expect("pipe runs");
    let text = super::host::text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("on this host's loopback"), "{text}");

    let gateway = podman([
        "network",
        "inspect",
        "kind",
        "--format",
        "{{range .Subnets}}{{.Gateway}} {{end}}",
    ]);
    let gateway =
        gateway.split_whitespace().find(|g| g.contains('.')).expect("a gateway").to_owned();
    let (tls, authority) = tls_config(&gateway);
    let files = registry::image(registry::program(&home.path("app")));
    // Without TLS it wants a login.
    let private = Registry::new(files.clone());
    let plain = Registry { wants_login: true, ..Registry::new(files) };
    let (private_port, plain_port) =
        (private.serve("0.0.0.0", Some(tls)), plain.serve("0.0.0.0", None));

    std::fs::create_dir_all(home.path("home/.config/pipe")).expect("a folder");
    std::fs::write(home.path("home/.config/pipe/company.pem"), authority).expect("a file");
    let config = home.path("home/.config/pipe/config.yaml");
    let header = "apiVersion: pipe.dev/v1alpha1\nkind: Config\n";
    let text = format!(
        "{header}proxy: {{http: 'http://u:hunter2@10.255.255.1:3128', https: 'http://10.255.255.1:3128', \
         except: [.corp.example]}}\nauthorities: [company.pem]\nmirrors:\n  docker.io: \
         ['https://{gateway}:{private_port}/hub']\n  plain.example: ['http://{gateway}:{plain_port}']\n"
    );
    std::fs::write(&config, text).expect("a file");
    let steps = home.json("plan one")["steps"].clone();
    assert_eq!(steps.as_array().map(Vec::len), Some(1), "{steps}");
    assert_eq!(steps[0]["id"], "surroundings/core", "{steps}");
    assert!(!steps.to_string().contains("hunter2"), "{steps}");
    home.ok("up one");
    assert_eq!(home.json("plan one")["steps"], serde_json::json!([]));

    let node = "one-control-plane";
    let environment =
        podman(["exec", node, "systemctl", "show", "-p", "Environment", "containerd"]);
    assert!(environment.contains("HTTPS_PROXY=http://10.255.255.1:3128"), "{environment}");
    for direct in [".corp.example", "10.244.0.0/16", "10.96.0.0/16", ".svc", node] {
        assert!(environment.contains(direct), "{direct}: {environment}");
    }

    // The node pulls by itself: through its mirror, over TLS that only our authority vouches for,
    // and past a proxy that answers nobody.
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: mirrored}\nspec:\n  \
               terminationGracePeriodSeconds: 0\n  containers: [{name: app, image: 'team/app:1'}]\n";
    home.write("pod.yaml", pod);
    home.ok("kubectl -c one -- apply -f pod.yaml");
    home.ok("kubectl -c one -- wait pod/mirrored --for=condition=Ready --timeout=90s");
    let asked = private.seen.lock().expect("no panic").clone();
    let manifest = "/v2/hub/team/app/manifests/1?ns=docker.io";
    assert!(asked.iter().any(|(path, _)| path == manifest), "{asked:?}");

    // The engine pulls for us from the mirror without TLS, with the user's login for it.
    let login = BASE64_STANDARD.encode("ada:s3cret~~~???");
    let logins = serde_json::json!({"auths": {format!("{gateway}:{plain_port}"): {"auth": login}}});
    std::fs::write(home.path("logins.json"), logins.to_string()).expect("a file");
    let mut add = home.command("images add -c one plain.example/team/app:1");
    let output = add.env("REGISTRY_AUTH_FILE", home.path("logins.json")).output().expect("it runs");
    assert!(output.status.success(), "{}", super::host::text(&output));
    let asked = plain.seen.lock().expect("no panic").clone();
    assert!(
        asked
            .iter()
            .any(|(_, login)| login
                == &format!("Basic {}", BASE64_STANDARD.encode("ada:s3cret~~~???"))),
        "{asked:?}"
    );
    let names = podman(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(names.contains("plain.example/team/app:1") && !names.contains(&gateway), "{names}");
    podman(["rmi", "--force", "plain.example/team/app:1"]);

    // A shell that says nothing takes nothing away but what only the file can say; `none` does.
    std::fs::write(&config, header).expect("a file");
    let silent = home.run("plan one");
    let said = super::host::text(&silent);
    assert!(said.contains("10.255.255.1:3128") && said.contains("config.yaml"), "{said}");
    std::fs::write(&config, format!("{header}proxy: none\n")).expect("a file");
    home.ok("up one");
    let environment =
        podman(["exec", node, "systemctl", "show", "-p", "Environment", "containerd"]);
    assert!(!environment.contains("10.255.255.1"), "{environment}");
    let left = podman([
        "exec",
        node,
        "find",
        "/etc/containerd/certs.d",
        "/etc/ssl/certs",
        "-name",
        "hosts.toml",
        "-o",
        "-name",
        "pipe-*",
    ]);
    assert_eq!(left, "");
    assert_eq!(home.json("plan one")["steps"], serde_json::json!([]));
    std::fs::remove_file(&config).expect("it is there");
    home.ok("teardown one");
}
