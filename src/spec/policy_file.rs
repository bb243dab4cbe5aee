//! `profiles/trust/*.yaml` to [`Policies`]: what is enough to believe an image. A project's file takes
//! the place of the built-in one of the same name.

use std::collections::BTreeMap;

use super::problem::Problems;
use super::read::{self, Cursor, Fields};
use super::source::{Folder, SourceFile, Sources};
use super::{forbidden_file, load, yaml};
use crate::trust::PublicKey;
use crate::trust::policy::{Demand, Identity, Policies, Policy, Scope};

/// Every key of a policy file.
pub const KEYS: &[&str] = &["apiVersion", "kind", "name", "images", "accept"];

/// What may be enough: one of them in each entry of `accept`.
pub const ACCEPT_KEYS: &[&str] = &["keyless", "key", "attestation", "built", "digestOnly"];

/// Keys of `keyless`.
pub const KEYLESS_KEYS: &[&str] = &["identity", "identityRegexp", "issuer"];

/// Keys of `attestation`.
pub const ATTESTATION_KEYS: &[&str] = &["identity", "identityRegexp", "issuer", "predicate"];

/// Keys of `key`.
pub const KEY_KEYS: &[&str] = &["pem", "file"];

/// Keys of `built`.
pub const BUILT_KEYS: &[&str] = &["recipe"];

/// Keys of `digestOnly`.
pub const DIGEST_ONLY_KEYS: &[&str] = &["reason"];

/// Largest file of a key.
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Shortest beginning of a recipe's hash that means one recipe.
const RECIPE_LEAST: usize = 12;

/// Every policy that holds for a project.
///
/// # Errors
/// [`crate::Kind::Files`], with a cause for each problem in any of the files.
pub fn policies(sources: &Sources) -> crate::Result<Policies> {
    let problems = Problems::default();
    let mut policies = Vec::new();
    for name in sources.names(Folder::Trust)?.into_keys() {
        if name == forbidden_file::NAME {
            continue;
        }
        let file = load::open(sources, Folder::Trust, &name, &problems).ok().flatten();
        policies.extend(file.and_then(|file| read(&file, &problems)));
    }
    find_clashes(&policies, sources, &problems);
    problems.into_result()?;
    Ok(Policies::new(policies))
}

/// A repository that two files name alike would have the policy of whichever is read last.
fn find_clashes(policies: &[Policy], sources: &Sources, problems: &Problems) {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for policy in policies {
        for scope in &policy.images {
            if let Some(other) = owners.insert(scope.to_string(), &policy.name) {
                let file = sources.shown(Folder::Trust, &policy.name);
                let what = format!("{scope} is also in {other}.yaml");
                problems.add(&file, None, what, "name it in one of them");
            }
        }
    }
}

fn read(source: &SourceFile, problems: &Problems) -> Option<Policy> {
    let part = yaml::parse(&source.shown, &source.bytes, problems)?;
    let fields = Cursor::new(&source.shown, problems, &part).fields(KEYS, &[])?;
    let name = read::header(&fields, "TrustPolicy", &source.name).and_then(|c| c.text());
    let images = list(&fields, "images", "[registry.example/team/app]")
        .filter_map(|c| {
            c.parsed(Scope::parse, "write registry.example/team/app, or registry.example/**")
        })
        .collect();
    let accept = list(&fields, "accept", "[{keyless: {identity: …, issuer: …}}]")
        .filter_map(|c| read_demand(c, source))
        .collect();
    Some(Policy { name: name?.to_owned(), images, accept })
}

/// The items of a list that must not be empty.
fn list<'a>(
    fields: &Fields<'a>,
    key: &str,
    example: &str,
) -> impl Iterator<Item = Cursor<'a>> + use<'a> {
    let found = fields.required(key, example);
    let items: Vec<Cursor<'a>> = found.and_then(|c| c.items()).into_iter().flatten().collect();
    if let Some(cursor) = found
        && items.is_empty()
        && !cursor.is_text()
        && !cursor.is_map()
    {
        cursor.problem(format!("{key} is empty"), format!("write {key}: {example}"));
    }
    items.into_iter()
}

fn read_demand(cursor: Cursor<'_>, source: &SourceFile) -> Option<Demand> {
    let fields = cursor.fields(ACCEPT_KEYS, &[])?;
    let named: Vec<(&str, Cursor<'_>)> =
        ACCEPT_KEYS.iter().filter_map(|key| Some((*key, fields.optional(key)?))).collect();
    let &[(key, value)] = named.as_slice() else {
        let remedy = format!("write one of {}", ACCEPT_KEYS.join(", "));
        cursor.problem(format!("holds {} kinds of evidence", named.len()), remedy);
        return None;
    };
    match key {
        "keyless" => {
            let fields = value.fields(KEYLESS_KEYS, &[])?;
            let (identity, issuer) = (read_identity(&fields), read_issuer(&fields));
            Some(Demand::Keyless { identity: identity?, issuer: issuer? })
        }
        "attestation" => {
            let fields = value.fields(ATTESTATION_KEYS, &[])?;
            let (identity, issuer) = (read_identity(&fields), read_issuer(&fields));
            let predicate = fields.required("predicate", "slsaprovenance1");
            let predicate = predicate.and_then(|c| c.parsed(word, "write slsaprovenance1"));
            Some(Demand::Attestation {
                identity: identity?,
                issuer: issuer?,
                predicate: predicate?,
            })
        }
        "key" => read_key(value, source).map(Demand::Key),
        "built" => {
            let fields = value.fields(BUILT_KEYS, &[])?;
            let recipe = fields.optional("recipe");
            let hash = recipe.and_then(|c| {
                c.parsed(hash, "write the recipe's hash, as `pipe images lock` shows it")
            });
            (recipe.is_none() || hash.is_some()).then_some(Demand::Built { recipe: hash })
        }
        _ => {
            let fields = value.fields(DIGEST_ONLY_KEYS, &[])?;
            let reason = fields.required("reason", "WHY nothing better can be had")?;
            let reason =
                reason.parsed(reason_of, "say in one line why nothing better can be had")?;
            Some(Demand::DigestOnly { reason })
        }
    }
}

fn read_identity(fields: &Fields<'_>) -> Option<Identity> {
    let remedy =
        "write who signs, such as https://github.com/ORG/REPO/.github/workflows/FILE@refs/tags/TAG";
    match (fields.optional("identity"), fields.optional("identityRegexp")) {
        (Some(exact), None) => exact.parsed(word, remedy).map(Identity::Is),
        (None, Some(pattern)) => {
            let text = pattern.parsed(word, remedy)?;
            if let Err(error) = regex::Regex::new(&text) {
                pattern.problem(format!("is no regular expression ({error})"), remedy);
                return None;
            }
            // cosign looks for the expression anywhere in the identity.
            if !text.starts_with('^') || !text.ends_with('$') {
                pattern.problem(
                    "fits more than it says: it has no ends",
                    "begin it with ^ and end it with $",
                );
                return None;
            }
            Some(Identity::Fits(text))
        }
        (None, None) => {
            fields.whole.problem("\"identity\" is missing", format!("add identity: {remedy}"));
            None
        }
        (Some(exact), Some(_)) => {
            exact.problem("stands beside identityRegexp", "keep one of them");
            None
        }
    }
}

fn read_issuer(fields: &Fields<'_>) -> Option<String> {
    let example = "https://token.actions.githubusercontent.com";
    let issuer = fields.required("issuer", example)?;
    issuer.parsed(
        |text| match text.starts_with("https://") {
            true => word(text),
            false => Err(format!("{text:?} is no https address")),
        },
        example,
    )
}

/// A key in the file itself, or in one beside it.
fn read_key(cursor: Cursor<'_>, source: &SourceFile) -> Option<PublicKey> {
    let fields = cursor.fields(KEY_KEYS, &[])?;
    let remedy = "give a public key of the kind P-256 in PEM";
    let (at, pem) = match (fields.optional("pem"), fields.optional("file")) {
        (Some(pem), None) => (pem, pem.text()?.to_owned()),
        (None, Some(file)) => {
            let name = file.text()?;
            let Some(folder) = source.folder() else {
                file.problem("a built-in policy has no files beside it", "use pem");
                return None;
            };
            let read = |path: &std::path::Path| match std::fs::metadata(path)? {
                it if it.is_file() && it.len() <= KEY_BYTES_MAX => std::fs::read_to_string(path),
                _ => Err(std::io::Error::other("it is no file of a key")),
            };
            match read(&folder.join(name)) {
                Ok(pem) => (file, pem),
                Err(error) => {
                    file.problem(
                        format!("{name:?} cannot be read ({error})"),
                        "name a file, from this one's folder on",
                    );
                    return None;
                }
            }
        }
        _ => {
            cursor.problem("names no key", "write {pem: …} or {file: …}");
            return None;
        }
    };
    PublicKey::from_pem(&pem).map_err(|error| at.problem(error.to_string(), remedy)).ok()
}

fn word(text: &str) -> Result<String, String> {
    match text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        true => Err(format!("{text:?} is empty or has spaces in it")),
        false => Ok(text.to_owned()),
    }
}

fn hash(text: &str) -> Result<String, String> {
    let is_hex = text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    match is_hex && (RECIPE_LEAST..=64).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no hash of at least {RECIPE_LEAST} digits")),
    }
}

/// What is held to its digest alone is never called signed, wherever the reason is shown.
fn reason_of(text: &str) -> Result<String, String> {
    let text = text.trim();
    let says_signed =
        text.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|it| it == "signed");
    if text.is_empty() || text.contains(char::is_control) {
        return Err("the reason is empty, or more than a line".to_owned());
    }
    match says_signed {
        true => Err("the reason says \"signed\", which may be read as if it were".to_owned()),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::trust::SigningKey;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("profiles/trust");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
        (dir, sources)
    }

    fn policy(name: &str, lines: &str) -> String {
        format!("apiVersion: pipe.dev/v1alpha1\nkind: TrustPolicy\nname: {name}\n{lines}")
    }

    #[test]
    fn every_image_of_a_shipped_component_has_a_policy() {
        let sources = Sources::built_in();
        let policies = policies(&sources).unwrap();
        for name in sources.names(Folder::Components).unwrap().keys() {
            let file = sources.read(Folder::Components, name).unwrap().unwrap();
            let text = String::from_utf8(file.bytes).unwrap();
            let images = crate::spec::image_names::in_text(&text.replace("  - ", "  image: "));
            let names: Vec<&str> = images
                .iter()
                .map(|found| found.image.as_str())
                .filter(|image| image.contains('/'))
                .collect();
            assert!(!names.is_empty(), "{name}");
            for image in names {
                let repository = image.rsplit_once(':').map_or(image, |(name, _)| name);
                assert!(policies.of(repository).is_some(), "{name}: {repository}");
            }
        }
    }

    #[test]
    fn all_kinds_of_evidence() {
        let pem = SigningKey::generate().unwrap().public().to_pem().unwrap();
        let lines = format!(
            "images: [registry.example/a, registry.example/b/**]\naccept:\n\
             - keyless: {{identityRegexp: '^https://github\\.com/acme/.*$', issuer: 'https://i.example'}}\n\
             - attestation: {{identity: a@b.example, issuer: 'https://i.example', predicate: slsaprovenance1}}\n\
             - key: {{pem: {pem:?}}}\n- key: {{file: acme.pub}}\n- built: {{recipe: 0123456789ab}}\n- built: {{}}\n\
             - digestOnly: {{reason: nobody publishes more}}\n"
        );
        let (_dir, sources) =
            project(&[("acme.yaml", &policy("acme", &lines)), ("acme.pub", &pem)]);
        let policies = policies(&sources).unwrap();
        let accept = &policies.of("registry.example/b/x/y").unwrap().accept;
        assert_eq!(accept.len(), 7);
        assert_eq!(accept[2], accept[3]);
        assert!(matches!(&accept[0], Demand::Keyless { identity: Identity::Fits(_), .. }));
    }

    #[test]
    fn every_problem_at_once() {
        let lines = "images: [nats, docker.io/x:1]\nextra: 1\naccept:\n\
            - {keyless: {identity: x}}\n\
            - {keyless: {identityRegexp: 'acme', issuer: 'http://i'}}\n\
            - {keyless: {identity: a, identityRegexp: b, issuer: 'https://i'}}\n\
            - {key: {pem: none}}\n\
            - {key: {file: ../missing.pub}}\n\
            - {key: {}}\n\
            - {built: {recipe: xyz}}\n\
            - {digestOnly: {}}\n\
            - {digestOnly: {reason: it is signed somewhere}}\n\
            - {digestOnly: {reason: a}, built: {}}\n\
            - {attestation: {identity: 'a b', issuer: 'https://i'}}\n";
        let twice = policy("twice", "images: [docker.io/library/nats]\naccept: [built: {}]\n");
        let empty = policy("empty", "images: []\naccept: []\n");
        let (_dir, sources) = project(&[
            ("bad.yaml", &policy("bad", lines)),
            ("twice.yaml", &twice),
            ("empty.yaml", &empty),
        ]);
        let error = policies(&sources).unwrap_err();
        let root = sources.root().unwrap().display().to_string();
        insta::assert_snapshot!(error.causes.join("\n").replace(&root, "ROOT"));
    }
}
