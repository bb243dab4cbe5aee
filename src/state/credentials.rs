//! Credentials of components: made once for a cluster, kept until it is gone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use sha_crypt::{PasswordHasher as _, ShaCrypt};

use super::file;
use super::paths::ClusterFolder;
use crate::Result;
use crate::report::Mask;
use crate::spec::{ComponentName, CredentialSpec, CredentialValue, Credentials as Policy};

/// Version of the file.
const SCHEMA: u32 = 1;

/// The credentials of every component of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    schema: u32,
    components: BTreeMap<ComponentName, ComponentCredentials>,
}

/// Values by key, as they stand in the component's Secret. `Debug` shows keys only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentCredentials(BTreeMap<String, String>);

/// The file of one cluster's credentials, for steps of one run. Components are prepared side by
/// side, and each reads the file, adds its own and writes it back.
#[derive(Debug, Default)]
pub struct Store(Mutex<()>);

impl Store {
    /// Makes what `wanted` asks for and is missing, stores it, and gives all that is stored.
    pub fn ensure<'a>(
        &self,
        folder: &ClusterFolder,
        wanted: impl IntoIterator<Item = (&'a ComponentName, &'a CredentialSpec)>,
        policy: Policy,
    ) -> Result<Credentials> {
        // Nothing is kept behind the lock, so a holder that panicked left nothing half done.
        let _alone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stored = Credentials::load(folder)?;
        if stored.ensure(wanted, policy) {
            stored.save(folder)?;
        }
        Ok(stored)
    }
}

impl Default for Credentials {
    fn default() -> Credentials {
        Credentials { schema: SCHEMA, components: BTreeMap::new() }
    }
}

impl Credentials {
    /// The stored credentials, none for a new cluster.
    pub fn load(folder: &ClusterFolder) -> Result<Credentials> {
        let path = folder.credentials();
        let stored = file::read_json(&path, SCHEMA).map_err(|error| match error.code {
            // New ones would not be those that the services were set up with.
            file::BROKEN => error
                .because("it holds the credentials of the cluster's components")
                .hint("their Secrets in the cluster hold them too: pipe kubectl -- get secrets -A")
                .hint("or make the cluster anew: pipe teardown, then pipe up"),
            _ => error,
        })?;
        Ok(stored.unwrap_or_default())
    }

    /// Stores them, 0600.
    pub fn save(&self, folder: &ClusterFolder) -> Result<()> {
        file::write_json(&folder.credentials(), self)
    }

    /// Makes what `wanted` asks for and is missing; says whether anything changed.
    ///
    /// A value that exists is kept whatever the policy says now, because the service was set up
    /// with it; only constant values (user names) follow the definition. Components that are not
    /// in `wanted` keep theirs too: their volumes may come back.
    pub fn ensure<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = (&'a ComponentName, &'a CredentialSpec)>,
        policy: Policy,
    ) -> bool {
        let mut changed = false;
        for (component, spec) in wanted {
            let known = self.components.get(component).cloned().unwrap_or_default();
            let value = |(key, how): (&String, &CredentialValue)| {
                let value = match (how, known.get(key), policy) {
                    (CredentialValue::Value(text), _, _) => text.clone(),
                    (_, Some(kept), _) => kept.to_owned(),
                    // Of another value, below.
                    (CredentialValue::Crypt { .. }, None, _) => return None,
                    (CredentialValue::Generate { fixed, .. }, None, Policy::Fixed) => fixed.clone(),
                    (CredentialValue::Generate { length, .. }, None, Policy::Generated) => {
                        Alphanumeric.sample_string(&mut rand::rng(), *length)
                    }
                };
                Some((key.clone(), value))
            };
            let mut values: BTreeMap<String, String> = spec.keys.iter().filter_map(value).collect();
            for (key, how) in &spec.keys {
                if let (CredentialValue::Crypt { of }, None) = (how, values.get(key))
                    && let Some(made) = values.get(of).and_then(|text| crypt(text, rand::random()))
                {
                    values.insert(key.clone(), made);
                }
            }
            let made = ComponentCredentials(values);
            if made != known {
                self.components.insert(component.clone(), made);
                changed = true;
            }
        }
        changed
    }

    /// The credentials of one component.
    pub fn get(&self, component: &ComponentName) -> Option<&ComponentCredentials> {
        self.components.get(component)
    }

    /// Hides every value but names of users, without knowing which component wants what: for
    /// evidence, where nothing may slip through.
    pub fn hide_all(&self, mask: &Mask) {
        for (key, value) in self.components.values().flat_map(ComponentCredentials::iter) {
            if !key.to_ascii_lowercase().contains("user") {
                mask.add(value);
            }
        }
    }

    /// Hides every value of these components in everything that is printed. Constant
    /// values are no secrets and would garble the output (`admin`).
    pub fn hide<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a ComponentName, &'a CredentialSpec)>,
        mask: &Mask,
    ) {
        for (component, spec) in wanted {
            let Some(values) = self.get(component) else { continue };
            for (key, how) in &spec.keys {
                match (how, values.get(key)) {
                    (CredentialValue::Value(_), _) | (_, None) => {}
                    (_, Some(value)) => mask.add(value),
                }
            }
        }
    }
}

impl ComponentCredentials {
    /// One value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every key and value, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Debug for ComponentCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `text` with salt, as `crypt(3)` hashes it with SHA-512. `None` does not happen: the salt is of
/// the right length.
fn crypt(text: &str, salt: [u8; 12]) -> Option<String> {
    let hash = ShaCrypt::SHA512.hash_password_with_salt(text.as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ClusterName;
    use crate::state::paths::tests::paths_in;

    fn spec(user: &str) -> CredentialSpec {
        let generate = CredentialValue::Generate { length: 24, fixed: "dev-password".into() };
        let keys = [
            ("username".to_owned(), CredentialValue::Value(user.to_owned())),
            ("password".to_owned(), generate),
        ];
        CredentialSpec { secret: "nats-credentials".into(), keys: keys.into() }
    }

    #[test]
    fn made_once_kept_and_hidden() {
        let home = tempfile::tempdir().unwrap();
        let folder = paths_in(home.path()).cluster(&ClusterName::parse("dev").unwrap());
        let nats = ComponentName::parse("nats").unwrap();
        let mut credentials = Credentials::load(&folder).unwrap();
        assert!(credentials.ensure([(&nats, &spec("admin"))], Policy::Generated));
        let password = credentials.get(&nats).unwrap().get("password").unwrap().to_owned();
        assert_eq!(password.len(), 24);
        assert!(password.chars().all(|c| c.is_ascii_alphanumeric()));
        assert!(!format!("{credentials:?}").contains(&password));
        credentials.save(&folder).unwrap();

        let mut again = Credentials::load(&folder).unwrap();
        assert_eq!(again, credentials);
        assert!(
            !again.ensure([(&nats, &spec("admin"))], Policy::Fixed),
            "existing values are kept"
        );
        assert!(again.ensure([(&nats, &spec("root"))], Policy::Fixed), "user names follow");
        assert_eq!(again.get(&nats).unwrap().get("password"), Some(password.as_str()));

        let mask = Mask::default();
        again.hide([(&nats, &spec("root"))], &mask);
        assert_eq!(mask.apply(&format!("root {password}")), "root •••");
        let all = Mask::default();
        again.hide_all(&all);
        assert_eq!(all.apply(&format!("root {password}")), "root •••");
    }

    /// By which servers recognise the password that clients are given; `crypt(3)` of glibc says the
    /// same of this one.
    #[test]
    fn a_hash_is_of_the_password_and_is_kept_with_it() {
        let known = crypt("pipe-development-only", *b"0123456789ab").unwrap();
        insta::assert_snapshot!(known, @"$6$rounds=5000$k2XAnEHBqQ1Ct2aM$GQSnolqRL0FKdOkAHN3coRB375RWtrx0bA7eychdfqX8XtP5ER1h2rmXRnh0tLCNVTuUebHMaMFoSqaPkxp3t/");
        let name = ComponentName::parse("scylladb").unwrap();
        let mut wanted = spec("pipe");
        let of = || CredentialValue::Crypt { of: "password".into() };
        wanted.keys.insert("hash".into(), of());
        let mut credentials = Credentials::default();
        // A component that was there before it had a hash keeps its password.
        assert!(credentials.ensure([(&name, &spec("pipe"))], Policy::Generated));
        let password = credentials.get(&name).unwrap().get("password").unwrap().to_owned();
        assert!(credentials.ensure([(&name, &wanted)], Policy::Generated));
        let values = credentials.get(&name).unwrap().clone();
        assert_eq!(values.get("password"), Some(password.as_str()));
        let hash = values.get("hash").unwrap();
        assert!(hash.starts_with("$6$rounds=5000$"), "{hash}");
        assert!(!credentials.ensure([(&name, &wanted)], Policy::Generated), "made once");
        let mask = Mask::default();
        credentials.hide([(&name, &wanted)], &mask);
        assert_eq!(mask.apply(&format!("{hash} {password} pipe")), "••• ••• pipe");
    }

    #[test]
    fn fixed_credentials_are_the_documented_ones() {
        let nats = ComponentName::parse("nats").unwrap();
        let mut credentials = Credentials::default();
        credentials.ensure([(&nats, &spec("admin"))], Policy::Fixed);
        let values: Vec<_> = credentials.get(&nats).unwrap().iter().collect();
        assert_eq!(values, [("password", "dev-password"), ("username", "admin")]);
    }

    /// Components are prepared at once: none may lose what another has just stored.
    #[test]
    fn side_by_side_each_keeps_what_it_was_given() {
        let home = tempfile::tempdir().unwrap();
        let folder = paths_in(home.path()).cluster(&ClusterName::parse("dev").unwrap());
        let store = Store::default();
        let names: Vec<ComponentName> =
            (0..8).map(|n| ComponentName::parse(&format!("c{n}")).unwrap()).collect();
        let given: Vec<ComponentCredentials> = std::thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|name| {
                    let (store, folder) = (&store, &folder);
                    scope.spawn(move || {
                        let wanted = spec("admin");
                        let all = store.ensure(folder, [(name, &wanted)], Policy::Generated);
                        all.unwrap().get(name).cloned().unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let stored = Credentials::load(&folder).unwrap();
        for (name, given) in names.iter().zip(&given) {
            assert_eq!(stored.get(name), Some(given), "{name}");
        }
    }
}
