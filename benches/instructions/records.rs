//! Records: applied to a store of [`LIVING`] entries, encoded, and decoded.

use std::collections::HashMap;

use jeton::engine::state::{Accounting, Applied, Position, apply};
use jeton::model::entry::{JournalPart, Parts};
use jeton::model::record::Record;
use jeton::model::token::{ConsumeKey, Digest};
use jeton::store::Store;

use crate::support::{self, PAYLOAD_LEN};
use crate::{DEADLINE, Fixture, LIVING, NOW, hasher};

/// Operations of a function.
const TIMES: usize = 300;
const LIFE_MS_MAX: u64 = 3_600_000;
const LATER: jeton::model::time::UnixMillis = jeton::model::time::UnixMillis(DEADLINE.0 + 60_000);

/// What every record must come to.
type IsRight = fn(&Applied<'_>) -> bool;

/// The bytes of records, and a store to apply them to.
pub struct Records {
    store: Store,
    accounting: Accounting,
    body: Vec<u8>,
    is_right: IsRight,
    /// Records that were applied, encoded or decoded, and were as they should be.
    right: usize,
    encoded: Vec<u8>,
}

impl Records {
    /// Of new entries.
    pub fn issues() -> Self {
        let body = body(LIVING, |n, digest, body| Issue(digest).with(n, body));
        Self::of(body, |applied| matches!(applied, Applied::Issued { .. }))
    }

    /// Of entries with one use.
    pub fn consumes() -> Self {
        let body = body(0, |_, digest, body| {
            Record::Consume { digest, key: None, remembered_until: None }.encode(body);
        });
        Self::of(body, |applied| matches!(applied, Applied::Consumed { .. }))
    }

    /// As before, to be remembered for a retry.
    pub fn consumes_with_key() -> Self {
        let key = Some(ConsumeKey([9; 16]));
        let body = body(0, |_, digest, body| {
            Record::Consume { digest, key, remembered_until: None }.encode(body);
        });
        Self::of(body, |applied| matches!(applied, Applied::Consumed { .. }))
    }

    /// By a minute.
    pub fn extends() -> Self {
        let body = body(0, |_, digest, body| extend(digest).encode(body));
        Self::of(body, |applied| *applied == Applied::Extended { deadline: LATER })
    }

    /// Of live entries.
    pub fn revokes() -> Self {
        let body = body(0, |_, digest, body| Record::Revoke { digest }.encode(body));
        Self::of(body, |applied| *applied == Applied::Revoked { was_alive: true })
    }

    /// Of entries that are as they were, to another segment.
    pub fn carries() -> Self {
        let body = body(0, carry);
        Self::of(body, |applied| *applied == Applied::Silent)
    }

    /// Issues, consumes and carries by turns, and a few others.
    pub fn mixed() -> Self {
        let body = body(0, |n, digest, body| match n % 6 {
            0 | 1 => Issue(digest).with(n, body),
            2 => {
                let key = Some(ConsumeKey([9; 16]));
                Record::Consume { digest, key, remembered_until: None }.encode(body);
            }
            3 => Record::Revoke { digest }.encode(body),
            4 => extend(digest).encode(body),
            _ => carry(n, digest, body),
        });
        Self::of(body, |_| true)
    }

    fn of(body: Vec<u8>, is_right: IsRight) -> Self {
        let (store, mut accounting) = (Store::with_hasher(&hasher()), Accounting::new(NOW));
        accounting.totals.usage = HashMap::with_hasher(hasher());
        let pinned = store.pin();
        for (n, digest) in support::digests(0..LIVING).into_iter().enumerate() {
            let payload = support::payload(n);
            let record = Issue(digest).record(&payload);
            let applied = apply(&pinned, &mut accounting, &record, position(0));
            assert!(matches!(applied, Applied::Issued { .. }), "tokens differ");
        }
        drop(pinned);
        let encoded = Vec::with_capacity(body.len());
        Self { store, accounting, body, is_right, right: 0, encoded }
    }

    /// Decodes and applies all.
    pub fn apply(&mut self) {
        let pinned = self.store.pin();
        let mut at = 0;
        while at < self.body.len() {
            let (record, next) = Record::decode(&self.body, at).expect("just encoded");
            let applied = apply(&pinned, &mut self.accounting, &record, position(1));
            self.right += usize::from((self.is_right)(&applied));
            at = next;
        }
    }

    /// Decodes all.
    pub fn decode(&mut self) {
        let mut at = 0;
        while at < self.body.len() {
            let (record, next) = Record::decode(&self.body, at).expect("just encoded");
            self.right += usize::from(std::hint::black_box(record).digest().is_some());
            at = next;
        }
    }

    /// Encodes all, from what they decode to.
    pub fn encode(&mut self) {
        let mut at = 0;
        while at < self.body.len() {
            let (record, next) = Record::decode(&self.body, at).expect("just encoded");
            record.encode(&mut self.encoded);
            self.right += 1;
            at = next;
        }
    }
}

impl Fixture for Records {
    fn check(&mut self) {
        assert_eq!(self.right, TIMES);
        assert!(self.encoded.is_empty() || self.encoded == self.body, "encoded as before");
    }
}

/// An issue whose payload is still to be made.
struct Issue(Digest);

impl Issue {
    fn record<'a>(&self, payload: &'a [u8; PAYLOAD_LEN]) -> Record<'a> {
        Record::Issue {
            digest: self.0,
            deadline: DEADLINE,
            uses: 1,
            peek: true,
            derived: false,
            replaces: false,
            payload,
        }
    }

    fn with(&self, n: usize, body: &mut Vec<u8>) {
        self.record(&support::payload(n)).encode(body);
    }
}

fn extend(digest: Digest) -> Record<'static> {
    Record::Extend { digest, deadline: LATER, life_ms_max: LIFE_MS_MAX }
}

fn carry(n: usize, digest: Digest, body: &mut Vec<u8>) {
    let parts = Parts {
        payload: &support::payload(n),
        deadline: DEADLINE,
        issued_at: NOW,
        uses_left: 1,
        uses_total: 1,
        peek: true,
        derived: false,
        keys: &[],
    };
    Record::encode_carry(digest, &parts, body);
}

/// A record for each of the tokens from number `first` on.
fn body(first: usize, record: impl Fn(usize, Digest, &mut Vec<u8>)) -> Vec<u8> {
    let mut body = Vec::new();
    for (n, digest) in (first..).zip(support::digests(first..first + TIMES)) {
        record(n, digest, &mut body);
    }
    body
}

fn position(segment: u16) -> Position {
    Position { time: NOW, segment: JournalPart(segment) }
}
