//! Manifests and indexes, byte for byte: their digest is their name.

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use super::Repository;
use crate::trust::attached;
use crate::{Error, Result};

/// What we read, in the order that we prefer: Docker's own types mean the same as OCI's.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The specification's bound.
const SIZE_MAX: usize = 4 << 20;

/// A manifest or an index as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// As the registry said it, which need not be what it says of itself.
    pub media_type: String,
    /// `sha256:…` of [`Manifest::bytes`].
    pub digest: String,
    /// What was stored.
    pub bytes: Vec<u8>,
}

/// What it is.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Of several platforms.
    Index(Box<ImageIndex>),
    /// Of one.
    Image(Box<ImageManifest>),
}

impl Manifest {
    /// Bytes with their digest.
    pub fn new(media_type: impl Into<String>, bytes: Vec<u8>) -> Manifest {
        let digest = attached::sha256(&bytes);
        Manifest { media_type: media_type.into(), digest, bytes }
    }

    /// What it says.
    ///
    /// # Errors
    /// It is neither.
    pub fn shape(&self) -> Result<Shape> {
        let unreadable = |error: serde_json::Error| {
            Error::failed(
                "manifest-invalid",
                format!("the manifest {} cannot be read", self.digest),
            )
            .because(error)
        };
        match MediaType::from(self.media_type.as_str()) {
            MediaType::ImageIndex => {
                Ok(Shape::Index(serde_json::from_slice(&self.bytes).map_err(unreadable)?))
            }
            MediaType::ImageManifest => {
                Ok(Shape::Image(serde_json::from_slice(&self.bytes).map_err(unreadable)?))
            }
            _ if self.media_type == "application/vnd.docker.distribution.manifest.list.v2+json" => {
                Ok(Shape::Index(serde_json::from_slice(&self.bytes).map_err(unreadable)?))
            }
            _ if self.media_type == "application/vnd.docker.distribution.manifest.v2+json" => {
                Ok(Shape::Image(serde_json::from_slice(&self.bytes).map_err(unreadable)?))
            }
            _ => {
                let what = format!("the manifest {} is of an unknown kind", self.digest);
                Err(Error::failed("manifest-invalid", what).because(&self.media_type))
            }
        }
    }

    /// What other manifests call it by.
    ///
    /// # Errors
    /// None: its digest is one.
    pub fn descriptor(&self) -> Result<Descriptor> {
        let digest = self.digest.parse::<oci_spec::image::Digest>();
        let digest = digest.map_err(|error| Error::bug("a digest is none").because(error))?;
        let media_type = MediaType::from(self.media_type.as_str());
        Ok(Descriptor::new(media_type, self.bytes.len() as u64, digest))
    }
}

impl Repository {
    /// The manifest of a tag or a digest; `None` if there is none.
    ///
    /// # Errors
    /// The registry does not answer or refuses; what it sent is not what the digest names.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Manifest>> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
        let path = format!("manifests/{reference}");
        let answer = self.call(Method::GET, &path, headers, Bytes::new()).await?;
        let what = format!("{}:{reference} cannot be read", self.name);
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.registry.refusal(answer, &what).await),
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        let mut answer = answer;
        let mut bytes = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.registry.unreachable(error)),
            }
            if bytes.len() > SIZE_MAX {
                return Err(Error::failed("manifest-invalid", what)
                    .because(format!("it is larger than {SIZE_MAX} bytes")));
            }
        }
        let manifest = Manifest::new(kind, bytes);
        if reference.contains(':') && reference != manifest.digest {
            return Err(wrong(&what, reference, &manifest.digest));
        }
        Ok(Some(manifest))
    }

    /// Stores a manifest under its digest, and under `tag` where one is given.
    ///
    /// # Errors
    /// The registry does not answer or refuses, or stored something else.
    pub async fn put_manifest(&self, manifest: &Manifest, tag: Option<&str>) -> Result<()> {
        let what = format!("{}:{} cannot be stored", self.name, tag.unwrap_or(&manifest.digest));
        let kind = HeaderValue::from_str(&manifest.media_type);
        let kind = kind.map_err(|error| Error::bug("a media type is none").because(error))?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let path = format!("manifests/{}", tag.unwrap_or(&manifest.digest));
        let body = Bytes::copy_from_slice(&manifest.bytes);
        let answer = self.call(Method::PUT, &path, headers, body).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(self.registry.refusal(answer, &what).await);
        }
        let said = answer.headers().get("docker-content-digest").and_then(|it| it.to_str().ok());
        match said {
            Some(said) if said != manifest.digest => Err(wrong(&what, &manifest.digest, said)),
            _ => Ok(()),
        }
    }

    /// Removes a manifest by its digest, or only a tag. `false` if there was none.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn remove_manifest(&self, reference: &str) -> Result<bool> {
        let path = format!("manifests/{reference}");
        let answer = self.call(Method::DELETE, &path, HeaderMap::new(), Bytes::new()).await?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => {
                let what = format!("{}:{reference} cannot be removed", self.name);
                Err(self.registry.refusal(answer, &what).await)
            }
        }
    }

    /// Tags in the registry's order; none for a repository that it does not have.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct List {
            tags: Option<Vec<String>>,
        }
        let answer = self.call(Method::GET, "tags/list", HeaderMap::new(), Bytes::new()).await?;
        let what = format!("the tags of {} cannot be read", self.name);
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Vec::new()),
            _ => return Err(self.registry.refusal(answer, &what).await),
        }
        let list: List = match answer.bytes().await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Error::failed("registry-refused", what).because(error))?,
            Err(error) => return Err(self.registry.unreachable(error)),
        };
        Ok(list.tags.unwrap_or_default())
    }
}

/// Somebody's bytes are not what their name says.
pub(super) fn wrong(what: &str, wanted: &str, seen: &str) -> Error {
    Error::failed("digest-mismatch", what)
        .because(format!("it has the digest {seen}, and not {wanted}"))
        .hint("try again; if it stays so, the registry or somebody before it changes what it sends")
}
