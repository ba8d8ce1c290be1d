//! Keys and encryption of the log's format, written from its documentation alone.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const TAG_LEN: usize = 16;
pub const NONCE_LEN: usize = 12;
/// The secret of every log here.
pub const SECRET: [u8; 32] = [7; 32];

/// HMAC-SHA-256 (RFC 2104) of the parts, one behind the other.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

pub fn log_key() -> [u8; 32] {
    hmac(&SECRET, &[b"log\0default\0"])
}

pub fn log_id() -> [u8; 16] {
    let check = hmac(&SECRET, &[b"secret-check\0default\0"]);
    check[..16].try_into().expect("sixteen bytes")
}

/// HKDF-SHA-256 (RFC 5869) with one block of output.
fn hkdf(salt: &[u8], key: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let root = hmac(salt, &[key]);
    hmac(&root, &[info, &[&[1]]].concat())
}

/// The cipher of a segment.
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// Of a segment with this salt, and these bytes of its header before the salt.
    pub fn new(salt: &[u8], fields: &[u8]) -> Self {
        let key = hkdf(salt, &log_key(), &[b"jeton segment\0", fields]);
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes")))
    }

    /// The body and its tag. `head` is that of the frame, with its nonce.
    pub fn encrypt(&self, head: &[u8], before: &[u8], body: &[u8]) -> Vec<u8> {
        let (nonce, aad) = arguments(head, before);
        let mut bytes = body.to_vec();
        self.0.seal_in_place_append_tag(nonce, aad, &mut bytes).expect("short");
        bytes
    }

    /// The body of a frame, if its tag is right.
    pub fn decrypt(&self, head: &[u8], before: &[u8], body_and_tag: &[u8]) -> Option<Vec<u8>> {
        let (nonce, aad) = arguments(head, before);
        let mut bytes = body_and_tag.to_vec();
        let len = self.0.open_in_place(nonce, aad, &mut bytes).ok()?.len();
        bytes.truncate(len);
        Some(bytes)
    }
}

fn arguments(head: &[u8], before: &[u8]) -> (Nonce, Aad<Vec<u8>>) {
    let nonce = Nonce::try_assume_unique_for_key(&head[32..44]).expect("twelve bytes");
    (nonce, Aad::from([&head[4..32], before].concat()))
}
