//! Objects whose length nobody knows yet: sent in parts, and one object only when all are there.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusty_s3::Method;
use rusty_s3::actions::{
    CompleteMultipartUpload, CompleteMultipartUploadResponse, CreateMultipartUpload, ListObjectsV2,
};

use super::ask::{self, Ask};
use super::{Store, describe};

impl Store {
    /// Begins an upload in parts; gives its id.
    ///
    /// # Errors
    /// The store does not do it.
    pub async fn begin_parts(&self, bucket: &str, key: &str) -> Result<String, String> {
        let ask = Ask::new(Method::Post, Some(bucket), Some(key)).query("uploads", "");
        let reply = ask::expect(200, self.ask(&ask, Vec::new()).await?)?;
        let begun = CreateMultipartUpload::parse_response(&reply.text());
        Ok(begun.map_err(|error| error.to_string())?.upload_id().to_owned())
    }

    /// Sends part `number`, counted from 1; gives the tag by which it is named at the end.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn send_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u16,
        content: Bytes,
    ) -> Result<String, String> {
        let ask = Ask::new(Method::Put, Some(bucket), Some(key))
            .query("partNumber", number.to_string())
            .query("uploadId", upload);
        let length = content.len() as u64;
        let body = Box::pin(futures::stream::iter([Ok(content)]));
        let reply = ask::expect(200, self.send(&ask, length, body).await?)?;
        let tag = reply.headers.get("etag").cloned();
        tag.ok_or_else(|| "a part without a tag".to_owned())
    }

    /// Makes one object of the parts.
    ///
    /// # Errors
    /// The store does not do it: it may say so behind a status of success.
    pub async fn join_parts(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        tags: &[String],
    ) -> Result<(), String> {
        let ask = Ask::new(Method::Post, Some(bucket), Some(key)).query("uploadId", upload);
        let named = self.named(bucket)?;
        let tags = tags.iter().map(String::as_str);
        let body = CompleteMultipartUpload::new(&named, None, key, upload, tags).body();
        let reply = ask::expect(200, self.ask(&ask, body.into_bytes()).await?)?;
        let joined = CompleteMultipartUploadResponse::parse(&reply.text());
        joined.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Forgets the parts; one that is forgotten already is success.
    ///
    /// # Errors
    /// The store does not do it.
    pub async fn drop_parts(&self, bucket: &str, key: &str, upload: &str) -> Result<(), String> {
        let ask = Ask::new(Method::Delete, Some(bucket), Some(key)).query("uploadId", upload);
        let reply = self.ask(&ask, Vec::new()).await?;
        match reply.status {
            200 | 204 | 404 => Ok(()),
            _ => Err(describe(&reply)),
        }
    }

    /// Every key that begins with `prefix`, and the length of its object.
    ///
    /// # Errors
    /// The store gives no list.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Result<BTreeMap<String, u64>, String> {
        let mut keys = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let mut ask = Ask::new(Method::Get, Some(bucket), None)
                .query("list-type", "2")
                .query("encoding-type", "url")
                .query("prefix", prefix);
            if let Some(token) = &after {
                ask = ask.query("continuation-token", token);
            }
            let reply = ask::expect(200, self.ask(&ask, Vec::new()).await?)?;
            let page = ListObjectsV2::parse_response(&reply.text());
            let page = page.map_err(|error| error.to_string())?;
            let object = |object: rusty_s3::actions::list_objects_v2::ListObjectsContent| {
                (object.key, object.size.unwrap_or_default())
            };
            keys.extend(page.contents.into_iter().map(object));
            after = page.next_continuation_token;
            if after.is_none() {
                return Ok(keys);
            }
        }
    }
}
