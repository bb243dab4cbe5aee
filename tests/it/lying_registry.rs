//! Registries that break off, change bytes, are busy or want a login, on real sockets.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use pipe::Result;
use pipe::trust::attached::sha256;
use pipe::world::registry::{Registry, Repository};
use pipe::world::registry_login::Login;

use crate::scripted::{Reply, Request, Scripted};

/// As long as [`Reply::Torn`] claims of ten bytes.
const BLOB: &[u8] = b"one hundred and ten bytes that are what they are called by: \
the digest of them all, and of none but these.....";

fn repository(base: &str, login: Option<Login>) -> Repository {
    let address = base.trim_start_matches("http://");
    Registry::own(address, login).unwrap().repository("library/app")
}

async fn download(base: &str) -> Result<Vec<u8>> {
    repository(base, None).blob(&sha256(BLOB), BLOB.len() as u64).await
}

fn range(request: &Request) -> Option<usize> {
    let range = request.headers.get("range")?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_ended() {
    let (server, base) = Scripted::tcp(|request, before| match range(request) {
        None => Reply::Torn(BLOB[..10].to_vec()),
        Some(from) if before == 1 => {
            assert_eq!(from, 10);
            Reply::Reset
        }
        Some(from) => Reply::new(206, &BLOB[from..])
            .header("content-range", &format!("bytes {from}-{}/{}", BLOB.len() - 1, BLOB.len())),
    })
    .await;
    assert_eq!(download(&base).await.unwrap(), BLOB);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_registry_that_cannot_go_on_in_the_middle_begins_again() {
    let (_server, base) = Scripted::tcp(|request, _| match range(request) {
        None => Reply::Torn(BLOB[..10].to_vec()),
        Some(_) => Reply::new(200, BLOB),
    })
    .await;
    assert_eq!(download(&base).await.unwrap(), BLOB);
}

#[tokio::test]
async fn a_registry_that_breaks_off_for_ever_is_given_up() {
    let (server, base) = Scripted::tcp(|_, _| Reply::Torn(BLOB[..10].to_vec())).await;
    let error = download(&base).await.unwrap_err();
    assert!(error.to_string().contains("library/app"), "{error:?}");
    assert!(server.requests().len() < 10);
}

#[tokio::test]
async fn other_bytes_than_the_digest_names_are_refused() {
    for (lie, says) in [
        (BLOB.to_ascii_uppercase(), "and not sha256:"),
        ([BLOB, b"more"].concat(), "bytes, and not 110"),
        (BLOB[..20].to_vec(), "20 bytes"),
    ] {
        let (_server, base) = Scripted::tcp(move |_, _| Reply::new(200, lie.clone())).await;
        let error = download(&base).await.unwrap_err();
        assert_eq!(error.code, "digest-mismatch", "{error:?}");
        assert!(error.to_string().contains(says), "{says} is not in {error:?}");
    }
    let (_server, base) = Scripted::tcp(|_, _| {
        Reply::new(200, "{}").header("content-type", "application/vnd.oci.image.manifest.v1+json")
    })
    .await;
    let error = repository(&base, None).manifest(&sha256(BLOB)).await.unwrap_err();
    assert_eq!(error.code, "digest-mismatch", "{error:?}");
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_a_dead_one_named() {
    let (server, base) = Scripted::tcp(|_, before| match before {
        0 => Reply::new(429, "").header("retry-after", "0"),
        1 => Reply::new(503, ""),
        2 => Reply::Reset,
        _ => Reply::new(200, BLOB),
    })
    .await;
    assert_eq!(download(&base).await.unwrap(), BLOB);
    assert_eq!(server.requests().len(), 4);

    let (_server, base) = Scripted::tcp(|_, _| {
        Reply::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#)
            .header("retry-after", "0")
    })
    .await;
    let error = download(&base).await.unwrap_err();
    assert_eq!(error.code, "registry-limit");
    assert!(error.to_string().contains("pull rate limit"), "{error:?}");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = download(&format!("http://127.0.0.1:{port}")).await.unwrap_err();
    assert_eq!((error.code, error.kind.exit_code()), ("registry-unreachable", 4), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error:?}");
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says_and_used_again() {
    static FETCHED: AtomicUsize = AtomicUsize::new(0);
    let (tokens, realm) = Scripted::tcp(|request, _| {
        FETCHED.fetch_add(1, Ordering::Relaxed);
        assert!(request.target.contains("scope=repository%3Alibrary%2Fapp%3Apull"), "{request:?}");
        assert!(request.target.contains("service=registry.example"), "{request:?}");
        let login = base64::prelude::BASE64_STANDARD.encode("somebody:secret");
        assert_eq!(request.headers["authorization"], format!("Basic {login}"));
        Reply::new(200, r#"{"access_token": "opaque"}"#)
    })
    .await;
    let (_server, base) = Scripted::tcp(move |request, _| {
        if request.headers.get("authorization").is_some_and(|it| it == "Bearer opaque") {
            return Reply::new(200, BLOB);
        }
        let challenge = format!(
            "Bearer realm=\"{realm}/token\",service=\"registry.example\",scope=\"repository:library/app:pull\""
        );
        Reply::new(401, "").header("www-authenticate", &challenge)
    })
    .await;
    let login = Login { user: "somebody".into(), password: "secret".into(), token: None };
    let repository = repository(&base, Some(login));
    for _ in 0..2 {
        repository.blob(&sha256(BLOB), BLOB.len() as u64).await.unwrap();
    }
    assert_eq!((FETCHED.load(Ordering::Relaxed), tokens.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_wrong_login_is_said_without_its_secret() {
    let (_server, base) = Scripted::tcp(|_, _| {
        Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"#)
            .header("www-authenticate", "Basic realm=\"here\"")
    })
    .await;
    let without = repository(&base, None).manifest("1").await.unwrap_err();
    assert_eq!(without.code, "registry-denied");
    assert!(without.hints[0].starts_with("podman login 127.0.0.1"), "{without:?}");
    let login = Login { user: "somebody".into(), password: "hunter2".into(), token: None };
    let wrong = repository(&base, Some(login)).manifest("1").await.unwrap_err();
    assert_eq!(wrong.code, "registry-denied");
    assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
}

/// Our login goes to the registry only, whatever it says.
#[tokio::test]
async fn an_upload_is_not_sent_elsewhere() {
    let (elsewhere, other) = Scripted::tcp(|_, _| Reply::new(202, "")).await;
    let other = other.replace("127.0.0.1", "localhost");
    let (_server, base) = Scripted::tcp(move |request, _| match request.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        _ => Reply::new(202, "").header("location", &format!("{other}/upload")),
    })
    .await;
    let error = repository(&base, None).put_blob(&sha256(BLOB), BLOB).await.unwrap_err();
    assert!(error.to_string().contains("another host"), "{error:?}");
    assert!(elsewhere.requests().is_empty());
}
