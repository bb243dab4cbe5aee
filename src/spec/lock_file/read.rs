//! An entry of `pipe.lock` as it is read: every problem is noted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Anchor, EVIDENCE_KEYS, IMAGE_KEYS, Locked, REMEDY, Source, digest_of, is_platform};
use crate::spec::ProfileName;
use crate::spec::read::{Cursor, Fields};
use crate::trust::policy::{Class, Verdict};

/// One image.
pub(super) fn read_image(cursor: Cursor<'_>) -> Option<Locked> {
    let fields = cursor.fields(IMAGE_KEYS, &[])?;
    let profiles = fields.required("profiles", "[NAME]").and_then(|c| c.items());
    let profiles: BTreeSet<ProfileName> = profiles
        .into_iter()
        .flatten()
        .filter_map(|c| c.parsed(ProfileName::parse, REMEDY))
        .collect();
    let source = fields.required("source", "upstream").and_then(|c| c.choice(&Source::ALL, &[]));
    let anchor = read_anchor(&fields);
    let mut platforms = BTreeMap::new();
    for (platform, mark, digest) in
        fields.required("platforms", "{}").and_then(|c| c.entries()).into_iter().flatten()
    {
        if !is_platform(platform) {
            mark.problem(format!("{platform:?} is no platform"), "write linux/amd64");
        }
        if let Some(digest) = digest.parsed(digest_of, REMEDY) {
            platforms.insert(platform.to_owned(), digest);
        }
    }
    let evidence = fields.required("evidence", "{class: …, words: …}").and_then(read_evidence);
    let at = fields.required("at", "\"2026-01-31T12:00:00Z\"").and_then(|c| {
        c.parsed(
            |text| text.parse::<Timestamp>().map_err(|_| format!("{text:?} is no time")),
            REMEDY,
        )
    });
    Some(Locked {
        profiles,
        source: source?,
        anchor: anchor?,
        platforms,
        evidence: evidence?,
        at: at?,
    })
}

fn read_anchor(fields: &Fields<'_>) -> Option<Anchor> {
    let text = |key: &str| fields.optional(key).map(|c| c.parsed(digest_of, REMEDY));
    let media_type = fields.optional("mediaType").and_then(|c| c.text()).map(str::to_owned);
    if let Some(by) = fields.optional("anchoredBy") {
        by.choice(&[("config", ())], &[])?;
        fields.required("config", "sha256:…");
        let served = text("digest");
        return Some(Anchor::Config {
            config: text("config")??,
            served: served.flatten(),
            media_type,
        });
    }
    if let Some(config) = fields.optional("config") {
        config.problem("stands without anchoredBy: config", REMEDY);
        return None;
    }
    fields.required("digest", "sha256:…");
    fields.required("mediaType", "application/vnd.oci.image.index.v1+json");
    Some(Anchor::Digest { digest: text("digest")??, media_type: media_type? })
}

fn read_evidence(cursor: Cursor<'_>) -> Option<Verdict> {
    let fields = cursor.fields(EVIDENCE_KEYS, &[])?;
    let class = fields.required("class", "digest-only").and_then(|c| c.choice(&Class::ALL, &[]));
    let words = fields.required("words", "WHAT is known").and_then(|c| c.text());
    let by = fields.optional("by").and_then(|c| c.text()).map(str::to_owned);
    let stand_in = fields.optional("standIn").and_then(|c| c.text()).map(str::to_owned);
    Some(Verdict { class: class?, words: words?.to_owned(), by, stand_in })
}
