//! Proxies, private authorities, mirrors and logins, on real sockets.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use pipe::run::images::fetch;
use pipe::spec::ImageName;
use pipe::spec::name::url::{MirrorUrl, ProxyUrl};
use pipe::world::engine::Engine;
use pipe::world::env::Env;
use pipe::world::http;
use pipe::world::surroundings::{Proxies, Proxy, Surroundings};

use crate::env::TestEnv;
use crate::scripted::{Reply, Scripted};

/// What a request with these settings came to: the body, or why there is none.
async fn get(env: &Env, url: &str) -> Result<String, String> {
    let answer = http::client(env).unwrap().get(url).send().await;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    answer.text().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn requests_go_through_the_proxy_but_for_loopback_and_exceptions() {
    let (proxy, address) = Scripted::tcp(|request, _| match request.method.as_str() {
        "CONNECT" => Reply::new(403, "no"),
        _ => Reply::new(200, "by proxy"),
    })
    .await;
    let (direct, base) = Scripted::tcp(|_, _| Reply::new(200, "directly")).await;
    let address = address.replace("http://", "http://ada:s3cret@");
    let url = Some(ProxyUrl::parse(&address).unwrap());
    let except = vec![".direct.invalid".to_owned()];
    let proxies = Proxies { http: url.clone(), https: url, except };
    let mut env = Env::from([]);
    Surroundings { proxy: Proxy::Use(proxies), ..Surroundings::default() }.hand_to(&mut env);

    assert_eq!(get(&env, "http://tools.invalid/helm").await.unwrap(), "by proxy");
    assert_eq!(get(&env, &base).await.unwrap(), "directly");
    assert!(get(&env, "http://a.direct.invalid/").await.is_err(), "nobody has that name");
    get(&env, "https://tools.invalid/helm").await.unwrap_err();
    let seen = proxy.requests();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0].target, "http://tools.invalid/helm");
    assert_eq!(
        (seen[1].method.as_str(), seen[1].target.as_str()),
        ("CONNECT", "tools.invalid:443")
    );
    for request in &seen {
        let login = request.headers.get("proxy-authorization").unwrap();
        assert_eq!(login, "Basic YWRhOnMzY3JldA==");
    }
    assert_eq!(direct.requests().len(), 1);
    // Programs that are started get the same.
    assert_eq!(env.get("HTTPS_PROXY"), env.get("https_proxy"));
    assert_eq!(env.get("NO_PROXY"), Some(".direct.invalid"));
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_the_user_says_so() {
    http::install_crypto();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = own.signed_by(&key, &issuer).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let (_server, base) = Scripted::tls(config, |_, _| Reply::new(200, "trusted")).await;

    let mut env = Env::from([]);
    let refused = get(&env, &base).await.unwrap_err();
    assert!(refused.to_lowercase().contains("issuer"), "{refused}");
    env.surroundings.authorities = vec![authority.pem()];
    assert_eq!(get(&env, &base).await.unwrap(), "trusted");
}

#[tokio::test]
async fn mirrors_are_asked_in_order_each_with_its_own_login() {
    let folder = tempfile::tempdir().unwrap();
    let auth = |login: &str| base64::prelude::BASE64_STANDARD.encode(login);
    let logins = serde_json::json!({"auths": {
        "m.invalid/hub": {"auth": auth("mirror:m~~~???")},
        "docker.io": {"auth": auth("hub:h")},
    }});
    let file = folder.path().join("auth.json");
    std::fs::write(&file, logins.to_string()).unwrap();
    let mut env = Env::from([("REGISTRY_AUTH_FILE", file.to_str().unwrap())]);
    let mirrors = ["http://10.0.0.5:5000", "https://m.invalid/hub"];
    let mirrors = mirrors.map(|text| MirrorUrl::parse(text).unwrap()).to_vec();
    env.surroundings.mirrors.insert("docker.io".to_owned(), mirrors);

    let (server, socket) = Scripted::unix(folder.path(), |request, _| {
        if request.target.contains("10.0.0.5") {
            return Reply::new(200, "{\"stream\":\"Trying\"}\n{\"error\":\"no route, m~~~???\"}\n");
        }
        let code = if request.target.contains("/tag?") { 201 } else { 200 };
        Reply::new(code, if code == 201 { "" } else { "{\"status\":\"done\"}\n" })
    });
    let engine = Engine::connect(&socket).unwrap();
    let image = ImageName::parse("docker.io/library/nats:2").unwrap();
    fetch(&engine, &env, &image, |_| {}).await.unwrap();
    let seen = server.requests();
    let lines: Vec<String> = seen.iter().map(|r| format!("{} {}", r.method, r.target)).collect();
    insta::assert_snapshot!(lines.join("\n"));
    let login = |index: usize| {
        let header = seen[index].headers.get("x-registry-auth")?;
        Some(String::from_utf8(BASE64_URL_SAFE.decode(header).unwrap()).unwrap())
    };
    assert_eq!(login(0), None, "the first mirror has none");
    assert_eq!(login(1).unwrap(), r#"{"password":"m~~~???","username":"mirror"}"#);
}

#[tokio::test]
async fn where_every_mirror_fails_the_registry_is_asked_and_all_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut env = Env::from([("HOME", folder.path().to_str().unwrap())]);
    let mirror = MirrorUrl::parse("m.invalid/hub").unwrap();
    env.surroundings.mirrors.insert("docker.io".to_owned(), vec![mirror]);
    let (server, socket) = Scripted::unix(folder.path(), |request, _| {
        let who = if request.target.contains("m.invalid") { "mirror" } else { "hub" };
        Reply::new(200, format!("{{\"error\":\"the {who} is closed\"}}\n"))
    });
    let engine = Engine::connect(&socket).unwrap();
    let image = ImageName::parse("docker.io/library/nats:2").unwrap();
    let error = fetch(&engine, &env, &image, |_| {}).await.unwrap_err();
    assert_eq!(server.requests().len(), 2);
    let text = error.to_string();
    assert!(text.contains("the hub is closed") && text.contains("mirror m.invalid"), "{text}");
}

#[test]
fn a_broken_config_file_is_exit_3_before_anything_is_done() {
    let env = TestEnv::new();
    env.fake("podman", "exit 99");
    let text = "apiVersion: pipe.dev/v1alpha1\nkind: Config\n\
                proxy: {htp: x}\nmirrors: {docker.io: ['ftp://x']}\n";
    env.write("../home/.config/pipe/config.yaml", text);
    let stderr = env.pipe(["up", "dev"]).code(3).stderr().to_owned();
    assert!(stderr.contains("htp") && stderr.contains("ftp"), "{stderr}");
    assert!(env.calls().is_empty(), "podman was called: {:?}", env.calls());
    // Removing needs no registry.
    let said = env.pipe(["init", "mine"]).success().both();
    assert!(said.contains("config.yaml"), "{said}");
}
