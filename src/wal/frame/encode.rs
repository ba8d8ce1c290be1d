//! Makes the bytes of frames.

use super::{
    CHECKSUM_AT, FRAME_ALIGN, FRAME_HEADER_LEN, Fields, Kind, LEN_AT, LSN_AT, NONCE_AT, OLDER_AT,
    SEAL_BIT, SYNCED_AT, TIME_AT, TIME_BITS, body_at,
};
use crate::wal::cipher::{Head, NONCE_LEN, SegmentCipher, Tag};
use crate::wal::segment::array_at;

/// Encrypts bodies into a buffer of its own, at most one frame long: the plain body is still needed
/// when the frame is durable. The buffer keeps its memory.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// The bytes of a frame after the one with the tag `before`, and its tag. Each call takes a new
    /// nonce, also for a frame that could not be written.
    #[expect(clippy::expect_used, reason = "append refuses longer bodies")]
    pub fn encode(
        &mut self,
        cipher: &SegmentCipher,
        identity: u32,
        fields: &Fields,
        before: Tag,
        body: &[u8],
    ) -> Result<(&[u8], Tag), getrandom::Error> {
        assert_eq!(fields.body_len, body.len(), "the head contains the body's length");
        let len = u32::try_from(fields.body_len)
            .ok()
            .filter(|len| len & SEAL_BIT == 0)
            .expect("a body is far shorter than 2 GiB: the log refuses longer ones");
        let len = match fields.kind {
            Kind::Records => len,
            Kind::Seal => len | SEAL_BIT,
        };
        assert!(fields.log_time_ms >> TIME_BITS == 0, "engine time fits in its six bytes");
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let bytes = &mut self.0;
        bytes.clear();
        bytes.resize(FRAME_HEADER_LEN, 0);
        bytes[LEN_AT..LSN_AT].copy_from_slice(&len.to_le_bytes());
        bytes[LSN_AT..TIME_AT].copy_from_slice(&fields.lsn.0.to_le_bytes());
        let time = fields.log_time_ms.to_le_bytes();
        bytes[TIME_AT..OLDER_AT].copy_from_slice(&time[..OLDER_AT - TIME_AT]);
        bytes[OLDER_AT..SYNCED_AT].copy_from_slice(&fields.older.to_le_bytes());
        bytes[SYNCED_AT..NONCE_AT].copy_from_slice(&fields.synced_lsn.0.to_le_bytes());
        bytes[NONCE_AT..].copy_from_slice(&nonce);
        let authenticated = array_at(bytes, LEN_AT);
        if fields.carries_tag {
            bytes.extend_from_slice(&before.0);
        }
        bytes.extend_from_slice(body);
        let head = Head { nonce, authenticated: &authenticated };
        let tag = cipher.encrypt(&head, before, &mut bytes[body_at(fields.carries_tag)..]);
        bytes.extend_from_slice(&tag.0);
        let checksum = crc32c::crc32c_append(identity, &bytes[LEN_AT..]);
        bytes[CHECKSUM_AT..LEN_AT].copy_from_slice(&checksum.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(FRAME_ALIGN as usize), 0);
        Ok((bytes, tag))
    }
}
