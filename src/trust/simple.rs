//! The form of cosign 1 and 2: a small JSON document, "simple signing", with its signature beside it
//! (cosign `specs/SIGNATURE_SPEC.md`).

use serde::{Deserialize, Serialize};

use super::key::{KeyId, PublicKey, SigningKey};
use super::refusal::Refusal;

/// Media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Annotation of its layer that holds the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The purpose every document of cosign's states.
const PURPOSE: &str = "cosign container image signature";

#[derive(Serialize, Deserialize)]
struct Document {
    critical: Critical,
    #[serde(default)]
    optional: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    purpose: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// A document and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The document, byte for byte what was signed.
    pub payload: Vec<u8>,
    /// ASN.1 DER.
    pub signature: Vec<u8>,
}

/// Signs `digest` (`sha256:…`) as an image of `repository`, which Podman's policies compare.
pub fn sign(key: &SigningKey, repository: &str, digest: &str) -> Signed {
    let document = Document {
        critical: Critical {
            identity: Identity { docker_reference: repository.to_owned() },
            image: Image { docker_manifest_digest: digest.to_owned() },
            purpose: PURPOSE.to_owned(),
        },
        optional: None,
    };
    // Strings and one null: this cannot fail, and an empty document would be refused by anyone.
    let payload = serde_json::to_vec(&document).unwrap_or_default();
    let signature = key.sign(&payload);
    Signed { payload, signature }
}

/// The key that signed `digest`.
///
/// # Errors
/// Why it does not count.
pub fn verify(signed: &Signed, digest: &str, keys: &[PublicKey]) -> Result<KeyId, Refusal> {
    // The signature first: what nobody trusted wrote is not even parsed.
    let made = |key: &&PublicKey| key.made(&signed.signature, &signed.payload);
    let key = keys.iter().find(made).ok_or(Refusal::Forged)?;
    let document: Document = serde_json::from_slice(&signed.payload)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    if document.critical.purpose != PURPOSE {
        return Err(Refusal::OtherPurpose(document.critical.purpose));
    }
    let named = document.critical.image.docker_manifest_digest;
    if named == digest { Ok(key.id()) } else { Err(Refusal::OtherImage(named)) }
}
