//! The one engine setting that our own service differs in.
//!
//! Podman keeps a `conmon` for each program that was run in a container for `exit_command_delay`
//! seconds after its end: 300, so that hundreds of them outlive a cluster. Nobody asks after that
//! long; we ask at once. The host's configuration is never edited.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::env::Env;

/// Seconds for which an ended program's exit code can still be asked for.
const DELAY: u32 = 5;

/// Where a distribution puts its defaults.
const DEFAULTS: &str = "/usr/share/containers/containers.conf";

/// Where an administrator puts settings.
const SYSTEM: [&str; 2] = ["/etc/containers/containers.conf", "/etc/containers/containers.conf.d"];

/// The environment variable for the service and the text of the file it names; `None` where the
/// user has said already which configuration to use.
pub(super) fn settings(env: &Env) -> Option<(&'static str, String)> {
    let said = ["CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE"];
    if said.iter().any(|name| env.get(name).is_some()) {
        return None;
    }
    let own = system_or_user(env).iter().any(|path| path.exists());
    if own {
        // Read on top of everything else, from Podman 4.4 on; older ones ignore it.
        return Some(("CONTAINERS_CONF_OVERRIDE", with_delay("")));
    }
    // Read in place of the distribution's defaults, so these are in it.
    let defaults = fs::read_to_string(DEFAULTS).unwrap_or_default();
    Some(("CONTAINERS_CONF", with_delay(&defaults)))
}

fn system_or_user(env: &Env) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    let config = env.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || env.get("HOME").map(|home| Path::new(home).join(".config"));
    if let Some(config) = config.or_else(home) {
        paths.push(config.join("containers/containers.conf"));
        paths.push(config.join("containers/containers.conf.d"));
    }
    paths
}

/// `text` with our delay in its `[engine]` table, which is added if it has none.
fn with_delay(text: &str) -> String {
    let line = format!("exit_command_delay = {DELAY}\n");
    let is_header = |line: &str| line.trim() == "[engine]";
    if !text.lines().any(is_header) {
        return format!("{text}\n[engine]\n{line}");
    }
    let mut with = String::new();
    for old in text.lines().filter(|line| !line.trim_start().starts_with("exit_command_delay")) {
        with += old;
        with.push('\n');
        if is_header(old) {
            with += &line;
        }
    }
    with
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_joins_the_engine_table() {
        assert_eq!(with_delay(""), "\n[engine]\nexit_command_delay = 5\n");
        let text = "[network]\na = 1\n[engine]\n#exit_command_delay = 300\nexit_command_delay = 9\nb = 2\n[machine]\n";
        let wanted = "[network]\na = 1\n[engine]\nexit_command_delay = 5\n#exit_command_delay = 300\nb = 2\n[machine]\n";
        assert_eq!(with_delay(text), wanted);
    }

    #[test]
    fn a_configuration_that_the_user_named_is_left_alone() {
        assert!(settings(&Env::from([("CONTAINERS_CONF", "/mine.conf")])).is_none());
    }
}
