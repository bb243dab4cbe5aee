//! As much of S3 as the smoke check uses, signatures included, with one lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rusty_s3::actions::{
    CreateBucket, DeleteBucket, DeleteObject, GetObject, HeadBucket, HeadObject, ListObjectsV2,
    PutObject,
};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use sha2::{Digest, Sha256};

use crate::scripted::{Reply, Request, Scripted};

pub const KEY: &str = "pipe";
pub const SECRET: &str = "right-secret";
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// The one thing in which a store does not tell the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    None,
    OtherStore,
    NoStore,
    StrangerAtFirst,
    AcceptsAnySecret,
    AcceptsAnyKey,
    AcceptsNobody,
    ClosesInsteadOfRefusing,
    LacksABucket,
    MakesNoBucket,
    Corrupts,
    Shortens,
    Tears,
    ListsFewer,
    ListsOtherLengths,
    ListsStrangers,
    IgnoresChecksum,
    StoresWhatItRefuses,
    ShowsObjectsToAnybody,
    KeepsBucket,
    ForgetsOnRestart,
    Silent,
}

/// A store that runs until it is dropped.
pub struct LyingS3 {
    _server: Scripted,
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    lie: Lie,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    buckets: BTreeSet<String>,
    objects: BTreeMap<String, Vec<u8>>,
}

/// Who asks, as far as the signature shows.
enum Who {
    Owner,
    WrongSecret,
    Unknown,
    Nobody,
}

impl LyingS3 {
    /// A store in which `buckets` are there.
    pub async fn start(lie: Lie, buckets: &[&str]) -> LyingS3 {
        let shared = Arc::new(Shared { lie, store: Mutex::default() });
        let there = buckets.iter().skip(usize::from(lie == Lie::LacksABucket));
        shared.store.lock().unwrap().buckets.extend(there.map(|&bucket| bucket.to_owned()));
        let answering = Arc::clone(&shared);
        let (server, base) =
            Scripted::tcp(move |request, before| answering.answer(request, before)).await;
        let port = base.rsplit_once(':').unwrap().1.parse().unwrap();
        LyingS3 { _server: server, port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn restart(&self) {
        if self.shared.lie == Lie::ForgetsOnRestart {
            self.shared.store.lock().unwrap().objects.pop_first();
        }
    }

    /// Names of everything that was left.
    pub fn left(&self) -> Vec<String> {
        let store = self.shared.store.lock().unwrap();
        store.buckets.iter().chain(store.objects.keys()).cloned().collect()
    }
}

impl Shared {
    fn answer(&self, request: &Request, before: usize) -> Reply {
        let lie = self.lie;
        match lie {
            Lie::Silent => return Reply::Silence,
            Lie::NoStore => return Reply::new(200, "<html>hello</html>"),
            Lie::StrangerAtFirst if before < 2 => return Reply::new(403, "not from here"),
            _ => {}
        }
        let host = &request.headers["host"];
        let url = url(host, &request.target);
        let path = decoded(url.path().trim_start_matches('/'));
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let refusal = match self.who(request, &url, host, bucket, key) {
            Who::Owner => (lie == Lie::OtherStore).then_some("InvalidAccessKeyId"),
            Who::WrongSecret => (lie != Lie::AcceptsAnySecret).then_some("SignatureDoesNotMatch"),
            Who::Unknown => (lie != Lie::AcceptsAnyKey).then_some("InvalidAccessKeyId"),
            Who::Nobody => {
                let shown = lie == Lie::ShowsObjectsToAnybody && !key.is_empty();
                (lie != Lie::AcceptsNobody && !shown).then_some("AccessDenied")
            }
        };
        match refusal {
            Some(_) if lie == Lie::ClosesInsteadOfRefusing => Reply::Reset,
            Some(code) => error(403, code),
            None => self.obey(request, &url, bucket, key),
        }
    }

    fn obey(&self, request: &Request, url: &reqwest::Url, bucket: &str, key: &str) -> Reply {
        let lie = self.lie;
        let mut store = self.store.lock().unwrap();
        let there = store.buckets.contains(bucket);
        match (request.method.as_str(), key) {
            ("PUT", "") => {
                if lie != Lie::MakesNoBucket {
                    store.buckets.insert(bucket.to_owned());
                }
                Reply::new(200, "")
            }
            ("HEAD", "") => Reply::new(if there { 200 } else { 404 }, ""),
            (_, _) if !there => error(404, "NoSuchBucket"),
            ("DELETE", "") => {
                if !store.objects.is_empty() {
                    return error(409, "BucketNotEmpty");
                }
                if lie != Lie::KeepsBucket {
                    store.buckets.remove(bucket);
                }
                Reply::new(204, "")
            }
            ("GET", "") => list(lie, &store, &prefix(url)),
            ("PUT", _) => {
                let sum = STANDARD.encode(Sha256::digest(&request.body));
                let right = request.headers.get(CHECKSUM) == Some(&sum);
                if right || matches!(lie, Lie::IgnoresChecksum | Lie::StoresWhatItRefuses) {
                    store.objects.insert(key.to_owned(), request.body.clone());
                }
                match right || lie == Lie::IgnoresChecksum {
                    true => Reply::new(200, ""),
                    false => error(400, "XAmzContentChecksumMismatch"),
                }
            }
            ("HEAD", _) => Reply::new(if store.objects.contains_key(key) { 200 } else { 404 }, ""),
            ("GET", _) => match store.objects.get(key).cloned() {
                Some(content) => get(lie, content),
                None => error(404, "NoSuchKey"),
            },
            ("DELETE", _) => {
                store.objects.remove(key);
                Reply::new(204, "")
            }
            _ => error(405, "MethodNotAllowed"),
        }
    }

    /// Signs the same request with the right secret, and compares.
    fn who(
        &self,
        request: &Request,
        url: &reqwest::Url,
        host: &str,
        bucket: &str,
        key: &str,
    ) -> Who {
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let Some(signature) = query.get("X-Amz-Signature") else { return Who::Nobody };
        if !query["X-Amz-Credential"].starts_with(&format!("{KEY}/")) {
            return Who::Unknown;
        }
        let time = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", &query["X-Amz-Date"]).unwrap();
        let time = time.to_datetime().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        let expires = Duration::from_secs(query["X-Amz-Expires"].parse().unwrap());
        let endpoint = format!("http://{host}").parse().unwrap();
        let named =
            Bucket::new(endpoint, UrlStyle::Path, bucket.to_owned(), "us-east-1".to_owned());
        let named = named.unwrap();
        let owner = Credentials::new(KEY, SECRET);
        let prefix = prefix(url);
        let sign = |action: &dyn Fn(&Timestamp) -> reqwest::Url| action(&time.timestamp());
        let some = Some(&owner);
        let wanted = sign(&|time| match (request.method.as_str(), key) {
            ("PUT", "") => CreateBucket::new(&named, &owner).sign_with_time(expires, time),
            ("HEAD", "") => HeadBucket::new(&named, some).sign_with_time(expires, time),
            ("DELETE", "") => DeleteBucket::new(&named, &owner).sign_with_time(expires, time),
            (_, "") => {
                let mut list = ListObjectsV2::new(&named, some);
                list.with_prefix(prefix.as_str());
                list.sign_with_time(expires, time)
            }
            ("PUT", key) => {
                let mut put = PutObject::new(&named, some, key);
                put.headers_mut().insert(CHECKSUM, request.headers[CHECKSUM].as_str());
                put.sign_with_time(expires, time)
            }
            ("HEAD", key) => HeadObject::new(&named, some, key).sign_with_time(expires, time),
            ("DELETE", key) => DeleteObject::new(&named, some, key).sign_with_time(expires, time),
            (_, key) => GetObject::new(&named, some, key).sign_with_time(expires, time),
        });
        let wanted = wanted.query_pairs().find(|(name, _)| name == "X-Amz-Signature").unwrap().1;
        match wanted == signature.as_str() {
            true => Who::Owner,
            false => Who::WrongSecret,
        }
    }
}

fn get(lie: Lie, mut content: Vec<u8>) -> Reply {
    match lie {
        Lie::Corrupts if content.len() > 500 => content[500] ^= 1,
        Lie::Shortens if content.len() > 500 => content.truncate(500),
        Lie::Tears => return Reply::Torn(content),
        _ => {}
    }
    Reply::new(200, content)
}

fn list(lie: Lie, store: &Store, prefix: &str) -> Reply {
    let strangers = BTreeMap::from([("first/strange".to_owned(), vec![0])]);
    let mut objects = store.objects.clone();
    if lie == Lie::ListsStrangers {
        objects.extend(strangers);
    }
    let found: Vec<_> = objects.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
    let shown = found.len() - usize::from(lie == Lie::ListsFewer);
    let contents: String = found[..shown]
        .iter()
        .map(|(key, content)| {
            let size = content.len() + usize::from(lie == Lie::ListsOtherLengths);
            let key = key.replace('+', "%2B").replace(' ', "+");
            format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>")
        })
        .collect();
    let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
    Reply::new(
        200,
        format!(
            "<ListBucketResult xmlns=\"{namespace}\"><EncodingType>url</EncodingType>\
             <IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        ),
    )
}

fn error(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<Error><Code>{code}</Code></Error>"))
}

fn url(host: &str, target: &str) -> reqwest::Url {
    format!("http://{host}{target}").parse().unwrap()
}

fn prefix(url: &reqwest::Url) -> String {
    let pair = url.query_pairs().find(|(name, _)| name == "prefix");
    pair.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Percent signs undone; a plus sign in a path is a plus sign.
fn decoded(path: &str) -> String {
    let query = format!("http://x/?p={}", path.replace('+', "%2B"));
    let url: reqwest::Url = query.parse().unwrap();
    url.query_pairs().next().unwrap().1.into_owned()
}
