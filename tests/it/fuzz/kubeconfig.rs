//! The user's kubeconfig: other programs write it, and it is edited in place.

use pipe::state::kubeconfig;
use proptest::prelude::*;

use super::{Bytes, PIECES, check, mutated};

const SAMPLE: &str = "\
apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {server: 'https://10.89.0.2:6443', certificate-authority-data: QUJD}
contexts:
- {name: admin, context: {cluster: kubernetes, user: admin, namespace: x}}
current-context: admin
preferences: {}
users:
- name: admin
  user: {token: 0123, client-certificate-data: QUJD, exec: {args: [a, 'yes', no, 1e3, 0o7, ~]}}
";

#[test]
fn own() {
    let text = prop_oneof![
        4 => mutated(SAMPLE.into(), PIECES),
        1 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes),
    ];
    check("kubeconfig", 1000, &text, |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        match kubeconfig::own(&text, "kind-dev", "https://127.0.0.1:40001") {
            Ok(own) => {
                let again = kubeconfig::own(&own, "kind-dev", "https://127.0.0.1:40001").unwrap();
                assert_eq!(again, own, "written out and read in again, it changes");
            }
            Err(error) => assert_eq!(error.code, "kubeconfig-invalid"),
        }
    });
}

#[test]
fn deep_and_wide_documents_are_refused_quickly() {
    let began = std::time::Instant::now();
    for piece in ["[", "{a: ", "- ", "? ", "&a [", "!!seq ["] {
        let text = piece.repeat(1_000_000 / piece.len());
        let error = kubeconfig::own(&text, "kind-dev", "https://x").unwrap_err();
        assert_eq!(error.code, "kubeconfig-invalid", "{piece}");
        assert!(error.to_string().len() < 2000, "{piece}");
    }
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        laughs += &format!("a{level}: &a{level} [{below}]\n");
    }
    let long = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(300_000), "*a, ".repeat(100_000));
    for text in [laughs, long] {
        let error = kubeconfig::own(&text, "kind-dev", "https://x").unwrap_err();
        assert_eq!(error.code, "kubeconfig-invalid");
    }
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}
