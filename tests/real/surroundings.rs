//! A node that is told of the network around it: a proxy, a private authority, mirrors. The mirrors
//! are servers of this test on the cluster's network.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::Case;
use super::cluster::ONE;
use super::host::podman;
use super::pipe::Home;

pub const CASES: [Case; 1] =
    [Case::new("nodes_are_told_of_proxy_authority_and_mirrors", told_in_place)];

/// One request: path and query, and the authorization that came with it.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

fn told_in_place() {
    let home = Home::new(&["one"]);
    let bare = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: bare\ncomponents: []\n";
    home.write("profiles/bare.yaml", bare);
    home.write_cluster("one", &ONE.replace("profile: messages", "profile: bare"));

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
    let files = Arc::new(image(&home.path("app")));
    let (private, plain) = (Seen::default(), Seen::default());
    let private_port = serve(Some(tls), Arc::clone(&files), Arc::clone(&private));
    let plain_port = serve(None, files, Arc::clone(&plain));

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
    let asked = private.lock().expect("no panic").clone();
    let manifest = "/v2/hub/team/app/manifests/1?ns=docker.io";
    assert!(asked.iter().any(|(path, _)| path == manifest), "{asked:?}");

    // The engine pulls for us from the mirror without TLS, with the user's login for it.
    let login = BASE64_STANDARD.encode("ada:s3cret~~~???");
    let logins = serde_json::json!({"auths": {format!("{gateway}:{plain_port}"): {"auth": login}}});
    std::fs::write(home.path("logins.json"), logins.to_string()).expect("a file");
    let mut add = home.command("images add -c one plain.example/team/app:1");
    let output = add.env("REGISTRY_AUTH_FILE", home.path("logins.json")).output().expect("it runs");
    assert!(output.status.success(), "{}", super::host::text(&output));
    let asked = plain.lock().expect("no panic").clone();
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

/// A server certificate for `address`, and the authority that vouches for it.
fn tls_config(address: &str) -> (rustls::ServerConfig, String) {
    pipe::world::http::install_crypto();
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("an authority").pem();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let own = rcgen::CertificateParams::new(vec![address.to_owned()]).expect("parameters");
    let certificate = own.signed_by(&key, &issuer).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).expect("a config");
    (config, authority)
}

/// Everything a registry holds of one image, by the end of its path: media type and content.
fn image(folder: &Path) -> BTreeMap<String, (&'static str, Vec<u8>)> {
    std::fs::create_dir_all(folder).expect("a folder");
    let program = "fn main() { loop { std::thread::park(); } }";
    std::fs::write(folder.join("app.rs"), program).expect("a source");
    let compiled = Command::new("rustc")
        .args(["-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "app.rs"])
        .current_dir(folder)
        .status();
    assert!(compiled.expect("rustc runs").success());
    let mut layer = tar::Builder::new(Vec::new());
    let mut file = std::fs::File::open(folder.join("app")).expect("the program");
    layer.append_file("app", &mut file).expect("an archive");
    let layer = layer.into_inner().expect("an archive");
    let digest = |bytes: &[u8]| {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    };
    let arch = pipe::spec::Arch::host().expect("a known host").as_str();
    let config = serde_json::json!({
        "architecture": arch, "os": "linux", "config": {"Entrypoint": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    BTreeMap::from([
        ("manifests/1".to_owned(), (MANIFEST, manifest.clone())),
        (format!("manifests/{}", digest(&manifest)), (MANIFEST, manifest)),
        (format!("blobs/{}", digest(&config)), ("application/octet-stream", config)),
        (format!("blobs/{}", digest(&layer)), ("application/octet-stream", layer)),
    ])
}

/// A registry on every address of this host; the port. Without TLS it wants a login.
fn serve(
    tls: Option<rustls::ServerConfig>,
    files: Arc<BTreeMap<String, (&'static str, Vec<u8>)>>,
    seen: Seen,
) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let tls = tls.map(Arc::new);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (tls, files, seen) = (tls.clone(), Arc::clone(&files), Arc::clone(&seen));
            std::thread::spawn(move || {
                // A client that hangs up is its own business.
                let _ended = match tls {
                    None => answer(stream, true, &files, &seen),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).expect("TLS");
                        let stream = rustls::StreamOwned::new(connection, stream);
                        answer(stream, false, &files, &seen)
                    }
                };
            });
        }
    });
    port
}

/// Answers one request and closes.
fn answer(
    mut stream: impl Read + Write,
    wants_login: bool,
    files: &BTreeMap<String, (&'static str, Vec<u8>)>,
    seen: &Seen,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let login = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
    });
    let login = login.unwrap_or_default();
    seen.lock().expect("no panic").push((target.to_owned(), login.clone()));
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.rsplit('/').take(2).collect();
    let file = files.get(&parts.iter().rev().copied().collect::<Vec<_>>().join("/"));
    let (status, extra, kind, body): (_, _, _, &[u8]) = match file {
        _ if wants_login && login.is_empty() => {
            ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"test\"\r\n", "text/plain", b"")
        }
        _ if path.trim_end_matches('/').ends_with("/v2") => {
            ("200 OK", "", "application/json", b"{}")
        }
        Some((kind, body)) => ("200 OK", "", kind, body),
        None => ("404 Not Found", "", "text/plain", b""),
    };
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{extra}Content-Type: {kind}\r\n\
         Docker-Content-Digest: sha256:{digest}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body)?;
    }
    stream.flush()
}
