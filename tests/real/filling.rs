//! Bad days of a cache that is being filled: two at once, an image that upstream has no more, a disk
//! that is full. Whatever happens, nothing is served that is not whole and signed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pipe::report::Events;
use pipe::run::cache::fill::{self, Source};
use pipe::run::cache::meter::Meter;
use pipe::run::cache::{Cache, verify};
use pipe::spec::ImageName;
use pipe::spec::lock_file::{self, Anchor, Locked};
use pipe::spec::name::url::MirrorUrl;
use pipe::state::keys::Keys;
use pipe::trust::SigningKey;
use pipe::trust::attached::sha256;
use pipe::trust::forbidden::Forbidden;
use pipe::trust::policy::Verdict;
use pipe::world::World;
use pipe::world::env::Env;
use pipe::world::registry::{Manifest, Repository, Shape};
use serde_json::json;

use super::cache::{NAME, Server, no_registry, put_image, put_index};
use super::small_disk::{self, SmallDisk};
use super::{Case, block_on};

pub const CASES: [Case; 2] = [
    Case {
        name: "two_fill_the_cache_at_once_and_what_is_gone_is_said",
        skip: no_registry,
        run: || block_on(fills()),
    },
    Case {
        name: "a_cache_on_a_full_disk_serves_nothing_half",
        skip: || small_disk::missing().or_else(no_registry),
        run: || block_on(full()),
    },
];

/// An upstream registry, the engine of this host, and who asks both.
struct Scene {
    world: World,
    upstream: Server,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Server::start().await;
        let mut env = Env::read().unwrap();
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            env.vars.insert(name.into(), folder.path().into());
        }
        let mirror = MirrorUrl::parse(&format!("http://{}", upstream.address)).unwrap();
        env.surroundings.mirrors.insert("docker.io".to_owned(), vec![mirror]);
        let world = World::connect(&env, None).await.unwrap();
        Scene { world, upstream, _folder: folder }
    }

    async fn end(self) {
        self.world.release(true).await.unwrap();
    }
}

fn on_zot() -> bool {
    std::env::var_os("PIPE_TEST_ZOT").is_some()
}

fn cache_in(server: &Server) -> Cache {
    let signing = SigningKey::generate().unwrap();
    let trusted = vec![signing.public().clone()];
    Cache { registry: server.registry(), keys: Keys { signing, trusted } }
}

fn image() -> ImageName {
    ImageName::parse(&format!("{NAME}:1.0")).unwrap()
}

fn locked(manifest: &Manifest) -> Locked {
    let (digest, media_type) = (manifest.digest.clone(), manifest.media_type.clone());
    Locked {
        profiles: BTreeSet::new(),
        source: lock_file::Source::Upstream,
        anchor: Anchor::Digest { digest, media_type },
        platforms: BTreeMap::new(),
        evidence: Verdict::refused(&[]),
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// Everything that is served is whole and signed.
async fn is_good(cache: &Cache, images: usize) {
    let (events, _unread) = Events::channel();
    let verified = verify::verify(cache, &Forbidden::default(), &events).await.unwrap();
    assert_eq!((verified.images.len(), verified.faulty()), (images, 0), "{verified:?}");
}

/// What a repository has of an index, as an OCI archive; platforms that it lacks are lacking there.
async fn write_archive(from: &Repository, index: &Manifest, path: &Path) {
    let Shape::Index(shape) = index.shape().unwrap() else { panic!("no index") };
    let mut blobs = vec![index.bytes.clone()];
    for child in shape.manifests() {
        let Some(child) = from.manifest(child.digest().as_ref()).await.unwrap() else { continue };
        let Shape::Image(image) = child.shape().unwrap() else { panic!("no image") };
        for blob in image.layers().iter().chain([image.config()]) {
            blobs.push(from.blob(blob.digest().as_ref(), blob.size()).await.unwrap());
        }
        blobs.push(child.bytes);
    }
    let entry =
        json!({"mediaType": index.media_type, "digest": index.digest, "size": index.bytes.len()});
    let list = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let named =
        blobs.into_iter().map(|it| (format!("blobs/{}", sha256(&it).replace(':', "/")), it));
    let mut archive = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, content) in named.chain([("index.json".to_owned(), list.into_bytes())]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &content[..]).unwrap();
    }
    archive.finish().unwrap();
}

async fn fills() {
    let scene = Scene::new().await;
    let theirs = scene.upstream.registry().repository("library/app");
    let (index, children) = put_index(&theirs, "1.0").await.unwrap();
    let here = Server::start().await;
    let (cache, image) = (cache_in(&here), image());
    let silent = Meter::default();
    let one = || fill::fill(&scene.world, &cache, &image, None, &silent);
    let (first, second, third) = tokio::join!(one(), one(), one());
    for filled in [first, second, third] {
        assert_eq!(filled.unwrap().digest, index.digest);
    }
    is_good(&cache, 1).await;

    // What is locked stays, wherever the tag leads upstream, or somebody moved it here.
    // Zot keeps nothing that lost its last tag.
    theirs.put_manifest(&index, Some("former")).await.unwrap();
    theirs.put_manifest(&children[0], Some("1.0")).await.unwrap();
    let ours = cache.repository(&image).unwrap();
    ours.put_manifest(&children[0], Some("1.0")).await.unwrap();
    let held = locked(&index);
    let filled = fill::locked(&scene.world, &cache, &image, &held, &silent).await.unwrap();
    assert_eq!(filled.digest, index.digest);
    assert_eq!(filled.source, if on_zot() { Source::Upstream } else { Source::Cache });
    assert_eq!(ours.manifest("1.0").await.unwrap().unwrap().digest, index.digest);

    // Gone upstream: who has it keeps it, and who has not is told.
    assert!(theirs.remove_manifest(&index.digest).await.unwrap());
    fill::locked(&scene.world, &cache, &image, &held, &silent).await.unwrap();
    let elsewhere = Server::start().await;
    let empty = cache_in(&elsewhere);
    let error = fill::locked(&scene.world, &empty, &image, &held, &silent).await.unwrap_err();
    assert_eq!(error.code, "locked-gone", "{error:?}");
    assert!(error.what.contains(&index.digest), "{error:?}");
    assert!(error.causes.concat().contains("does not have"), "{error:?}");
    assert!(error.hints.concat().contains("pipe images lock"), "{error:?}");
    is_good(&empty, 0).await;
    // An archive of the user's still has it: the locked bytes, if not what the tag leads to.
    let (mut scene, disk) = (scene, tempfile::tempdir().unwrap());
    write_archive(&ours, &index, &disk.path().join("kept.tar")).await;
    scene.world.env.surroundings.archives.push(disk.path().to_owned());
    let filled = fill::locked(&scene.world, &empty, &image, &held, &silent).await.unwrap();
    assert_eq!((filled.digest, filled.source), (index.digest.clone(), Source::Archive));
    is_good(&empty, 1).await;
    scene.world.env.surroundings.archives.clear();

    // A cache that goes away in the middle is the cause, not an image that can be had nowhere.
    let big = put_image(&theirs, &"seed".repeat(20_000)).await.unwrap();
    theirs.put_manifest(&big, Some("2.0")).await.unwrap();
    let image = ImageName::parse(&format!("{NAME}:2.0")).unwrap();
    let uploads = elsewhere.folder.path().join("store");
    let killed = async {
        let deadline = Instant::now() + Duration::from_secs(30);
        // In distribution's word and in Zot's.
        while folders_called(&uploads, &["_uploads", ".uploads"]).is_empty() {
            assert!(Instant::now() < deadline, "nothing was ever uploaded");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(elsewhere);
    };
    let fill = fill::fill(&scene.world, &empty, &image, None, &silent);
    let (error, ()) = tokio::join!(fill, killed);
    let error = error.unwrap_err();
    assert_eq!(error.code, "cache-stopped", "{error:?}");
    scene.end().await;
}

/// Folders below `folder` with one of these names.
fn folders_called(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if names.iter().any(|name| entry.file_name() == *name) {
                found.push(entry.path());
            } else if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

async fn full() {
    let scene = Scene::new().await;
    let theirs = scene.upstream.registry().repository("library/app");
    // 4 MB in one layer.
    let big = put_image(&theirs, &"seed".repeat(1000)).await.unwrap();
    theirs.put_manifest(&big, Some("1.0")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), 32 << 20);
    let here = Server::start_with_store(&disk.path("store")).await;
    let (cache, image) = (cache_in(&here), image());
    let ballast = disk.path("ballast");
    SmallDisk::fill(&ballast, 1 << 20);

    let error =
        fill::fill(&scene.world, &cache, &image, None, &Meter::default()).await.unwrap_err();
    // Zot answers 500 and does not say why.
    let code = if on_zot() { "cache-refused" } else { "registry-full" };
    assert_eq!(error.code, code, "{error:?}");
    assert!(error.hints.concat().contains("podman system df"), "{error:?}");
    is_good(&cache, 0).await;

    std::fs::remove_file(&ballast).unwrap();
    let told: Arc<Mutex<(u64, u64)>> = Arc::default();
    let out = Arc::clone(&told);
    let meter = Meter::new(move |done, total| *out.lock().unwrap() = (done, total));
    let filled = fill::fill(&scene.world, &cache, &image, None, &meter).await.unwrap();
    is_good(&cache, 1).await;
    let (done, total) = *told.lock().unwrap();
    assert!(done == total && total >= filled.sent && filled.sent > 4_000_000, "{done} {total}");
    drop((here, disk));
    scene.end().await;
}
