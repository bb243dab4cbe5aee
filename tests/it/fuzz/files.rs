//! Clusters, profiles and components: whatever stands in the files, reading them ends, with a
//! `Spec` that holds what a `Spec` promises, or with problems that name file and line.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pipe::spec::source::Sources;
use pipe::spec::{
    self, Arch, Spec, cluster_file, component_file, mount_file, node_file, patch_file, port_file,
    profile_file,
};
use pipe::{Error, Kind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{PIECES, check, mutated, shipped};

const CLUSTER: &str = "clusters/dev.yaml";
const PROFILE: &str = "profiles/laptop.yaml";
const COMPONENT: &str = "profiles/components/nats.yaml";

thread_local! {
    /// One project for all cases of a test.
    static PROJECT: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Loads a project whose files hold these bytes and checks how that ends.
pub(super) fn load_bytes(cluster: &[u8], profile: &[u8], component: &[u8]) {
    PROJECT.with(|cell| {
        let dir = cell.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("clusters")).unwrap();
            fs::create_dir_all(dir.path().join("profiles/components")).unwrap();
            dir
        });
        let files = [(CLUSTER, cluster), (PROFILE, profile), (COMPONENT, component)];
        for (path, bytes) in files {
            fs::write(dir.path().join(path), bytes).unwrap();
        }
        let sources = Sources::find(None, dir.path()).unwrap();
        match spec::load(&sources, "dev", Some("laptop"), Arch::Amd64) {
            Ok(spec) => holds_what_it_promises(&spec),
            Err(error) => names_places(&error, &files),
        }
    });
}

/// What later modules rely on.
fn holds_what_it_promises(spec: &Spec) {
    let nodes = &spec.cluster.nodes;
    assert!((1..=100).contains(&nodes.len()));
    assert!(nodes.iter().any(|node| node.control_plane));
    let unique = |texts: Vec<&str>| texts.iter().collect::<BTreeSet<_>>().len() == texts.len();
    assert!(unique(nodes.iter().map(|node| node.name.as_str()).collect()));
    assert!(unique(nodes.iter().map(|node| node.host.as_str()).collect()));
    for node in nodes {
        assert!(node.host.len() <= 63, "{}", node.host);
        for (key, value) in &node.labels {
            assert!(spec::label::key_fault(key).is_none() && value.len() <= 63, "{key}={value}");
        }
    }
    for component in &spec.profile.components {
        assert!(!component.namespace.is_empty());
        for image in &component.definition.images {
            super::names::assert_is_reference(image.as_str());
        }
        assert!(serde_json::to_string(&component.chart_values()).is_ok());
    }
}

/// Every cause is `FILE:LINE:COLUMN: what: remedy` of a place that is there, or is about the file
/// as a whole; and there is no flood of them.
fn names_places(error: &Error, files: &[(&str, &[u8])]) {
    assert_eq!(error.kind, Kind::Files, "{error:?}");
    assert!(!error.causes.is_empty() && error.causes.len() <= 101, "{}", error.causes.len());
    // YAML ends lines at a lone carriage return, too.
    let lines_of = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.replace("\r\n", "\n").split(['\n', '\r']).count()
    };
    let files: Vec<_> =
        files.iter().map(|(path, bytes)| (*path, bytes.len(), lines_of(bytes))).collect();
    for cause in &error.causes {
        assert!(cause.chars().count() < 1000 && !cause.contains(char::is_control), "{cause:?}");
        if cause.starts_with("and ") && cause.ends_with(" more") {
            continue;
        }
        let found = files.iter().find(|(path, ..)| cause.starts_with(path));
        let (path, length, lines) = *found.unwrap_or_else(|| panic!("no file in {cause:?}"));
        let rest = &cause[path.len()..];
        if let Some(whole) = rest.strip_prefix(": ") {
            let about_all = ["is larger", "is empty", "there is no chart"];
            assert!(about_all.iter().any(|start| whole.starts_with(start)), "{cause}");
            continue;
        }
        let mut numbers = rest.splitn(4, ':').skip(1);
        let mut number = || numbers.next().and_then(|n| n.parse::<usize>().ok());
        let (line, column) = (number().unwrap(), number().unwrap());
        assert!(line >= 1 && line <= lines + 1, "{cause} in {lines} lines");
        assert!(column >= 1 && column <= length + 2, "{cause}");
    }
}

/// A word that stands for something somewhere.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "core",
        "edge",
        "dev",
        "laptop",
        "nats",
        "nats-client",
        "single",
        "kind",
        "k3d",
        "auto",
        "default",
        "generated",
        "labelled",
        "native",
        "arm64",
        "amd64",
        "10.244.0.0/16",
        "0.0.0.0/0",
        "10.0.0.0/33",
        "a=b:NoSchedule",
        "a=b:c",
        "node-role.kubernetes.io/x",
        "nvidia.com/gpu",
        "3m",
        "99999999999999999999h",
        "docker.io/library/nats:2.15.2",
        "{nodePort:client}",
        "nats://{host}:{port:client}",
        "{",
        "NATS_URL",
        "kube-system",
        "true",
        "pipe.dev/v1alpha1",
        "Cluster",
        "Profile",
        "Component",
        "messaging",
        "client",
        "username",
        "x",
        "",
        "-",
        "..",
        "é",
    ];
    prop_oneof![
        6 => select(known.to_vec()).prop_map(str::to_owned),
        1 => select(PIECES).prop_map(str::to_owned),
        1 => "[a-z0-9.:/@{}=-]{0,70}",
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => word().prop_map(|word| format!("{word:?}")),
        3 => word(),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (-2_i64..120).prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| number.to_string()),
        1 => any::<bool>().prop_map(|truth| truth.to_string()),
        1 => Just("null".to_owned()),
    ]
}

/// A tree in flow style whose keys are those that files know, each of them where it does not
/// belong as often as where it does.
fn tree() -> impl Strategy<Value = String> {
    let keys: Vec<&'static str> = [
        cluster_file::KEYS,
        mount_file::KEYS,
        patch_file::KEYS,
        port_file::KEYS,
        node_file::KEYS,
        profile_file::KEYS,
        profile_file::IMAGES_KEYS,
        profile_file::COMPONENT_KEYS,
        component_file::KEYS,
        component_file::CREDENTIAL_KEYS,
        component_file::CREDENTIAL_VALUE_KEYS,
        component_file::GATE_KEYS,
        component_file::SMOKE_KEYS,
        &["client", "single", "password", "team", "<<"],
    ]
    .concat();
    scalar().prop_recursive(5, 60, 8, move |inner| {
        let entry = (select(keys.clone()), inner.clone());
        prop_oneof![
            vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(", "))),
            vec(entry, 0..8).prop_map(|entries| {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {value}"));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

/// A file with a proper head and these keys, each with a tree of any form.
fn built(
    kind: &'static str,
    name: &'static str,
    keys: Vec<&'static str>,
) -> impl Strategy<Value = String> {
    vec((select(keys), tree()), 0..10).prop_map(move |entries| {
        let mut seen = BTreeSet::new();
        let mut text = format!("apiVersion: pipe.dev/v1alpha1\nkind: {kind}\nname: {name}\n");
        for (key, value) in entries.iter().filter(|(key, _)| seen.insert(*key)) {
            text += &format!("{key}: {value}\n");
        }
        text
    })
}

/// The keys of a kind of file but those of its head.
fn body(keys: &[&'static str]) -> Vec<&'static str> {
    keys.iter().copied().filter(|key| !matches!(*key, "apiVersion" | "kind" | "name")).collect()
}

#[test]
fn arbitrary_bytes() {
    check("files-bytes", 200, &vec(any::<u8>(), 0..400), |bytes| {
        load_bytes(&bytes, &bytes, &bytes);
    });
}

#[test]
fn arbitrary_text() {
    let text = "[-\\[\\]{}:,&*!|>'\"%@`#?~a-c0-2 \n\t]{0,200}";
    check("files-text", 200, &text.boxed(), |text| {
        load_bytes(text.as_bytes(), text.as_bytes(), text.as_bytes());
    });
}

#[test]
fn mutations_of_shipped_files() {
    let file = |path| mutated(shipped(path), PIECES);
    let files = (file(CLUSTER), file(PROFILE), file(COMPONENT));
    check("files-mutated", 200, &files, |(cluster, profile, component)| {
        load_bytes(&cluster, &profile, &component);
    });
}

#[test]
fn known_keys_with_unknown_content() {
    let files = (
        built("Cluster", "dev", body(cluster_file::KEYS)),
        built("Profile", "laptop", body(profile_file::KEYS)),
        built("Component", "nats", body(component_file::KEYS)),
    );
    check("files-built", 200, &files, |(cluster, profile, component)| {
        load_bytes(cluster.as_bytes(), profile.as_bytes(), component.as_bytes());
    });
}

/// One wrong value in a file that is right otherwise: past the first checks, into the deep ones.
#[test]
fn one_wrong_value() {
    let node = (select(node_file::KEYS), tree());
    let files = (
        vec(node, 0..4).prop_map(|entries| {
            let mut seen = BTreeSet::from(["name"]);
            let more = entries.iter().filter(|(key, _)| seen.insert(*key));
            let more: String = more.map(|(key, value)| format!(", {key}: {value}")).collect();
            let text = String::from_utf8(shipped(CLUSTER)).unwrap();
            format!("{text}\n- {{name: extra{more}}}\n")
        }),
        (select(body(profile_file::COMPONENT_KEYS)), tree()).prop_map(|(key, value)| {
            let mut entry = "name: nats".to_owned();
            if key != "namespace" {
                entry += ", namespace: messaging";
            }
            format!(
                "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: laptop\n\
                 components: [{{{entry}, {key}: {value}}}]\n"
            )
        }),
        (select(body(component_file::KEYS)), tree()).prop_map(|(key, value)| {
            let text = String::from_utf8(shipped(COMPONENT)).unwrap();
            // The old value of the key goes, with the lines that belong to it.
            let mut out = format!("{key}: {value}\n");
            let mut dropping = false;
            for line in text.lines() {
                if !line.starts_with([' ', '-', '#']) && !line.is_empty() {
                    dropping = line.starts_with(&format!("{key}:"));
                }
                if !dropping {
                    out += line;
                    out += "\n";
                }
            }
            out
        }),
    );
    check("files-one-wrong", 300, &files, |(cluster, profile, component)| {
        load_bytes(cluster.as_bytes(), profile.as_bytes(), component.as_bytes());
    });
}

/// The files as they are pass the checks that the others are held to.
#[test]
fn shipped_files_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec =
        spec::load(&Sources::find(Some(root), root).unwrap(), "dev", Some("laptop"), Arch::Amd64);
    holds_what_it_promises(&spec.unwrap());
}
