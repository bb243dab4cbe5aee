//! Forbidden images are refused wherever a profile leads to them, each at its place.

use super::{component, load};

fn bao(images: &str) -> String {
    component("bao", "").replace("chart: nats", "chart: bao").replace("images: []", images)
}

const CLUSTER: &str = "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: x\nprofile: p\n\
                       nodes: [{name: core, controlPlane: true}]\n";

/// Of the values of OpenBao's chart (openbao-helm 0.16): its injector is HashiCorp's.
const VALUES: &str = "\
injector:
  enabled: true
  image:
    registry: \"docker.io\"
    repository: \"hashicorp/vault-k8s\"
    tag: \"1.4.2\"
server:
  image: {registry: quay.io, repository: openbao/openbao, tag: 2.2.0}
";

const TEMPLATE: &str = "\
spec:
  initContainers:
  - name: wait
    image: registry.corp:5000/mirror/hashicorp/consul:{{ .Values.tag }}
  containers:
  - image: {{ .Values.server.image.repository }}
    env:
    - {name: vault, value: vault}
";

fn profile(values: &str) -> String {
    format!(
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: p\ncomponents:\n\
         - name: bao\n  namespace: data\n  values: {values}\n"
    )
}

fn problems(profile: &str, component: &str, template: &str) -> String {
    let files = [
        ("clusters/x.yaml", CLUSTER),
        ("profiles/p.yaml", profile),
        ("profiles/components/bao.yaml", component),
        ("charts-cache/bao/Chart.yaml", "name: bao\n"),
        ("charts-cache/bao/values.yaml", VALUES),
        ("charts-cache/bao/templates/deployment.yaml", template),
        ("charts-cache/bao/charts/log/values.yaml", "image: elastic/filebeat:8\n"),
        (
            "profiles/trust/forbidden.yaml",
            "apiVersion: pipe.dev/v1alpha1\nkind: ForbiddenImages\nname: forbidden\nrules:\n\
             - {what: Redis 8, why: nobody here has read its licence, instead: Valkey, images: [redis]}\n",
        ),
    ];
    load(&files, "x").map_or_else(|error| error.causes.join("\n"), |_| String::new())
}

#[test]
fn every_place_that_leads_to_one() {
    let component = bao("images: [docker.io/library/redis:8, quay.io/openbao/openbao:2]");
    let found = problems(
        &profile("{sidecar: {image: 'docker.elastic.co/kibana/kibana:8', note: vault}}"),
        &component,
        TEMPLATE,
    );
    insta::assert_snapshot!(found);
}

#[test]
fn values_of_the_user_take_the_place_of_the_charts() {
    let values = "{injector: {image: {repository: openbao/openbao-k8s}}, log: {image: 'fluent/fluent-bit:3'}}";
    let found = problems(&profile(values), &bao("images: []"), "image: {{ .Values.x }}\n");
    assert_eq!(found, "");
}
