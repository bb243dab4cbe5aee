//! The form of cosign 3: an in-toto statement about a digest, in a DSSE envelope, in a Sigstore
//! bundle 0.3 that names its key and no log (sigstore/protobuf-specs; secure-systems-lab/dsse).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::key::{KeyId, PublicKey, SigningKey};
use super::refusal::Refusal;

/// Media type of the bundle.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Annotation of its manifest: what the statement says of its subject.
pub const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

/// Annotation of its manifest: what the bundle holds.
pub const CONTENT: &str = "dev.sigstore.bundle.content";

/// "This image is signed", and nothing more.
pub const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// What DSSE calls an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What in-toto calls it.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    /// None where a certificate speaks for a key that was thrown away.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<Hint>,
}

#[derive(Serialize, Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Sig>,
}

#[derive(Serialize, Deserialize)]
struct Sig {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: Map<String, Value>,
}

/// A bundle that signs `digest` (`sha256:…`).
pub fn sign(key: &SigningKey, digest: &str) -> Vec<u8> {
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": [{ "digest": { algorithm: hex }, "annotations": {} }],
        "predicateType": SIGNED,
        "predicate": {},
    });
    let payload = statement.to_string().into_bytes();
    let signature = key.sign(&encoded(PAYLOAD_TYPE, &payload));
    let bundle = Bundle {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: Material {
            public_key: Some(Hint { hint: key.public().id().hint() }),
        },
        dsse_envelope: Envelope {
            payload: BASE64_STANDARD.encode(&payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![Sig { sig: BASE64_STANDARD.encode(signature) }],
        },
    };
    // Strings only: this cannot fail, and an empty bundle would be refused by anyone.
    serde_json::to_vec(&bundle).unwrap_or_default()
}

/// The key whose bundle signs `digest`.
///
/// # Errors
/// Why it does not count.
pub fn verify(bundle: &[u8], digest: &str, keys: &[PublicKey]) -> Result<KeyId, Refusal> {
    let malformed = |why: &dyn std::fmt::Display| Refusal::Malformed(why.to_string());
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(|error| malformed(&error))?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(malformed(&format!("it is a {:?}", bundle.media_type)));
    }
    let envelope = bundle.dsse_envelope;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Refusal::OtherPurpose(envelope.payload_type));
    }
    let payload = BASE64_STANDARD.decode(&envelope.payload).map_err(|error| malformed(&error))?;
    // More than one would leave open which of them was meant.
    let [signature] = envelope.signatures.as_slice() else {
        return Err(malformed(&format!("it has {} signatures", envelope.signatures.len())));
    };
    let signature = BASE64_STANDARD.decode(&signature.sig).map_err(|error| malformed(&error))?;
    let message = encoded(PAYLOAD_TYPE, &payload);
    // The hint only says which key to try: it is not covered by the signature.
    let Some(key) = keys.iter().find(|key| key.made(&signature, &message)) else {
        let hint = bundle.verification_material.public_key.map(|key| key.hint).unwrap_or_default();
        let known = hint.is_empty() || keys.iter().any(|key| key.id().hint() == hint);
        return Err(if known { Refusal::Forged } else { Refusal::UnknownKey(hint) });
    };
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|error| malformed(&error))?;
    if statement.kind != STATEMENT_TYPE {
        return Err(Refusal::OtherPurpose(statement.kind));
    }
    if statement.predicate_type != SIGNED {
        return Err(Refusal::OtherPurpose(statement.predicate_type));
    }
    let subjects: Vec<String> = statement.subject.iter().flat_map(digests).collect();
    if subjects.iter().any(|subject| subject == digest) {
        return Ok(key.id());
    }
    Err(Refusal::OtherImage(subjects.join(", ")))
}

/// Digests of a subject that are written as digests.
fn digests(subject: &Subject) -> impl Iterator<Item = String> {
    let text = |(algorithm, hex): (&String, &Value)| Some(format!("{algorithm}:{}", hex.as_str()?));
    subject.digest.iter().filter_map(text)
}

/// What DSSE signs: "pre-authentication encoding", which leaves no two readings of one message.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
