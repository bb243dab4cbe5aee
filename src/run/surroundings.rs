//! The network that this host is in: read once at the start, and told to nodes.

use super::context::Context;
use crate::plan::surroundings::{Aspect, Told, Wanted};
use crate::provider::kind::{containerd, surroundings as kind};
use crate::spec::config_file::{self, Config, ProxyWish};
use crate::world::engine::{Engine, EngineResult, Exec, FileToPut as File};
use crate::world::env::Env;
use crate::world::surroundings::{Proxies, Proxy, Surroundings};
use crate::{Error, Result};

/// Reads the environment and the user's file; what the environment says counts.
///
/// # Errors
/// Every problem of the file at once; a proxy variable that holds no address.
pub fn read(env: &Env) -> Result<Surroundings> {
    let file = env.config_file()?;
    let config = config_file::load(&file)?;
    let surroundings = merge(Proxies::of(env)?, config);
    Ok(Surroundings { file, ..surroundings })
}

fn merge(environment: Option<Proxies>, config: Config) -> Surroundings {
    let proxy = match (environment, config.proxy) {
        (Some(said), ProxyWish::Use { http, https, except }) => {
            Proxy::Use(said.or(Proxies { http, https, except }))
        }
        (Some(said), _) => Proxy::Use(said),
        (None, ProxyWish::Use { http, https, except }) => {
            Proxy::Use(Proxies { http, https, except })
        }
        (None, ProxyWish::None) => Proxy::None,
        (None, ProxyWish::Unsaid) => Proxy::Unsaid,
    };
    let (authority_files, authorities) = config.authorities.into_iter().unzip();
    let Config { mirrors, archives, accept: accepted, .. } = config;
    let known = Surroundings { proxy, authorities, authority_files, ..Surroundings::default() };
    Surroundings { mirrors, archives, accepted, ..known }
}

/// What nodes are to be told, and what the user should know about it. `cache` is where they pull
/// from, if there is a local cache.
pub(super) fn wanted(
    env: &Env,
    cache: Option<kind::Cached>,
    verifier: String,
) -> (Wanted, Vec<String>) {
    let surroundings = &env.surroundings;
    let notes = kind::unreachable(&surroundings.proxy).into_iter().map(|proxy| {
        format!(
            "the proxy {proxy} is on this host's loopback, where nodes cannot reach it: they get none; \
             let it listen on an address of the host, or load images from here: pipe images add"
        )
    });
    let mut wanted = kind::wanted(surroundings, cache);
    wanted.told.verifier = verifier;
    (wanted, notes.collect())
}

/// The proxies that a container on the clusters' network can use.
pub(super) fn for_containers(env: &Env) -> Option<Proxies> {
    kind::for_nodes(&env.surroundings.proxy)
}

/// Where this cluster's nodes pull from: the local cache, unless its profile has none.
fn cache(context: &Context) -> Result<Option<kind::Cached>> {
    Ok(kind::Cached::of(&context.spec()?.profile, context.reservation()?.registry))
}

/// What this cluster's nodes are to be told.
fn told_here(context: &Context) -> Result<Told> {
    let mut told = kind::wanted(&context.world.env.surroundings, cache(context)?).told;
    told.verifier = context.verifier.as_ref().map(|it| it.fingerprint()).unwrap_or_default();
    Ok(told)
}

/// Notes in a node that its verifier was seen to refuse what is not signed.
pub(super) async fn proven(context: &Context, host: &str, verifier: &str) -> Result<()> {
    let mut told = told(context, host).await?;
    verifier.clone_into(&mut told.proven);
    mark(context, host, &told).await
}

/// Tells a node everything before its first start.
pub(super) async fn tell_new(context: &Context, host: &str) -> Result<()> {
    let told = told_here(context)?;
    if told == Told::default() {
        return Ok(());
    }
    write(context, host, &Aspect::ALL, &told).await?;
    Ok(())
}

/// Tells a running node what differs, and puts it in force.
pub(super) async fn tell(context: &Context, host: &str, aspects: &[Aspect]) -> Result<()> {
    let engine = &context.world.engine;
    let mut told = told(context, host).await?;
    let left: Vec<String> =
        aspects.iter().flat_map(|aspect| kind::left_by(&told, *aspect)).collect();
    if !left.is_empty() {
        let remove = ["rm", "-f"].map(str::to_owned).into_iter().chain(left);
        engine.exec(host, Exec::new(remove)).await?.checked()?;
    }
    let wanted = told_here(context)?;
    for aspect in aspects {
        match aspect {
            Aspect::Proxy => {
                told.proxy = wanted.proxy.clone();
                told.proxy_shown = wanted.proxy_shown.clone();
            }
            Aspect::Authorities => told.authorities = wanted.authorities.clone(),
            Aspect::Mirrors => {
                told.mirrors = wanted.mirrors.clone();
                told.registries = wanted.registries.clone();
                told.cache = wanted.cache;
            }
            Aspect::Verifier => {
                told.verifier.clone_from(&wanted.verifier);
                told.proven.clear();
            }
        }
    }
    // In force before it is noted as told: a run that is cut off here does it again.
    let mut configured = write_files(context, host, aspects, &told).await?;
    if aspects.contains(&Aspect::Verifier) {
        configured |= super::verifier::install_live(context, host).await?;
    }
    let at_start = [Aspect::Proxy, Aspect::Authorities];
    let at_start = aspects.iter().any(|aspect| at_start.contains(aspect));
    if configured || at_start {
        // Running pods do not notice. kubelet pulls nothing itself, and restarted it would call every
        // pod unready for a moment: it reads its variables when it starts next.
        let commands = [
            ["systemctl", "daemon-reload", "--quiet"],
            ["systemctl", "restart", "containerd.service"],
        ];
        for command in commands {
            engine.exec(host, Exec::new(command)).await?.checked()?;
        }
    }
    mark(context, host, &told).await
}

async fn write(context: &Context, host: &str, aspects: &[Aspect], told: &Told) -> Result<()> {
    write_files(context, host, aspects, told).await?;
    mark(context, host, told).await
}

/// Whether containerd's configuration changed with it.
async fn write_files(
    context: &Context,
    host: &str,
    aspects: &[Aspect],
    told: &Told,
) -> Result<bool> {
    let engine = &context.world.engine;
    let (spec, reservation) = (context.spec()?, context.reservation()?);
    let subnets = [Some(reservation.subnet.clone()), reservation.subnet6.clone()];
    let subnets: Vec<String> = subnets.into_iter().flatten().collect();
    let surroundings = &context.world.env.surroundings;
    let cache = cache(context)?;
    let mut files: Vec<File> = aspects
        .iter()
        .flat_map(|aspect| kind::files(surroundings, cache, &spec.cluster, &subnets, *aspect))
        .collect();
    let mut configured = false;
    if aspects.contains(&Aspect::Mirrors)
        && !told.registries.is_empty()
        && let Some(config) = engine.get_file(host, containerd::CONFIG).await?
        && let Some(config) =
            containerd::with_hosts(&String::from_utf8_lossy(&config), kind::HOSTS)?
    {
        files.push(File::new(containerd::CONFIG, 0o644, config));
        configured = true;
    }
    if !files.is_empty() {
        engine.put_files(host, files).await?;
    }
    Ok(configured)
}

async fn mark(context: &Context, host: &str, told: &Told) -> Result<()> {
    let text = serde_json::to_vec(told).map_err(|error| Error::bug(error.to_string()))?;
    let marker = File::new(kind::MARKER, 0o600, text);
    Ok(context.world.engine.put_files(host, vec![marker]).await?)
}

async fn told(context: &Context, host: &str) -> Result<Told> {
    Ok(read_told(&context.world.engine, host).await?)
}

/// What a node was told; nothing where it does not know.
pub(super) async fn read_told(engine: &Engine, host: &str) -> EngineResult<Told> {
    let marker = engine.get_file(host, kind::MARKER).await?;
    Ok(marker.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
}
