//! A registry of the tests: it holds one image, and can be made to misbehave.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

/// One request: path and query, and the authorization that came with it.
pub type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// What a registry holds, by the end of its path: media type and content.
pub type Files = BTreeMap<String, (&'static str, Vec<u8>)>;

/// How many bytes of a layer are sent before the connection is closed; asked with the layer's size.
pub type Until = dyn Fn(usize) -> usize + Send + Sync;

/// A registry that is to be served.
#[derive(Clone)]
pub struct Registry {
    pub files: Arc<Files>,
    pub seen: Seen,
    /// Whether it answers only those who have a login.
    pub wants_login: bool,
    pub until: Arc<Until>,
}

impl Registry {
    /// One that does what registries do.
    pub fn new(files: Files) -> Registry {
        let until = Arc::new(|size| size);
        Registry { files: Arc::new(files), seen: Seen::default(), wants_login: false, until }
    }

    /// Serves until the test ends; gives the port. `address` is where it listens.
    pub fn serve(&self, address: &str, tls: Option<rustls::ServerConfig>) -> u16 {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let tls = tls.map(Arc::new);
        let registry = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, registry) = (tls.clone(), registry.clone());
                std::thread::spawn(move || {
                    // A client that hangs up is its own business.
                    let _ended = match tls {
                        None => registry.answer(stream),
                        Some(config) => {
                            let connection = rustls::ServerConnection::new(config).expect("TLS");
                            registry.answer(rustls::StreamOwned::new(connection, stream))
                        }
                    };
                });
            }
        });
        port
    }

    /// Answers one request and closes.
    fn answer(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
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
        self.seen.lock().expect("no panic").push((target.to_owned(), login.clone()));
        let path = target.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.rsplit('/').take(2).collect();
        let file = self.files.get(&parts.iter().rev().copied().collect::<Vec<_>>().join("/"));
        let (status, extra, kind, body): (_, _, _, &[u8]) = match file {
            _ if self.wants_login && login.is_empty() => (
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"test\"\r\n",
                "text/plain",
                b"",
            ),
            _ if path.trim_end_matches('/').ends_with("/v2") => {
                ("200 OK", "", "application/json", b"{}")
            }
            Some((kind, body)) => ("200 OK", "", kind, body),
            None => ("404 Not Found", "", "text/plain", b""),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\n{extra}Content-Type: {kind}\r\n\
             Docker-Content-Digest: {}\r\nContent-Length: {}\r\n\r\n",
            digest(body),
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        if method != "HEAD" {
            let sent = if *kind == *LAYER { (self.until)(body.len()) } else { body.len() };
            stream.write_all(&body[..sent])?;
        }
        stream.flush()
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A server certificate for `address`, and the authority that vouches for it.
pub fn tls_config(address: &str) -> (rustls::ServerConfig, String) {
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

/// A static program that waits for ever, as a layer.
pub fn program(folder: &Path) -> Vec<u8> {
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
    layer.into_inner().expect("an archive")
}

/// A layer of random bytes, which nothing on its way makes smaller.
pub fn ballast(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut random = std::fs::File::open("/dev/urandom").expect("random bytes");
    random.read_exact(&mut bytes).expect("random bytes");
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size as u64);
    layer.append_data(&mut header, "ballast", bytes.as_slice()).expect("an archive");
    layer.into_inner().expect("an archive")
}

/// Everything a registry holds of one image with tag 1, which runs `/app`.
pub fn image(layer: Vec<u8>) -> Files {
    let arch = pipe::spec::Arch::host().expect("a known host").as_str();
    let config = serde_json::json!({
        "architecture": arch, "os": "linux", "config": {"Entrypoint": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor(LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    BTreeMap::from([
        ("manifests/1".to_owned(), (MANIFEST, manifest.clone())),
        (format!("manifests/{}", digest(&manifest)), (MANIFEST, manifest)),
        (format!("blobs/{}", digest(&config)), ("application/octet-stream", config)),
        (format!("blobs/{}", digest(&layer)), (LAYER, layer)),
    ])
}
