//! A frame under construction.

use super::{
    CHECKSUM_AT, FRAME_ALIGN, FRAME_HEADER_LEN, Fields, Kind, LEN_AT, LSN_AT, OLDER_AT, SEAL_BIT,
    SYNCED_AT, TIME_AT, TIME_BITS,
};

/// A frame under construction: the caller appends records, the log adds the
/// header in place and writes it all at once. One buffer serves many frames.
pub struct FrameBuffer {
    /// Room for the header, the body, and, once finished, the padding.
    bytes: Vec<u8>,
    padding: usize,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameBuffer {
    /// An empty frame.
    pub fn new() -> Self {
        Self { bytes: vec![0; FRAME_HEADER_LEN], padding: 0 }
    }

    /// Empties the body and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(FRAME_HEADER_LEN);
        self.padding = 0;
    }

    /// The buffer to append records to. Existing bytes must not be changed: the first
    /// [`FRAME_HEADER_LEN`] belong to the header. To undo an append, truncate to an earlier length.
    pub fn writer(&mut self) -> &mut Vec<u8> {
        self.strip_padding();
        &mut self.bytes
    }

    /// The body so far.
    pub fn body(&self) -> &[u8] {
        &self.bytes[FRAME_HEADER_LEN..self.bytes.len() - self.padding]
    }

    /// Removes the first `len` bytes of the body.
    pub fn drop_front(&mut self, len: usize) {
        self.strip_padding();
        self.bytes.drain(FRAME_HEADER_LEN..FRAME_HEADER_LEN + len);
    }

    /// Length of the body so far, in bytes.
    pub fn body_len(&self) -> usize {
        self.bytes.len() - self.padding - FRAME_HEADER_LEN
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.body_len() == 0
    }

    fn strip_padding(&mut self) {
        self.bytes.truncate(self.bytes.len() - self.padding);
        self.padding = 0;
    }

    /// Fills in header and padding, and returns the whole frame. It may be called again with other
    /// fields if the frame could not be written.
    #[expect(clippy::expect_used, reason = "append refuses longer bodies")]
    pub(crate) fn finish(&mut self, identity: u32, fields: &Fields) -> &[u8] {
        self.strip_padding();
        assert_eq!(fields.body_len, self.body_len(), "the header contains the body's length");
        let len = u32::try_from(fields.body_len)
            .ok()
            .filter(|len| len & SEAL_BIT == 0)
            .expect("a body is far shorter than 2 GiB: the log refuses longer ones");
        let len = match fields.kind {
            Kind::Records => len,
            Kind::Seal => len | SEAL_BIT,
        };
        let header = &mut self.bytes[..FRAME_HEADER_LEN];
        header[LEN_AT..LSN_AT].copy_from_slice(&len.to_le_bytes());
        header[LSN_AT..TIME_AT].copy_from_slice(&fields.lsn.0.to_le_bytes());
        assert!(fields.log_time_ms >> TIME_BITS == 0, "engine time fits in its six bytes");
        let time = fields.log_time_ms.to_le_bytes();
        header[TIME_AT..OLDER_AT].copy_from_slice(&time[..OLDER_AT - TIME_AT]);
        header[OLDER_AT..SYNCED_AT].copy_from_slice(&fields.older.to_le_bytes());
        header[SYNCED_AT..].copy_from_slice(&fields.synced_lsn.0.to_le_bytes());
        let checksum = crc32c::crc32c_append(identity, &self.bytes[LEN_AT..]);
        self.bytes[CHECKSUM_AT..LEN_AT].copy_from_slice(&checksum.to_le_bytes());
        let whole = self.bytes.len().next_multiple_of(FRAME_ALIGN as usize);
        self.padding = whole - self.bytes.len();
        self.bytes.resize(whole, 0);
        &self.bytes
    }
}
