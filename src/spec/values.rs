//! Chart values: those of the size, and the user's over them.

use serde_json::Value;

use super::Component;

impl Component {
    /// The values for the chart: the size's with the user's merged over them.
    pub fn chart_values(&self) -> Value {
        let empty = || Value::Object(serde_json::Map::new());
        let mut values = self.definition.sizes.get(&self.size).cloned().unwrap_or_else(empty);
        merge(&mut values, &self.values);
        values
    }
}

/// Merges as Helm does: mappings key by key, anything else replaces. A null stays, so that Helm
/// removes the chart's own default for it.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mappings_merge_and_the_rest_replaces() {
        let mut values = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": {"f": 1}});
        merge(&mut values, &json!({"a": {"c": [3], "n": null}, "d": {"y": 1}, "e": null, "g": {}}));
        let expected =
            json!({"a": {"b": 1, "c": [3], "n": null}, "d": {"y": 1}, "e": null, "g": {}});
        assert_eq!(values, expected);
    }
}
