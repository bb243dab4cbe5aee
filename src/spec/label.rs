//! Kubernetes' rules for labels, taints and extended resources, and which of them are ours to set.

use super::Taint;

/// Longest name part of a key, and longest value.
const PART_MAX: usize = 63;

/// Longest prefix of a key.
const PREFIX_MAX: usize = 253;

/// Label keys that a field of the file or `pipe` itself sets, with what to write instead.
const OURS: &[(&str, &str)] = &[
    ("role", "use the field role"),
    ("zone", "use the field zone"),
    ("topology.kubernetes.io/zone", "use the field zone"),
    ("failure-domain.beta.kubernetes.io/zone", "use the field zone"),
    ("arch", "use the field arch"),
    ("accelerator", "use the field accelerator"),
    ("kubernetes.io/arch", "kubelet resets it to its own; use the field arch, which sets arch="),
    (
        "beta.kubernetes.io/arch",
        "kubelet resets it to its own; use the field arch, which sets arch=",
    ),
    ("kubernetes.io/os", "kubelet resets it; leave it out"),
    ("beta.kubernetes.io/os", "kubelet resets it; leave it out"),
    (
        "kubernetes.io/hostname",
        "kubelet resets it; select on pipe.dev/node, which is the node's name here",
    ),
    ("app.kubernetes.io/managed-by", "pipe sets it; leave it out"),
];

/// Labels of Kubernetes' own domains that kubelet accepts for its node, `OURS` aside.
const KUBELET_ACCEPTS: &[&str] = &[
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
];

/// Why `text` is no label value, or `None` if it is one; the empty value is one.
pub fn value_fault(text: &str) -> Option<String> {
    if text.is_empty() { None } else { name_fault(text) }
}

/// Why `text` is no qualified name (`name` or `prefix.example/name`), or `None` if it is one.
pub fn key_fault(text: &str) -> Option<String> {
    let Some((prefix, name)) = text.split_once('/') else { return name_fault(text) };
    let labels_ok =
        prefix.split('.').all(|label| super::name::dns_label_fault(label, PART_MAX).is_none());
    if prefix.len() > PREFIX_MAX || !labels_ok {
        return Some(format!("{prefix:?} in {text:?} is not a DNS name"));
    }
    name_fault(name)
}

fn name_fault(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("an empty name is not valid".to_owned());
    }
    if text.len() > PART_MAX {
        return Some(format!("{text:?} is longer than {PART_MAX} characters"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Some(format!("{text:?} contains {c:?}"));
    }
    let ends_well = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    (!ends_well).then(|| format!("{text:?} does not begin and end with a letter or digit"))
}

/// Why a user may not set the label `key`, as fault and remedy; the key's form is checked apart.
pub fn reserved(key: &str) -> Option<(String, &'static str)> {
    if let Some((_, remedy)) = OURS.iter().find(|(ours, _)| *ours == key) {
        return Some((format!("the label {key} cannot be set here"), remedy));
    }
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    if prefix == "node-role.kubernetes.io" {
        return Some((format!("the label {key} cannot be set here"), "use the field role"));
    }
    if prefix == "pipe.dev" || prefix.ends_with(".pipe.dev") {
        return Some((format!("the label {key} belongs to pipe"), "use a prefix of your own"));
    }
    // Made for administrators, through the API only.
    let for_administrators = prefix == "node-restriction.kubernetes.io";
    if !for_administrators && !kubelet_may_set(key) {
        let remedy = "use a prefix of your own, or node.kubernetes.io/";
        return Some((format!("kubelet refuses the label {key}"), remedy));
    }
    None
}

/// Whether kubelet may give its own node the label `key` as it registers (`--node-labels`, and the
/// NodeRestriction admission); the others are set through the API afterwards.
pub fn kubelet_may_set(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    let within = |domain: &str| {
        prefix.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let of_kubernetes = within("kubernetes.io") || within("k8s.io");
    let kubelets = within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    let known = KUBELET_ACCEPTS.contains(&key)
        || matches!(key, "topology.kubernetes.io/zone" | "failure-domain.beta.kubernetes.io/zone");
    !of_kubernetes || kubelets || known
}

/// Parses `key=value:Effect` or `key:Effect`.
pub fn parse_taint(text: &str) -> Result<Taint, String> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let Some((name, effect)) = text.rsplit_once(':') else {
        return Err(format!("the taint {text:?} has no effect"));
    };
    if !EFFECTS.contains(&effect) {
        return Err(format!("{effect:?} in {text:?} is not an effect"));
    }
    let (key, value) = name.split_once('=').unwrap_or((name, ""));
    if let Some(fault) = key_fault(key).or_else(|| value_fault(value)) {
        return Err(format!("in the taint {text:?}, {fault}"));
    }
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    if matches!(prefix, "node.kubernetes.io" | "node.cloudprovider.kubernetes.io" | "pipe.dev") {
        return Err(format!("the taint {key} is set and removed by Kubernetes or pipe itself"));
    }
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
}

/// Why `name` is no extended resource, or `None` if it is one.
pub fn resource_fault(name: &str) -> Option<String> {
    let Some((domain, _)) = name.split_once('/') else {
        return Some(format!("{name:?} has no domain, so it is not an extended resource"));
    };
    if format!("{domain}/").contains("kubernetes.io/") || domain.starts_with("requests.") {
        return Some(format!("{name:?} is a resource of Kubernetes' own"));
    }
    // Quotas count it under this longer name, which must be valid too.
    key_fault(&format!("requests.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_follow_kubernetes() {
        for good in ["a", "A.b_c-9", "example.com/x", "node.kubernetes.io/tier"] {
            assert_eq!(key_fault(good), None, "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "-a", "a-", "a b", "/x", "x/", "Example.com/x", "a/b/c", "ex..am/x", &long]
        {
            assert!(key_fault(bad).is_some(), "{bad}");
        }
        assert_eq!(value_fault(""), None);
        assert!(value_fault("a:b").is_some());
        assert!(value_fault("ä").is_some());
    }

    #[test]
    fn labels_that_others_set_are_refused() {
        for key in [
            "kubernetes.io/arch",
            "kubernetes.io/hostname",
            "node-role.kubernetes.io/x",
            "topology.kubernetes.io/zone",
            "pipe.dev/node",
            "role",
            "foo.k8s.io/x",
            "kubernetes.io/foo",
        ] {
            assert!(reserved(key).is_some(), "{key}");
        }
        for key in [
            "team",
            "example.com/kubernetes.io",
            "notkubernetes.io/x",
            "node.kubernetes.io/tier",
            "topology.kubernetes.io/region",
            "node-restriction.kubernetes.io/secure",
        ] {
            assert_eq!(reserved(key), None, "{key}");
        }
        assert!(kubelet_may_set("topology.kubernetes.io/zone"));
        assert!(!kubelet_may_set("node-role.kubernetes.io/general"));
        assert!(!kubelet_may_set("node-restriction.kubernetes.io/secure"));
    }

    #[test]
    fn taints_need_a_known_effect() {
        let taint = parse_taint("example.com/gpu=yes:NoExecute").unwrap();
        assert_eq!((taint.key.as_str(), taint.value.as_str()), ("example.com/gpu", "yes"));
        assert_eq!(parse_taint("alone:NoSchedule").unwrap().value, "");
        for bad in ["", "a", "a=b", "a=b:", "a=b:noschedule", "=b:NoSchedule", "a=b=c:NoSchedule"] {
            assert!(parse_taint(bad).is_err(), "{bad}");
        }
        assert!(parse_taint("node.kubernetes.io/not-ready:NoSchedule").is_err());
    }

    #[test]
    fn resources_need_a_domain() {
        assert_eq!(resource_fault("nvidia.com/gpu"), None);
        for bad in [
            "cpu",
            "memory",
            "kubernetes.io/x",
            "a.kubernetes.io/x",
            "requests.x/y",
            "x.y/",
            "x.y/a b",
        ] {
            assert!(resource_fault(bad).is_some(), "{bad}");
        }
    }
}
