//! Operations that wait for room in a batch.
//!
//! Batches are filled round robin by namespace, and within a namespace round robin by call, one
//! operation at a time. Operations that are performed together are taken as one. So a namespace
//! with many waiting operations delays the others by one batch at most, and a long list delays no
//! short call.
//!
//! Calls leave the queue of jobs at once, since one caller could fill it and hold up all others. The
//! number of operations that wait here is therefore bounded: a namespace may hold at most as many
//! as are free for the others, and an eighth of the free places is for short calls alone.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;

use crate::engine::frame::{BESIDE_IN_MESSAGE, is_exact, record_len};
use crate::engine::op::Op;
use crate::model::namespace::NamespaceTag;

use super::calls::Place;

/// Maximum operations that wait, of all namespaces together; each takes about 150 bytes besides its
/// payload.
const OPS_MAX: usize = 1 << 19;
/// Maximum operations of a short call.
const SHORT_LEN: usize = 8;

/// What goes into a batch as a whole.
pub(super) enum Item {
    /// One operation.
    One(Place, Op),
    /// Operations that are performed together, at least one.
    Together(Vec<(Place, Op)>),
}

impl Item {
    /// The call that has asked for it.
    fn call(&self) -> Option<u64> {
        match self {
            Self::One(place, _) => Some(place.call),
            Self::Together(ops) => ops.first().map(|(place, _)| place.call),
        }
    }

    /// The namespace of all its operations.
    fn tag(&self) -> NamespaceTag {
        match self {
            Self::One(_, op) => op.digest().tag(),
            Self::Together(ops) => ops.first().map_or(NamespaceTag(0), |(_, op)| op.digest().tag()),
        }
    }

    /// Number of operations.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Together(ops) => ops.len(),
        }
    }

    /// Whether it is decided by the exact state, as far as it has records.
    pub(super) fn is_exact(&self) -> bool {
        match self {
            Self::One(_, op) => is_exact(op),
            Self::Together(_) => true,
        }
    }

    /// Bytes of its records, at most.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_, op) => record_len(op),
            Self::Together(ops) => {
                ops.iter().map(|(_, op)| record_len(op) + BESIDE_IN_MESSAGE).sum()
            }
        }
    }

    /// The places of its operations.
    pub(super) fn places(&self) -> Vec<Place> {
        match self {
            Self::One(place, _) => vec![*place],
            Self::Together(ops) => ops.iter().map(|(place, _)| *place).collect(),
        }
    }
}

/// Operations that wait for room in a batch, by namespace.
#[derive(Default)]
pub(super) struct Backlog {
    /// The namespaces with waiting operations, each once, in the order of their turns.
    turns: VecDeque<NamespaceTag>,
    queues: HashMap<NamespaceTag, Queue, RandomState>,
    len: usize,
}

/// The waiting operations of a namespace.
#[derive(Default)]
struct Queue {
    /// By call, in the order of their turns; none is empty.
    calls: VecDeque<VecDeque<Item>>,
    len: usize,
}

impl Backlog {
    /// Whether a call with these operations may wait. One call of each namespace always may.
    pub(super) fn has_room(&self, ops: &[Op]) -> bool {
        let Some(first) = ops.first() else { return true };
        let held = self.queues.get(&first.digest().tag()).map_or(0, |queue| queue.len);
        let free = OPS_MAX.saturating_sub(self.len);
        let room = if ops.len() <= SHORT_LEN { free } else { free - free / 8 };
        held == 0 || held + ops.len() <= room
    }

    pub(super) fn push(&mut self, item: Item) {
        let (tag, count) = (item.tag(), item.count());
        let queue = self.queues.entry(tag).or_default();
        if queue.len == 0 {
            self.turns.push_back(tag);
        }
        queue.push(item);
        self.len += count;
    }

    /// What has its turn.
    pub(super) fn first(&self) -> Option<&Item> {
        let queue = self.queues.get(self.turns.front()?)?;
        queue.calls.front()?.front()
    }

    /// Takes what has its turn; then it is the next namespace's turn.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let tag = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&tag)?;
        let taken = queue.pop()?;
        self.len -= taken.count();
        match queue.len == 0 {
            // Namespaces come and go with the keys file.
            true => drop(self.queues.remove(&tag)),
            false => self.turns.push_back(tag),
        }
        Some(taken)
    }

    /// Takes all operations.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Item> + use<> {
        let queues = std::mem::take(self).queues.into_values();
        queues.flat_map(|queue| queue.calls).flatten()
    }
}

impl Queue {
    fn push(&mut self, item: Item) {
        let is_same =
            |call: &&mut VecDeque<Item>| call.back().is_some_and(|last| last.call() == item.call());
        self.len += item.count();
        match self.calls.back_mut().filter(is_same) {
            Some(call) => call.push_back(item),
            None => self.calls.push_back(VecDeque::from([item])),
        }
    }

    /// Takes what has its turn; then it is the next call's turn.
    fn pop(&mut self) -> Option<Item> {
        let mut call = self.calls.pop_front()?;
        let taken = call.pop_front()?;
        self.len -= taken.count();
        if !call.is_empty() {
            self.calls.push_back(call);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clustered::calls::Calls;
    use crate::engine::mailbox::Pending;
    use crate::model::token::Digest;

    /// Revocations in the namespaces of these numbers, in this order.
    fn revokes(namespaces: &[u8]) -> Vec<Op> {
        let digest = |namespace: &u8| {
            let mut bytes = [0; 16];
            bytes[12..].fill(*namespace);
            bytes[..4].fill(*namespace);
            Digest::from_bytes(bytes)
        };
        namespaces.iter().map(|namespace| Op::Revoke { digest: digest(namespace) }).collect()
    }

    fn fill(backlog: &mut Backlog, calls: &mut Calls, ops: Vec<Op>) {
        let (_pending, reply) = Pending::new();
        let places = calls.open(reply, ops.len(), Default::default());
        places.zip(ops).for_each(|(place, op)| backlog.push(Item::One(place, op)));
    }

    fn digest_of(item: &Item) -> Digest {
        match item {
            Item::One(_, op) => *op.digest(),
            Item::Together(ops) => *ops[0].1.digest(),
        }
    }

    fn taken(backlog: &mut Backlog) -> Vec<Digest> {
        std::iter::from_fn(|| backlog.pop()).map(|item| digest_of(&item)).collect()
    }

    #[test]
    fn p8_namespaces_take_turns_and_each_keeps_its_order() {
        let (mut backlog, mut calls) = (Backlog::default(), Calls::default());
        fill(&mut backlog, &mut calls, revokes(&[1, 1, 1, 1, 2, 3, 3]));
        let expected: Vec<_> =
            revokes(&[1, 2, 3, 1, 3, 1, 1]).iter().map(|op| *op.digest()).collect();
        assert_eq!(backlog.first().map(digest_of), Some(expected[0]));
        assert_eq!(taken(&mut backlog), expected);
        assert!(backlog.first().is_none() && backlog.queues.is_empty() && backlog.len == 0);
        fill(&mut backlog, &mut calls, revokes(&[1, 2]));
        assert_eq!(backlog.drain().count(), 2);
        assert!(backlog.pop().is_none());
    }

    #[test]
    fn p8_within_a_namespace_calls_take_turns() {
        let (mut backlog, mut calls) = (Backlog::default(), Calls::default());
        for len in [3, 1, 2] {
            fill(&mut backlog, &mut calls, revokes(&vec![1; len]));
        }
        let order = std::iter::from_fn(|| backlog.pop()).filter_map(|item| item.call());
        assert_eq!(order.collect::<Vec<_>>(), [1, 2, 3, 1, 3, 1]);
    }

    #[test]
    fn p4_what_is_performed_together_is_taken_as_one_and_counts_as_many() {
        let (mut backlog, mut calls) = (Backlog::default(), Calls::default());
        fill(&mut backlog, &mut calls, revokes(&[1, 1]));
        let (_pending, reply) = Pending::new();
        let ops = revokes(&[1, 1, 1]);
        let places = calls.open(reply, ops.len(), Default::default());
        backlog.push(Item::Together(places.zip(ops).collect()));
        assert_eq!(backlog.len, 5);
        let counts: Vec<usize> =
            std::iter::from_fn(|| backlog.pop()).map(|item| item.count()).collect();
        assert_eq!((counts, backlog.len), (vec![1, 3, 1], 0));
    }

    #[test]
    fn p8_one_namespace_leaves_room_for_the_calls_of_others() {
        let (mut backlog, mut opened) = (Backlog::default(), Calls::default());
        let (call, other) = (revokes(&[1; 1_000]), revokes(&[2; 1_000]));
        let mut calls = 0;
        while backlog.has_room(&call) {
            fill(&mut backlog, &mut opened, call.clone());
            calls += 1;
            assert!(calls <= OPS_MAX / 2_000, "at most as many as are free");
        }
        assert!(calls >= OPS_MAX / 2_400, "{calls}");
        let short = revokes(&[1; SHORT_LEN]);
        let mut shorts = 0;
        while backlog.has_room(&short) {
            fill(&mut backlog, &mut opened, short.clone());
            shorts += 1;
        }
        assert!(shorts * SHORT_LEN > 10_000, "{shorts} short calls beside the lists");
        assert!(backlog.len <= OPS_MAX / 2);
        let mut others = 0;
        while backlog.has_room(&other) {
            fill(&mut backlog, &mut opened, other.clone());
            others += 1;
        }
        assert!(others >= OPS_MAX / 4_800, "{others}");
        assert!(backlog.has_room(&revokes(&[3; 20_000])), "a first call always waits");
        assert!(backlog.len <= OPS_MAX);
    }
}
