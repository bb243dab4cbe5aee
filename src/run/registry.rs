//! Deeds on the registry of the local cache, and what is seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cache::{self, Cache};
use super::context::{Context, shared_lock};
use super::wait::{Seen, Wait};
use super::{collect, observe, removal};
use crate::plan::observed::RegistryFacts;
use crate::provider::registry::{self, NAME, Software, Wanted, address, port};
use crate::provider::{kind, labels};
use crate::report::{Events, Mask};
use crate::spec::{ClusterName, ImageName};
use crate::state::keys::Keys;
use crate::state::lock::SharedLock;
use crate::state::paths::Paths;
use crate::state::registry_password;
use crate::world::World;
use crate::world::engine::{Container, Fault, State};
use crate::world::host;
use crate::{Error, Result};

/// From its start until it answers. Zot reads its whole store first.
const ANSWERS: Duration = Duration::from_secs(120);

/// How often somebody else may be faster in making it.
const ATTEMPTS: usize = 3;

/// Costs a tenth of a second: the password has 190 bits, so more would guard nothing.
const BCRYPT_COST: u32 = 10;

/// What the registry is looked after with; it belongs to no cluster.
#[derive(Clone, Copy)]
pub struct With<'a> {
    /// Every effect.
    pub world: &'a World,
    /// State and cache.
    pub paths: &'a Paths,
    /// Where progress goes.
    pub events: &'a Events,
    /// What must not be printed.
    pub mask: &'a Mask,
    /// Ends waits.
    pub stop: &'a CancellationToken,
    /// The engine's network that it is on.
    pub network: &'a str,
}

impl<'a> With<'a> {
    /// As a step of a cluster's run has it.
    pub(super) fn of(context: &'a Context) -> With<'a> {
        let network = context.reservation.as_ref().map(|reservation| reservation.network.as_str());
        With {
            world: &context.world,
            paths: &context.paths,
            events: &context.events,
            mask: &context.mask,
            stop: &context.stop,
            network: network.unwrap_or(kind::NETWORK),
        }
    }

    /// The lock on what clusters share.
    pub(super) async fn lock(&self, operation: &str) -> Result<SharedLock> {
        // Never cut short: an undo takes it after the run was stopped, and its wait is bounded.
        shared_lock(self.paths, operation, &CancellationToken::new(), self.events).await
    }
}

/// What was done for the registry, and how it is reached then.
#[derive(Clone, Debug)]
pub(super) struct Ensured {
    /// Its port on loopback.
    pub port: u16,
    /// Which it is.
    pub software: Option<Software>,
    /// `volume` and `container` where they were made, `start` where it did not run.
    pub done: Vec<&'static str>,
}

/// What is seen of the registry, and of `images` in it.
///
/// # Errors
/// The engine does not answer. A registry that does not answer is one that has nothing.
pub(super) async fn facts(
    world: &World,
    paths: &Paths,
    cluster: &ClusterName,
    images: &BTreeSet<&ImageName>,
) -> Result<Option<RegistryFacts>> {
    let Some(container) = world.engine.inspect(NAME).await? else { return Ok(None) };
    // Not made by us, or by hand: it stands in nobody's way until its name is needed.
    let Some((address, port)) = address(&container).zip(port(&container)) else { return Ok(None) };
    let mut others = world.engine.containers(&[labels::CLUSTER]).await?;
    others.retain(|line| line.labels.get(labels::CLUSTER).is_some_and(|it| it != cluster.as_str()));
    let mut found = BTreeMap::new();
    if let Some(keys) = Keys::load(paths)?
        && let Some(cache) = Cache::in_container(keys, paths, &container)?
    {
        for image in images {
            if let Ok(Some(facts)) = cache.look(image).await {
                found.insert(image.to_string(), facts);
            }
        }
    }
    Ok(Some(RegistryFacts {
        software: container.labels.get(labels::REGISTRY).cloned().unwrap_or_default(),
        running: container.state == State::Running,
        address,
        port,
        used: others.iter().any(|line| line.state == State::Running),
        shared: !others.is_empty() || paths.clusters()?.iter().any(|other| other != cluster),
        images: found,
    }))
}

/// Makes sure that it runs, on `address`, and answers.
pub(super) async fn ensure(with: With<'_>, id: &str, address: Ipv4Addr) -> Result<()> {
    let lock = with.lock("start the image cache").await?;
    ensured(with, &lock, id, address).await.map(drop)
}

/// The same, for who has the lock already.
pub(super) async fn ensured(
    with: With<'_>,
    lock: &SharedLock,
    id: &str,
    address: Ipv4Addr,
) -> Result<Ensured> {
    Keys::ensure(with.paths, lock)?;
    let password = registry_password::ensure(with.paths, lock)?;
    with.mask.add(&password);
    let engine = &with.world.engine;
    let ensured = match engine.inspect(NAME).await?.filter(|found| is_as_wanted(found, address)) {
        Some(found) => {
            let mut done = Vec::new();
            if found.state != State::Running {
                engine.start(NAME).await?;
                done.push("start");
            }
            Ensured { port: port_of(&found)?, software: software_of(&found), done }
        }
        None => make(with, address, &password).await?,
    };
    let registry = cache::at(with.paths, ensured.port)?;
    let what = "the image cache did not start".to_owned();
    let (events, stop) = (with.events, with.stop);
    let wait = Wait { code: "cache-not-ready", what, within: ANSWERS, step: id, events, stop };
    let answers = wait.until(|| async {
        match engine.inspect(NAME).await {
            Ok(Some(container)) if container.state == State::Running => {}
            Ok(Some(container)) => return Seen::Never(ended(with, &container).await),
            Ok(None) => {
                let what = "the image cache's container disappeared while it started";
                return Seen::Never(Error::failed("cache-gone", what));
            }
            Err(error) => return Seen::of(error),
        }
        match registry.ping().await {
            Ok(()) => Seen::Ready(()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    answers.await?;
    Ok(ensured)
}

/// Which registry a container of ours has.
pub(super) fn software_of(container: &Container) -> Option<Software> {
    container.labels.get(labels::REGISTRY).and_then(|label| Software::parse(label))
}

fn is_as_wanted(container: &Container, address: Ipv4Addr) -> bool {
    registry::address(container) == Some(address)
        && port(container).is_some()
        && matches!(container.state, State::Running | State::Exited)
}

pub(super) fn port_of(container: &Container) -> Result<u16> {
    port(container).ok_or_else(|| {
        Error::failed("cache-foreign", format!("the container {NAME} was not made by pipe"))
            .hint(format!("rename it: podman rename {NAME} OTHER"))
    })
}

/// Makes the container, with its volume, and starts it.
async fn make(with: With<'_>, address: Ipv4Addr, password: &str) -> Result<Ensured> {
    let world = with.world;
    let engine = &world.engine;
    let mut done = Vec::new();
    if let Some(found) = engine.inspect(NAME).await? {
        if !found.labels.contains_key(labels::REGISTRY) {
            port_of(&found)?;
        }
        engine.remove(NAME).await?;
    }
    let image = super::prepare::registry_image()?;
    let Some((facts, _)) = observe::find_image(world, &image).await? else {
        return Err(Error::failed("image-unknown", format!("the engine has no {image}")));
    };
    let software = match facts.stand_in {
        None => Software::Zot,
        Some(_) => Software::Distribution,
    };
    if engine.volume(NAME).await?.is_none() {
        match engine.create_volume(Some(NAME), &labels::ours(None)).await {
            Err(error) if error.fault != Fault::Conflict => return Err(error.into()),
            _ => done.push("volume"),
        }
    }
    done.extend(["container", "start"]);
    let password_hash = bcrypt::hash(password, BCRYPT_COST)
        .map_err(|error| Error::bug("a password cannot be hashed").because(error))?;
    let env = proxies(world);
    let mut taken = Vec::new();
    for attempt in 1.. {
        let host_port = host::free_port(&taken)?;
        taken.push(host_port);
        let wanted = Wanted {
            software,
            image: facts.reference.clone(),
            network: with.network.to_owned(),
            address,
            address6: None,
            host_port,
            password_hash: password_hash.clone(),
            env: env.clone(),
        };
        match engine.create_container(&wanted.container(&world.host)).await {
            Err(error) if error.fault == Fault::Conflict && attempt < ATTEMPTS => {
                engine.remove(NAME).await?;
                continue;
            }
            created => created?,
        };
        engine.put_files(NAME, wanted.files()).await?;
        match engine.start(NAME).await {
            // Somebody took the port meanwhile.
            Err(_) if attempt < ATTEMPTS => engine.remove(NAME).await?,
            started => {
                started?;
                return Ok(Ensured { port: host_port, software: Some(software), done });
            }
        }
    }
    Err(Error::bug("the image cache was tried without end"))
}

/// What Zot needs to reach other registries from where it is.
fn proxies(world: &World) -> BTreeMap<String, String> {
    let proxies = super::surroundings::for_containers(&world.env);
    proxies.map(|it| it.variables(&it.except).into_iter().collect()).unwrap_or_default()
}

async fn ended(with: With<'_>, container: &Container) -> Error {
    let said = with.world.engine.last_words(NAME).await;
    Error::failed("cache-exited", "the image cache ended as soon as it started")
        .because(format!("exit code {}", container.exit_code))
        .because(said)
        .hint(format!(
            "if its store is damaged, make it anew: podman rm -f {NAME}; podman volume rm {NAME}"
        ))
}

/// Stops it; what it holds stays.
pub(super) async fn stop(context: &Context) -> Result<()> {
    let grace = Duration::from_secs(10);
    Ok(context.world.engine.stop(NAME, grace).await?)
}

/// Removes the container, unless another cluster came to use it meanwhile.
pub(super) async fn remove(context: &Context) -> Result<()> {
    let lock = context.shared_lock("remove the image cache").await?;
    let others = crate::state::reservation::others(&context.paths, &context.cluster, &lock);
    if others.is_ok_and(|others| others.values().all(|other| other.registry.is_none())) {
        collect::clear(&context.world.engine).await?;
        removal::container(&context.world.engine, NAME).await?;
    }
    Ok(())
}
