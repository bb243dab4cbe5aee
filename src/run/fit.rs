//! What each component needs of the host, for [`crate::doctor::fit`] to judge, and which are left out
//! because they do not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cache::lock::Place;
use super::{observe, prepare};
use crate::Result;
use crate::doctor::{ForeignImage, ImageSource, NeededComponent};
use crate::spec::lock_file::{LockFile, Locked};
use crate::spec::source::Sources;
use crate::spec::{Component, ImageName, Spec, WhenUnavailable, host_io};
use crate::state::paths::Paths;
use crate::trust::policy::Class;
use crate::world::World;
use crate::world::host::Host;
use crate::world::kube::Kube;

/// Time for the API server to say what is installed. Where it does not, everything is taken to be:
/// nothing that may run is judged by what it already took.
const ANSWER: Duration = Duration::from_secs(5);

/// What is known of a cluster that may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Installed {
    /// There is no node.
    Nothing,
    /// Nodes are there, and none of them runs: what is installed has still to be had, and cannot be
    /// left out any more.
    Stopped,
    /// These releases.
    These(BTreeSet<String>),
    /// Nobody says: all that there may be.
    Anything,
}

impl Installed {
    /// Asks the cluster; `running` says of each container that is there whether it runs.
    pub(super) async fn of(
        paths: &Paths,
        spec: &Spec,
        running: &BTreeMap<String, bool>,
    ) -> Installed {
        if running.is_empty() {
            return Installed::Nothing;
        }
        if !running.values().any(|runs| *runs) {
            return Installed::Stopped;
        }
        let kubeconfig = paths.cluster(&spec.cluster.name).kubeconfig();
        let releases = async {
            let kube = Kube::from_kubeconfig(&kubeconfig).await.ok()?;
            kube.releases().await.ok()
        };
        match tokio::time::timeout(ANSWER, releases).await {
            Ok(Some(releases)) => {
                Installed::These(releases.into_iter().map(|release| release.name).collect())
            }
            _ => Installed::Anything,
        }
    }

    fn runs(&self, component: &Component) -> bool {
        match self {
            Installed::Nothing | Installed::Stopped => false,
            Installed::These(names) => names.contains(component.name.as_str()),
            Installed::Anything => true,
        }
    }
}

/// Where a component's images come from, and what the nodes are.
pub(super) struct Origin<'a> {
    /// The engine, where one answers.
    pub world: Option<&'a World>,
    pub paths: &'a Paths,
    pub sources: &'a Sources,
    /// `amd64`, in Go's spelling.
    pub arch: &'a str,
}

/// What each of the components needs.
///
/// # Errors
/// The engine does not answer, or `pipe.lock` cannot be read.
pub(super) async fn needed(
    origin: &Origin<'_>,
    spec: &Spec,
    components: impl Iterator<Item = &Component>,
    installed: &Installed,
) -> Result<Vec<NeededComponent>> {
    let lock = match spec.profile.policy.is_cached() {
        true => Place::of(origin.sources, origin.paths).read()?.unwrap_or_default(),
        false => LockFile::default(),
    };
    let host = origin.world.map_or_else(Host::measure, |world| world.host.clone());
    let mut needed = Vec::new();
    for component in components {
        let optional = component.when_unavailable == WhenUnavailable::Skip;
        let mut one = NeededComponent {
            name: component.name.to_string(),
            optional: optional && *installed != Installed::Stopped,
            runs: installed.runs(component),
            memory: component.memory.requested,
            memory_limit: component.memory.limit,
            aio: aio(component, &host),
            ..NeededComponent::default()
        };
        for image in &component.definition.images {
            let known = match lock.images.get(image) {
                Some(locked) => Known::of_lock(locked),
                None => Known::of_engine(origin.world, spec, image).await?,
            };
            if !known.platforms.is_empty() && !known.is_for(origin.arch) {
                let (platforms, source) = (known.platforms, known.source);
                one.foreign.push(ForeignImage { image: image.to_string(), platforms, source });
            }
            if known.named {
                one.images.push(image.to_string());
            }
        }
        if !one.images.is_empty() {
            let cpu = component.definition.requires.cpu.iter();
            let cpu = cpu.filter(|(arch, _)| arch.as_str() == origin.arch);
            one.cpu = cpu.flat_map(|(_, features)| features).cloned().collect();
        }
        needed.push(one);
    }
    Ok(needed)
}

/// Events of asynchronous I/O, by the way that the host allows, else by the most modest one.
fn aio(component: &Component, host: &Host) -> u64 {
    let ways = &component.definition.io;
    let way = host_io::choose(ways, prepare::host_io(host)).or(ways.last());
    way.and_then(|way| way.aio).unwrap_or(0)
}

/// What is known of an image before anything is fetched.
struct Known {
    /// What it is made for; empty where nobody knows.
    platforms: Vec<String>,
    source: ImageSource,
    /// Whether it is what the component file names, neither built here nor a stand-in.
    named: bool,
}

impl Known {
    fn of_lock(locked: &Locked) -> Known {
        let evidence = &locked.evidence;
        Known {
            platforms: locked.platforms.keys().cloned().collect(),
            source: ImageSource::Lock,
            named: evidence.stand_in.is_none() && evidence.class != Class::Built,
        }
    }

    /// By the engine's store, which is believed as to the platform only where nodes get the image from
    /// it: the cache asks registries first.
    async fn of_engine(world: Option<&World>, spec: &Spec, image: &ImageName) -> Result<Known> {
        let found = match world {
            Some(world) => observe::find_image(world, image).await?,
            None => None,
        };
        let mut known = Known { platforms: Vec::new(), source: ImageSource::Engine, named: true };
        let found = found.filter(|(facts, _)| observe::is_permitted(facts, spec));
        let Some((facts, info)) = found else { return Ok(known) };
        known.named = !facts.built && facts.stand_in.is_none();
        if !spec.profile.policy.is_cached() && !info.arch.is_empty() {
            known.platforms.push(format!("linux/{}", info.arch));
        }
        Ok(known)
    }

    /// A variant is for the same CPUs here.
    fn is_for(&self, arch: &str) -> bool {
        self.platforms.iter().any(|platform| {
            let rest = platform.strip_prefix("linux/").and_then(|rest| rest.strip_prefix(arch));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::spec::lock_file::{Anchor, Source};
    use crate::trust::policy::Verdict;

    fn locked(platforms: &[&str], class: Class, stand_in: Option<&str>) -> Known {
        let platforms = platforms.iter().map(|name| ((*name).to_owned(), String::new()));
        let (words, stand_in) = (String::new(), stand_in.map(str::to_owned));
        Known::of_lock(&Locked {
            profiles: BTreeSet::new(),
            source: Source::Upstream,
            anchor: Anchor::Config { config: String::new(), served: None, media_type: None },
            platforms: platforms.collect::<BTreeMap<_, _>>(),
            evidence: Verdict { class, words, by: None, stand_in },
            at: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn the_lock_says_what_an_image_is_made_for() {
        let both = locked(&["linux/amd64", "linux/arm64/v8"], Class::None, None);
        assert!(both.named && both.is_for("amd64") && both.is_for("arm64"));
        assert!(!both.is_for("arm"), "the beginning of a name is not the name");
        let windows = locked(&["windows/amd64"], Class::None, None);
        assert!(!windows.is_for("amd64"));
        assert!(!locked(&["linux/amd64"], Class::Built, None).named);
        assert!(!locked(&["linux/amd64"], Class::None, Some("another")).named);
    }
}
