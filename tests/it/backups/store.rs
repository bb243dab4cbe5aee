//! An S3 store in memory, with versions and uploads in parts, that can fail in one way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::scripted::{Reply, Request, Scripted};

pub const KEY: &str = "pipe";
pub const SECRET: &str = "right-secret";

/// In what a store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection breaks in the middle of this key's content.
    Breaks(&'static str),
    /// Nothing more is taken.
    Full,
    /// Objects of this content are refused.
    Refuses(&'static [u8]),
    /// A list ends early, and says that it goes on.
    HalfAList,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub id: String,
    /// None marks a deletion.
    pub content: Option<Vec<u8>>,
    pub headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    pub versioning: Option<bool>,
    /// Of each key, the newest last.
    pub objects: BTreeMap<String, Vec<Object>>,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    next: u32,
}

/// A store that runs until it is dropped.
pub struct Store {
    server: Scripted,
    port: u16,
    state: Arc<Mutex<State>>,
    fault: Arc<Mutex<Fault>>,
}

impl Store {
    pub async fn start() -> Store {
        let state: Arc<Mutex<State>> = Arc::default();
        let fault = Arc::new(Mutex::new(Fault::None));
        let (answering, failing) = (Arc::clone(&state), Arc::clone(&fault));
        let (server, base) = Scripted::tcp(move |request, _| {
            let fault = *failing.lock().unwrap();
            answer(&mut answering.lock().unwrap(), fault, request)
        })
        .await;
        let port = base.rsplit_once(':').unwrap().1.parse().unwrap();
        Store { server, port, state, fault }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn fails(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub fn bucket(&self, name: &str, versioning: Option<bool>) {
        let bucket = Bucket { versioning, ..Bucket::default() };
        self.state.lock().unwrap().buckets.insert(name.to_owned(), bucket);
    }

    /// Puts what a user would.
    pub fn put(&self, bucket: &str, key: &str, content: Option<&[u8]>, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        store(&mut self.state.lock().unwrap(), bucket, key, content.map(<[u8]>::to_vec), headers);
    }

    pub fn clear(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// Everything, without the ids, which a store chooses.
    pub fn contents(&self) -> BTreeMap<String, Bucket> {
        let mut buckets = self.state.lock().unwrap().buckets.clone();
        for object in buckets.values_mut().flat_map(|b| b.objects.values_mut()).flatten() {
            object.id.clear();
        }
        buckets
    }

    /// Uploads in parts that were begun and neither ended nor dropped.
    pub fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// Requests that changed something.
    pub fn changes(&self) -> usize {
        self.server.requests().iter().filter(|r| !matches!(&*r.method, "GET" | "HEAD")).count()
    }
}

fn store(
    state: &mut State,
    bucket: &str,
    key: &str,
    content: Option<Vec<u8>>,
    headers: BTreeMap<String, String>,
) {
    state.next += 1;
    let id = state.next;
    let bucket = state.buckets.get_mut(bucket).unwrap();
    let versions = bucket.objects.entry(key.to_owned()).or_default();
    match bucket.versioning {
        Some(true) => versions.push(Object { id: format!("v{id}"), content, headers }),
        _ => {
            versions.retain(|object| object.id != "null");
            if content.is_some() || bucket.versioning.is_some() {
                versions.push(Object { id: "null".into(), content, headers });
            }
        }
    }
    bucket.objects.retain(|_, versions| !versions.is_empty());
}

fn answer(state: &mut State, fault: Fault, request: &Request) -> Reply {
    let host = &request.headers["host"];
    let url: reqwest::Url = format!("http://{host}{}", request.target).parse().unwrap();
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    if !is_signed(request, &url, &query) {
        return refuse(403, "SignatureDoesNotMatch");
    }
    let path = decoded(url.path().trim_start_matches('/'));
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let method = request.method.as_str();
    if fault == Fault::Full && matches!(method, "PUT" | "POST") {
        return refuse(507, "XMinioStorageFull");
    }
    if bucket.is_empty() {
        let names: String = state
            .buckets
            .keys()
            .map(|name| format!("<Bucket><Name>{name}</Name></Bucket>"))
            .collect();
        return xml("ListAllMyBucketsResult", &format!("<Buckets>{names}</Buckets>"))
            .header("Server", "Scripted");
    }
    if !state.buckets.contains_key(bucket) && (method, key) != ("PUT", "") {
        return refuse(404, "NoSuchBucket");
    }
    match (method, key) {
        ("PUT", "") if query.contains_key("versioning") => {
            let enabled = String::from_utf8_lossy(&request.body).contains("Enabled");
            state.buckets.get_mut(bucket).unwrap().versioning = Some(enabled);
            Reply::new(200, "")
        }
        ("PUT", "") => {
            state.buckets.entry(bucket.to_owned()).or_default();
            Reply::new(200, "")
        }
        ("HEAD", "") => Reply::new(200, ""),
        ("GET", "") if query.contains_key("versioning") => {
            let status = match state.buckets[bucket].versioning {
                None => "",
                Some(true) => "<Status>Enabled</Status>",
                Some(false) => "<Status>Suspended</Status>",
            };
            xml("VersioningConfiguration", status)
        }
        ("GET", "") if query.contains_key("versions") => {
            versions(&state.buckets[bucket], fault, &query)
        }
        ("GET", "") => list(&state.buckets[bucket], &query["prefix"]),
        ("PUT", key) if query.contains_key("uploadId") => {
            let number = query["partNumber"].parse().unwrap();
            let parts = state.uploads.get_mut(&query["uploadId"]).expect(key);
            parts.insert(number, request.body.clone());
            Reply::new(200, "").header("ETag", &format!("\"tag{number}\""))
        }
        ("PUT", _) if matches!(fault, Fault::Refuses(content) if content == request.body) => {
            refuse(400, "InvalidRequest")
        }
        ("PUT", key) => {
            let kept = |name: &String| name.starts_with("x-amz-meta-") || *name == "content-type";
            let headers = request.headers.clone().into_iter().filter(|(name, _)| kept(name));
            store(state, bucket, key, Some(request.body.clone()), headers.collect());
            Reply::new(200, "")
        }
        ("POST", _) if query.contains_key("uploads") => {
            state.next += 1;
            let id = format!("u{}", state.next);
            state.uploads.insert(id.clone(), BTreeMap::new());
            xml("InitiateMultipartUploadResult", &format!("<UploadId>{id}</UploadId>"))
        }
        ("POST", key) => {
            let parts = state.uploads.remove(&query["uploadId"]).expect(key);
            let content = parts.into_values().flatten().collect();
            store(state, bucket, key, Some(content), BTreeMap::new());
            xml("CompleteMultipartUploadResult", "<ETag>x</ETag>")
        }
        ("DELETE", key) => {
            if let Some(upload) = query.get("uploadId") {
                state.uploads.remove(upload);
            } else if let Some(id) = query.get("versionId") {
                let objects = &mut state.buckets.get_mut(bucket).unwrap().objects;
                if let Some(versions) = objects.get_mut(key) {
                    versions.retain(|object| object.id != *id);
                }
                objects.retain(|_, versions| !versions.is_empty());
            } else {
                store(state, bucket, key, None, BTreeMap::new());
            }
            Reply::new(204, "")
        }
        ("GET", key) => get(&state.buckets[bucket], key, query.get("versionId"), fault),
        other => panic!("{other:?}"),
    }
}

fn get(bucket: &Bucket, key: &str, id: Option<&String>, fault: Fault) -> Reply {
    let versions = bucket.objects.get(key).map(Vec::as_slice).unwrap_or_default();
    let wanted = |object: &&Object| id.is_none_or(|id| object.id == *id);
    let Some(object) = versions.iter().rev().find(wanted) else { return refuse(404, "NoSuchKey") };
    let Some(content) = &object.content else { return refuse(404, "NoSuchKey") };
    if fault == Fault::Breaks(leak(key)) {
        return Reply::Torn(content.clone());
    }
    let reply = Reply::new(200, content.clone());
    object.headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
}

/// For a comparison only.
fn leak(key: &str) -> &'static str {
    Box::leak(key.to_owned().into_boxed_str())
}

/// Two entries a page, so that lists of any length go on.
fn versions(bucket: &Bucket, fault: Fault, query: &BTreeMap<String, String>) -> Reply {
    let all: Vec<(&String, &Object)> = bucket
        .objects
        .iter()
        .flat_map(|(key, versions)| versions.iter().rev().map(move |object| (key, object)))
        .collect();
    let after = query.get("key-marker").map(|key| (key, &query["version-id-marker"]));
    let from = after.map_or(0, |(key, id)| {
        all.iter().position(|(k, object)| *k == key && object.id == *id).map_or(0, |at| at + 1)
    });
    let page = &all[from..all.len().min(from + 2)];
    let mut text = String::from("<EncodingType>url</EncodingType>");
    if from + page.len() < all.len() {
        let (key, object) = page.last().unwrap();
        let (key, id) = (encoded(key), &object.id);
        text += "<IsTruncated>true</IsTruncated>";
        if fault != Fault::HalfAList {
            let _ = write!(text, "<NextKeyMarker>{key}</NextKeyMarker>");
            let _ = write!(text, "<NextVersionIdMarker>{id}</NextVersionIdMarker>");
        }
    } else {
        text += "<IsTruncated>false</IsTruncated>";
    }
    for (key, object) in page {
        let tag = if object.content.is_some() { "Version" } else { "DeleteMarker" };
        let (key, id) = (encoded(key), &object.id);
        let _ = write!(text, "<{tag}><Key>{key}</Key><VersionId>{id}</VersionId></{tag}>");
    }
    xml("ListVersionsResult", &text)
}

fn list(bucket: &Bucket, prefix: &str) -> Reply {
    let mut text = String::from("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>");
    for (key, versions) in bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let Some(content) = versions.last().and_then(|object| object.content.as_ref()) else {
            continue;
        };
        let (key, size) = (encoded(key), content.len());
        let _ = write!(text, "<Contents><Key>{key}</Key><Size>{size}</Size></Contents>");
    }
    xml("ListBucketResult", &text)
}

/// Signs the same request with the right secret, and compares.
fn is_signed(request: &Request, url: &reqwest::Url, query: &BTreeMap<String, String>) -> bool {
    let Some(signature) = query.get("X-Amz-Signature") else { return false };
    let time = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", &query["X-Amz-Date"]).unwrap();
    let time = time.to_datetime().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    let time: Timestamp = time.timestamp();
    let mut bare = url.clone();
    bare.set_query(None);
    let own: BTreeMap<&str, &str> = query
        .iter()
        .filter(|(name, _)| !name.starts_with("X-Amz-"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let names = query["X-Amz-SignedHeaders"].split(';').filter(|name| *name != "host");
    let headers: BTreeMap<&str, &str> =
        names.map(|name| (name, request.headers[name].as_str())).collect();
    let method = match request.method.as_str() {
        "GET" => rusty_s3::Method::Get,
        "HEAD" => rusty_s3::Method::Head,
        "PUT" => rusty_s3::Method::Put,
        "POST" => rusty_s3::Method::Post,
        _ => rusty_s3::Method::Delete,
    };
    let signed = rusty_s3::signing::sign(
        &time,
        method,
        bare,
        KEY,
        SECRET,
        None,
        "us-east-1",
        query["X-Amz-Expires"].parse().unwrap(),
        own.iter().map(|(name, value)| (*name, *value)),
        headers.iter().map(|(name, value)| (*name, *value)),
    );
    let wanted = signed.query_pairs().find(|(name, _)| name == "X-Amz-Signature").unwrap().1;
    wanted == signature.as_str()
}

fn xml(name: &str, inside: &str) -> Reply {
    let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
    Reply::new(200, format!("<{name} xmlns=\"{namespace}\">{inside}</{name}>"))
}

fn refuse(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<Error><Code>{code}</Code></Error>"))
}

fn encoded(key: &str) -> String {
    let mut text = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => text.push(byte.into()),
            b' ' => text.push('+'),
            other => {
                let _ = write!(text, "%{other:02X}");
            }
        }
    }
    text
}

/// Percent signs undone; a plus sign in a path is a plus sign.
fn decoded(path: &str) -> String {
    let query = format!("http://x/?p={}", path.replace('+', "%2B"));
    let url: reqwest::Url = query.parse().unwrap();
    url.query_pairs().next().unwrap().1.into_owned()
}
