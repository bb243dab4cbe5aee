//! containerd's configuration in a node, with the cluster file's patch merged in.

use toml::{Table, Value};

use crate::{Error, Result};

/// Where it is.
pub const CONFIG: &str = "/etc/containerd/config.toml";

/// What plugins of containerd 1 were called. containerd 2 takes a configuration of version 3 and
/// passes over them without a word.
const OF_VERSION_2: &str = "io.containerd.grpc.v1.cri";

/// `config` with `patch` merged in: tables go into tables, anything else replaces.
///
/// # Errors
/// The image's configuration is no TOML, or the patch is written for another version of it.
pub fn patched(config: &str, patch: &str) -> Result<String> {
    let parse = |text: &str, whose: &str| {
        toml::from_str::<Table>(text).map_err(|error| {
            Error::failed("containerd-patch", format!("{whose} cannot be read"))
                .because(error.message())
        })
    };
    let mut merged = parse(config, "the node image's /etc/containerd/config.toml")?;
    let patch = parse(patch, "the patch of containerd")?;
    let version = merged.get("version").and_then(Value::as_integer).unwrap_or(1);
    let plugins = patch.get("plugins").and_then(Value::as_table);
    if version >= 3 && plugins.is_some_and(|plugins| plugins.contains_key(OF_VERSION_2)) {
        let what = "the patch of containerd is written for an older containerd";
        return Err(Error::failed("containerd-patch", what)
            .because(format!(
                "this node image has a configuration of version {version}, which passes over \
                 plugins.{OF_VERSION_2:?}"
            ))
            .hint("write plugins.\"io.containerd.cri.v1.images\" or plugins.\"io.containerd.cri.v1.runtime\""));
    }
    merge(&mut merged, patch);
    toml::to_string(&merged).map_err(|error| {
        Error::failed("containerd-patch", "the patched configuration cannot be written")
            .because(error)
    })
}

/// `config` with hosts looked up below `folder`; `None` where it names a folder already.
///
/// # Errors
/// The image's configuration is no TOML.
pub fn with_hosts(config: &str, folder: &str) -> Result<Option<String>> {
    let table: Table = toml::from_str(config).map_err(|error| {
        Error::failed(
            "containerd-config",
            "the node image's /etc/containerd/config.toml cannot be read",
        )
        .because(error.message())
    })?;
    let version = table.get("version").and_then(Value::as_integer).unwrap_or(1);
    let plugin = if version >= 3 { "io.containerd.cri.v1.images" } else { OF_VERSION_2 };
    let registry = table
        .get("plugins")
        .and_then(|plugins| plugins.get(plugin))
        .and_then(|plugin| plugin.get("registry"))
        .and_then(|registry| registry.get("config_path"));
    if registry.and_then(Value::as_str).is_some_and(|path| !path.is_empty()) {
        return Ok(None);
    }
    let patch = format!("[plugins.{plugin:?}.registry]\nconfig_path = {folder:?}\n");
    patched(config, &patch).map(Some)
}

/// Plugins that hold the settings of pulls: containerd 1's name, which containerd 2 carries over from a
/// configuration of version 2, and its own.
const PULLS: [&str; 2] = [OF_VERSION_2, "io.containerd.cri.v1.images"];

/// The plugin that pulls, and asks the verifier.
const TRANSFER: &str = "io.containerd.transfer.v1.local";

/// The plugin that runs verifiers.
const VERIFIERS: &str = "io.containerd.image-verifier.v1.bindir";

/// What sets the downloads at once, which moved to [`TRANSFER`].
const DOWNLOADS: &str = "max_concurrent_downloads";

/// `config` with which containerd asks the image verifier at each pull, and what was changed for it,
/// a line each. Nothing changed: the text is as it was. Goes behind every other change.
///
/// Each of these settings makes the CRI plugin pull by itself, without the transfer service and so
/// without verifiers, and only a warning in the log says so (containerd 2.4
/// `internal/cri/config/config.go`, `CheckLocalImagePullConfigs`).
///
/// # Errors
/// The image's configuration is no TOML.
pub fn with_verifier(config: &str) -> Result<(String, Vec<String>)> {
    let mut table: Table = toml::from_str(config).map_err(|error| {
        Error::failed(
            "containerd-config",
            "the node image's /etc/containerd/config.toml cannot be read",
        )
        .because(error.message())
    })?;
    let mut changes = Vec::new();
    if let Some(Value::Array(disabled)) = table.get_mut("disabled_plugins") {
        disabled.retain(|name| {
            let ours = name.as_str().filter(|name| [TRANSFER, VERIFIERS].contains(name));
            changes.extend(ours.map(|name| format!("disabled_plugins: without {name}")));
            ours.is_none()
        });
    }
    let mut downloads = None;
    if let Some(plugins) = table.get_mut("plugins").and_then(Value::as_table_mut) {
        for name in PULLS {
            let Some(plugin) = plugins.get_mut(name).and_then(Value::as_table_mut) else {
                continue;
            };
            let place = format!("plugins.{name:?}");
            downloads = pull_by_transfer(plugin, &place, &mut changes).or(downloads);
            // Where a configuration of version 2 has the settings of snapshots.
            if let Some(below) = plugin.get_mut("containerd").and_then(Value::as_table_mut) {
                pull_by_transfer(below, &format!("{place}.containerd"), &mut changes);
            }
        }
        if let Some(plugin) = plugins.get_mut(VERIFIERS).and_then(Value::as_table_mut) {
            let place = format!("plugins.{VERIFIERS:?}");
            let elsewhere = |value: &Value| value.as_str() != Some(super::verifier::BIN);
            drop_where(plugin, "bin_dir", &place, elsewhere, &mut changes);
            let none = |value: &Value| value.as_integer() == Some(0);
            drop_where(plugin, "max_verifiers", &place, none, &mut changes);
        }
        // Whoever set it meant it: here it does the same.
        if let Some(downloads) = downloads {
            let transfer = plugins.entry(TRANSFER).or_insert_with(|| Value::Table(Table::new()));
            if let Some(transfer) = transfer.as_table_mut()
                && !transfer.contains_key(DOWNLOADS)
            {
                changes.push(format!("plugins.{TRANSFER:?}.{DOWNLOADS}: {downloads}"));
                transfer.insert(DOWNLOADS.to_owned(), downloads);
            }
        }
    }
    if changes.is_empty() {
        return Ok((config.to_owned(), changes));
    }
    let text = toml::to_string(&table).map_err(|error| {
        Error::failed("containerd-config", "the corrected configuration cannot be written")
            .because(error)
    })?;
    Ok((text, changes))
}

/// Corrects a plugin's settings; returns the number of downloads at once that was taken out.
fn pull_by_transfer(plugin: &mut Table, place: &str, changes: &mut Vec<String>) -> Option<Value> {
    for (key, wrong) in [
        ("discard_unpacked_layers", true),
        ("image_pull_with_sync_fs", true),
        ("use_local_image_pull", true),
        ("disable_snapshot_annotations", false),
    ] {
        if plugin.get(key).and_then(Value::as_bool) == Some(wrong) {
            plugin.insert(key.to_owned(), Value::Boolean(!wrong));
            changes.push(format!("{place}.{key}: {} instead of {wrong}", !wrong));
        }
    }
    if let Some(registry) = plugin.get_mut("registry").and_then(Value::as_table_mut) {
        let place = format!("{place}.registry");
        for key in ["mirrors", "configs", "auths"] {
            let any = |value: &Value| value.as_table().is_none_or(|table| !table.is_empty());
            drop_where(registry, key, &place, any, changes);
        }
    }
    let other = |value: &Value| value.as_integer() != Some(3);
    drop_where(plugin, DOWNLOADS, place, other, changes)
}

fn drop_where(
    table: &mut Table,
    key: &str,
    place: &str,
    wrong: impl Fn(&Value) -> bool,
    changes: &mut Vec<String>,
) -> Option<Value> {
    let value = table.get(key).filter(|value| wrong(value))?;
    // Logins may stand in a table: what it was is not repeated.
    let was = if value.is_table() { String::new() } else { format!(", was {value}") };
    changes.push(format!("{place}.{key}: removed{was}"));
    table.remove(key)
}

fn merge(into: &mut Table, patch: Table) {
    for (key, value) in patch {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(patch)) => merge(there, patch),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in kind's node images.
    const KINDS: &str = r#"
version = 3
[plugins]
  [plugins."io.containerd.cri.v1.runtime"]
    [plugins."io.containerd.cri.v1.runtime".containerd]
      default_runtime_name = "runc"
      discard_unpacked_layers = true
[proxy_plugins]
  [proxy_plugins."fuse-overlayfs"]
    type = "snapshot"
    address = "/run/containerd-fuse-overlayfs.sock"
"#;

    #[test]
    fn tables_are_merged_and_the_rest_stays() {
        let patch = "[plugins.\"io.containerd.cri.v1.runtime\"]\nmax_container_log_line_size = 4321\n\
                     containerd.default_runtime_name = 'crun'\n[debug]\nlevel = 'debug'";
        let merged: Table = toml::from_str(&patched(KINDS, patch).unwrap()).unwrap();
        let runtime = &merged["plugins"]["io.containerd.cri.v1.runtime"];
        assert_eq!(runtime["max_container_log_line_size"].as_integer(), Some(4321));
        assert_eq!(runtime["containerd"]["default_runtime_name"].as_str(), Some("crun"));
        assert_eq!(runtime["containerd"]["discard_unpacked_layers"].as_bool(), Some(true));
        assert_eq!(merged["debug"]["level"].as_str(), Some("debug"));
        assert_eq!(merged["version"].as_integer(), Some(3));
        assert!(merged["proxy_plugins"]["fuse-overlayfs"].is_table());
    }

    /// kind v0.33 `images/base/files/etc/containerd/config.toml`, whole.
    const OF_KIND: &str = include_str!("containerd/kind.toml");

    fn corrected(config: &str) -> (Table, Vec<String>) {
        let (text, changes) = with_verifier(config).unwrap();
        // Once is enough.
        assert_eq!(with_verifier(&text).unwrap(), (text.clone(), Vec::new()));
        (toml::from_str(&text).unwrap(), changes)
    }

    #[test]
    fn what_switches_the_verifier_off_in_kinds_own_configuration_is_corrected() {
        let (corrected, changes) = corrected(OF_KIND);
        assert_eq!(
            changes,
            [
                "plugins.\"io.containerd.grpc.v1.cri\".containerd.discard_unpacked_layers: false instead of true"
            ]
        );
        let mut expected: Table = toml::from_str(OF_KIND).unwrap();
        expected["plugins"][OF_VERSION_2]["containerd"]["discard_unpacked_layers"] = false.into();
        assert_eq!(corrected, expected);
        // kind's entry point looks for this very line.
        assert!(with_verifier(OF_KIND).unwrap().0.contains("snapshotter = \"overlayfs\"\n"));
    }

    #[test]
    fn everything_that_switches_the_verifier_off_is_corrected() {
        let (corrected, changes) = corrected(
            r#"
version = 3
disabled_plugins = ["io.containerd.internal.v1.tracing", "io.containerd.image-verifier.v1.bindir", "io.containerd.transfer.v1.local"]
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
discard_unpacked_layers = true
disable_snapshot_annotations = false
image_pull_with_sync_fs = true
use_local_image_pull = true
max_concurrent_downloads = 8
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.images".registry.mirrors."docker.io"]
endpoint = ["https://mirror.example"]
[plugins."io.containerd.cri.v1.images".registry.configs."mirror.example".auth]
password = "hunter2"
[plugins."io.containerd.cri.v1.images".registry.auths."https://mirror.example"]
password = "hunter2"
[plugins."io.containerd.image-verifier.v1.bindir"]
bin_dir = "/elsewhere"
max_verifiers = 0
per_verifier_timeout = "9s"
"#,
        );
        insta::assert_snapshot!(format!("{}\n\n{corrected}", changes.join("\n")));
    }

    #[test]
    fn what_switches_nothing_off_stays_byte_for_byte() {
        let config = "# by hand\nversion = 3\n[plugins.'io.containerd.cri.v1.images']\n\
                      max_concurrent_downloads = 3\nregistry.mirrors = {}\n";
        assert_eq!(with_verifier(config).unwrap(), (config.to_owned(), Vec::new()));
        assert_eq!(with_verifier("").unwrap(), (String::new(), Vec::new()));
        assert_eq!(with_verifier("[").unwrap_err().code, "containerd-config");
    }

    /// What somebody set for the transfer service itself is theirs.
    #[test]
    fn downloads_at_once_are_not_taken_from_the_transfer_service() {
        let (corrected, changes) = corrected(
            "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nmax_concurrent_downloads = 10\n\
             [plugins.'io.containerd.transfer.v1.local']\nmax_concurrent_downloads = 4\n",
        );
        assert_eq!(changes.len(), 1);
        assert_eq!(corrected["plugins"][TRANSFER][DOWNLOADS].as_integer(), Some(4));
        assert!(!corrected["plugins"][OF_VERSION_2].as_table().unwrap().contains_key(DOWNLOADS));
    }

    #[test]
    fn a_patch_that_would_be_passed_over_is_refused() {
        let old = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = 'x'";
        let error = patched(KINDS, old).unwrap_err();
        assert_eq!(error.code, "containerd-patch");
        assert!(error.hints[0].contains("cri.v1.runtime"), "{error:?}");
        patched(&KINDS.replace("version = 3", "version = 2"), old).unwrap();
    }
}
