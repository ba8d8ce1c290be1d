//! Encryption of frames: AES-256-GCM under the key of the segment.
//!
//! **Nonce.** 96 random bits for each try to write, kept in the frame. Never a counter, and never the
//! Lsn: a log writes one Lsn again, with other bytes, after a power cut, after a full disk, and in a
//! second copy of its directory. A segment has at most 2^24 frames, so with random nonces the chance
//! that two of one key are equal is below 2^-48.
//!
//! **Associated data.** The head of the frame from its length on, without the nonce, and the tag of
//! the frame before. So each tag stands for the whole log up to it: no frame can be changed, removed,
//! moved or taken from another log without the secret, except at the end of the log, where an older
//! state looks as it did then.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN as CIPHER_NONCE_LEN, Nonce};

/// Length of a nonce, in bytes.
pub(crate) const NONCE_LEN: usize = CIPHER_NONCE_LEN;
/// Length of a tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Bytes of a frame's head that are authenticated: from its length to its synced Lsn.
pub(crate) const HEAD_LEN: usize = 28;

/// A nonce, and the bytes of the frame's head that are authenticated with the body.
pub(crate) struct Head<'a> {
    pub nonce: [u8; NONCE_LEN],
    pub authenticated: &'a [u8; HEAD_LEN],
}

/// The tag of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub [u8; TAG_LEN]);

impl Tag {
    /// What the first frame of a new log carries: there is no frame before it.
    pub(crate) const NONE: Self = Self([0; TAG_LEN]);

    /// The tag at the start of `bytes`.
    pub(crate) fn at(bytes: &[u8]) -> Self {
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&bytes[..TAG_LEN]);
        Self(tag)
    }
}

/// The frame was not written with this key, or not after the frame with that tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongTag;

/// Encrypts and decrypts the frames of one segment.
pub(crate) struct SegmentCipher(LessSafeKey);

impl SegmentCipher {
    pub fn new(key: LessSafeKey) -> Self {
        Self(key)
    }

    /// Encrypts a body in place and returns its tag. No other frame may have the nonce.
    #[expect(clippy::expect_used, reason = "the cipher refuses only bodies of more than 64 GiB")]
    pub fn encrypt(&self, head: &Head<'_>, before: Tag, body: &mut [u8]) -> Tag {
        let (nonce, aad) = head.arguments(before);
        let encrypted = self.0.seal_in_place_separate_tag(nonce, aad, body);
        Tag::at(encrypted.expect("a body is far shorter").as_ref())
    }

    /// Decrypts in place a body that its tag follows.
    pub fn decrypt(
        &self,
        head: &Head<'_>,
        before: Tag,
        body_and_tag: &mut [u8],
    ) -> Result<(), WrongTag> {
        let (nonce, aad) = head.arguments(before);
        self.0.open_in_place(nonce, aad, body_and_tag).map(|_| ()).map_err(|_| WrongTag)
    }
}

impl Head<'_> {
    fn arguments(&self, before: Tag) -> (Nonce, Aad<[u8; HEAD_LEN + TAG_LEN]>) {
        let mut aad = [0; HEAD_LEN + TAG_LEN];
        aad[..HEAD_LEN].copy_from_slice(self.authenticated);
        aad[HEAD_LEN..].copy_from_slice(&before.0);
        (Nonce::assume_unique_for_key(self.nonce), Aad::from(aad))
    }
}
