//! What an ordinary user's containers need from the host's administrator.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::world::env::Env;

/// Facts for a rootless engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rootless {
    /// Name of the user, if the password file knows it.
    pub user: Option<String>,
    /// Control group controllers that systemd delegated to the user; `None`: no session of systemd.
    pub delegated: Option<Vec<String>>,
    /// Subordinate user ids.
    pub subuids: u64,
    /// Subordinate group ids.
    pub subgids: u64,
    /// `newuidmap` and `newgidmap` are on `PATH`.
    pub id_maps: bool,
    /// Processes of the user stay after a logout.
    pub lingers: bool,
}

/// Reads them for the user of `env`.
pub(super) fn read(root: &Path, env: &Env) -> Rootless {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let uid = env.uid;
    let user = user(&text("etc/passwd"), uid);
    let group =
        format!("sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
    let delegated = fs::read_to_string(root.join(group)).ok();
    let names: Vec<String> = user.iter().cloned().chain([uid.to_string()]).collect();
    Rootless {
        delegated: delegated.map(|list| list.split_whitespace().map(str::to_owned).collect()),
        subuids: ids(&text("etc/subuid"), &names),
        subgids: ids(&text("etc/subgid"), &names),
        id_maps: ["newuidmap", "newgidmap"].iter().all(|name| env.find_program(name).is_some()),
        lingers: user
            .as_ref()
            .is_some_and(|user| root.join("var/lib/systemd/linger").join(user).exists()),
        user,
    }
}

/// `ada:x:1000:…`.
fn user(table: &str, uid: u32) -> Option<String> {
    let named = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    };
    table.lines().find_map(named)
}

/// How many ids `ada:100000:65536` lines give to any of `names`.
fn ids(table: &str, names: &[String]) -> u64 {
    let count = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let count = fields.nth(1)?.parse::<u64>().ok()?;
        names.iter().any(|name| name == owner).then_some(count)
    };
    table.lines().filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn delegation_and_ids_of_one_user() {
        let root = tree(&[
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n"),
            ("etc/subuid", "ada:100000:65536\nbob:165536:65536\n"),
            ("etc/subgid", "1000:100000:65536\n"),
            (
                "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers",
                "memory pids\n",
            ),
            ("var/lib/systemd/linger/ada", ""),
        ]);
        let mut env = Env::from([("PATH", "/nowhere")]);
        env.uid = 1000;
        let seen = read(root.path(), &env);
        assert_eq!(seen.user.as_deref(), Some("ada"));
        assert_eq!(seen.delegated, Some(vec!["memory".to_owned(), "pids".to_owned()]));
        assert_eq!((seen.subuids, seen.subgids), (65_536, 65_536));
        assert_eq!((seen.id_maps, seen.lingers), (false, true));
        env.uid = 7;
        let seen = read(root.path(), &env);
        assert_eq!((seen.user, seen.delegated, seen.subuids), (None, None, 0));
    }
}
