//! What images are taken from, by digest: a repository of a registry, or an archive.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, TryStreamExt as _};
use oci_spec::image::Descriptor;

use crate::Result;
use crate::run::images::names;
use crate::spec::ImageName;
use crate::spec::name::cached;
use crate::world::layout::Layout;
use crate::world::registry::{Manifest, Repository};

/// Where the parts of an image lie. What it gives has the digest that was asked for.
pub trait Shelf: Sync {
    /// For people, with the repository's name.
    fn shown(&self) -> String;

    /// The manifest of a tag or a digest; `None` if there is none.
    fn manifest(&self, reference: &str) -> impl Future<Output = Result<Option<Manifest>>> + Send;

    /// What refers to a manifest.
    fn referrers(&self, digest: &str) -> impl Future<Output = Result<Vec<Descriptor>>> + Send;

    /// A blob in parts.
    fn parts(
        &self,
        digest: &str,
        size: u64,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<Bytes>>>> + Send;

    /// A small blob, whole.
    fn blob(&self, digest: &str, size: u64) -> impl Future<Output = Result<Vec<u8>>> + Send {
        async move {
            let parts = self.parts(digest, size).await?;
            parts
                .try_fold(Vec::new(), async |mut whole, part| {
                    whole.extend_from_slice(&part);
                    Ok(whole)
                })
                .boxed()
                .await
        }
    }
}

impl Shelf for Repository {
    fn shown(&self) -> String {
        format!("{} at {}", self.name(), self.registry().name())
    }

    async fn manifest(&self, reference: &str) -> Result<Option<Manifest>> {
        Repository::manifest(self, reference).await
    }

    async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>> {
        Repository::referrers(self, digest).await
    }

    async fn parts(&self, digest: &str, size: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(super::copy::chunks(self.download(digest, size).await?))
    }
}

/// One image of an archive.
#[derive(Clone, Debug)]
pub struct Archived {
    /// What it is in.
    pub layout: Layout,
    /// What it is called.
    pub image: ImageName,
}

impl Shelf for Archived {
    fn shown(&self) -> String {
        format!("{} in {}", self.image, self.layout.shown())
    }

    async fn manifest(&self, reference: &str) -> Result<Option<Manifest>> {
        if reference.starts_with("sha256:") {
            return self.layout.manifest(reference).await;
        }
        let own = cached::repository(self.image.as_str()).ok();
        let named = self.layout.named(|name| {
            let name = names::pod_name(name);
            let parts = name.rsplit_once(':');
            parts.is_some_and(|(_, tag)| tag == reference) && cached::repository(&name).ok() == own
        });
        match named.first() {
            Some(digest) => self.layout.manifest(digest).await,
            None => Ok(None),
        }
    }

    async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>> {
        self.layout.referrers(digest).await
    }

    async fn parts(&self, digest: &str, size: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.layout.blob(digest, size).await
    }
}
