//! The published JSON Schemas say what the reader does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pipe::spec::problem::Problems;
use pipe::spec::read::Cursor;
use pipe::spec::source::{Folder, Sources};
use pipe::spec::{
    cluster_file, component_file, config_file, forbidden_file, mount_file, node_file, patch_file,
    policy_file, port, port_file, profile_file, requires, yaml,
};
use serde_json::Value;

fn schema(kind: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{kind}.schema.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The words at `pointer`: keys of a mapping, or items of a list.
fn words(schema: &Value, pointer: &str) -> BTreeSet<String> {
    match schema.pointer(pointer).unwrap() {
        Value::Object(map) => map.keys().cloned().collect(),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
        other => panic!("{pointer} is {other}"),
    }
}

#[test]
fn schemas_know_the_keys_that_the_reader_knows() {
    let catalogue: Vec<&str> = port::CATALOGUE.iter().map(|entry| entry.name).collect();
    for (kind, pointer, known) in [
        ("cluster", "/properties", cluster_file::KEYS),
        ("cluster", "/$defs/node/properties", node_file::KEYS),
        ("cluster", "/$defs/port/properties", port_file::KEYS),
        ("cluster", "/$defs/mount/properties", mount_file::KEYS),
        ("cluster", "/properties/patches/properties", patch_file::KEYS),
        ("profile", "/properties", profile_file::KEYS),
        ("profile", "/properties/images/properties", profile_file::IMAGES_KEYS),
        ("profile", "/$defs/component/properties", profile_file::COMPONENT_KEYS),
        ("config", "/properties", config_file::KEYS),
        ("config", "/properties/proxy/oneOf/1/properties", config_file::PROXY_KEYS),
        ("forbidden", "/properties", forbidden_file::KEYS),
        ("forbidden", "/$defs/rule/properties", forbidden_file::RULE_KEYS),
        ("trust-policy", "/properties", policy_file::KEYS),
        ("trust-policy", "/$defs/demand/properties", policy_file::ACCEPT_KEYS),
        ("trust-policy", "/$defs/demand/properties/keyless/properties", policy_file::KEYLESS_KEYS),
        ("trust-policy", "/$defs/demand/properties/key/properties", policy_file::KEY_KEYS),
        (
            "trust-policy",
            "/$defs/demand/properties/attestation/properties",
            policy_file::ATTESTATION_KEYS,
        ),
        ("trust-policy", "/$defs/demand/properties/built/properties", policy_file::BUILT_KEYS),
        (
            "trust-policy",
            "/$defs/demand/properties/digestOnly/properties",
            policy_file::DIGEST_ONLY_KEYS,
        ),
        ("component", "/properties", component_file::KEYS),
        ("component", "/properties/credentials/properties", component_file::CREDENTIAL_KEYS),
        ("component", "/$defs/credential/properties", component_file::CREDENTIAL_VALUE_KEYS),
        ("component", "/properties/licence/properties", component_file::LICENCE_KEYS),
        ("component", "/properties/io/items/properties", component_file::IO_KEYS),
        ("component", "/properties/requires/properties", requires::KEYS),
        ("component", "/$defs/gate/properties", component_file::GATE_KEYS),
        ("component", "/properties/smoke/properties", component_file::SMOKE_KEYS),
        ("component", "/properties/backup/properties", component_file::BACKUP_KEYS),
        ("component", "/properties/backup/properties/keep/properties", component_file::KEEP_KEYS),
        ("component", "/properties/smoke/properties/driver/enum", component_file::DRIVERS),
        ("component", "/properties/ports/additionalProperties/enum", &catalogue),
    ] {
        let known: BTreeSet<String> = known.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(words(&schema(kind), pointer), known, "{kind}{pointer}");
    }
}

#[test]
fn every_shipped_file_fits_its_schema() {
    let sources = Sources::built_in();
    for folder in Folder::ALL {
        for name in sources.names(folder).unwrap().keys() {
            let schema = schema(match folder {
                Folder::Trust if name != forbidden_file::NAME => "trust-policy",
                Folder::Clusters => "cluster",
                Folder::Profiles => "profile",
                Folder::Components => "component",
                Folder::Trust => "forbidden",
            });
            let file = sources.read(folder, name).unwrap().unwrap();
            let problems = Problems::default();
            let part = yaml::parse(&file.shown, &file.bytes, &problems).unwrap();
            let value = Cursor::new(&file.shown, &problems, &part).values(&|_| None).unwrap();
            problems.into_result().unwrap();
            assert_eq!(fault(&schema, &schema, &value), None, "{}", file.shown);
        }
    }
}

#[test]
fn the_check_itself_refuses() {
    let schema = schema("cluster");
    let good = serde_json::json!({"apiVersion": "pipe.dev/v1alpha1", "kind": "Cluster", "name": "x",
        "nodes": [{"name": "a", "count": 2}]});
    assert_eq!(fault(&schema, &schema, &good), None);
    for (pointer, bad) in [
        ("/kind", serde_json::json!("Profile")),
        ("/name", serde_json::json!(3)),
        ("/nodes", serde_json::json!([])),
        ("/nodes/0/count", serde_json::json!(0)),
        ("/nodes/0", serde_json::json!({"name": "a", "unknown": 1})),
        ("/nodes/0", serde_json::json!({})),
    ] {
        let mut value = good.clone();
        *value.pointer_mut(pointer).unwrap() = bad;
        assert!(fault(&schema, &schema, &value).is_some(), "{pointer}");
    }
}

/// What `schema` refuses in `value`. Knows the keywords that our schemas use, and no others;
/// `pattern` is left to editors.
fn fault(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let rules = schema.as_object().unwrap();
    let number = |rule: &Value| rule.as_u64().unwrap();
    let length = value.as_str().map_or(0, |text| text.chars().count() as u64);
    for (keyword, rule) in rules {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "pattern" => true,
            "$ref" => {
                let target =
                    root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                if let Some(fault) = fault(root, target, value) {
                    return Some(fault);
                }
                true
            }
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("unknown type {other}"),
            },
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minLength" => length >= number(rule),
            "maxLength" => length <= number(rule),
            "minimum" => value.as_u64().is_some_and(|value| value >= number(rule)),
            "maximum" => value.as_u64().is_some_and(|value| value <= number(rule)),
            "minItems" => value.as_array().is_some_and(|items| items.len() as u64 >= number(rule)),
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|key| value.get(key.as_str().unwrap()).is_some()),
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                if let Some(fault) = items.find_map(|item| fault(root, rule, item)) {
                    return Some(fault);
                }
                true
            }
            "properties" | "additionalProperties" => true,
            other => panic!("unknown keyword {other}"),
        };
        if !holds {
            return Some(format!("{value} breaks {keyword}: {rule}"));
        }
    }
    let further = rules.get("additionalProperties");
    for (key, value) in value.as_object().into_iter().flatten() {
        let found = match schema.get("properties").and_then(|known| known.get(key)) {
            Some(rule) => fault(root, rule, value),
            None => match further {
                Some(Value::Bool(false)) => Some(format!("unknown key {key}")),
                Some(rule) => fault(root, rule, value),
                None => None,
            },
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
