//! What lies in the cache, listed and pruned: a registry in memory on a real socket, which keeps lists of
//! referrers under tags, as the one does that stands in for Zot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use pipe::report::Events;
use pipe::run::cache::holdings::holdings;
use pipe::run::cache::prune::choice::{Claims, Held, Parting, freed};
use pipe::run::cache::prune::{apply, read};
use pipe::run::cache::signatures::{self, Pen};
use pipe::run::cache::{Cache, verify};
use pipe::spec::lock_file::{Anchor, LockFile, Locked, Source};
use pipe::spec::{Arch, ClusterName, ImageName};
use pipe::state::cache_use::CacheUse;
use pipe::state::keys::Keys;
use pipe::trust::SigningKey;
use pipe::trust::attached::{pin_tag, sha256, signature_tag};
use pipe::trust::forbidden::Forbidden;
use pipe::trust::policy::{Class, Verdict};
use pipe::world::registry::{Manifest, Registry, Repository};
use serde_json::json;

use crate::scripted::{Reply, Request, Scripted};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Bytes of the one layer of each image.
const SIZE: usize = 1000;

#[derive(Default)]
struct Store {
    /// By repository and digest: media type and bytes.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    /// By repository and tag.
    tags: BTreeMap<(String, String), String>,
    blobs: BTreeMap<String, Vec<u8>>,
    upload: Vec<u8>,
}

type Shared = Arc<Mutex<Store>>;

async fn registry() -> (Scripted, Cache, Shared) {
    let store = Shared::default();
    let served = Arc::clone(&store);
    let (server, base) =
        Scripted::tcp(move |request, _| answer(&mut served.lock().unwrap(), request)).await;
    let signing = SigningKey::generate().unwrap();
    let trusted = vec![signing.public().clone()];
    let registry = Registry::own(base.trim_start_matches("http://"), None).unwrap();
    (server, Cache { registry, keys: Keys { signing, trusted } }, store)
}

fn answer(store: &mut Store, request: &Request) -> Reply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = path.trim_start_matches("/v2/");
    let none = || Reply::new(404, "");
    if path == "_catalog" {
        let all: BTreeSet<&String> = store.manifests.keys().map(|(name, _)| name).collect();
        return Reply::new(200, json!({"repositories": all}).to_string());
    }
    if let Some(repository) = path.strip_suffix("/tags/list") {
        let tags = store.tags.keys().filter(|(name, _)| name == repository);
        let tags: Vec<&String> = tags.map(|(_, tag)| tag).collect();
        return Reply::new(200, json!({"tags": tags}).to_string());
    }
    if let Some((repository, reference)) = path.split_once("/manifests/") {
        return manifest(store, request, repository, reference);
    }
    if path.contains("/blobs/uploads/") {
        return match request.method.as_str() {
            "PUT" => {
                let digest = query.strip_prefix("digest=").unwrap().replace("%3A", ":");
                let bytes = std::mem::take(&mut store.upload);
                assert_eq!(sha256(&bytes), digest);
                store.blobs.insert(digest, bytes);
                Reply::new(201, "")
            }
            _ => {
                store.upload.extend_from_slice(&request.body);
                Reply::new(202, "").header("location", &request.target)
            }
        };
    }
    let blob = path.split_once("/blobs/").and_then(|(_, digest)| store.blobs.get(digest));
    blob.map_or_else(none, |bytes| Reply::new(200, bytes.clone()))
}

fn manifest(store: &mut Store, request: &Request, repository: &str, reference: &str) -> Reply {
    let by_tag = (repository.to_owned(), reference.to_owned());
    let digest = match reference.contains(':') {
        true => Some(reference.to_owned()),
        false => store.tags.get(&by_tag).cloned(),
    };
    let known = digest.map(|digest| (repository.to_owned(), digest));
    let found = known.as_ref().and_then(|known| store.manifests.get(known));
    match request.method.as_str() {
        "PUT" => {
            let digest = sha256(&request.body);
            if !reference.contains(':') {
                store.tags.insert(by_tag, digest.clone());
            }
            let kind = request.headers["content-type"].clone();
            let bytes = request.body.clone();
            store.manifests.insert((repository.to_owned(), digest), (kind, bytes));
            Reply::new(201, "")
        }
        "DELETE" if found.is_some() && reference.contains(':') => {
            let known = known.unwrap();
            store.manifests.remove(&known);
            store.tags.retain(|(name, _), digest| *name != known.0 || *digest != known.1);
            Reply::new(202, "")
        }
        "DELETE" if found.is_some() => {
            store.tags.remove(&by_tag);
            Reply::new(202, "")
        }
        "GET" => match found {
            Some((kind, bytes)) => Reply::new(200, bytes.clone()).header("content-type", kind),
            None => Reply::new(404, ""),
        },
        _ => Reply::new(404, ""),
    }
}

/// Stores an image of one layer; gives its manifest, which has no tag yet.
async fn put_image(repository: &Repository, seed: &str, arch: Arch) -> Manifest {
    let layer: Vec<u8> = seed.bytes().cycle().take(SIZE).collect();
    let config = json!({"architecture": arch, "os": "linux", "config": {}, "seed": seed});
    let config = config.to_string().into_bytes();
    let mut described = Vec::new();
    for (kind, bytes) in [(CONFIG, &config), (LAYER, &layer)] {
        let digest = sha256(bytes);
        repository.put_blob(&digest, bytes).await.unwrap();
        described.push(json!({"mediaType": kind, "digest": digest, "size": bytes.len()}));
    }
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": described[0],
        "layers": [described[1]]});
    let manifest = Manifest::new(IMAGE, manifest.to_string().into_bytes());
    repository.put_manifest(&manifest, None).await.unwrap();
    manifest
}

/// Stores an index of two images.
async fn put_index(repository: &Repository, seed: &str) -> (Manifest, Vec<Manifest>) {
    let mut children = Vec::new();
    let mut entries = Vec::new();
    for arch in [Arch::Amd64, Arch::Arm64] {
        let child = put_image(repository, &format!("{seed} {arch}"), arch).await;
        entries.push(json!({"mediaType": IMAGE, "digest": child.digest, "size": child.bytes.len(),
            "platform": {"os": "linux", "architecture": arch}}));
        children.push(child);
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let index = Manifest::new(INDEX, index.to_string().into_bytes());
    repository.put_manifest(&index, None).await.unwrap();
    (index, children)
}

/// Signs a manifest, and has a tag lead to it.
async fn seal(cache: &Cache, repository: &Repository, manifest: &Manifest, tag: &str) {
    let pen = Pen {
        name: "docker.io/library/app",
        key: &cache.keys.signing,
        now: "2026-11-21T00:00:00Z",
    };
    signatures::sign(repository, &manifest.digest, pen).await.unwrap();
    repository.put_manifest(manifest, Some(tag)).await.unwrap();
}

fn lock(images: &[(&str, &Manifest)]) -> LockFile {
    let locked = |manifest: &Manifest| Locked {
        profiles: BTreeSet::new(),
        source: Source::Upstream,
        anchor: Anchor::Digest {
            digest: manifest.digest.clone(),
            media_type: manifest.media_type.clone(),
        },
        platforms: BTreeMap::new(),
        evidence: Verdict {
            class: Class::DigestOnly,
            words: String::new(),
            by: None,
            stand_in: None,
        },
        at: Timestamp::UNIX_EPOCH,
    };
    let images = images.iter().map(|(name, manifest)| (image(name), locked(manifest)));
    LockFile { images: images.collect() }
}

fn image(name: &str) -> ImageName {
    ImageName::parse(name).unwrap()
}

fn claims(lock: LockFile) -> Claims {
    Claims { locks: BTreeMap::from([("pipe.lock".into(), lock)]), ..Claims::default() }
}

async fn parted(cache: &Cache, claims: &Claims) -> Vec<(Held, Parting)> {
    let all = read(cache, claims).await.unwrap();
    all.into_iter()
        .map(|held| {
            let parting = held.part(claims, |_| true);
            (held, parting)
        })
        .collect()
}

async fn pruned(cache: &Cache, claims: &Claims) -> (Vec<(Option<String>, String)>, u64) {
    let all = parted(cache, claims).await;
    for (held, parting) in &all {
        apply(&cache.registry.repository(&held.repository), held, parting).await.unwrap();
    }
    let goers = all.iter().flat_map(|(_, parting)| &parting.goers);
    let goers = goers.map(|goer| (goer.tag.clone(), goer.digest.clone())).collect();
    (goers, freed(&all))
}

#[tokio::test]
async fn what_nobody_needs_goes_with_everything_that_is_its_own() {
    let (_server, cache, store) = registry().await;
    let repository = cache.registry.repository("docker.io/library/app");
    let (kept, children) = put_index(&repository, "kept").await;
    seal(&cache, &repository, &kept, "1").await;
    let (gone, its_children) = put_index(&repository, "gone").await;
    seal(&cache, &repository, &gone, "2").await;
    // Built again under its name: only its signature leads to the first.
    let former = put_image(&repository, "former", Arch::Amd64).await;
    seal(&cache, &repository, &former, "3").await;
    let latter = put_image(&repository, "latter", Arch::Amd64).await;
    seal(&cache, &repository, &latter, "3").await;
    // Somebody else's, under a name that is none of an image.
    let foreign = cache.registry.repository("pipe/other");
    let other = put_image(&foreign, "other", Arch::Amd64).await;
    foreign.put_manifest(&other, Some("1")).await.unwrap();

    let mut claims = claims(lock(&[("docker.io/app:1", &kept)]));
    let dev = ClusterName::parse("dev").unwrap();
    claims.known.used(&dev, [&image("docker.io/app:3")], Timestamp::UNIX_EPOCH);
    claims.clusters.insert(dev);
    let (goers, freed) = pruned(&cache, &claims).await;
    let tags: Vec<_> = goers.iter().map(|(tag, digest)| (tag.as_deref(), digest)).collect();
    assert_eq!(tags, [(None, &former.digest), (Some("2"), &gone.digest)]);
    assert!(freed > 3 * SIZE as u64, "{freed}");

    {
        let left = store.lock().unwrap();
        for manifest in its_children.iter().chain([&gone, &former]) {
            let hex = manifest.digest.replacen(':', "-", 1);
            assert!(!left.manifests.keys().any(|(_, digest)| *digest == manifest.digest));
            let tags: Vec<_> = left.tags.keys().filter(|(_, tag)| tag.starts_with(&hex)).collect();
            assert!(tags.is_empty(), "{tags:?}");
        }
        let subjects = left.manifests.values().filter(|(_, bytes)| {
            let text = String::from_utf8_lossy(bytes);
            text.contains("subject") && text.contains(&gone.digest)
        });
        assert_eq!(subjects.count(), 0, "a signature that nothing leads to");
    }
    for manifest in children.iter().chain([&kept, &latter]) {
        let trusted = &cache.keys.trusted;
        signatures::verify(&repository, &manifest.digest, trusted).await.unwrap();
    }
    let (events, _unread) = Events::channel();
    let verified = verify::verify(&cache, &Forbidden::default(), &events).await.unwrap();
    assert_eq!((verified.images.len(), verified.faulty()), (2, 0), "{verified:?}");
    assert!(foreign.manifest("1").await.unwrap().is_some());

    let (again, freed) = pruned(&cache, &claims).await;
    assert_eq!((again, freed), (Vec::new(), 0));
}

#[tokio::test]
async fn two_names_of_the_same_bytes_part_without_losing_them() {
    let (_server, cache, _store) = registry().await;
    let repository = cache.registry.repository("docker.io/library/app");
    let image = put_image(&repository, "one", Arch::Amd64).await;
    seal(&cache, &repository, &image, "1").await;
    seal(&cache, &repository, &image, "2").await;
    let (goers, freed) = pruned(&cache, &claims(lock(&[("docker.io/app:1", &image)]))).await;
    assert_eq!(goers, [(Some("2".to_owned()), image.digest.clone())]);
    assert_eq!(freed, 0);
    assert_eq!(repository.manifest("1").await.unwrap(), Some(image));
    assert_eq!(repository.manifest("2").await.unwrap(), None);
}

#[tokio::test]
async fn what_a_lock_names_stays_when_its_name_leads_elsewhere() {
    let (_server, cache, _store) = registry().await;
    let repository = cache.registry.repository("docker.io/library/app");
    let locked = put_image(&repository, "locked", Arch::Amd64).await;
    seal(&cache, &repository, &locked, "1").await;
    let newer = put_image(&repository, "newer", Arch::Amd64).await;
    seal(&cache, &repository, &newer, "1").await;
    let claims = claims(lock(&[("docker.io/app:1", &locked)]));
    let all = parted(&cache, &claims).await;
    let (held, parting) = &all[0];
    assert_eq!(held.pins(parting), BTreeSet::from([locked.digest.clone()]));
    assert_eq!(pin_tag(&locked.digest), signature_tag(&locked.digest).replace(".sig", ".kept"));
    let (goers, _) = pruned(&cache, &claims).await;
    assert_eq!(goers, [(Some("1".to_owned()), newer.digest.clone())]);
    assert_eq!(repository.manifest(&locked.digest).await.unwrap(), Some(locked));
    assert_eq!(repository.manifest(&newer.digest).await.unwrap(), None);
}

#[tokio::test]
async fn what_the_cache_holds_is_listed_with_what_is_known_of_it() {
    let (_server, cache, store) = registry().await;
    let repository = cache.registry.repository("docker.io/library/app");
    let (index, children) = put_index(&repository, "one").await;
    seal(&cache, &repository, &index, "1").await;
    let single = put_image(&repository, "two", Arch::Arm64).await;
    repository.put_manifest(&single, Some("2")).await.unwrap();
    // Only what is needed of an index was fetched.
    let of = |manifest: &Manifest| ("docker.io/library/app".to_owned(), manifest.digest.clone());
    store.lock().unwrap().manifests.remove(&of(&children[1]));
    // What Zot fetched by itself.
    let beside = cache.registry.repository("on-demand/quay.io/other");
    let fetched = put_image(&beside, "three", Arch::Amd64).await;
    beside.put_manifest(&fetched, Some("3")).await.unwrap();

    let dev = ClusterName::parse("dev").unwrap();
    let mut known = CacheUse::default();
    known.used(&dev, [&image("docker.io/app:1")], Timestamp::UNIX_EPOCH);
    let lock = lock(&[("docker.io/app:1", &index), ("docker.io/app:2", &index)]);
    let listed = holdings(&cache, &lock, &known).await.unwrap();
    let [one, two, three] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((three.name.as_str(), three.on_demand), ("quay.io/other:3", true));
    assert_eq!((&three.signed_by, three.evidence), (&None, None));
    assert_eq!(one.name, "docker.io/library/app:1");
    assert_eq!(one.digest.as_ref(), Some(&index.digest));
    assert_eq!((&one.platforms[..], one.size), (&["linux/amd64".to_owned()][..], SIZE as u64));
    assert_eq!(one.evidence, Some("digest-only"));
    assert_eq!(one.signed_by, Some(cache.keys.signing.public().id().to_string()));
    assert_eq!((one.last_use, &one.clusters[..]), (Some(Timestamp::UNIX_EPOCH), &[dev][..]));
    assert_eq!(two.platforms, ["linux/arm64"], "its configuration says so");
    assert_eq!(two.evidence, None, "the lock names other bytes");
    assert_eq!((&two.signed_by, two.last_use), (&None, None));
    assert!(!one.on_demand && !two.on_demand);
    // It goes by itself, and has nothing that could be verified.
    let held = read(&cache, &Claims::default()).await.unwrap();
    assert!(held.iter().all(|held| held.upstream != "quay.io/other"), "{held:?}");
}
