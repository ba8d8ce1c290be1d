//! A segment file of a forged log: its header, and room for frames.

/// Small, so that logs of several segments are short.
pub const SEGMENT_LEN: usize = 16 << 10;
pub const HEADER_BLOCK_LEN: usize = 4096;

/// A segment file.
pub struct Segment {
    /// 1 or 2, or 3 in the log of a cluster's node.
    pub format: u8,
    pub seq: u64,
    pub base: u64,
    pub older: u16,
    pub synced: u64,
    pub identity: u32,
    pub bytes: Vec<u8>,
}

impl Segment {
    pub fn new(format: u8, seq: u64, base: u64, older: u16, synced: u64) -> Self {
        let bytes = vec![0; SEGMENT_LEN];
        let mut segment = Self { format, seq, base, older, synced, identity: 0, bytes };
        let header = segment.header();
        segment.identity = crc32c::crc32c(&header[..header.len() - 4]);
        segment.bytes[..header.len()].copy_from_slice(&header);
        segment
    }

    /// The header that it was made with.
    pub fn header(&self) -> Vec<u8> {
        let mut header = vec![0; if self.format == 1 { 56 } else { 64 }];
        header[..8].copy_from_slice(b"JETONLOG");
        header[8] = self.format;
        header[16..32].fill(7);
        header[32..40].copy_from_slice(&self.seq.to_le_bytes());
        header[40..48].copy_from_slice(&self.base.to_le_bytes());
        header[48..56].copy_from_slice(&(SEGMENT_LEN as u64).to_le_bytes());
        if self.format != 1 {
            header[12..14].copy_from_slice(&self.older.to_le_bytes());
            header[56..64].copy_from_slice(&self.synced.to_le_bytes());
        }
        let identity = crc32c::crc32c(&header);
        header.extend_from_slice(&identity.to_le_bytes());
        header
    }

    pub fn lsn_at(&self, at: usize) -> u64 {
        self.base + (at - HEADER_BLOCK_LEN) as u64
    }

    pub fn name(&self) -> String {
        format!("segment-{:016x}.log", self.seq)
    }
}
