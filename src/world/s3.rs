//! An S3 store at a host port: requests signed by rusty-s3, sent by reqwest, answers as they come.
//!
//! Judging an answer is the caller's: a refusal is what some callers want to see.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusty_s3::actions::{
    CreateBucket, DeleteBucket, DeleteObject, GetObject, HeadBucket, HeadObject, ListObjectsV2,
    PutObject,
};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use super::http::{self, Reply};
use crate::{Error, Result};

mod ask;
mod contents;
mod parts;

pub use contents::{Opened, Page, UNVERSIONED, Version, Versioning};

/// The region that a store has unless it is told another.
pub const REGION: &str = "us-east-1";

/// How long a signature holds.
const SIGNED_FOR: Duration = Duration::from_secs(60);

/// A store, and who asks it.
#[derive(Clone, Debug)]
pub struct Store {
    client: reqwest::Client,
    endpoint: reqwest::Url,
    credentials: Option<Credentials>,
}

/// One request on a bucket.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// Make it.
    CreateBucket,
    /// Is it there?
    HeadBucket,
    /// Remove it; it must be empty.
    DeleteBucket,
    /// Objects whose keys begin with a prefix.
    List {
        /// May be empty.
        prefix: &'a str,
    },
    /// Store an object.
    Put {
        /// Its key.
        key: &'a str,
        /// Its content.
        content: &'a [u8],
        /// What we claim as SHA-256 of the content; the store must refuse a wrong one.
        sha256: &'a [u8],
    },
    /// Read an object.
    Get {
        /// Its key.
        key: &'a str,
    },
    /// Is an object there?
    Head {
        /// Its key.
        key: &'a str,
    },
    /// Remove an object.
    Delete {
        /// Its key.
        key: &'a str,
    },
}

/// An object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its length in bytes, where the list says it.
    pub size: Option<u64>,
}

impl Store {
    /// The store at `address` (`host:port`), asked with an access key and its secret, or with none.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(address: &str, login: Option<(&str, &str)>) -> Result<Store> {
        let endpoint = reqwest::Url::parse(&format!("http://{address}"))
            .map_err(|error| Error::bug(format!("{address} is no address: {error}")))?;
        let credentials = login.map(|(key, secret)| Credentials::new(key, secret));
        Ok(Store { client: http::service_client()?, endpoint, credentials })
    }

    /// The same store, with answers and uploads that last as long as bytes move.
    ///
    /// # Errors
    /// No client can be set up.
    pub fn transferring(&self) -> Result<Store> {
        Ok(Store { client: http::streaming_client()?, ..self.clone() })
    }

    /// The same store, asked as somebody else.
    #[must_use]
    pub fn with_login(&self, login: Option<(&str, &str)>) -> Store {
        let credentials = login.map(|(key, secret)| Credentials::new(key, secret));
        Store { credentials, ..self.clone() }
    }

    /// Asks once.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn call(&self, bucket: &str, call: Call<'_>) -> std::result::Result<Reply, String> {
        let bucket = self.named(bucket)?;
        let client = &self.client;
        let who = self.credentials.as_ref();
        // Making and removing exist signed only; nobody's are signed wrongly instead.
        let nobody = Credentials::new("", "");
        let signer = who.unwrap_or(&nobody);
        let request = match call {
            Call::CreateBucket => client.put(CreateBucket::new(&bucket, signer).sign(SIGNED_FOR)),
            Call::DeleteBucket => {
                client.delete(DeleteBucket::new(&bucket, signer).sign(SIGNED_FOR))
            }
            Call::HeadBucket => client.head(HeadBucket::new(&bucket, who).sign(SIGNED_FOR)),
            Call::List { prefix } => {
                let mut list = ListObjectsV2::new(&bucket, who);
                list.with_prefix(prefix);
                client.get(list.sign(SIGNED_FOR))
            }
            Call::Put { key, content, sha256 } => {
                let sum = STANDARD.encode(sha256);
                let mut put = PutObject::new(&bucket, who, key);
                put.headers_mut().insert(CHECKSUM, sum.clone());
                let request = client.put(put.sign(SIGNED_FOR)).header(CHECKSUM, sum);
                request.body(content.to_vec())
            }
            Call::Get { key } => client.get(GetObject::new(&bucket, who, key).sign(SIGNED_FOR)),
            Call::Head { key } => client.head(HeadObject::new(&bucket, who, key).sign(SIGNED_FOR)),
            Call::Delete { key } => {
                client.delete(DeleteObject::new(&bucket, who, key).sign(SIGNED_FOR))
            }
        };
        http::answer(request).await
    }

    /// A bucket as rusty-s3 has it.
    fn named(&self, bucket: &str) -> std::result::Result<Bucket, String> {
        let (name, region) = (bucket.to_owned(), REGION.to_owned());
        let bucket = Bucket::new(self.endpoint.clone(), UrlStyle::Path, name, region);
        bucket.map_err(|error| error.to_string())
    }

    /// Whether a bucket is there.
    ///
    /// # Errors
    /// There was no answer, or neither yes nor no.
    pub async fn has(&self, bucket: &str) -> std::result::Result<bool, String> {
        let reply = self.call(bucket, Call::HeadBucket).await?;
        match reply.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(describe(&reply)),
        }
    }
}

/// The header by which the store checks what arrives.
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// S3's code of a refusal: `SignatureDoesNotMatch`.
pub fn code(reply: &Reply) -> Option<String> {
    let text = reply.text();
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.to_owned())
}

/// `403 AccessDenied`.
pub fn describe(reply: &Reply) -> String {
    match code(reply) {
        Some(code) => format!("{} {code}", reply.status),
        None => reply.status.to_string(),
    }
}

/// The objects of an answer to [`Call::List`].
///
/// # Errors
/// It is no list, or only the first part of one.
pub fn listed(reply: &Reply) -> std::result::Result<Vec<Listed>, String> {
    let response = ListObjectsV2::parse_response(&reply.text()).map_err(|e| e.to_string())?;
    if response.next_continuation_token.is_some() {
        return Err("a list that goes on, of few objects".to_owned());
    }
    let object = |object: rusty_s3::actions::list_objects_v2::ListObjectsContent| Listed {
        key: object.key,
        size: object.size,
    };
    Ok(response.contents.into_iter().map(object).collect())
}
