//! Addresses that users write: of a proxy, and of a mirror of a registry.

use std::fmt;

use serde::Serialize;

/// An HTTP proxy: `http://user:password@proxy.example:3128`. Printing it hides the login.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    whole: String,
    /// `user:password`, still percent-encoded.
    login: Option<String>,
    scheme: String,
    address: String,
}

impl ProxyUrl {
    /// Accepts what Go programs accept: `http`, `https` or `socks5`, and a bare `host:port`.
    pub fn parse(text: &str) -> Result<ProxyUrl, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let rest = rest.trim_end_matches('/');
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login.to_owned()), address),
            None => (None, rest),
        };
        // The text may hold a password: it is not repeated.
        if !matches!(scheme, "http" | "https" | "socks5") {
            return Err("the proxy's scheme is none of http, https, socks5".to_owned());
        }
        check_address(address).map_err(|fault| format!("the proxy's address {fault}"))?;
        let whole = format!("{scheme}://{rest}");
        Ok(ProxyUrl { whole, login, scheme: scheme.to_owned(), address: address.to_owned() })
    }

    /// The whole address, with its login.
    pub fn secret(&self) -> &str {
        &self.whole
    }

    /// The password, where it has one.
    pub fn password(&self) -> Option<&str> {
        self.login.as_deref()?.split_once(':').map(|(_, password)| password)
    }

    /// Whether it listens on the host's loopback only, where nodes cannot reach it.
    pub fn is_loopback(&self) -> bool {
        let host = host_of(&self.address);
        host == "localhost" || host == "::1" || host.starts_with("127.")
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A mirror of a registry: `https://mirror.example/dockerhub`, `http://10.0.0.5:5000`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MirrorUrl {
    /// Without TLS.
    pub plain: bool,
    /// Host and port.
    pub address: String,
    /// What stands before the repository; empty in most.
    pub prefix: String,
}

impl MirrorUrl {
    /// Accepts `https`, `http`, and a bare `host:port/prefix`, which is `https`.
    pub fn parse(text: &str) -> Result<MirrorUrl, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let plain = match scheme {
            "https" => false,
            "http" => true,
            _ => return Err(format!("{text:?} is neither https nor http")),
        };
        let (address, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if address.contains('@') {
            return Err(format!("{text:?} holds a login; a mirror's login is in auth.json"));
        }
        check_address(address).map_err(|fault| format!("{text:?}: the address {fault}"))?;
        let prefix = prefix.trim_matches('/');
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.' | '/');
        if !prefix.chars().all(allowed) || prefix.contains("//") {
            return Err(format!("{text:?} has a path that no repository can have"));
        }
        Ok(MirrorUrl { plain, address: address.to_owned(), prefix: prefix.to_owned() })
    }

    /// How an image of the mirrored registry is called here; `rest` is its name without registry.
    pub fn image(&self, rest: &str) -> String {
        match self.prefix.as_str() {
            "" => format!("{}/{rest}", self.address),
            prefix => format!("{}/{prefix}/{rest}", self.address),
        }
    }

    /// Its address as containerd's host: `https://mirror.example/v2/dockerhub`, or without a path.
    pub fn host(&self) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        match self.prefix.as_str() {
            "" => format!("{scheme}://{}", self.address),
            prefix => format!("{scheme}://{}/v2/{prefix}", self.address),
        }
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => address.rsplit_once(':').map_or(address, |(host, _)| host),
    }
}

fn check_address(address: &str) -> Result<(), String> {
    let host = host_of(address);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(allowed) {
        return Err("has no host that could be one".to_owned());
    }
    let after = address.rsplit(']').next().unwrap_or(address);
    match after.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => {
            Err("has a port that is none".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_printed_without_its_login() {
        let proxy = ProxyUrl::parse("http://ada:s3cret@proxy.example:3128/").unwrap();
        assert_eq!(proxy.to_string(), "http://proxy.example:3128");
        assert_eq!(format!("{proxy:?}"), "http://proxy.example:3128");
        assert_eq!(proxy.secret(), "http://ada:s3cret@proxy.example:3128");
        assert_eq!(proxy.password(), Some("s3cret"));
        assert_eq!(ProxyUrl::parse("proxy:3128").unwrap().secret(), "http://proxy:3128");
        for loopback in ["localhost:3128", "http://127.0.0.1:1", "http://[::1]:8080"] {
            assert!(ProxyUrl::parse(loopback).unwrap().is_loopback(), "{loopback}");
        }
        for wrong in ["ftp://x", "http://", "http://x:port", "http://a b:1", "http://u:hunter2@:1"]
        {
            let fault = ProxyUrl::parse(wrong).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_mirror_renames_images() {
        let mirror = MirrorUrl::parse("https://mirror.example/dockerhub/").unwrap();
        assert_eq!(mirror.image("library/nats:2"), "mirror.example/dockerhub/library/nats:2");
        assert_eq!(mirror.host(), "https://mirror.example/v2/dockerhub");
        let mirror = MirrorUrl::parse("http://10.0.0.5:5000").unwrap();
        assert_eq!(mirror.image("library/nats:2"), "10.0.0.5:5000/library/nats:2");
        assert_eq!((mirror.host(), mirror.plain), ("http://10.0.0.5:5000".to_owned(), true));
        assert_eq!(MirrorUrl::parse("m.example").unwrap().host(), "https://m.example");
        for wrong in ["ftp://x", "https://", "https://u:p@x", "https://x/A", "https://x:0x/a"] {
            assert!(MirrorUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
