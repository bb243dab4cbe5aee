//! Signatures in the image cache, read over plain HTTP: what refers to the image by the referrers
//! API, else by the tag that stands for it, then the older form under its own tag.
//!
//! Nothing is believed of the cache but what a key signed. Answers are bounded in size and, all
//! together, in time.

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use ureq::Agent;

use super::arguments::is_digest;
use super::fault::Fault;
use crate::spec::name::cached;
use crate::trust::attached::{self, SIZE_MAX};
use crate::trust::{KeyId, PublicKey, Refusal, bundle, simple};

/// How many manifests that refer to one image are looked at. Signatures with other keys, bills of
/// materials and provenance are a handful.
const REFERRERS_MAX: usize = 64;

/// Types of what carries signatures, and of what lists it.
const ACCEPTED: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// The image cache, to be read until a deadline.
pub(super) struct Reader<'a> {
    agent: Agent,
    /// `http://10.89.0.2:5000`.
    address: &'a str,
    deadline: Instant,
}

/// What was seen of one image that does not count.
#[derive(Default)]
struct Seen {
    refusals: Vec<Refusal>,
    /// The first of the cache's faults that left a signature unread.
    fault: Option<Fault>,
}

impl Reader<'_> {
    /// Of the cache at `address`.
    pub(super) fn new(address: &str, deadline: Instant) -> Result<Reader<'_>, Fault> {
        let address = address.trim_end_matches('/');
        if !address.starts_with("http://") {
            let what = "the cache's address".to_owned();
            return Err(Fault::Config(what, format!("{address:?} does not begin with http://")));
        }
        let config = Agent::config_builder()
            .user_agent(concat!("pipe-verifier/", env!("CARGO_PKG_VERSION")))
            // The cache is beside the node; containerd's proxies lead elsewhere.
            .proxy(None)
            // What a cache of ours has it serves itself.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false);
        Ok(Reader { agent: config.build().into(), address, deadline })
    }

    /// The key that signed `digest` in the repository of the image called `name`.
    pub(super) fn signer(
        &self,
        name: &str,
        digest: &str,
        keys: &[PublicKey],
    ) -> Result<KeyId, Fault> {
        let repository = cached::repository(name).map_err(Fault::Name)?;
        let mut seen = Seen::default();
        if let Some(key) = self.by_bundles(&repository, digest, keys, &mut seen)? {
            return Ok(key);
        }
        if let Some(key) = self.by_documents(&repository, digest, keys, &mut seen)? {
            return Ok(key);
        }
        match seen.fault {
            _ if !seen.refusals.is_empty() => Err(Fault::Refused(name.to_owned(), seen.refusals)),
            Some(fault) => Err(fault),
            None => Err(Fault::Unsigned(name.to_owned())),
        }
    }

    fn by_bundles(
        &self,
        repository: &str,
        digest: &str,
        keys: &[PublicKey],
        seen: &mut Seen,
    ) -> Result<Option<KeyId>, Fault> {
        let mut looked_at = BTreeSet::new();
        for referrer in self.referrers(repository, digest, seen)? {
            if looked_at.len() == REFERRERS_MAX || !looked_at.insert(referrer.digest().to_string())
            {
                continue;
            }
            let manifest = self.content(repository, "manifests", &referrer);
            // Some registries rewrite what a list says of its entries: only the manifest counts.
            let Some(manifest) = seen.tolerate(manifest)?.flatten() else { continue };
            let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&manifest) else { continue };
            for layer in attached::bundles(&manifest).take(REFERRERS_MAX) {
                let content = self.content(repository, "blobs", layer);
                let Some(content) = seen.tolerate(content)?.flatten() else { continue };
                match bundle::verify(&content, digest, keys) {
                    Ok(key) => return Ok(Some(key)),
                    Err(refusal) => seen.refusals.push(refusal),
                }
            }
        }
        Ok(None)
    }

    fn referrers(
        &self,
        repository: &str,
        digest: &str,
        seen: &mut Seen,
    ) -> Result<Vec<Descriptor>, Fault> {
        let tag = attached::referrers_tag(digest);
        for path in [format!("referrers/{digest}"), format!("manifests/{tag}")] {
            let list = self.get(repository, &path);
            let Some(list) = seen.tolerate(list)?.flatten() else { continue };
            match serde_json::from_slice::<ImageIndex>(&list) {
                Ok(index) => return Ok(index.manifests().clone()),
                Err(error) => seen.note(self.odd(format!("{path}: {error}"))),
            }
        }
        Ok(Vec::new())
    }

    fn by_documents(
        &self,
        repository: &str,
        digest: &str,
        keys: &[PublicKey],
        seen: &mut Seen,
    ) -> Result<Option<KeyId>, Fault> {
        let path = format!("manifests/{}", attached::signature_tag(digest));
        let manifest = self.get(repository, &path);
        let Some(manifest) = seen.tolerate(manifest)?.flatten() else { return Ok(None) };
        let manifest: ImageManifest = match serde_json::from_slice(&manifest) {
            Ok(manifest) => manifest,
            Err(error) => {
                seen.note(self.odd(format!("{path}: {error}")));
                return Ok(None);
            }
        };
        for (layer, signature) in attached::documents(&manifest).take(REFERRERS_MAX) {
            let payload = self.content(repository, "blobs", layer);
            let Some(payload) = seen.tolerate(payload)?.flatten() else { continue };
            match simple::verify(&simple::Signed { payload, signature }, digest, keys) {
                Ok(key) => return Ok(Some(key)),
                Err(refusal) => seen.refusals.push(refusal),
            }
        }
        Ok(None)
    }

    /// What a descriptor describes, checked against its digest.
    fn content(
        &self,
        repository: &str,
        kind: &str,
        descriptor: &Descriptor,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let digest = descriptor.digest().to_string();
        if !is_digest(&digest) {
            return Err(self.odd(format!("it names {digest}")));
        }
        let path = format!("{kind}/{digest}");
        match self.get(repository, &path)? {
            Some(content) if attached::sha256(&content) != digest => {
                Err(self.odd(format!("{path} has other bytes than its digest says")))
            }
            content => Ok(content),
        }
    }

    /// A body, or nothing where there is none.
    fn get(&self, repository: &str, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::TooLate(self.address.to_owned()));
        }
        let request = self
            .agent
            .get(format!("{}/v2/{repository}/{path}", self.address))
            .header("accept", ACCEPTED)
            .config()
            .timeout_global(Some(left))
            .build();
        let mut response = request.call().map_err(|error| self.fault(path, error))?;
        match response.status().as_u16() {
            200 => {
                let body = response.body_mut().with_config().limit(SIZE_MAX).read_to_vec();
                body.map(Some).map_err(|error| match self.fault(path, error) {
                    Fault::Unreachable(_, why) => self.odd(format!("{path}: {why}")),
                    fault => fault,
                })
            }
            404 => Ok(None),
            status => Err(self.odd(format!("{path}: HTTP {status}"))),
        }
    }

    fn odd(&self, what: String) -> Fault {
        Fault::Answer(self.address.to_owned(), what)
    }

    fn fault(&self, path: &str, error: ureq::Error) -> Fault {
        let address = self.address.to_owned();
        match error {
            ureq::Error::Timeout(_) => Fault::TooLate(address),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Fault::TooLate(address)
            }
            ureq::Error::Io(error) => Fault::Unreachable(address, error.to_string()),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                Fault::Unreachable(address, error.to_string())
            }
            error => self.odd(format!("{path}: {error}")),
        }
    }
}

impl Seen {
    /// Goes on past an answer that cannot be used, since another may still be good; a cache that
    /// does not answer ends it.
    fn tolerate<T>(&mut self, answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(fault @ Fault::Answer(..)) => {
                self.note(fault);
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}
