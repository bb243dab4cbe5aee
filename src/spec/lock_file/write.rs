//! An entry of `pipe.lock` as it is written: one fact a line.

use std::fmt::Write as _;

use super::{Anchor, Locked};
use crate::spec::ImageName;

/// One image.
pub(super) fn write_image(
    text: &mut String,
    name: &ImageName,
    locked: &Locked,
) -> std::fmt::Result {
    let Locked { profiles, source, anchor, platforms, evidence, at } = locked;
    let profiles: Vec<String> =
        profiles.iter().map(|name| plain_or_quoted(name.as_str())).collect();
    writeln!(text, "  {name}:")?;
    writeln!(text, "    profiles: [{}]", profiles.join(", "))?;
    writeln!(text, "    source: {}", source.as_str())?;
    match anchor {
        Anchor::Digest { digest, media_type } => {
            writeln!(text, "    digest: {digest}")?;
            writeln!(text, "    mediaType: {media_type}")?;
        }
        Anchor::Config { config, served, media_type } => {
            writeln!(text, "    anchoredBy: config")?;
            writeln!(text, "    config: {config}")?;
            if let (Some(served), Some(media_type)) = (served, media_type) {
                writeln!(text, "    digest: {served}")?;
                writeln!(text, "    mediaType: {media_type}")?;
            }
        }
    }
    if platforms.is_empty() {
        writeln!(text, "    platforms: {{}}")?;
    } else {
        writeln!(text, "    platforms:")?;
    }
    for (platform, digest) in platforms {
        writeln!(text, "      {platform}: {digest}")?;
    }
    writeln!(text, "    evidence:")?;
    writeln!(text, "      class: {}", evidence.class.as_str())?;
    writeln!(text, "      words: {}", quoted(&evidence.words))?;
    if let Some(by) = &evidence.by {
        writeln!(text, "      by: {}", quoted(by))?;
    }
    if let Some(stand_in) = &evidence.stand_in {
        writeln!(text, "      standIn: {}", quoted(stand_in))?;
    }
    writeln!(text, "    at: \"{at}\"")
}

/// A name without quotes, unless YAML would read something else.
fn plain_or_quoted(name: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    match name.starts_with(|c: char| c.is_ascii_lowercase()) && !words.contains(&name) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// JSON's way of writing text is one of YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
