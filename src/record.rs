//! Records: the commands in the log, and their bytes.
//!
//! A frame's body is records one behind the other. Numbers are little-endian. Every record begins
//! with its kind:
//!
//! ```text
//! Issue    kind 1 | flags 1 | uses 2      | payload length 4 | digest 16 | deadline 8 | payload
//! Carry    kind 1 | flags 1 | uses left 2 | payload length 4 | digest 16 | deadline 8 |
//!          issued at 8 | uses as issued 2 | keys 2 | zero 4  | key 16 × keys | payload
//! Consume  kind 1 | flags 1 | zero 6      | digest 16 | key 16, if flag HAS_KEY
//! Extend   kind 1 | zero 7  | digest 16   | deadline 8 | longest life 8
//! Revoke   kind 1 | zero 7  | digest 16
//! Time     kind 1 | zero 7
//! ```
//!
//! An Issue is made at the frame's log time. A record is valid if and only if its kind is known,
//! its bytes are all there, unused bytes and flags are zero, each field is within the limits of
//! [`crate::entry`], and an entry has at most as many uses left and keys together as it was issued
//! with; anything else is damage, for a frame's checksum was right.

use crate::entry::{PAYLOAD_LEN_MAX, Parts, USES_MAX};
use crate::time::UnixMillis;
use crate::token::{ConsumeKey, DIGEST_LEN, Digest};

const ISSUE: u8 = 1;
const CARRY: u8 = 2;
const CONSUME: u8 = 3;
const EXTEND: u8 = 4;
const REVOKE: u8 = 5;
const TIME: u8 = 6;

const PEEK: u8 = 1;
const DERIVED: u8 = 2;
const HAS_KEY: u8 = 1;

/// Bytes of an Issue in front of the payload.
pub const ISSUE_HEAD_LEN: usize = 32;
/// Bytes of a Carry in front of the keys and the payload.
pub const CARRY_HEAD_LEN: usize = 48;
const SHORT_HEAD_LEN: usize = 8;

/// The longest record: a carried entry with all the keys it can have.
pub const RECORD_LEN_MAX: usize = CARRY_HEAD_LEN + USES_MAX as usize * DIGEST_LEN + PAYLOAD_LEN_MAX;

// `uses` has two bytes.
const _: () = assert!(USES_MAX <= u16::MAX as u32);

/// A command in the log.
#[derive(Clone, Copy)]
pub enum Record<'a> {
    /// A whole entry; wins if nothing lives under its digest.
    Issue {
        /// Where it goes.
        digest: Digest,
        /// From this instant on it is gone.
        deadline: UnixMillis,
        /// 1 to [`USES_MAX`].
        uses: u32,
        /// May be resolved without being consumed.
        peek: bool,
        /// The token is derived and may be issued again.
        derived: bool,
        /// What the token stands for.
        payload: &'a [u8],
    },
    /// A whole entry as it stood at the begin of its frame.
    Carry {
        /// Where it goes.
        digest: Digest,
        /// All of it but the keys.
        parts: Parts<'a>,
        /// The keys, as their bytes.
        keys: Keys<'a>,
    },
    /// Takes a use.
    Consume {
        /// Of this entry.
        digest: Digest,
        /// A retry with the same key gets the same answer.
        key: Option<ConsumeKey>,
    },
    /// Moves the deadline, but neither back nor beyond `life_ms_max` after the issue.
    Extend {
        /// Of this entry.
        digest: Digest,
        /// To this instant.
        deadline: UnixMillis,
        /// The longest life of an entry, in milliseconds.
        life_ms_max: u64,
    },
    /// Removes a living entry.
    Revoke {
        /// This one.
        digest: Digest,
    },
    /// Says only that the frame's log time has come.
    Time,
}

/// Idempotency keys as they stand in a record.
#[derive(Clone, Copy)]
pub struct Keys<'a>(&'a [u8]);

impl Keys<'_> {
    /// The keys, one by one.
    pub fn iter(&self) -> impl Iterator<Item = ConsumeKey> {
        self.0.chunks_exact(DIGEST_LEN).map(|chunk| {
            let mut key = [0; DIGEST_LEN];
            key.copy_from_slice(chunk);
            ConsumeKey(key)
        })
    }
}

/// A record's bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record at byte {at} of the frame's body is invalid: {what}")]
pub struct RecordError {
    /// Where in the frame's body.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Bytes of an Issue with this payload: also what an entry counts as living in the log.
#[must_use]
pub fn issue_len(payload_len: usize) -> usize {
    ISSUE_HEAD_LEN.saturating_add(payload_len)
}

/// Bytes of a Carry of an entry.
#[must_use]
pub fn carry_len(payload_len: usize, key_count: usize) -> usize {
    CARRY_HEAD_LEN + key_count * DIGEST_LEN + payload_len
}

impl<'a> Record<'a> {
    /// What it is about; a time record is about nothing.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Record::Issue { digest, .. }
            | Record::Carry { digest, .. }
            | Record::Consume { digest, .. }
            | Record::Extend { digest, .. }
            | Record::Revoke { digest } => Some(digest),
            Record::Time => None,
        }
    }

    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Issue { digest, deadline, uses, peek, derived, payload } => {
                entry_head(out, ISSUE, flags(peek, derived), uses, payload, digest, deadline);
                out.extend_from_slice(payload);
            }
            Record::Carry { digest, parts, keys } => {
                let flags = flags(parts.peek, parts.derived);
                let payload = parts.payload;
                entry_head(out, CARRY, flags, parts.uses_left, payload, digest, parts.deadline);
                carry_head(out, &parts, keys.0.len() / DIGEST_LEN);
                out.extend_from_slice(keys.0);
                out.extend_from_slice(payload);
            }
            Record::Consume { digest, key } => {
                short_head(out, CONSUME, if key.is_some() { HAS_KEY } else { 0 });
                out.extend_from_slice(&digest.to_bytes());
                out.extend_from_slice(key.as_ref().map_or(&[][..], |key| &key.0));
            }
            Record::Extend { digest, deadline, life_ms_max } => {
                short_head(out, EXTEND, 0);
                out.extend_from_slice(&digest.to_bytes());
                out.extend_from_slice(&deadline.0.to_le_bytes());
                out.extend_from_slice(&life_ms_max.to_le_bytes());
            }
            Record::Revoke { digest } => {
                short_head(out, REVOKE, 0);
                out.extend_from_slice(&digest.to_bytes());
            }
            Record::Time => short_head(out, TIME, 0),
        }
    }

    /// Appends the Carry of an entry as it stands.
    pub fn encode_carry(digest: Digest, parts: &Parts<'_>, out: &mut Vec<u8>) {
        let flags = flags(parts.peek, parts.derived);
        entry_head(out, CARRY, flags, parts.uses_left, parts.payload, digest, parts.deadline);
        carry_head(out, parts, parts.keys.len());
        for key in parts.keys {
            out.extend_from_slice(&key.0);
        }
        out.extend_from_slice(parts.payload);
    }

    /// Reads the record at `at` of a frame's body; returns it with the place behind it.
    pub fn decode(body: &'a [u8], at: usize) -> Result<(Record<'a>, usize), RecordError> {
        let mut reader = Reader { body, at, start: at };
        let record = reader.record()?;
        Ok((record, reader.at))
    }
}

/// The records of a frame's body, ending with the first error.
pub fn records(body: &[u8]) -> impl Iterator<Item = Result<Record<'_>, RecordError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= body.len() {
            return None;
        }
        let decoded = Record::decode(body, at);
        at = decoded.as_ref().map_or(body.len(), |(_, next)| *next);
        Some(decoded.map(|(record, _)| record))
    })
}

fn flags(peek: bool, derived: bool) -> u8 {
    (if peek { PEEK } else { 0 }) | (if derived { DERIVED } else { 0 })
}

fn short_head(out: &mut Vec<u8>, kind: u8, flags: u8) {
    out.extend_from_slice(&[kind, flags, 0, 0, 0, 0, 0, 0]);
}

fn entry_head(
    out: &mut Vec<u8>,
    kind: u8,
    flags: u8,
    uses: u32,
    payload: &[u8],
    digest: Digest,
    deadline: UnixMillis,
) {
    debug_assert!(uses <= USES_MAX && payload.len() <= PAYLOAD_LEN_MAX);
    out.reserve(ISSUE_HEAD_LEN + payload.len());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&(uses as u16).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&digest.to_bytes());
    out.extend_from_slice(&deadline.0.to_le_bytes());
}

fn carry_head(out: &mut Vec<u8>, parts: &Parts<'_>, key_count: usize) {
    out.extend_from_slice(&parts.issued_at.0.to_le_bytes());
    out.extend_from_slice(&(parts.uses_total as u16).to_le_bytes());
    out.extend_from_slice(&(key_count as u16).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// A place in a frame's body.
struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    start: usize,
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Result<Record<'a>, RecordError> {
        let [kind, flags] = self.array()?;
        match kind {
            ISSUE | CARRY => self.entry(kind, flags),
            CONSUME => {
                self.known(flags, HAS_KEY)?;
                self.zero(SHORT_HEAD_LEN - 2)?;
                let digest = self.digest()?;
                let key = if flags & HAS_KEY != 0 { Some(ConsumeKey(self.array()?)) } else { None };
                Ok(Record::Consume { digest, key })
            }
            EXTEND => {
                self.zero_head(flags)?;
                let (digest, deadline) = (self.digest()?, self.instant()?);
                let life_ms_max = u64::from_le_bytes(self.array()?);
                Ok(Record::Extend { digest, deadline, life_ms_max })
            }
            REVOKE => {
                self.zero_head(flags)?;
                Ok(Record::Revoke { digest: self.digest()? })
            }
            TIME => {
                self.zero_head(flags)?;
                Ok(Record::Time)
            }
            _ => Err(self.error("unknown kind")),
        }
    }

    fn entry(&mut self, kind: u8, flags: u8) -> Result<Record<'a>, RecordError> {
        self.known(flags, PEEK | DERIVED)?;
        let (peek, derived) = (flags & PEEK != 0, flags & DERIVED != 0);
        let uses = self.count(0)?;
        let payload_len = u32::from_le_bytes(self.array()?) as usize;
        if payload_len > PAYLOAD_LEN_MAX {
            return Err(self.error("payload over the limit"));
        }
        let (digest, deadline) = (self.digest()?, self.instant()?);
        if kind == ISSUE {
            if uses == 0 {
                return Err(self.error("issued without a use"));
            }
            let payload = self.take(payload_len)?;
            return Ok(Record::Issue { digest, deadline, uses, peek, derived, payload });
        }
        let issued_at = self.instant()?;
        let (uses_total, key_count) = (self.count(1)?, self.count(0)?);
        self.zero(4)?;
        // Else a use would be lost, or more keys kept than an entry can have.
        if uses + key_count > uses_total {
            return Err(self.error("more uses than were issued"));
        }
        let keys = Keys(self.take(key_count as usize * DIGEST_LEN)?);
        let payload = self.take(payload_len)?;
        let parts = Parts {
            payload,
            deadline,
            issued_at,
            uses_left: uses,
            uses_total,
            peek,
            derived,
            keys: &[],
        };
        Ok(Record::Carry { digest, parts, keys })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let end = self.at.saturating_add(len);
        let bytes = self.body.get(self.at..end).ok_or(self.error("cut short"))?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn digest(&mut self) -> Result<Digest, RecordError> {
        Ok(Digest::from_bytes(self.array()?))
    }

    fn instant(&mut self) -> Result<UnixMillis, RecordError> {
        let instant = UnixMillis(u64::from_le_bytes(self.array()?));
        if instant > UnixMillis::MAX { Err(self.error("time out of range")) } else { Ok(instant) }
    }

    fn count(&mut self, min: u32) -> Result<u32, RecordError> {
        let count = u32::from(u16::from_le_bytes(self.array()?));
        let valid = (min..=USES_MAX).contains(&count);
        if valid { Ok(count) } else { Err(self.error("count out of range")) }
    }

    fn known(&self, flags: u8, known: u8) -> Result<(), RecordError> {
        if flags & !known == 0 { Ok(()) } else { Err(self.error("unknown flag")) }
    }

    fn zero(&mut self, len: usize) -> Result<(), RecordError> {
        let all_zero = self.take(len)?.iter().all(|byte| *byte == 0);
        if all_zero { Ok(()) } else { Err(self.error("unused bytes are not zero")) }
    }

    fn zero_head(&mut self, flags: u8) -> Result<(), RecordError> {
        self.known(flags, 0)?;
        self.zero(SHORT_HEAD_LEN - 2)
    }

    fn error(&self, what: &'static str) -> RecordError {
        RecordError { at: self.start, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(n: u8) -> Digest {
        Digest::from_bytes([n; DIGEST_LEN])
    }

    fn bytes(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out);
        out
    }

    fn samples() -> Vec<Vec<u8>> {
        let parts = Parts {
            payload: b"{\"a\":1}",
            deadline: UnixMillis(77),
            issued_at: UnixMillis(7),
            uses_left: 2,
            uses_total: 5,
            peek: true,
            derived: true,
            keys: &[ConsumeKey([1; 16]), ConsumeKey([2; 16]), ConsumeKey([3; 16])],
        };
        let mut carry = Vec::new();
        Record::encode_carry(digest(4), &parts, &mut carry);
        let issue = Record::Issue {
            digest: digest(1),
            deadline: UnixMillis(99),
            uses: 3,
            peek: false,
            derived: true,
            payload: b"[1, 2]",
        };
        let extend =
            Record::Extend { digest: digest(3), deadline: UnixMillis(5), life_ms_max: 1_000 };
        let key = Some(ConsumeKey([9; 16]));
        vec![
            bytes(&issue),
            carry,
            bytes(&Record::Consume { digest: digest(2), key: None }),
            bytes(&Record::Consume { digest: digest(2), key }),
            bytes(&extend),
            bytes(&Record::Revoke { digest: digest(3) }),
            bytes(&Record::Time),
        ]
    }

    #[test]
    fn every_kind_survives_the_round_trip() {
        let body = samples().concat();
        let decoded: Vec<_> = records(&body).collect::<Result<_, _>>().unwrap();
        let again: Vec<_> = decoded.iter().map(bytes).collect();
        assert_eq!(again, samples());
    }

    #[test]
    fn p5_a_record_cut_short_is_damage() {
        for sample in samples() {
            for len in 1..sample.len() {
                assert!(Record::decode(&sample[..len], 0).is_err(), "{len} of {}", sample.len());
            }
        }
    }

    #[test]
    fn p5_an_entry_with_more_uses_and_keys_than_it_was_issued_with_is_damage() {
        let carry = samples().swap_remove(1);
        assert!(Record::decode(&carry, 0).is_ok());
        let uses_total_at = ISSUE_HEAD_LEN + 8;
        let mut fewer = carry.clone();
        fewer[uses_total_at] -= 1;
        assert!(Record::decode(&fewer, 0).is_err(), "two left and three keys of four");
    }

    #[test]
    fn the_documented_lengths_hold() {
        let samples = samples();
        assert_eq!(samples[0].len(), issue_len(6));
        assert_eq!(samples[1].len(), carry_len(7, 3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for record in records(&body).flatten() {
                prop_assert!(!bytes(&record).is_empty());
            }
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            which in 0..7usize, at in 0..48usize, value: u8,
        ) {
            let mut sample = samples()[which].clone();
            let at = at % sample.len();
            sample[at] = value;
            if let Ok((record, end)) = Record::decode(&sample, 0) {
                prop_assert_eq!(&bytes(&record)[..], &sample[..end]);
            }
        }
    }
}
