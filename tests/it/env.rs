//! A private world for one run of the real binary: home, XDG folders, `PATH`, nothing inherited.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Temporary folders and the environment that points at them.
pub struct TestEnv {
    root: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

/// What one run printed and how it ended; says which exit code is expected, or the test is no
/// test.
#[must_use = "check the exit code: .success() or .code(3)"]
pub struct Run {
    command: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A run whose exit code was as expected.
pub struct Output {
    stdout: String,
    stderr: String,
}

impl TestEnv {
    pub fn new() -> TestEnv {
        let root = tempfile::tempdir().expect("a temporary folder");
        let env = TestEnv { root, variables: BTreeMap::new() };
        for folder in ["home", "work", "bin", "run"] {
            fs::create_dir(env.path(folder)).expect("a folder in the temporary folder");
        }
        let text = |folder: &str| env.path(folder).to_string_lossy().into_owned();
        let variables = [
            ("HOME", text("home")),
            ("XDG_RUNTIME_DIR", text("run")),
            ("PATH", text("bin")),
            ("COLUMNS", "100".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        TestEnv { variables, ..env }
    }

    /// A path below the root: `home/…`, `work/…` (where commands run), `bin/…` (their `PATH`).
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Sets a variable for every run from now on.
    pub fn set(&mut self, name: &str, value: &str) -> &mut TestEnv {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Writes a file in the working folder, with its parents.
    pub fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path("work").join(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the parents are made");
        fs::write(&path, text).expect("the file is written");
        path
    }

    /// Puts a program on `PATH`: a script for `/bin/sh` that appends its name and arguments to
    /// `calls` before it does what `body` says. Programs of the host are not on `PATH`; a body that
    /// needs one names it by its whole path.
    pub fn fake(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path("bin").join(name);
        let calls = self.path("calls");
        let script =
            format!("#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >> '{}'\n{body}\n", calls.display());
        // Copied by another process: a program that this one has open for writing, even through a
        // child that another test forks meanwhile, cannot be executed ("text file busy").
        let text = self.path(&format!("{name}.sh"));
        fs::write(&text, script).expect("the script is written");
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).expect("a mode");
        let copied =
            Command::new("cp").args(["-p".as_ref(), text.as_path(), path.as_path()]).status();
        assert!(copied.expect("cp starts").success(), "cp");
        path
    }

    /// Every call of a fake program so far, in order: `helm upgrade --install …`.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(|line| self.normalise(line)).collect()
    }

    /// Files below the state folder.
    pub fn state_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("home")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => found.push(path),
                }
            }
        }
        found
    }

    /// Runs the real `pipe` in the working folder, without a terminal and without input.
    pub fn pipe<const N: usize>(&self, arguments: [&str; N]) -> Run {
        self.run(Path::new(env!("CARGO_BIN_EXE_pipe")), &arguments)
    }

    /// Runs `pipe` through another program: `["unshare", "--net"]`.
    pub fn pipe_under<const N: usize>(&self, wrapper: &[&str], arguments: [&str; N]) -> Run {
        let [program, before @ ..] = wrapper else { panic!("no program") };
        let pipe = [env!("CARGO_BIN_EXE_pipe")];
        self.run(Path::new(program), &[before, &pipe, &arguments].concat())
    }

    pub fn run(&self, program: &Path, arguments: &[&str]) -> Run {
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.path("work"))
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let text = |bytes: &[u8]| self.normalise(&String::from_utf8_lossy(bytes));
        Run {
            command: format!("{} {}", program.display(), arguments.join(" ")),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Replaces what differs from run to run: our folders, our version, times of day.
    fn normalise(&self, text: &str) -> String {
        let root = self.root.path().to_string_lossy().into_owned();
        let text = text.replace(&root, "[root]").replace(env!("CARGO_PKG_VERSION"), "[version]");
        let mut normal = String::new();
        for line in text.lines() {
            let time = line.get(..9).filter(|start| is_time_of_day(start));
            let line = time.map_or(line, |time| &line[time.len()..]);
            let stamp = if time.is_some() { "[time] " } else { "" };
            writeln!(normal, "{stamp}{line}").expect("writing to a string");
        }
        // `lines` hides whether the last line was ended.
        if !text.ends_with('\n') {
            normal.pop();
        }
        normal
    }
}

/// Whether `text` is `09:12:03 `.
fn is_time_of_day(text: &str) -> bool {
    text.bytes().zip(*b"dd:dd:dd ").all(|(byte, shape)| match shape {
        b'd' => byte.is_ascii_digit(),
        shape => byte == shape,
    })
}

impl Run {
    /// Expects exit code 0.
    #[track_caller]
    pub fn success(self) -> Output {
        self.code(0)
    }

    /// Expects this exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Output {
        let Run { command, code, stdout, stderr } = self;
        assert_eq!(
            code,
            Some(expected),
            "exit code of `{command}`\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        Output { stdout, stderr }
    }
}

impl Run {
    /// The result line of a command with `--json`, whose exit code must be the one it names.
    #[track_caller]
    pub fn result(self) -> serde_json::Value {
        let Run { command, code, stdout, stderr } = self;
        let last = stdout.lines().last().unwrap_or_default();
        let result: serde_json::Value = serde_json::from_str(last)
            .unwrap_or_else(|e| panic!("`{command}` ({code:?}): {e}\n{stdout}\n{stderr}"));
        assert_eq!(result["exit_code"], serde_json::json!(code), "{result:#}");
        result
    }
}

impl Output {
    /// Expects nothing on stderr, and returns stdout.
    #[track_caller]
    pub fn stdout(&self) -> &str {
        assert_eq!(self.stderr, "", "stderr");
        &self.stdout
    }

    /// Expects nothing on stdout, and returns stderr.
    #[track_caller]
    pub fn stderr(&self) -> &str {
        assert_eq!(self.stdout, "", "stdout");
        &self.stderr
    }

    /// Both streams, one after the other.
    pub fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The last JSON line on stdout, whatever stands on stderr.
    #[track_caller]
    pub fn last_json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last().expect("a line on stdout");
        serde_json::from_str(line).expect("a JSON line")
    }
}

#[test]
fn programs_see_only_what_the_test_gave_them() {
    let mut env = TestEnv::new();
    env.set("GREETING", "hello");
    let helm = env.fake("helm", "echo \"$GREETING from $HOME ${USER:-nobody}\"; exit 3");
    let run = env.run(&helm, &["upgrade", "--install"]);
    assert_eq!(run.code(3).stdout(), "hello from [root]/home nobody\n");
    assert_eq!(env.calls(), ["helm upgrade --install"]);
}

#[test]
fn each_stream_is_checked_on_its_own() {
    let env = TestEnv::new();
    env.write("clusters/dev.yaml", "kind: Cluster\n");
    let loud = env.fake("loud", "read -r line < clusters/dev.yaml; echo \"$line\" >&2");
    assert_eq!(env.run(&loud, &[]).success().stderr(), "kind: Cluster\n");
    let json = env.fake("json", r#"echo '{"type":"note"}'; echo '{"type":"result"}'; echo x >&2"#);
    assert_eq!(env.run(&json, &[]).success().last_json()["type"], "result");
}

#[test]
fn times_versions_and_folders_are_normalised() {
    let env = TestEnv::new();
    let line = format!("09:12:03 + {}/x", env.path("home").display());
    assert_eq!(env.normalise(&line), "[time] + [root]/home/x");
    assert_eq!(env.normalise("a\n12:00:00\n"), "a\n12:00:00\n");
    assert_eq!(env.normalise(&format!("pipe {}", env!("CARGO_PKG_VERSION"))), "pipe [version]");
}

#[test]
#[should_panic(expected = "exit code of")]
fn an_unexpected_exit_code_shows_everything() {
    let env = TestEnv::new();
    let program = env.fake("kubectl", "exit 1");
    let _output = env.run(&program, &[]).success();
}

#[test]
fn the_real_binary_runs() {
    let run = TestEnv::new().pipe([]);
    assert!(run.code.is_some(), "killed by a signal");
}
