//! The image cache by itself: served, listed, pruned and put away, without any cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use pipe::run::cache::Cache;
use pipe::run::cache::signatures::{self, Pen};
use pipe::spec::ImageName;
use pipe::spec::lock_file::{self, Anchor, LockFile, Locked};
use pipe::state::keys::Keys;
use pipe::state::paths::Paths;
use pipe::state::registry_password;
use pipe::trust::policy::Verdict;
use pipe::world::registry::{Manifest, Registry, Repository};
use pipe::world::registry_login::Login;

use super::cache::{NOW, no_registry, put_image, put_index};
use super::host::{self, podman};
use super::pipe::Home;
use super::{Case, block_on};

pub const CASES: [Case; 1] = [Case {
    name: "the_cache_is_served_pruned_and_put_away_without_a_cluster",
    skip: no_registry,
    run: || block_on(served()),
}];

/// Bytes of the layer of each image that is put in by itself.
const LAYER: u64 = 4 << 20;

/// What a test that failed leaves would make every later one fail.
struct PutAway<'a>(&'a Home);

impl Drop for PutAway<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", host::text(&self.0.run("images stop --force")));
        }
    }
}

fn paths(home: &Home) -> Paths {
    let state = home.path("state").display().to_string();
    let known = |name: &str| match name {
        "XDG_STATE_HOME" | "HOME" => Some(state.clone()),
        _ => None,
    };
    Paths::from_env(known).unwrap()
}

fn open(home: &Home, address: &str) -> Cache {
    let paths = paths(home);
    let password = registry_password::load(&paths).unwrap().unwrap();
    let login = Login { user: "pipe".to_owned(), password, token: None };
    let registry = Registry::own(address, Some(login)).unwrap();
    Cache { registry, keys: Keys::load(&paths).unwrap().unwrap() }
}

/// Signs an image, and has a tag lead to it.
async fn seal(cache: &Cache, repository: &Repository, manifest: &Manifest, tag: &str) {
    let pen = Pen { name: repository.name(), key: &cache.keys.signing, now: NOW };
    signatures::sign(repository, &manifest.digest, pen).await.unwrap();
    repository.put_manifest(manifest, Some(tag)).await.unwrap();
}

/// A project's lock of these names and digests.
fn lock(home: &Home, images: &BTreeMap<String, String>) {
    let locked = |digest: &String| Locked {
        profiles: BTreeSet::from([pipe::spec::ProfileName::parse("messages").unwrap()]),
        source: lock_file::Source::Upstream,
        anchor: Anchor::Digest {
            digest: digest.clone(),
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
        },
        platforms: BTreeMap::new(),
        evidence: Verdict::refused(&[]),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let images =
        images.iter().map(|(name, digest)| (ImageName::parse(name).unwrap(), locked(digest)));
    home.write("pipe.lock", &LockFile { images: images.collect() }.text());
}

/// Names that the cache holds, with their digests.
fn listed(home: &Home) -> BTreeMap<String, String> {
    let listed = home.json("images list --cache");
    let images = listed["images"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    images.map(|image| (text(&image["name"]), text(&image["digest"]))).collect()
}

/// Bytes on the disk.
fn stored() -> u64 {
    let folder = podman(["volume", "inspect", "pipe-registry", "--format", "{{.Mountpoint}}"]);
    let folder = Path::new(folder.trim());
    let size = |file: String| std::fs::metadata(folder.join(file)).map_or(0, |it| it.len());
    host::files_below(folder).into_iter().map(size).sum()
}

async fn served() {
    let home = Home::new(&[]);
    let _on_failure = PutAway(&home);
    let (_, served) = home.stream("images serve");
    let done: Vec<&str> =
        served["done"].as_array().unwrap().iter().flat_map(|it| it.as_str()).collect();
    assert!(done.contains(&"container") && done.contains(&"start"), "{served}");
    let address = served["address"].as_str().unwrap().to_owned();
    assert_eq!(home.ok("images serve"), format!("{address}\n"));
    assert_eq!(home.stream("images serve").1["done"], serde_json::json!([]));
    let service = host::files_below(&home.path("run/pipe"));
    assert!(!service.is_empty(), "Podman's service went while the cache is served");

    // One volume serves every test of this engine: what is there already is locked.
    let there = listed(&home);
    let mut locked = there.clone();
    lock(&home, &locked);
    let cache = open(&home, &address);
    let unique = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string();
    let seed = |name: &str| format!("{name} {unique} ").repeat(100_000)[..4200].to_owned();
    let repository = cache.registry.repository("docker.io/library/pipe-served");
    let kept_tag = format!("kept-{unique}");
    let kept_name = format!("docker.io/library/pipe-served:{kept_tag}");
    let (kept, _) = put_index(&repository, &kept_tag).await.unwrap();
    seal(&cache, &repository, &kept, &kept_tag).await;
    let gone = put_image(&repository, &seed("gone")).await.unwrap();
    seal(&cache, &repository, &gone, "gone").await;
    // The lock of one project, and the tag another's.
    let first = put_image(&repository, &seed("first")).await.unwrap();
    seal(&cache, &repository, &first, "moved").await;
    let second = put_image(&repository, &seed("second")).await.unwrap();
    seal(&cache, &repository, &second, "moved").await;
    locked.insert(kept_name.clone(), kept.digest.clone());
    locked.insert("docker.io/library/pipe-served:moved".to_owned(), first.digest.clone());
    lock(&home, &locked);

    let verified = host::text(&home.run("images verify"));
    let lines = verified.lines().filter(|line| line.starts_with("docker.io/library/pipe-served:"));
    assert_eq!(lines.filter(|line| line.ends_with("good")).count(), 3, "{verified}");
    let image = home.json("images list --cache");
    let image = image["images"].as_array().unwrap().iter();
    let image = image.clone().find(|it| it["digest"] == kept.digest.as_str()).unwrap();
    let key = cache.keys.signing.public().id().to_string();
    assert_eq!((&image["evidence"], &image["signed_by"]), (&"none".into(), &key.into()));

    let looked = home.json("images prune --dry-run");
    let goes = looked["goes"].as_array().unwrap();
    let named = goes.iter().filter_map(|it| it["name"].as_str());
    let named: BTreeSet<&str> =
        named.filter(|name| name.rsplit('/').next().is_some_and(|end| end.contains(':'))).collect();
    let expected = ["docker.io/library/pipe-served:gone", "docker.io/library/pipe-served:moved"];
    assert_eq!(named, BTreeSet::from(expected), "{looked}");
    assert!(home.fails("images prune", 2).contains("[not-confirmed]"));
    assert_eq!(listed(&home).len(), there.len() + 3, "nothing went yet");

    let before = stored();
    let (_, pruned) = home.stream("images prune --yes");
    let freed = pruned["freed"].as_u64().unwrap();
    assert!(freed >= 2 * LAYER, "{pruned}");
    assert!(before - stored() >= 2 * LAYER, "{before} bytes are {} now: {pruned}", stored());
    let mut left = there.clone();
    left.insert(kept_name, kept.digest.clone());
    assert_eq!(listed(&home), left);
    for manifest in [&gone, &second] {
        assert_eq!(repository.manifest(&manifest.digest).await.unwrap(), None);
    }
    for manifest in [&kept, &first] {
        let there = repository.manifest(&manifest.digest).await.unwrap();
        assert_eq!(there.as_ref(), Some(manifest));
        let trusted = &cache.keys.trusted;
        signatures::verify(&repository, &manifest.digest, trusted).await.unwrap();
    }
    let verified = host::text(&home.run("images verify"));
    let lines = verified.lines().filter(|line| line.starts_with("docker.io/library/pipe-served:"));
    assert_eq!(lines.filter(|line| line.ends_with("good")).count(), 1, "{verified}");
    assert_eq!(home.stream("images prune --yes").1["removed"], serde_json::json!([]));

    // Nobody names them any more.
    lock(&home, &there);
    let before = stored();
    home.ok("images prune --yes");
    assert!(before - stored() >= LAYER, "an index, and what only the lock led to");
    assert_eq!(listed(&home), there);

    let (_, stopped) = home.stream("images stop");
    assert_eq!(stopped["done"][0], "stop", "{stopped}");
    assert_eq!(home.stream("images stop").1["done"], serde_json::json!([]));
    podman(["volume", "inspect", "pipe-registry"]);
    home.assert_clean();
}
