//! The key of a log, and what is computed with it.
//!
//! ```text
//! log key      HMAC-SHA-256(secret, "log" ‖ 0 ‖ "default" ‖ 0)
//! segment key  HKDF-SHA-256(salt: the header's salt, key: log key,
//!              info: "jeton segment" ‖ 0 ‖ bytes 0 to 65 of the header), 32 bytes
//! header MAC   HMAC-SHA-256(log key, "jeton segment header" ‖ 0 ‖ bytes 0 to 97
//!              of the header)
//! ```
//!
//! Each segment has a random salt of its own, made with its header, so no two segments have one key,
//! also if they have the same number: in a log that continues after a power cut, and in two copies of
//! one directory. Only the segments whose headers were made before the copy, of which both copies
//! write the current one and the prepared one, have the same key in both; there the nonces differ,
//! which are random ([`super::cipher`]).

use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::cipher::SegmentCipher;
use super::segment::{LogId, MAC_LEN, SALT_LEN, SegmentHeader};
use crate::model::token::Digester;

/// Length of the log key, in bytes.
const KEY_LEN: usize = 32;

const SEGMENT_LABEL: &[u8] = b"jeton segment\0";

/// What a MAC is for; each kind has different results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacKind {
    /// The header of a segment.
    SegmentHeader,
    /// The head of a backup.
    BackupHead,
}

impl MacKind {
    fn label(self) -> &'static [u8] {
        match self {
            Self::SegmentHeader => b"jeton segment header\0",
            Self::BackupHead => b"jeton backup head\0",
        }
    }
}

/// The key of a log, derived from its secret. Clones share it.
#[derive(Clone)]
pub struct LogKey(Arc<Inner>);

struct Inner {
    id: LogId,
    key: Zeroizing<[u8; KEY_LEN]>,
}

impl LogKey {
    /// The key of the log that is written with the secret of this digester.
    #[must_use]
    pub fn new(digester: &Digester) -> Self {
        let id = LogId(digester.secret_check());
        Self(Arc::new(Inner { id, key: digester.log_key() }))
    }

    /// The id of the log, by which another secret is recognised.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.0.id
    }

    /// The MAC of `bytes`.
    #[must_use]
    pub fn mac(&self, kind: MacKind, bytes: &[u8]) -> [u8; MAC_LEN] {
        self.hmac(kind, bytes).finalize().into_bytes().into()
    }

    /// Whether `mac` is that of `bytes`; compares in constant time.
    #[must_use]
    pub fn is_mac(&self, kind: MacKind, bytes: &[u8], mac: &[u8]) -> bool {
        self.hmac(kind, bytes).verify_slice(mac).is_ok()
    }

    fn hmac(&self, kind: MacKind, bytes: &[u8]) -> Hmac<Sha256> {
        // RFC 2104: a key shorter than the hash's block is padded with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block[..KEY_LEN].copy_from_slice(self.0.key.as_slice());
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(kind.label());
        mac.update(bytes);
        mac
    }

    /// The header with its MAC.
    pub(crate) fn sign(&self, header: SegmentHeader) -> SegmentHeader {
        SegmentHeader { mac: self.mac(MacKind::SegmentHeader, &header.signed_bytes()), ..header }
    }

    /// Whether the header was made with this key.
    pub(crate) fn made(&self, header: &SegmentHeader) -> bool {
        self.is_mac(MacKind::SegmentHeader, &header.signed_bytes(), &header.mac)
    }

    /// The cipher of the segment with this header.
    #[expect(clippy::expect_used, reason = "HKDF refuses only outputs of more than 8160 bytes")]
    pub(crate) fn cipher(&self, header: &SegmentHeader) -> SegmentCipher {
        let root = Salt::new(HKDF_SHA256, &header.salt).extract(self.0.key.as_slice());
        let info: [&[u8]; 2] = [SEGMENT_LABEL, &header.fields()];
        let okm = root.expand(&info, &AES_256_GCM).expect("32 bytes");
        SegmentCipher::new(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

/// A new random salt.
pub(crate) fn new_salt() -> io::Result<[u8; SALT_LEN]> {
    let mut salt = [0; SALT_LEN];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    Ok(salt)
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey(…)")
    }
}
