//! Logs made of bytes: with right checksums, so that the checks after them are reached, and then
//! damaged at some places.

use std::sync::Arc;

use jeton::testkit::disk::Memory;
use jeton::wal::Storage;

use super::input::Input;

/// Small, so that logs of several segments are short.
pub const SEGMENT_LEN: usize = 16 << 10;
const HEADER_BLOCK_LEN: usize = 4096;
const SEGMENTS_MAX: usize = 4;
/// The approximate time of all records.
pub const START: u64 = 1_000_000_000_000;

/// A segment file.
pub struct Segment {
    pub seq: u64,
    pub base: u64,
    pub identity: u32,
    pub bytes: Vec<u8>,
}

impl Segment {
    fn new(seq: u64, base: u64) -> Self {
        let mut segment = Self { seq, base, identity: 0, bytes: vec![0; SEGMENT_LEN] };
        let header = segment.header();
        segment.identity = crc32c::crc32c(&header[..56]);
        segment.bytes[..60].copy_from_slice(&header);
        segment
    }

    /// The header that it was made with.
    pub fn header(&self) -> [u8; 60] {
        let mut header = [0; 60];
        header[..8].copy_from_slice(b"JETONLOG");
        header[8] = 1;
        header[16..32].fill(7);
        header[32..40].copy_from_slice(&self.seq.to_le_bytes());
        header[40..48].copy_from_slice(&self.base.to_le_bytes());
        header[48..56].copy_from_slice(&(SEGMENT_LEN as u64).to_le_bytes());
        let identity = crc32c::crc32c(&header[..56]);
        header[56..].copy_from_slice(&identity.to_le_bytes());
        header
    }

    pub fn lsn_at(&self, at: usize) -> u64 {
        self.base + (at - HEADER_BLOCK_LEN) as u64
    }

    pub fn name(&self) -> String {
        format!("segment-{:016x}.log", self.seq)
    }
}

/// A log under construction.
struct Forge {
    segments: Vec<Segment>,
    at: usize,
    time: u64,
    /// The end of the durable part.
    synced: u64,
    /// Bytes to change at the end: segment, offset, change.
    damage: Vec<(usize, usize, u8)>,
}

/// The segments that the bytes encode. The first byte selects the form: frames with right
/// checksums, or the bytes themselves after the header of one segment.
pub fn segments(bytes: &[u8]) -> Vec<Segment> {
    let mut input = Input(bytes);
    let mut first = Segment::new(1, HEADER_BLOCK_LEN as u64);
    if input.u8() == 0xFF {
        let raw = input.take(SEGMENT_LEN - HEADER_BLOCK_LEN);
        first.bytes[HEADER_BLOCK_LEN..HEADER_BLOCK_LEN + raw.len()].copy_from_slice(raw);
        return vec![first];
    }
    let mut forge = Forge {
        synced: first.base,
        segments: vec![first],
        at: HEADER_BLOCK_LEN,
        time: START,
        damage: Vec::new(),
    };
    while !input.is_empty() {
        forge.step(&mut input);
    }
    for (segment, at, change) in forge.damage {
        forge.segments[segment].bytes[at] ^= change;
    }
    forge.segments
}

/// The disk that the segments are on.
pub fn disk(segments: &[Segment]) -> (Memory, Arc<dyn Storage>) {
    let memory = Memory::new();
    let storage = memory.storage();
    for segment in segments {
        let file = storage.create(&segment.name(), 0).expect("a disk with room");
        file.write_at(&segment.bytes, 0).expect("a disk with room");
        file.sync().expect("a good disk");
    }
    storage.sync_dir().expect("a good disk");
    (memory, storage)
}

impl Forge {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0..=6 => {
                let mut body = Vec::new();
                for _ in 0..=input.u8() % 4 {
                    record(input, self.time, &mut body);
                }
                self.time += input.scaled(16);
                self.frame(&body, false);
            }
            7 => {
                let len = usize::from(input.u8());
                let body = input.take(len).to_vec();
                self.frame(&body, false);
            }
            8 => self.frame(&[], false),
            // As after a sync: the next frame begins a sector.
            9 | 10 => {
                self.synced = self.here();
                self.at = self.at.next_multiple_of(512).min(SEGMENT_LEN);
            }
            11 if self.segments.len() < SEGMENTS_MAX => {
                self.frame(&[], true);
                let last = &self.segments[self.segments.len() - 1];
                let next = Segment::new(last.seq + 1, last.lsn_at(SEGMENT_LEN));
                self.synced = next.base;
                self.at = HEADER_BLOCK_LEN;
                self.segments.push(next);
            }
            12 => self.time = self.time.wrapping_add(input.u64()),
            13 => self.synced = self.here().wrapping_add(u64::from(input.u16()) * 8),
            14 => self.at = (self.at + usize::from(input.u8()) * 8).min(SEGMENT_LEN),
            _ => {
                let segment = usize::from(input.u8()) % self.segments.len();
                let at = usize::from(input.u16()) % SEGMENT_LEN;
                self.damage.push((segment, at, input.u8()));
            }
        }
    }

    fn here(&self) -> u64 {
        self.segments[self.segments.len() - 1].lsn_at(self.at)
    }

    /// Puts a frame here, if there is room.
    fn frame(&mut self, body: &[u8], is_seal: bool) {
        let lsn = self.here();
        let segment = self.segments.last_mut().expect("at least one segment");
        let end = self.at + (32 + body.len()).next_multiple_of(8);
        if end > SEGMENT_LEN {
            return;
        }
        let len = body.len() as u32 | u32::from(is_seal) << 31;
        let mut covered = len.to_le_bytes().to_vec();
        for field in [lsn, self.time, self.synced] {
            covered.extend_from_slice(&field.to_le_bytes());
        }
        covered.extend_from_slice(body);
        let checksum = crc32c::crc32c_append(segment.identity, &covered);
        segment.bytes[self.at..self.at + 4].copy_from_slice(&checksum.to_le_bytes());
        segment.bytes[self.at + 4..self.at + 4 + covered.len()].copy_from_slice(&covered);
        self.at = end;
    }
}

/// A record of one of a few digests. Mostly a good one.
fn record(input: &mut Input<'_>, time: u64, out: &mut Vec<u8>) {
    let (kind, digest) = (input.u8() % 8, [input.u8() % 6; 16]);
    let deadline = time.saturating_add(input.scaled(24));
    let mut head = |kind: u8, flags: u8, uses: u16, payload_len: u32| {
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&uses.to_le_bytes());
        out.extend_from_slice(&payload_len.to_le_bytes());
        out.extend_from_slice(&digest);
    };
    match kind {
        0..=2 => {
            let (flags, uses, payload) =
                (input.u8() % 4, u16::from(input.u8() % 4), input.u8() % 40);
            head(1, flags, uses + 1, payload.into());
            out.extend_from_slice(&deadline.to_le_bytes());
            out.extend(std::iter::repeat_n(b'0' + payload % 10, payload.into()));
        }
        3 => {
            let [flags, left, more, payload] = input.array();
            let (flags, left, more, payload) = (flags % 4, left % 4, more % 4, payload % 40);
            head(2, flags, left.into(), payload.into());
            let keys = input.u8() % 4;
            out.extend_from_slice(&deadline.to_le_bytes());
            out.extend_from_slice(&time.saturating_sub(input.scaled(16)).to_le_bytes());
            out.extend_from_slice(&[left + more, 0, keys, 0, 0, 0, 0, 0]);
            (0..keys).for_each(|key| out.extend_from_slice(&[key; 16]));
            out.extend(std::iter::repeat_n(b'0' + payload % 10, payload.into()));
        }
        4 => head(3, 0, 0, 0),
        5 => {
            head(3, 1, 0, 0);
            out.extend_from_slice(&[input.u8() % 4; 16]);
        }
        6 => {
            head(4, 0, 0, 0);
            out.extend_from_slice(&deadline.to_le_bytes());
            out.extend_from_slice(&input.scaled(24).to_le_bytes());
        }
        _ if input.u8().is_multiple_of(2) => head(5, 0, 0, 0),
        _ => out.extend_from_slice(&[6, 0, 0, 0, 0, 0, 0, 0]),
    }
}
