//! `pipe images list --cache`.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::app::App;
use crate::report::{Level, Table, format};
use crate::run::cache::Cache;
use crate::run::cache::holdings::{Holding, holdings};
use crate::run::cache::lock::Place;
use crate::state::cache_use::CacheUse;
use crate::{Error, Result};

/// `images list --cache --json`.
#[derive(Serialize)]
struct Listed {
    images: Vec<Holding>,
}

pub(super) async fn list(app: &App) -> Result<()> {
    let lock = Place::of(&app.sources()?, &app.paths).read()?.unwrap_or_default();
    let (known, unknown) = match CacheUse::load(&app.paths) {
        Ok(known) => (known, None),
        Err(error) => (CacheUse::default(), Some(error)),
    };
    let read = app.looking(async |world| {
        let cache = Cache::running(world, &app.paths).await?;
        tokio::select! {
            found = holdings(&cache, &lock, &known) => found,
            () = app.cancel.cancelled() => Err(Error::interrupted()),
        }
    });
    let listed = Listed { images: read.await? };
    if let Some(error) = &unknown
        && !app.global.json
    {
        app.report
            .note(Level::Warning, &format!("when images were last used is not known: {error}"))?;
    }
    app.show(&listed, || table(&listed.images))?;
    if listed.images.iter().any(|image| image.digest.is_none()) {
        app.say("what has no digest cannot be read; `pipe images verify` says why")?;
    }
    Ok(())
}

fn table(images: &[Holding]) -> String {
    if images.is_empty() {
        return "the cache is empty; `pipe up` fills it\n".to_owned();
    }
    let mut table =
        Table::new(["NAME", "DIGEST", "PLATFORMS", "SIZE", "EVIDENCE", "SIGNED BY", "LAST USE"]);
    for image in images {
        table.row([
            image.name.clone(),
            short(image.digest.as_deref().unwrap_or_default()),
            image.platforms.join(","),
            format::bytes(image.size),
            match (image.evidence, &image.stand_in) {
                _ if image.on_demand => "none: fetched on demand".to_owned(),
                (Some(class), Some(_)) => format!("{class}, stand-in"),
                (class, _) => class.unwrap_or_default().to_owned(),
            },
            image.signed_by.clone().unwrap_or_default(),
            last_use(image),
        ]);
    }
    table.to_string()
}

/// As much of a digest as tells two apart.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

fn last_use(image: &Holding) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let clusters: Vec<&str> = image.clusters.iter().map(|it| it.as_str()).collect();
    match (image.last_use, clusters.is_empty()) {
        (None, _) => String::new(),
        (Some(at), true) => day(at),
        (Some(at), false) => format!("{}, {}", day(at), clusters.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ClusterName;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let image = |name: &str| Holding { name: name.to_owned(), ..Holding::default() };
        let known = Holding {
            digest: Some(format!("sha256:{}", "ab".repeat(32))),
            platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
            size: 5 << 20,
            evidence: Some("built"),
            stand_in: Some("another".to_owned()),
            signed_by: Some("0123456789abcdef".to_owned()),
            last_use: Some(Timestamp::from_second(1_795_132_800).unwrap()),
            clusters: ["ci", "dev"].map(|name| ClusterName::parse(name).unwrap()).to_vec(),
            ..image("docker.io/library/nats:2.15.2")
        };
        let fetched = Holding { on_demand: true, ..image("docker.io/library/busybox:1") };
        insta::assert_snapshot!(table(&[known, fetched, image("localhost/app:dev")]));
        assert_eq!(table(&[]), "the cache is empty; `pipe up` fills it\n");
    }
}
