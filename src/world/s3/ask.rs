//! Requests that rusty-s3 has no words for, and answers that are read as they come.

use std::collections::BTreeMap;
use std::time::Duration;

use rusty_s3::Method;

use super::{REGION, SIGNED_FOR, Store, code};
use crate::world::http::Reply;
use crate::world::moving::{self, Body};

/// Longest silence while bytes move, in either direction.
const STALL: Duration = Duration::from_secs(60);

/// One request, on the store, a bucket or an object.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) bucket: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    /// In the order of names, which is how they are signed.
    pub(super) query: BTreeMap<&'static str, String>,
    /// Signed, and sent.
    pub(super) headers: BTreeMap<String, String>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, bucket: Option<&'a str>, key: Option<&'a str>) -> Ask<'a> {
        Ask { method, bucket, key, query: BTreeMap::new(), headers: BTreeMap::new() }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Ask<'a> {
        self.query.insert(name, value.into());
        self
    }
}

impl Store {
    /// The signed request; a body is the caller's to add.
    pub(super) fn request(&self, ask: &Ask<'_>) -> Result<reqwest::RequestBuilder, String> {
        let mut url = self.endpoint.clone();
        if let Some(bucket) = ask.bucket {
            let bucket = self.named(bucket)?;
            url = match ask.key {
                Some(key) => bucket.object_url(key),
                None => bucket.base_url().clone(),
            };
        }
        let login = self.credentials.as_ref().ok_or("nobody asks")?;
        let query = ask.query.iter().map(|(name, value)| (*name, value.as_str()));
        let headers = ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let url = rusty_s3::signing::sign(
            &jiff::Timestamp::now(),
            ask.method,
            url,
            login.key(),
            login.secret(),
            login.token(),
            REGION,
            SIGNED_FOR.as_secs(),
            query,
            headers,
        );
        let method = match ask.method {
            Method::Head => reqwest::Method::HEAD,
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut request = self.client.request(method, url);
        for (name, value) in &ask.headers {
            request = request.header(name, value.as_bytes());
        }
        Ok(request)
    }

    /// Asks, and reads the whole answer, which must be short.
    pub(super) async fn ask(&self, ask: &Ask<'_>, body: Vec<u8>) -> Result<Reply, String> {
        moving::answer(self.request(ask)?.body(body), STALL).await
    }

    /// Asks; gives the answer's head, its body to be read as it comes.
    pub(super) async fn open_answer(&self, ask: &Ask<'_>) -> Result<reqwest::Response, String> {
        moving::open(self.request(ask)?, STALL).await
    }

    /// Sends a body of `length` bytes, for as long as they move.
    pub(super) async fn send(
        &self,
        ask: &Ask<'_>,
        length: u64,
        body: Body,
    ) -> Result<Reply, String> {
        moving::send(self.request(ask)?, length, body, STALL).await
    }
}

/// The body of an answer, as it comes.
pub(super) fn body(answer: reqwest::Response) -> Body {
    moving::body(answer, STALL)
}

/// The answer where it is a success, else what it says.
pub(super) fn expect(status: u16, reply: Reply) -> Result<Reply, String> {
    match reply.status == status && code(&reply).is_none() {
        true => Ok(reply),
        false => Err(super::describe(&reply)),
    }
}
