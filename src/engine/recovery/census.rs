//! `jeton verify` and the check of a backup: reads a log offline, and counts its live tokens.
//!
//! Without the secret only the structure and the checksums are checked. With it the header's MACs and
//! every frame's tag are verified too, and the records are decrypted.
//!
//! A payload is checked and then dropped. 24 bytes are kept for each live token, in tables that are
//! 80 % to 90 % full: at most 32 bytes per token for the maximum number alive at one moment of the
//! log, plus a second copy of one shard's table while it is rebuilt. A consumed token is dropped,
//! because nothing in the log makes it alive again: an Issue is written only if it would win, or
//! next to its rivals in one frame, and one that replaces is a token of its own.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ahash::RandomState;

use crate::engine::config::Config;
use crate::model::namespace::DEFAULT_NAMESPACE;
use crate::model::record::Record;
use crate::model::time::UnixMillis;
use crate::model::token::{DIGEST_LEN, Digest, Digester, Secret};
use crate::store::{SHARDS, Store};
use crate::wal::{self, LogKey, Shelf, Storage, Survey, survey};

use super::error::OpenError;
use super::progress::{Progress, threads};
use super::replay::{Counts, Partition, Piece, Placed, Records, read_log};
use super::secret::{self, SECRET_FILE_NAME, SecretError};
use super::verified::{Verified, VerifiedNode};
use table::{Table, Token};

mod table;

/// Reads the log of a directory that no server uses. It creates and changes nothing, so the
/// directory may be read-only. The secret is `secret`, which messages name by the path, or the
/// `secret.key` in the directory; without either only structure and checksums are checked.
///
/// # Errors
/// The errors of opening (damage with file and offset, another secret, or a directory in use), and a
/// directory without a log.
pub fn verify(
    dir: &Path,
    secret: Option<(&Secret, &Path)>,
    progress: &dyn Progress,
) -> Result<Verified, OpenError> {
    let _lock = wal::storage::disk::lock_to_read(dir)?;
    let storage: Arc<dyn Storage> = Arc::new(Shelf::new(dir));
    let Some(survey) = survey(&storage)? else {
        return Err(OpenError::NoLog { dir: dir.to_owned() });
    };
    let beside = dir.join(SECRET_FILE_NAME);
    let (secret, file) = match secret {
        Some((secret, name)) => (secret.clone(), name.to_owned()),
        None if beside.exists() => (secret::read(&beside)?, beside),
        None => return verify_survey(&survey, progress),
    };
    let key = log_key(&secret);
    if survey.log_id != key.id() {
        return Err(SecretError::Wrong { dir: dir.to_owned(), file }.into());
    }
    verify_survey(&survey.with_key(&key)?, progress)
}

/// Like [`verify`], on any storage, which may be empty, with the secret or without.
///
/// # Errors
/// As for [`verify`].
#[expect(clippy::needless_pass_by_value, reason = "a survey keeps the storage")]
pub fn verify_on(
    storage: Arc<dyn Storage>,
    secret: Option<&Secret>,
    progress: &dyn Progress,
) -> Result<Verified, OpenError> {
    let Some(mut survey) = survey(&storage)? else { return Ok(Verified::default()) };
    if let Some(secret) = secret {
        survey = survey.with_key(&log_key(secret))?;
    }
    verify_survey(&survey, progress)
}

/// The key of the log with this secret.
pub(in crate::engine) fn log_key(secret: &Secret) -> LogKey {
    LogKey::new(&Digester::new(secret, DEFAULT_NAMESPACE))
}

fn verify_survey(survey: &Survey, progress: &dyn Progress) -> Result<Verified, OpenError> {
    let taken = take(survey, threads(&Config::default()), progress)?;
    tracing::debug!(tokens = taken.tokens, peak_bytes = taken.peak_bytes, "the log was counted");
    Ok(Verified {
        segments: survey.segments.len() as u64,
        frames: taken.counts.frames,
        records: survey.has_key().then_some(taken.counts.records),
        tokens: survey.has_key().then_some(taken.tokens),
        bytes: survey.total_bytes(),
        torn_bytes: survey.tail.torn_bytes,
        lsn: survey.tail.end_lsn.0,
        last_time_ms: survey.tail.last_time_ms,
        last_tag: survey.last_tag().0,
        replicated: taken.counts.replicated.map(|state| VerifiedNode {
            era: state.position.era.0,
            seq: state.position.seq,
            chain: state.chain.0,
            members: state.members.len() as u64,
            messages: taken.counts.messages,
        }),
    })
}

/// Result of counting.
#[derive(Debug)]
pub(in crate::engine) struct Taken {
    pub(in crate::engine) counts: Counts,
    /// Tokens with a use left at the log's last time.
    pub(in crate::engine) tokens: u64,
    /// Maximum memory used for tokens, in bytes.
    pub(in crate::engine) peak_bytes: u64,
}

/// Counts the tokens that are alive at the end of a log.
pub(in crate::engine) fn take(
    survey: &Survey,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Taken, OpenError> {
    // The store is only used for its partitions and stays empty.
    let store = Store::new();
    let mut parts: Vec<Census<'_>> = (0..threads).map(|_| Census::new(&store)).collect();
    let sorted = |digest| Some(store.shard_of(digest) % threads);
    let counts = read_log(survey, &mut parts, &sorted, progress)?;
    let last = UnixMillis(survey.tail.last_time_ms);
    let live = |table: &Table| table.tokens().filter(|token| token.deadline() > last).count();
    Ok(Taken {
        counts,
        tokens: parts.iter().flat_map(|part| &part.tables).map(live).sum::<usize>() as u64,
        peak_bytes: parts.iter().map(|part| part.peak_bytes).sum(),
    })
}

/// The live tokens of one partition.
struct Census<'s> {
    store: &'s Store,
    /// Tables by shard; those of other partitions stay empty.
    tables: Vec<Table>,
    hasher: RandomState,
    /// Uses consumed with a key in this frame of the piece: a rival with the same key consumes
    /// none. A later frame cannot have such a rival, because it would have been answered without
    /// the log.
    taken: (u32, HashSet<(Digest, [u8; DIGEST_LEN]), RandomState>),
    /// Derived tokens that were issued in this frame of the piece: an Issue that replaces does not
    /// take their place. One of an earlier frame cannot be in its way, because the Issue would have
    /// been refused without the log.
    derived: (u32, HashSet<Digest, RandomState>),
    bytes: u64,
    peak_bytes: u64,
}

impl Partition for Census<'_> {
    fn take(&mut self, _piece: &Piece, own: Records<'_>) -> bool {
        self.taken.1.clear();
        self.derived.1.clear();
        for placed in own {
            self.apply(&placed);
        }
        true
    }
}

impl Census<'_> {
    fn new(store: &Store) -> Census<'_> {
        Census {
            store,
            tables: (0..SHARDS).map(|_| Table::default()).collect(),
            hasher: RandomState::new(),
            taken: Default::default(),
            derived: Default::default(),
            bytes: 0,
            peak_bytes: 0,
        }
    }

    /// The part of [`crate::engine::state::apply`] that decides which tokens are alive.
    fn apply(&mut self, placed: &Placed<'_>) {
        let time = placed.position.time;
        let Some(digest) = placed.record.digest() else { return };
        let hash = self.hasher.hash_one(digest.prefix());
        let shard = self.store.shard_of(digest.prefix());
        let table = &mut self.tables[shard];
        let found = table.find(hash, digest);
        let live = found.filter(|at| table.slots[*at].deadline() > time);
        match placed.record {
            Record::Issue { digest, deadline, uses, replaces: true, .. } => {
                if self.derived_in(placed.frame).contains(&digest) {
                    return;
                }
                // The keys of consumes go with the token before.
                self.taken_in(placed.frame).retain(|(taken, _)| *taken != digest);
                self.put(shard, Token::new(&digest, time, deadline, uses), time);
            }
            Record::Issue { digest, deadline, uses, derived, .. } => {
                if live.is_none() {
                    self.put(shard, Token::new(&digest, time, deadline, uses), time);
                    if derived && deadline > time {
                        self.derived_in(placed.frame).insert(digest);
                    }
                }
            }
            Record::Carry { digest, parts, .. } if parts.uses_left > 0 => {
                let token = Token::new(&digest, parts.issued_at, parts.deadline, parts.uses_left);
                self.put(shard, token, time);
            }
            Record::Carry { .. } => {
                if let Some(at) = found {
                    table.remove(at, &self.hasher);
                }
            }
            Record::Consume { digest, key, .. } => {
                let Some(at) = live else { return };
                if key.is_some_and(|key| !self.taken_in(placed.frame).insert((digest, key.0))) {
                    return;
                }
                let table = &mut self.tables[shard];
                match table.slots[at].uses() - 1 {
                    0 => table.remove(at, &self.hasher),
                    left => table.slots[at].set_uses(left),
                }
            }
            Record::Extend { deadline, life_ms_max, .. } => {
                if let Some(at) = live {
                    table.slots[at].extend(deadline, life_ms_max);
                }
            }
            Record::Deadline { deadline, .. } if deadline > time => {
                if let Some(at) = live {
                    table.slots[at].set_deadline(deadline);
                }
            }
            Record::Revoke { digest } | Record::Deadline { digest, .. } => {
                if let Some(at) = live {
                    table.remove(at, &self.hasher);
                    self.derived_in(placed.frame).remove(&digest);
                }
            }
            Record::Time
            | Record::Origin(_)
            | Record::Member(_)
            | Record::Report(_)
            | Record::Ended(_) => {}
            Record::Decision(_) | Record::Asked(_) => {}
        }
    }

    fn taken_in(&mut self, frame: u32) -> &mut HashSet<(Digest, [u8; DIGEST_LEN]), RandomState> {
        let (last, taken) = &mut self.taken;
        if *last != frame {
            *last = frame;
            taken.clear();
        }
        taken
    }

    fn derived_in(&mut self, frame: u32) -> &mut HashSet<Digest, RandomState> {
        let (last, derived) = &mut self.derived;
        if *last != frame {
            *last = frame;
            derived.clear();
        }
        derived
    }

    fn put(&mut self, shard: usize, token: Token, now: UnixMillis) {
        let table = &mut self.tables[shard];
        let before = table.bytes();
        let rebuilt = table.put(token, now, &self.hasher);
        let after = table.bytes();
        self.bytes = self.bytes + after - before;
        // While a table is rebuilt, the old one still exists.
        self.peak_bytes = self.peak_bytes.max(self.bytes + if rebuilt { before } else { 0 });
    }
}
