//! A segment file of a forged log: its header, and room for frames.

use super::cipher::{self, Cipher};

/// Small, so that logs of several segments are short.
pub const SEGMENT_LEN: usize = 16 << 10;
pub const HEADER_BLOCK_LEN: usize = 4096;
const SALT_AT: usize = 66;
const MAC_AT: usize = SALT_AT + 32;

/// A segment file.
pub struct Segment {
    /// Required features: bit 0 in the log of a cluster's node, bit 1 with puts.
    pub features: u8,
    pub seq: u64,
    pub base: u64,
    pub older: u16,
    pub synced: u64,
    pub identity: u32,
    pub bytes: Vec<u8>,
}

impl Segment {
    pub fn new(features: u8, seq: u64, base: u64, older: u16, synced: u64) -> Self {
        let bytes = vec![0; SEGMENT_LEN];
        let mut segment = Self { features, seq, base, older, synced, identity: 0, bytes };
        let header = segment.header();
        segment.identity = crc32c::crc32c(&header[..header.len() - 4]);
        segment.bytes[..header.len()].copy_from_slice(&header);
        segment
    }

    pub fn is_of_node(&self) -> bool {
        self.features & 1 == 1
    }

    /// The bytes of the header before the salt.
    fn fields(&self) -> [u8; SALT_AT] {
        let mut fields = [0; SALT_AT];
        fields[..8].copy_from_slice(b"JETONLOG");
        fields[8] = 5;
        fields[12] = self.features;
        fields[16..32].copy_from_slice(&cipher::log_id());
        fields[32..40].copy_from_slice(&self.seq.to_le_bytes());
        fields[40..48].copy_from_slice(&self.base.to_le_bytes());
        fields[48..56].copy_from_slice(&(SEGMENT_LEN as u64).to_le_bytes());
        fields[56..64].copy_from_slice(&self.synced.to_le_bytes());
        fields[64..].copy_from_slice(&self.older.to_le_bytes());
        fields
    }

    /// Not random: the same bytes make the same log.
    fn salt(&self) -> [u8; 32] {
        [self.seq as u8 ^ 0x5A; 32]
    }

    /// The header that it was made with.
    pub fn header(&self) -> Vec<u8> {
        let mut header = self.fields().to_vec();
        header.extend_from_slice(&self.salt());
        debug_assert_eq!(header.len(), MAC_AT);
        let mac = cipher::hmac(&cipher::log_key(), &[b"jeton segment header\0", &header]);
        header.extend_from_slice(&mac);
        let identity = crc32c::crc32c(&header);
        header.extend_from_slice(&identity.to_le_bytes());
        header
    }

    pub fn cipher(&self) -> Cipher {
        Cipher::new(&self.salt(), &self.fields())
    }

    pub fn lsn_at(&self, at: usize) -> u64 {
        self.base + (at - HEADER_BLOCK_LEN) as u64
    }

    pub fn name(&self) -> String {
        format!("segment-{:016x}.log", self.seq)
    }
}
