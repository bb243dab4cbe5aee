//! What a name means to the engine and to a kubelet. They differ for short names: `podman build -t
//! app:dev` makes `localhost/app:dev`, and a pod with `image: app:dev` runs
//! `docker.io/library/app:dev`. Pure.

use crate::spec::problem::suggestion;
use crate::world::engine::ImageLine;
use crate::{Error, Result};

/// Where Podman puts what it builds under a short name.
const LOCAL: &str = "localhost/";

/// An image of the engine and the names that it gets in nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name in the engine.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Under which pods find it; `name` first.
    pub pod_names: Vec<String>,
    /// What the user should know about them.
    pub notes: Vec<String>,
}

/// The images that `given` means, in that order, each once.
///
/// # Errors
/// One for all names that the engine does not have.
pub fn choose(given: &[String], engine: &[ImageLine]) -> Result<Vec<Chosen>> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut missing = Vec::new();
    for name in given {
        match candidates(name).iter().find_map(|candidate| find(candidate, engine)) {
            Some((found, id)) if chosen.iter().all(|known| known.name != found) => {
                chosen.push(with_pod_names(found, id, engine));
            }
            Some(_twice) => {}
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() { Ok(chosen) } else { Err(unknown(&missing, engine)) }
}

/// Full names that `given` may stand for, best first.
fn candidates(given: &str) -> Vec<String> {
    let tagged = with_tag(given);
    if is_full(given) {
        return vec![tagged];
    }
    vec![format!("{LOCAL}{tagged}"), on_docker_hub(&tagged)]
}

/// The name that a kubelet makes of an image name in a pod.
pub fn pod_name(given: &str) -> String {
    let tagged = with_tag(given);
    if is_full(given) { tagged } else { on_docker_hub(&tagged) }
}

/// Whether pods that say `pod` may mean what the engine calls `engine`.
pub fn means(engine: &str, pod: &str) -> bool {
    engine == pod || engine.strip_prefix(LOCAL).is_some_and(|short| pod_name(short) == pod)
}

fn on_docker_hub(name: &str) -> String {
    let library = if name.contains('/') { "" } else { "library/" };
    format!("docker.io/{library}{name}")
}

/// Whether the first part of a name is a registry.
fn is_full(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

fn find(name: &str, engine: &[ImageLine]) -> Option<(String, String)> {
    let has = |image: &&ImageLine| image.names.iter().any(|known| known == name);
    engine.iter().find(has).map(|image| (name.to_owned(), image.id.clone()))
}

/// What is below `localhost/` is found by pods with and without that.
fn with_pod_names(name: String, id: String, engine: &[ImageLine]) -> Chosen {
    let mut pod_names = vec![name.clone()];
    let mut notes = Vec::new();
    if let Some(short) = name.strip_prefix(LOCAL) {
        let hub = on_docker_hub(short);
        match find(&hub, engine) {
            Some((_, other)) if other != id => notes.push(format!(
                "pods reach it as {name} only: the engine has another image called {hub}"
            )),
            _ => pod_names.push(hub),
        }
    }
    if name.ends_with(":latest") {
        notes.push(format!(
            "a pod pulls {name} anew unless it says imagePullPolicy: IfNotPresent; any other tag needs no such line"
        ));
    }
    Chosen { name, id, pod_names, notes }
}

fn unknown(missing: &[&str], engine: &[ImageLine]) -> Error {
    let known: Vec<String> = engine.iter().flat_map(|image| &image.names).cloned().collect();
    let noun = if missing.len() == 1 { "image" } else { "images" };
    let error =
        Error::failed("image-unknown", format!("the engine has no {noun} {}", missing.join(", ")));
    let error = missing.iter().fold(error, |error, name| match near(name, &known) {
        Some(near) => error.because(format!("{name}: {near}")),
        None => error,
    });
    error
        .hint("`podman images` lists what it has; `podman build -t NAME:TAG .` makes one")
        .hint("an image of a registry: pipe images add NAME:TAG")
}

/// `did you mean "x"?`, compared as users write names.
fn near(name: &str, known: &[String]) -> Option<String> {
    let short = |name: &str| {
        let name = name.strip_prefix(LOCAL).unwrap_or(name);
        name.strip_prefix("docker.io/library/").unwrap_or(name).to_owned()
    };
    let wanted = short(&with_tag(name));
    // The same image with another tag or registry is nearer than any likeness of letters.
    let repository = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        last.split(':').next().unwrap_or(last).to_owned()
    };
    let same: Vec<&str> = known
        .iter()
        .filter(|known| repository(known) == repository(&wanted))
        .map(String::as_str)
        .collect();
    if !same.is_empty() {
        return Some(format!("there is {}", same.join(", ")));
    }
    let shorts: Vec<String> = known.iter().map(|name| short(name)).collect();
    let shorts: Vec<&str> = shorts.iter().map(String::as_str).collect();
    Some(suggestion(&wanted, &shorts)).filter(|text| text.starts_with("did you mean"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(images: &[(&str, &[&str])]) -> Vec<ImageLine> {
        let line = |(id, names): &(&str, &[&str])| ImageLine {
            id: (*id).to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        images.iter().map(line).collect()
    }

    fn chosen(given: &[&str], images: &[ImageLine]) -> Result<Vec<Chosen>> {
        let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
        choose(&given, images)
    }

    #[test]
    fn short_names_are_what_was_built_here_first() {
        let images = engine(&[
            ("1", &["localhost/app:dev"]),
            ("2", &["docker.io/library/nats:2"]),
            ("3", &["localhost/team/api:1", "registry.test:5000/api:1"]),
        ]);
        let app = chosen(&["app:dev", "localhost/app:dev"], &images).unwrap();
        assert_eq!(app.len(), 1);
        assert_eq!(app[0].pod_names, ["localhost/app:dev", "docker.io/library/app:dev"]);
        let rest = chosen(&["nats:2", "team/api:1", "registry.test:5000/api:1"], &images).unwrap();
        let names: Vec<&[String]> = rest.iter().map(|image| &image.pod_names[..]).collect();
        assert_eq!(names[0], ["docker.io/library/nats:2"]);
        assert_eq!(names[1], ["localhost/team/api:1", "docker.io/team/api:1"]);
        assert_eq!(names[2], ["registry.test:5000/api:1"]);
    }

    #[test]
    fn a_name_of_another_image_is_not_taken() {
        let images = engine(&[("1", &["localhost/nats:2"]), ("2", &["docker.io/library/nats:2"])]);
        let nats = chosen(&["nats:2"], &images).unwrap();
        assert_eq!(nats[0].pod_names, ["localhost/nats:2"]);
        assert!(nats[0].notes[0].contains("docker.io/library/nats:2"), "{:?}", nats[0].notes);
        let app = chosen(&["app"], &engine(&[("1", &["localhost/app:latest"])])).unwrap();
        assert!(app[0].notes[0].contains("IfNotPresent"), "{:?}", app[0].notes);
    }

    #[test]
    fn every_unknown_name_is_in_the_error_with_what_is_near() {
        let images = engine(&[("1", &["localhost/webapp:dev", "quay.io/x/api:1"]), ("2", &[])]);
        let error = chosen(&["webap:dev", "webapp:dev", "api:2", "zzz"], &images).unwrap_err();
        assert_eq!(error.code, "image-unknown");
        insta::assert_snapshot!(error.to_string(), @r#"the engine has no images webap:dev, api:2, zzz: webap:dev: did you mean "webapp:dev"?: api:2: there is quay.io/x/api:1"#);
    }

    #[test]
    fn pods_look_where_docker_hub_is() {
        assert_eq!(pod_name("app"), "docker.io/library/app:latest");
        assert_eq!(pod_name("team/app:1"), "docker.io/team/app:1");
        assert_eq!(pod_name("localhost/app:1"), "localhost/app:1");
        assert_eq!(pod_name("quay.io/a/b@sha256:0"), "quay.io/a/b@sha256:0");
    }
}
