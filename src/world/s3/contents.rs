//! Everything that a store holds: its buckets, and in each every version of every object.

use std::collections::BTreeMap;

use instant_xml::FromXml;
use rusty_s3::Method;
use serde::{Deserialize, Serialize};

use super::ask::{self, Ask};
use super::{Store, describe};
use crate::world::moving::Body;

const XML: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The store's own word for the version of an object that was put without versioning.
pub const UNVERSIONED: &str = "null";

/// Headers that are kept with an object, beside those of [`USER_METADATA`].
const KEPT: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

/// Begins the name of a header that whoever put the object chose.
const USER_METADATA: &str = "x-amz-meta-";

/// Whether a bucket keeps what is overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// It does.
    Enabled,
    /// It did once, and keeps what it has.
    Suspended,
}

/// A version of an object, or the mark that it was deleted, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The object's key.
    pub key: String,
    /// The version's id.
    pub id: String,
    /// Whether it marks a deletion, and has no content.
    pub deletion: bool,
}

/// A page of the versions in a bucket, by key, of each the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What is on it.
    pub versions: Vec<Version>,
    /// Where the next page begins; none behind the last.
    pub next: Option<(String, String)>,
}

/// The content of an object on its way.
pub struct Opened {
    /// Its length.
    pub length: u64,
    /// Content type and the like, and the user's metadata.
    pub headers: BTreeMap<String, String>,
    /// The content itself.
    pub body: Body,
}

#[derive(FromXml)]
#[xml(rename = "ListAllMyBucketsResult", ns(XML))]
struct BucketList {
    buckets: Option<Buckets>,
}

#[derive(FromXml)]
#[xml(rename = "Buckets", ns(XML))]
struct Buckets {
    bucket: Vec<BucketName>,
}

#[derive(FromXml)]
#[xml(rename = "Bucket", ns(XML))]
struct BucketName {
    #[xml(rename = "Name")]
    name: String,
}

#[derive(FromXml)]
#[xml(rename = "VersioningConfiguration", ns(XML))]
struct VersioningAnswer {
    #[xml(rename = "Status")]
    status: Option<String>,
}

#[derive(FromXml)]
#[xml(rename = "ListVersionsResult", ns(XML))]
struct VersionList {
    #[xml(rename = "IsTruncated")]
    is_truncated: Option<bool>,
    #[xml(rename = "NextKeyMarker")]
    next_key: Option<String>,
    #[xml(rename = "NextVersionIdMarker")]
    next_version: Option<String>,
    #[xml(rename = "EncodingType")]
    encoding: Option<String>,
    entries: Vec<Entry>,
}

#[derive(FromXml)]
#[xml(forward)]
enum Entry {
    Version(Stored),
    DeleteMarker(Deleted),
}

#[derive(FromXml)]
#[xml(rename = "Version", ns(XML))]
struct Stored {
    #[xml(rename = "Key")]
    key: String,
    #[xml(rename = "VersionId")]
    id: String,
}

#[derive(FromXml)]
#[xml(rename = "DeleteMarker", ns(XML))]
struct Deleted {
    #[xml(rename = "Key")]
    key: String,
    #[xml(rename = "VersionId")]
    id: String,
}

impl Store {
    /// Names of all buckets, and what the store calls itself.
    ///
    /// # Errors
    /// It gives no list.
    pub async fn buckets(&self) -> Result<(Vec<String>, String), String> {
        let reply = self.ask(&Ask::new(Method::Get, None, None), Vec::new()).await?;
        let reply = ask::expect(200, reply)?;
        let server = reply.headers.get("server").cloned();
        let names = bucket_names(&reply.text())?;
        Ok((names, server.unwrap_or_else(|| "an S3 store".to_owned())))
    }

    /// Whether a bucket keeps versions.
    ///
    /// # Errors
    /// It does not say.
    pub async fn versioning(&self, bucket: &str) -> Result<Versioning, String> {
        let ask = Ask::new(Method::Get, Some(bucket), None).query("versioning", "");
        let reply = ask::expect(200, self.ask(&ask, Vec::new()).await?)?;
        let answer: VersioningAnswer =
            instant_xml::from_str(&reply.text()).map_err(|error| error.to_string())?;
        match answer.status.as_deref() {
            None | Some("") => Ok(Versioning::Off),
            Some("Enabled") => Ok(Versioning::Enabled),
            Some("Suspended") => Ok(Versioning::Suspended),
            Some(other) => Err(format!("versioning is {other:?}")),
        }
    }

    /// Turns versioning of a bucket on, or suspends it: off it never is again.
    ///
    /// # Errors
    /// The store does not do it.
    pub async fn set_versioning(&self, bucket: &str, enabled: bool) -> Result<(), String> {
        let ask = Ask::new(Method::Put, Some(bucket), None).query("versioning", "");
        let status = if enabled { "Enabled" } else { "Suspended" };
        let body = format!(
            "<VersioningConfiguration xmlns=\"{XML}\"><Status>{status}</Status>\
             </VersioningConfiguration>"
        );
        ask::expect(200, self.ask(&ask, body.into_bytes()).await?).map(|_| ())
    }

    /// A page of the versions in a bucket, behind the page that ended with `after`.
    ///
    /// # Errors
    /// It gives no list.
    pub async fn versions(
        &self,
        bucket: &str,
        after: Option<&(String, String)>,
    ) -> Result<Page, String> {
        let mut ask = Ask::new(Method::Get, Some(bucket), None)
            .query("versions", "")
            .query("encoding-type", "url");
        if let Some((key, version)) = after {
            ask = ask.query("key-marker", key).query("version-id-marker", version);
        }
        let reply = ask::expect(200, self.ask(&ask, Vec::new()).await?)?;
        page(&reply.text())
    }

    /// Opens a version of an object; `None` if it is gone.
    ///
    /// # Errors
    /// The store does not give it.
    pub async fn open(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<Opened>, String> {
        let mut ask = Ask::new(Method::Get, Some(bucket), Some(key));
        if let Some(version) = version {
            ask = ask.query("versionId", version);
        }
        let answer = self.open_answer(&ask).await?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            status => return Err(status.to_string()),
        }
        let length = answer.content_length().ok_or("an object without a length")?;
        let mut headers = BTreeMap::new();
        for (name, value) in answer.headers() {
            let name = name.as_str();
            if KEPT.contains(&name) || name.starts_with(USER_METADATA) {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                headers.insert(name.to_owned(), value);
            }
        }
        Ok(Some(Opened { length, headers, body: ask::body(answer) }))
    }

    /// Puts an object of `length` bytes.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: BTreeMap<String, String>,
        length: u64,
        body: Body,
    ) -> Result<(), String> {
        let ask = Ask { headers, ..Ask::new(Method::Put, Some(bucket), Some(key)) };
        ask::expect(200, self.send(&ask, length, body).await?).map(|_| ())
    }

    /// Removes an object, or one version of it for good.
    ///
    /// # Errors
    /// The store does not do it.
    pub async fn delete(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<(), String> {
        let mut ask = Ask::new(Method::Delete, Some(bucket), Some(key));
        if let Some(version) = version {
            ask = ask.query("versionId", version);
        }
        let reply = self.ask(&ask, Vec::new()).await?;
        match reply.status {
            200 | 204 | 404 => Ok(()),
            _ => Err(describe(&reply)),
        }
    }
}

fn bucket_names(text: &str) -> Result<Vec<String>, String> {
    let list: BucketList = instant_xml::from_str(text).map_err(|error| error.to_string())?;
    let buckets = list.buckets.map(|buckets| buckets.bucket).unwrap_or_default();
    Ok(buckets.into_iter().map(|bucket| bucket.name).collect())
}

fn page(text: &str) -> Result<Page, String> {
    let list: VersionList = instant_xml::from_str(text).map_err(|error| error.to_string())?;
    let encoded = list.encoding.as_deref() == Some("url");
    let plain = |text: String| if encoded { decoded(&text) } else { Ok(text) };
    let mut versions = Vec::new();
    for entry in list.entries {
        let (key, id, deletion) = match entry {
            Entry::Version(Stored { key, id }) => (key, id, false),
            Entry::DeleteMarker(Deleted { key, id }) => (key, id, true),
        };
        versions.push(Version { key: plain(key)?, id, deletion });
    }
    let next = match (list.is_truncated.unwrap_or_default(), list.next_key) {
        (false, _) => None,
        (true, Some(key)) => Some((plain(key)?, list.next_version.unwrap_or_default())),
        (true, None) => return Err("a list that goes on and does not say where".to_owned()),
    };
    Ok(Page { versions, next })
}

/// As lists encode keys: like the fields of a form.
fn decoded(text: &str) -> Result<String, String> {
    let bytes = text.replace('+', " ").into_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            plain.push(*first);
            continue;
        }
        let digits = rest.split_at_checked(2).and_then(|(digits, tail)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, tail))
        });
        let (byte, tail) = digits.ok_or_else(|| format!("a key {text:?}"))?;
        plain.push(byte);
        rest = tail;
    }
    String::from_utf8(plain).map_err(|_| format!("a key {text:?}, which is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_read() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListAllMyBucketsResult \
            xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>02d6</ID><DisplayName>minio\
            </DisplayName></Owner><Buckets><Bucket><Name>artifacts</Name><CreationDate>\
            2026-11-22T02:00:00Z</CreationDate></Bucket><Bucket><Name>backups</Name></Bucket></Buckets>\
            </ListAllMyBucketsResult>";
        assert_eq!(bucket_names(text).unwrap(), ["artifacts", "backups"]);
        assert!(bucket_names("<html/>").is_err());
    }

    #[test]
    fn versions_keep_their_order() {
        let text = "<ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>a</Name><Prefix></Prefix><KeyMarker></KeyMarker><NextKeyMarker>b%2F1</NextKeyMarker>\
            <NextVersionIdMarker>v9</NextVersionIdMarker><MaxKeys>4</MaxKeys>\
            <IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
            <Version><Key>a+b%2Bc</Key><LastModified>2026-11-22T02:00:00Z</LastModified>\
            <ETag>&#34;d41d&#34;</ETag><Size>0</Size><Owner><ID>1</ID></Owner>\
            <VersionId>v3</VersionId><IsLatest>true</IsLatest></Version>\
            <DeleteMarker><Key>a+b%2Bc</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest>\
            </DeleteMarker>\
            <Version><Key>a+b%2Bc</Key><VersionId>v1</VersionId></Version></ListVersionsResult>";
        let version = |id: &str, deletion| Version { key: "a b+c".into(), id: id.into(), deletion };
        let versions = vec![version("v3", false), version("v2", true), version("v1", false)];
        let next = Some(("b/1".to_owned(), "v9".to_owned()));
        assert_eq!(page(text).unwrap(), Page { versions, next });
    }

    #[test]
    fn encoded_keys_are_decoded_or_refused() {
        assert_eq!(decoded("%C3%BC+%2B%00").unwrap(), "ü +\0");
        for bad in ["%", "%4", "%zz", "%FF"] {
            assert!(decoded(bad).is_err(), "{bad}");
        }
    }
}
