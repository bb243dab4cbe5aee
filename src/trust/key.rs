//! Keys: ECDSA on P-256 with SHA-256, in PEM as openssl and cosign read it.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey as Secret, VerifyingKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    LineEnding,
};
use sha2::{Digest as _, Sha256};

use crate::digest;
use crate::{Error, Result};

/// Names a key: SHA-256 of its public half in DER, whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// As bundles name a key (cosign `internal/key/svkeypair.go`).
    pub fn hint(&self) -> String {
        BASE64_STANDARD.encode(self.0)
    }
}

/// Its first eight bytes, enough for people to compare.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digest::hex(self.0.get(..8).unwrap_or_default()))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The half that everybody may have.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    fn new(key: VerifyingKey) -> Result<PublicKey> {
        let der = key
            .to_public_key_der()
            .map_err(|error| Error::bug("a public key cannot be written").because(error))?;
        Ok(PublicKey { key, id: KeyId(Sha256::digest(der.as_bytes()).into()) })
    }

    /// Reads `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// It is no PEM of a P-256 key.
    pub fn from_pem(pem: &str) -> Result<PublicKey> {
        let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|error| {
            Error::failed("trust-key", "this is no public key of the kind P-256 in PEM")
                .because(error)
        })?;
        PublicKey::new(key)
    }

    /// In PEM.
    ///
    /// # Errors
    /// None for a key that was read or made.
    pub fn to_pem(&self) -> Result<String> {
        self.key
            .to_public_key_pem(LineEnding::LF)
            .map_err(|error| Error::bug("a public key cannot be written").because(error))
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` (ASN.1 DER) over `message` was made by this key's other half.
    pub fn made(&self, signature: &[u8], message: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|it| self.key.verify(message, &it).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

/// The half that signs; printing it shows its name only.
#[derive(Clone)]
pub struct SigningKey {
    secret: Secret,
    public: PublicKey,
}

impl SigningKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// The operating system has none.
    pub fn generate() -> Result<SigningKey> {
        let secret = Secret::try_generate().map_err(|error| {
            Error::host("no-randomness", "no signing key can be made").because(error)
        })?;
        SigningKey::new(secret)
    }

    fn new(secret: Secret) -> Result<SigningKey> {
        let public = PublicKey::new(*secret.verifying_key())?;
        Ok(SigningKey { secret, public })
    }

    /// Reads `-----BEGIN PRIVATE KEY-----` (PKCS#8, not encrypted).
    ///
    /// # Errors
    /// It is no PEM of a P-256 key. The text itself is never repeated.
    pub fn from_pem(pem: &str) -> Result<SigningKey> {
        let secret = Secret::from_pkcs8_pem(pem.trim()).map_err(|error| {
            Error::failed("trust-key", "this is no private key of the kind P-256 in PEM")
                .because(error)
        })?;
        SigningKey::new(secret)
    }

    /// In PEM: a secret.
    ///
    /// # Errors
    /// None for a key that was read or made.
    pub fn to_pem(&self) -> Result<String> {
        let pem = self
            .secret
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| Error::bug("a private key cannot be written").because(error))?;
        Ok(pem.to_string())
    }

    /// The other half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A signature over `message`, ASN.1 DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.secret.sign(message);
        signature.to_der().as_bytes().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id)
    }
}
