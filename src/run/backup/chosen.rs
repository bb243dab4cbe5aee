//! The components that are meant, where they are reached, and those that cannot be.

use super::{LeftOut, PlaceName};
use crate::backup::{Driver, Place, Pods, Target};
use crate::run::components::selector;
use crate::run::status;
use crate::run::up::Environment;
use crate::spec::{ClusterName, Component, ComponentName, Keep};
use crate::state::credentials::Credentials;
use crate::state::receipt::Receipt;
use crate::{Error, Result};

/// A component, and how it is reached.
pub(super) struct Subject {
    pub(super) name: ComponentName,
    pub(super) driver: Driver,
    pub(super) target: Target,
    pub(super) keep: Keep,
}

/// The components that are meant, and how all are reached.
pub(super) struct Chosen {
    /// Every component that can be backed up and is installed.
    pub(super) all: Vec<Subject>,
    /// Those of them that are meant.
    pub(super) names: Vec<ComponentName>,
    /// Components that cannot be, and why.
    pub(super) left_out: Vec<LeftOut>,
}

impl Chosen {
    /// Leaves out the store that backups go into.
    ///
    /// # Errors
    /// It was asked for by its name.
    pub(super) fn keep_out_of_itself(
        &mut self,
        to: &PlaceName,
        place: &Place,
        asked: &[String],
    ) -> Result<()> {
        let within = self.subjects().find(|subject| to.is_within(place, subject));
        let Some(name) = within.map(|subject| subject.name.clone()) else { return Ok(()) };
        let why = "a backup of a store in itself would be lost with it; name a folder: --to DIR";
        if !asked.is_empty() {
            let what = format!("{name} cannot be backed up into {place}");
            return Err(Error::usage("backup-within-itself", what).because(why));
        }
        self.names.retain(|other| *other != name);
        self.left_out.push(LeftOut { component: name, why: why.to_owned() });
        Ok(())
    }

    /// Leaves out what takes running programs in a pod, which no pod of ours may do.
    ///
    /// # Errors
    /// It was asked for by its name.
    pub(super) fn keep_to_ports(&mut self, asked: &[String]) -> Result<()> {
        let why = "its programs run in its pod, where pods of the cluster may not start any; let \
                   the host do it: pipe backup with --to DIR, by cron";
        let in_pod: Vec<ComponentName> =
            self.all.iter().filter(|it| it.driver.is_in_pod()).map(|it| it.name.clone()).collect();
        for name in in_pod {
            if asked.iter().any(|asked| asked == name.as_str()) {
                let what = format!("the cluster cannot back up {name} by itself");
                return Err(Error::usage("backup-in-pod", what).because(why));
            }
            self.all.retain(|subject| subject.name != name);
            if self.names.contains(&name) {
                self.names.retain(|other| *other != name);
                self.left_out.push(LeftOut { component: name, why: why.to_owned() });
            }
        }
        Ok(())
    }

    /// Tells what is left out.
    pub(super) fn warn(&self, environment: &Environment<'_>) {
        for LeftOut { component, why } in &self.left_out {
            environment.events.warn(format!("{component} is not backed up: {why}"));
        }
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.all.iter().filter(|subject| self.names.contains(&subject.name))
    }
}

/// The components to back up or to restore, with where they are reached; and those that cannot be.
pub(super) fn choose(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    names: &[String],
) -> Result<Chosen> {
    let paths = environment.paths;
    let (reservation, spec) = status::known(environment.sources, paths, cluster)?;
    let state = paths.cluster(cluster);
    let last = Receipt::load(&state)?;
    let components = &spec.profile.components;
    known(components, names)?;
    let store = Credentials::load(&state)?;
    let secrets = components.iter().filter_map(|component| {
        component.definition.credentials.as_ref().map(|spec| (&component.name, spec))
    });
    store.hide(secrets, &environment.mask);
    let mut chosen = Chosen { all: Vec::new(), names: Vec::new(), left_out: Vec::new() };
    for component in components {
        let name = &component.name;
        let asked = names.iter().any(|asked| asked == name.as_str());
        let driver = component.definition.smoke.as_ref().and_then(|it| Driver::parse(&it.driver));
        let port = component.smoke_port().and_then(|port| reservation.ports.get(port));
        let installed = last.components.contains_key(name);
        let why = match (driver, port) {
            (Some(driver), port) if installed && (port.is_some() || driver.is_in_pod()) => {
                let stored = store.get(name).cloned().unwrap_or_default();
                let credentials = stored.iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
                let target = Target {
                    component: name.to_string(),
                    host: "127.0.0.1".to_owned(),
                    port: port.copied(),
                    pods: Some(Pods {
                        kubeconfig: state.kubeconfig(),
                        namespace: component.namespace.clone(),
                        selector: selector(name.as_str()),
                    }),
                    credentials: credentials.collect(),
                };
                if names.is_empty() || asked {
                    chosen.names.push(name.clone());
                }
                let keep = component.definition.keep.unwrap_or_default();
                chosen.all.push(Subject { name: name.clone(), driver, target, keep });
                continue;
            }
            (None, _) => "pipe has no way to back it up",
            (Some(_), _) if !installed => "it is not installed",
            (Some(_), _) => "it has no port on this host",
        };
        if asked {
            let what = format!("{name} cannot be backed up or restored");
            return Err(Error::usage("no-backup-driver", what).because(why));
        }
        if names.is_empty() {
            chosen.left_out.push(LeftOut { component: name.clone(), why: why.to_owned() });
        }
    }
    Ok(chosen)
}

/// Refuses names that the profile does not have.
fn known(components: &[Component], names: &[String]) -> Result<()> {
    let known: Vec<&str> = components.iter().map(|c| c.name.as_str()).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let what = format!("the profile has no component {name}");
            let hint = format!("it has: {}", known.join(", "));
            Err(Error::usage("no-component", what).hint(hint))
        }
    }
}
