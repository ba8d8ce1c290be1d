//! A second reader of the log's format, written from its documentation alone: records, frames,
//! segments, and the end of a log. It is slow and simple, and shares no code with the reader it is
//! compared with.

use super::cipher::{NONCE_LEN, TAG_LEN};
use super::segment::{HEADER_BLOCK_LEN, Segment};
use super::stream::{ORIGIN_LEN, Origin};

pub const INSTANT_MAX: u64 = (1 << 43) - 1;
const COUNT_MAX: u64 = 10_000;
const PAYLOAD_LEN_MAX: u64 = 1 << 20;
/// What is before the nonce.
const HEAD_LEN: usize = 32;
const FRAME_HEADER_LEN: usize = HEAD_LEN + NONCE_LEN;

/// A record as it stands in a body.
pub struct Record<'a> {
    pub len: usize,
    /// All zeros for a record that concerns no token.
    pub digest: [u8; 16],
    pub what: What<'a>,
}

/// The content of a record.
pub enum What<'a> {
    Issue(Content<'a>),
    Carry {
        content: Content<'a>,
        issued_at: u64,
        keys: Vec<[u8; 16]>,
    },
    Consume {
        key: Option<[u8; 16]>,
    },
    Extend {
        deadline: u64,
        life_ms_max: u64,
    },
    Revoke,
    Deadline {
        deadline: u64,
    },
    Time,
    /// Which message a frame was made from, in its bytes.
    Origin(&'a Origin),
}

/// The fields that Issue and Carry have in common.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    pub peek: bool,
    pub derived: bool,
    /// Never set in a Carry.
    pub replaces: bool,
    pub uses: u64,
    pub deadline: u64,
    pub payload: &'a [u8],
}

/// A little-endian number.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + len)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn sixteen(bytes: &[u8], at: usize) -> Option<[u8; 16]> {
    bytes.get(at..at + 16)?.try_into().ok()
}

fn is_zero(bytes: &[u8], at: usize, len: usize) -> bool {
    bytes.get(at..at + len).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// The record at the start of these bytes, if there is one.
pub fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let (kind, flags) = (*bytes.first()?, *bytes.get(1)?);
    if kind == 6 {
        let is_time = flags == 0 && is_zero(bytes, 2, 6);
        return is_time.then_some(Record { len: 8, digest: [0; 16], what: What::Time });
    }
    if (7..=11).contains(&kind) {
        let len = of_cluster(bytes, kind, flags)?;
        let origin = bytes.first_chunk::<ORIGIN_LEN>().filter(|_| kind == 7);
        let what = origin.map_or(What::Time, What::Origin);
        return Some(Record { len, digest: [0; 16], what });
    }
    let digest = sixteen(bytes, 8)?;
    let (len, what) = match kind {
        1 | 2 => entry(bytes, kind, flags)?,
        3 if flags == 0 || flags == 2 => (24, What::Consume { key: None }),
        3 if flags == 1 => (40, What::Consume { key: Some(sixteen(bytes, 24)?) }),
        4 if flags == 0 => {
            let deadline = number(bytes, 24, 8)?;
            (40, What::Extend { deadline, life_ms_max: number(bytes, 32, 8)? })
        }
        5 if flags == 0 => (24, What::Revoke),
        12 if flags == 0 => (32, What::Deadline { deadline: number(bytes, 24, 8)? }),
        _ => return None,
    };
    let is_short_head = kind > 2;
    let is_remembered = kind == 3 && flags == 2;
    let until = number(bytes, 2, 6)?;
    if is_short_head && until > if is_remembered { INSTANT_MAX } else { 0 } {
        return None;
    }
    if let What::Extend { deadline, .. } | What::Deadline { deadline } = what
        && deadline > INSTANT_MAX
    {
        return None;
    }
    Some(Record { len, digest, what })
}

/// The length of a record of a cluster, which changes no token.
fn of_cluster(bytes: &[u8], kind: u8, flags: u8) -> Option<usize> {
    let at = |at: usize| number(bytes, at, 8);
    let (len, is_valid) = match kind {
        7 => {
            let (attempt, node, epoch, batch) = (number(bytes, 4, 4)?, at(24)?, at(32)?, at(40)?);
            let has_sender = flags != 0 && flags != 3;
            let is_sent = match has_sender {
                true => node > 0 && epoch > 0,
                false => attempt == 0 && node == 0 && epoch == 0 && batch == 0,
            };
            (112, flags <= 6 && at(16)? > 0 && is_sent)
        }
        8 => {
            let in_limits = at(8)? > 0 && at(16)? > 0 && at(32)? <= INSTANT_MAX;
            (56, flags <= 1 && is_zero(bytes, 2, 6) && in_limits)
        }
        9 => {
            let in_limits = number(bytes, 4, 4)? > 0 && at(16)? <= at(8)?;
            (80, flags <= 1 && is_zero(bytes, 2, 2) && in_limits)
        }
        10 => (40, flags == 0 && is_zero(bytes, 2, 6) && at(8)? > 0 && at(16)? > 0),
        _ => {
            let (agreed, node) = (number(bytes, 2, 2)?, at(8)?);
            let is_one = match flags {
                1 => agreed == 0 && node > 0,
                2 => agreed > 0 && node == 0,
                _ => false,
            };
            (16, is_zero(bytes, 4, 4) && is_one)
        }
    };
    (is_valid && bytes.len() >= len).then_some(len)
}

fn entry(bytes: &[u8], kind: u8, flags: u8) -> Option<(usize, What<'_>)> {
    let (uses, payload_len) = (number(bytes, 2, 2)?, number(bytes, 4, 4)?);
    let deadline = number(bytes, 24, 8)?;
    let in_limits = (flags <= 3 || kind == 1 && matches!(flags, 4 | 5))
        && uses <= COUNT_MAX
        && payload_len <= PAYLOAD_LEN_MAX
        && deadline <= INSTANT_MAX;
    if !in_limits {
        return None;
    }
    let payload = |at: usize| {
        Some((at + payload_len as usize, bytes.get(at..)?.get(..payload_len as usize)?))
    };
    let content = |payload| Content {
        peek: flags & 1 != 0,
        derived: flags & 2 != 0,
        replaces: flags & 4 != 0,
        uses,
        deadline,
        payload,
    };
    if kind == 1 {
        let (len, payload) = payload(32)?;
        return (uses > 0).then_some((len, What::Issue(content(payload))));
    }
    let issued_at = number(bytes, 32, 8)?;
    let (uses_total, key_count) = (number(bytes, 40, 2)?, number(bytes, 42, 2)?);
    let in_limits = issued_at <= INSTANT_MAX
        && (1..=COUNT_MAX).contains(&uses_total)
        && uses + key_count <= uses_total
        && is_zero(bytes, 44, 4);
    if !in_limits {
        return None;
    }
    let key_count = key_count as usize;
    let keys: Option<Vec<_>> = (0..key_count).map(|n| sixteen(bytes, 48 + n * 16)).collect();
    let (len, payload) = payload(48 + key_count * 16)?;
    Some((len, What::Carry { content: content(payload), issued_at, keys: keys? }))
}

/// A frame of a segment.
#[derive(Clone, Copy)]
struct Frame {
    at: usize,
    end: usize,
    /// Whether it carries the tag of the frame before.
    carries: bool,
    body_at: usize,
    body_len: usize,
    is_seal: bool,
    time: u64,
    /// How many segments before its own the log needs.
    older: u64,
    synced: u64,
    lsn: u64,
}

/// The valid frame at `at`, if there is one.
fn frame(segment: &Segment, at: usize) -> Option<Frame> {
    let bytes = &segment.bytes;
    let header = bytes.get(at..at + FRAME_HEADER_LEN)?;
    let len = number(header, 4, 4)?;
    let (body_len, is_seal) = ((len & 0x7FFF_FFFF) as usize, len >> 31 == 1);
    let carries = at == HEADER_BLOCK_LEN;
    let body_at = at + FRAME_HEADER_LEN + if carries { TAG_LEN } else { 0 };
    let end = (body_at + body_len + TAG_LEN).next_multiple_of(8);
    let covered = bytes.get(at + 4..body_at + body_len + TAG_LEN)?;
    let (time, older) = (number(header, 16, 6)?, number(header, 22, 2)?);
    let (synced, lsn) = (number(header, 24, 8)?, number(header, 8, 8)?);
    let is_valid = end <= bytes.len()
        && lsn == segment.lsn_at(at)
        && number(header, 0, 4)? == u64::from(crc32c::crc32c_append(segment.identity, covered));
    is_valid.then_some(Frame {
        at,
        end,
        carries,
        body_at,
        body_len,
        is_seal,
        time,
        older,
        synced,
        lsn,
    })
}

/// The frame that follows the one that ended at `at`.
fn following(segment: &Segment, at: usize) -> Option<Frame> {
    let aligned = at.next_multiple_of(512);
    let in_second = || frame(segment, aligned).filter(|frame| frame.synced == segment.lsn_at(at));
    frame(segment, at).or_else(in_second)
}

/// Whether the bytes at `at` claim to be a frame of this place, valid or not.
fn claims(segment: &Segment, at: usize) -> Option<u64> {
    segment.bytes.get(at..at + HEAD_LEN)?;
    let lsn = number(&segment.bytes, at + 8, 8)?;
    (lsn == segment.lsn_at(at)).then(|| number(&segment.bytes, at + 24, 8))?
}

struct Walk {
    frames: Vec<Frame>,
    end: usize,
    is_sealed: bool,
}

fn walk(segment: &Segment) -> Result<Walk, Damaged> {
    let mut walk = Walk { frames: Vec::new(), end: HEADER_BLOCK_LEN, is_sealed: false };
    while let Some(next) = following(segment, walk.end).filter(|_| !walk.is_sealed) {
        let before = walk.frames.last().map_or(0, |frame| frame.time);
        if next.time < before || next.time > INSTANT_MAX || next.synced > next.lsn {
            return Err(Damaged);
        }
        (walk.end, walk.is_sealed) = (next.end, next.is_seal);
        walk.frames.push(next);
    }
    Ok(walk)
}

fn valid_behind(segment: &Segment, from: usize) -> Option<Frame> {
    (from..segment.bytes.len()).step_by(8).find_map(|at| frame(segment, at))
}

fn was_written(segment: &Segment, walk: &Walk) -> bool {
    !walk.frames.is_empty()
        || claims(segment, HEADER_BLOCK_LEN).is_some()
        || valid_behind(segment, HEADER_BLOCK_LEN).is_some()
}

/// The log must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// The content of a log: its frames that contain or could contain records.
#[derive(Debug, PartialEq, Eq)]
pub struct Log {
    /// Lsn, log time and body.
    pub frames: Vec<(u64, u64, Vec<u8>)>,
    pub end_lsn: u64,
    pub last_time: u64,
}

/// Whether a header is valid: its bytes are those that it was made with, and they make sense.
fn has_valid_header(segment: &Segment) -> bool {
    let header = segment.header();
    let is_sound = u64::from(segment.older) < segment.seq && segment.synced <= segment.base;
    segment.bytes.starts_with(&header) && is_sound
}

/// The seq of the oldest segment that is needed: by the last frame, or by the current header.
fn oldest_needed(segments: &[Segment]) -> Result<u64, Damaged> {
    let needed = |segment: &Segment, older: u64| segment.seq.saturating_sub(older).max(1);
    let current = &segments[segments.len() - 1];
    for segment in segments.iter().rev().take(2) {
        if let Some(last) = walk(segment)?.frames.last() {
            return Ok(needed(segment, last.older));
        }
    }
    Ok(needed(current, current.older.into()))
}

/// Reads a log.
pub fn log(segments: &[Segment]) -> Result<Log, Damaged> {
    if !segments.iter().all(has_valid_header) {
        return Err(Damaged);
    }
    let mut count = segments.len();
    let last = walk(&segments[count - 1])?;
    let is_prepared = count > 1
        && !was_written(&segments[count - 1], &last)
        && !walk(&segments[count - 2])?.is_sealed;
    count -= usize::from(is_prepared);
    if oldest_needed(&segments[..count])? < segments[0].seq {
        return Err(Damaged);
    }
    let log = frames(&segments[..count])?;
    let is_early = is_prepared && segments[count].synced > log.end_lsn;
    if is_early { Err(Damaged) } else { Ok(log) }
}

/// Reads the frames of all segments; the last is the current one.
fn frames(segments: &[Segment]) -> Result<Log, Damaged> {
    let mut before: Option<[u8; TAG_LEN]> = None;
    let (mut frames, mut last_time, mut end_lsn) = (Vec::new(), 0, 0);
    for (n, segment) in segments.iter().enumerate() {
        let walk = walk(segment)?;
        let is_current = n + 1 == segments.len();
        if walk.is_sealed == is_current {
            return Err(Damaged);
        }
        end_lsn = segment.lsn_at(walk.end);
        for frame in &walk.frames {
            if frame.time < last_time {
                return Err(Damaged);
            }
            last_time = frame.time;
            let carried = sixteen(&segment.bytes, frame.at + FRAME_HEADER_LEN);
            let carried = carried.filter(|_| frame.carries);
            if carried.is_some() && before.is_some() && carried != before {
                return Err(Damaged);
            }
            let tag_before = carried.or(before).ok_or(Damaged)?;
            let (head, tag_at) = (&segment.bytes[frame.at..], frame.body_at + frame.body_len);
            let encrypted = &segment.bytes[frame.body_at..tag_at + TAG_LEN];
            let body = segment.cipher().decrypt(head, &tag_before, encrypted).ok_or(Damaged)?;
            before = sixteen(&segment.bytes, tag_at);
            if !frame.is_seal {
                frames.push((frame.lsn, frame.time, body));
            }
        }
        let mut from = walk.end;
        while let Some(behind) = valid_behind(segment, from).filter(|_| is_current) {
            if behind.synced > end_lsn {
                return Err(Damaged);
            }
            from = behind.end;
        }
    }
    Ok(Log { frames, end_lsn, last_time })
}
