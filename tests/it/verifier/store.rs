//! What a registry holds beside an image: signatures as cosign and `pipe` put them there, and as
//! nobody should.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, DescriptorBuilder, Digest, ImageManifest, MediaType};
use pipe::trust::attached::{self, Attachment, Blob};
use pipe::trust::{SigningKey, bundle, simple};
use serde_json::{Value, json};

use super::{Reply, Scripted};

/// Where the cache has the image that every test asks about.
pub const REPOSITORY: &str = "docker.io/library/nats";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Answers, by what stands behind the repository in a request's path.
#[derive(Clone, Default)]
pub struct Store {
    answers: BTreeMap<String, Reply>,
    /// What refers to an image, by the path it is listed under.
    lists: BTreeMap<String, Vec<Value>>,
    /// Documents of the older form.
    documents: Vec<(Descriptor, Vec<u8>)>,
}

impl Store {
    pub fn new() -> Store {
        Store::default()
    }

    /// A bundle that the registry itself lists.
    pub fn api(self, key: &SigningKey, image: &str) -> Store {
        self.refer(bundle::sign(key, image), image, &format!("referrers/{image}"))
    }

    /// A bundle that is listed under a tag.
    pub fn tagged(self, key: &SigningKey, image: &str) -> Store {
        self.bundle(bundle::sign(key, image), image)
    }

    /// A good bundle of one image, put beside another.
    pub fn replayed(self, key: &SigningKey, from: &str, to: &str) -> Store {
        self.bundle(bundle::sign(key, from), to)
    }

    /// Any bytes for a bundle, listed under a tag.
    pub fn bundle(self, bundle: Vec<u8>, image: &str) -> Store {
        let path = format!("manifests/{}", attached::referrers_tag(image));
        self.refer(bundle, image, &path)
    }

    /// A document of the older form; a second one joins the first.
    pub fn legacy(self, key: &SigningKey, image: &str) -> Store {
        self.document(&simple::sign(key, REPOSITORY, image), image)
    }

    /// Any document and signature of the older form.
    pub fn document(mut self, signed: &simple::Signed, image: &str) -> Store {
        let attachment = attached::legacy(signed, &self.documents).unwrap();
        let tag = format!("manifests/{}", attached::signature_tag(image));
        let manifest: ImageManifest = serde_json::from_slice(&attachment.manifest.content).unwrap();
        let last = manifest.layers().last().unwrap().clone();
        self.documents.push((last, signed.payload.clone()));
        self.answers.insert(tag, Reply::new(200, attachment.manifest.content.clone()));
        self.keep(&attachment)
    }

    /// Another answer under a path.
    pub fn answer(mut self, path: &str, reply: Reply) -> Store {
        self.answers.insert(path.to_owned(), reply);
        self
    }

    /// Every blob changed, and nothing else.
    pub fn other_blobs(mut self) -> Store {
        for (path, reply) in &mut self.answers {
            if let (true, Reply::Answer { body, .. }) = (path.starts_with("blobs/"), reply) {
                body[0] ^= 1;
            }
        }
        self
    }

    /// A registry that holds this, and nothing else.
    pub async fn serve(self) -> (Scripted, String) {
        let mut answers = self.answers;
        for (path, list) in self.lists {
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list});
            answers.insert(path, Reply::new(200, index.to_string()).header("content-type", INDEX));
        }
        Scripted::tcp(move |request, _| {
            assert_eq!(request.method, "GET");
            let path = request.target.strip_prefix(&format!("/v2/{REPOSITORY}/"));
            path.and_then(|path| answers.get(path)).cloned().unwrap_or_else(|| {
                let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#;
                Reply::new(404, body)
            })
        })
        .await
    }

    fn refer(mut self, bundle: Vec<u8>, image: &str, listed: &str) -> Store {
        let digest: Digest = image.parse().unwrap();
        let subject = DescriptorBuilder::default()
            .media_type(MediaType::ImageIndex)
            .digest(digest)
            .size(1u64)
            .build()
            .unwrap();
        let attachment = attached::referrer(bundle, &subject, "2026-11-21T00:00:00Z").unwrap();
        let Blob { media_type, digest, content } = &attachment.manifest;
        let entry = json!({"mediaType": media_type, "digest": digest, "size": content.len()});
        self.lists.entry(listed.to_owned()).or_default().push(entry);
        self.keep(&attachment)
    }

    fn keep(mut self, attachment: &Attachment) -> Store {
        let manifest = &attachment.manifest;
        let path = format!("manifests/{}", manifest.digest);
        self.answers.insert(path, Reply::new(200, manifest.content.clone()));
        for blob in &attachment.blobs {
            self.answers
                .insert(format!("blobs/{}", blob.digest), Reply::new(200, blob.content.clone()));
        }
        self
    }
}
