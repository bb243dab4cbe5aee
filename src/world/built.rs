//! The map of images that were built on this machine: upstream name to local image.
//!
//! The image factory writes it, we read it. The file may hold more keys than we know.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::world::env::Env;
use crate::{Error, Result};

/// The schema this version reads.
const SCHEMA: u32 = 1;

/// What repairs a file that cannot be read.
const REMEDY: &str = "build the images again, in a clone of pipe: scripts/images/factory build";

/// Every image built here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImages {
    /// In the file's order.
    pub images: Vec<BuiltImage>,
}

/// An image built here, standing for an upstream one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// The name charts and cluster files use: `docker.io/kindest/node:v1.36.4`.
    pub upstream: String,
    /// Its name in the engine: `localhost/pipe/node:v1.36.4-<hash of inputs>`.
    pub local: String,
    /// SHA-256 of the recipe and its inputs.
    pub recipe: String,
    /// Version of the product inside.
    pub version: String,
    /// Whether it is the named product.
    pub class: Class,
    /// Of a stand-in, for people: what it is, and instead of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// Bytes, unpacked.
    #[serde(default)]
    pub size: u64,
}

/// What an image that was built here is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The named product, from its source.
    Built,
    /// Another product, or a version far from it, in its place.
    StandIn,
}

impl BuiltImage {
    /// What stands in for the named product; `None` if it is that product.
    pub fn stand_in(&self) -> Option<&str> {
        let unnamed = "another product";
        (self.class == Class::StandIn).then(|| self.instead.as_deref().unwrap_or(unnamed))
    }
}

impl BuiltImages {
    /// Where the map is.
    pub fn path(env: &Env) -> Result<PathBuf> {
        Ok(env.cache_dir()?.join("images/built.json"))
    }

    /// Reads the map; an absent file is an empty one.
    pub fn read(path: &Path) -> Result<BuiltImages> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let broken = |why: String| {
            Error::failed("built-images", format!("{} cannot be used", path.display()))
                .because(why)
                .hint(REMEDY)
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BuiltImages::default()),
            Err(error) => return Err(broken(error.to_string())),
        };
        let Schema { schema } =
            serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
        if schema != SCHEMA {
            let why = format!("its schema is {schema}, and this pipe reads schema {SCHEMA}");
            return Err(broken(why));
        }
        serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
    }

    /// The image that stands for `upstream` (a tagged name).
    pub fn find(&self, upstream: &str) -> Option<&BuiltImage> {
        self.images.iter().find(|image| image.upstream == upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BuiltImages> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("built.json");
        fs::write(&path, text).unwrap();
        BuiltImages::read(&path)
    }

    #[test]
    fn absent_is_empty() {
        let images = BuiltImages::read(Path::new("/no/such/built.json")).unwrap();
        assert_eq!(images, BuiltImages::default());
        let env = Env::from([("XDG_CACHE_HOME", "/c")]);
        assert_eq!(BuiltImages::path(&env).unwrap(), Path::new("/c/pipe/images/built.json"));
    }

    #[test]
    fn finds_by_upstream_name() {
        let images = read(
            r#"{"schema": 1, "images": [{"upstream": "docker.io/kindest/node:v1.36.4",
                "local": "localhost/pipe/node:v1.36.4-abc", "recipe": "00", "version": "v1.36.4",
                "class": "built", "size": 12, "later": true}]}"#,
        )
        .unwrap();
        let node = images.find("docker.io/kindest/node:v1.36.4").unwrap();
        assert_eq!((node.local.as_str(), node.size), ("localhost/pipe/node:v1.36.4-abc", 12));
        assert_eq!(node.stand_in(), None);
        assert_eq!(images.find("docker.io/kindest/node:v1.36.2"), None);
    }

    #[test]
    fn a_stand_in_says_what_it_is() {
        let entry = |more: &str| {
            read(&format!(
                r#"{{"schema": 1, "images": [{{"upstream": "u:1", "local": "l:1", "recipe": "00",
                    "version": "18", "class": "stand-in"{more}}}]}}"#
            ))
        };
        let images = entry(r#", "instead": "18 instead of 26""#).unwrap();
        assert_eq!(images.find("u:1").unwrap().stand_in(), Some("18 instead of 26"));
        assert_eq!(entry("").unwrap().images[0].stand_in(), Some("another product"));
    }

    #[test]
    fn another_schema_or_a_torn_file_names_the_remedy() {
        for text in [r#"{"schema": 2, "pictures": {}}"#, r#"{"schema": 1, "images": [{"#, "[]"] {
            let error = read(text).unwrap_err();
            assert_eq!((error.code, error.hints), ("built-images", vec![REMEDY.to_owned()]));
        }
    }
}
