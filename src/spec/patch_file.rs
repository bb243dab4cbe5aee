//! A cluster file's `patches:`: what is merged into the configuration of kubelet, kubeadm and
//! containerd before they read it.

use serde_json::Value;

use super::patch::{Document, KubeadmPatch, Patches};
use super::problem::suggestion;
use super::read::{Cursor, Fields};

/// Every key of `patches:`.
pub const KEYS: &[&str] = &["kubelet", "kubeadm", "containerd"];

/// What `pipe` decides itself: a patch of it would contradict what the cluster is made of.
const OWNED: &[(Document, &[&str], &str)] = &[
    (Document::Cluster, &["clusterName"], "it is the file's name"),
    (Document::Cluster, &["kubernetesVersion"], "write kubernetes: in the cluster file"),
    (Document::Cluster, &["controlPlaneEndpoint"], "nodes and kubeconfig count on it"),
    (Document::Cluster, &["networking", "podSubnet"], "write podSubnet: in the cluster file"),
    (
        Document::Cluster,
        &["networking", "serviceSubnet"],
        "write serviceSubnet: in the cluster file",
    ),
    (Document::Init, &["bootstrapTokens"], "pipe makes one for each run"),
    (Document::Init, &["localAPIEndpoint"], "pipe chooses addresses"),
    (Document::Init, &["skipPhases"], "pipe runs kubeadm's phases"),
    (Document::Init, &["nodeRegistration", "name"], "write name: of the node"),
    (Document::Init, &["nodeRegistration", "criSocket"], "nodes run containerd"),
    (Document::Init, &["nodeRegistration", "taints"], "write taints: of the node"),
    (Document::Join, &["discovery"], "pipe makes a token for each run"),
    (Document::Join, &["controlPlane"], "write controlPlane: of the node"),
    (Document::Join, &["skipPhases"], "pipe runs kubeadm's phases"),
    (Document::Join, &["nodeRegistration", "name"], "write name: of the node"),
    (Document::Join, &["nodeRegistration", "criSocket"], "nodes run containerd"),
    (Document::Join, &["nodeRegistration", "taints"], "write taints: of the node"),
    (Document::Kubelet, &["cgroupDriver"], "the node image decides it"),
    (Document::Kubelet, &["cgroupRoot"], "the node image decides it"),
    (Document::Kubelet, &["failCgroupV1"], "the host decides it"),
    (Document::Kubelet, &["containerRuntimeEndpoint"], "nodes run containerd"),
    (Document::Kubelet, &["staticPodPath"], "kubeadm decides it"),
    (Document::Proxy, &["clusterCIDR"], "write podSubnet: in the cluster file"),
];

/// Where lists of arguments stand, and which of them `pipe` gives itself.
const ARGUMENTS: &[(Document, &[&str], &[&str])] = &[
    (
        Document::Cluster,
        &["apiServer", "extraArgs"],
        &["advertise-address", "etcd-servers", "secure-port", "service-cluster-ip-range"],
    ),
    (
        Document::Cluster,
        &["controllerManager", "extraArgs"],
        &["allocate-node-cidrs", "cluster-cidr", "service-cluster-ip-range"],
    ),
    (Document::Cluster, &["scheduler", "extraArgs"], &[]),
    (Document::Cluster, &["etcd", "local", "extraArgs"], &["data-dir", "initial-cluster"]),
    (
        Document::Init,
        &["nodeRegistration", "kubeletExtraArgs"],
        &["node-ip", "node-labels", "provider-id"],
    ),
    (
        Document::Join,
        &["nodeRegistration", "kubeletExtraArgs"],
        &["node-ip", "node-labels", "provider-id"],
    ),
];

/// What of containerd's configuration is not the user's to change.
const CONTAINERD_OWNED: &[(&[&str], &str)] = &[
    (&["version"], "the node image decides it"),
    (&["root"], "the node's images lie there"),
    (&["state"], "the node's pods run from there"),
    (&["grpc", "address"], "kubelet looks for the socket where it is"),
];

/// Reads `patches:`.
pub fn read(fields: &Fields<'_>) -> Patches {
    let Some(fields) = fields.optional("patches").and_then(|c| c.fields(KEYS, &[])) else {
        return Patches::default();
    };
    let kubelet = fields.optional("kubelet").and_then(|c| document(c, Some(Document::Kubelet)));
    let kubeadm = fields.optional("kubeadm").and_then(|list| list.items());
    let kubeadm = kubeadm.into_iter().flatten().filter_map(|item| document(item, None));
    let containerd = fields.optional("containerd").and_then(|c| containerd(&c));
    Patches { documents: kubelet.into_iter().chain(kubeadm).collect(), containerd }
}

/// A patch of one document; `known` where its place says of which.
fn document(cursor: Cursor<'_>, known: Option<Document>) -> Option<KubeadmPatch> {
    // Says that it is no mapping, where that is the fault.
    let _entries = cursor.entries()?;
    let words: Vec<&str> = Document::ALL.iter().map(|document| document.kind()).collect();
    let kind = at(cursor, &["kind"]);
    let target = match (known, kind) {
        (None, None) => {
            let remedy = format!("add kind:, one of {}", words.join(", "));
            cursor.problem("the patch does not say of which document", remedy);
            return None;
        }
        (Some(document), None) => document,
        (known, Some(kind)) => {
            let text = kind.text()?;
            let found = Document::ALL.iter().find(|document| document.kind() == text);
            match (known, found) {
                (Some(known), Some(found)) if known != *found => {
                    let what = format!("{text} stands under kubelet");
                    kind.problem(what, "move it to kubeadm, or leave kind out");
                    return None;
                }
                (_, Some(found)) => *found,
                (_, None) => {
                    let what = format!("kubeadm reads no document of kind {text:?}");
                    kind.problem(what, suggestion(text, &words));
                    return None;
                }
            }
        }
    };
    if let Some(version) = at(cursor, &["apiVersion"])
        && version.text().is_some_and(|text| text != target.api_version())
    {
        let what = format!("pipe writes {} as {}", target.kind(), target.api_version());
        version.problem(what, "leave apiVersion out, and write the patch in that form");
    }
    for (_, path, remedy) in OWNED.iter().filter(|(document, ..)| *document == target) {
        if let Some(owned) = at(cursor, path) {
            owned.problem(format!("{} is pipe's to decide", path.join(".")), *remedy);
        }
    }
    for (_, path, owned) in ARGUMENTS.iter().filter(|(document, ..)| *document == target) {
        if let Some(list) = at(cursor, path) {
            arguments(list, owned);
        }
    }
    let Value::Object(mut value) = cursor.values(&|_| None)? else { return None };
    value.remove("kind");
    value.remove("apiVersion");
    Some(KubeadmPatch { document: target, value: Value::Object(value) })
}

/// Checks `[{name: v, value: "4"}]`.
fn arguments(list: Cursor<'_>, owned: &[&str]) {
    if list.is_map() {
        let what = "arguments are a list in this version of kubeadm's documents";
        list.problem(what, "write [{name: NAME, value: 'VALUE'}]");
        return;
    }
    for item in list.items().into_iter().flatten() {
        let Some(fields) = item.fields(&["name", "value"], &[]) else { continue };
        let name = fields.required("name", "v").and_then(|c| Some((c.text()?, c)));
        fields.required("value", "'4'").and_then(|c| c.text());
        if let Some((name, cursor)) = name
            && owned.contains(&name)
        {
            let what = format!("the argument {name} is pipe's to give");
            cursor.problem(what, "leave it out");
        }
    }
}

/// Text that is TOML, and leaves alone what `pipe` needs.
fn containerd(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    let table: toml::Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let what = format!("the patch is no TOML ({})", error.message());
            cursor.problem_in_text(offset, what, "correct it; keys with dots go in quotes");
            return None;
        }
    };
    for (path, remedy) in CONTAINERD_OWNED {
        let mut found = Some(&table);
        let (last, above) = path.split_last()?;
        for key in above {
            found = found.and_then(|table| table.get(*key)).and_then(toml::Value::as_table);
        }
        if found.is_some_and(|table| table.contains_key(*last)) {
            let offset = text.find(last).unwrap_or(0);
            let what = format!("{} of containerd is pipe's to decide", path.join("."));
            cursor.problem_in_text(offset, what, *remedy);
        }
    }
    Some(text.to_owned())
}

/// The part under `path`, if every step of it is there.
fn at<'a>(cursor: Cursor<'a>, path: &[&str]) -> Option<Cursor<'a>> {
    let mut found = cursor;
    for key in path {
        if !found.is_map() {
            return None;
        }
        found = found.entries()?.find(|(name, ..)| name == key).map(|(.., value)| value)?;
    }
    Some(found)
}
