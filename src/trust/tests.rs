use proptest::prelude::*;
use serde_json::Value;

use super::*;

const DIGEST: &str = "sha256:f5d2b3b0a5b8e6cc5b8f5f4d8e37c4d1a2b9f3c4e5d6a7b8c9d0e1f2a3b4c5d6";
const OTHER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn keys() -> (SigningKey, Vec<PublicKey>) {
    let (old, key) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let public = vec![old.public().clone(), key.public().clone()];
    (key, public)
}

#[test]
fn what_one_key_of_several_signed_is_good() {
    let (key, trusted) = keys();
    let id = key.public().id();
    assert_eq!(bundle::verify(&bundle::sign(&key, DIGEST), DIGEST, &trusted), Ok(id));
    let signed = simple::sign(&key, "docker.io/library/nats", DIGEST);
    assert_eq!(simple::verify(&signed, DIGEST, &trusted), Ok(id));
}

#[test]
fn a_signature_is_good_for_its_own_digest_only() {
    let (key, trusted) = keys();
    let other = Err(Refusal::OtherImage(DIGEST.to_owned()));
    assert_eq!(bundle::verify(&bundle::sign(&key, DIGEST), OTHER, &trusted), other);
    assert_eq!(simple::verify(&simple::sign(&key, "a/b", DIGEST), OTHER, &trusted), other);
}

#[test]
fn another_key_does_not_count_and_is_named() {
    let (_, trusted) = keys();
    let stranger = SigningKey::generate().unwrap();
    let hint = stranger.public().id().hint();
    let bundle = bundle::sign(&stranger, DIGEST);
    assert_eq!(bundle::verify(&bundle, DIGEST, &trusted), Err(Refusal::UnknownKey(hint.clone())));
    let simple = simple::sign(&stranger, "a/b", DIGEST);
    assert_eq!(simple::verify(&simple, DIGEST, &trusted), Err(Refusal::Forged));
    // Claiming a trusted key helps nothing.
    let claimed = String::from_utf8(bundle).unwrap().replace(&hint, &trusted[0].id().hint());
    let refused = bundle::verify(claimed.as_bytes(), DIGEST, &trusted);
    assert_eq!(refused, Err(Refusal::Forged));
    assert_eq!(
        bundle::verify(&bundle::sign(&stranger, DIGEST), DIGEST, &[]),
        Err(Refusal::UnknownKey(hint))
    );
}

/// A statement under a good signature, but about something else.
#[test]
fn other_statements_of_the_same_key_sign_no_image() {
    let (key, trusted) = keys();
    let genuine: Value = serde_json::from_slice(&bundle::sign(&key, DIGEST)).unwrap();
    let signed_over = |statement: Value| {
        let payload = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let mut bundle = genuine.clone();
        let base64 = |bytes: &[u8]| {
            use base64::Engine as _;
            base64::prelude::BASE64_STANDARD.encode(bytes)
        };
        bundle["dsseEnvelope"]["payload"] = base64(payload.as_bytes()).into();
        let signature = base64(&key.sign(message.as_bytes()));
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = signature.into();
        bundle::verify(bundle.to_string().as_bytes(), DIGEST, &trusted)
    };
    let statement = |kind: &str, predicate: &str| {
        let hex = DIGEST.trim_start_matches("sha256:");
        serde_json::json!({"_type": kind, "predicateType": predicate, "predicate": {},
            "subject": [{"digest": {"sha256": hex}}]})
    };
    let v1 = "https://in-toto.io/Statement/v1";
    assert!(signed_over(statement(v1, bundle::SIGNED)).is_ok());
    let slsa = "https://slsa.dev/provenance/v1";
    assert_eq!(signed_over(statement(v1, slsa)), Err(Refusal::OtherPurpose(slsa.to_owned())));
    let old = "https://in-toto.io/Statement/v0.1";
    let refused = signed_over(statement(old, bundle::SIGNED));
    assert_eq!(refused, Err(Refusal::OtherPurpose(old.to_owned())));
    let mut none = statement(v1, bundle::SIGNED);
    none["subject"] = serde_json::json!([]);
    assert_eq!(signed_over(none), Err(Refusal::OtherImage(String::new())));
}

#[test]
fn two_signatures_in_one_envelope_are_refused() {
    let (key, trusted) = keys();
    let mut bundle: Value = serde_json::from_slice(&bundle::sign(&key, DIGEST)).unwrap();
    let one = bundle["dsseEnvelope"]["signatures"][0].clone();
    bundle["dsseEnvelope"]["signatures"] = vec![one.clone(), one].into();
    let refused = bundle::verify(bundle.to_string().as_bytes(), DIGEST, &trusted);
    assert_eq!(refused, Err(Refusal::Malformed("it has 2 signatures".to_owned())));
}

#[test]
fn keys_survive_pem_and_say_nothing_of_themselves() {
    let key = SigningKey::generate().unwrap();
    let pem = key.to_pem().unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS#8");
    let again = SigningKey::from_pem(&pem).unwrap();
    assert_eq!(again.public(), key.public());
    let public = key.public().to_pem().unwrap();
    assert_eq!(PublicKey::from_pem(&public).unwrap(), *key.public());
    let secret = pem.lines().nth(1).unwrap();
    assert!(!format!("{key:?}").contains(secret));
    let broken = pem.replace(secret, &secret[..40]);
    let error = SigningKey::from_pem(&broken).unwrap_err();
    assert!(!error.to_string().contains(&secret[..40]), "{error}");
    // A public key is none to sign with, and the other way round.
    assert!(SigningKey::from_pem(&public).is_err());
    assert!(PublicKey::from_pem(&pem).is_err());
}

#[test]
fn manifests_that_carry_signatures() {
    let key = SigningKey::generate().unwrap();
    let subject: oci_spec::image::Descriptor = serde_json::from_value(serde_json::json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": DIGEST, "size": 855,
        "platform": {"os": "linux", "architecture": "amd64"},
    }))
    .unwrap();
    let attached =
        attached::referrer(bundle::sign(&key, DIGEST), &subject, "2026-11-21T00:00:00Z").unwrap();
    let mut manifest: Value = serde_json::from_slice(&attached.manifest.content).unwrap();
    manifest["layers"][0]["digest"] = "…".into();
    manifest["layers"][0]["size"] = 0.into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
    assert_eq!(attached.manifest.digest, attached::sha256(&attached.manifest.content));

    let signed = simple::sign(&key, "docker.io/library/nats", DIGEST);
    let first = attached::legacy(&signed, &[]).unwrap();
    let layer = |attachment: &attached::Attachment, at: usize| {
        let manifest: oci_spec::image::ImageManifest =
            serde_json::from_slice(&attachment.manifest.content).unwrap();
        manifest.layers()[at].clone()
    };
    let there = [(layer(&first, 0), signed.payload.clone())];
    let rotated = simple::sign(&SigningKey::generate().unwrap(), "docker.io/library/nats", DIGEST);
    let both = attached::legacy(&rotated, &there).unwrap();
    assert_eq!(layer(&both, 0), layer(&first, 0), "the older signature stays");
    assert_ne!(layer(&both, 1).annotations(), layer(&both, 0).annotations());
    let stored = both.blobs.iter().any(|blob| blob.digest == layer(&both, 0).digest().to_string());
    assert!(stored, "with its document");
    assert_eq!(attached::signature_tag("sha256:ab"), "sha256-ab.sig");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done to a bundle's bytes, no other digest and no other key comes of it.
    #[test]
    fn a_changed_bundle_is_refused_or_means_the_same(at in 0usize..600, byte: u8, cut in any::<bool>()) {
        let (key, trusted) = keys();
        let mut bytes = bundle::sign(&key, DIGEST);
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(id) = bundle::verify(&bytes, DIGEST, &trusted) {
            prop_assert!(!cut);
            prop_assert_eq!(id, key.public().id());
        }
        prop_assert!(bundle::verify(&bytes, OTHER, &trusted).is_err());
    }

    #[test]
    fn a_changed_document_is_refused(at in 0usize..400, byte: u8) {
        let (key, trusted) = keys();
        let mut signed = simple::sign(&key, "docker.io/library/nats", DIGEST);
        let at = at % signed.payload.len();
        prop_assume!(signed.payload[at] != byte);
        signed.payload[at] = byte;
        prop_assert_eq!(simple::verify(&signed, DIGEST, &trusted), Err(Refusal::Forged));
    }
}
