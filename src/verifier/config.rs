//! What the verifier of a node is told: one file, which `pipe` writes and nobody else.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::trust::PublicKey;
use crate::trust::forbidden::Forbidden;

/// Where it lies on a node.
pub const FILE: &str = "/etc/pipe/verifier.json";

/// Where verdicts are remembered on a node. A volume lies under `/var`, so restarts keep them.
pub const VERDICTS: &str = "/var/lib/pipe/verdicts";

/// The form of the file. One that is written otherwise is refused, by old and new verifiers alike.
pub const VERSION: u32 = 1;

/// Largest file: the list of what is forbidden and some keys have a few thousand bytes.
const SIZE_MAX: u64 = 4 << 20;

/// What happens to an image that no trusted key signed. There is no "off": then nothing is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is allowed, and the log says what is missing.
    Warn,
    /// It is refused.
    Enforce,
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// [`VERSION`].
    pub version: u32,
    /// What happens to an image that no trusted key signed.
    pub mode: Mode,
    /// The image cache, as nodes reach it: `http://10.89.0.2:5000`.
    pub cache: String,
    /// Public keys in PEM; a signature of any of them counts.
    pub keys: Vec<String>,
    /// Digests that are allowed unsigned: what a node needs before there is a cache.
    pub allowed: Vec<String>,
    /// Images that must not run, signed or not.
    pub forbidden: Forbidden,
    /// Where verdicts are remembered.
    pub verdicts: PathBuf,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(path: &Path) -> Result<Config, String> {
        let mut text = Vec::new();
        let file = fs::File::open(path).map_err(|error| error.to_string())?;
        file.take(SIZE_MAX).read_to_end(&mut text).map_err(|error| error.to_string())?;
        // The version first: what else is in a file of another one is not for us to judge.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let versioned: Versioned =
            serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        if versioned.version != VERSION {
            return Err(format!(
                "it has version {}, and this verifier reads version {VERSION}",
                versioned.version
            ));
        }
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }

    /// As the file holds it.
    ///
    /// # Errors
    /// None for a folder whose name is text.
    pub fn to_text(&self) -> crate::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| {
            crate::Error::bug("the verifier's configuration cannot be written").because(error)
        })
    }

    /// The keys, read.
    ///
    /// # Errors
    /// One of them is none, or there is none at all: nothing could ever count then.
    pub fn keys(&self) -> Result<Vec<PublicKey>, String> {
        if self.keys.is_empty() {
            return Err("it has no keys".to_owned());
        }
        let read = |pem: &String| PublicKey::from_pem(pem).map_err(|error| error.to_string());
        self.keys.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SigningKey;

    fn config() -> Config {
        Config {
            version: VERSION,
            mode: Mode::Enforce,
            cache: "http://10.89.0.2:5000".to_owned(),
            keys: vec![SigningKey::generate().unwrap().public().to_pem().unwrap()],
            allowed: vec![format!("sha256:{}", "0".repeat(64))],
            forbidden: Forbidden::default(),
            verdicts: VERDICTS.into(),
        }
    }

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verifier.json");
        fs::write(&file, text).unwrap();
        Config::read(&file)
    }

    #[test]
    fn what_is_written_is_read() {
        let config = config();
        assert_eq!(read(&config.to_text().unwrap()), Ok(config.clone()));
        assert_eq!(config.keys().unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_quite_a_configuration_is_none() {
        let text = config().to_text().unwrap();
        let without = |key: &str| {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value.as_object_mut().unwrap().remove(key).unwrap();
            value.to_string()
        };
        for key in ["version", "mode", "cache", "keys", "allowed", "forbidden", "verdicts"] {
            let fault = read(&without(key)).unwrap_err();
            assert!(fault.contains(&format!("missing field `{key}`")), "{fault}");
        }
        for (text, expected) in [
            (String::new(), "EOF"),
            (text[..text.len() / 2].to_owned(), "EOF"),
            (text.replace("\"enforce\"", "\"off\""), "unknown variant `off`"),
            (text.replace("\"mode\"", "\"more\": 1, \"mode\""), "unknown field `more`"),
            (text.replace("\"version\": 1", "\"version\": 2"), "it has version 2"),
        ] {
            let fault = read(&text).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
        assert!(Config::read(Path::new("/nowhere/verifier.json")).is_err());
    }

    #[test]
    fn one_bad_key_spoils_all() {
        let mut config = config();
        config.keys.push("-----BEGIN PUBLIC KEY-----".to_owned());
        config.keys().unwrap_err();
        config.keys.clear();
        assert_eq!(config.keys().unwrap_err(), "it has no keys");
    }
}
