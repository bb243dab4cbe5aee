//! `profiles/<name>.yaml`, with the definitions of its components, to a checked [`Profile`].

use std::collections::BTreeMap;

use super::forbidden_images::Search;
use super::problem::suggestion;
use super::read::{self, Cursor, Fields};
use super::source::{Folder, SourceFile, Sources};
use super::{
    BucketName, Component, ComponentName, Credentials, Definition, ImagePolicy, Memory, Profile,
    ProfileName, StandIns, WhenUnavailable, component_file, host_io::HostIo, load, memory, name,
    order, yaml,
};

/// Every key of a profile file.
pub const KEYS: &[&str] =
    &["apiVersion", "kind", "name", "memory", "components", "images", "credentials"];

/// Keys of `images`.
pub const IMAGES_KEYS: &[&str] = &["policy", "standIns"];

/// Keys of one component.
pub const COMPONENT_KEYS: &[&str] =
    &["name", "namespace", "size", "values", "buckets", "whenUnavailable"];

/// The smoke driver of components that have buckets.
const HAS_BUCKETS: &str = "s3";

/// The size of a component where the profile names none.
const DEFAULT_SIZE: &str = "single";

/// A component entry with its place, to note what only all of them together show.
struct Entry<'a> {
    component: Component,
    cursor: Cursor<'a>,
}

/// Reads a profile file and the file of each of its components; every problem is noted.
pub(super) fn read(source: &SourceFile, sources: &Sources, search: Search<'_>) -> Option<Profile> {
    let problems = search.problems;
    search.file(source, None);
    let part = yaml::parse(&source.shown, &source.bytes, problems)?;
    let fields = Cursor::new(&source.shown, problems, &part).fields(KEYS, &[])?;
    let name = read::header(&fields, "Profile", &source.name)
        .and_then(|c| c.parsed(ProfileName::parse, "use at most 63 of a-z, 0-9 and '-'"));
    let images = fields.optional("images").and_then(|c| c.fields(IMAGES_KEYS, &[]));
    let policies =
        [ImagePolicy::Off, ImagePolicy::Warn, ImagePolicy::Enforce].map(|it| (it.as_str(), it));
    let policy = images
        .as_ref()
        .and_then(|images| images.optional("policy"))
        .and_then(|c| c.choice(&policies, &[]));
    let stand_ins = images
        .as_ref()
        .and_then(|images| images.optional("standIns"))
        .and_then(|c| c.choice(&[("refuse", StandIns::Refuse), ("allow", StandIns::Allow)], &[]));
    let stand_ins = stand_ins.unwrap_or(StandIns::Refuse);
    let credentials = fields.optional("credentials").and_then(|c| {
        c.choice(&[("generated", Credentials::Generated), ("fixed", Credentials::Fixed)], &[])
    });
    let memory = fields.optional("memory").and_then(|c| c.parsed(memory::parse, memory::REMEDY));
    let entries = read_components(&fields, source, sources, search);
    find_clashes(&entries);
    let components = in_order(entries);
    let credentials = credentials.unwrap_or(Credentials::Generated);
    let policy = policy.unwrap_or(ImagePolicy::Off);
    let skipped = Vec::new();
    Some(Profile { name: name?, credentials, stand_ins, policy, memory, components, skipped })
}

fn read_components<'a>(
    fields: &Fields<'a>,
    source: &SourceFile,
    sources: &Sources,
    search: Search<'_>,
) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    let list = fields.required("components", "[{name: nats, namespace: messaging}], or []");
    for item in list.and_then(|c| c.items()).into_iter().flatten() {
        let Some(fields) = item.fields(COMPONENT_KEYS, &[]) else { continue };
        let named = fields.required("name", "nats").and_then(|cursor| {
            Some((cursor.parsed(ComponentName::parse, "name a component")?, cursor))
        });
        let namespace = read_namespace(&fields);
        let values = fields.optional("values").and_then(|c| c.values(&|_| None));
        let when_unavailable = fields.optional("whenUnavailable").and_then(|c| {
            c.choice(&[("fail", WhenUnavailable::Fail), ("skip", WhenUnavailable::Skip)], &[])
        });
        let Some((name, cursor)) = named else { continue };
        if entries.iter().any(|entry| entry.component.name == name) {
            let what = format!("the component {name} stands twice");
            cursor.problem(what, "keep one of them");
            continue;
        }
        let Some((file, definition)) = find_definition(&name, cursor, sources, search) else {
            continue;
        };
        let mut component = Component {
            size: read_size(&fields, &definition),
            namespace: namespace.unwrap_or_default(),
            values: values.unwrap_or_else(|| serde_json::json!({})),
            when_unavailable: when_unavailable.unwrap_or(WhenUnavailable::Fail),
            buckets: read_buckets(&fields, &definition),
            host_io: HostIo::default(),
            memory: Memory::default(),
            stand_in: None,
            name,
            definition,
        };
        component.memory = component.measure(sources);
        search.chart(&component, &[source, &file], sources);
        entries.push(Entry { component, cursor });
    }
    entries
}

fn read_namespace(fields: &Fields<'_>) -> Option<String> {
    fields.required("namespace", "data")?.parsed(
        |text| match name::dns_label_fault(text, 63) {
            Some(fault) => Err(format!("the namespace {text:?} {fault}")),
            None if text.starts_with("kube-") => {
                Err(format!("the namespace {text} belongs to Kubernetes"))
            }
            None => Ok(text.to_owned()),
        },
        "use a name such as data or messaging",
    )
}

/// The size, which the component must have.
fn read_size(fields: &Fields<'_>, definition: &Definition) -> String {
    let cursor = fields.optional("size");
    let size = match cursor {
        Some(cursor) => cursor.text(),
        None => Some(DEFAULT_SIZE),
    };
    let Some(size) = size else { return String::new() };
    if !definition.sizes.contains_key(size) {
        let known: Vec<&str> = definition.sizes.keys().map(String::as_str).collect();
        let what = format!("{} has no size {size:?}", definition.name);
        cursor.unwrap_or(fields.whole).problem(what, suggestion(size, &known));
    }
    size.to_owned()
}

/// The buckets, of a component that can have some.
fn read_buckets(fields: &Fields<'_>, definition: &Definition) -> Vec<BucketName> {
    let Some(cursor) = fields.optional("buckets") else { return Vec::new() };
    if definition.smoke.as_ref().is_none_or(|smoke| smoke.driver != HAS_BUCKETS) {
        let what = format!("{} is no S3 store, it has no buckets", definition.name);
        cursor.problem(what, "leave buckets out here");
    }
    let mut buckets = Vec::new();
    for item in cursor.items().into_iter().flatten() {
        let remedy = "use 3 to 63 of a-z, 0-9, '-' and '.'";
        let Some(bucket) = item.parsed(BucketName::parse, remedy) else { continue };
        if buckets.contains(&bucket) {
            item.problem(format!("the bucket {bucket} stands twice"), "keep one of them");
            continue;
        }
        buckets.push(bucket);
    }
    buckets
}

/// Reads the component's own file; an unknown one is noted where the profile names it.
fn find_definition(
    name: &ComponentName,
    cursor: Cursor<'_>,
    sources: &Sources,
    search: Search<'_>,
) -> Option<(SourceFile, Definition)> {
    let problems = search.problems;
    let Some(file) = load::open(sources, Folder::Components, name.as_str(), problems).ok()? else {
        let known = load::names(sources, Folder::Components);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        cursor.problem(
            format!("unknown component {:?}", name.as_str()),
            suggestion(name.as_str(), &known),
        );
        return None;
    };
    let definition = component_file::read(&file, search)?;
    if !definition.chart.is_empty() && sources.chart(&definition.chart).is_none() {
        let what = format!("there is no chart charts-cache/{}", definition.chart);
        problems.add(&file.shown, None, what, "add it there, or correct chart:");
    }
    Some((file, definition))
}

/// Notes what two components both claim: host ports, and settings that `pipe env` hands out.
fn find_clashes(entries: &[Entry<'_>]) {
    let mut owners: BTreeMap<(&str, &str), &ComponentName> = BTreeMap::new();
    for Entry { component, cursor } in entries {
        let definition = &component.definition;
        let ports = definition.ports.iter().map(|port| ("host port", port.catalogue.as_str()));
        let settings = definition.env.keys().map(|setting| ("setting", setting.as_str()));
        for (kind, claimed) in ports.chain(settings) {
            match owners.get(&(kind, claimed)) {
                Some(owner) if **owner != component.name => {
                    let what =
                        format!("{} and {owner} both use the {kind} {claimed}", component.name);
                    cursor.problem(what, "leave one of them out, or change its component file");
                }
                _ => {
                    owners.insert((kind, claimed), &component.name);
                }
            }
        }
    }
}

/// The components, each after those it needs, else in file order; what is missing or goes in a
/// circle is noted.
fn in_order(entries: Vec<Entry<'_>>) -> Vec<Component> {
    let position = |name: &ComponentName| entries.iter().position(|e| e.component.name == *name);
    let mut needs: Vec<Vec<usize>> = Vec::new();
    for entry in &entries {
        let mut found = Vec::new();
        for need in &entry.component.definition.needs {
            match position(need) {
                Some(index) => found.push(index),
                None => {
                    let what = format!("{} needs {need}, which is not here", entry.component.name);
                    entry.cursor.problem(what, format!("add {need} to the components"));
                }
            }
        }
        needs.push(found);
    }
    let order = match order::after_needs(&needs) {
        Ok(order) => order,
        Err(circle) => {
            let name = |index: &usize| entries.get(*index).map(|e| e.component.name.to_string());
            let names: Vec<String> = circle.iter().filter_map(name).collect();
            if let Some(entry) = circle.first().and_then(|index| entries.get(*index)) {
                let what = format!("needs go in a circle: {}", names.join(" → "));
                entry.cursor.problem(what, "take one need out of the component files");
            }
            return Vec::new();
        }
    };
    let mut components: Vec<Option<Component>> =
        entries.into_iter().map(|entry| Some(entry.component)).collect();
    order.into_iter().filter_map(|index| components.get_mut(index)?.take()).collect()
}
