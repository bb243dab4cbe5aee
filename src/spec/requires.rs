//! What a component needs of the machine below its nodes, beyond what its chart asks Kubernetes for.

use std::collections::BTreeMap;

use serde::Serialize;

use super::read::Cursor;
use super::{Arch, memory};

/// Keys of `requires`.
pub const KEYS: &[&str] = &["memory", "cpu"];

/// What a component needs of the machine below its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requires {
    /// Bytes of memory of all its pods together; none where the chart's values say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// What its images need of the CPU, by the names that the kernel has in `/proc/cpuinfo`. What
    /// stands in for them, or is built here, does without.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cpu: BTreeMap<Arch, Vec<String>>,
}

impl Requires {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Requires::default()
    }
}

pub(super) fn read(cursor: Cursor<'_>) -> Option<Requires> {
    let fields = cursor.fields(KEYS, &[])?;
    let memory = fields.optional("memory").and_then(|c| c.parsed(memory::parse, memory::REMEDY));
    let mut cpu = BTreeMap::new();
    for (arch, mark, list) in fields.optional("cpu").and_then(|c| c.entries()).into_iter().flatten()
    {
        let Some(arch) = Arch::parse(arch).filter(|known| known.as_str() == arch) else {
            mark.problem(format!("{arch:?} is no architecture of nodes"), "use amd64 or arm64");
            continue;
        };
        let features = list.items().into_iter().flatten();
        let features = features.filter_map(|item| {
            item.parsed(feature, "use the kernel's name, as in /proc/cpuinfo: avx2, sse4_2")
        });
        cpu.insert(arch, features.collect());
    }
    Some(Requires { memory, cpu })
}

fn feature(text: &str) -> Result<String, String> {
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match !text.is_empty() && text.len() <= 32 && text.chars().all(usable) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no feature of a CPU")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::problem::Problems;
    use crate::spec::yaml;

    fn of(text: &str) -> (Option<Requires>, String) {
        let problems = Problems::default();
        let part = yaml::parse("f", text.as_bytes(), &problems).unwrap();
        let requires = read(Cursor::new("f", &problems, &part));
        let faults = problems.into_result().err();
        (requires, faults.map(|error| error.causes.join("\n")).unwrap_or_default())
    }

    #[test]
    fn what_is_required() {
        let (requires, faults) = of("memory: 1Gi\ncpu: {amd64: [avx, avx2], arm64: []}\n");
        assert_eq!(faults, "");
        let cpu = [(Arch::Amd64, vec!["avx".to_owned(), "avx2".to_owned()]), (Arch::Arm64, vec![])];
        assert_eq!(requires, Some(Requires { memory: Some(1 << 30), cpu: cpu.into() }));
    }

    #[test]
    fn what_cannot_be_required() {
        let (_, faults) = of(
            "memory: 8GB\ncpu:\n  x86_64: [avx]\n  amd64: [AVX2, '']\n  arm64: lrcpc\ndisk: 1Gi\n",
        );
        insta::assert_snapshot!(faults);
    }
}
