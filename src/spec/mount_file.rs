//! A cluster file's `mounts:`: folders and files of the host inside of nodes.

use std::path::{Path, PathBuf};

use super::read::{Cursor, Fields};
use super::{Mount, Node, Propagation, port_file};

/// Every key of a mount.
pub const KEYS: &[&str] =
    &["hostPath", "containerPath", "readOnly", "propagation", "selinuxRelabel", "node"];

/// What a node needs for itself: nothing may be mounted over it.
const OWNED: &[&str] = &[
    "/",
    "/bin",
    "/dev",
    "/etc",
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/kind",
    "/lib",
    "/lib/modules",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
];

/// Below these nothing of the host can stand either.
const KERNELS: &[&str] = &["/dev", "/proc", "/sys"];

/// Reads the list. `folder` is the cluster file's own, from where relative paths go; a built-in file
/// has none.
pub fn read(fields: &Fields<'_>, nodes: &[Node], folder: Option<&Path>) -> Vec<Mount> {
    let mut mounts: Vec<(Mount, usize)> = Vec::new();
    for item in fields.optional("mounts").and_then(|list| list.items()).into_iter().flatten() {
        let Some(mount) = read_one(item, nodes, folder) else { continue };
        let same = |(other, _): &&(Mount, usize)| {
            let both = other.node.is_none() || mount.node.is_none() || other.node == mount.node;
            both && other.container_path == mount.container_path
        };
        if let Some((_, line)) = mounts.iter().find(same) {
            let what = format!(
                "containerPath {} stands twice; the first is on line {line}",
                mount.container_path
            );
            item.problem(what, "give each a path or a node of its own");
        }
        mounts.push((mount, item.at().line));
    }
    mounts.into_iter().map(|(mount, _)| mount).collect()
}

fn read_one(item: Cursor<'_>, nodes: &[Node], folder: Option<&Path>) -> Option<Mount> {
    let fields = item.fields(KEYS, &[])?;
    let host_path = fields.required("hostPath", "./data").and_then(|c| host_path(c, folder));
    let container_path = fields.required("containerPath", "/data").and_then(container_path);
    let flag = |key: &str| fields.optional(key).and_then(|c| c.boolean()).unwrap_or(false);
    let propagation = fields.optional("propagation").and_then(|c| {
        let choices = [
            ("None", Propagation::None),
            ("HostToContainer", Propagation::HostToContainer),
            ("Bidirectional", Propagation::Bidirectional),
        ];
        c.choice(&choices, &[])
    });
    Some(Mount {
        read_only: flag("readOnly"),
        selinux_relabel: flag("selinuxRelabel"),
        propagation: propagation.unwrap_or(Propagation::None),
        node: port_file::node_name(&fields, nodes),
        host_path: host_path?,
        container_path: container_path?,
    })
}

/// The whole path on the host.
fn host_path(cursor: Cursor<'_>, folder: Option<&Path>) -> Option<PathBuf> {
    let text = cursor.text()?;
    let path = Path::new(text);
    if text.is_empty() || text.starts_with('~') || text.contains('\0') {
        cursor.problem(
            format!("{text:?} is no path on this host"),
            "write /home/me/data, or ./data for a folder beside this file",
        );
        return None;
    }
    match folder {
        _ if path.is_absolute() => Some(path.components().collect()),
        Some(folder) => Some(folder.join(path).components().collect()),
        None => {
            cursor.problem(
                format!("{text:?} is relative, and a built-in file lies in no folder"),
                "write the whole path, or make the file your own with `pipe init`",
            );
            None
        }
    }
}

/// An absolute path in the node that covers nothing the node needs.
fn container_path(cursor: Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    let plain = text.starts_with('/') && !text.split('/').any(|part| matches!(part, "." | ".."));
    if !plain || text.contains(['\0', ':', ',']) {
        let what = format!("{text:?} is no path in a node");
        cursor.problem(what, "write an absolute path such as /data");
        return None;
    }
    let path: PathBuf = Path::new(text).components().collect();
    let below = |owned: &&&str| path.starts_with(**owned);
    let kernels = KERNELS.iter().find(below);
    if OWNED.iter().any(|owned| path == Path::new(owned)) || kernels.is_some() {
        let what = format!("the node needs {} for itself", path.display());
        cursor.problem(what, "mount below another path, such as /data");
        return None;
    }
    Some(path.display().to_string())
}
