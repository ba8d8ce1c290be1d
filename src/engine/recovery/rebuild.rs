//! Rebuilds the entries from the log, in no more memory than what lived takes.
//!
//! What a start believes to be past is not built: an entry whose deadline has come by `now` is
//! passed over, as if it were not in the log. Nothing that lives at `now` depends on it, but for
//! two cases, and both show in the log:
//!
//! - An Extend can have moved its deadline beyond `now`. It says to which instant at the latest, and
//!   it acts on a living entry alone. So one that leads beyond `now`, about an entry that is not
//!   there, may have revived one that was passed over.
//! - It can have won over a rival. Two Issues of one digest, the first of which wins, stand in one
//!   frame or not at all: a later one is admitted only when nothing lives under its digest. So an
//!   Issue that leads beyond `now`, in the frame of one that was passed over, may have lost.
//!
//! Such digests are gathered, and the log is read once more for them alone, with nothing passed
//! over. Where they are more than [`DOUBTS_MAX`], all of it is read again that way. Then the wheel
//! follows the log's time, and what had expired by then is freed between two pieces: whatever
//! comes behind has the same outcome with an expired entry as with none.

use std::collections::HashSet;
use std::thread;

use ahash::RandomState;

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
use super::replay::{Partition, Piece, Placed, Records, read_log};

/// Records that are looked up together before they are applied.
const WINDOW_LEN: usize = 64;
/// Digests in doubt that a partition gathers before it gives up: half a mebibyte of them. Few in
/// tests, so that they give up as well.
const DOUBTS_MAX: usize = if cfg!(test) { 3 } else { 1 << 15 };
/// Shares of the log after which the tables are made as large as they will have to be: after a
/// sixteenth, and after a quarter.
const FIRST_LOOK: u64 = 16;
const LOOK_FACTOR: u64 = 4;

type Prefixes = HashSet<Prefix, RandomState>;

/// The entries that live, and what is known about them.
pub(in crate::engine) struct Rebuilt {
    pub(in crate::engine) store: Store,
    pub(in crate::engine) accounting: Accounting,
    /// The latest deadline that came while the engine was down: the log does not know that time.
    pub(in crate::engine) expired_until: UnixMillis,
    /// The most memory that entries took meanwhile, as the accounting counts it.
    pub(in crate::engine) peak_bytes: u64,
}

impl Rebuilt {
    /// Where there was no log.
    pub(in crate::engine) fn nothing(now: UnixMillis) -> Rebuilt {
        let (store, accounting) = (Store::new(), Accounting::new(now));
        Rebuilt { store, accounting, expired_until: UnixMillis(0), peak_bytes: 0 }
    }
}

/// Rebuilds what lives at `now`, which is not before the end of the log.
pub(in crate::engine) fn rebuild(
    survey: &Survey,
    now: UnixMillis,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Rebuilt, OpenError> {
    let store = Store::new();
    let builders = build_all(survey, &store, threads, Rule::PassOver { past: now }, progress)?;
    if builders.iter().any(Builder::gave_up) {
        drop(builders);
        return rebuild_plainly(survey, now, threads, progress);
    }
    let mut peak_bytes: u64 = builders.iter().map(|builder| builder.peak_bytes).sum();
    let mut done = finish(builders, now);
    if !done.doubts.is_empty() {
        // Whatever was built of them came from a part of their records.
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
    Ok(Rebuilt { store, accounting, expired_until, peak_bytes })
}

/// As [`rebuild`], with nothing passed over.
pub(in crate::engine) fn rebuild_plainly(
    survey: &Survey,
    now: UnixMillis,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Rebuilt, OpenError> {
    let store = Store::new();
    let builders = build_all(survey, &store, threads, Rule::FollowTime, progress)?;
    let peak_bytes = builders.iter().map(|builder| builder.peak_bytes).sum();
    let Finished { accounting, expired_until, .. } = finish(builders, now);
    Ok(Rebuilt { store, accounting, expired_until, peak_bytes })
}

/// Reads the whole log, each record by the builder of its partition.
fn build_all<'s>(
    survey: &Survey,
    store: &'s Store,
    threads: usize,
    rule: Rule,
    progress: &dyn Progress,
) -> Result<Vec<Builder<'s>>, OpenError> {
    let mut builders = builders(store, threads, rule);
    let sorted = |digest| Some(store.shard_of(digest) % threads);
    read_log(survey, &mut builders, &sorted, progress)?;
    Ok(builders)
}

/// What becomes of entries that are past.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// What is past by then is not built.
    PassOver {
        /// The start's time.
        past: UnixMillis,
    },
    /// They are freed as the log's time comes to their deadline.
    FollowTime,
}

/// Builds the entries of one partition.
struct Builder<'s> {
    store: &'s Store,
    rule: Rule,
    partition: usize,
    partitions: usize,
    accounting: Accounting,
    /// The latest deadline that was passed over, or whose entry was freed.
    passed_until: UnixMillis,
    /// What was passed over in this frame of the piece.
    passed: (u32, Prefixes),
    /// What may live though it was passed over.
    doubts: Prefixes,
    /// The tables are looked at when so many bytes of the log are done; how far it was, and how
    /// many entries there were, when they were looked at last.
    look: Look,
    peak_bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Look {
    /// Part of the log after which it is time to look: one of so many.
    after: u64,
    done_bytes: u64,
    entries: u64,
}

fn builders(store: &Store, partitions: usize, rule: Rule) -> Vec<Builder<'_>> {
    // Where time is followed, it begins with the log's. Else the wheel stands where it will stay.
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
        // At most what one piece has replaced waits to be freed.
        self.store.pin().flush();
        self.presize(piece);
        !self.gave_up()
    }
}

impl Builder<'_> {
    fn gave_up(&self) -> bool {
        self.doubts.len() > DOUBTS_MAX
    }

    /// Frees what is past, before the records of the next piece: none of them is of a time before.
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

    /// Applies records in order. They are looked up once before, all of them: those look-ups do not
    /// depend on each other, so that their cache misses overlap, and `apply` finds what it needs in
    /// the cache. A new pin for each window lets what is replaced on the way be freed.
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

    /// Whether nothing need be done about a record, and whether that is in doubt.
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
            // Its trace is past.
            Record::Consume { digest, remembered_until: Some(until), .. } if *until <= past => {
                pinned.get(digest).is_none()
            }
            Record::Extend { digest, deadline, .. } if *deadline > past => {
                if pinned.get(digest).is_none() {
                    self.doubts.insert(digest.prefix());
                }
                false
            }
            _ => false,
        }
    }

    /// What was passed over in this frame.
    fn passed_in(&mut self, frame: u32) -> &mut Prefixes {
        let (last, passed) = &mut self.passed;
        if *last != frame {
            *last = frame;
            passed.clear();
        }
        passed
    }

    /// Makes the tables as large as they will have to be, if entries go on to come as they did since
    /// the last look. Else they would double again and again, and each time look at every entry.
    /// They are made no larger than they would have grown by themselves.
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
        // Nobody knows how long it goes on.
        let to_come = (to_come as u64).min(now * (LOOK_FACTOR - 1));
        let (partition, partitions) = (self.partition, self.partitions);
        self.store.reserve(to_come as usize, |shard| shard % partitions == partition);
        self.store.pin().flush();
        self.look = Look { after: after / LOOK_FACTOR, done_bytes: piece.done_bytes, entries: now };
    }
}

/// What all partitions have built together.
struct Finished {
    accounting: Accounting,
    expired_until: UnixMillis,
    doubts: Prefixes,
}

/// Frees what has expired by now, so that the count of living tokens is right from the start, and
/// merges their accounting.
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
            // All wheels stand where the last `advance` has left them.
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

/// Frees what has expired by now, of one partition, and gives the latest deadline that had come.
fn free(mut builder: Builder<'_>, now: UnixMillis) -> (Builder<'_>, UnixMillis) {
    // One tick ahead, so that what expired within the present one is asked about too.
    let ahead = UnixMillis(now.0.saturating_add(TICK_MS));
    let latest = advance(builder.store, &mut builder.accounting, ahead, now);
    (builder, latest)
}

/// Lets the wheel come to `tick` and frees what has expired by `now`. Returns the latest deadline
/// that had come.
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
