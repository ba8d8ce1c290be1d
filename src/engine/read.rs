//! Reads of tokens, without a wait and without a lock.

use crate::model::entry::Entry;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::model::value::{json_len, value_of};
use crate::store::Lookup;

use super::handle::Engine;
use super::op::Op;
use super::refusal::refuse;
use super::state::{Applied, is_trace};

/// Status of a live token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The token's deadline: from this instant on the token has expired.
    pub expires_at: UnixMillis,
    /// Uses left, at least 1.
    pub uses_left: u32,
    /// Length of the payload in bytes.
    pub payload_len: usize,
    /// Length of the [value](crate::model::value) that the payload stands for.
    pub value_len: usize,
}

/// A token that resolves, with its times.
#[derive(Clone, Copy)]
pub struct Introspected<'e> {
    /// The payload, as it was sent.
    pub payload: &'e [u8],
    /// The token's deadline: from this instant on the token has expired.
    pub expires_at: UnixMillis,
    /// When the token was issued; of a name, when it was last put.
    pub issued_at: UnixMillis,
}

/// The existing entry that conflicts with an issue.
#[derive(Clone, Copy)]
pub struct Existing<'e> {
    /// The payload, as it was sent.
    pub payload: &'e [u8],
    /// Uses as issued.
    pub uses: u32,
    /// Whether the token can be resolved without being consumed.
    pub peek: bool,
    /// Whether its last use was consumed.
    pub is_consumed: bool,
    /// The token's deadline: from this instant on the token has expired.
    pub deadline: UnixMillis,
}

impl Engine {
    /// Calls `found` with the payload of `digest` at `now`. No wait, no lock, no copy. `found`
    /// should be short, because removed entries cannot be freed while it runs.
    pub fn resolve<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        found: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let looked_up = self.shared.store.resolve(digest, now, found);
        self.shared.seen(&looked_up, now);
        match looked_up {
            Lookup::Found(result) => Some(result),
            _ => None,
        }
    }

    /// Like [`Engine::resolve`], but what is not found is no answer yet: it is not counted.
    pub fn find<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        found: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        match self.shared.store.resolve(digest, now, found) {
            Lookup::Found(result) => {
                self.shared.counters.resolves.increment();
                Some(result)
            }
            _ => None,
        }
    }

    /// Calls `each` with the payload of every digest at `now`, in their order. Returns whether all
    /// were found; if not, that is no answer yet: it is not counted, and `each` was called for some.
    #[must_use]
    pub fn find_many(
        &self,
        digests: &[Digest],
        now: UnixMillis,
        mut each: impl FnMut(&[u8]),
    ) -> bool {
        let mut are_found = true;
        self.shared.store.resolve_many(digests, now, |looked_up| match looked_up {
            Lookup::Found(payload) if are_found => each(payload),
            _ => are_found = false,
        });
        if are_found {
            self.shared.counters.resolves.add(digests.len() as u64);
        }
        are_found
    }

    /// Whether [`Engine::resolve`] would find the token; it is not counted.
    #[must_use]
    pub fn would_resolve(&self, digest: &Digest, now: UnixMillis) -> bool {
        matches!(self.shared.store.resolve(digest, now, |_| ()), Lookup::Found(()))
    }

    /// Whether the operation would not find its token at `now`.
    #[must_use]
    pub fn would_miss(&self, op: &Op, now: UnixMillis) -> bool {
        let pinned = self.shared.store.pin_settled();
        matches!(refuse(&pinned, op, now), Some(Applied::NotFound { .. }))
    }

    /// Calls `each` with the payload of every digest at `now`, in their order.
    pub fn resolve_many(
        &self,
        digests: &[Digest],
        now: UnixMillis,
        mut each: impl FnMut(Option<&[u8]>),
    ) {
        let mut resolved = 0;
        self.shared.store.resolve_many(digests, now, |looked_up| match looked_up {
            Lookup::Found(payload) => {
                resolved += 1;
                each(Some(payload));
            }
            other => {
                self.shared.seen(&other, now);
                each(None);
            }
        });
        self.shared.counters.resolves.add(resolved);
    }

    /// Like [`Engine::resolve`], with the times of the token.
    pub fn introspect<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        found: impl FnOnce(&Introspected<'_>) -> R,
    ) -> Option<R> {
        let looked_up = self.introspected(digest, now, found);
        self.shared.seen(&looked_up, now);
        match looked_up {
            Lookup::Found(result) => Some(result),
            _ => None,
        }
    }

    /// Like [`Engine::find`], with the times of the token.
    pub fn find_introspected<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        found: impl FnOnce(&Introspected<'_>) -> R,
    ) -> Option<R> {
        match self.introspected(digest, now, found) {
            Lookup::Found(result) => {
                self.shared.counters.resolves.increment();
                Some(result)
            }
            _ => None,
        }
    }

    fn introspected<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        found: impl FnOnce(&Introspected<'_>) -> R,
    ) -> Lookup<R> {
        let pinned = self.shared.store.pin_settled();
        let entry = pinned.get(digest);
        let times = entry.map_or_else(Default::default, |it| (it.deadline(), it.issued_at()));
        Lookup::of(entry, now).map(|payload| {
            let (expires_at, issued_at) = times;
            found(&Introspected { payload, expires_at, issued_at })
        })
    }

    /// Looks up every digest at `now`, and passes the results to `answer` in their order. `answer`
    /// returns how many it has answered, from the first on. Only these are counted, and only for them
    /// engine time is held where a token has expired. Returns that number.
    ///
    /// `answer` should be short, because removed entries cannot be freed while it runs.
    pub fn answer_many(
        &self,
        digests: &[Digest],
        now: UnixMillis,
        answer: impl FnOnce(&[Lookup<&[u8]>]) -> usize,
    ) -> usize {
        self.shared.store.look_up_many(digests, now, |found| {
            let answered = &found[..answer(found)];
            let is_found = |looked_up: &&Lookup<&[u8]>| matches!(looked_up, Lookup::Found(_));
            let resolved = answered.iter().filter(is_found).count();
            self.shared.counters.resolves.add(resolved as u64);
            if resolved < answered.len() {
                let missed = answered.iter().filter(|looked_up| !is_found(looked_up));
                missed.for_each(|looked_up| self.shared.seen(looked_up, now));
            }
            answered.len()
        })
    }

    /// The status of a live token, even of one that cannot be resolved. Consumes no use.
    #[must_use]
    pub fn status(&self, digest: &Digest, now: UnixMillis) -> Option<Status> {
        let pinned = self.shared.store.pin_settled();
        let entry = pinned.get(digest)?;
        if entry.is_expired(now) {
            self.shared.time.hold(now);
        }
        status_of(entry, now)
    }

    /// Like [`Engine::status`], but `None` is no answer yet.
    #[must_use]
    pub fn find_status(&self, digest: &Digest, now: UnixMillis) -> Option<Status> {
        let pinned = self.shared.store.pin_settled();
        status_of(pinned.get(digest)?, now)
    }

    /// Calls `each` with the status of every digest at `now`, in their order. All are of one moment: of
    /// operations that are performed together, either all or none are seen.
    pub fn statuses(&self, digests: &[Digest], now: UnixMillis, each: impl FnMut(Option<Status>)) {
        let (found, has_expired) = self.look_for_statuses(digests, now);
        if has_expired {
            self.shared.time.hold(now);
        }
        found.into_iter().for_each(each);
    }

    /// Like [`Engine::statuses`], but where one is `None` that is no answer yet: then there is none.
    #[must_use]
    pub fn find_statuses(&self, digests: &[Digest], now: UnixMillis) -> Option<Vec<Status>> {
        self.look_for_statuses(digests, now).0.into_iter().collect()
    }

    /// The status of every digest, and whether one of the entries has expired.
    fn look_for_statuses(
        &self,
        digests: &[Digest],
        now: UnixMillis,
    ) -> (Vec<Option<Status>>, bool) {
        let (mut found, mut has_expired) = (Vec::with_capacity(digests.len()), false);
        self.shared.store.at_one_moment(|pinned| {
            found.clear();
            found.extend(digests.iter().map(|digest| {
                let entry = pinned.get(digest)?;
                has_expired |= entry.is_expired(now);
                status_of(entry, now)
            }));
        });
        (found, has_expired)
    }

    /// Calls `look` with the existing entry, as of `now`, that an issue conflicted with: the caller
    /// may compare the content in a better way than byte for byte. `None` if no entry conflicts any
    /// more.
    pub fn existing<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        look: impl FnOnce(&Existing<'_>) -> R,
    ) -> Option<R> {
        let pinned = self.shared.store.pin_settled();
        let entry = pinned.get(digest)?;
        if entry.is_expired(now) {
            self.shared.time.hold(now);
            return None;
        }
        if is_trace(entry) {
            return None;
        }
        Some(look(&Existing {
            payload: entry.payload(),
            uses: entry.uses_total(),
            peek: entry.peek(),
            is_consumed: entry.is_consumed(),
            deadline: entry.deadline(),
        }))
    }

    /// Whether all these tokens are in memory, alive or not.
    #[must_use]
    pub fn knows(&self, digests: &[Digest]) -> bool {
        let pinned = self.shared.store.pin_settled();
        digests.iter().all(|digest| pinned.get(digest).is_some())
    }

    /// Whether the token is remembered as consumed, so that presenting it again is a replay.
    #[must_use]
    pub fn was_consumed(&self, digest: &Digest, now: UnixMillis) -> bool {
        let pinned = self.shared.store.pin_settled();
        pinned.get(digest).is_some_and(|entry| entry.is_consumed() && !entry.is_expired(now))
    }

    /// Total bytes of the payloads of these digests as JSON, counting repeated digests repeatedly: the
    /// size of a batch answer.
    #[must_use]
    pub fn payload_bytes(&self, digests: &[Digest]) -> usize {
        let pinned = self.shared.store.pin_settled();
        digests
            .iter()
            .filter_map(|digest| pinned.get(digest))
            .map(|entry| json_len(entry.payload()))
            .sum()
    }
}

fn status_of(entry: &Entry, now: UnixMillis) -> Option<Status> {
    entry.is_alive(now).then(|| Status {
        expires_at: entry.deadline(),
        uses_left: entry.uses_left(),
        payload_len: entry.payload_len(),
        value_len: value_of(entry.payload()).len(),
    })
}
