//! What refers to an image: by the referrers API where a registry has it, by a tag where not
//! (distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema").

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::{Manifest, Repository, Shape};
use crate::trust::attached;
use crate::{Error, Result};

impl Repository {
    /// Manifests that refer to `digest`.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>> {
        let path = format!("referrers/{digest}");
        let answer = self.call(Method::GET, &path, HeaderMap::new(), Bytes::new()).await?;
        let what = format!("what refers to {}@{digest} cannot be read", self.name);
        match answer.status() {
            StatusCode::OK => {
                let bytes =
                    answer.bytes().await.map_err(|error| self.registry.unreachable(error))?;
                let index: ImageIndex = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::failed("registry-refused", what).because(error))?;
                Ok(index.manifests().clone())
            }
            StatusCode::NOT_FOUND => Ok(self.referrers_by_tag(digest).await?.0),
            _ => Err(self.registry.refusal(answer, &what).await),
        }
    }

    /// Whether this registry keeps the list itself.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn has_referrers_api(&self, digest: &str) -> Result<bool> {
        let path = format!("referrers/{digest}");
        let answer = self.call(Method::GET, &path, HeaderMap::new(), Bytes::new()).await?;
        Ok(answer.status() == StatusCode::OK)
    }

    async fn referrers_by_tag(&self, digest: &str) -> Result<(Vec<Descriptor>, Option<String>)> {
        let Some(manifest) = self.manifest(&attached::referrers_tag(digest)).await? else {
            return Ok((Vec::new(), None));
        };
        match manifest.shape()? {
            Shape::Index(index) => Ok((index.manifests().clone(), Some(manifest.digest))),
            // Somebody's tag that happens to be called so.
            Shape::Image(_) => Ok((Vec::new(), None)),
        }
    }

    /// Stores a manifest that refers to `subject`, so that [`Repository::referrers`] finds it.
    ///
    /// Registries without the API keep a list under a tag, which two writers at once would take from
    /// each other: whoever calls this holds the lock on the cache.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn put_referrer(
        &self,
        manifest: &Manifest,
        subject: &str,
        artifact_type: &str,
    ) -> Result<()> {
        self.put_manifest(manifest, None).await?;
        if self.has_referrers_api(subject).await? {
            return Ok(());
        }
        let (mut list, _) = self.referrers_by_tag(subject).await?;
        if list.iter().any(|there| there.digest().to_string() == manifest.digest) {
            return Ok(());
        }
        let mut descriptor = manifest.descriptor()?;
        descriptor.set_artifact_type(Some(MediaType::from(artifact_type)));
        list.push(descriptor);
        let failed =
            |error: oci_spec::OciSpecError| Error::bug("an index cannot be built").because(error);
        let index = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageIndex)
            .manifests(list)
            .build()
            .map_err(failed)?;
        let bytes = serde_json::to_vec(&index)
            .map_err(|error| Error::bug("an index cannot be written").because(error))?;
        let index = Manifest::new(MediaType::ImageIndex.to_string(), bytes);
        self.put_manifest(&index, Some(&attached::referrers_tag(subject))).await
    }
}
