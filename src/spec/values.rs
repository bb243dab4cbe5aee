//! Chart values: the component's, over them its size's, what the host allows, the user's, and where
//! another product stands in, what that one needs.

use serde_json::Value;

use super::{Component, host_io};

impl Component {
    /// The values for the chart: the component's, with the size's, the host's and then the user's over
    /// them. A stand-in's have the last word: without them it does not run.
    pub fn chart_values(&self) -> Value {
        let mut values = self.definition.values.clone();
        if let Some(size) = self.definition.sizes.get(&self.size) {
            merge(&mut values, size);
        }
        if let Some(way) = host_io::choose(&self.definition.io, self.host_io) {
            merge(&mut values, &way.values);
        }
        merge(&mut values, &self.values);
        if self.stand_in.is_some() && !self.definition.stand_in.is_null() {
            merge(&mut values, &self.definition.stand_in);
        }
        values
    }
}

/// Merges as Helm does: mappings key by key, anything else replaces. A null stays, so that Helm
/// removes the chart's own default for it.
pub(super) fn merge(under: &mut Value, over: &Value) {
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
