//! Blobs: layers and configurations, streamed, and checked before anybody is told that they came.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::manifest::wrong;
use super::{Call, Repository};
use crate::{Error, Result, digest};

/// How often a download that broke off is taken up where it ended.
const RESUMED: u32 = 5;

/// Largest part that one request uploads: some registries and what stands before them have limits.
const PART: usize = 16 << 20;

/// Where bytes come from, with those that were read too far.
struct Body {
    answer: Response,
    first: Option<Bytes>,
}

impl Body {
    async fn chunk(&mut self) -> reqwest::Result<Option<Bytes>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.answer.chunk().await,
        }
    }
}

/// A blob on its way here. Its end is only reached when its bytes were what its digest names.
pub struct Download {
    repository: Repository,
    digest: String,
    size: u64,
    body: Option<Body>,
    hash: Sha256,
    done: u64,
    resumed: u32,
}

impl Download {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes; `None` at its end.
    ///
    /// # Errors
    /// It broke off more often than is patient, or its bytes are others than its digest names.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.repository.open(&self.digest, self.done).await?.1,
            };
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    self.hash.update(&chunk);
                    self.done += chunk.len() as u64;
                    if self.done > self.size {
                        let seen = format!("more than {} bytes", self.size);
                        return Err(wrong(&self.what(), &self.digest, &seen));
                    }
                    self.body = Some(body);
                    return Ok(Some(chunk));
                }
                Ok(None) if self.done == self.size => {
                    let seen = format!("sha256:{}", digest::hex(&self.hash.clone().finalize()));
                    if seen == self.digest {
                        return Ok(None);
                    }
                    return Err(wrong(&self.what(), &self.digest, &seen));
                }
                // Ended early, with or without saying so.
                broken => {
                    self.resumed += 1;
                    if self.resumed > RESUMED {
                        let what = self.what();
                        return Err(match broken {
                            Err(error) => self.repository.registry.unreachable(error).because(what),
                            Ok(_) => Error::failed("blob-broken", what).because(format!(
                                "it ended after {} of {} bytes, again and again",
                                self.done, self.size
                            )),
                        });
                    }
                }
            }
        }
    }

    fn what(&self) -> String {
        format!("the blob {} of {} cannot be read", self.digest, self.repository.name)
    }
}

impl Repository {
    /// Whether a blob is there, and its size.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn blob_size(&self, digest: &str) -> Result<Option<u64>> {
        let path = format!("blobs/{digest}");
        let answer = self.call(Method::HEAD, &path, HeaderMap::new(), Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(length(answer.headers()).unwrap_or_default())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => {
                let what = format!("the blob {digest} of {} cannot be looked for", self.name);
                Err(self.registry.refusal(answer, &what).await)
            }
        }
    }

    /// Begins a download. `size` is what the manifest says of it.
    ///
    /// # Errors
    /// The registry does not answer, refuses, or does not have it.
    pub async fn download(&self, digest: &str, size: u64) -> Result<Download> {
        let (said, body) = self.open(digest, 0).await?;
        if let Some(said) = said.filter(|said| *said != size) {
            let what = format!("the blob {digest} of {} cannot be read", self.name);
            return Err(wrong(&what, digest, &format!("{said} bytes, and not {size}")));
        }
        Ok(Download {
            repository: self.clone(),
            digest: digest.to_owned(),
            size,
            body: Some(body),
            hash: Sha256::new(),
            done: 0,
            resumed: 0,
        })
    }

    /// A small blob, whole.
    ///
    /// # Errors
    /// As for [`Repository::download`] and [`Download::chunk`].
    pub async fn blob(&self, digest: &str, size: u64) -> Result<Vec<u8>> {
        let mut download = self.download(digest, size).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The body from `from` on, with its whole length where that is said.
    async fn open(&self, digest: &str, from: u64) -> Result<(Option<u64>, Body)> {
        let mut headers = HeaderMap::new();
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-"));
            headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let answer =
            self.call(Method::GET, &format!("blobs/{digest}"), headers, Bytes::new()).await?;
        let what = format!("the blob {digest} of {} cannot be read", self.name);
        match answer.status() {
            StatusCode::OK if from == 0 => {
                Ok((length(answer.headers()), Body { answer, first: None }))
            }
            StatusCode::PARTIAL_CONTENT if from > 0 && begins_at(answer.headers(), from) => {
                Ok((None, Body { answer, first: None }))
            }
            StatusCode::OK => {
                // It cannot begin in the middle: what is known already is passed over.
                let mut body = Body { answer, first: None };
                let mut skip = from;
                while skip > 0 {
                    let chunk = body.chunk().await;
                    let chunk = chunk.map_err(|error| self.registry.unreachable(error))?;
                    let Some(mut chunk) = chunk else {
                        let seen = format!("at most {} bytes", from - skip);
                        return Err(wrong(&what, digest, &seen));
                    };
                    let known = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                    let rest = chunk.split_off(known);
                    skip -= known as u64;
                    body.first = (!rest.is_empty()).then_some(rest);
                }
                Ok((None, body))
            }
            StatusCode::NOT_FOUND => Err(Error::failed("blob-unknown", what)
                .because(format!("the registry {} does not have it", self.registry.name()))),
            _ => Err(self.registry.refusal(answer, &what).await),
        }
    }

    /// Stores a small blob. Nothing is sent where it is there.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn put_blob(&self, digest: &str, content: &[u8]) -> Result<bool> {
        if self.blob_size(digest).await?.is_some() {
            return Ok(false);
        }
        let content = Bytes::copy_from_slice(content);
        self.upload(digest, futures::stream::iter([Ok(content)])).await?;
        Ok(true)
    }

    /// Takes over a blob that another repository of this registry has. `false` if it does not.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn mount(&self, digest: &str, from: &str) -> Result<bool> {
        let path = format!("blobs/uploads/?mount={digest}&from={from}");
        let answer = self.call(Method::POST, &path, HeaderMap::new(), Bytes::new()).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            // It began an upload instead.
            StatusCode::ACCEPTED => {
                self.abandon(&answer).await;
                Ok(false)
            }
            _ => {
                let what = format!("the blob {digest} cannot be taken over into {}", self.name);
                Err(self.registry.refusal(answer, &what).await)
            }
        }
    }

    /// Uploads a blob part by part. The registry serves it only when its digest was right.
    ///
    /// # Errors
    /// The registry does not answer or refuses; the content is not what the digest names; `content`
    /// itself fails. What was begun is given up.
    pub async fn upload(
        &self,
        digest: &str,
        content: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<()> {
        let what = format!("the blob {digest} of {} cannot be stored", self.name);
        let answer =
            self.call(Method::POST, "blobs/uploads/", HeaderMap::new(), Bytes::new()).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(self.registry.refusal(answer, &what).await);
        }
        let mut place = self.place(&answer, &what)?;
        let mut content = std::pin::pin!(content);
        let (mut part, mut sent) = (Vec::new(), 0u64);
        let uploaded = async {
            loop {
                let next = content.next().await.transpose()?;
                if let Some(chunk) = &next {
                    part.extend_from_slice(chunk);
                }
                if part.len() >= PART || (next.is_none() && !part.is_empty()) {
                    let whole = Bytes::from(std::mem::take(&mut part));
                    let size = whole.len() as u64;
                    place = self.patch(place.clone(), sent, whole, &what).await?;
                    sent += size;
                }
                if next.is_none() {
                    return Ok(());
                }
            }
        };
        let uploaded: Result<()> = uploaded.await;
        let finished = match uploaded {
            Ok(()) => self.finish(place.clone(), digest, &what).await,
            Err(error) => Err(error),
        };
        if finished.is_err() {
            let _gone_or_expires =
                self.at(Method::DELETE, place, HeaderMap::new(), Bytes::new()).await;
        }
        finished
    }

    async fn patch(&self, place: Url, from: u64, part: Bytes, what: &str) -> Result<Url> {
        let last = from + (part.len() as u64).saturating_sub(1);
        let range = HeaderValue::from_str(&format!("{from}-{last}"));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
        let answer = self.at(Method::PATCH, place, headers, part).await?;
        match answer.status() {
            StatusCode::ACCEPTED => self.place(&answer, what),
            _ => Err(self.registry.refusal(answer, what).await),
        }
    }

    async fn finish(&self, mut place: Url, digest: &str, what: &str) -> Result<()> {
        place.query_pairs_mut().append_pair("digest", digest);
        let answer = self.at(Method::PUT, place, HeaderMap::new(), Bytes::new()).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.registry.refusal(answer, what).await),
        }
    }

    async fn abandon(&self, begun: &Response) {
        if let Ok(place) = self.place(begun, "") {
            let _gone_or_expires =
                self.at(Method::DELETE, place, HeaderMap::new(), Bytes::new()).await;
        }
    }

    async fn at(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response> {
        let call = Call { method, url, headers, body, actions: "pull,push" };
        self.registry.send(&call, &self.name).await
    }

    /// Where an upload goes on. Only on the registry itself: our login goes along.
    fn place(&self, answer: &Response, what: &str) -> Result<Url> {
        let said = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let refused = |why: &str| Error::failed("registry-refused", what).because(why);
        let said = said.ok_or_else(|| refused("it does not say where to upload"))?;
        let place = answer.url().join(said).map_err(|error| refused(&error.to_string()))?;
        let base = &self.registry.inner.base;
        if place.host_str() != base.host_str() {
            return Err(refused("it wants the upload on another host"));
        }
        Ok(place)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn begins_at(headers: &HeaderMap, from: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}
