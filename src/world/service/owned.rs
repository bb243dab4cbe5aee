//! One process of ours, told from any other that may get its id later.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Field of `/proc/<pid>/stat` after the command's name: the start time, field 22 of proc(5).
const START_TIME_FIELD: usize = 19;

/// A handle on a running process; signals through it cannot reach another one.
#[derive(Debug)]
pub(super) struct Owned(OwnedFd);

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It had ended before.
    Gone,
    /// It ended now.
    Now,
}

impl Owned {
    /// The process `pid` if it runs and started at `start`.
    pub(super) fn find(pid: i32, start: u64) -> Option<Owned> {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
        // Checked after opening: from here on the handle names one process for good.
        (start_time(pid) == Some(start)).then_some(Owned(process))
    }

    /// SIGTERM, then SIGKILL after `grace`; returns when it has ended.
    pub(super) async fn stop(self, grace: Duration) -> io::Result<Stopped> {
        // Waiting on a descriptor that is not a socket blocks a thread, for twice `grace` at most.
        tokio::task::spawn_blocking(move || self.stop_blocking(grace)).await?
    }

    fn stop_blocking(&self, grace: Duration) -> io::Result<Stopped> {
        for signal in [Signal::TERM, Signal::KILL] {
            match pidfd_send_signal(&self.0, signal) {
                Ok(()) => {}
                Err(Errno::SRCH) => return Ok(Stopped::Gone),
                Err(error) => return Err(error.into()),
            }
            if self.ends_within(grace)? {
                return Ok(Stopped::Now);
            }
        }
        Err(io::Error::other("it survived SIGKILL"))
    }

    /// A pidfd becomes readable when its process ends.
    fn ends_within(&self, grace: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(grace).map_err(io::Error::other)?;
        let mut descriptors = [PollFd::new(&self.0, PollFlags::IN)];
        loop {
            match poll(&mut descriptors, Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// When `pid` started, in clock ticks after boot; `None` if it does not run (a zombie does not).
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may itself contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    match fields.first() {
        Some(&"Z" | &"X") | None => None,
        Some(_) => fields.get(START_TIME_FIELD)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_id() -> i32 {
        rustix::process::getpid().as_raw_nonzero().get()
    }

    #[test]
    fn a_process_with_another_start_time_is_not_ours() {
        let start = start_time(own_id()).unwrap();
        assert!(Owned::find(own_id(), start).is_some());
        assert!(Owned::find(own_id(), start + 1).is_none());
        assert!(Owned::find(i32::MAX, start).is_none());
    }

    #[tokio::test]
    #[expect(clippy::disallowed_types, reason = "the test is the process's parent, not pipe")]
    async fn stop_ends_a_process_that_ignores_sigterm() {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        let mut stdout = child.stdout.take().unwrap();
        tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut ready).await.unwrap();
        let id = i32::try_from(child.id().unwrap()).unwrap();
        let process = Owned::find(id, start_time(id).unwrap()).unwrap();
        assert_eq!(process.stop(Duration::from_millis(200)).await.unwrap(), Stopped::Now);
        child.wait().await.unwrap();
    }
}
