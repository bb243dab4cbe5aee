//! Images that must not run, whatever they are signed with: products whose licence this project does
//! not accept, found under the name of any registry or mirror. Rules are data; this only compares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rules, in the order they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Forbidden {
    rules: Vec<Rule>,
}

/// One product or family of products.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The product: `HashiCorp Vault`.
    pub what: String,
    /// Why it must not run; follows "is forbidden:".
    pub why: String,
    /// What to take instead; follows "take".
    pub instead: String,
    /// Images of it.
    pub images: Vec<Pattern>,
    /// Images of others that a pattern of this very rule also fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Pattern>,
}

impl Forbidden {
    /// From rules.
    pub fn new(rules: Vec<Rule>) -> Forbidden {
        Forbidden { rules }
    }

    /// These rules, and `more` behind them: nobody can take one away.
    #[must_use]
    pub fn and(mut self, more: Forbidden) -> Forbidden {
        for rule in more.rules {
            if !self.rules.contains(&rule) {
                self.rules.push(rule);
            }
        }
        self
    }

    /// Every rule.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that forbids the image of that name, short or whole.
    pub fn matches(&self, image: &str) -> Option<&Rule> {
        let name = Name::of(image);
        self.rules.iter().find(|rule| {
            let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.fits(&name));
            any(&rule.images) && !any(&rule.except)
        })
    }
}

impl Rule {
    /// For people: what `image` is, and why it must not run.
    pub fn reason(&self, image: &str) -> String {
        format!("{image} is {}, which is forbidden: {}", self.what, self.why)
    }

    /// For people: what to do now.
    pub fn remedy(&self) -> String {
        format!("take {}", self.instead)
    }
}

/// Components of an image's name that must stand next to each other, the last ones of the name:
/// `vault`, `hashicorp/vault`, `consul-*`. `/**` at the end stands for any that follow, so that
/// `docker.elastic.co/**` is all of a registry, itself mirrored or not. Before the first may stand
/// anything, as mirrors put a registry and folders before a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    components: Vec<String>,
    /// Whether it ends with `/**`.
    deep: bool,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it can fit no image, or fits all.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (path, deep) = match text.strip_suffix("/**") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
        if let Some(c) = path.chars().find(|c| !usable(*c) && *c != '/') {
            return Err(format!(
                "{text:?} contains {c:?}; write components of a repository in small letters, without a tag"
            ));
        }
        let components: Vec<String> = path.split('/').map(str::to_owned).collect();
        if components.iter().any(String::is_empty) {
            return Err(format!("{text:?} has an empty component"));
        }
        if components.iter().any(|component| component.contains("**")) {
            return Err(format!("{text:?} has ** elsewhere than behind the last /"));
        }
        if components.iter().all(|component| component == "*") {
            return Err(format!("{text:?} fits every image"));
        }
        Ok(Pattern { components, deep })
    }

    /// What must stand next to each other.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// Whether any may follow.
    pub fn is_deep(&self) -> bool {
        self.deep
    }

    fn fits(&self, name: &Name) -> bool {
        let wanted = self.components.len();
        let fits = |part: &[String]| {
            self.components.iter().zip(part).all(|(pattern, text)| glob(pattern, text))
        };
        let name = name.0.as_slice();
        if self.deep {
            // What stands last is the image itself, not a folder it lies in.
            let folders = name.split_last().map_or(name, |(_, folders)| folders);
            return folders.windows(wanted).any(fits);
        }
        name.len().checked_sub(wanted).and_then(|at| name.get(at..)).is_some_and(fits)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.components.join("/"), if self.deep { "/**" } else { "" })
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Pattern, String> {
        Pattern::parse(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.to_string()
    }
}

/// Whether `text` is `pattern`, where each `*` stands for any characters, also none.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == text;
    }
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        // The earliest place leaves most for those that follow.
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// The registry without port and the components of a repository, in small letters, without tag and
/// digest.
struct Name(Vec<String>);

impl Name {
    fn of(image: &str) -> Name {
        let image = image.trim().to_lowercase();
        // `docker://`, as skopeo and containerd's tools write it.
        let image = image.split_once("://").map_or(image.as_str(), |(_, rest)| rest);
        let image = image.split_once('@').map_or(image, |(name, _)| name);
        let mut components: Vec<String> =
            image.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        // A port behind the registry, a tag behind the rest.
        for component in &mut components {
            if let Some((name, _)) = component.split_once(':') {
                *component = name.to_owned();
            }
        }
        let registry = components.first().filter(|first| first.contains('.')).cloned();
        match registry.as_deref() {
            Some("index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com") => {
                if let Some(first) = components.first_mut() {
                    "docker.io".clone_into(first);
                }
            }
            Some(_) => {}
            // Short: the engine and kubelets mean Docker Hub.
            None => components.insert(0, "docker.io".to_owned()),
        }
        Name(components)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(images: &[&str], except: &[&str]) -> Forbidden {
        let patterns = |texts: &[&str]| {
            texts.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>()
        };
        Forbidden::new(vec![Rule {
            what: "a product".to_owned(),
            why: "its licence".to_owned(),
            instead: "another".to_owned(),
            images: patterns(images),
            except: patterns(except),
        }])
    }

    fn fits(pattern: &str, image: &str) -> bool {
        rule(&[pattern], &[]).matches(image).is_some()
    }

    #[test]
    fn components_are_whole_and_stand_last() {
        for image in [
            "vault",
            "vault:1.13",
            "VAULT",
            "docker.io/library/vault:1",
            "registry.corp:5000/vault",
            "localhost/vault@sha256:00",
            "registry.corp:5000/mirror/hashicorp/vault:1.2@sha256:00",
            "docker://docker.io/x/vault:1",
            " vault ",
        ] {
            assert!(fits("vault", image), "{image}");
        }
        for image in
            ["myvault", "vault-x", "myvault/app", "vault/app", "vault.corp/app", "app:vault", ""]
        {
            assert!(!fits("vault", image), "{image}");
        }
        assert!(fits("hashicorp/*", "r.io/m/hashicorp/vault:1"));
        assert!(!fits("hashicorp/*", "r.io/hashicorp"));
        assert!(!fits("hashicorp/*", "r.io/hashicorp/a/b"));
    }

    #[test]
    fn a_whole_folder_or_registry() {
        for image in
            ["docker.elastic.co/a/b:1", "DOCKER.elastic.co:443/a", "r.corp/docker.elastic.co/a"]
        {
            assert!(fits("docker.elastic.co/**", image), "{image}");
        }
        assert!(!fits("docker.elastic.co/**", "r.corp/docker.elastic.co"));
        assert!(!fits("docker.elastic.co/**", "docker.elastic.co.evil.org/a"));
        for image in ["elastic/x", "docker.io/elastic/x/y", "index.docker.io/elastic/x:1"] {
            assert!(fits("docker.io/elastic/**", image), "{image}");
        }
        assert!(!fits("docker.io/elastic/**", "ghcr.io/acme/elastic/x"));
    }

    #[test]
    fn an_exception_holds_for_its_own_rule_only() {
        let list = rule(&["consul-*"], &["consul-exporter"]);
        assert!(list.matches("prom/consul-exporter:1").is_none());
        assert!(list.matches("hashicorp/consul-k8s").is_some());
        let both = list.and(rule(&["prom/*"], &[]));
        assert!(both.matches("prom/consul-exporter:1").is_some());
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("*b*b", "bab", true),
            ("*b*b", "b", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for text in ["", "/a", "a//b", "A", "a:1", "a@b", "*", "*/*", "**", "a/**/b", "a**", "*/**"]
        {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        for text in ["a", "a/*", "a*", "docker.elastic.co/**", "*/vault"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn rules_travel_as_json() {
        let list = rule(&["a/**", "b-*"], &["b-c"]);
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<Forbidden>(&text).unwrap(), list);
        assert!(serde_json::from_str::<Forbidden>(&text.replace("a/**", "*")).is_err());
    }

    proptest! {
        #[test]
        fn any_mirror_any_tag_any_case(
            host in "[a-z]{1,8}(\\.[a-z]{2,5}){1,2}(:[0-9]{2,5})?",
            folders in prop::collection::vec("[a-z0-9]{1,8}", 0..4),
            tag in prop::option::of("[A-Za-z0-9_.-]{1,20}"),
            digest in any::<bool>(),
            upper in any::<bool>(),
        ) {
            let mut image = format!("{host}/{}hashicorp/vault", folders.iter().map(|f| format!("{f}/")).collect::<String>());
            if let Some(tag) = tag {
                image += &format!(":{tag}");
            }
            if digest {
                image += &format!("@sha256:{}", "0".repeat(64));
            }
            if upper {
                image = image.to_uppercase();
            }
            prop_assert!(fits("hashicorp/**", &image), "{image}");
            prop_assert!(fits("vault", &image), "{image}");
        }

        #[test]
        fn parts_of_words_are_no_hits(
            before in "[a-z0-9]{0,6}", after in "[a-z0-9]{0,6}", folder in "[a-z0-9]{1,8}",
        ) {
            prop_assume!(!before.is_empty() || !after.is_empty());
            let name = format!("{before}vault{after}");
            prop_assume!(name != "vault" && folder != "vault");
            let image = format!("r.example/{name}/{folder}:vault");
            prop_assert!(!fits("vault", &image), "{image}");
            let image = format!("r.example/vault/{name}:vault");
            prop_assert!(!fits("vault", &image), "{image}");
        }

        #[test]
        fn no_name_makes_it_fail(text in ".{0,200}") {
            let _rule = fits("vault", &text);
        }

        #[test]
        fn globs_agree_with_the_regex(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
            prop_assert_eq!(glob(&pattern, &text), regex.is_match(&text));
        }
    }
}
