//! The environment as a value: read once by `main`, a plain map in tests.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::surroundings::Surroundings;
use crate::{Error, Result};

/// What the process was started with. Everything below `main` takes this and never asks the
/// operating system itself.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// Environment variables.
    pub vars: BTreeMap<OsString, OsString>,
    /// Arguments, the program's own name first.
    pub args: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Effective user id; 0 is root.
    pub uid: u32,
    /// Which standard streams are terminals.
    pub terminal: Terminals,
    /// The network that this host is in; told by the user's file too, see [`Surroundings::hand_to`].
    pub surroundings: Surroundings,
}

/// Which standard streams are terminals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Standard input: may the user be asked?
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error: is a live progress view of use?
    pub stderr: bool,
}

impl Env {
    /// Reads the real environment. Fails where the working directory is gone.
    pub fn read() -> Result<Env> {
        let cwd = std::env::current_dir().map_err(|error| {
            Error::host("no-cwd", "the working directory cannot be read")
                .because(error)
                .hint("change to a directory that exists")
        })?;
        Ok(Env {
            vars: std::env::vars_os().collect(),
            args: std::env::args_os().collect(),
            cwd,
            uid: rustix::process::geteuid().as_raw(),
            terminal: Terminals {
                stdin: std::io::stdin().is_terminal(),
                stdout: std::io::stdout().is_terminal(),
                stderr: std::io::stderr().is_terminal(),
            },
            surroundings: Surroundings::default(),
        })
    }

    /// A variable's text; an empty one counts as absent, as the XDG specification has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(OsStr::new(name)).and_then(|value| value.to_str()).filter(|v| !v.is_empty())
    }

    /// The user's home folder.
    pub fn home(&self) -> Result<PathBuf> {
        self.get("HOME").map(PathBuf::from).ok_or_else(|| {
            Error::host("no-home", "HOME is not set").hint("set HOME to your home folder")
        })
    }

    /// `${XDG_CACHE_HOME:-~/.cache}/pipe`: tools, charts, the map of built images.
    pub fn cache_dir(&self) -> Result<PathBuf> {
        self.xdg("XDG_CACHE_HOME", ".cache")
    }

    /// `${XDG_CONFIG_HOME:-~/.config}/pipe/config.yaml`: what the user says about this machine.
    pub fn config_file(&self) -> Result<PathBuf> {
        Ok(self.xdg("XDG_CONFIG_HOME", ".config")?.join("config.yaml"))
    }

    /// `$XDG_RUNTIME_DIR/pipe`: sockets and pid files. Without that variable, `/run/pipe` for root
    /// and a folder for this user alone under the temporary directory otherwise.
    pub fn runtime_dir(&self) -> PathBuf {
        match (self.get("XDG_RUNTIME_DIR"), self.uid) {
            (Some(dir), _) => Path::new(dir).join("pipe"),
            (None, 0) => PathBuf::from("/run/pipe"),
            (None, uid) => {
                Path::new(self.get("TMPDIR").unwrap_or("/tmp")).join(format!("pipe-{uid}"))
            }
        }
    }

    /// The program `name` on this environment's `PATH`.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        let path = self.vars.get(OsStr::new("PATH"))?;
        which::which_in(name, Some(path), &self.cwd).ok()
    }

    fn xdg(&self, variable: &str, below_home: &str) -> Result<PathBuf> {
        // A relative path must be ignored (XDG Base Directory Specification).
        let base = match self.get(variable).map(Path::new).filter(|path| path.is_absolute()) {
            Some(path) => path.to_owned(),
            None => self.home()?.join(below_home),
        };
        Ok(base.join("pipe"))
    }
}

/// A map as an environment, for tests and for callers that compose one.
impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(vars: [(&str, &str); N]) -> Env {
        Env {
            vars: vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: PathBuf::from("/"),
            ..Env::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_xdg() {
        let env = Env::from([("HOME", "/home/ada")]);
        assert_eq!(env.cache_dir().unwrap(), Path::new("/home/ada/.cache/pipe"));
        let env = Env::from([("HOME", "/home/ada"), ("XDG_CACHE_HOME", "relative")]);
        assert_eq!(env.cache_dir().unwrap(), Path::new("/home/ada/.cache/pipe"));
        let env = Env::from([("HOME", "")]);
        assert_eq!(env.cache_dir().unwrap_err().code, "no-home");
    }

    #[test]
    fn runtime_folder_is_private_to_the_user() {
        let mut env = Env::from([]);
        assert_eq!(env.runtime_dir(), Path::new("/run/pipe"));
        env.uid = 1000;
        assert_eq!(env.runtime_dir(), Path::new("/tmp/pipe-1000"));
        let env = Env::from([("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(env.runtime_dir(), Path::new("/run/user/7/pipe"));
    }
}
