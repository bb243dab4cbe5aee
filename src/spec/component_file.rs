//! `profiles/components/<name>.yaml` to a checked [`Definition`].

use std::collections::BTreeMap;

use super::forbidden_images::Search;
use super::problem::suggestion;
use super::read::{self, Cursor, Fields};
use super::source::SourceFile;
use super::template::{self, Piece};
use super::{
    ComponentName, CredentialSpec, CredentialValue, Definition, Gate, GateCondition, ImageName,
    IoWay, Keep, Licence, Port, SmokeSpec, duration, name, port, requires, yaml,
};

/// Every key of a component file.
pub const KEYS: &[&str] = &[
    "apiVersion",
    "kind",
    "name",
    "description",
    "chart",
    "images",
    "licence",
    "requires",
    "needs",
    "ports",
    "credentials",
    "values",
    "sizes",
    "io",
    "standIn",
    "ready",
    "smoke",
    "backup",
    "files",
    "env",
];

/// Keys of `credentials`.
pub const CREDENTIAL_KEYS: &[&str] = &["secret", "keys"];

/// Keys of one credential.
pub const CREDENTIAL_VALUE_KEYS: &[&str] = &["value", "generate", "fixed", "crypt"];

/// Keys of `licence`.
pub const LICENCE_KEYS: &[&str] = &["name", "text"];

/// Keys of one way in `io`.
pub const IO_KEYS: &[&str] = &["aio", "ioUring", "values"];

/// Keys of one readiness gate: one condition, and the deadline.
pub const GATE_KEYS: &[&str] = &["statefulSet", "deployment", "endpoints", "within"];

/// Keys of `smoke`.
pub const SMOKE_KEYS: &[&str] = &["driver", "port", "within", "floor"];

/// Keys of `backup`.
pub const BACKUP_KEYS: &[&str] = &["keep"];

/// Keys of `backup.keep`.
pub const KEEP_KEYS: &[&str] = &["daily", "weekly", "monthly"];

/// Most backups of one kind.
const KEEP_MOST: u64 = 1000;

/// Smoke drivers there are, and those that later versions bring.
pub const DRIVERS: &[&str] = &["clickhouse", "cql", "fdb", "nats", "s3"];
const DRIVERS_LATER: &[&str] = &["sql", "redis", "http", "tcp", "exec"];

/// Drivers that work inside of the pod, and have no port.
pub const DRIVERS_WITHOUT_PORT: &[&str] = &["fdb"];

/// Lengths of generated credentials.
const GENERATE_LEAST: u64 = 12;
const GENERATE_MOST: u64 = 128;

const DEADLINE_REMEDY: &str = "write a time such as 90s, 3m or 1h";

/// Reads a component file; every problem is noted. What is returned may be short of them.
pub(super) fn read(source: &SourceFile, search: Search<'_>) -> Option<Definition> {
    let problems = search.problems;
    let part = yaml::parse(&source.shown, &source.bytes, problems)?;
    let fields = Cursor::new(&source.shown, problems, &part).fields(KEYS, &[])?;
    let name = read::header(&fields, "Component", &source.name)
        .and_then(|c| c.parsed(ComponentName::parse, "use at most 53 of a-z, 0-9 and '-'"));
    let description = fields.required("description", "TEXT, one line for people");
    let ports = read_ports(&fields);
    let credentials = fields.optional("credentials").and_then(read_credentials);
    let definition = Definition {
        description: description.and_then(|c| c.text()).unwrap_or_default().to_owned(),
        chart: read_chart(&fields),
        images: read_images(&fields, search),
        licence: fields.optional("licence").and_then(read_licence),
        requires: fields.optional("requires").and_then(requires::read).unwrap_or_default(),
        io: read_io(&fields, &ports),
        needs: read_needs(&fields, name.as_ref()),
        values: read_values(&fields, &ports),
        sizes: read_sizes(&fields, &ports),
        stand_in: read_stand_in(&fields, &ports),
        ready: read_gates(&fields),
        smoke: fields.optional("smoke").and_then(|c| read_smoke(c, &ports)),
        keep: fields.optional("backup").and_then(read_backup),
        env: read_env(&fields, &ports, credentials.as_ref()),
        files: read_files(&fields),
        ports,
        credentials,
        name: name?,
    };
    search.file(source, Some(&definition));
    Some(definition)
}

/// The entries of the mapping under `key`, if it is there.
fn entries<'a>(
    fields: &Fields<'a>,
    key: &str,
) -> impl Iterator<Item = (&'a str, read::Mark<'a>, Cursor<'a>)> + use<'a> {
    fields.optional(key).and_then(|c| c.entries()).into_iter().flatten()
}

/// The items of the list under `key`, if it is there.
fn items<'a>(fields: &Fields<'a>, key: &str) -> impl Iterator<Item = Cursor<'a>> + use<'a> {
    fields.optional(key).and_then(|c| c.items()).into_iter().flatten()
}

fn dns_label(text: &str) -> Result<String, String> {
    match name::dns_label_fault(text, 63) {
        None => Ok(text.to_owned()),
        Some(fault) => Err(format!("{text:?} {fault}")),
    }
}

fn read_chart(fields: &Fields<'_>) -> String {
    let chart = fields.required("chart", "NAME, a folder of charts-cache/");
    chart.and_then(|c| c.parsed(dns_label, "name a folder of charts-cache/")).unwrap_or_default()
}

fn read_images(fields: &Fields<'_>, search: Search<'_>) -> Vec<ImageName> {
    fields.required("images", "[REGISTRY/REPOSITORY:TAG], every image that the chart runs");
    let mut images = Vec::new();
    for cursor in items(fields, "images") {
        let remedy = "write REGISTRY/REPOSITORY:TAG";
        let Some(image) = cursor.parsed(ImageName::parse, remedy) else { continue };
        if images.contains(&image) {
            cursor.problem(format!("{image} stands twice"), "keep one of them");
        }
        search.image(cursor, image.as_str());
        images.push(image);
    }
    images
}

/// A name that can stand on a command line, and where the text is.
fn read_licence(cursor: Cursor<'_>) -> Option<Licence> {
    let fields = cursor.fields(LICENCE_KEYS, &[])?;
    let name = fields.required("name", "NAME, as --accept has it");
    let plain = |text: &str| {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        match text.chars().all(usable) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            true => Ok(text.to_owned()),
            false => Err(format!("{text:?} is no name of a licence")),
        }
    };
    let name = name.and_then(|c| c.parsed(plain, "use letters, digits, '-' and '.': Apache-2.0"));
    let address = |text: &str| match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => {
            Ok(text.to_owned())
        }
        _ => Err(format!("{text:?} is no address")),
    };
    let text = fields.required("text", "https://…, where its text is");
    let text = text.and_then(|c| c.parsed(address, "write it as https://…"));
    Some(Licence { name: name?, text: text? })
}

fn read_io(fields: &Fields<'_>, ports: &[Port]) -> Vec<IoWay> {
    let ways = items(fields, "io").filter_map(|cursor| {
        let way = cursor.fields(IO_KEYS, &[])?;
        let values = way.required("values", "{}, for the chart");
        Some(IoWay {
            aio: way.optional("aio").and_then(|c| c.whole(1, 1 << 20)),
            io_uring: way.optional("ioUring").and_then(|c| c.boolean()).unwrap_or_default(),
            values: values.and_then(|c| c.values(&|text| node_port(text, ports)))?,
        })
    });
    ways.collect()
}

fn read_needs(fields: &Fields<'_>, own: Option<&ComponentName>) -> Vec<ComponentName> {
    let mut needs = Vec::new();
    for cursor in items(fields, "needs") {
        let Some(need) = cursor.parsed(ComponentName::parse, "name a component") else { continue };
        if needs.contains(&need) || Some(&need) == own {
            let what = if Some(&need) == own { "needs itself" } else { "stands twice" };
            cursor.problem(format!("{need} {what}"), "leave it out here");
            continue;
        }
        needs.push(need);
    }
    needs
}

fn read_ports(fields: &Fields<'_>) -> Vec<Port> {
    let known: Vec<&str> = port::CATALOGUE.iter().map(|entry| entry.name).collect();
    let mut ports: Vec<Port> = Vec::new();
    for (name, mark, cursor) in entries(fields, "ports") {
        if let Some(fault) = name::dns_label_fault(name, 63) {
            mark.problem(format!("the port's name {name:?} {fault}"), "use a name such as client");
        }
        let Some(catalogue) = cursor.text() else { continue };
        if !known.contains(&catalogue) {
            let what = format!("{catalogue:?} is not in the catalogue of host ports");
            cursor.problem(what, suggestion(catalogue, &known));
        }
        if let Some(other) = ports.iter().find(|port| port.catalogue == catalogue) {
            let what = format!("{name} and {} both use the host port {catalogue}", other.name);
            cursor.problem(what, "give each a port of its own, such as spare-1");
        }
        ports.push(Port { name: name.to_owned(), catalogue: catalogue.to_owned() });
    }
    ports
}

fn read_credentials(cursor: Cursor<'_>) -> Option<CredentialSpec> {
    let fields = cursor.fields(CREDENTIAL_KEYS, &[])?;
    let secret = fields.required("secret", "NAME, of the Secret");
    let secret = secret.and_then(|c| c.parsed(dns_label, "use a name such as nats-credentials"));
    fields.required("keys", "{password: {generate: 32, fixed: TEXT}}");
    let mut keys = BTreeMap::new();
    for (key, mark, cursor) in entries(&fields, "keys") {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if key.is_empty() || key.len() > 253 || !key.chars().all(usable) || key == "host" {
            mark.problem(format!("{key:?} cannot be a key here"), "use a name such as password");
        }
        if let Some(value) = read_credential(cursor) {
            keys.insert(key.to_owned(), value);
        }
    }
    for (key, mark, _) in entries(&fields, "keys") {
        if let Some(CredentialValue::Crypt { of }) = keys.get(key)
            && !matches!(keys.get(of), Some(CredentialValue::Generate { .. }))
        {
            let what = format!("{key} is made of {of:?}, which is no generated key");
            mark.problem(what, "name the key of a password");
        }
    }
    Some(CredentialSpec { secret: secret.unwrap_or_default(), keys })
}

/// `{value: TEXT}`, `{generate: LENGTH, fixed: TEXT}` or `{crypt: KEY}`.
fn read_credential(cursor: Cursor<'_>) -> Option<CredentialValue> {
    let fields = cursor.fields(CREDENTIAL_VALUE_KEYS, &[])?;
    let text = |cursor: Cursor<'_>| {
        let text = cursor.text()?;
        if text.is_empty() || text.contains(char::is_control) {
            cursor.problem("is empty or holds control characters", "write one line of text");
            return None;
        }
        Some(text.to_owned())
    };
    let of = fields.optional("crypt");
    match (fields.optional("value"), fields.optional("generate"), fields.optional("fixed"), of) {
        (None, None, None, Some(of)) => text(of).map(|of| CredentialValue::Crypt { of }),
        (Some(value), None, None, None) => text(value).map(CredentialValue::Value),
        (None, Some(length), Some(fixed), None) => {
            let length = length.whole(GENERATE_LEAST, GENERATE_MOST);
            let (length, fixed) = (length?, text(fixed)?);
            Some(CredentialValue::Generate { length: usize::try_from(length).ok()?, fixed })
        }
        _ => {
            let remedy = "write {value: TEXT}, {generate: LENGTH, fixed: TEXT} or {crypt: KEY}";
            cursor.problem("is no credential", remedy);
            None
        }
    }
}

/// The number for a text `{nodePort:NAME}`, which must be one of `ports`.
fn node_port(text: &str, ports: &[Port]) -> Option<Result<serde_json::Value, (String, String)>> {
    let name = text.strip_prefix("{nodePort:")?.strip_suffix('}')?;
    let port = ports.iter().find(|port| port.name == name);
    Some(match port {
        // An entry that is not in the catalogue was noted where it stands.
        Some(port) => Ok(port.entry().map(|entry| entry.node_port).into()),
        None => {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            Err((format!("{name:?} is none of the ports"), suggestion(name, &names)))
        }
    })
}

fn read_values(fields: &Fields<'_>, ports: &[Port]) -> serde_json::Value {
    let values = fields.optional("values").and_then(|c| c.values(&|text| node_port(text, ports)));
    values.unwrap_or_else(|| serde_json::json!({}))
}

fn read_sizes(fields: &Fields<'_>, ports: &[Port]) -> BTreeMap<String, serde_json::Value> {
    fields.required("sizes", "{single: {}}");
    let mut sizes = BTreeMap::new();
    for (size, mark, cursor) in entries(fields, "sizes") {
        if let Some(fault) = name::dns_label_fault(size, 63) {
            mark.problem(format!("the size's name {size:?} {fault}"), "use a name such as single");
        }
        if let Some(values) = cursor.values(&|text| node_port(text, ports)) {
            sizes.insert(size.to_owned(), values);
        }
    }
    sizes
}

fn read_stand_in(fields: &Fields<'_>, ports: &[Port]) -> serde_json::Value {
    let values = fields.optional("standIn").and_then(|c| c.values(&|text| node_port(text, ports)));
    values.unwrap_or(serde_json::Value::Null)
}

fn read_gates(fields: &Fields<'_>) -> Vec<Gate> {
    fields.required("ready", "[{statefulSet: NAME, within: 3m}]");
    let mut gates = Vec::new();
    for cursor in items(fields, "ready") {
        let Some(gate) = cursor.fields(GATE_KEYS, &[]) else { continue };
        let within = gate.required("within", "3m");
        let within = within.and_then(|c| c.parsed(duration::parse, DEADLINE_REMEDY));
        let named = |key| gate.optional(key).map(|c| (key, c));
        let conditions: Vec<_> =
            ["statefulSet", "deployment", "endpoints"].into_iter().filter_map(named).collect();
        let &[(key, condition)] = conditions.as_slice() else {
            let remedy = "name one of statefulSet, deployment and endpoints";
            cursor.problem(format!("holds {} conditions", conditions.len()), remedy);
            continue;
        };
        let object = condition.parsed(dns_label, "name the object that the chart makes");
        let (Some(within), Some(object)) = (within, object) else { continue };
        let condition = match key {
            "statefulSet" => GateCondition::StatefulSet(object),
            "deployment" => GateCondition::Deployment(object),
            _ => GateCondition::Endpoints(object),
        };
        gates.push(Gate { condition, within });
    }
    gates
}

fn read_smoke(cursor: Cursor<'_>, ports: &[Port]) -> Option<SmokeSpec> {
    let fields = cursor.fields(SMOKE_KEYS, &[])?;
    let drivers: Vec<(&str, &str)> = DRIVERS.iter().map(|driver| (*driver, *driver)).collect();
    let driver = fields.required("driver", "nats");
    let driver = driver.and_then(|c| c.choice(&drivers, DRIVERS_LATER));
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    let without = driver.is_some_and(|driver| DRIVERS_WITHOUT_PORT.contains(&driver));
    let port = match without {
        true => fields.optional("port"),
        false => fields.required("port", "NAME, one of the ports"),
    };
    let port = port.and_then(|c| {
        if without {
            c.problem("the driver has no port", "leave it out: it works inside of the pod");
        }
        let port = c.text()?;
        if !names.contains(&port) {
            c.problem(format!("{port:?} is none of the ports"), suggestion(port, &names));
        }
        Some(port.to_owned())
    });
    let within = fields.required("within", "90s");
    let within = within.and_then(|c| c.parsed(duration::parse, DEADLINE_REMEDY));
    let floor = items(&fields, "floor").filter_map(|c| c.parsed(version, "write 26.8.36.3"));
    let floor = floor.collect();
    if port.is_none() && !without {
        return None;
    }
    Some(SmokeSpec { driver: driver?.to_owned(), port, within: within?, floor })
}

/// What is not written stays as it is without the file.
fn read_backup(cursor: Cursor<'_>) -> Option<Keep> {
    let fields = cursor.fields(BACKUP_KEYS, &[])?;
    let keep = fields.required("keep", "{daily: 7, weekly: 4, monthly: 3}")?;
    let keep = keep.fields(KEEP_KEYS, &[])?;
    let usual = Keep::default();
    let number = |key: &str, usual: u32| match keep.optional(key) {
        None => Some(usual),
        Some(cursor) => cursor.whole(0, KEEP_MOST).and_then(|count| u32::try_from(count).ok()),
    };
    Some(Keep {
        daily: number("daily", usual.daily)?,
        weekly: number("weekly", usual.weekly)?,
        monthly: number("monthly", usual.monthly)?,
    })
}

/// Numbers with dots between.
fn version(text: &str) -> Result<String, String> {
    let number = |part: &str| part.parse::<u32>().is_ok();
    match text.split('.').count() > 1 && text.split('.').all(number) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no version")),
    }
}

/// File names to templates of what stands in them.
fn read_files(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (name, mark, cursor) in entries(fields, "files") {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 63 || name.starts_with('.') || !name.chars().all(usable)
        {
            mark.problem(
                format!("{name:?} cannot be a file's name"),
                "use one such as fdb.cluster",
            );
        }
        let Some(text) = cursor.text() else { continue };
        let remedy = "write the node's address as {node}; nothing else is known here";
        match template::parse(text) {
            Err(fault) => cursor.problem(fault, remedy),
            Ok(pieces) => {
                let known = |piece: &Piece<'_>| matches!(piece, Piece::Literal(_) | Piece::Node);
                if !pieces.iter().all(known) {
                    cursor.problem("names a variable that is not known here", remedy);
                }
            }
        }
        files.insert(name.to_owned(), text.to_owned());
    }
    files
}

fn read_env(
    fields: &Fields<'_>,
    ports: &[Port],
    credentials: Option<&CredentialSpec>,
) -> BTreeMap<String, String> {
    let mut variables = vec!["host".to_owned()];
    variables.extend(ports.iter().map(|port| format!("port:{}", port.name)));
    variables.extend(credentials.into_iter().flat_map(|spec| spec.keys.keys().cloned()));
    variables.extend(entries(fields, "files").map(|(name, _, _)| format!("file:{name}")));
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    let mut env = BTreeMap::new();
    for (setting, mark, cursor) in entries(fields, "env") {
        let usable = |c: char| matches!(c, 'A'..='Z' | '0'..='9' | '_');
        if !setting.starts_with(|c: char| c.is_ascii_uppercase()) || !setting.chars().all(usable) {
            mark.problem(format!("{setting:?} cannot be a setting"), "use A-Z, 0-9 and '_'");
        }
        let Some(text) = cursor.text() else { continue };
        match template::parse(text) {
            Err(fault) => cursor.problem(fault, "write variables as {host} or {port:client}"),
            Ok(pieces) => {
                for piece in pieces {
                    let variable = match piece {
                        Piece::Literal(_) | Piece::Host => continue,
                        // Which node it is may change; a setting would not follow.
                        Piece::Node => "node".to_owned(),
                        Piece::File(name) => format!("file:{name}"),
                        Piece::Port(name) => format!("port:{name}"),
                        Piece::Credential(key) => key.to_owned(),
                    };
                    if !variables.contains(&variable.as_str()) {
                        let what = format!("{{{variable}}} is no variable here");
                        cursor.problem(what, suggestion(&variable, &variables));
                    }
                }
            }
        }
        env.insert(setting.to_owned(), text.to_owned());
    }
    env
}
