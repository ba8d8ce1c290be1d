//! Rebuilds the entries from the log, using no more memory than the live entries needed.
//!
//! An entry whose deadline has passed by `now` is skipped, as if it were not in the log. No entry
//! alive at `now` depends on it, except in two cases, which can be recognised in the log:
//!
//! - An Extend or a Deadline may have moved its deadline beyond `now`. It contains the latest
//!   possible deadline, and it acts only on a live entry. So one beyond `now` of a missing entry may
//!   have revived a skipped one, or one that a Deadline had moved before `now` and that was freed.
//! - It may have won over a rival. Two Issues of one digest, of which the first wins, can only be
//!   in one frame: a later Issue is admitted only if no entry is alive under its digest, or it
//!   replaces a live one. So an Issue with a deadline beyond `now`, in the frame of a skipped one,
//!   may have lost.
//!
//! Such digests are collected, and the log is read once more for them only, without skipping. If
//! there are more than [`DOUBTS_MAX`], the whole log is read again that way. In that case the wheel
//! follows the log's time, and entries that have expired by then are freed between two pieces:
//! later records have the same outcome with an expired entry as without one.

use std::collections::HashSet;
use std::thread;

use ahash::RandomState;

use crate::engine::replicated::Replicated;
use crate::engine::state::{Accounting, apply, expire};
use crate::model::entry::Parts;
use crate::model::record::Record;
use crate::model::time::UnixMillis;
use crate::model::token::Prefix;
use crate::store::{Pinned, Store};
use crate::timer_wheel::TICK_MS;
use crate::wal::Survey;

use super::error::OpenError;
use super::progress::Progress;
use super::replay::{Counts, Partition, Piece, Placed, Records, read_log};

/// Number of records that are looked up together before they are applied.
const WINDOW_LEN: usize = 64;
/// Maximum doubtful digests that a partition collects: half a mebibyte of them. It is low in tests,
/// so that the limit is reached.
const DOUBTS_MAX: usize = if cfg!(test) { 3 } else { 1 << 15 };
/// Fractions of the log after which the tables are resized to their expected final size: a
/// sixteenth and a quarter.
const FIRST_LOOK: u64 = 16;
const LOOK_FACTOR: u64 = 4;

type Prefixes = HashSet<Prefix, RandomState>;

/// The live entries and their accounting.
pub(in crate::engine) struct Rebuilt {
    pub(in crate::engine) store: Store,
    pub(in crate::engine) accounting: Accounting,
    /// The latest deadline that came while the engine was down: the log does not know that time.
    pub(in crate::engine) expired_until: UnixMillis,
    /// Maximum memory of entries during recovery, as counted by the accounting.
    pub(in crate::engine) peak_bytes: u64,
    /// The position in the cluster's stream.
    pub(in crate::engine) replicated: Option<Replicated>,
}

impl Rebuilt {
    /// The result without a log.
    pub(in crate::engine) fn nothing(now: UnixMillis) -> Self {
        let (store, accounting) = (Store::new(), Accounting::new(now));
        Self { store, accounting, expired_until: UnixMillis(0), peak_bytes: 0, replicated: None }
    }
}

/// Rebuilds the entries alive at `now`, which is not before the end of the log.
pub(in crate::engine) fn rebuild(
    survey: &Survey,
    now: UnixMillis,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Rebuilt, OpenError> {
    let store = Store::new();
    let rule = Rule::PassOver { past: now };
    let (builders, counts) = build_all(survey, &store, threads, rule, progress)?;
    if builders.iter().any(Builder::gave_up) {
        drop(builders);
        return rebuild_plainly(survey, now, threads, progress);
    }
    let mut peak_bytes: u64 = builders.iter().map(|builder| builder.peak_bytes).sum();
    let mut done = finish(builders, now);
    if !done.doubts.is_empty() {
        // Entries of these digests were built from only a part of their records.
        let pinned = store.pin();
        for digest in &done.doubts {
            expire(&pinned, &mut done.accounting.totals, *digest, UnixMillis(u64::MAX));
        }
        drop(pinned);
        let doubts = std::mem::take(&mut done.doubts);
        let mut builders = self::builders(&store, threads, Rule::FollowTime);
        let sorted = |digest| doubts.contains(&digest).then(|| store.shard_of(digest) % threads);
        read_log(survey, &mut builders, &sorted, progress)?;
        peak_bytes += builders.iter().map(|builder| builder.peak_bytes).sum::<u64>();
        let more = finish(builders, now);
        done.accounting.merge(more.accounting);
        done.expired_until = done.expired_until.max(more.expired_until);
    }
    let Finished { accounting, expired_until, .. } = done;
    let replicated = counts.replicated;
    Ok(Rebuilt { store, accounting, expired_until, peak_bytes, replicated })
}

/// Like [`rebuild`], without skipping entries.
pub(in crate::engine) fn rebuild_plainly(
    survey: &Survey,
    now: UnixMillis,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Rebuilt, OpenError> {
    let store = Store::new();
    let (builders, counts) = build_all(survey, &store, threads, Rule::FollowTime, progress)?;
    let peak_bytes = builders.iter().map(|builder| builder.peak_bytes).sum();
    let Finished { accounting, expired_until, .. } = finish(builders, now);
    let replicated = counts.replicated;
    Ok(Rebuilt { store, accounting, expired_until, peak_bytes, replicated })
}

/// Reads the whole log, and passes each record to the builder of its partition.
fn build_all<'s>(
    survey: &Survey,
    store: &'s Store,
    threads: usize,
    rule: Rule,
    progress: &dyn Progress,
) -> Result<(Vec<Builder<'s>>, Counts), OpenError> {
    let mut builders = builders(store, threads, rule);
    let sorted = |digest| Some(store.shard_of(digest) % threads);
    let counts = read_log(survey, &mut builders, &sorted, progress)?;
    Ok((builders, counts))
}

/// How expired entries are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Entries that have expired by this time are skipped.
    PassOver {
        /// The time of the start.
        past: UnixMillis,
    },
    /// Entries are freed when the log's time reaches their deadline.
    FollowTime,
}

/// Builds the entries of one partition.
struct Builder<'s> {
    store: &'s Store,
    rule: Rule,
    partition: usize,
    partitions: usize,
    accounting: Accounting,
    /// The latest deadline of a skipped or freed entry.
    passed_until: UnixMillis,
    /// Digests skipped in this frame of the piece.
    passed: (u32, Prefixes),
    /// Doubtful digests: skipped, but possibly alive.
    doubts: Prefixes,
    /// When to resize the tables next, in bytes of the log; and the position and the number of
    /// entries at the last check.
    look: Look,
    peak_bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Look {
    /// The next check, as a fraction of the log: one of this many parts.
    after: u64,
    done_bytes: u64,
    entries: u64,
}

fn builders(store: &Store, partitions: usize, rule: Rule) -> Vec<Builder<'_>> {
    // If the wheel follows the log's time, it starts with it; otherwise it stays at the start's
    // time.
    let begin = match rule {
        Rule::PassOver { past } => past,
        Rule::FollowTime => UnixMillis(0),
    };
    let builder = |partition| Builder {
        store,
        rule,
        partition,
        partitions,
        accounting: Accounting::new(begin),
        passed_until: UnixMillis(0),
        passed: Default::default(),
        doubts: Prefixes::default(),
        look: Look { after: FIRST_LOOK, ..Look::default() },
        peak_bytes: 0,
    };
    (0..partitions).map(builder).collect()
}

impl Partition for Builder<'_> {
    fn take(&mut self, piece: &Piece, own: Records<'_>) -> bool {
        self.free_past(piece);
        self.passed.1.clear();
        let mut window = Vec::with_capacity(WINDOW_LEN);
        for placed in own {
            window.push(placed);
            if window.len() == WINDOW_LEN {
                self.apply_window(&mut window);
            }
        }
        self.apply_window(&mut window);
        // At most the entries replaced by one piece wait to be freed.
        self.store.pin().flush();
        self.presize(piece);
        !self.gave_up()
    }
}

impl Builder<'_> {
    fn gave_up(&self) -> bool {
        self.doubts.len() > DOUBTS_MAX
    }

    /// Frees expired entries before the records of the next piece, none of which has an earlier
    /// time.
    fn free_past(&mut self, piece: &Piece) {
        let time = match self.rule {
            Rule::PassOver { past } => Some(past),
            Rule::FollowTime => piece.begins_at(),
        };
        if let Some(time) = time {
            let latest = advance(self.store, &mut self.accounting, time, time);
            self.passed_until = self.passed_until.max(latest);
        }
    }

    /// Applies records in order. All of them are looked up first: these look-ups are independent,
    /// so that their cache misses overlap, and `apply` finds its data in the cache. A new pin for
    /// each window allows replaced entries to be freed.
    fn apply_window(&mut self, window: &mut Vec<Placed<'_>>) {
        let store = self.store;
        let pinned = store.pin();
        let touched = window
            .iter()
            .filter_map(|placed| pinned.get(placed.record.digest()?))
            .fold(0, |touched, entry| touched ^ entry.deadline().0);
        std::hint::black_box(touched);
        for Placed { record, position, frame } in window.drain(..) {
            if self.passes_over(&pinned, &record, frame) {
                continue;
            }
            let accounting = &mut self.accounting;
            apply(&pinned, accounting, &record, position);
        }
        self.peak_bytes = self.peak_bytes.max(self.accounting.memory_bytes());
    }

    /// Whether a record can be skipped; also records whether that is doubtful.
    fn passes_over(&mut self, pinned: &Pinned<'_>, record: &Record<'_>, frame: u32) -> bool {
        let Rule::PassOver { past } = self.rule else { return false };
        match record {
            Record::Issue { digest, deadline, .. }
            | Record::Carry { digest, parts: Parts { deadline, .. }, .. }
                if *deadline <= past =>
            {
                let passes = pinned.get(digest).is_none();
                if passes {
                    self.passed_until = self.passed_until.max(*deadline);
                    self.passed_in(frame).insert(digest.prefix());
                }
                passes
            }
            Record::Issue { digest, .. } => {
                if self.passed_in(frame).contains(&digest.prefix()) {
                    self.doubts.insert(digest.prefix());
                }
                false
            }
            // Its trace has expired.
            Record::Consume { digest, remembered_until: Some(until), .. } if *until <= past => {
                pinned.get(digest).is_none()
            }
            Record::Extend { digest, deadline, .. } | Record::Deadline { digest, deadline }
                if *deadline > past =>
            {
                if pinned.get(digest).is_none() {
                    self.doubts.insert(digest.prefix());
                }
                false
            }
            _ => false,
        }
    }

    /// The digests skipped in this frame.
    fn passed_in(&mut self, frame: u32) -> &mut Prefixes {
        let (last, passed) = &mut self.passed;
        if *last != frame {
            *last = frame;
            passed.clear();
        }
        passed
    }

    /// Resizes the tables to their final size, if entries continue to arrive at the rate since the
    /// last check. Otherwise they would double repeatedly, and rehash every entry each time. They
    /// are made no larger than they would have grown by themselves.
    fn presize(&mut self, piece: &Piece) {
        let Look { after, done_bytes, entries } = self.look;
        if after < LOOK_FACTOR || piece.done_bytes.saturating_mul(after) < piece.all_bytes {
            return;
        }
        let now = self.accounting.totals.entries;
        let came = now.saturating_sub(entries);
        let read = piece.done_bytes.saturating_sub(done_bytes).max(1);
        let left = piece.all_bytes.saturating_sub(piece.done_bytes);
        let to_come = u128::from(came) * u128::from(left) / u128::from(read);
        // The final number of entries is unknown.
        let to_come = (to_come as u64).min(now * (LOOK_FACTOR - 1));
        let (partition, partitions) = (self.partition, self.partitions);
        self.store.reserve(to_come as usize, |shard| shard % partitions == partition);
        self.store.pin().flush();
        self.look = Look { after: after / LOOK_FACTOR, done_bytes: piece.done_bytes, entries: now };
    }
}

/// The result of all partitions.
struct Finished {
    accounting: Accounting,
    expired_until: UnixMillis,
    doubts: Prefixes,
}

/// Frees entries that have expired by now, so that the count of live tokens is right from the
/// start, and merges the accounting.
fn finish(builders: Vec<Builder<'_>>, now: UnixMillis) -> Finished {
    let freed: Vec<_> = if builders.len() == 1 {
        builders.into_iter().map(|builder| free(builder, now)).collect()
    } else {
        thread::scope(|scope| {
            let freeing: Vec<_> = builders
                .into_iter()
                .map(|builder| scope.spawn(move || free(builder, now)))
                .collect();
            freeing
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
                .collect()
        })
    };
    let mut all: Option<Finished> = None;
    for (builder, latest) in freed {
        let expired_until = latest.max(builder.passed_until);
        match &mut all {
            None => {
                let Builder { accounting, doubts, .. } = builder;
                all = Some(Finished { accounting, expired_until, doubts });
            }
            // All wheels are at the same tick after the last `advance`.
            Some(all) => {
                all.accounting.merge(builder.accounting);
                all.expired_until = all.expired_until.max(expired_until);
                all.doubts.extend(builder.doubts);
            }
        }
    }
    all.unwrap_or_else(|| Finished {
        accounting: Accounting::new(now),
        expired_until: UnixMillis(0),
        doubts: Prefixes::default(),
    })
}

/// Frees the entries of one partition that have expired by now, and returns the latest deadline
/// that has passed.
fn free(mut builder: Builder<'_>, now: UnixMillis) -> (Builder<'_>, UnixMillis) {
    // One tick ahead, so that entries that expired within the present tick are included.
    let ahead = UnixMillis(now.0.saturating_add(TICK_MS));
    let latest = advance(builder.store, &mut builder.accounting, ahead, now);
    (builder, latest)
}

/// Advances the wheel to `tick` and frees entries that have expired by `now`. Returns the latest
/// deadline that has passed.
fn advance(
    store: &Store,
    accounting: &mut Accounting,
    tick: UnixMillis,
    now: UnixMillis,
) -> UnixMillis {
    let (Accounting { wheel, totals }, mut latest) = (accounting, UnixMillis(0));
    wheel.advance(tick, usize::MAX, |timers, verdicts| {
        let pinned = store.pin();
        let deadlines = timers.iter().filter_map(|timer| Some(pinned.find(*timer)?.1.deadline()));
        latest = deadlines.filter(|deadline| *deadline <= now).fold(latest, UnixMillis::max);
        verdicts.extend(timers.iter().map(|timer| expire(&pinned, totals, *timer, now)));
    });
    store.pin().flush();
    latest
}
