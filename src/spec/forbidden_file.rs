//! `profiles/trust/forbidden.yaml` to a [`Forbidden`]: the built-in rules, and behind them those of
//! the project, which can add to them and take none away.

use super::problem::Problems;
use super::read::{self, Cursor, Fields};
use super::source::{Folder, SourceFile, Sources};
use super::{load, yaml};
use crate::trust::forbidden::{Forbidden, Pattern, Rule};

/// The file's name without ending.
pub const NAME: &str = "forbidden";

/// Every key of the file.
pub const KEYS: &[&str] = &["apiVersion", "kind", "name", "rules"];

/// Keys of one rule.
pub const RULE_KEYS: &[&str] = &["what", "why", "instead", "images", "except"];

const PATTERN_REMEDY: &str =
    "write the end of a name, such as vault, hashicorp/* or registry.example/**";

/// Every rule that holds for a project.
///
/// # Errors
/// [`crate::Kind::Files`], with a cause for each problem in either file.
pub fn forbidden(sources: &Sources) -> crate::Result<Forbidden> {
    let problems = Problems::default();
    let found = read(sources, &problems);
    problems.into_result()?;
    Ok(found)
}

/// The same; every problem is noted.
pub(super) fn read(sources: &Sources, problems: &Problems) -> Forbidden {
    let open =
        |sources: &Sources| load::open(sources, Folder::Trust, NAME, problems).ok().flatten();
    let built_in = open(&Sources::built_in()).map(|file| read_file(&file, problems));
    let own = sources.root().and_then(|_| open(sources)).map(|file| read_file(&file, problems));
    built_in.unwrap_or_default().and(own.unwrap_or_default())
}

fn read_file(source: &SourceFile, problems: &Problems) -> Forbidden {
    let rules = || {
        let part = yaml::parse(&source.shown, &source.bytes, problems)?;
        let fields = Cursor::new(&source.shown, problems, &part).fields(KEYS, &[])?;
        read::header(&fields, "ForbiddenImages", NAME);
        let rules = fields.required("rules", "[{what: …, why: …, instead: …, images: […]}]")?;
        Some(rules.items()?.filter_map(read_rule).collect())
    };
    Forbidden::new(rules().unwrap_or_default())
}

fn read_rule(cursor: Cursor<'_>) -> Option<Rule> {
    let fields = cursor.fields(RULE_KEYS, &[])?;
    let sentence = |key: &str, example: &str| {
        fields.required(key, example).and_then(|c| c.parsed(one_line, "write one line of text"))
    };
    let what = sentence("what", "PRODUCT");
    let why = sentence("why", "WHY it must not run");
    let instead = sentence("instead", "WHAT to take");
    let images = fields.required("images", "[vault, hashicorp/*]");
    if images.is_some_and(|c| c.items().is_some_and(|mut items| items.next().is_none())) {
        images?.problem("forbids no image", "name some, or remove the rule");
    }
    Some(Rule {
        images: patterns(&fields, "images"),
        except: patterns(&fields, "except"),
        what: what?,
        why: why?,
        instead: instead?,
    })
}

fn patterns(fields: &Fields<'_>, key: &str) -> Vec<Pattern> {
    let items = fields.optional(key).and_then(|c| c.items()).into_iter().flatten();
    items.filter_map(|c| c.parsed(Pattern::parse, PATTERN_REMEDY)).collect()
}

fn one_line(text: &str) -> Result<String, String> {
    match text.trim().is_empty() || text.contains(char::is_control) {
        true => Err(format!("{text:?} is no line of text")),
        false => Ok(text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn project(forbidden: &str) -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("profiles/trust");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("forbidden.yaml"), forbidden).unwrap();
        let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
        (dir, sources)
    }

    #[test]
    fn what_the_built_in_list_forbids() {
        let list = forbidden(&Sources::built_in()).unwrap();
        let lines: Vec<String> = [
            "vault",
            "docker.io/hashicorp/vault:1.15",
            "registry.corp:5000/mirror/hashicorp/vault:1.2@sha256:0000",
            "dhi.io/vault-k8s:1",
            "docker.io/hashicorp/vault-secrets-operator:0.9",
            "docker.io/library/consul",
            "hashicorp/consul-k8s-control-plane:1.4.0",
            "ghcr.io/x/terraform:1.9",
            "hashicorp/tfc-agent",
            "docker.io/hashicorp/http-echo:1.0",
            "multani/nomad:1",
            "docker.io/bitnami/elasticsearch:8",
            "bitnamilegacy/kibana:8",
            "docker.elastic.co/elasticsearch/elasticsearch:8.15.0",
            "docker.elastic.co/eck/eck-operator:2.14",
            "mirror.corp/docker.elastic.co/package-registry/distribution:1",
            "elastic/elastic-agent:8",
            "docker.io/elastic/anything:1",
            "quay.io/x/filebeat-oss:7.10.2",
            "docker.elastic.co/apm/apm-server:8",
            "dhi.io/logstash",
            "x/heartbeat:8",
        ]
        .into_iter()
        .map(|image| format!("{image}: {}", list.matches(image).map_or("-", |rule| &rule.what)))
        .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_it_leaves_alone() {
        let list = forbidden(&Sources::built_in()).unwrap();
        for image in [
            "docker.io/library/nats:2.15.2",
            "docker.io/clickhouse/clickhouse-server:26.8.36.3",
            "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z",
            "docker.io/pgsty/silo:RELEASE.2026-09-16T00-00-00Z",
            "docker.io/foundationdb/foundationdb:7.3.79",
            "docker.io/scylladb/scylla:2026.1.1",
            "ghcr.io/project-zot/zot:v2.1.20",
            "docker.io/kindest/node:v1.36.4",
            "quay.io/openbao/openbao:2",
            "quay.io/openbao/openbao-k8s:1",
            "ghcr.io/opentofu/opentofu:1",
            "docker.io/opensearchproject/opensearch:3",
            "docker.io/opensearchproject/opensearch-dashboards:3",
            "docker.io/opensearchproject/logstash-input-opensearch",
            "quay.io/prometheuscommunity/elasticsearch-exporter:1.7.0",
            "quay.io/prometheuscommunity/prometheus-elasticsearch-exporter:1.7.0",
            "docker.io/prom/consul-exporter:0.11",
            "quay.io/terraform-docs/terraform-docs:0.17",
            "myvault/app:1",
            "vault/app:1",
            "docker.io/vaultwarden/server:1",
            "ghcr.io/bank-vaults/vault-operator:1",
            "acme/celery-beat:2",
            "acme/elastic-agent-autodiscover:1",
            "ghcr.io/acme/elastic/indexer:1",
            "acme/nomadic:1",
            "vault.corp:8200/app:vault",
        ] {
            assert!(list.matches(image).is_none(), "{image}");
        }
    }

    #[test]
    fn a_project_adds_and_takes_nothing_away() {
        let (_dir, sources) = project(
            "apiVersion: pipe.dev/v1alpha1\nkind: ForbiddenImages\nname: forbidden\nrules:\n\
             - {what: Redis 8, why: nobody here has read its licence, instead: Valkey, images: [redis]}\n",
        );
        let list = forbidden(&sources).unwrap();
        let rule = list.matches("docker.io/library/redis:8").unwrap();
        insta::assert_snapshot!(
            format!("{}\n{}", rule.reason("redis:8"), rule.remedy()),
            @r"
        redis:8 is Redis 8, which is forbidden: nobody here has read its licence
        take Valkey
        "
        );
        assert!(list.matches("vault").is_some());
    }

    #[test]
    fn a_copy_of_the_built_in_file_adds_nothing() {
        let built_in = forbidden(&Sources::built_in()).unwrap();
        let file = Sources::built_in().read(Folder::Trust, NAME).unwrap().unwrap();
        let (_dir, sources) = project(std::str::from_utf8(&file.bytes).unwrap());
        assert_eq!(forbidden(&sources).unwrap(), built_in);
    }

    #[test]
    fn every_problem_at_once() {
        let (_dir, sources) = project(
            "apiVersion: pipe.dev/v1alpha1\nkind: ForbiddenImages\nname: forbidden\nallow: []\nrules:\n\
             - {what: x, why: '', instead: y, images: [Vault, '*']}\n\
             - {what: x, why: y, images: []}\n",
        );
        let error = forbidden(&sources).unwrap_err();
        let root = sources.root().unwrap().display().to_string();
        insta::assert_snapshot!(error.causes.join("\n").replace(&root, "ROOT"));
    }
}
