//! `pipe images serve`.

use crate::Result;
use crate::cli::app::App;
use crate::run::serve;

/// Serve the local image cache, with or without a cluster, and print its address on this host
///
/// `pipe up` does the same where a profile uses the cache. Nodes and this host read from it; only pipe
/// writes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(app: &App, _args: Args) -> Result<()> {
    let served = app.narrated(async |events| {
        app.looking(async |world| serve::serve(app.registry(world, events)).await).await
    });
    let served = served.await?;
    app.say(&match served.done.is_empty() {
        true => "the image cache is served already".to_owned(),
        false => format!("the image cache is served; {}", words(&served.done)),
    })?;
    if let (Some(software), Some(unprotected)) = (served.software, served.unprotected) {
        app.say(&format!("its registry is {}: {unprotected}", software.as_str()))?;
    }
    if !app.global.json {
        app.print(&format!("{}\n", served.address))?;
    }
    app.report.result("images serve", Ok(&served))
}

/// `pulled its image; made its network, its container; started it`.
fn words(done: &[&str]) -> String {
    let mut parts = Vec::new();
    if done.contains(&"image") {
        parts.push("pulled its image".to_owned());
    }
    let made: Vec<&str> =
        done.iter().copied().filter(|it| ["network", "volume", "container"].contains(it)).collect();
    if !made.is_empty() {
        parts.push(format!("made its {}", made.join(", ")));
    }
    if done.contains(&"start") {
        parts.push("started it".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn what_was_done_is_said() {
        assert_eq!(words(&["start"]), "started it");
        assert_eq!(
            words(&["image", "network", "volume", "container", "start"]),
            "pulled its image; made its network, volume, container; started it"
        );
    }
}
