//! What an API server is told of image names, as expressions in CEL: it sees names only, before any
//! node pulls. What an image *is*, nodes look at.
//!
//! kubelet's short names are made whole first (`vault` is `docker.io/vault`, as a pattern needs no
//! `library/`), in small letters. Patterns become regular expressions of RE2.

use super::forbidden::{Forbidden, Pattern, Rule};

/// Names that other expressions use, and how each is made: of all containers of a pod the images, and
/// these as whole names.
pub const VARIABLES: [(&str, &str); 2] = [
    (
        "images",
        "(object.spec.containers.map(c, has(c.image) ? c.image : '')\
         + (has(object.spec.initContainers) ? object.spec.initContainers.map(c, has(c.image) ? c.image : '') : [])\
         + (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers.map(c, has(c.image) ? c.image : '') : []))",
    ),
    (
        "names",
        "variables.images.map(i, i.lowerAscii()).map(i, \
         i.matches('^([^/]*[.:][^/]*|localhost)/') ? i : 'docker.io/' + i)",
    ),
];

/// Something that must hold of every pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// In CEL, true of a pod that may be.
    pub expression: String,
    /// For people: what does not hold, and what to do.
    pub message: String,
}

/// Every rule on forbidden images, and that names begin with one of `registries`.
pub fn demands(forbidden: &Forbidden, registries: &[String]) -> Vec<Demand> {
    let rules = forbidden.rules().iter().map(|rule| Demand {
        expression: format!("!variables.names.exists(i, {})", is_of(rule)),
        message: format!(
            "an image of this pod is {}, which is forbidden: {}; {}",
            rule.what,
            rule.why,
            rule.remedy()
        ),
    });
    let list: Vec<String> = registries.iter().map(|name| format!("'{name}/'")).collect();
    let known = Demand {
        expression: format!(
            "variables.names.all(i, [{}].exists(r, i.startsWith(r)))",
            list.join(", ")
        ),
        message: format!(
            "nodes pull from the local cache alone, which has images of {}; name a mirror of another registry in config.yaml",
            registries.join(", ")
        ),
    };
    rules.chain([known]).collect()
}

/// That `i` is an image of this rule.
fn is_of(rule: &Rule) -> String {
    let any = |patterns: &[Pattern]| {
        let all: Vec<String> = patterns.iter().map(regex).collect();
        format!("i.matches(r'{}')", all.join("|"))
    };
    match rule.except.is_empty() {
        true => any(&rule.images),
        false => format!("{} && !{}", any(&rule.images), any(&rule.except)),
    }
}

/// The whole names that a pattern fits.
fn regex(pattern: &Pattern) -> String {
    // Behind a registry may stand a port, behind the rest a tag.
    let component = |text: &String| {
        match text.as_str() {
        "docker.io" => {
            r"(docker\.io|index\.docker\.io|registry-1\.docker\.io|registry\.hub\.docker\.com)(:[^/@]*)?"
                .to_owned()
        }
        text => format!("{}(:[^/@]*)?", text.replace('.', r"\.").replace('*', "[^/:@]*")),
    }
    };
    let components: Vec<String> = pattern.components().iter().map(component).collect();
    let path = components.join("/");
    match pattern.is_deep() {
        true => format!("(^|/){path}/[^@]"),
        false => format!("(^|/){path}(@.*)?$"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    /// What the expression for names makes of one.
    fn whole(image: &str) -> String {
        let image = image.to_lowercase();
        match Regex::new("^([^/]*[.:][^/]*|localhost)/").unwrap().is_match(&image) {
            true => image,
            false => format!("docker.io/{image}"),
        }
    }

    fn fits(pattern: &str, image: &str) -> bool {
        Regex::new(&regex(&Pattern::parse(pattern).unwrap())).unwrap().is_match(&whole(image))
    }

    fn forbids(pattern: &str, image: &str) -> bool {
        let rule = Rule {
            what: String::new(),
            why: String::new(),
            instead: String::new(),
            images: vec![Pattern::parse(pattern).unwrap()],
            except: Vec::new(),
        };
        Forbidden::new(vec![rule]).matches(image).is_some()
    }

    #[test]
    fn expressions_are_for_people_who_debug_them() {
        let patterns = |texts: &[&str]| -> Vec<Pattern> {
            texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
        };
        let forbidden = Forbidden::new(vec![Rule {
            what: "HashiCorp Consul".to_owned(),
            why: "its licence".to_owned(),
            instead: "etcd".to_owned(),
            images: patterns(&["consul", "consul-*", "docker.elastic.co/**"]),
            except: patterns(&["consul-exporter"]),
        }]);
        let demands = demands(&forbidden, &["docker.io".to_owned(), "localhost".to_owned()]);
        insta::assert_debug_snapshot!(demands);
    }

    proptest! {
        /// The API server refuses exactly what everybody else refuses.
        #[test]
        fn they_fit_what_the_rules_fit(
            registry in prop::sample::select(vec![
                "", "docker.io/", "r.corp:5000/", "localhost/", "docker.elastic.co/", "index.docker.io/",
            ]),
            folders in prop::collection::vec("(elastic|hashicorp|library|x)", 0..3),
            name in "(vault|consul|consul-k8s|app|VAULT|x)",
            tag in "(:1\\.2|:vault|)",
            digest in prop::sample::select(vec!["", "@sha256:00"]),
            pattern in prop::sample::select(vec![
                "vault", "consul-*", "hashicorp/*", "hashicorp/vault*", "elastic/**", "docker.elastic.co/**",
                "docker.io/elastic/**", "docker.io/vault", "*ult",
            ]),
        ) {
            let folders: String = folders.iter().map(|folder| format!("{folder}/")).collect();
            let image = format!("{registry}{folders}{name}{tag}{digest}");
            prop_assert_eq!(fits(pattern, &image), forbids(pattern, &image), "{} {}", pattern, image);
        }
    }
}
