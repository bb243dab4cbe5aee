//! Components that a cluster goes without, because its profile allows it.

use serde::Serialize;

use super::{Component, Profile, WhenUnavailable};

/// A component of the profile that is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// Which.
    pub component: Component,
    /// What it lacks, for people.
    pub why: String,
}

impl Profile {
    /// Takes components out that lack something and whose entry says `whenUnavailable: skip`, and those
    /// that need them.
    pub fn skip(&mut self, lacks: impl Fn(&Component) -> Option<String>) {
        for component in std::mem::take(&mut self.components) {
            let needs = &component.definition.needs;
            let may = component.when_unavailable == WhenUnavailable::Skip;
            let needed = self.skipped.iter().find(|gone| needs.contains(&gone.component.name));
            let needed =
                needed.map(|gone| format!("it needs {}, which is skipped", gone.component.name));
            match lacks(&component).filter(|_| may).or(needed) {
                Some(why) => self.skipped.push(Skipped { component, why }),
                None => self.components.push(component),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::source::Sources;
    use crate::spec::{Arch, ComponentName, WhenUnavailable};

    #[test]
    fn what_needs_a_skipped_component_goes_with_it_and_what_is_wanted_stays() {
        let sources = Sources::built_in();
        let spec = crate::spec::load(&sources, "single", Some("laptop"), Arch::Amd64).unwrap();
        let mut profile = spec.profile;
        let minio = ComponentName::parse("minio").unwrap();
        for component in &mut profile.components {
            match component.name.as_str() {
                "minio" | "clickhouse" => component.when_unavailable = WhenUnavailable::Skip,
                "nats" => component.definition.needs.push(minio.clone()),
                _ => {}
            }
        }
        let first = profile.components.iter().position(|it| it.name == minio).unwrap();
        profile.components.swap(0, first);
        profile.skip(|it| (it.name.as_str() == "minio").then(|| "no image".to_owned()));
        // One that must be had is not left out, whatever it lacks; what was left out stays so.
        profile.skip(|it| (it.name.as_str() == "scylladb").then(|| "no image".to_owned()));
        profile.skip(|it| (it.name.as_str() == "clickhouse").then(|| "no AVX2".to_owned()));
        let skipped: Vec<String> = profile
            .skipped
            .iter()
            .map(|gone| format!("{}: {}", gone.component.name, gone.why))
            .collect();
        insta::assert_snapshot!(skipped.join("\n"), @r"
        minio: no image
        nats: it needs minio, which is skipped
        clickhouse: no AVX2
        ");
        assert!(profile.components.iter().any(|it| it.name.as_str() == "scylladb"));
    }
}
