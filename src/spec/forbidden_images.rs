//! Forbidden images in a profile, its components and their charts: each with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::image_names::{self, Found};
use super::packed_chart::{Files, unpacked};
use super::problem::{Position, Problems};
use super::read::Cursor;
use super::source::{SourceFile, Sources};
use super::{Component, Definition, values, yaml};
use crate::trust::forbidden::{Forbidden, Rule};

/// Deepest chart in a chart that is looked into.
const CHART_DEPTH_MAX: usize = 5;

/// What is looked for, and where it is noted.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    /// The rules.
    pub(super) forbidden: &'a Forbidden,
    /// Where problems go.
    pub(super) problems: &'a Problems,
}

impl<'a> Search<'a> {
    fn note(&self, file: &str, at: Option<Position>, image: &str, rule: &Rule, more: &str) {
        self.problems.add(file, at, rule.reason(image), format!("{}{more}", rule.remedy()));
    }

    /// The forbidden names in a text. A text may hold one name a hundred thousand times.
    fn hits(&self, text: &str) -> Vec<(Found, &'a Rule)> {
        let mut known: BTreeMap<String, Option<&'a Rule>> = BTreeMap::new();
        let found = image_names::in_text(text).into_iter();
        let hits = found.filter_map(|found| {
            let rule = match known.get(&found.image) {
                Some(rule) => *rule,
                None => {
                    let rule = self.forbidden.matches(&found.image);
                    known.insert(found.image.clone(), rule);
                    rule
                }
            };
            Some((found, rule?))
        });
        hits.collect()
    }

    /// Notes a forbidden image that a file names at a known place.
    pub(super) fn image(&self, cursor: Cursor<'_>, image: &str) {
        if let Some(rule) = self.forbidden.matches(image) {
            cursor.problem(rule.reason(image), rule.remedy());
        }
    }

    /// Notes those in the values of a profile or component file; `images:` of a component is noted
    /// where it is read.
    pub(super) fn file(&self, file: &SourceFile, definition: Option<&Definition>) {
        let text = String::from_utf8_lossy(&file.bytes);
        let listed = |image: &str| {
            definition.is_some_and(|it| it.images.iter().any(|known| known.as_str() == image))
        };
        for (found, rule) in self.hits(&text) {
            if !listed(&found.image) {
                self.note(&file.shown, Some(found.at), &found.image, rule, "");
            }
        }
    }

    /// Notes those of a component's chart: in its templates, and in its values as far as nobody
    /// chose others. A chart that cannot be read is refused where it is used.
    pub(super) fn chart(&self, component: &Component, files: &[&SourceFile], sources: &Sources) {
        let name = &component.definition.chart;
        let Ok(chart) = sources.chart_files(name) else { return };
        // What those files say themselves has been noted.
        let said: BTreeSet<String> = files
            .iter()
            .flat_map(|file| image_names::in_text(&String::from_utf8_lossy(&file.bytes)))
            .map(|found| found.image)
            .collect();
        let shown = sources.shown_chart(name);
        let chosen = component.chart_values();
        let (at, key) = (Path::new("").to_owned(), String::new());
        let folder = ChartFolder { files: &unpacked(chart), at, key, shown: &shown, said };
        self.chart_folder(folder, &chosen, 0);
    }

    fn chart_folder(&self, mut chart: ChartFolder<'_>, chosen: &Value, depth: usize) {
        let own = chart.file("values.yaml").map(|text| (yaml_values(&text), text));
        let (defaults, text) = own.unwrap_or_default();
        let mut merged = defaults;
        values::merge(&mut merged, chosen);
        let places: BTreeMap<String, Position> =
            image_names::in_text(&text).into_iter().map(|it| (it.image, it.at)).collect();
        for (key, image) in image_names::in_values(&merged) {
            if !chart.said.insert(image.clone()) {
                continue;
            }
            if let Some(rule) = self.forbidden.matches(&image) {
                let at = places.get(&image).copied();
                let more =
                    format!(", in the chart or by the value {}{key} in the profile", chart.key);
                self.note(&chart.shown_file("values.yaml"), at, &image, rule, &more);
            }
        }
        for (path, bytes) in chart.files {
            let Ok(path) = path.strip_prefix(&chart.at) else { continue };
            if !(path.starts_with("templates") || path.starts_with("crds")) {
                continue;
            }
            for (found, rule) in self.hits(&String::from_utf8_lossy(bytes)) {
                let file = chart.shown_file(&path.display().to_string());
                self.note(&file, Some(found.at), &found.image, rule, ", in the chart");
            }
        }
        if depth >= CHART_DEPTH_MAX {
            return;
        }
        for name in chart.below() {
            let chosen = merged.get(&name).cloned().unwrap_or_else(|| serde_json::json!({}));
            let at = chart.at.join("charts").join(&name);
            let key = format!("{}{name}.", chart.key);
            let below = ChartFolder {
                at,
                key,
                said: chart.said.clone(),
                files: chart.files,
                shown: chart.shown,
            };
            self.chart_folder(below, &chosen, depth + 1);
        }
    }
}

/// A chart, or one inside of it.
struct ChartFolder<'a> {
    files: &'a Files,
    /// Where it is in them.
    at: PathBuf,
    /// What stands before its values in those of the outermost one: `agent.`.
    key: String,
    /// How problems call the outermost one.
    shown: &'a str,
    /// Images that were looked at.
    said: BTreeSet<String>,
}

impl ChartFolder<'_> {
    fn file(&self, name: &str) -> Option<String> {
        let bytes = self.files.get(&self.at.join(name))?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    fn shown_file(&self, name: &str) -> String {
        Path::new(self.shown).join(&self.at).join(name).display().to_string()
    }

    /// Names of the charts right below.
    fn below(&self) -> BTreeSet<String> {
        let folder = self.at.join("charts");
        let name = |path: &Path| {
            let below = path.strip_prefix(&folder).ok()?;
            let first = below.components().next()?.as_os_str().to_str()?.to_owned();
            (below.components().count() > 1).then_some(first)
        };
        self.files.keys().filter_map(|path| name(path)).collect()
    }
}

/// Values as far as they can be read: helm says what is wrong with them.
pub(super) fn yaml_values(text: &str) -> Value {
    let unsaid = Problems::default();
    let part = yaml::parse("values.yaml", text.as_bytes(), &unsaid);
    let values = part.and_then(|part| Cursor::new("values.yaml", &unsaid, &part).values(&|_| None));
    values.unwrap_or_else(|| serde_json::json!({}))
}
