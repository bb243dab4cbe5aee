//! Bad days of what is around a cluster: registries that are down or break off, and disks that fill.
//! Each ends in a typed error, leaves nothing behind, and the next command works.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Case;
use super::case::{hold, hold_gist};
use super::cluster::ONE;
use super::host::{self, podman};
use super::pipe::Home;
use super::registry::{self, Registry};
use super::small_disk::{self, SmallDisk};

pub const CASES: [Case; 3] = [
    Case::new("a_registry_that_is_down_or_breaks_off", registry_down),
    Case::extended("a_registry_that_takes_connections_and_hangs", registry_hangs),
    Case {
        name: "the_disk_fills_while_an_image_is_pulled",
        skip: small_disk::missing,
        run: disk_fills,
    },
];

/// Free when the pull begins: more than the check of the disk asks for.
const DISK: u64 = 4 << 30;

/// Bytes of the image that is pulled.
const IMAGE: usize = 16 << 20;

/// Writes a cluster without components; gives its file.
pub fn bare(home: &Home) -> String {
    let profile = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: bare\ncomponents: []\n";
    home.write("profiles/bare.yaml", profile);
    let one = ONE.replace("profile: messages", "profile: bare");
    home.write_cluster("one", &one);
    one
}

/// The last line of a command with `--json`, which must fail with `code`.
#[track_caller]
pub fn failed(command: &mut Command, code: i32) -> Value {
    let output = command.arg("--json").output().expect("pipe runs");
    assert_eq!(output.status.code(), Some(code), "{}", host::text(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", host::text(&output)))
}

/// The engine trusts a registry of ours.
fn trusted(home: &Home) -> rustls::ServerConfig {
    let (tls, authority) = registry::tls_config("127.0.0.1");
    std::fs::create_dir_all(home.path("home/.config/pipe")).expect("a folder");
    std::fs::write(home.path("home/.config/pipe/ours.pem"), authority).expect("a file");
    let config = "apiVersion: pipe.dev/v1alpha1\nkind: Config\nauthorities: [ours.pem]\n";
    std::fs::write(home.path("home/.config/pipe/config.yaml"), config).expect("a file");
    tls
}

/// Holds to a case: word for word on the Podman whose words are in it, else to what is ours of it.
fn hold_words(name: &str, result: &Value, normal: &[(&str, &str)]) {
    let recorded = podman(["version", "--format", "{{.Client.Version}}"]).starts_with("4.3.");
    if recorded { hold(name, result, normal) } else { hold_gist(name, result) }
}

fn images() -> String {
    podman(["images", "--format", "{{.Repository}}:{{.Tag}}"])
}

fn registry_down() {
    let home = Home::new(&["one"]);
    bare(&home);
    let tls = trusted(&home);

    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let began = Instant::now();
    let nobody = format!("up one --node-image 127.0.0.1:{port}/team/nobody:v1.34.0");
    let result = failed(&mut home.command(&nobody), 4);
    hold_words("registry-down", &result, &[(&port.to_string(), "PORT")]);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    home.assert_clean();

    // It breaks off in the middle of a layer, until it is mended.
    let mended = Arc::new(AtomicBool::new(false));
    let until = {
        let mended = Arc::clone(&mended);
        Arc::new(move |size| if mended.load(Ordering::SeqCst) { size } else { size / 2 })
    };
    let registry = Registry { until, ..Registry::new(registry::image(registry::ballast(IMAGE))) };
    let port = registry.serve("127.0.0.1", Some(tls));
    let image = format!("127.0.0.1:{port}/team/node:1");
    let up = format!("up one --node-image {image}");
    let result = failed(&mut home.command(&up), 4);
    let file = between(&result, "storing blob to file \"", "\"");
    hold_words("registry-breaks-off", &result, &[(&port.to_string(), "PORT"), (&file, "FILE")]);
    home.assert_clean();
    assert!(!images().contains(&image), "half an image is none");

    // The whole of it is pulled now; that it is no node is another matter.
    mended.store(true, Ordering::SeqCst);
    let result = home.command(&format!("{up} --json")).output().expect("pipe runs");
    let said = host::text(&result);
    assert!(!result.status.success() && !said.contains("pull-"), "{said}");
    assert!(images().contains(&image), "{said}");
    podman(["rmi", "--force", &image]);
    let asked = registry.seen.lock().expect("no panic").clone();
    assert!(asked.iter().any(|(path, _)| path.contains("/blobs/")), "{asked:?}");
}

/// A connection that is taken and never answered.
fn registry_hangs() {
    let home = Home::new(&["one"]);
    bare(&home);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    let began = Instant::now();
    let mirror = format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Config\nmirrors: {{registry.invalid: ['http://127.0.0.1:{port}']}}\n"
    );
    let tls = format!("up one --node-image 127.0.0.1:{port}/team/nobody:v1.34.0");
    let result = failed(&mut home.command(&tls), 4);
    assert_eq!(result["error"]["code"], "pull-no-network", "{result:#}");
    assert!(began.elapsed() < Duration::from_secs(110), "{:?}", began.elapsed());
    // Without TLS nobody but us gives up.
    std::fs::create_dir_all(home.path("home/.config/pipe")).expect("a folder");
    std::fs::write(home.path("home/.config/pipe/config.yaml"), mirror).expect("a file");
    let began = Instant::now();
    let plain = "up one --node-image registry.invalid/team/nobody:v1.34.0";
    let result = failed(&mut home.command(plain), 6);
    assert_eq!(result["error"]["code"], "pull-silent", "{result:#}");
    assert!(began.elapsed() < Duration::from_secs(130), "{:?}", began.elapsed());
}

/// The check before finds room enough; another program takes it while the layer is on its way.
fn disk_fills() {
    let home = Home::new(&["one"]);
    bare(&home);
    let tls = trusted(&home);
    let disk = SmallDisk::mount(&home.path(""), DISK);
    std::fs::create_dir_all(disk.path("store")).expect("a folder");
    std::fs::write(disk.path("store/defaultNetworkBackend"), "netavark").expect("a file");
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\nrunroot = \"{}\"\ngraphroot = \"{}\"\n",
        home.path("podman").display(),
        disk.path("store").display()
    );
    std::fs::write(home.path("storage.conf"), storage).expect("a file");
    let ballast = disk.path("ballast");
    let filled = Arc::new(AtomicBool::new(false));
    let until = {
        let (ballast, filled) = (ballast.clone(), Arc::clone(&filled));
        Arc::new(move |size| {
            if !filled.swap(true, Ordering::SeqCst) {
                SmallDisk::fill(&ballast, 2 << 20);
            }
            size
        })
    };
    let registry = Registry { until, ..Registry::new(registry::image(registry::ballast(IMAGE))) };
    let port = registry.serve("127.0.0.1", Some(tls));
    let image = format!("127.0.0.1:{port}/team/node:1");
    let pipe = |line: &str| {
        let mut command = home.command(line);
        command.env("CONTAINERS_STORAGE_CONF", home.path("storage.conf"));
        command
    };
    let up = format!("up one --node-image {image}");
    let result = failed(&mut pipe(&up), 4);
    let store = disk.path("store").display().to_string();
    let blob = between(&result, "blob \"", "\"");
    let room = between(&result, "(images) has ", " MB left");
    let normal = [
        (store.as_str(), "/var/lib/containers/storage"),
        (&port.to_string(), "PORT"),
        (blob.as_str(), "sha256:…"),
        (room.as_str(), "1 of 4210"),
    ];
    hold_words("pull-no-space", &result, &normal);
    let has = || {
        let mut podman = Command::new(host::root().join("scripts/lib/podman-wrapper"));
        podman.env("CONTAINERS_STORAGE_CONF", home.path("storage.conf"));
        let output = podman.args(["images", "-a", "-q"]).output().expect("podman runs");
        assert!(output.status.success(), "{}", host::text(&output));
        !output.stdout.is_empty()
    };
    assert!(!has(), "half an image is none");
    let down = pipe("teardown one").output().expect("pipe runs");
    assert!(down.status.success(), "{}", host::text(&down));

    std::fs::remove_file(&ballast).expect("it is there");
    let again = pipe(&up).output().expect("pipe runs");
    let said = host::text(&again);
    assert!(!again.status.success() && !said.contains("pull-"), "{said}");
    assert!(has(), "{said}");
    let down = pipe("teardown one").output().expect("pipe runs");
    assert!(down.status.success(), "{}", host::text(&down));
    drop(disk);
}

/// What stands between two words in the causes of a failure.
fn between(result: &Value, before: &str, after: &str) -> String {
    let causes = result["error"]["causes"].as_array().cloned().unwrap_or_default();
    let texts = causes.iter().filter_map(|cause| {
        let rest = cause.as_str()?.split_once(before)?.1;
        Some(rest.split_once(after)?.0.to_owned())
    });
    texts.into_iter().next().unwrap_or_else(|| format!("nothing between {before} and {after}"))
}
