//! Logging in, as a registry asks for it: `Basic`, or a token from the address that it names
//! (distribution specification, "Token authentication").

use http_auth::ChallengeRef;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;

use super::Inner;
use crate::world::http;
use crate::{Error, Result};

/// The kind of token that a stored one is traded for.
const CLIENT: &str = "pipe";

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// What this scope's last login gave.
pub(super) fn carry(registry: &Inner, scope: &str, request: RequestBuilder) -> RequestBuilder {
    let tokens = registry.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match tokens.get(scope) {
        Some(header) => request.header(reqwest::header::AUTHORIZATION, header),
        None => request,
    }
}

/// Does what the registry asks for; the next [`carry`] has it.
///
/// # Errors
/// It asks for what we do not have or cannot do, or its token service fails.
pub(super) async fn log_in(registry: &Inner, scope: &str, headers: &HeaderMap) -> Result<()> {
    let denied = |why: String| {
        Error::failed("registry-denied", format!("the registry {} wants a login", registry.name))
            .because(why)
            .hint(format!("podman login {}", registry.name))
    };
    let challenges: Vec<String> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| Some(value.to_str().ok()?.to_owned()))
        .collect();
    let mut asked = Vec::new();
    for text in &challenges {
        let parsed = http_auth::parse_challenges(text)
            .map_err(|error| denied(format!("it asks in a way that cannot be read: {error}")))?;
        for challenge in parsed {
            asked.push(challenge.scheme.to_owned());
            let header = if challenge.scheme.eq_ignore_ascii_case("bearer") {
                bearer(registry, scope, &challenge).await?
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                let Some(login) = registry.login.as_ref().filter(|it| it.token.is_none()) else {
                    return Err(denied("there is no login for it".to_owned()));
                };
                basic(&login.user, &login.password)
            } else {
                continue;
            };
            let mut tokens =
                registry.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tokens.insert(scope.to_owned(), header);
            return Ok(());
        }
    }
    Err(denied(format!("it knows only these ways: {}", asked.join(", "))))
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}")))
}

async fn bearer(registry: &Inner, scope: &str, challenge: &ChallengeRef<'_>) -> Result<String> {
    let failed = |why: String| {
        let what = format!("the registry {} gave no token", registry.name);
        Error::failed("registry-token", what).because(why)
    };
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = parameter("realm").ok_or_else(|| failed("it names no address".to_owned()))?;
    let mut url = Url::parse(&realm).map_err(|error| failed(error.to_string()))?;
    // What it asks for is what it will accept; ours only where it does not say.
    let scope = parameter("scope").unwrap_or_else(|| scope.to_owned());
    let service = parameter("service");
    let login = registry.login.as_ref();
    let request = if let Some(refresh) = login.and_then(|login| login.token.as_deref()) {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh),
            ("client_id", CLIENT),
            ("scope", &scope),
        ];
        form.extend(service.as_deref().map(|service| ("service", service)));
        let mut body = Url::parse("http://form/").map_err(|error| failed(error.to_string()))?;
        body.query_pairs_mut().extend_pairs(form);
        let body = body.query().unwrap_or_default().to_owned();
        let kind = "application/x-www-form-urlencoded";
        registry.client.post(url).header(reqwest::header::CONTENT_TYPE, kind).body(body)
    } else {
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("scope", &scope);
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
        }
        let request = registry.client.get(url);
        match login {
            Some(login) => {
                request.header(reqwest::header::AUTHORIZATION, basic(&login.user, &login.password))
            }
            None => request,
        }
    };
    let answer = http::answer(request).await.map_err(failed)?;
    if answer.status != 200 {
        // Its text may repeat what it was sent: only the status is told.
        let error = failed(format!("its token service answers {}", answer.status));
        return Err(error.hint(format!("is the login right? podman login {}", registry.name)));
    }
    let token: Token =
        serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))?;
    let token = if token.token.is_empty() { token.access_token } else { token.token };
    if token.is_empty() {
        Err(failed("its answer holds none".to_owned()))
    } else {
        Ok(format!("Bearer {token}"))
    }
}
