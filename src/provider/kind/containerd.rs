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

    #[test]
    fn a_patch_that_would_be_passed_over_is_refused() {
        let old = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = 'x'";
        let error = patched(KINDS, old).unwrap_err();
        assert_eq!(error.code, "containerd-patch");
        assert!(error.hints[0].contains("cri.v1.runtime"), "{error:?}");
        patched(&KINDS.replace("version = 3", "version = 2"), old).unwrap();
    }
}
