//! The key pair that signs checkpoints of the audit log: Ed25519, with a private key that is derived
//! from the secret ([`Digester::audit_seed`](crate::model::token::Digester::audit_seed)).
//!
//! The text form of the public key is PEM (`PUBLIC KEY`, RFC 8410), as `openssl pkey -pubin` reads
//! it.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

/// Length of the private key's seed and of the public key, in bytes.
pub const KEY_LEN: usize = 32;
/// Length of a signature in bytes.
pub(super) const SIGNATURE_LEN: usize = 64;
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not a public key.
    #[error("is not an Ed25519 public key in PEM, as jeton audit public-key prints it")]
    Form,
    /// The library refused the seed.
    #[error("the signing key of the audit log can't be derived")]
    Seed,
}

/// The private key.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key with this seed.
    ///
    /// # Errors
    /// The library refuses it, which it does for no seed.
    pub fn from_seed(seed: &[u8; KEY_LEN]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| KeyError::Seed)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; KEY_LEN];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut bytes = [0; SIGNATURE_LEN];
        bytes.copy_from_slice(self.0.sign(message).as_ref());
        bytes
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The public key, which checks signatures and makes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// The key as PEM, with a line break at the end.
    #[must_use]
    pub fn to_pem(self) -> String {
        let text = STANDARD.encode([&SPKI_PREFIX[..], &self.0].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// Reads a key from PEM.
    ///
    /// # Errors
    /// The text has another form, or the key is of another kind.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(text).map_err(|_| KeyError::Form)?;
        let key = info.strip_prefix(&SPKI_PREFIX).ok_or(KeyError::Form)?;
        Ok(Self(key.try_into().map_err(|_| KeyError::Form)?))
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_and_its_public_half_survives_pem() {
        let key = SigningKey::from_seed(&[7; KEY_LEN]).unwrap();
        let pem = key.public().to_pem();
        let public = PublicKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(public, key.public());
        let signature = key.sign(b"a message");
        assert!(public.has_signed(b"a message", &signature));
        assert!(!public.has_signed(b"another", &signature));
        let other = SigningKey::from_seed(&[8; KEY_LEN]).unwrap().public();
        assert!(!other.has_signed(b"a message", &signature));
        for wrong in [&pem.as_bytes()[..40], b"", &pem.replace("MCow", "MCox").into_bytes()] {
            assert_eq!(PublicKey::from_pem(wrong), Err(KeyError::Form));
        }
    }
}
