//! `pipe images verify`.

use super::cached::short;
use crate::cli::app::App;
use crate::report::{Table, format};
use crate::run::cache::Cache;
use crate::run::cache::verify::{self, Verified};
use crate::spec::forbidden;
use crate::{Error, Kind, Result};

/// Read everything again that the local cache holds: bytes, signatures, forbidden names
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(app: &App, _args: Args) -> Result<()> {
    let forbidden = forbidden(&app.sources()?)?;
    let verified = app.narrated(async |events| {
        app.looking(async |world| {
            let cache = Cache::running(world, &app.paths).await?;
            tokio::select! {
                verified = verify::verify(&cache, &forbidden, events) => verified,
                () = app.cancel.cancelled() => Err(Error::interrupted()),
            }
        })
        .await
    });
    let verified = verified.await?;
    app.show(&verified, || table(&verified))?;
    app.say(&format!("{} read", format::bytes(verified.bytes)))?;
    let (faulty, all) = (verified.faulty(), verified.images.len());
    if faulty == 0 {
        return Ok(());
    }
    let what = format!("{faulty} of {all} images in the cache are not as they should be");
    let faults = verified
        .images
        .iter()
        .flat_map(|image| image.faults.iter().map(move |fault| format!("{}: {fault}", image.name)));
    let error = faults.fold(Error::new(Kind::Signature, "cache-faulty", what), Error::because);
    Err(error.hint("`pipe up` fetches and signs anew what its profile names"))
}

fn table(verified: &Verified) -> String {
    let mut table = Table::new(["NAME", "DIGEST", "PLATFORMS", "SIZE", "SIGNED BY", "STATE"]);
    for image in &verified.images {
        let state = if image.faults.is_empty() { "good" } else { "NOT good" };
        table.row([
            image.name.clone(),
            short(&image.digest),
            image.platforms.join(","),
            format::bytes(image.size),
            image.signed_by.clone().unwrap_or_default(),
            state.to_owned(),
        ]);
    }
    table.to_string()
}
