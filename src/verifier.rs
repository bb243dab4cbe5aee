//! The program that containerd asks on a node before it pulls an image, as `pipe-verifier`: is this
//! digest signed with a key that this installation trusts?
//!
//! ```text
//! containerd ─ name, digest ─▶ forbidden? ─▶ always allowed? ─▶ verdict remembered? ─▶ signature in the cache?
//!                                 refuse         allow               allow              allow, remember │ else
//!                                                                                       by mode: refuse, or allow and say so
//! ```
//!
//! It is a program of its own, not a command of `pipe`: it starts for every image, so it has no
//! runtime and reads one small file. It fails closed: whatever goes wrong is a refusal, unless a
//! configuration that could be read says `warn` (`docs/decisions/081`). `src/bin/pipe-verifier.rs`
//! only prints what [`answer`] says.

use std::ffi::OsString;
use std::io::Read;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

pub mod config;

mod arguments;
mod decision;
mod fault;
mod registry;
mod verdicts;

use arguments::{Arguments, Question};
use config::{Config, Mode};
use decision::Verdict;
pub(crate) use fault::Fault;
use registry::Reader;
use verdicts::Verdicts;

/// For everything that is asked of the cache. containerd itself waits 10 s.
const DEADLINE: Duration = Duration::from_secs(3);

/// How much longer a finer reason is waited for than "it took too long".
const GRACE: Duration = Duration::from_millis(300);

/// Longest reason; it becomes part of an event, which holds 1024 bytes with what others write.
const REASON_MAX: usize = 600;

/// What containerd is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the image may be pulled.
    pub allowed: bool,
    /// Why, in one line: it ends up in the pod's event.
    pub reason: String,
    /// Lines for containerd's log.
    pub log: Vec<String>,
}

/// The answer to what containerd asks by `arguments`, without the program's name, and on `stdin`.
pub fn answer(
    arguments: impl IntoIterator<Item = OsString>,
    stdin: impl Read + Send + 'static,
) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    let arguments = Arguments::parse(arguments);
    let config = match Config::read(&arguments.config) {
        Ok(config) => config,
        Err(why) => {
            // Nobody knows the mode, so it is the strict one.
            let path = arguments.config.display().to_string();
            return judged(Mode::Enforce, Verdict::Refused(Fault::Config(path, why).to_string()));
        }
    };
    let mode = config.mode;
    let question = match arguments.question {
        Ok(question) => question,
        Err(why) => return judged(mode, Verdict::Refused(Fault::Arguments(why).to_string())),
    };
    // Before anything that can fail: this holds in every mode.
    if let Some(rule) = config.forbidden.matches(&question.name) {
        let reason = format!("{}; {}", rule.reason(&question.name), rule.remedy());
        return judged(mode, Verdict::Forbidden(reason));
    }
    let (sender, receiver) = mpsc::channel();
    // In a thread, so that neither a panic nor whatever hangs leaves containerd without an answer.
    let work = move || {
        let verdict = verdict(&question, &config, stdin, deadline);
        // Whoever waited may have given up.
        drop(sender.send(verdict));
    };
    let started = std::thread::Builder::new().name("verdict".to_owned()).spawn(work);
    let verdict = match started {
        Ok(_detached) => receiver.recv_timeout(DEADLINE + GRACE),
        Err(_) => Err(RecvTimeoutError::Disconnected),
    };
    judged(mode, verdict.unwrap_or_else(|gone| Verdict::Refused(Fault::of(gone).to_string())))
}

fn verdict(question: &Question, config: &Config, stdin: impl Read, deadline: Instant) -> Verdict {
    let refused = |fault: Fault| Verdict::Refused(fault.to_string());
    if let Err(why) = question.check_descriptor(stdin) {
        return refused(Fault::Arguments(why));
    }
    let keys = match config.keys() {
        Ok(keys) => keys,
        Err(why) => return refused(Fault::Config("the list of trusted keys".to_owned(), why)),
    };
    let verdicts = Verdicts::new(&config.verdicts);
    decision::decide(
        config.allowed.contains(&question.digest),
        || verdicts.recall(&question.digest, &keys),
        || {
            let reader = Reader::new(&config.cache, deadline)?;
            let key = reader.signer(&question.name, &question.digest, &keys)?;
            verdicts.remember(&question.digest, key);
            Ok(key)
        },
    )
}

/// What a verdict means in a mode.
fn judged(mode: Mode, verdict: Verdict) -> Answer {
    let (allowed, reason, log) = match (verdict, mode) {
        (Verdict::Allowed(why), _) => (true, why, None),
        (Verdict::Forbidden(why), _) | (Verdict::Refused(why), Mode::Enforce) => (false, why, None),
        (Verdict::Refused(why), Mode::Warn) => {
            (true, format!("not refused, since the policy is warn: {why}"), Some(why))
        }
    };
    let log = log.map(|why| format!("warning: {}", one_line(&why)));
    Answer { allowed, reason: one_line(&reason), log: log.into_iter().collect() }
}

/// Registries and signatures have a say in the text: no more than one line of it is passed on.
fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().map(printable).take(REASON_MAX).collect();
    if text.chars().nth(REASON_MAX).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_changes_what_a_refusal_means_and_nothing_else() {
        let verdicts = [Verdict::Allowed, Verdict::Refused, Verdict::Forbidden];
        for (mode, expected) in
            [(Mode::Enforce, [true, false, false]), (Mode::Warn, [true, true, false])]
        {
            let answers = verdicts.map(|verdict| judged(mode, verdict("why".to_owned())));
            assert_eq!(answers.clone().map(|answer| answer.allowed), expected, "{mode:?}");
            assert!(answers.iter().all(|answer| answer.reason.contains("why")));
        }
        assert_eq!(judged(Mode::Warn, Verdict::Refused("why".into())).log, ["warning: why"]);
    }

    /// A reader that panics stands for any defect of ours.
    #[test]
    fn a_panic_is_a_refusal_that_says_so() {
        struct Defect;
        impl Read for Defect {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                panic!("a defect")
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verifier.json");
        let digest = format!("sha256:{}", "0".repeat(64));
        for (mode, allowed) in [(Mode::Enforce, false), (Mode::Warn, true)] {
            let config = Config {
                version: config::VERSION,
                mode,
                cache: String::new(),
                keys: Vec::new(),
                allowed: Vec::new(),
                forbidden: crate::trust::forbidden::Forbidden::default(),
                verdicts: folder.path().to_owned(),
            };
            std::fs::write(&file, config.to_text().unwrap()).unwrap();
            let media_type = "application/vnd.oci.descriptor.v1+json";
            let file = file.to_str().unwrap();
            let arguments = [
                "-config",
                file,
                "-name",
                "a",
                "-digest",
                &digest,
                "-stdin-media-type",
                media_type,
            ];
            let answer = answer(arguments.map(OsString::from), Defect);
            assert_eq!(answer.allowed, allowed, "{answer:?}");
            assert!(answer.reason.contains("a defect of its own"), "{answer:?}");
        }
    }

    /// What a registry or a signature says must not end a line, nor fill an event.
    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[31mc"), "a b [31mc");
        assert_eq!(one_line(&"ü".repeat(REASON_MAX)).chars().count(), REASON_MAX);
        assert_eq!(one_line(&"ü".repeat(5000)).chars().count(), REASON_MAX + 1);
    }

    #[test]
    fn every_fault_names_its_cause_and_a_remedy() {
        let [address, name] = ["http://10.89.0.2:5000", "docker.io/library/nats:2"];
        let why = || "WHY".to_owned();
        let refusals = vec![
            crate::trust::Refusal::Forged,
            crate::trust::Refusal::UnknownKey("abc=".to_owned()),
        ];
        let faults = [
            Fault::Config("/etc/pipe/verifier.json".to_owned(), why()),
            Fault::Arguments(why()),
            Fault::Name("\"nats:2\" has no registry".to_owned()),
            Fault::Unreachable(address.to_owned(), why()),
            Fault::TooLate(address.to_owned()),
            Fault::Answer(address.to_owned(), why()),
            Fault::Unsigned(name.to_owned()),
            Fault::Refused(name.to_owned(), refusals),
            Fault::Defect,
            Fault::Stuck,
        ];
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(lines.iter().all(|line| line.chars().count() < REASON_MAX));
        insta::assert_snapshot!(lines.join("\n"));
    }
}
