//! Logs made of bytes: with right checksums, so that the checks after them are reached, and then
//! damaged at some places.

use std::sync::Arc;

use jeton::testkit::disk::Memory;
use jeton::wal::Storage;

use super::cipher::{NONCE_LEN, TAG_LEN};
use super::input::Input;
use super::model::{Entries, Frame};
use super::segment::{HEADER_BLOCK_LEN, SEGMENT_LEN, Segment};
use super::stream::Origin;
use super::{commands, model, spec, stream};

const SEGMENTS_MAX: usize = 4;
/// The approximate time of all records.
pub const START: u64 = 1_000_000_000_000;

/// A log under construction.
struct Forge {
    segments: Vec<Segment>,
    at: usize,
    time: u64,
    /// The end of the durable part.
    synced: u64,
    /// Features of the next segments.
    features: u8,
    /// Tag of the last frame.
    before: [u8; TAG_LEN],
    /// Number of the next frame, its nonce.
    number: u32,
    /// How many segments before its own the next frame says that the log needs.
    older: u16,
    /// The last Origin, in the log of a node.
    origin: Option<Origin>,
    /// What the frames mean, for records that an engine may write behind them.
    entries: Entries,
    /// Bytes to change at the end: segment, offset, change.
    damage: Vec<(usize, usize, u8)>,
}

/// The segments that the bytes encode. The first byte selects the form: frames with right
/// checksums, or the bytes themselves after the header of one segment; the features of the first
/// and the other segments; how many are missing before the first, and how many its header names; and
/// whether it is the log of a cluster's node.
pub fn segments(bytes: &[u8]) -> Vec<Segment> {
    let mut input = Input(bytes);
    let form = input.u8();
    let is_node = form >> 6 == 3;
    let [first, others] = [form, form >> 1].map(|bits| if is_node { 1 } else { 2 * (bits % 2) });
    let features = first | others;
    let [missing, older] = [form >> 2, form >> 4].map(|bits| u16::from(bits % 4) / 2);
    let base = HEADER_BLOCK_LEN as u64;
    if form >= 0xFE {
        let mut only = Segment::new(2 * (form % 2), 1, base, 0, 0);
        let raw = input.take(SEGMENT_LEN - HEADER_BLOCK_LEN);
        only.bytes[HEADER_BLOCK_LEN..HEADER_BLOCK_LEN + raw.len()].copy_from_slice(raw);
        return vec![only];
    }
    let first = Segment::new(first, 1 + u64::from(missing), base, older, 0);
    let mut forge = Forge {
        synced: first.base,
        segments: vec![first],
        at: HEADER_BLOCK_LEN,
        time: START,
        features,
        before: [0; TAG_LEN],
        number: 0,
        older: 0,
        origin: None,
        entries: Entries::new(),
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
    /// The upper half of a step's byte is what its frames say of older segments. In the log of a
    /// node, most steps write frames without a mistake.
    fn step(&mut self, input: &mut Input<'_>) {
        let mut step = input.u8();
        if self.features == 1 && step >> 4 < 14 {
            step %= 12;
        }
        self.older = u16::from(step >> 4);
        match step % 16 {
            0..=6 => {
                let mut body = self.origin(input);
                for _ in 0..=input.u8() % 4 {
                    commands::command(input, self.time, &mut body);
                }
                self.time += input.scaled(16);
                // The last of these keeps what no engine writes.
                let body = if step % 16 == 6 { body } else { self.admitted(&body) };
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
            11 if self.segments.len() < SEGMENTS_MAX => self.next_segment(),
            12 => self.time = self.time.wrapping_add(input.u64()),
            13 => self.synced = self.here().wrapping_add(u64::from(input.u16()) * 8),
            14 => match input.u8() {
                // The next frame has a right checksum and a wrong tag.
                1 => self.before[0] ^= 1,
                far => self.at = (self.at + usize::from(far) * 8).min(SEGMENT_LEN),
            },
            _ => {
                let segment = usize::from(input.u8()) % self.segments.len();
                let at = usize::from(input.u16()) % SEGMENT_LEN;
                self.damage.push((segment, at, input.u8()));
            }
        }
    }

    /// What the frame of a node begins with; nothing in another log.
    fn origin(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        if self.features != 1 {
            return Vec::new();
        }
        let next = stream::origin(input, self.origin.as_ref());
        self.origin = Some(next);
        next.to_vec()
    }

    /// Seals the last segment and makes the next one, with the same words about older ones.
    fn next_segment(&mut self) {
        self.frame(&[], true);
        let last = &self.segments[self.segments.len() - 1];
        let (seq, base) = (last.seq + 1, last.lsn_at(SEGMENT_LEN));
        self.segments.push(Segment::new(self.features, seq, base, self.older, self.synced));
        self.synced = base;
        self.at = HEADER_BLOCK_LEN;
    }

    /// The records of a body that an engine may write here.
    fn admitted(&self, body: &[u8]) -> Vec<u8> {
        let (mut frame, mut admitted) = (Frame::after(&self.entries), Vec::new());
        let mut rest = body;
        while let Some(record) = spec::record(rest) {
            let (bytes, behind) = rest.split_at(record.len);
            if frame.admits(&record, self.time) {
                frame.apply(&record, self.time);
                admitted.extend_from_slice(bytes);
            }
            rest = behind;
        }
        admitted
    }

    fn here(&self) -> u64 {
        self.segments[self.segments.len() - 1].lsn_at(self.at)
    }

    /// Puts a frame here, if there is room.
    fn frame(&mut self, body: &[u8], is_seal: bool) {
        let lsn = self.here();
        let segment = self.segments.last_mut().expect("at least one segment");
        let carried = if self.at == HEADER_BLOCK_LEN { TAG_LEN } else { 0 };
        let len = 32 + NONCE_LEN + carried + body.len() + TAG_LEN;
        let end = self.at + len.next_multiple_of(8);
        if end > SEGMENT_LEN {
            return;
        }
        let older = u64::from(self.older) << 48;
        let len = body.len() as u32 | u32::from(is_seal) << 31;
        let mut frame = vec![0; 4];
        frame.extend_from_slice(&len.to_le_bytes());
        for field in [lsn, self.time | older, self.synced] {
            frame.extend_from_slice(&field.to_le_bytes());
        }
        self.number += 1;
        frame.extend_from_slice(&self.number.to_le_bytes());
        frame.extend_from_slice(&[0; NONCE_LEN - 4]);
        let encrypted = segment.cipher().encrypt(&frame, &self.before, body);
        if carried > 0 {
            frame.extend_from_slice(&self.before);
        }
        frame.extend_from_slice(&encrypted);
        self.before.copy_from_slice(&encrypted[body.len()..]);
        let checksum = crc32c::crc32c_append(segment.identity, &frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        segment.bytes[self.at..self.at + frame.len()].copy_from_slice(&frame);
        self.at = end;
        model::apply_body(&mut self.entries, body, self.time);
    }
}
