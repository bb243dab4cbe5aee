//! The policy by which an API server refuses pods for their images' names. Nodes refuse more, and
//! later: they look at what an image is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::surroundings;
use crate::provider::labels;
use crate::world::kube::Admission;

/// Name of the policy and of its binding.
pub const NAME: &str = "pipe-images";

/// What becomes of a pod that the policy does not want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is made, and whoever makes it is told.
    Warn,
    /// It is refused.
    Deny,
}

/// The policy as objects; `variables` are names with their expressions, `demands` expressions with what
/// is said where they do not hold.
pub fn admission(
    variables: &[(&str, &str)],
    demands: impl IntoIterator<Item = (String, String)>,
    then: Then,
) -> Admission {
    let variables: Vec<Value> = variables
        .iter()
        .map(|(name, expression)| json!({"name": name, "expression": expression}))
        .collect();
    let validations: Vec<Value> = demands
        .into_iter()
        .map(|(expression, message)| json!({"expression": expression, "message": message}))
        .collect();
    let pods = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["pods", "pods/ephemeralcontainers"],
    });
    let spec = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [pods]},
        "variables": variables,
        "validations": validations,
    });
    let action = match then {
        Then::Warn => "Warn",
        Then::Deny => "Deny",
    };
    let binding = json!({"policyName": NAME, "validationActions": [action]});
    let fingerprint = surroundings::hash(&format!("{spec}{binding}"));
    let metadata = || {
        let ours: BTreeMap<String, String> = labels::ours(None);
        json!({"name": NAME, "labels": ours, "annotations": {Admission::FINGERPRINT: fingerprint}})
    };
    let api = "admissionregistration.k8s.io/v1";
    Admission {
        policy: json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata(), "spec": spec}),
        binding: json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata(), "spec": binding}),
        fingerprint,
    }
}
