//! A second, simple model of a token and of the changes to it. The engine is compared with it. It
//! shares no code with the engine except the names of outcomes.

use std::sync::Arc;
use std::time::Duration;

use jeton::engine::{DeadlineWhen, Op, Outcome, Put, When};
use jeton::model::time::UnixMillis;
use jeton::model::token::{ConsumeKey, Digest};
use jeton::model::value::value_of;

/// The longest life of a token, in milliseconds.
pub const MAX_TTL_MS: u64 = 100_000;

/// An operation on the token `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Issue {
        payload: Arc<[u8]>,
        ttl_ms: u64,
        uses: u32,
        peek: bool,
        derived: bool,
    },
    Consume {
        key: Option<u8>,
    },
    Extend {
        ttl_ms: u64,
    },
    Revoke,
    Put {
        payload: Arc<[u8]>,
        ttl_ms: Option<u64>,
        uses: u32,
        peek: bool,
        when: When,
        asks: bool,
    },
    /// Sets the deadline.
    Deadline {
        at: u64,
        when: DeadlineWhen,
    },
    /// A call with a read is performed together.
    Read,
}

/// The lifetime of a put that keeps the deadline, where there is none.
pub const DEFAULT_TTL_MS: u64 = 5_000;

/// A token that was issued and not revoked; also one that was consumed, or has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub payload: Arc<[u8]>,
    pub issued_at: u64,
    pub deadline: u64,
    pub uses: u32,
    pub uses_left: u32,
    pub peek: bool,
    pub derived: bool,
    pub keys: Vec<u8>,
    /// It had expired, and then a crash and a clock that jumped back put its deadline in the future
    /// again. The engine may have freed it or not.
    pub maybe_gone: bool,
}

impl Held {
    pub fn is_alive(&self, now: u64) -> bool {
        self.deadline > now && self.uses_left > 0
    }
}

/// The visible state of a token: deadline, uses, length, and the payload if it may be resolved.
pub type Seen = Option<(u64, u32, usize, Option<Vec<u8>>)>;

pub fn seen(held: Option<&Held>, now: u64) -> Seen {
    let held = held.filter(|held| held.is_alive(now))?;
    let payload = held.peek.then(|| held.payload.to_vec());
    Some((held.deadline, held.uses_left, held.payload.len(), payload))
}

/// The digest of a token: spread over the shards by its first half, told by its second.
pub fn digest(id: u64) -> Digest {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    bytes[8..].copy_from_slice(&id.to_le_bytes());
    Digest::from_bytes(bytes)
}

pub fn id_of(digest: &Digest) -> u64 {
    let bytes = digest.to_bytes();
    u64::from_le_bytes(std::array::from_fn(|at| bytes[8 + at]))
}

pub fn key(number: u8) -> ConsumeKey {
    ConsumeKey([number; 16])
}

impl Change {
    pub fn op(&self) -> Op {
        let digest = digest(self.id);
        match &self.what {
            What::Issue { payload, ttl_ms, uses, peek, derived } => Op::Issue {
                digest,
                payload: payload.to_vec(),
                ttl: Duration::from_millis(*ttl_ms),
                uses: *uses,
                peek: *peek,
                derived: *derived,
            },
            What::Consume { key: number } => Op::Consume { digest, key: number.map(key) },
            What::Extend { ttl_ms } => Op::Extend { digest, ttl: Duration::from_millis(*ttl_ms) },
            What::Revoke => Op::Revoke { digest },
            What::Put { payload, ttl_ms, uses, peek, when, asks } => Op::Put(Put {
                digest,
                payload: payload.to_vec(),
                ttl: ttl_ms.map(Duration::from_millis),
                default_ttl: Duration::from_millis(DEFAULT_TTL_MS),
                uses: *uses,
                peek: *peek,
                when: *when,
                wants_previous: *asks,
            }),
            What::Deadline { at, when } => {
                Op::SetDeadline { digest, deadline: UnixMillis(*at), when: *when }
            }
            What::Read => Op::Read { digest },
        }
    }

    /// The outcome if it changes nothing; `None` if it would change something.
    pub fn refused(&self, held: Option<&Held>, now: u64) -> Option<Outcome> {
        let held = held.filter(|held| held.deadline > now);
        let alive = held.filter(|held| held.uses_left > 0);
        match (&self.what, held) {
            (What::Put { when, asks, .. }, _) => {
                let is_met = match when {
                    When::Always => true,
                    When::Absent => alive.is_none(),
                    When::Present => alive.is_some(),
                };
                let previous = alive.filter(|held| held.peek && *asks);
                if !is_met {
                    let previous = previous.map(|held| held.payload.to_vec());
                    return Some(Outcome::NotPut { previous });
                }
                held.is_some_and(|held| held.derived).then_some(Outcome::Conflict)
            }
            (What::Deadline { at, when }, _) => {
                let Some(held) = alive else { return Some(Outcome::NotFound) };
                let is_met = match when {
                    DeadlineWhen::Always => true,
                    DeadlineWhen::Later => *at > held.deadline,
                    DeadlineWhen::Earlier => *at < held.deadline,
                };
                let deadline = UnixMillis(held.deadline);
                (!is_met).then_some(Outcome::DeadlineKept { deadline })
            }
            (What::Read, _) => Some(alive.map_or(Outcome::NotFound, |held| Outcome::Found {
                payload: held.peek.then(|| held.payload.to_vec()),
                payload_len: held.payload.len(),
                value_len: value_of(&held.payload).len(),
                deadline: UnixMillis(held.deadline),
                uses_left: held.uses_left,
            })),
            (What::Issue { .. } | What::Consume { .. }, None) => match self.what {
                What::Consume { .. } => Some(Outcome::NotFound),
                _ => None,
            },
            // Nothing depends on it any more.
            (What::Issue { .. }, Some(held))
                if held.uses_left == 0 && !held.derived && held.keys.is_empty() =>
            {
                None
            }
            (What::Issue { .. }, Some(held)) if held.uses_left == 0 => {
                Some(Outcome::AlreadyConsumed)
            }
            (What::Issue { payload, uses, peek, .. }, Some(held)) => {
                let is_same = held.payload == *payload && held.uses == *uses && held.peek == *peek;
                let deadline = UnixMillis(held.deadline);
                Some(if is_same { Outcome::Exists { deadline } } else { Outcome::Conflict })
            }
            (What::Consume { key: Some(key) }, Some(held)) if held.keys.contains(key) => {
                Some(Outcome::Replayed { payload: held.payload.to_vec() })
            }
            (What::Consume { .. }, Some(_)) => alive.is_none().then_some(Outcome::NotFound),
            (What::Extend { .. }, _) => alive.is_none().then_some(Outcome::NotFound),
            (What::Revoke, _) => alive.is_none().then_some(Outcome::NotFound),
        }
    }

    /// The state after it, and its outcome.
    pub fn apply(&self, held: Option<&Held>, now: u64) -> (Option<Held>, Outcome) {
        if let Some(outcome) = self.refused(held, now) {
            return (held.cloned(), outcome);
        }
        if let What::Put { payload, ttl_ms, uses, peek, asks, .. } = &self.what {
            let alive = held.filter(|held| held.is_alive(now));
            let deadline = match (ttl_ms, alive) {
                (Some(ttl_ms), _) => now + ttl_ms,
                (None, Some(held)) => held.deadline,
                (None, None) => now + DEFAULT_TTL_MS,
            };
            let previous = alive.filter(|held| held.peek && *asks);
            let previous = previous.map(|held| held.payload.to_vec());
            let put = issued(payload, now, deadline, *uses, *peek, false);
            return (Some(put), Outcome::Put { deadline: UnixMillis(deadline), previous });
        }
        if let What::Issue { payload, ttl_ms, uses, peek, derived } = &self.what {
            let held = issued(payload, now, now + ttl_ms, *uses, *peek, *derived);
            let deadline = UnixMillis(held.deadline);
            return (Some(held), Outcome::Issued { deadline });
        }
        let mut held = held.expect("what is not there is refused").clone();
        match self.what {
            What::Consume { key } => {
                held.uses_left -= 1;
                held.keys.extend(key);
                let payload = held.payload.to_vec();
                (Some(held), Outcome::Consumed { payload })
            }
            What::Extend { ttl_ms } => {
                let latest = held.issued_at + MAX_TTL_MS;
                held.deadline = (now + ttl_ms).min(latest).max(held.deadline);
                let deadline = UnixMillis(held.deadline);
                (Some(held), Outcome::Extended { deadline })
            }
            What::Deadline { at, .. } if at > now => {
                held.deadline = at;
                (Some(held), Outcome::DeadlineSet { deadline: UnixMillis(at) })
            }
            What::Revoke
            | What::Deadline { .. }
            | What::Issue { .. }
            | What::Put { .. }
            | What::Read => (None, Outcome::Revoked),
        }
    }
}

/// A token as it was issued or put.
pub fn issued(
    payload: &Arc<[u8]>,
    issued_at: u64,
    deadline: u64,
    uses: u32,
    peek: bool,
    derived: bool,
) -> Held {
    let (payload, uses_left, keys) = (Arc::clone(payload), uses, Vec::new());
    Held { payload, issued_at, deadline, uses, uses_left, peek, derived, keys, maybe_gone: false }
}
