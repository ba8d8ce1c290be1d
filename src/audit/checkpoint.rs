//! Checkpoints: lines of the audit log that sign the chain up to them.
//!
//! A checkpoint is a line of the chain, with the operation `checkpoint`. It has the number of the
//! last event (`seq`), the number of the file, the whole hash of the chain before it (`hash`), and
//! the end of the durable log (`lsn`). Its `signature` is Ed25519 over [`CONTEXT`] and all bytes of
//! the line before `,"signature":"`. So a line that was copied from elsewhere is not taken for a
//! checkpoint of this chain: its hash, its number, its file or its id differs.

use serde::{Deserialize, Serialize};

use super::chain::{Chain, ChainHash, HASH_LEN, ID_LEN, LogKind, split};
use super::signing::{PublicKey, SIGNATURE_LEN, SigningKey};

/// What comes before the signed bytes, so that no other signature of the key is taken for one of
/// these.
const CONTEXT: &[u8] = b"jeton audit checkpoint 1\n";
const SIGNATURE: &[u8] = b",\"signature\":\"";
/// The operation of a checkpoint's line.
pub(super) const OPERATION: &str = "checkpoint";
/// Maximum length of a checkpoint's line, in bytes.
pub(super) const LINE_LEN_MAX: usize = 1024;

/// What a checkpoint was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The server has started.
    Start,
    /// Lines of the last second.
    Second,
    /// The last line of a file.
    FileEnd,
    /// The first line of the next file.
    FileStart,
    /// Another program has emptied the file.
    Truncated,
    /// The server has stopped.
    Stop,
}

/// The end of the durable log of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// The first position that is not durable.
    pub lsn: u64,
    /// The tag of the last durable frame, if the log's frames have one.
    pub tag: Option<[u8; 16]>,
}

/// A checkpoint, as its line shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// When it was written, by the wall clock.
    pub time: String,
    /// Number of the last event before it.
    pub seq: u64,
    operation: String,
    outcome: String,
    /// The log that it is of.
    pub log: LogKind,
    /// Id of the chain: 16 hexadecimal digits.
    pub id: String,
    /// Number of the file, from 1.
    pub file: u64,
    /// What it was written for.
    pub at: At,
    /// Lines before it that an earlier run has left without a signature.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub unsigned: u64,
    /// The chain's hash before it: 64 hexadecimal digits.
    pub hash: String,
    /// The end of the durable log of the data; none if there is no log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lsn: Option<u64>,
    /// The tag of the last durable frame: 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<String>,
    /// In a cluster, the node.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a checkpoint says beside the state of the chain.
pub(super) struct Told {
    pub(super) time: String,
    pub(super) at: At,
    pub(super) unsigned: u64,
    pub(super) log_end: Option<LogEnd>,
    pub(super) node: Option<String>,
}

/// Appends a checkpoint of `chain` to the buffer, as its next line.
pub(super) fn write(buffer: &mut Vec<u8>, chain: &mut Chain, told: Told, key: &SigningKey) {
    let from = buffer.len();
    let checkpoint = Checkpoint {
        time: told.time,
        seq: chain.seq,
        operation: OPERATION.to_owned(),
        outcome: "ok".to_owned(),
        log: chain.log,
        id: const_hex::encode(chain.id),
        file: chain.file,
        at: told.at,
        unsigned: told.unsigned,
        hash: chain.hash.hex(),
        lsn: told.log_end.map(|end| end.lsn),
        tag: told.log_end.and_then(|end| end.tag).map(const_hex::encode),
        node: told.node,
    };
    // Strings and numbers always serialize, and memory takes them.
    if serde_json::to_writer(&mut *buffer, &checkpoint).is_err() {
        buffer.truncate(from);
        return;
    }
    buffer.pop();
    let signature = key.sign(&message(&buffer[from..]));
    buffer.extend_from_slice(SIGNATURE);
    buffer.extend_from_slice(const_hex::encode(signature).as_bytes());
    buffer.extend_from_slice(b"\"}");
    chain.end_line(buffer, from);
    debug_assert!(buffer.len() - from <= LINE_LEN_MAX);
}

fn message(signed: &[u8]) -> Vec<u8> {
    [CONTEXT, signed].concat()
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No checkpoint.
    Other,
    /// It says that it is one, and this key has not signed it.
    Forged,
    /// A checkpoint.
    Checkpoint(Box<Checkpoint>),
}

/// Reads a line without its line break.
pub(super) fn read(line: &[u8], key: &PublicKey) -> Found {
    if !is_like_one(line) {
        return Found::Other;
    }
    parse(line, key).map_or(Found::Forged, |found| Found::Checkpoint(Box::new(found)))
}

/// Whether a line says that it is a checkpoint. The texts in other lines have no quotation marks
/// that are not escaped.
pub(super) fn is_like_one(line: &[u8]) -> bool {
    memchr::memmem::find(line, br#""operation":"checkpoint""#).is_some()
}

fn parse(line: &[u8], key: &PublicKey) -> Option<Checkpoint> {
    let (body, _) = split(line)?;
    let at = memchr::memmem::rfind(body, SIGNATURE)?;
    let (signed, rest) = body.split_at(at);
    let digits = rest.strip_prefix(SIGNATURE)?.strip_suffix(b"\"")?;
    let mut signature = [0; SIGNATURE_LEN];
    const_hex::decode_to_slice(digits, &mut signature).ok()?;
    // There is one way to write it.
    if const_hex::encode(signature).as_bytes() != digits {
        return None;
    }
    if !key.has_signed(&message(signed), &signature) {
        return None;
    }
    serde_json::from_slice(&[signed, b"}"].concat()).ok()
}

impl Checkpoint {
    /// The state of the chain after this checkpoint, whose line is `line`; `None` for values that
    /// no server writes.
    pub(super) fn chain_after(&self, line: &[u8]) -> Option<Chain> {
        let mut chain = self.chain_before()?;
        chain.hash.take_line(line);
        Some(chain)
    }

    /// The state of the chain that it signs.
    pub(super) fn chain_before(&self) -> Option<Chain> {
        let (mut hash, mut id) = ([0; HASH_LEN], [0; ID_LEN]);
        const_hex::decode_to_slice(&self.hash, &mut hash).ok()?;
        const_hex::decode_to_slice(&self.id, &mut id).ok()?;
        let Self { log, file, seq, .. } = *self;
        Some(Chain { log, id, file, seq, hash: ChainHash(hash) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(key: &SigningKey) -> Vec<u8> {
        let mut chain = Chain::new(LogKind::Refusals, [9; ID_LEN]);
        chain.seq = 41;
        let log_end = Some(LogEnd { lsn: u64::MAX, tag: Some([255; 16]) });
        let node = Some("0123456789abcdef".to_owned());
        let time = "2026-01-31T12:00:00.007Z".to_owned();
        let mut line = Vec::new();
        let told = Told { time, at: At::FileStart, unsigned: u64::MAX, log_end, node };
        write(&mut line, &mut chain, told, key);
        assert_eq!(line.pop(), Some(b'\n'));
        line
    }

    #[test]
    fn a_checkpoint_is_read_again_and_no_changed_bit_is_accepted() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let (line, public) = (written(&key), key.public());
        let Found::Checkpoint(found) = read(&line, &public) else { panic!("not read") };
        assert_eq!((found.seq, found.at, found.log), (41, At::FileStart, LogKind::Refusals));
        let after = found.chain_after(&line).unwrap();
        assert_eq!((after.seq, after.file, after.id), (41, 1, [9; ID_LEN]));
        let other = SigningKey::from_seed(&[8; 32]).unwrap().public();
        assert_eq!(read(&line, &other), Found::Forged);
        // The mark at the end is not signed: it belongs to the chain.
        let signed = split(&line).unwrap().0.len();
        for bit in 0..signed * 8 {
            let mut broken = line.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(read(&broken, &public), Found::Checkpoint(_)), "bit {bit}");
        }
        assert_eq!(
            read(br#"{"operation":"issue","detail":"\"operation\":\"checkpoint\""}"#, &public),
            Found::Other
        );
    }
}
