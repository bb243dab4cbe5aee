//! TCP ports on the loopback address, and which process holds one.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::world::host::port_in_use;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A port that was asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortFact {
    /// The port.
    pub port: u16,
    /// Another process listens on it.
    pub in_use: bool,
    /// Which, where we may see that.
    pub holder: Option<Holder>,
}

/// A process that holds a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub program: String,
}

/// Looks at each of `ports`.
pub(super) fn look(root: &Path, ports: &[u16]) -> Vec<PortFact> {
    let fact = |&port: &u16| {
        let in_use = port_in_use(port);
        PortFact { port, in_use, holder: in_use.then(|| holder(root, port)).flatten() }
    };
    ports.iter().map(fact).collect()
}

/// The process that listens on `port`; only those of this user can be seen, all of them by root.
pub fn holder(root: &Path, port: u16) -> Option<Holder> {
    let tables = ["proc/net/tcp", "proc/net/tcp6"];
    let tables = tables.map(|path| fs::read_to_string(root.join(path)).unwrap_or_default());
    let inodes: Vec<&str> = tables.iter().flat_map(|table| listening(table, port)).collect();
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for process in fs::read_dir(root.join("proc")).ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse() else { continue };
        let folder = process.path();
        let mut descriptors = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        let holds = descriptors.any(|descriptor| {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            wanted.iter().any(|socket| target.to_string_lossy() == *socket)
        });
        if holds {
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            return Some(Holder { pid, program: name.trim().to_owned() });
        }
    }
    None
}

/// Inodes of the sockets that listen on `port`.
fn listening(table: &str, port: u16) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split_whitespace();
        let (_, local) = columns.nth(1)?.rsplit_once(':')?;
        let state = columns.nth(1)?;
        let same = u16::from_str_radix(local, 16).ok()? == port && state == LISTENING;
        // The inode is column 9; four were taken.
        if same { columns.nth(5) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn names_the_process_that_holds_a_port() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let facts = look(Path::new("/"), &[port]);
        assert!(facts[0].in_use);
        assert_eq!(facts[0].holder.as_ref().map(|h| h.pid), Some(std::process::id()));
        drop(held);
        // A program that another test starts holds it, too, until it becomes that program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Some(holder) = look(Path::new("/"), &[port]).remove(0).holder {
            assert!(Instant::now() < deadline, "{holder:?} still holds it");
            std::thread::yield_now();
        }
    }
}
