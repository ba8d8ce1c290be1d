//! The records of a message that lands: which of them are written, and what each comes to.
//!
//! Most are checked against the state before the message, and `apply` decides between rivals. A change
//! with a condition, and what is performed together, depend on more: from the first of them on, each
//! record of the message is decided by the exact state after those before it
//! ([`overlay`](crate::engine::overlay)), so one that changes nothing is not written. All nodes come to
//! the same, because it depends on nothing but the messages and log time.

use crate::engine::admission::Admitted;
use crate::engine::applying::apply_frame;
use crate::engine::op::Outcome;
use crate::engine::refusal::refuse_record;
use crate::engine::state::Applied;
use crate::model::entry::{Entry, JournalPart};
use crate::model::record::asked::{Asked, AskedPut};
use crate::model::record::replication::Report;
use crate::model::record::{Record, records};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;

use super::Clustered;
use super::outcomes::{CODE_LEN, code_of, code_of_found};

/// The outcomes of a message's records, in their order.
#[derive(Default)]
pub(super) struct Outcomes {
    /// Those that `apply` decides are `None` before it.
    codes: Vec<Option<[u8; CODE_LEN]>>,
    /// For callers of this node; empty if the message is another node's.
    own: Vec<Own>,
    /// Consumes among them that met a consumed token. They are counted once, though a message may
    /// be written more than once.
    pub(super) replays: u64,
    /// Reads that have found something, counted in the same way.
    pub(super) reads: u64,
    pub(super) reports: Vec<Report>,
}

/// The outcome for a caller of this node.
struct Own {
    outcome: Option<Outcome>,
    wants_previous: bool,
}

impl Outcomes {
    /// All codes, one after the other.
    pub(super) fn codes(&self) -> Vec<u8> {
        self.codes.iter().flatten().flatten().copied().collect()
    }

    /// The outcomes for callers of this node.
    pub(super) fn into_own(self) -> Vec<Outcome> {
        self.own.into_iter().filter_map(|own| own.outcome).collect()
    }

    /// The next outcome that `apply` decides, from `from` on.
    fn undecided(&self, from: usize) -> Option<usize> {
        self.codes[from..].iter().position(Option::is_none).map(|next| from + next)
    }
}

/// Records that are performed together, as far as they were encoded.
struct Group {
    /// Where its first record stands, behind the relocated ones.
    start: usize,
    left: u32,
    written: u32,
}

impl Clustered {
    /// Encodes the records that may win, with deadlines from log time, and settles the others.
    pub(super) fn encode_records(
        &mut self,
        body: &[u8],
        now: UnixMillis,
        is_own: bool,
    ) -> Outcomes {
        let (mut outcomes, mut admitted) = (Outcomes::default(), Admitted::default());
        let mut group: Option<Group> = None;
        for record in records(body).flatten() {
            match record {
                Record::Report(report) => {
                    outcomes.reports.push(report.fields());
                    continue;
                }
                Record::Decision(_) => continue,
                Record::Asked(asked) if asked.is_exact() => self.sequencer.see_frame(),
                _ => {}
            }
            if let Record::Asked(Asked::Together { count }) = record {
                let start = self.sequencer.frame.client_len();
                group = Some(Group { start, left: count, written: 0 });
                continue;
            }
            let is_written = self.encode_record(&record, now, is_own, &mut admitted, &mut outcomes);
            let Some(open) = &mut group else { continue };
            open.written += u32::from(is_written);
            open.left -= 1;
            if open.left == 0 {
                // One record takes effect at once.
                if open.written > 1 {
                    let end = self.sequencer.frame.client_len();
                    self.sequencer.groups.ranges.push(open.start..end);
                }
                group = None;
            }
        }
        outcomes
    }

    /// Encodes a record, unless it changes nothing. Returns whether it was encoded.
    fn encode_record(
        &mut self,
        record: &Record<'_>,
        now: UnixMillis,
        is_own: bool,
        admitted: &mut Admitted,
        outcomes: &mut Outcomes,
    ) -> bool {
        let sequencer = &mut self.sequencer;
        let (shared, overlay) = (&sequencer.shared, &mut sequencer.overlay);
        let Some(digest) = digest_of(record) else { return false };
        let is_exact = overlay.is_active();
        let pinned = overlay.pin(&shared.store, digest);
        let (code, outcome) = match (refuse_record(&pinned, record, now), record) {
            (Some(refused), _) => {
                let outcome = is_own.then(|| match refused {
                    // Other refusals are not counted.
                    Applied::NotFound { .. } => Outcome::NotFound,
                    _ => shared.settle(&refused),
                });
                let is_replay = matches!(refused, Applied::NotFound { replay: true });
                outcomes.replays += u64::from(is_own && is_replay);
                (Some(code_of(&refused)), outcome)
            }
            (None, Record::Asked(Asked::Read { .. })) => {
                let entry = pinned.get(digest);
                outcomes.reads += u64::from(is_own);
                let found = |entry: &Entry| is_own.then(|| Outcome::found(entry));
                (entry.map(code_of_found), entry.and_then(found))
            }
            (None, _) => (None, None),
        };
        let is_written = code.is_none();
        outcomes.codes.push(code);
        if is_own {
            let wants_previous = matches!(record, Record::Asked(Asked::Put(put)) if put.asks);
            outcomes.own.push(Own { outcome, wants_previous });
        }
        if is_written {
            let entry = pinned.get(digest).filter(|entry| entry.is_alive(now));
            let kept = entry.map(Entry::deadline);
            let at = (now, is_exact);
            let remembered =
                admitted.remembered(&pinned, record, &sequencer.accounting, shared, at);
            drop(pinned);
            let landed = land(record, now, remembered, kept);
            landed.encode(sequencer.frame.buffer.writer());
            sequencer.frame.has_puts |=
                matches!(landed, Record::Issue { replaces: true, .. } | Record::Deadline { .. });
            overlay.note(&shared.store, &landed, now);
        }
        is_written
    }

    pub(super) fn apply_landed(&mut self, segment: JournalPart, outcomes: &mut Outcomes) {
        let sequencer = &mut self.sequencer;
        let (shared, mut slot) = (&sequencer.shared, 0);
        let answer = |applied: &Applied<'_>| {
            let Some(at) = outcomes.undecided(slot) else { return };
            outcomes.codes[at] = Some(code_of(applied));
            if let Some(Own { outcome, wants_previous }) = outcomes.own.get_mut(at) {
                *outcome = Some(shared.settle_asked(applied, *wants_previous));
            }
            slot = at + 1;
        };
        let (frame, groups) = (&sequencer.frame, &sequencer.groups);
        let accounting = &mut sequencer.accounting;
        let count = apply_frame(frame, groups, &shared.store, accounting, segment, answer);
        debug_assert!(outcomes.undecided(slot).is_none(), "each record was applied");
        sequencer.shared.counters.records.add(count);
    }
}

fn digest_of<'r>(record: &'r Record<'_>) -> Option<&'r Digest> {
    match record {
        Record::Asked(asked) => asked.digest(),
        other => other.digest(),
    }
}

/// The record of a message as it is written at this log time: times in it were relative, and what was
/// asked for is now decided. `kept` is the deadline of the live entry, if there is one.
fn land<'a>(
    record: &Record<'a>,
    now: UnixMillis,
    remembered_until: Option<UnixMillis>,
    kept: Option<UnixMillis>,
) -> Record<'a> {
    let from_now =
        |relative: UnixMillis| UnixMillis(now.0.saturating_add(relative.0)).min(UnixMillis::MAX);
    match *record {
        Record::Issue { digest, deadline, uses, peek, derived, replaces, payload } => {
            let deadline = from_now(deadline);
            Record::Issue { digest, deadline, uses, peek, derived, replaces, payload }
        }
        Record::Extend { digest, deadline, life_ms_max } => {
            Record::Extend { digest, deadline: from_now(deadline), life_ms_max }
        }
        Record::Consume { digest, key, .. } => Record::Consume { digest, key, remembered_until },
        Record::Asked(Asked::Put(put)) => {
            let AskedPut { digest, lifetime, keeps, uses, peek, payload, .. } = put;
            let deadline = kept.filter(|_| keeps).unwrap_or_else(|| from_now(lifetime));
            let (derived, replaces) = (false, true);
            Record::Issue { digest, deadline, uses, peek, derived, replaces, payload }
        }
        // One that has passed removes the entry when it is applied.
        Record::Asked(Asked::SetDeadline { digest, deadline, .. }) => {
            Record::Deadline { digest, deadline }
        }
        other => other,
    }
}
