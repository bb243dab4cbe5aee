//! The network around the host, as files of a node: proxies for containerd and kubelet, authorities,
//! mirrors. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use sha2::{Digest as _, Sha256};

use crate::digest;
use crate::plan::surroundings::{Aspect, Told, Wanted};
use crate::provider::registry;
use crate::spec::name::{self, url::MirrorUrl};
use crate::spec::{Cluster, ImagePolicy, Profile};
use crate::world::engine::FileToPut;
use crate::world::surroundings::{LOOPBACK, Proxies, Proxy, Surroundings};

/// What the node was told, so that the next plan can compare.
pub const MARKER: &str = "/kind/pipe-surroundings.json";

/// Go programs read every file of this folder beside the system's own bundle.
const AUTHORITIES: &str = "/etc/ssl/certs/pipe-authorities.pem";

/// A folder for each registry with a `hosts.toml`.
pub const HOSTS: &str = "/etc/containerd/certs.d";

/// Registries that images are from. Of one that is not among them nothing is pulled where there is a
/// cache: nodes cannot be told that its name comes first there.
const REGISTRIES: [&str; 9] = [
    "docker.io",
    "ghcr.io",
    "quay.io",
    "registry.k8s.io",
    "gcr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "nvcr.io",
    "localhost",
];

/// containerd's name for all others.
const ANY: &str = "_default";

/// A folder that no cache has: the answer names it.
const UNKNOWN: &str = "registry-unknown-to-pipe";

/// The units that get the proxies. kind's entry point gives every unit empty ones.
const PROXY_DROP_INS: [&str; 2] = [
    "/etc/systemd/system/containerd.service.d/20-pipe-proxy.conf",
    "/etc/systemd/system/kubelet.service.d/20-pipe-proxy.conf",
];

/// The local cache, as nodes pull from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Its address on the clusters' network.
    pub address: Ipv4Addr,
    /// Whether it is asked to fetch what it lacks: not where every image must be signed.
    pub on_demand: bool,
}

impl Cached {
    /// How a cluster with this profile pulls; `address` is the cache's, where it has one.
    pub fn of(profile: &Profile, address: Option<Ipv4Addr>) -> Option<Cached> {
        let address = address.filter(|_| profile.policy.is_cached())?;
        Some(Cached { address, on_demand: profile.policy == ImagePolicy::Warn })
    }
}

/// What nodes are to be told; `cache` is where they pull from, if there is a local cache.
pub fn wanted(surroundings: &Surroundings, cache: Option<Cached>) -> Wanted {
    let mut told = Told::default();
    if let Some(proxies) = for_nodes(&surroundings.proxy) {
        told.proxy = hash(&format!("{:?}", proxies.variables(&proxies.except)));
        let urls = [&proxies.http, &proxies.https].into_iter().flatten();
        let mut shown: Vec<String> = urls.map(ToString::to_string).collect();
        shown.dedup();
        told.proxy_shown = shown.join(", ");
    }
    if !surroundings.authorities.is_empty() {
        told.authorities = hash(&surroundings.authorities.concat());
    }
    if let Some(cache) = cache {
        told.registries = cached(&surroundings.mirrors);
        let Cached { address, on_demand } = cache;
        told.mirrors = hash(&format!("{address} {on_demand} {:?}", told.registries));
    } else if !surroundings.mirrors.is_empty() {
        told.mirrors = hash(&format!("{:?}", surroundings.mirrors));
        told.registries = surroundings.mirrors.keys().cloned().collect();
    }
    told.cache = cache.map(|cache| cache.address);
    let proxy_said = surroundings.proxy != Proxy::Unsaid;
    Wanted { told, proxy_said, file: surroundings.file.display().to_string() }
}

/// Proxies on the host's loopback, which no node reaches and so none is told of.
pub fn unreachable(proxy: &Proxy) -> Vec<String> {
    let Proxy::Use(proxies) = proxy else { return Vec::new() };
    let urls = [&proxies.http, &proxies.https].into_iter().flatten();
    let mut shown: Vec<String> =
        urls.filter(|url| url.is_loopback()).map(ToString::to_string).collect();
    shown.dedup();
    shown
}

/// The proxies that containers on the clusters' network can reach.
pub fn for_nodes(proxy: &Proxy) -> Option<Proxies> {
    let Proxy::Use(proxies) = proxy else { return None };
    let reachable = |url: &Option<_>| {
        url.clone().filter(|url: &crate::spec::name::url::ProxyUrl| !url.is_loopback())
    };
    let (http, https) = (reachable(&proxies.http), reachable(&proxies.https));
    let except = proxies.except.clone();
    (http.is_some() || https.is_some()).then_some(Proxies { http, https, except })
}

/// Files of one aspect; none where there is nothing to tell. `cache` as for [`wanted`].
pub fn files(
    surroundings: &Surroundings,
    cache: Option<Cached>,
    cluster: &Cluster,
    subnets: &[String],
    aspect: Aspect,
) -> Vec<FileToPut> {
    match aspect {
        Aspect::Proxy => {
            let Some(proxies) = for_nodes(&surroundings.proxy) else { return Vec::new() };
            let text = drop_in(&proxies, &except(&proxies.except, cluster, subnets));
            // It may hold a password.
            PROXY_DROP_INS.map(|path| FileToPut::new(path, 0o600, text.clone())).to_vec()
        }
        Aspect::Authorities if surroundings.authorities.is_empty() => Vec::new(),
        Aspect::Authorities => {
            let whole: String =
                surroundings.authorities.iter().map(|pem| format!("{}\n", pem.trim())).collect();
            vec![FileToPut::new(AUTHORITIES, 0o644, whole)]
        }
        Aspect::Mirrors => match cache {
            Some(cache) => from_cache(cache, &surroundings.mirrors),
            None => mirrors(&surroundings.mirrors),
        },
        // It is more than files.
        Aspect::Verifier => Vec::new(),
    }
}

/// What an aspect left in a node that was told `told`: to be removed before its new files.
pub fn left_by(told: &Told, aspect: Aspect) -> Vec<String> {
    match aspect {
        Aspect::Proxy => PROXY_DROP_INS.map(str::to_owned).to_vec(),
        Aspect::Authorities => vec![AUTHORITIES.to_owned()],
        Aspect::Mirrors => {
            told.registries.iter().map(|name| format!("{HOSTS}/{name}/hosts.toml")).collect()
        }
        Aspect::Verifier => Vec::new(),
    }
}

/// What a node reaches directly: what the user says, itself, the other nodes, pods and services.
fn except(said: &[String], cluster: &Cluster, subnets: &[String]) -> Vec<String> {
    let mut all = said.to_vec();
    all.extend([cluster.pod_subnet.clone(), cluster.service_subnet.clone()]);
    all.extend(subnets.iter().cloned());
    all.extend(cluster.nodes.iter().map(|node| node.host.clone()));
    all.extend([".svc", ".svc.cluster.local", ".cluster.local"].map(str::to_owned));
    all.extend(LOOPBACK.map(str::to_owned));
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|entry| seen.insert(entry.clone()));
    all
}

fn drop_in(proxies: &Proxies, except: &[String]) -> String {
    let mut text = String::from("[Service]\n");
    for (name, value) in proxies.variables(except) {
        // systemd expands % and takes \ and " for its own.
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        let _ = writeln!(text, "Environment=\"{name}={value}\"");
    }
    text
}

fn mirrors(mirrors: &BTreeMap<String, Vec<MirrorUrl>>) -> Vec<FileToPut> {
    let file = |(registry, mirrors): (&String, &Vec<MirrorUrl>)| {
        let server = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        // Where no mirror has it, the registry itself is asked.
        let mut text = format!("server = \"https://{server}\"\n");
        for mirror in mirrors {
            let _ = write!(
                text,
                "\n[host.\"{}\"]\ncapabilities = [\"pull\", \"resolve\"]\noverride_path = {}\n",
                mirror.host(),
                !mirror.prefix.is_empty()
            );
        }
        FileToPut::new(format!("{HOSTS}/{registry}/hosts.toml"), 0o644, text)
    };
    mirrors.iter().map(file).collect()
}

/// Registries that nodes are told about one by one: their names come first in the cache.
pub fn registries(mirrors: &BTreeMap<String, Vec<MirrorUrl>>) -> Vec<String> {
    let mut all: Vec<String> = REGISTRIES.map(str::to_owned).into();
    all.extend(mirrors.keys().filter(|name| !REGISTRIES.contains(&name.as_str())).cloned());
    all
}

/// The same, and all others.
fn cached(mirrors: &BTreeMap<String, Vec<MirrorUrl>>) -> Vec<String> {
    let mut all = registries(mirrors);
    all.push(ANY.to_owned());
    all
}

/// The cache in place of every registry, and nobody behind it.
fn from_cache(cache: Cached, mirrors: &BTreeMap<String, Vec<MirrorUrl>>) -> Vec<FileToPut> {
    const RIGHTS: &str = "override_path = true\ncapabilities = [\"pull\", \"resolve\"]\n";
    let file = |name: String| {
        let folder = name::cached::folder(if name == ANY { UNKNOWN } else { &name });
        let all = format!("http://{}:{}/v2", cache.address, registry::PORT);
        let text = match cache.on_demand {
            false => format!("server = \"{all}/{folder}\"\n{RIGHTS}"),
            // The server is asked last.
            true => format!(
                "server = \"{all}/{}/{folder}\"\n{RIGHTS}\n[host.\"{all}/{folder}\"]\n{RIGHTS}",
                registry::ON_DEMAND
            ),
        };
        FileToPut::new(format!("{HOSTS}/{name}/hosts.toml"), 0o644, text)
    };
    cached(mirrors).into_iter().map(file).collect()
}

/// Eight bytes of a digest: enough to tell two settings apart.
pub(super) fn hash(text: &str) -> String {
    digest::hex(Sha256::digest(text.as_bytes()).get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::name::url::ProxyUrl;
    use crate::spec::source::Sources;
    use crate::spec::{Arch, load};

    fn surroundings() -> Surroundings {
        let url = |text| Some(ProxyUrl::parse(text).unwrap());
        let mirror = |text: &str| MirrorUrl::parse(text).unwrap();
        let proxies = Proxies {
            http: url("http://u:p%40ss@proxy.example:3128"),
            https: url("http://127.0.0.1:3128"),
            except: vec![".corp.example".to_owned()],
        };
        let docker = vec![mirror("https://m.example/hub"), mirror("http://10.0.0.5:5000")];
        Surroundings {
            proxy: Proxy::Use(proxies),
            authorities: vec!["one\n".to_owned(), "two".to_owned()],
            mirrors: BTreeMap::from([("docker.io".to_owned(), docker)]),
            ..Surroundings::default()
        }
    }

    #[test]
    fn files_of_a_node() {
        let spec = load(&Sources::built_in(), "dev", Some("quickstart"), Arch::Amd64).unwrap();
        let mut text = String::new();
        for aspect in Aspect::ALL {
            let subnets = ["10.89.0.0/24".to_owned()];
            for file in files(&surroundings(), None, &spec.cluster, &subnets, aspect) {
                let content = String::from_utf8(file.content).unwrap();
                let _ = writeln!(text, "== {} {:o}\n{content}", file.path, file.mode);
            }
        }
        insta::assert_snapshot!(text);
    }

    /// The cache first, and behind it nothing but what it fetches itself, where anything may run.
    #[test]
    fn what_is_fetched_on_demand_is_asked_for_last_and_never_where_signatures_are_enforced() {
        let built_in =
            |profile| load(&Sources::built_in(), "single", Some(profile), Arch::Amd64).unwrap();
        let address = Some(Ipv4Addr::new(10, 89, 0, 253));
        let file = |spec: &crate::spec::Spec| {
            let cache = Cached::of(&spec.profile, address);
            let all = files(&surroundings(), cache, &spec.cluster, &[], Aspect::Mirrors);
            let of_ghcr = all.into_iter().find(|file| file.path.contains("/ghcr.io/")).unwrap();
            String::from_utf8(of_ghcr.content).unwrap()
        };
        let (warns, enforces) = (built_in("laptop"), built_in("quickstart"));
        insta::assert_snapshot!(format!("{}\n==\n{}", file(&warns), file(&enforces)));
        let hash = |spec: &crate::spec::Spec| {
            wanted(&surroundings(), Cached::of(&spec.profile, address)).told.mirrors
        };
        assert_ne!(hash(&warns), hash(&enforces), "a change of the policy reaches the nodes");
    }

    #[test]
    fn what_is_told_holds_no_password_and_knows_every_change() {
        let first = wanted(&surroundings(), None);
        assert_eq!(first.told.proxy_shown, "http://proxy.example:3128");
        assert!(!serde_json::to_string(&first.told).unwrap().contains("ss@"));
        assert_eq!(unreachable(&surroundings().proxy), ["http://127.0.0.1:3128"]);
        let mut other = surroundings();
        if let Proxy::Use(proxies) = &mut other.proxy {
            proxies.except.clear();
        }
        assert_ne!(wanted(&other, None).told.proxy, first.told.proxy);
        other.proxy = Proxy::None;
        assert!(wanted(&other, None).proxy_said && wanted(&other, None).told.proxy.is_empty());
        assert!(!wanted(&Surroundings::default(), None).proxy_said);
    }
}
