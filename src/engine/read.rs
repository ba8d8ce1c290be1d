//! What can be seen of tokens without changing anything. No wait, no lock.

use crate::model::entry::Entry;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::store::Lookup;

use super::handle::Engine;
use super::state::is_trace;

/// What is known about a living token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// From this instant on it is gone.
    pub expires_at: UnixMillis,
    /// Uses left, at least 1.
    pub uses_left: u32,
    /// Length of the payload in bytes.
    pub payload_len: usize,
}

/// What stands under a digest, for an issue that met it.
#[derive(Clone, Copy)]
pub struct Existing<'e> {
    /// What the token stands for, as it was sent.
    pub payload: &'e [u8],
    /// Uses as issued.
    pub uses: u32,
    /// May be resolved without being consumed.
    pub peek: bool,
    /// Its last use was taken.
    pub is_consumed: bool,
    /// From this instant on it is gone.
    pub deadline: UnixMillis,
}

impl Engine {
    /// Calls `found` with what `digest` resolves to at `now`. No wait, no lock, no copy; `found`
    /// should be short, for nothing that others remove is freed while it runs.
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

    /// Calls `each` with what every digest resolves to at `now`, in their order.
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

    /// What is known about a living token. Takes no use, also where it cannot be resolved.
    #[must_use]
    pub fn status(&self, digest: &Digest, now: UnixMillis) -> Option<Status> {
        let pinned = self.shared.store.pin();
        let entry = pinned.get(digest)?;
        if entry.is_expired(now) {
            self.shared.time.hold(now);
        }
        entry.is_alive(now).then(|| Status {
            expires_at: entry.deadline(),
            uses_left: entry.uses_left(),
            payload_len: entry.payload_len(),
        })
    }

    /// Calls `look` with what an issue that was refused as a conflict has met, as it stands at `now`:
    /// the caller may know better than byte for byte whether the content is the same. None where
    /// nothing stands in the way of the issue any more.
    pub fn existing<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        look: impl FnOnce(&Existing<'_>) -> R,
    ) -> Option<R> {
        let pinned = self.shared.store.pin();
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

    /// Whether the token is remembered as consumed: presented again, that is a replay.
    #[must_use]
    pub fn was_consumed(&self, digest: &Digest, now: UnixMillis) -> bool {
        let pinned = self.shared.store.pin();
        pinned.get(digest).is_some_and(|entry| entry.is_consumed() && !entry.is_expired(now))
    }

    /// Bytes of all payloads that these digests have in the store now, repeated ones repeatedly:
    /// how long a batch answer would become.
    #[must_use]
    pub fn payload_bytes(&self, digests: &[Digest]) -> usize {
        let pinned = self.shared.store.pin();
        digests.iter().filter_map(|digest| pinned.get(digest)).map(Entry::payload_len).sum()
    }
}
