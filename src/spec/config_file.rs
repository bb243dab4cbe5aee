//! The user's own `config.yaml`: what is true of this machine and its network, for every cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::name::url::{MirrorUrl, ProxyUrl};
use super::problem::Problems;
use super::read::{self, Cursor};
use super::yaml;
use crate::Result;

/// Every key of the file.
pub const KEYS: &[&str] =
    &["apiVersion", "kind", "proxy", "authorities", "mirrors", "archives", "accept"];

/// Every key of `proxy`.
pub const PROXY_KEYS: &[&str] = &["http", "https", "except"];

/// Largest file of certificates.
const AUTHORITY_MAX: u64 = 1 << 20;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Proxies.
    pub proxy: ProxyWish,
    /// Certificates of authorities that are trusted beside the host's, as PEM, with their files.
    pub authorities: Vec<(PathBuf, String)>,
    /// Registry to its mirrors, in the order they are asked.
    pub mirrors: BTreeMap<String, Vec<MirrorUrl>>,
    /// OCI archives, layouts and folders of them. Not looked at here: the disk they are on may be away.
    pub archives: Vec<PathBuf>,
    /// Names of licences that are accepted.
    pub accept: Vec<String>,
}

/// What is said of proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum ProxyWish {
    /// Nothing: the environment decides.
    #[default]
    Unsaid,
    /// There is none.
    None,
    /// These, where the environment names no others.
    Use {
        /// For `http://`.
        http: Option<ProxyUrl>,
        /// For `https://`.
        https: Option<ProxyUrl>,
        /// Hosts, domains and ranges that are reached directly, as in `NO_PROXY`.
        except: Vec<String>,
    },
}

/// Reads the file; one that is not there says nothing.
///
/// # Errors
/// [`crate::Kind::Files`] with every problem in it.
pub fn load(path: &Path) -> Result<Config> {
    let problems = Problems::default();
    let shown = path.display().to_string();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => {
            problems.add(&shown, None, "cannot be read", error.to_string());
            Vec::new()
        }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let config = read(&shown, folder, &bytes, &problems);
    problems.into_result()?;
    Ok(config)
}

fn read(shown: &str, folder: &Path, bytes: &[u8], problems: &Problems) -> Config {
    let mut config = Config::default();
    let says_nothing = |line: &[u8]| matches!(line.trim_ascii().first(), None | Some(b'#'));
    // What `pipe init --config` writes, before anybody has edited it.
    if bytes.split(|byte| *byte == b'\n').all(says_nothing) {
        return config;
    }
    let Some(part) = yaml::parse(shown, bytes, problems) else { return config };
    let root = Cursor::new(shown, problems, &part);
    let Some(fields) = root.fields(KEYS, &[]) else { return config };
    read::kind(&fields, "Config");
    if let Some(proxy) = fields.optional("proxy") {
        config.proxy = read_proxy(proxy).unwrap_or_default();
    }
    if let Some(list) = fields.optional("authorities") {
        let files = list.items().into_iter().flatten();
        config.authorities = files.filter_map(|file| read_authority(file, folder)).collect();
    }
    if let Some(mirrors) = fields.optional("mirrors") {
        config.mirrors = read_mirrors(mirrors);
    }
    if let Some(list) = fields.optional("archives") {
        let paths = list.items().into_iter().flatten();
        config.archives = paths.filter_map(|path| Some(folder.join(path.text()?))).collect();
    }
    if let Some(names) = fields.optional("accept") {
        let names = names.items().into_iter().flatten();
        config.accept = names.filter_map(|name| name.text().map(str::to_owned)).collect();
    }
    config
}

fn read_proxy(proxy: Cursor<'_>) -> Option<ProxyWish> {
    if proxy.is_text() {
        return proxy.choice(&[("none", ())], &[]).map(|()| ProxyWish::None);
    }
    let fields = proxy.fields(PROXY_KEYS, &[])?;
    let url = |key| {
        let remedy = "write it as http://proxy.example:3128";
        fields.optional(key).and_then(|c| c.parsed(ProxyUrl::parse, remedy))
    };
    let (http, https) = (url("http"), url("https"));
    let except = fields.optional("except").and_then(|list| list.items());
    let except = except.into_iter().flatten().filter_map(|c| {
        let clean = |text: &str| match text.contains([',', ' ', '"']) || text.is_empty() {
            true => Err(format!("{text:?} is not one host, domain or range")),
            false => Ok(text.to_owned()),
        };
        c.parsed(clean, "write one in each entry, such as .example or 10.0.0.0/8")
    });
    Some(ProxyWish::Use { http, https, except: except.collect() })
}

/// Paths are relative to the file's own folder.
fn read_authority(file: Cursor<'_>, folder: &Path) -> Option<(PathBuf, String)> {
    let path = folder.join(file.text()?);
    let remedy = "name a file of certificates in PEM form, such as /etc/ssl/company.pem";
    let refuse = |what: String| {
        file.problem(what, remedy);
        None
    };
    let size = match std::fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) => return refuse(format!("{} cannot be read ({error})", path.display())),
    };
    if size > AUTHORITY_MAX {
        return refuse(format!("{} is larger than {AUTHORITY_MAX} bytes", path.display()));
    }
    let pem = match std::fs::read_to_string(&path) {
        Ok(pem) => pem,
        Err(error) => return refuse(format!("{} cannot be read ({error})", path.display())),
    };
    if pem.contains("PRIVATE KEY-----") {
        // It would be copied into every node.
        return refuse(format!("{} holds a private key", path.display()));
    }
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return refuse(format!("{} holds no certificate", path.display()));
    }
    Some((path, pem))
}

fn read_mirrors(mirrors: Cursor<'_>) -> BTreeMap<String, Vec<MirrorUrl>> {
    let mut all = BTreeMap::new();
    for (registry, mark, list) in mirrors.entries().into_iter().flatten() {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if !registry.contains(['.', ':']) || !registry.chars().all(allowed) {
            let remedy = "write a registry as image names have it, such as docker.io";
            mark.problem(format!("{registry:?} is not a registry"), remedy);
        }
        let remedy = "write https://HOST or https://HOST/PATH; http:// where it has no TLS";
        let urls = list.items().into_iter().flatten();
        let urls = urls.filter_map(|url| url.parsed(MirrorUrl::parse, remedy)).collect();
        all.insert(registry.to_owned(), urls);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
        std::fs::write(folder.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
        std::fs::write(folder.path().join("text.pem"), "hello\n").unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        load(&path).map_err(|mut error| {
            let gone = folder.path().display().to_string();
            for cause in &mut error.causes {
                *cause = cause.replace(&format!("{gone}/"), "");
            }
            error
        })
    }

    #[test]
    fn everything_it_can_say() {
        let config = load_text(
            "apiVersion: pipe.dev/v1alpha1\nkind: Config\n\
             proxy: {http: 'http://p:1', https: 'http://u:pw@p:2', except: [.example, 10.0.0.0/8]}\n\
             authorities: [ca.pem]\n\
             mirrors: {docker.io: ['https://m.example/hub', 'http://10.0.0.5:5000']}\n\
             archives: [/mnt/disk, bundle.tar]\n\
             accept: [scylladb-source-available]\n",
        )
        .unwrap();
        let ProxyWish::Use { http, https, except } = &config.proxy else { panic!() };
        assert_eq!(http.as_ref().unwrap().to_string(), "http://p:1");
        assert_eq!(https.as_ref().unwrap().password(), Some("pw"));
        assert_eq!(except[..], [".example", "10.0.0.0/8"]);
        assert_eq!(config.authorities.len(), 1);
        assert_eq!(config.mirrors["docker.io"].len(), 2);
        assert_eq!(config.archives[0], Path::new("/mnt/disk"));
        assert!(config.archives[1].is_absolute() && config.archives[1].ends_with("bundle.tar"));
        assert_eq!(config.accept, ["scylladb-source-available"]);
        let none = "apiVersion: pipe.dev/v1alpha1\nkind: Config\nproxy: none\n";
        assert_eq!(load_text(none).unwrap().proxy, ProxyWish::None);
        assert_eq!(load(Path::new("/no/such/config.yaml")).unwrap(), Config::default());
    }

    #[test]
    fn every_problem_at_once_and_no_password_in_it() {
        let error = load_text(
            "apiVersion: pipe.dev/v1\nkind: Cluster\nproxi: x\n\
             proxy: {http: 'gopher://u:hunter2@p', except: ['a,b']}\n\
             authorities: [none.pem, key.pem, text.pem]\n\
             mirrors: {hub: ['https://m'], docker.io: ['ftp://m', https://u:p@m]}\n",
        )
        .unwrap_err();
        assert_eq!(error.kind, crate::Kind::Files);
        let text = error.causes.join("\n");
        assert!(!text.contains("hunter2"), "{text}");
        insta::assert_snapshot!(text);
        let error =
            load_text("apiVersion: pipe.dev/v1alpha1\nkind: Config\nproxy: off\n").unwrap_err();
        assert!(error.causes[0].contains("none"), "{error}");
    }
}
