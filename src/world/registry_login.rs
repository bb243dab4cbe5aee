//! Logins of registries, where `podman login` and `docker login` leave them.
//!
//! The engine reads such files itself, but those of whoever started its service, not the caller's.
//! So the caller's are sent along with each pull. Files in Podman's order; in each, the entry with
//! the longest path that leads to the image (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::env::Env;
use super::process::Program;

/// What Docker calls its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// For a credential helper.
const HELPER: Duration = Duration::from_secs(20);

/// A login; printing it hides everything but the user.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User.
    pub user: String,
    /// Password; empty with a token.
    pub password: String,
    /// An identity token in place of both.
    pub token: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login of {}", self.user)
    }
}

impl Login {
    /// The value of `X-Registry-Auth`. Podman takes the URL-safe alphabet only.
    pub fn header(&self) -> String {
        let document = match &self.token {
            Some(token) => serde_json::json!({ "identitytoken": token }),
            None => serde_json::json!({ "username": self.user, "password": self.password }),
        };
        BASE64_URL_SAFE.encode(document.to_string())
    }

    /// What must not be printed.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [Some(self.password.as_str()), self.token.as_deref()].into_iter().flatten()
    }
}

/// One file of logins.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// The login for the image `name` (registry and repository, with or without tag), or why what is
/// configured cannot be used.
pub async fn find(env: &Env, name: &str) -> Result<Option<Login>, String> {
    let repository = name.split('@').next().unwrap_or(name);
    let repository = match repository.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => repository,
    };
    for path in files(env) {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let broken = |why: &dyn fmt::Display| format!("{} cannot be used: {why}", path.display());
        let file: File = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
        for key in keys(repository) {
            let entry = file.auths.iter().find(|(found, _)| normal(found) == key);
            let helper = file.cred_helpers.iter().find(|(found, _)| normal(found) == key);
            // A store that keeps the secrets leaves an empty entry behind for each of them.
            let store = entry.is_some().then_some(file.creds_store.as_ref()).flatten();
            if let Some(helper) = helper.map(|(_, helper)| helper).or(store) {
                if let Some(login) = ask(env, helper, &key).await.map_err(|why| broken(&why))? {
                    return Ok(Some(login));
                }
            } else if let Some((_, entry)) = entry {
                match login(entry) {
                    Ok(None) => {}
                    found => return found.map_err(|why| broken(&why)),
                }
            }
        }
    }
    Ok(None)
}

/// Where logins may be; the first that has one counts.
fn files(env: &Env) -> Vec<PathBuf> {
    if let Some(only) = env.get("REGISTRY_AUTH_FILE") {
        return vec![PathBuf::from(only)];
    }
    let runtime = match env.get("XDG_RUNTIME_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(format!("/run/containers/{}", env.uid)),
    };
    let runtime = match env.get("XDG_RUNTIME_DIR") {
        Some(_) => runtime.join("containers/auth.json"),
        None => runtime.join("auth.json"),
    };
    let home = env.get("HOME").map(Path::new);
    let config = env.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| home.map(|home| home.join(".config")));
    let docker = env.get("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| home.map(|home| home.join(".docker")));
    let config = config.map(|folder| folder.join("containers/auth.json"));
    let docker = docker.map(|folder| folder.join("config.json"));
    [Some(runtime), config, docker].into_iter().flatten().collect()
}

/// `quay.io/team/app`, `quay.io/team`, `quay.io`.
fn keys(repository: &str) -> Vec<String> {
    let mut keys = vec![repository.to_owned()];
    let mut rest = repository;
    while let Some((before, _)) = rest.rsplit_once('/') {
        keys.push(before.to_owned());
        rest = before;
    }
    keys
}

/// A key as both tools write it: Docker's have a scheme and an API's version.
fn normal(key: &str) -> String {
    let (scheme, bare) = match key.split_once("://") {
        Some((_, bare)) => (true, bare),
        None => (false, key),
    };
    let host = bare.split('/').next().unwrap_or(bare);
    let key = if scheme { host } else { bare.trim_end_matches('/') };
    match host {
        "index.docker.io" | "registry-1.docker.io" | "docker.io" => {
            key.replacen(host, "docker.io", 1)
        }
        _ => key.to_owned(),
    }
}

fn login(entry: &Entry) -> Result<Option<Login>, String> {
    let token = (!entry.identitytoken.is_empty()).then(|| entry.identitytoken.clone());
    let (user, password) = if entry.auth.is_empty() {
        (entry.username.clone(), entry.password.clone())
    } else {
        let decoded = BASE64_STANDARD.decode(entry.auth.trim());
        let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        // The text is a secret: it is not repeated.
        let decoded = decoded.ok_or("an entry's auth is not base64")?;
        let (user, password) = decoded.split_once(':').ok_or("an entry's auth has no ':'")?;
        (user.to_owned(), password.trim_end_matches('\0').to_owned())
    };
    Ok((token.is_some() || !user.is_empty()).then_some(Login { user, password, token }))
}

/// Asks a credential helper: the registry on its stdin, JSON on its stdout.
async fn ask(env: &Env, helper: &str, key: &str) -> Result<Option<Login>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let program = format!("docker-credential-{helper}");
    let path = env.find_program(&program).ok_or_else(|| format!("{program} is not on PATH"))?;
    let server = if key == "docker.io" { DOCKER_HUB } else { key };
    let asked = Program::new(path, env).arg("get").stdin(server).within(HELPER);
    let output = match asked.run(&CancellationToken::new()).await {
        Ok(output) => output,
        Err(error) if error.to_string().contains("credentials not found") => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_secret| format!("{program} did not answer with a login"))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => {
            Login { user: String::new(), password: String::new(), token: Some(answer.secret) }
        }
        _ => Login { user: answer.username, password: answer.secret, token: None },
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A home with one file of logins.
    fn home(below: &str, text: &str) -> (tempfile::TempDir, Env) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        let home = folder.path().to_str().unwrap();
        let env = Env::from([("HOME", home), ("XDG_RUNTIME_DIR", home), ("PATH", home)]);
        (folder, env)
    }

    async fn user(env: &Env, name: &str) -> String {
        find(env, name).await.unwrap().map(|login| login.user).unwrap_or_default()
    }

    #[tokio::test]
    async fn the_longest_path_counts_and_files_have_an_order() {
        let auth = |user: &str| BASE64_STANDARD.encode(format!("{user}:pw"));
        let text = serde_json::json!({"auths": {
            "quay.io": {"auth": auth("all")},
            "quay.io/team": {"auth": auth("team")},
            "https://index.docker.io/v1/": {"auth": auth("hub")},
            "r.example:5000": {"identitytoken": "tok"},
        }});
        let (folder, env) = home(".docker/config.json", &text.to_string());
        assert_eq!(user(&env, "quay.io/team/app:1").await, "team");
        assert_eq!(user(&env, "quay.io/other/app").await, "all");
        assert_eq!(user(&env, "docker.io/library/nats:2").await, "hub");
        assert_eq!(user(&env, "ghcr.io/x/y:1").await, "");
        let token = find(&env, "r.example:5000/x:1").await.unwrap().unwrap();
        assert_eq!(token.token.as_deref(), Some("tok"));

        std::fs::create_dir_all(folder.path().join("containers")).unwrap();
        let first = serde_json::json!({"auths": {"quay.io": {"auth": auth("first")}}});
        std::fs::write(folder.path().join("containers/auth.json"), first.to_string()).unwrap();
        assert_eq!(user(&env, "quay.io/other/app").await, "first");
        assert_eq!(user(&env, "docker.io/library/nats:2").await, "hub");
    }

    #[tokio::test]
    async fn helpers_are_asked_and_a_missing_one_is_said() {
        let text = r#"{"credHelpers": {"quay.io": "mine", "gone.example": "gone"},
            "auths": {"https://index.docker.io/v1/": {}}, "credsStore": "mine"}"#;
        let (folder, env) = home("containers/auth.json", text);
        let helper = folder.path().join("docker-credential-mine");
        let script = "#!/bin/sh\nread -r s || :\nprintf '{\"Username\":\"of %s\",\"Secret\":\"pw\"}' \"$s\"\n";
        std::fs::write(&helper, script).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(user(&env, "quay.io/a/b:1").await, "of quay.io");
        assert_eq!(user(&env, "docker.io/library/a:1").await, "of https://index.docker.io/v1/");
        let why = find(&env, "gone.example/a:1").await.unwrap_err();
        assert!(why.contains("docker-credential-gone"), "{why}");
    }

    #[tokio::test]
    async fn a_broken_file_is_said_without_its_secrets() {
        let (_folder, env) =
            home("containers/auth.json", r#"{"auths": {"q.io": {"auth": "hunter2"}}}"#);
        let why = find(&env, "q.io/a:1").await.unwrap_err();
        assert!(why.contains("auth.json") && !why.contains("hunter2"), "{why}");
    }

    #[test]
    fn the_header_is_what_podman_decodes() {
        let login = Login { user: "u>?".into(), password: "~~~???".into(), token: None };
        let header = login.header();
        assert!(!header.contains(['+', '/']), "{header}");
        let text = String::from_utf8(BASE64_URL_SAFE.decode(header).unwrap()).unwrap();
        assert!(text.contains("\"password\":\"~~~???\""), "{text}");
        assert_eq!(format!("{login:?}"), "Login of u>?");
    }
}
