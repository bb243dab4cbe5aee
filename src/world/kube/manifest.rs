//! YAML manifests to JSON objects, for tests that compare what we write.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Every object in `text`, YAML or JSON, with empty documents left out and `kind: List` unrolled.
///
/// # Errors
/// `manifest-invalid`, with the position of the fault where YAML itself is wrong.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>> {
    let invalid =
        |why: String| Error::failed("manifest-invalid", "the manifest cannot be read").because(why);
    let documents = Yaml::load_from_str(text).map_err(|error| invalid(error.to_string()))?;
    let mut objects = Vec::new();
    for document in documents {
        match json(document).map_err(invalid)? {
            Value::Null => {}
            Value::Object(object) => unroll(object, &mut objects),
            other => return Err(invalid(format!("{other} is not an object"))),
        }
    }
    Ok(objects)
}

fn unroll(mut object: Map<String, Value>, objects: &mut Vec<Value>) {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind == "List");
    match (is_list, object.remove("items")) {
        (true, Some(Value::Array(items))) => objects.extend(items),
        (_, Some(items)) => {
            object.insert("items".to_owned(), items);
            objects.push(Value::Object(object));
        }
        (_, None) => objects.push(Value::Object(object)),
    }
}

fn json(node: Yaml<'_>) -> Result<Value, String> {
    match node {
        Yaml::Value(scalar) => Ok(scalar_json(scalar)),
        Yaml::Tagged(_, node) => json(*node),
        Yaml::Sequence(items) => {
            items.into_iter().map(json).collect::<Result<_, _>>().map(Value::Array)
        }
        Yaml::Mapping(entries) => entries
            .into_iter()
            .map(|(key, value)| Ok((key_text(json(key)?)?, json(value)?)))
            .collect::<Result<_, String>>()
            .map(Value::Object),
        Yaml::Representation(text, ..) => Err(format!("{text:?} is not resolved")),
        Yaml::Alias(_) => Err("an alias without its anchor".to_owned()),
        Yaml::BadValue => Err("a value that does not fit its tag".to_owned()),
    }
}

fn scalar_json(scalar: Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::Bool(value),
        Scalar::Integer(value) => Value::from(value),
        Scalar::FloatingPoint(value) => Value::from(value.into_inner()),
        Scalar::String(value) => Value::String(value.into_owned()),
    }
}

/// Kubernetes' own parser turns scalar keys into text as well (`80: http` in a ConfigMap).
fn key_text(key: Value) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Ok(key.to_string()),
        other => Err(format!("{other} cannot be a key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_objects() {
        let objects = parse(
            "# only a comment\n---\nkind: A\nn: 1\nt: \"1\"\non: true\nnone: ~\nlist: [a, 1.5]\n\
             ---\n---\nkind: List\nitems:\n- {kind: B}\n- {kind: C, data: {80: http}}\n",
        )
        .unwrap();
        insta::assert_snapshot!(serde_json::to_string(&objects).unwrap(), @r#"[{"kind":"A","list":["a",1.5],"n":1,"none":null,"on":true,"t":"1"},{"kind":"B"},{"data":{"80":"http"},"kind":"C"}]"#);
    }

    #[test]
    fn json_is_read_too() {
        assert_eq!(parse(r#"{"kind": "A", "items": []}"#).unwrap()[0]["kind"], "A");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(parse("- a\n").unwrap_err().code, "manifest-invalid");
        let error = parse("a: [1\n").unwrap_err();
        assert!(error.to_string().contains("line"), "{error}");
    }
}
