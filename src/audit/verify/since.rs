//! Checkpoints that were kept elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use memchr::memmem;
use sha2::{Digest as _, Sha256};

use crate::audit::chain::{LogKind, split};
use crate::audit::checkpoint::{self, Checkpoint, Found};
use crate::audit::signing::PublicKey;
use crate::model::time::UnixMillis;

/// Why checkpoints cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinceError {
    /// A line says that it is a checkpoint, and this key has not signed it.
    #[error("line {0} is not a checkpoint that this key has signed")]
    Forged(usize),
    /// There is none.
    #[error("has no checkpoint")]
    Empty,
}

/// How a line begins.
const BEGIN: &[u8] = br#"{"time":""#;

/// Checkpoints by the hash of their lines, with their places.
pub(super) type Kept<'a> = HashMap<[u8; 32], (usize, &'a Checkpoint)>;

/// Checkpoints as `--audit-checkpoints` ships them.
#[derive(Clone, Debug)]
pub struct Since {
    checkpoints: Vec<([u8; 32], Checkpoint)>,
    retained: Option<Duration>,
}

impl Since {
    /// Reads checkpoints, one a line, in any order. Parts of lines are ignored, as a crash or a
    /// collector that cuts files leaves them, and so are lines that do not say that they are checkpoints:
    /// standard output has others too.
    ///
    /// # Errors
    /// There is none, or this key has not signed one.
    pub fn read(text: &[u8], key: &PublicKey) -> Result<Self, SinceError> {
        let mut checkpoints = Vec::new();
        let mut lines = text.split(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let begin = memmem::rfind(line, BEGIN).unwrap_or(line.len());
            match checkpoint::read(line, key) {
                Found::Checkpoint(found) => checkpoints.push((hash(line), *found)),
                Found::Other => {}
                // Behind a part of another line.
                Found::Forged if begin > 0 => {
                    let line = &line[begin..];
                    if let Found::Checkpoint(found) = checkpoint::read(line, key) {
                        checkpoints.push((hash(line), *found));
                    }
                }
                // What comes after the last line break, and what a crash has left of a checkpoint.
                Found::Forged if lines.peek().is_none() || split(line).is_none() => {}
                Found::Forged => return Err(SinceError::Forged(number + 1)),
            }
        }
        if checkpoints.is_empty() {
            Err(SinceError::Empty)
        } else {
            Ok(Self { checkpoints, retained: None })
        }
    }

    /// Files of the log are kept for this time only: those with older checkpoints, by the newest of
    /// them, may be missing at the beginning.
    #[must_use]
    pub fn retained(self, retained: Option<Duration>) -> Self {
        Self { retained, ..self }
    }

    /// Whether the file of a checkpoint may be missing at the beginning of a log, whose newest
    /// checkpoint is this one.
    pub(super) fn may_be_gone(&self, kept: &Checkpoint, newest: &Checkpoint) -> bool {
        let millis = |kept: &Checkpoint| UnixMillis::parse(&kept.time).map(|time| time.0);
        let age =
            millis(newest).zip(millis(kept)).map(|(newest, kept)| newest.saturating_sub(kept));
        let is_old =
            |retained: Duration| age.is_some_and(|age| u128::from(age) > retained.as_millis());
        // The server itself removes old files of refusals.
        self.retained.map_or(kept.log == LogKind::Refusals, is_old)
    }

    /// The nodes that wrote them, in a cluster.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<&str> {
        self.checkpoints.iter().filter_map(|(_, found)| found.node.as_deref()).collect()
    }

    /// The newest checkpoint with an end of the durable log.
    #[must_use]
    pub fn newest_log_end(&self) -> Option<&Checkpoint> {
        self.checkpoints
            .iter()
            .map(|(_, checkpoint)| checkpoint)
            .filter(|checkpoint| checkpoint.lsn.is_some())
            .max_by_key(|checkpoint| checkpoint.lsn)
    }

    /// The checkpoints with the tag of the frame that was the last durable one, by their positions.
    #[must_use]
    pub fn log_tags(&self) -> Vec<&Checkpoint> {
        let has_tag = |kept: &&Checkpoint| {
            // Zeros stand for a log without a frame, in checkpoints of earlier builds.
            let tag = kept.tag.as_ref().is_some_and(|tag| tag.bytes().any(|digit| digit != b'0'));
            kept.lsn.is_some() && tag
        };
        let mut found: Vec<_> = self.checkpoints.iter().map(|(_, kept)| kept).collect();
        found.retain(has_tag);
        found.sort_by_key(|kept| kept.lsn);
        found
    }

    /// The logs that they are of, each with the number at its newest checkpoint.
    pub(super) fn logs(&self) -> BTreeMap<LogKind, u64> {
        self.checkpoints.iter().map(|(_, found)| (found.log, found.seq)).collect()
    }

    /// Those of a chain, by the hash of their lines, each with its place among them; and the newest.
    pub(super) fn of(&self, log: LogKind, id: &str) -> (Kept<'_>, Option<&Checkpoint>) {
        let is_of_chain = |found: &Checkpoint| found.log == log && found.id == id;
        let mut found: Vec<_> =
            self.checkpoints.iter().filter(|(_, found)| is_of_chain(found)).collect();
        found.sort_by(|(_, one), (_, other)| order(one).cmp(&order(other)));
        let newest = found.last().map(|(_, newest)| newest);
        let kept = found.into_iter().enumerate();
        let kept = kept.map(|(place, (hash, found))| (*hash, (place, found)));
        (kept.collect(), newest)
    }

    /// The numbers in all of them, in the order in which they were read.
    #[cfg(test)]
    pub(super) fn seqs(&self) -> Vec<u64> {
        self.checkpoints.iter().map(|(_, found)| found.seq).collect()
    }

    /// The newest checkpoint of each chain.
    pub(super) fn chains(&self) -> BTreeMap<(LogKind, &str), &Checkpoint> {
        let mut newest: BTreeMap<_, &Checkpoint> = BTreeMap::new();
        for (_, found) in &self.checkpoints {
            let of_chain = newest.entry((found.log, &*found.id)).or_insert(found);
            if order(found) > order(of_chain) {
                *of_chain = found;
            }
        }
        newest
    }
}

/// The order of the checkpoints of a chain.
fn order(found: &Checkpoint) -> (u64, u64, &str) {
    (found.file, found.seq, &found.time)
}

pub(super) fn hash(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}
