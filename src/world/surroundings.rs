//! The network that this host is in: proxies, authorities that are trusted beside the host's, mirrors
//! of registries. From the environment, and from the user's `config.yaml` where that is silent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::env::Env;
use crate::spec::name::url::{MirrorUrl, ProxyUrl};
use crate::{Error, Result};

/// Names that never go through a proxy; Go programs hold it so by themselves.
pub const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.0/8", "::1"];

/// The network that this host is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Proxies.
    pub proxy: Proxy,
    /// Certificates, as PEM.
    pub authorities: Vec<String>,
    /// Registry to its mirrors, in the order they are asked.
    pub mirrors: BTreeMap<String, Vec<MirrorUrl>>,
    /// Where images lie that no registry gives: OCI archives, layouts and folders of them.
    pub archives: Vec<PathBuf>,
    /// Names of licences that the user's file accepts.
    pub accepted: Vec<String>,
    /// The user's file, there or not.
    pub file: PathBuf,
    /// The files that the certificates are from, in the same order.
    pub authority_files: Vec<PathBuf>,
    /// Why nothing of it is known, where the file or a variable is wrong.
    pub fault: Option<Error>,
}

/// What is known of proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Proxy {
    /// Nobody said anything: this may be another shell than the one the cluster was made in.
    #[default]
    Unsaid,
    /// The user's file says that there is none.
    None,
    /// These.
    Use(Proxies),
}

/// Proxies and what is reached without them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<ProxyUrl>,
    /// For `https://`.
    pub https: Option<ProxyUrl>,
    /// Hosts, domains and ranges, as in `NO_PROXY`.
    pub except: Vec<String>,
}

impl Proxies {
    /// What the environment says, if anything; upper case first, as Go programs read it.
    ///
    /// # Errors
    /// A variable holds no address.
    pub fn of(env: &Env) -> Result<Option<Proxies>> {
        let read = |name: &str| {
            let value = env.get(name).or_else(|| env.get(&name.to_lowercase()));
            let parsed = value.map(ProxyUrl::parse).transpose();
            parsed.map_err(|fault| {
                Error::host("proxy-invalid", format!("{name} cannot be used"))
                    .because(fault)
                    .hint(format!("write it as {name}=http://proxy.example:3128, or unset it"))
            })
        };
        let (http, https) = (read("HTTP_PROXY")?, read("HTTPS_PROXY")?);
        if http.is_none() && https.is_none() {
            return Ok(None);
        }
        let except = env.get("NO_PROXY").or_else(|| env.get("no_proxy")).unwrap_or_default();
        let except = except.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(Some(Proxies { http, https, except: except.map(str::to_owned).collect() }))
    }

    /// Those that `self` lacks, from `other`.
    #[must_use]
    pub fn or(self, other: Proxies) -> Proxies {
        let except = if self.except.is_empty() { other.except } else { self.except };
        Proxies { http: self.http.or(other.http), https: self.https.or(other.https), except }
    }

    /// As environment variables, in both spellings; `except` in place of what the user excepted.
    pub fn variables(&self, except: &[String]) -> Vec<(String, String)> {
        let urls = [("HTTP_PROXY", &self.http), ("HTTPS_PROXY", &self.https)];
        let urls = urls.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?.secret())));
        let except = except.join(",");
        urls.chain([("NO_PROXY", except.as_str())])
            .flat_map(|(name, value)| {
                [(name.to_owned(), value.to_owned()), (name.to_lowercase(), value.to_owned())]
            })
            .collect()
    }
}

impl Surroundings {
    /// Passwords in it, to be hidden.
    pub fn secrets(&self) -> Vec<String> {
        let Proxy::Use(proxies) = &self.proxy else { return Vec::new() };
        let urls = [&proxies.http, &proxies.https].into_iter().flatten();
        urls.filter_map(|url| url.password().map(str::to_owned)).collect()
    }

    /// Hands proxies to programs that are started with `env`, and to our own requests.
    pub fn hand_to(self, env: &mut Env) {
        if let Proxy::Use(proxies) = &self.proxy {
            for (name, value) in proxies.variables(&proxies.except) {
                env.vars.insert(name.into(), value.into());
            }
        }
        env.surroundings = self;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_in_both_spellings() {
        assert_eq!(Proxies::of(&Env::from([("NO_PROXY", "x")])).unwrap(), None);
        let env = Env::from([("https_proxy", "http://u:pw@p:1"), ("no_proxy", " .a, ,10.0.0.0/8")]);
        let proxies = Proxies::of(&env).unwrap().unwrap();
        assert_eq!(proxies.except, [".a", "10.0.0.0/8"]);
        let variables = proxies.variables(&proxies.except);
        assert_eq!(variables[0], ("HTTPS_PROXY".to_owned(), "http://u:pw@p:1".to_owned()));
        assert_eq!(variables[3], ("no_proxy".to_owned(), ".a,10.0.0.0/8".to_owned()));
        let error = Proxies::of(&Env::from([("HTTP_PROXY", "ftp://u:hunter2@p")])).unwrap_err();
        assert_eq!((error.code, error.to_string().contains("hunter2")), ("proxy-invalid", false));
    }
}
