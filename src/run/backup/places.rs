//! Where backups go and come from: a folder, or a bucket of one of the cluster's own stores.

use std::path::PathBuf;

use super::Subject;
use crate::backup::{Driver, Place, Target, place};
use crate::spec::{BucketName, ClusterName, ComponentName};
use crate::{Error, Result};

/// The bucket of a store where none is named.
const BUCKET: &str = "backups";

/// Begins the name of a place in a store.
const STORE: &str = "s3:";

/// A place as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceName {
    /// A folder.
    Folder(PathBuf),
    /// `s3:`, `s3:minio` or `s3:minio/backups`: a store of the cluster.
    Store {
        /// The component; where none is named, the cluster must have one store.
        component: Option<ComponentName>,
        /// The bucket.
        bucket: BucketName,
    },
}

impl PlaceName {
    /// Parses what was typed; a folder whose name begins like a store is `./s3:…`.
    ///
    /// # Errors
    /// Names that no component or bucket can have.
    pub fn parse(text: &str) -> Result<PlaceName, String> {
        let Some(store) = text.strip_prefix(STORE) else {
            return match text {
                "" => Err("an empty name".to_owned()),
                folder => Ok(PlaceName::Folder(PathBuf::from(folder))),
            };
        };
        let (component, bucket) = store.split_once('/').unwrap_or((store, BUCKET));
        let component = match component {
            "" => None,
            name => Some(ComponentName::parse(name).map_err(|fault| fault.to_string())?),
        };
        Ok(PlaceName::Store { component, bucket: BucketName::parse(bucket)? })
    }

    /// Opens it; a store is one of `subjects`, all components that can be reached.
    ///
    /// # Errors
    /// The cluster has no such store, or several where none is named.
    pub(super) fn open(&self, cluster: &ClusterName, subjects: &[Subject]) -> Result<Place> {
        let (component, bucket) = match self {
            PlaceName::Folder(path) => {
                return Ok(Place::Folder(place::Folder::new(path.clone())));
            }
            PlaceName::Store { component, bucket } => (component, bucket),
        };
        let stores: Vec<&Subject> = subjects
            .iter()
            .filter(|subject| subject.driver == Driver::S3)
            .filter(|subject| component.as_ref().is_none_or(|name| *name == subject.name))
            .collect();
        let [store] = stores.as_slice() else {
            let named = component.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            let what = format!("cluster {cluster} has no one store{named} to put backups in");
            let names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
            let why = match names.is_empty() {
                true => "none of its installed components is one".to_owned(),
                false => format!("it has several: {}", names.join(", ")),
            };
            return Err(Error::usage("no-store", what)
                .because(why)
                .hint("name one: s3:COMPONENT; or a folder"));
        };
        let Target { component, credentials, .. } = &store.target;
        let login = ["accessKey", "secretKey"].map(|key| credentials.get(key));
        let [Some(key), Some(secret)] = login else {
            let what = format!("{component} has no accessKey and secretKey");
            return Err(Error::failed("backup-target", what));
        };
        let address = store.target.address();
        let bucket = place::Bucket::new(component, &address, (key, secret), bucket.as_str())?;
        Ok(Place::Bucket(bucket))
    }

    /// Whether backups of `subject` would lie in what they are backups of.
    pub(super) fn is_within(&self, place: &Place, subject: &Subject) -> bool {
        match place {
            Place::Folder(_) => false,
            Place::Bucket(bucket) => bucket.component() == subject.name.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_as_they_are_typed() {
        let store = |component: Option<&str>, bucket: &str| PlaceName::Store {
            component: component.map(|name| ComponentName::parse(name).unwrap()),
            bucket: BucketName::parse(bucket).unwrap(),
        };
        for (text, place) in [
            ("/mnt/x", PlaceName::Folder("/mnt/x".into())),
            ("./s3:", PlaceName::Folder("./s3:".into())),
            ("s3:", store(None, "backups")),
            ("s3:minio", store(Some("minio"), "backups")),
            ("s3:minio/nightly", store(Some("minio"), "nightly")),
            ("s3:/nightly", store(None, "nightly")),
        ] {
            assert_eq!(PlaceName::parse(text), Ok(place), "{text}");
        }
        for bad in ["", "s3:Minio", "s3:minio/", "s3:minio/a/b"] {
            assert!(PlaceName::parse(bad).is_err(), "{bad}");
        }
    }
}
