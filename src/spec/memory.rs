//! Amounts of memory: how they are written, and what a component's pods take of it.

use std::path::Path;

use serde_json::Value;

use super::source::Sources;
use super::{Component, forbidden_images, values};

/// What to write.
pub(super) const REMEDY: &str = "write it as 512Mi, 2Gi or 8G";

/// Suffixes and what they stand for, as Kubernetes has them.
const UNITS: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// Bytes of memory of all pods of a component together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What they ask for, and have as soon as they serve.
    pub requested: u64,
    /// What they may take at most.
    pub limit: u64,
}

/// Bytes of a text such as `512Mi`, `1.5Gi` or `8G`.
///
/// # Errors
/// It is no amount of memory, in words.
pub fn parse(text: &str) -> Result<u64, String> {
    let fault = || format!("{text:?} is no amount of memory");
    let unit = UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)));
    let (number, unit) = unit.unwrap_or((text, 1));
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let length = u32::try_from(part.len()).map_err(|_| fault())?;
    // Bytes alone may be many; what has a unit is short.
    let is_number = digits(part) && !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit());
    let whole: u64 = whole.parse().ok().filter(|_| is_number).ok_or_else(fault)?;
    let part: u64 = part.parse().map_err(|_| fault())?;
    let bytes = u128::from(whole) * u128::from(unit)
        + u128::from(part) * u128::from(unit) / 10_u128.pow(length);
    u64::try_from(bytes).map_err(|_| fault())
}

impl Component {
    /// What its pods take: what the file says, else what the chart asks Kubernetes for, which in our
    /// charts is `resources` for each of `replicas`. Charts that have it elsewhere take nothing here.
    pub(super) fn measure(&self, sources: &Sources) -> Memory {
        let files = sources.chart_files(&self.definition.chart).unwrap_or_default();
        let text = files.get(Path::new("values.yaml")).map(|it| String::from_utf8_lossy(it));
        let mut merged = forbidden_images::yaml_values(&text.unwrap_or_default());
        values::merge(&mut merged, &self.chart_values());
        let of_chart = of_values(&merged);
        match self.definition.requires.memory {
            None => of_chart,
            Some(requested) => Memory { requested, limit: of_chart.limit.max(requested) },
        }
    }
}

fn of_values(values: &Value) -> Memory {
    let replicas = values["replicas"].as_u64().unwrap_or(1);
    let of = |kind: &str| {
        let said = &values["resources"][kind]["memory"];
        let bytes = said.as_u64().or_else(|| parse(said.as_str()?).ok());
        bytes.map(|bytes| bytes.saturating_mul(replicas))
    };
    let (requests, limits) = (of("requests"), of("limits"));
    // Kubernetes takes a limit for the request where there is none.
    let requested = requests.or(limits).unwrap_or(0);
    Memory { requested, limit: limits.unwrap_or(requested).max(requested) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::{Arch, load};

    #[test]
    fn amounts() {
        let good = [
            ("0", 0),
            ("1024", 1024),
            ("17179869184", 17_179_869_184),
            ("512Mi", 536_870_912),
            ("1.5Gi", 1_610_612_736),
            ("8G", 8_000_000_000),
            ("0.25k", 250),
        ];
        for (text, bytes) in good {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "Mi", "8GB", "8 G", "-1", "1.Gi", ".5Gi", "1e3", "1.5.2Gi", "99999999999Ti"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_pods_take_is_what_kubernetes_is_asked_for() {
        let of = |values: serde_json::Value| {
            let Memory { requested, limit } = of_values(&values);
            (requested, limit)
        };
        let sizes = json!({"requests": {"memory": "1Ki"}, "limits": {"memory": 2048}});
        assert_eq!(of(json!({"replicas": 3, "resources": sizes})), (3072, 6144));
        assert_eq!(of(json!({"resources": {"limits": {"memory": "1k"}}})), (1000, 1000));
        assert_eq!(of(json!({"resources": {"requests": {"memory": "1k"}}})), (1000, 1000));
        assert_eq!(of(json!({"pod": {"resources": {}}})), (0, 0));
    }

    #[test]
    fn every_component_of_ours_says_what_it_takes() {
        let sources = Sources::built_in();
        for profile in ["laptop", "quickstart", "ci"] {
            let spec = load(&sources, "dev", Some(profile), Arch::Amd64).unwrap();
            for component in &spec.profile.components {
                let Memory { requested, limit } = component.memory;
                assert!(0 < requested && requested <= limit, "{} of {profile}", component.name);
            }
        }
    }
}
