//! Fills a registry with one image from another, as `up` fills the local cache, signature included, and
//! prints how many seconds that took: for `scripts/bench --fill`.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own, at the edge"
)]

use std::error::Error;
use std::time::Instant;

use pipe::run::cache::Cache;
use pipe::run::cache::fill::{self, Source};
use pipe::run::cache::meter::Meter;
use pipe::spec::ImageName;
use pipe::spec::name::url::MirrorUrl;
use pipe::state::keys::Keys;
use pipe::trust::SigningKey;
use pipe::world::World;
use pipe::world::env::Env;
use pipe::world::registry::Registry;

const USAGE: &str =
    "usage: fill_cache UPSTREAM CACHE IMAGE (two addresses on loopback, and a name on docker.io)";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [upstream, cache, image] = &arguments[..] else { return Err(USAGE.into()) };
    let mut env = Env::read()?;
    let mirror = MirrorUrl::parse(&format!("http://{upstream}"))?;
    env.surroundings.mirrors.insert("docker.io".to_owned(), vec![mirror]);
    let world = World::connect(&env, None).await?;
    let signing = SigningKey::generate()?;
    let trusted = vec![signing.public().clone()];
    let cache = Cache { registry: Registry::own(cache, None)?, keys: Keys { signing, trusted } };
    let began = Instant::now();
    let filled =
        fill::fill(&world, &cache, &ImageName::parse(image)?, None, &Meter::default()).await;
    let took = began.elapsed();
    world.release(true).await?;
    let filled = filled?;
    if filled.source != Source::Upstream {
        return Err(format!("it came from elsewhere: {filled:?}").into());
    }
    println!("{:.2}", took.as_secs_f64());
    Ok(())
}
