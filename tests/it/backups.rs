//! `pipe backup` and `pipe restore`, the real binary against services that a script keeps: what comes back is
//! what was there, and what is broken, half or in the way is refused before anything is touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use self::store::{Fault, KEY, SECRET, Store};
use crate::env::TestEnv;
use crate::scripted::{Reply, Request, Scripted};

mod cql;
mod fdb;
mod nats;
mod store;

const PROFILE: &str = "\
apiVersion: pipe.dev/v1alpha1
kind: Profile
name: mine
components:
- {name: minio, namespace: data}
- {name: silo, namespace: data, values: {}}
";

/// Silo has the same host port as MinIO; here it is another store beside it.
const OTHER: &str = "ports:\n  s3: spare-1";

const BIG: usize = 40 * 1024 * 1024;

/// A cluster as `pipe up` leaves it, as far as files go, whose stores are `minio` and `silo`.
fn cluster(minio: &Store, silo: &Store) -> TestEnv {
    let env = TestEnv::new();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cluster = fs::read_to_string(built_in.join("clusters/dev.yaml")).unwrap();
    env.write("clusters/dev.yaml", &cluster);
    env.write("profiles/mine.yaml", PROFILE);
    let component = fs::read_to_string(built_in.join("profiles/components/silo.yaml")).unwrap();
    let component = component.replace("ports:\n  s3: s3 # 127.0.0.1:9000", OTHER);
    assert!(component.contains(OTHER));
    // Its settings are those of MinIO, too.
    let component = component.split("# What the SDKs").next().unwrap();
    env.write("profiles/components/silo.yaml", component);
    env.write("clusters/test.yaml", &cluster.replace("name: dev", "name: test"));
    let login = json!({"accessKey": KEY, "secretKey": SECRET});
    let ports = json!({"s3": minio.port(), "spare-1": silo.port()});
    for name in ["dev", "test"] {
        state(&env, name, ports.clone(), &[("minio", login.clone()), ("silo", login.clone())]);
    }
    env
}

/// What `pipe up` leaves of a cluster whose `components` have these credentials.
fn state(env: &TestEnv, cluster: &str, ports: Value, components: &[(&str, Value)]) {
    let state = format!("../home/.local/state/pipe/clusters/{cluster}");
    let reservation = json!({
        "schema": 1, "network": "kind", "subnet": "10.89.0.0/24", "subnet6": null, "nodes": {},
        "api_port": 6443, "ports": ports,
    });
    env.write(&format!("{state}/reservation.json"), &reservation.to_string());
    let logins: BTreeMap<&str, Value> = components.iter().cloned().collect();
    let credentials = json!({"schema": 1, "components": logins});
    env.write(&format!("{state}/credentials.json"), &credentials.to_string());
    let mut journal = vec![json!({
        "v": 1, "at": "2026-11-22T01:00:00Z", "run": 1, "entry": "run-started",
        "operation": "up", "version": "0.1.0", "profile": "mine",
    })];
    for (component, _) in components {
        let step = format!("install/{component}");
        journal.push(json!({
            "v": 1, "at": "2026-11-22T01:00:01Z", "run": 1, "entry": "intent", "step": step,
            "summary": "x", "component": component,
        }));
        journal.push(json!({
            "v": 1, "at": "2026-11-22T01:00:02Z", "run": 1, "entry": "done", "step": step,
        }));
    }
    let lines: String = journal.iter().map(|line| format!("{line}\n")).collect();
    env.write(&format!("{state}/journal.jsonl"), &lines);
}

/// Buckets of every kind, with keys and metadata of every kind.
fn fill(store: &Store) {
    store.bucket("empty", None);
    store.bucket("plain", None);
    let headers = [("content-type", "text/x-test"), ("x-amz-meta-color", "blue")];
    store.put("plain", "a/b c+ü%", Some(b"content"), &headers);
    store.put("plain", "nothing", Some(b""), &[]);
    store.put("plain", "large", Some(&vec![7; 3 * 1024 * 1024]), &[]);
    store.bucket("versions", Some(true));
    for content in [Some(&b"one"[..]), Some(b"two"), None, Some(b"three")] {
        store.put("versions", "key", content, &[]);
    }
    store.put("versions", "gone", Some(b"gone"), &[]);
    store.put("versions", "gone", None, &[]);
}

/// Backups of a component that stand in the default folder.
fn folders(env: &TestEnv, component: &str) -> Vec<PathBuf> {
    let folder = env.path(&format!("home/.local/share/pipe/backups/dev/{component}"));
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn listed(env: &TestEnv, from: &str) -> Value {
    let text = env.pipe(["backup", "list", "--json", "--from", from]).success();
    serde_json::from_str(text.stdout()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_comes_back_from_a_folder() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    fill(&minio);
    let before = minio.contents();
    let env = cluster(&minio, &silo);
    let made = env.pipe(["backup", "dev", "minio", "--json"]).result();
    assert_eq!(made["data"]["backups"][0]["holds"], "3 buckets, 9 objects", "{made}");
    assert_eq!(minio.changes(), 0, "a backup only reads");

    // Elsewhere, and nothing else of it is touched.
    minio.clear();
    minio.bucket("other", None);
    minio.put("other", "kept", Some(b"kept"), &[]);
    env.pipe(["restore", "dev"]).success();
    let mut after = minio.contents();
    assert!(after.remove("other").is_some());
    assert_eq!(after, before);

    // Over what is there only when told to, and then exactly.
    minio.put("plain", "newer", Some(b"newer"), &[]);
    let changes = minio.changes();
    let refused = env.pipe(["restore", "dev"]).code(1).both();
    assert!(refused.contains("bucket plain (2 objects or more)"), "{refused}");
    assert!(refused.contains("bucket versions (2 objects or more)"), "{refused}");
    assert!(refused.contains("--replace"), "{refused}");
    assert_eq!(minio.changes(), changes, "it was only asked");
    env.pipe(["restore", "dev", "--replace"]).success();
    let mut after = minio.contents();
    after.remove("other");
    assert_eq!(after, before);

    // Of another cluster.
    minio.clear();
    env.pipe(["restore", "test", "--of", "dev"]).success();
    assert_eq!(minio.contents(), before);
    let none = env.pipe(["restore", "test"]).code(1).both();
    assert!(none.contains("there is no whole backup of test"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_cluster_keeps_backups_of_others_and_none_of_itself() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    fill(&minio);
    // More than one part.
    minio.put("plain", "huge", Some(&vec![9; BIG]), &[]);
    let before = minio.contents();
    let env = cluster(&minio, &silo);
    let made = env.pipe(["backup", "dev", "--to", "s3:silo", "--json"]).result();
    assert_eq!(made["data"]["backups"][0]["component"], "minio", "{made}");
    assert_eq!(made["data"]["left_out"][0]["component"], "silo", "{made}");
    assert!(silo.contents()["backups"].objects.len() > 3, "files and a manifest");
    assert_eq!(silo.uploads(), 0);
    let refused = env.pipe(["backup", "dev", "silo", "--to", "s3:silo"]).code(2).both();
    assert!(refused.contains("silo cannot be backed up into s3:silo/backups"), "{refused}");
    let which = env.pipe(["backup", "dev", "--to", "s3:"]).code(2).both();
    assert!(which.contains("it has several: minio, silo"), "{which}");

    let list = listed(&env, "s3:silo");
    assert_eq!(list["backups"][0]["state"], "complete", "{list}");
    minio.clear();
    env.pipe(["restore", "dev", "minio", "--from", "s3:silo"]).success();
    assert_eq!(minio.contents(), before);

    // Half an upload is taken back.
    let there = silo.contents();
    minio.fails(Fault::Breaks("large"));
    env.pipe(["backup", "dev", "minio", "--to", "s3:silo"]).code(1).both();
    assert_eq!((silo.contents(), silo.uploads()), (there.clone(), 0));
    minio.fails(Fault::None);
    silo.fails(Fault::Full);
    let full = env.pipe(["backup", "dev", "minio", "--to", "s3:silo"]).code(1).both();
    assert!(full.contains("507 XMinioStorageFull") && full.contains("--to DIR"), "{full}");
    assert_eq!(silo.contents(), there);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_is_no_backup() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    fill(&minio);
    silo.bucket("fine", None);
    let env = cluster(&minio, &silo);
    for fault in [Fault::Breaks("large"), Fault::HalfAList] {
        minio.fails(fault);
        let result = env.pipe(["backup", "dev", "--json"]).result();
        assert_eq!(result["exit_code"], 1, "{result}");
        // The other one's is whole all the same.
        assert_eq!(result["data"]["backups"][0]["component"], "silo", "{result}");
        assert_eq!(result["error"]["code"], "backup-service", "{result}");
        assert_eq!(folders(&env, "minio"), [""; 0].map(PathBuf::from));
    }
    // What a killed one leaves is none, is shown as such, and goes when told to.
    let half = env.path("home/.local/share/pipe/backups/dev/minio/20261122T020000Z-00000001");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("0001.tar"), "half").unwrap();
    let list = env.pipe(["backup", "list", "dev"]).success().stdout().to_owned();
    assert!(list.contains("20261122T020000Z-00000001  incomplete"), "{list}");
    let none = env.pipe(["restore", "dev", "minio"]).code(1).both();
    assert!(none.contains("20261122T020000Z-00000001 of minio: incomplete"), "{none}");
    env.pipe(["backup", "prune", "dev", "--yes"]).success();
    assert!(half.exists(), "not unasked");
    env.pipe(["backup", "prune", "dev", "--incomplete", "--yes"]).success();
    assert!(!half.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_is_named_before_anything_is_touched() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    fill(&minio);
    let env = cluster(&minio, &silo);
    env.pipe(["backup", "dev", "minio"]).success();
    let folder = folders(&env, "minio").pop().unwrap();
    minio.clear();

    let (second, third) = (folder.join("0002.tar"), folder.join("0003.tar"));
    let (whole, also) = (fs::read(&second).unwrap(), fs::read(&third).unwrap());
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&second, &flipped).unwrap();
    fs::write(&third, &also[..also.len() - 1]).unwrap();
    let damaged = env.pipe(["restore", "dev"]).code(1).both();
    assert!(damaged.contains("0002.tar: its content is not what was backed up"), "{damaged}");
    assert!(damaged.contains("0003.tar: ") && damaged.contains(" bytes instead of "), "{damaged}");
    fs::write(&second, &whole).unwrap();

    fs::remove_file(&third).unwrap();
    let list = env.pipe(["backup", "list"]).success().stdout().to_owned();
    assert!(list.contains("unusable") && list.contains("lacks 0003.tar"), "{list}");
    let lacks = env.pipe(["restore", "dev"]).code(1).both();
    assert!(lacks.contains("lacks 0003.tar"), "{lacks}");
    fs::write(&third, &also).unwrap();

    let manifest = folder.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"plain\"", "\"plane\"")).unwrap();
    let changed = env.pipe(["restore", "dev"]).code(1).both();
    assert!(changed.contains("its checksum differs"), "{changed}");
    assert_eq!(minio.changes(), 0, "nothing was touched");
    fs::write(&manifest, text).unwrap();
    env.pipe(["restore", "dev"]).success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_off_says_so_and_can_be_repeated() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    fill(&minio);
    let before = minio.contents();
    let env = cluster(&minio, &silo);
    env.pipe(["backup", "dev", "minio"]).success();
    minio.clear();
    minio.fails(Fault::Refuses(b"two"));
    let cut = env.pipe(["restore", "dev"]).code(1).both();
    assert!(cut.contains("key: 400 InvalidRequest") && cut.contains("half restored"), "{cut}");
    assert_ne!(minio.contents(), before);
    minio.fails(Fault::None);
    env.pipe(["restore", "dev", "--replace"]).success();
    assert_eq!(minio.contents(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_backups_go_as_the_component_says_and_the_newest_never() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    fill(&minio);
    let env = cluster(&minio, &silo);
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/components/minio.yaml");
    let text = fs::read_to_string(built_in).unwrap();
    for _ in 0..3 {
        env.pipe(["backup", "dev", "minio"]).success();
    }
    assert_eq!(folders(&env, "minio").len(), 1, "one a day");
    let none = format!("{text}backup: {{keep: {{daily: 0, weekly: 0, monthly: 0}}}}\n");
    env.write("profiles/components/minio.yaml", &none);
    let made = env.pipe(["backup", "dev", "minio", "--json"]).result();
    let newest = made["data"]["backups"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["data"]["pruned"].as_array().unwrap().len(), 1, "{made}");
    let left = folders(&env, "minio");
    assert!(left.len() == 1 && left[0].ends_with(&newest), "{left:?}");
    let text = env.pipe(["backup", "prune", "--yes"]).success().both();
    assert!(text.contains("there is nothing to remove"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_wrong_are_usage() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    let env = cluster(&minio, &silo);
    let text = env.pipe(["backup", "dev", "mini"]).code(2).both();
    assert!(text.contains("no component mini") && text.contains("minio, silo"), "{text}");
    env.pipe(["backup", "dev", "--to", "s3:x/Y"]).code(2).both();
    env.pipe(["restore", "dev", "--backup", "../x"]).code(2).both();
    let text = env.pipe(["backup", "nowhere"]).code(1).both();
    assert!(text.contains("there is no cluster nowhere"), "{text}");
    let text = env.pipe(["backup", "dev", "minio", "--to", "/proc/nothing"]).code(4).both();
    assert!(text.contains("--to DIR"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stand_in_no_backup_and_in_no_output() {
    let (minio, silo) = (Store::start().await, Store::start().await);
    fill(&minio);
    let env = cluster(&minio, &silo);
    let mut text = env.pipe(["backup", "dev", "minio"]).success().both();
    minio.fails(Fault::Breaks("large"));
    text += &env.pipe(["backup", "dev", "minio", "--json"]).code(1).both();
    assert!(!text.contains(SECRET) && !text.contains("X-Amz"), "{text}");
    for folder in folders(&env, "minio") {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

/// A cluster with `component` alone, at `port`.
fn one(component: &str, catalogue: &str, port: u16) -> TestEnv {
    let env = TestEnv::new();
    let profile = format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: mine\ncomponents:\n\
         - {{name: {component}, namespace: data}}\n"
    );
    env.write("profiles/mine.yaml", &profile);
    let login = json!({"username": "pipe", "password": SECRET});
    state(&env, "dev", json!({catalogue: port}), &[(component, login)]);
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_breaks_off_is_no_backup() {
    use self::nats::{Fault, Nats};
    let server = Nats::start().await;
    let env = one("nats", "nats-client", server.port());
    for (fault, why) in [
        (Fault::BreaksOff, "the server broke its snapshot off: 500 disk is broken"),
        (Fault::LosesAChunk, "chunk 2 of its snapshot is missing"),
        (Fault::OtherServer, "another program holds the port"),
    ] {
        server.fails(fault);
        let text = env.pipe(["backup"]).code(1).both();
        assert!(text.contains(why), "{fault:?}: {text}");
        assert_eq!(folders(&env, "nats"), [""; 0].map(PathBuf::from), "{fault:?}");
    }
    server.fails(Fault::None);
    let made = env.pipe(["backup", "--json"]).result();
    assert_eq!(made["data"]["backups"][0]["holds"], "1 stream, 7 messages", "{made}");

    let refused = env.pipe(["restore"]).code(1).both();
    assert!(refused.contains("nats: stream ORDERS (7 messages)"), "{refused}");
    assert!(!server.is_back(), "nothing was sent");
    server.loses_the_stream();
    server.fails(Fault::RestoresFewer);
    let fewer = env.pipe(["restore"]).code(1).both();
    assert!(fewer.contains("messages is 6 instead of 7") && fewer.contains("half"), "{fewer}");
    server.fails(Fault::None);
    env.pipe(["restore", "--replace"]).success();
    assert!(server.is_back());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickhouse_that_fails_behind_its_status_is_no_backup() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let script = move |request: &Request, _| {
        let query = String::from_utf8_lossy(&request.body).into_owned();
        let text = match query.as_str() {
            q if q.starts_with("SELECT hostName") => "clickhouse-0\t18.16.1\n",
            q if q.contains("system.databases") => "shop\tOrdinary\nsystem\tOrdinary\n",
            q if q.contains("system.tables") => "shop\tsales\tMergeTree\nsystem\tone\tSystemOne\n",
            q if q.starts_with("SHOW CREATE") => {
                "CREATE TABLE shop.sales ( id UInt8) ENGINE = MergeTree ORDER BY id"
            }
            q if q.starts_with("SELECT count()") => "3\n",
            q if q.ends_with("FORMAT Native") && failing.load(Ordering::Relaxed) => {
                "\u{1}\u{3}rowsCode: 241, e.displayText() = DB::Exception: Memory limit exceeded, \
                 e.what() = DB::Exception\n"
            }
            q if q.ends_with("FORMAT Native") => "\u{1}\u{3}rows",
            other => panic!("{other}"),
        };
        Reply::new(200, text)
    };
    let (_server, base) = Scripted::tcp(script).await;
    let port = base.rsplit_once(':').unwrap().1.parse().unwrap();
    let env = one("clickhouse", "clickhouse-http", port);
    let text = env.pipe(["backup"]).code(1).both();
    assert!(
        text.contains("table shop.sales: Code: 241") && text.contains("Memory limit"),
        "{text}"
    );
    assert_eq!(folders(&env, "clickhouse"), [""; 0].map(PathBuf::from));
    fails.store(false, Ordering::Relaxed);
    let made = env.pipe(["backup", "--json"]).result();
    assert_eq!(made["data"]["backups"][0]["holds"], "1 database, 1 table", "{made}");
    assert_eq!(made["data"]["backups"][0]["bytes"], 6, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cql_server_that_breaks_off_is_no_backup_and_what_it_refuses_is_said() {
    use self::cql::{Cql, Fault};
    let server = Cql::start(SECRET).await;
    let env = one("scylladb", "cql", server.port());
    for (fault, why) in [
        (Fault::BreaksOff, "table shop.sales: "),
        (Fault::CutsAPage, "table shop.sales: "),
        (Fault::EndsEarly, "table shop.sales: 2 rows were read, and it has 6"),
        (Fault::OtherServer, "a server of cluster orders, not of scylladb"),
        (Fault::CannotDescribe, "keyspace shop: it cannot be described, as newer servers do"),
    ] {
        server.fails(fault);
        let text = env.pipe(["backup"]).code(1).both();
        assert!(text.contains(why), "{fault:?}: {text}");
        assert_eq!(folders(&env, "scylladb"), [""; 0].map(PathBuf::from), "{fault:?}");
    }
    server.fails(Fault::None);
    let made = env.pipe(["backup", "--json"]).result();
    assert_eq!(made["data"]["backups"][0]["holds"], "1 keyspace, 1 table, 6 rows", "{made}");
    let left_out = &made["data"]["backups"][0]["left_out"];
    assert_eq!(*left_out, json!(["function shop.twice: make it again"]), "{made}");

    let refused = env.pipe(["restore"]).code(1).both();
    assert!(refused.contains("scylladb: table shop.sales (6 rows)"), "{refused}");
    server.fails(Fault::OtherType);
    let other = env.pipe(["restore", "--replace"]).code(1).both();
    assert!(other.contains("type shop.place is there, and another one"), "{other}");
    assert!(server.is_whole() && server.changes() == 0, "nothing was sent");

    server.loses_the_table();
    server.fails(Fault::RefusesTheTable);
    let refused = env.pipe(["restore"]).code(1).both();
    assert!(refused.contains("Unknown property 'odd'") && refused.contains("half"), "{refused}");
    server.fails(Fault::LosesARow);
    let fewer = env.pipe(["restore"]).code(1).both();
    assert!(fewer.contains("5 rows came back instead of 6") && fewer.contains("half"), "{fewer}");
    server.fails(Fault::None);
    env.pipe(["restore", "--replace"]).success();
    assert!(server.is_whole());
}
