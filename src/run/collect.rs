//! Space in the cache's store. Zot frees by itself what no manifest names; the registry that stands in
//! for it has a command for that, which must be alone with the store.
//!
//! ```text
//!  pipe-registry ─ stop ─▶ pipe-registry-collector (same image, same volume) ─ ends ─▶ start
//! ```

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::registry::{self, With};
use super::removal;
use super::wait::{Seen, Wait};
use crate::provider::registry::{COLLECTOR, Collector, NAME, address};
use crate::state::file;
use crate::state::lock::SharedLock;
use crate::world::engine::{Container, Engine, State};
use crate::{Error, Result};

/// Where its waits say what they see.
const STEP: &str = "registry";

/// What the registry gets to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// It reads every manifest, and removes files.
const COLLECTED: Duration = Duration::from_secs(15 * 60);

/// Bytes in the store; `None` where its folder cannot be looked into.
pub(super) async fn stored(with: With<'_>) -> Result<Option<u64>> {
    let volume = with.world.engine.volume(NAME).await?;
    Ok(volume.map(|volume| file::size(Path::new(&volume.mountpoint))).filter(|bytes| *bytes > 0))
}

/// Frees what no manifest names any more. The registry does not serve meanwhile; whatever happens, it is
/// started again.
///
/// # Errors
/// The command fails, or the registry does not start again.
pub(super) async fn collect(
    with: With<'_>,
    lock: &SharedLock,
    container: &Container,
) -> Result<()> {
    let engine = &with.world.engine;
    let address = address(container).ok_or_else(|| Error::bug("the image cache has no address"))?;
    clear(engine).await?;
    with.events.info("freeing space in the image cache, which does not serve meanwhile");
    // Half of it helps nobody: the first Ctrl-C is not listened to.
    let stop = CancellationToken::new();
    let with = With { stop: &stop, ..with };
    engine.stop(NAME, GRACE).await?;
    let collected = run(with, container).await;
    let removed = removal::container(engine, COLLECTOR).await;
    let served = registry::ensured(with, lock, STEP, address).await;
    collected.and(removed).and(served.map(drop))
}

/// Removes what a run left that was killed.
///
/// # Errors
/// The engine does not answer or refuses.
pub(super) async fn clear(engine: &Engine) -> Result<()> {
    match engine.inspect(COLLECTOR).await? {
        Some(_) => removal::container(engine, COLLECTOR).await,
        None => Ok(()),
    }
}

async fn run(with: With<'_>, container: &Container) -> Result<()> {
    let engine = &with.world.engine;
    let collector =
        Collector { image: container.image_id.clone(), network: with.network.to_owned() };
    engine.create_container(&collector.container(&with.world.host)).await?;
    engine.put_files(COLLECTOR, collector.files()).await?;
    engine.start(COLLECTOR).await?;
    let what = "the image cache's space was not freed".to_owned();
    let (events, stop) = (with.events, with.stop);
    let wait =
        Wait { code: "cache-not-collected", what, within: COLLECTED, step: STEP, events, stop };
    let ended = wait.until(|| async {
        match engine.inspect(COLLECTOR).await {
            Ok(Some(found)) if found.state == State::Exited => Seen::Ready(found.exit_code),
            Ok(Some(found)) => Seen::NotYet(format!("its container is {:?}", found.state)),
            Ok(None) => Seen::Never(Error::failed("cache-collector-gone", "its container is gone")),
            Err(error) => Seen::of(error),
        }
    });
    let code = ended.await?;
    if code == 0 {
        return Ok(());
    }
    Err(Error::failed("cache-collector", "the image cache's space could not be freed")
        .because(format!("exit code {code}"))
        .because(engine.last_words(COLLECTOR).await)
        .hint("see what is wrong with what it holds: pipe images verify")
        .hint("then run `pipe images prune` again: it goes on where it was"))
}
