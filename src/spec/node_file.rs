//! One entry of a cluster file's `nodes:`, checked on its own.

use std::collections::BTreeMap;

use super::read::{Cursor, Fields};
use super::{Arch, Fidelity, NodeName, Taint, label, name};

/// Every key of a node.
pub const KEYS: &[&str] = &[
    "name",
    "controlPlane",
    "count",
    "role",
    "zone",
    "arch",
    "fidelity",
    "accelerator",
    "resources",
    "labels",
    "taints",
];

/// Keys of the cluster that people look for here.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("mounts", "write it beside nodes:, with node: NAME for one node alone"),
    ("ports", "write it beside nodes:, with node: NAME for another node than the control plane"),
    ("patches", "write it beside nodes:; patches are for all nodes"),
    ("kubernetes", "write it beside nodes:; all nodes run one version"),
];

/// Most nodes in one cluster; each is a kubelet on this machine.
pub const NODES_MAX: u64 = 100;

/// A node as written, before `count` is unrolled.
pub struct NodeFile<'a> {
    /// The whole entry.
    pub whole: Cursor<'a>,
    /// The name and its place; none if it is missing or wrong.
    pub name: Option<(NodeName, Cursor<'a>)>,
    /// How many nodes it stands for.
    pub count: u64,
    /// Runs the API server.
    pub control_plane: bool,
    /// How real it is.
    pub fidelity: Fidelity,
    /// The field `role`.
    pub role: Option<String>,
    /// The field `zone`.
    pub zone: Option<String>,
    /// The field `arch`.
    pub arch: Option<Arch>,
    /// The field `accelerator`.
    pub accelerator: Option<String>,
    /// Extended resources to simulate.
    pub resources: BTreeMap<String, u64>,
    /// The user's labels and those derived from fields.
    pub labels: BTreeMap<String, String>,
    /// The taints derived from fields, then the user's.
    pub taints: Vec<Taint>,
}

/// Reads one entry. A field that is wrong is noted and left at its default, so that the rest is
/// still checked. `None` if the entry is no mapping.
pub fn read<'a>(whole: Cursor<'a>, host_arch: Arch) -> Option<NodeFile<'a>> {
    let fields = whole.fields_of(KEYS, &[], ELSEWHERE)?;
    let name = fields.required("name", "worker").and_then(|cursor| {
        let name = cursor.parsed(NodeName::parse, "use a name such as core or edge-2")?;
        Some((name, cursor))
    });
    let arch = read_arch(&fields);
    let role = label_value(&fields, "role").filter(|(role, cursor)| role_is_usable(role, cursor));
    let mut node = NodeFile {
        whole,
        name,
        count: fields.optional("count").and_then(|c| c.whole(1, NODES_MAX)).unwrap_or(1),
        control_plane: fields.optional("controlPlane").and_then(|c| c.boolean()).unwrap_or(false),
        fidelity: read_fidelity(&fields, arch, host_arch),
        role: role.map(|(role, _)| role),
        zone: label_value(&fields, "zone").map(|(zone, _)| zone),
        arch: arch.map(|(arch, _)| arch),
        accelerator: label_value(&fields, "accelerator").map(|(value, _)| value),
        resources: read_resources(&fields),
        labels: read_labels(&fields),
        taints: Vec::new(),
    };
    node.derive();
    read_taints(&fields, &mut node.taints);
    Some(node)
}

impl NodeFile<'_> {
    /// Adds the labels and taints that the fields stand for.
    fn derive(&mut self) {
        let mut set = |key: &str, value: &str| self.labels.insert(key.to_owned(), value.to_owned());
        let mut taint = |key: &str, value: &str| {
            let (key, value) = (key.to_owned(), value.to_owned());
            self.taints.push(Taint { key, value, effect: "NoSchedule".to_owned() });
        };
        if let Some(role) = &self.role {
            set("role", role);
            set(&format!("node-role.kubernetes.io/{role}"), "");
        }
        if let Some(zone) = &self.zone {
            set("zone", zone);
            set("topology.kubernetes.io/zone", zone);
        }
        if let Some(arch) = self.arch {
            set("arch", arch.as_str());
            if self.fidelity == Fidelity::Labelled {
                taint("arch", arch.as_str());
            }
        }
        if let Some(accelerator) = &self.accelerator {
            set("accelerator", accelerator);
            taint("accelerator", accelerator);
        }
    }
}

/// The non-empty label value under `key`.
fn label_value<'a>(fields: &Fields<'a>, key: &str) -> Option<(String, Cursor<'a>)> {
    let cursor = fields.optional(key)?;
    let text = cursor.text()?;
    let fault =
        if text.is_empty() { Some("is empty".to_owned()) } else { label::value_fault(text) };
    if let Some(fault) = fault {
        cursor.problem(format!("{key} {fault}"), "use letters, digits, '-', '_' and '.'");
        return None;
    }
    Some((text.to_owned(), cursor))
}

/// A role becomes part of a label's key, and Kubernetes keeps two names to itself.
fn role_is_usable(role: &str, cursor: &Cursor<'_>) -> bool {
    if let Some(fault) = name::dns_label_fault(role, 63) {
        cursor.problem(format!("the role {role:?} {fault}"), "use a name such as general or ml");
        return false;
    }
    if matches!(role, "control-plane" | "master") {
        let remedy = "write controlPlane: true, and a role of your own or none";
        cursor.problem(format!("the role {role} belongs to Kubernetes"), remedy);
        return false;
    }
    true
}

fn read_arch<'a>(fields: &Fields<'a>) -> Option<(Arch, Cursor<'a>)> {
    let cursor = fields.optional("arch")?;
    let arch = cursor.choice(&[("amd64", Arch::Amd64), ("arm64", Arch::Arm64)], &[])?;
    Some((arch, cursor))
}

/// The fidelity, which must be said where the architecture is not the host's.
fn read_fidelity(
    fields: &Fields<'_>,
    arch: Option<(Arch, Cursor<'_>)>,
    host_arch: Arch,
) -> Fidelity {
    let choices = [("native", Fidelity::Native), ("labelled", Fidelity::Labelled)];
    let later = ["emulated", "simulated", "device", "remote"];
    let chosen = fields.optional("fidelity").map(|c| (c.choice(&choices, &later), c));
    match (&chosen, arch) {
        (Some((Some(Fidelity::Labelled), cursor)), None) => {
            let remedy = "add arch, or leave fidelity out";
            cursor.problem("fidelity: labelled without an architecture", remedy);
        }
        (None | Some((Some(Fidelity::Native), _)), Some((arch, cursor))) if arch != host_arch => {
            let what = format!("this host is {host_arch}, so the node cannot really be {arch}");
            let remedy = "add fidelity: labelled (a real node of this host with the label and taint \
                          arch=); emulated and simulated nodes come later";
            cursor.problem(what, remedy);
        }
        _ => {}
    }
    chosen.and_then(|(fidelity, _)| fidelity).unwrap_or(Fidelity::Native)
}

fn read_resources(fields: &Fields<'_>) -> BTreeMap<String, u64> {
    let mut resources = BTreeMap::new();
    for (name, mark, cursor) in
        fields.optional("resources").and_then(|c| c.entries()).into_iter().flatten()
    {
        if let Some(fault) = label::resource_fault(name) {
            mark.problem(fault, "name an extended resource, such as nvidia.com/gpu");
        } else if let Some(amount) = cursor.whole(0, 1_000_000_000) {
            resources.insert(name.to_owned(), amount);
        }
    }
    resources
}

fn read_labels(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, mark, cursor) in
        fields.optional("labels").and_then(|c| c.entries()).into_iter().flatten()
    {
        if let Some(fault) = label::key_fault(key) {
            mark.problem(fault, "write NAME or DOMAIN/NAME, of letters, digits, '-', '_' and '.'");
        } else if let Some((what, remedy)) = label::reserved(key) {
            mark.problem(what, remedy);
        }
        if let Some(value) = cursor.text() {
            if let Some(fault) = label::value_fault(value) {
                let remedy = "use at most 63 letters, digits, '-', '_' and '.'";
                cursor.problem(format!("the label's value {fault}"), remedy);
            }
            labels.insert(key.to_owned(), value.to_owned());
        }
    }
    labels
}

/// Adds the user's taints to `taints`; one key and effect may stand only once.
fn read_taints(fields: &Fields<'_>, taints: &mut Vec<Taint>) {
    for cursor in fields.optional("taints").and_then(|c| c.items()).into_iter().flatten() {
        let remedy = "write KEY=VALUE:NoSchedule, :PreferNoSchedule or :NoExecute";
        let Some(taint) = cursor.parsed(label::parse_taint, remedy) else { continue };
        if taints.iter().any(|other| other.key == taint.key && other.effect == taint.effect) {
            let what = format!("the taint {}:{} stands twice", taint.key, taint.effect);
            let remedy = match taint.key.as_str() {
                "arch" | "accelerator" => {
                    format!("leave it out: the field {} sets it", taint.key)
                }
                _ => "keep one of them".to_owned(),
            };
            cursor.problem(what, remedy);
        }
        taints.push(taint);
    }
}
