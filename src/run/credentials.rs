//! A component's credentials: as they were made here, and what became of them in its Secret.

use std::collections::BTreeMap;

use super::context::Context;
use crate::Result;
use crate::spec::Component;
use crate::state::credentials::Credentials;
use crate::state::paths::ClusterFolder;

/// The component's credentials: made once, kept in the state folder for the cluster's life.
pub(super) fn ensure(context: &Context, component: &Component) -> Result<BTreeMap<String, String>> {
    let Some(wanted) = &component.definition.credentials else { return Ok(BTreeMap::new()) };
    let policy = context.spec()?.profile.credentials;
    let own = [(&component.name, wanted)];
    let stored = context.connections.credentials.ensure(&context.state(), own, policy)?;
    stored.hide([(&component.name, wanted)], &context.mask);
    Ok(values(&stored, component))
}

/// The same as they were made; none where they cannot be read.
pub(super) fn stored(state: &ClusterFolder, component: &Component) -> BTreeMap<String, String> {
    Credentials::load(state).map(|stored| values(&stored, component)).unwrap_or_default()
}

fn values(stored: &Credentials, component: &Component) -> BTreeMap<String, String> {
    let values = stored.get(&component.name).cloned().unwrap_or_default();
    values.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What is wrong with a Secret, without a value of it; `None` if it holds our own credentials.
pub(super) fn fault(
    own: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Option<String> {
    let differs = |(key, value): &(&String, &String)| found.get(*key) != Some(*value);
    let keys: Vec<&str> = own.iter().filter(differs).map(|(key, _)| key.as_str()).collect();
    (!keys.is_empty()).then(|| format!("holds another {} than ours", keys.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_somebody_changed_is_told_by_its_keys_alone() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let own = of(&[("username", "pipe"), ("password", "secret")]);
        assert_eq!(fault(&own, &own), None);
        let more = of(&[("username", "pipe"), ("password", "secret"), ("theirs", "x")]);
        assert_eq!(fault(&own, &more), None);
        let other = of(&[("username", "pipe"), ("password", "guessed")]);
        assert_eq!(fault(&own, &other).unwrap(), "holds another password than ours");
        assert_eq!(fault(&own, &of(&[])).unwrap(), "holds another password, username than ours");
    }
}
