//! What is enough to believe an image, as data; and whether what was found is. Pure: whoever looks
//! for signatures hands in what it saw.
//!
//! [`Policies`] knows the [`Policy`] of a repository; that accepts one [`Demand`] or another; each
//! judges a [`Finding`], and [`Verdict`] is what the lock file, `pipe images` and errors say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::forbidden::glob;
use super::{KeyId, PublicKey};

/// Every policy that holds.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    policies: Vec<Policy>,
}

/// What is enough for some repositories.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Name of its file.
    pub name: String,
    /// Which repositories.
    pub images: Vec<Scope>,
    /// Any of these, in the order in which they are looked for.
    pub accept: Vec<Demand>,
}

/// Repositories by their whole name: `docker.io/library/nats`, `registry.k8s.io/**`,
/// `ghcr.io/acme/*`. Unlike what is forbidden, nothing may stand before it: what is trusted is one
/// registry's, not whoever's mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(String);

/// One thing that is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A signature whose certificate names who signed, as sigstore's authority gives it out.
    Keyless {
        /// Who.
        identity: Identity,
        /// Who vouches for them.
        issuer: String,
    },
    /// A signature with this key.
    Key(PublicKey),
    /// A signed statement about how it was built, certified as for [`Demand::Keyless`].
    Attestation {
        /// Who.
        identity: Identity,
        /// Who vouches for them.
        issuer: String,
        /// Kind of statement, in cosign's words: `slsaprovenance1`.
        predicate: String,
    },
    /// It was built on this host from our own recipe; of one state only where a hash is given.
    Built {
        /// The beginning of the recipe's hash.
        recipe: Option<String>,
    },
    /// Nothing but that its bytes are those that were locked.
    DigestOnly {
        /// Why that has to be enough.
        reason: String,
    },
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Exactly this.
    Is(String),
    /// A regular expression, from the first to the last character.
    Fits(String),
}

/// What somebody saw who looked for what a demand wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A signature by this certificate is good.
    Certificate {
        /// Who signed, as it was demanded.
        identity: Identity,
        /// Who vouches for them.
        issuer: String,
    },
    /// The same, of a statement.
    Statement {
        /// Who signed, as it was demanded.
        identity: Identity,
        /// Who vouches for them.
        issuer: String,
        /// Kind of statement.
        predicate: String,
    },
    /// A signature with this key is good.
    Key(KeyId),
    /// It was built here.
    Built {
        /// The recipe's hash.
        recipe: String,
        /// What it is, where it is not the named product.
        stand_in: Option<String>,
    },
    /// It is there, by its digest; nobody said anything about it.
    Bytes,
    /// Nothing that counts, and why.
    Nothing(String),
}

/// What is known of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Signed by somebody whom a certificate names.
    Keyless,
    /// Signed with a key.
    Key,
    /// A signed statement says how it was built.
    Attestation,
    /// Built here.
    Built,
    /// Only that its bytes are the locked ones.
    DigestOnly,
    /// Nothing that is enough.
    None,
}

impl Class {
    /// Every one, with its word.
    pub const ALL: [(&str, Class); 6] = [
        ("keyless", Class::Keyless),
        ("key", Class::Key),
        ("attestation", Class::Attestation),
        ("built", Class::Built),
        ("digest-only", Class::DigestOnly),
        ("none", Class::None),
    ];

    /// The word in files.
    pub fn as_str(self) -> &'static str {
        Class::ALL.iter().find(|(_, class)| *class == self).map_or("none", |(word, _)| word)
    }
}

/// What is known of an image, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Kind.
    pub class: Class,
    /// For people.
    pub words: String,
    /// Who signed, or the recipe; none for the other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What it is, where it is not the named product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
}

impl Policies {
    /// From policies.
    pub fn new(policies: Vec<Policy>) -> Policies {
        Policies { policies }
    }

    /// Every policy.
    pub fn all(&self) -> &[Policy] {
        &self.policies
    }

    /// The policy of a repository, written with its registry: the one that says most of its name.
    pub fn of(&self, repository: &str) -> Option<&Policy> {
        let scopes = self.policies.iter().flat_map(|it| it.images.iter().map(move |s| (s, it)));
        let fitting = scopes.filter(|(scope, _)| scope.fits(repository));
        fitting.max_by_key(|(scope, _)| scope.weight()).map(|(_, policy)| policy)
    }
}

impl Scope {
    /// Reads `registry/repository`, with `*` for a part of a component and `/**` at the end.
    ///
    /// # Errors
    /// Why it names no repositories.
    pub fn parse(text: &str) -> Result<Scope, String> {
        let path = text.strip_suffix("/**").unwrap_or(text);
        let usable = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '*' | ':')
        };
        let mut parts = path.split('/');
        let registry = parts.next().unwrap_or_default();
        if !(registry.contains(['.', ':']) || registry == "localhost") || registry.contains('*') {
            return Err(format!("{text:?} does not begin with a registry, written out"));
        }
        let rest: Vec<&str> = parts.collect();
        if rest.iter().any(|part| part.is_empty() || part.contains("**") || part.contains(':'))
            || !path.split('/').all(|part| part.chars().all(usable))
            || (rest.is_empty() && path == text)
        {
            return Err(format!("{text:?} is no repository; write it without a tag"));
        }
        Ok(Scope(text.to_owned()))
    }

    fn fits(&self, repository: &str) -> bool {
        let parts = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let (path, deep) = match self.0.strip_suffix("/**") {
            Some(path) => (parts(path), true),
            None => (parts(&self.0), false),
        };
        let name = parts(repository);
        let long_enough = if deep { name.len() > path.len() } else { name.len() == path.len() };
        long_enough && path.iter().zip(&name).all(|(pattern, text)| glob(pattern, text))
    }

    /// How much of a name it says.
    fn weight(&self) -> (usize, bool) {
        (self.0.chars().filter(|c| *c != '*').count(), !self.0.contains('*'))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Identity {
    /// As it is written in files, and shown.
    pub fn as_str(&self) -> &str {
        match self {
            Identity::Is(text) | Identity::Fits(text) => text,
        }
    }
}

impl Demand {
    /// Whether `found` is what is demanded: what is then known, or why it is not enough.
    /// `stand_ins`: whether another product may take an image's place.
    pub fn judge(&self, found: &Finding, stand_ins: bool) -> Result<Verdict, String> {
        let verdict =
            |class, words: String, by: Option<String>| Verdict { class, words, by, stand_in: None };
        match (self, found) {
            (_, Finding::Nothing(why)) => Err(format!("{}: {why}", self.wanted())),
            (
                Demand::Keyless { identity, issuer },
                Finding::Certificate { identity: seen, issuer: seen_issuer },
            ) if identity == seen && issuer == seen_issuer => {
                let by = identity.as_str().to_owned();
                Ok(verdict(Class::Keyless, format!("signed by {by}, says {issuer}"), Some(by)))
            }
            (
                Demand::Attestation { identity, issuer, predicate },
                Finding::Statement { identity: seen, issuer: seen_issuer, predicate: kind },
            ) if identity == seen && issuer == seen_issuer && predicate == kind => {
                let by = identity.as_str().to_owned();
                let words =
                    format!("a statement of the kind {predicate}, signed by {by}, says {issuer}");
                Ok(verdict(Class::Attestation, words, Some(by)))
            }
            (Demand::Key(key), Finding::Key(seen)) if key.id() == *seen => {
                let by = seen.to_string();
                Ok(verdict(Class::Key, format!("signed with the key {by}"), Some(by)))
            }
            (Demand::Built { .. }, Finding::Built { stand_in: Some(what), .. }) if !stand_ins => {
                Err(format!("{}: what was built is a stand-in, {what}", self.wanted()))
            }
            (Demand::Built { recipe: wanted }, Finding::Built { recipe, stand_in })
                if wanted.as_ref().is_none_or(|wanted| recipe.starts_with(wanted)) =>
            {
                let short: String = recipe.chars().take(12).collect();
                let words = match stand_in {
                    None => format!("built on this host from the recipe {short}"),
                    Some(what) => {
                        format!("a stand-in, {what}, built on this host from the recipe {short}")
                    }
                };
                let verdict = verdict(Class::Built, words, Some(recipe.clone()));
                Ok(Verdict { stand_in: stand_in.clone(), ..verdict })
            }
            (Demand::Built { recipe: Some(wanted) }, Finding::Built { recipe, .. }) => {
                Err(format!("it was built from the recipe {recipe}, and not from {wanted}"))
            }
            // What was built here is no publisher's, whatever a digest says.
            (_, Finding::Built { .. }) => {
                Err(format!("{}: it was built on this host", self.wanted()))
            }
            (Demand::DigestOnly { reason }, _) => {
                let words = format!("held to its digest alone: {reason}");
                Ok(verdict(Class::DigestOnly, words, None))
            }
            (_, Finding::Bytes) => Err(format!("{}: there is none", self.wanted())),
            _ => Err(format!("{}: something else was found", self.wanted())),
        }
    }

    /// For people.
    pub fn wanted(&self) -> String {
        match self {
            Demand::Keyless { identity, .. } => format!("a signature of {}", identity.as_str()),
            Demand::Key(key) => format!("a signature with the key {}", key.id()),
            Demand::Attestation { identity, predicate, .. } => {
                format!("a statement {predicate} of {}", identity.as_str())
            }
            Demand::Built { .. } => "an image built here from our recipe".to_owned(),
            Demand::DigestOnly { .. } => "the publisher's bytes".to_owned(),
        }
    }
}

impl Verdict {
    /// Nothing was enough.
    pub fn refused(why: &[String]) -> Verdict {
        let why = if why.is_empty() { "no policy names it".to_owned() } else { why.join("; ") };
        Verdict { class: Class::None, words: why, by: None, stand_in: None }
    }

    /// Whether it may be believed.
    pub fn is_enough(&self) -> bool {
        self.class != Class::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SigningKey;

    fn policy(name: &str, scope: &str) -> Policy {
        Policy {
            name: name.to_owned(),
            images: vec![Scope::parse(scope).unwrap()],
            accept: vec![Demand::Built { recipe: None }],
        }
    }

    #[test]
    fn the_policy_that_says_most_counts() {
        let policies = Policies::new(vec![
            policy("all", "docker.io/**"),
            policy("nats", "docker.io/library/nats"),
            policy("library", "docker.io/library/*"),
        ]);
        let of = |name| policies.of(name).map_or("-", |policy| &policy.name);
        assert_eq!(of("docker.io/library/nats"), "nats");
        assert_eq!(of("docker.io/library/redis"), "library");
        assert_eq!(of("docker.io/acme/a/b"), "all");
        assert_eq!(of("docker.io"), "-");
        // A mirror, or whoever takes the name, is not trusted for it.
        assert_eq!(of("mirror.corp/docker.io/library/nats"), "-");
        assert_eq!(of("docker.io.evil.example/library/nats"), "-");
    }

    #[test]
    fn scopes_are_whole_names() {
        for good in ["docker.io/library/nats", "r.io:5000/a", "registry.k8s.io/**", "localhost/x"] {
            assert!(Scope::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "nats",
            "library/nats",
            "docker.io",
            "docker.io/a:1",
            "docker.io//a",
            "*.io/a",
            "a.b/**/c",
            "a.b/A",
        ] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_demand_takes_what_it_asked_for_and_nothing_else() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let who = || Identity::Is("https://example/release".to_owned());
        let issuer = || "https://issuer.example".to_owned();
        let demands = [
            Demand::Keyless { identity: who(), issuer: issuer() },
            Demand::Attestation { identity: who(), issuer: issuer(), predicate: "p".into() },
            Demand::Key(key.public().clone()),
            Demand::Built { recipe: None },
        ];
        let findings = [
            Finding::Certificate { identity: who(), issuer: issuer() },
            Finding::Statement { identity: who(), issuer: issuer(), predicate: "p".into() },
            Finding::Key(key.public().id()),
            Finding::Built { recipe: "abc".into(), stand_in: None },
        ];
        for (at, demand) in demands.iter().enumerate() {
            for (with, found) in findings.iter().enumerate() {
                assert_eq!(demand.judge(found, false).is_ok(), at == with, "{demand:?} {found:?}");
            }
            assert!(demand.judge(&Finding::Bytes, true).is_err());
            assert!(
                demand.judge(&Finding::Nothing("x".into()), true).unwrap_err().ends_with(": x")
            );
        }
        let foreign = Finding::Certificate { identity: who(), issuer: "https://evil".into() };
        assert!(demands[0].judge(&foreign, false).is_err());
        let fits = Identity::Fits("https://example/release".into());
        let wider = Finding::Certificate { identity: fits, issuer: issuer() };
        assert!(demands[0].judge(&wider, false).is_err());
        assert!(demands[2].judge(&Finding::Key(other.public().id()), false).is_err());
    }

    #[test]
    fn a_recipe_and_a_stand_in() {
        let pinned = Demand::Built { recipe: Some("abc".into()) };
        let built = |recipe: &str, stand_in: Option<&str>| Finding::Built {
            recipe: recipe.into(),
            stand_in: stand_in.map(str::to_owned),
        };
        assert!(pinned.judge(&built("abcdef", None), false).is_ok());
        assert!(pinned.judge(&built("fff", None), false).unwrap_err().contains("fff"));
        let stand_in = built("abc", Some("Debian's 18.16"));
        assert!(pinned.judge(&stand_in, false).unwrap_err().contains("Debian's"));
        assert!(pinned.judge(&stand_in, true).unwrap().words.starts_with("a stand-in"));
    }

    #[test]
    fn a_digest_is_never_called_a_signature() {
        let demand = Demand::DigestOnly { reason: "its publisher does not sign".into() };
        let verdict = demand.judge(&Finding::Bytes, false).unwrap();
        assert_eq!(verdict.class, Class::DigestOnly);
        assert!(
            !verdict
                .words
                .replace(&"its publisher does not sign".to_owned(), "")
                .contains("signed")
        );
        let built = Finding::Built { recipe: "a".into(), stand_in: None };
        assert!(demand.judge(&built, true).is_err());
        assert_eq!(Verdict::refused(&[]).words, "no policy names it");
        assert!(!Verdict::refused(&[]).is_enough());
    }

    #[test]
    fn classes_have_one_word_each() {
        for (word, class) in Class::ALL {
            assert_eq!(class.as_str(), word);
            assert_eq!(serde_json::to_value(class).unwrap(), word);
        }
    }
}
