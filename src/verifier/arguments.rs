//! What containerd asks: flags of Go's kind, with one dash, and a descriptor on stdin
//! (containerd `docs/image-verification.md`).

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;

use super::config;

/// What arrives on stdin, in every containerd up to 2.4.
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// Largest descriptor that is read.
const DESCRIPTOR_MAX: u64 = 1 << 20;

/// The arguments; a question that cannot be understood still says where the configuration is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// The configuration's file; containerd never names one.
    pub(super) config: PathBuf,
    /// The question, or what is wrong with it.
    pub(super) question: Result<Question, String>,
}

/// May this be pulled?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The whole name, as containerd resolved it: `docker.io/library/nats:2`.
    pub(super) name: String,
    /// `sha256:…` of the manifest or index.
    pub(super) digest: String,
    /// Media type of what is on stdin.
    stdin: Option<String>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

impl Arguments {
    /// Reads arguments, without the program's name. Flags of a later containerd are passed over.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Arguments {
        let mut arguments = arguments.into_iter().peekable();
        let [mut name, mut digest, mut stdin, mut config] = [const { None }; 4];
        let mut fault = None;
        while let Some(argument) = arguments.next() {
            let argument = argument.to_string_lossy().into_owned();
            let Some(flag) = argument.strip_prefix('-') else {
                fault = Some(format!("{argument:?} stands where a flag should"));
                continue;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(OsString::from(value))),
                None => {
                    (flag, arguments.next_if(|next| !next.as_encoded_bytes().starts_with(b"-")))
                }
            };
            let slot = match flag {
                "name" => &mut name,
                "digest" => &mut digest,
                "stdin-media-type" => &mut stdin,
                "config" => &mut config,
                _ => continue,
            };
            match (value, &slot) {
                (None, _) => fault = Some(format!("-{flag} has no value")),
                // Which of two was checked and which is pulled would be anybody's guess.
                (Some(_), Some(_)) => fault = Some(format!("-{flag} is given twice")),
                (Some(value), None) => *slot = Some(value),
            }
        }
        let question = match fault {
            Some(fault) => Err(fault),
            None => Question::new(name, digest, stdin),
        };
        Arguments { config: config.map_or_else(|| config::FILE.into(), PathBuf::from), question }
    }
}

impl Question {
    fn new(
        name: Option<OsString>,
        digest: Option<OsString>,
        stdin: Option<OsString>,
    ) -> Result<Question, String> {
        let text = |flag: &str, value: OsString| {
            value.into_string().map_err(|value| format!("-{flag} {value:?} is no text"))
        };
        let name = text("name", name.ok_or("-name is missing")?)?;
        let digest = text("digest", digest.ok_or("-digest is missing")?)?;
        let stdin = stdin.map(|stdin| text("stdin-media-type", stdin)).transpose()?;
        if name.is_empty() {
            return Err("-name is empty".to_owned());
        }
        match is_digest(&digest) {
            true => Ok(Question { name, digest, stdin }),
            false => Err(format!("-digest {digest:?} is no sha256 digest")),
        }
    }

    /// Compares with the descriptor on stdin, if that is what is there.
    pub(super) fn check_descriptor(&self, stdin: impl Read) -> Result<(), String> {
        if self.stdin.as_deref() != Some(DESCRIPTOR) {
            return Ok(());
        }
        let descriptor: Descriptor = serde_json::from_reader(stdin.take(DESCRIPTOR_MAX))
            .map_err(|error| format!("the descriptor cannot be read: {error}"))?;
        match descriptor.digest == self.digest {
            true => Ok(()),
            false => Err(format!("the descriptor is of {}", descriptor.digest)),
        }
    }
}

/// Whether `text` is `sha256:` and 64 hexadecimal digits, safe in a URL and as a file's name.
pub(super) fn is_digest(text: &str) -> bool {
    let is_hex =
        |hex: &str| hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Arguments {
        Arguments::parse(arguments.iter().map(OsString::from))
    }

    fn digest() -> String {
        format!("sha256:{}", "0a".repeat(32))
    }

    #[test]
    fn containerds_flags_are_understood() {
        let name = "docker.io/library/nats:2";
        let question =
            Question { name: name.into(), digest: digest(), stdin: Some(DESCRIPTOR.into()) };
        let whole = parse(&["-name", name, "-digest", &digest(), "-stdin-media-type", DESCRIPTOR]);
        assert_eq!(
            whole,
            Arguments { config: config::FILE.into(), question: Ok(question.clone()) }
        );
        // As Go's flags may be written, with one that a later containerd might add.
        let other = parse(&[
            "-platform",
            "linux/amd64",
            &format!("--name={name}"),
            "-quiet",
            "-config",
            "/x",
            &format!("-stdin-media-type={DESCRIPTOR}"),
            "--digest",
            &digest(),
        ]);
        assert_eq!(other, Arguments { config: "/x".into(), question: Ok(question) });
    }

    #[test]
    fn what_is_no_question_is_said() {
        let digest = digest();
        for (arguments, expected) in [
            (&[][..], "-name is missing"),
            (&["-name"], "-name has no value"),
            (&["-name", "a"], "-digest is missing"),
            (&["-name", "", "-digest", &digest], "-name is empty"),
            (&["-name", "a", "-name", "b", "-digest", &digest], "-name is given twice"),
            (&["-name", "a", "-digest", "sha256:../x"], "is no sha256 digest"),
            (&["-name", "a", "-digest", &digest.to_uppercase()], "is no sha256 digest"),
            (&["name", "a", "-digest", &digest], "where a flag should"),
        ] {
            let arguments = parse(arguments);
            let fault = arguments.question.unwrap_err();
            assert!(fault.contains(expected), "{fault}");
            assert_eq!(arguments.config, PathBuf::from(config::FILE));
        }
    }

    #[test]
    fn the_descriptor_must_be_of_the_same_digest() {
        let digest = digest();
        let asked = |stdin: &str| {
            parse(&["-name", "a", "-digest", &digest, "-stdin-media-type", stdin]).question.unwrap()
        };
        let same = format!(r#"{{"mediaType":"x","digest":"{digest}","size":1}}"#);
        asked(DESCRIPTOR).check_descriptor(same.as_bytes()).unwrap();
        let other = same.replace("0a", "0b");
        let fault = asked(DESCRIPTOR).check_descriptor(other.as_bytes()).unwrap_err();
        assert!(fault.contains("is of sha256:0b0b"), "{fault}");
        for torn in ["", "{", "[]", "{}"] {
            asked(DESCRIPTOR).check_descriptor(torn.as_bytes()).unwrap_err();
        }
        // Not ours to understand; the digest that counts is the argument.
        asked("application/later").check_descriptor(&b"anything"[..]).unwrap();
    }
}
