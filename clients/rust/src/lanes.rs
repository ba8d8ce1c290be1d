//! Coalescing: which resolves go together. Decides only; `batch` sends.
//!
//! A resolve goes at once while fewer than [`BATCHES_OUT_MAX`] batches of its lane are out. Later ones
//! gather and go when a batch comes back. Nothing waits for a timer, nothing is cached, and nobody
//! joins a batch that was sent.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::alone::Alone;
use crate::core::lock;
use crate::error::Error;
use crate::types::{Payload, Read};

const BATCH_LEN_MAX: usize = 100;
const BATCHES_OUT_MAX: usize = 4;

/// Lanes that are kept although nobody uses them: most clients have one. Each position that is read at
/// makes another one.
const IDLE_MAX: usize = 4;

/// What came of one target.
pub(crate) type Outcome = Result<Option<Payload>, Error>;

/// Resolves that may share a request: they have the same key and read level, and are all references
/// or none of them is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LaneKey {
    pub(crate) key_version: u64,
    pub(crate) read: Read,
    pub(crate) are_references: bool,
}

/// The lanes of a client.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<LaneKey, Lane>>);

/// Resolves of one kind.
#[derive(Default)]
pub(crate) struct Lane {
    /// Batches that were sent and are not back.
    out: usize,
    /// Those of them that their callers drive.
    alone: Vec<Weak<Alone>>,
    /// The oldest is the first; only the last one has room.
    gathering: VecDeque<Batch>,
    /// Number of the first one that gathers.
    first: usize,
    /// Of each item that gathers, the number of its batch, and its place there.
    place_of: HashMap<Arc<str>, (usize, usize)>,
}

/// Distinct items, and who waits for each.
pub(crate) struct Batch {
    pub(crate) places: Vec<Place>,
    /// When its last caller stops waiting.
    pub(crate) ends_at: Instant,
    pub(crate) interest: Arc<Interest>,
}

/// An item of a list, and who waits for it.
pub(crate) struct Place {
    item: Arc<str>,
    waiters: Vec<oneshot::Sender<Outcome>>,
}

impl AsRef<str> for Place {
    fn as_ref(&self) -> &str {
        &self.item
    }
}

impl Place {
    pub(crate) fn is_abandoned(&self) -> bool {
        self.waiters.iter().all(oneshot::Sender::is_closed)
    }

    pub(crate) fn settle(self, outcome: Outcome) {
        let mut waiters = self.waiters.into_iter();
        let last = waiters.next_back();
        for waiter in waiters {
            // An error: it is gone.
            let _ = waiter.send(outcome.clone());
        }
        let _ = last.map(|last| last.send(outcome));
    }
}

/// How many still wait for a batch.
#[derive(Default)]
pub(crate) struct Interest {
    left: AtomicUsize,
    is_gone: Notify,
}

impl Interest {
    fn is_lost(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// Waits until nobody waits for the batch, which nobody joins any more.
    pub(crate) async fn lost(&self) {
        while !self.is_lost() {
            self.is_gone.notified().await;
        }
    }
}

/// A caller that waits for one item. Dropping it leaves the batch.
pub(crate) struct Waiting {
    pub(crate) outcome: oneshot::Receiver<Outcome>,
    interest: Arc<Interest>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // The channel is closed first: a thread that reads the new count then finds it closed.
        self.outcome.close();
        if self.interest.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.interest.is_gone.notify_one();
        }
    }
}

impl Batch {
    fn waits(&mut self, place: usize, ends_at: Instant) -> Waiting {
        let (sender, outcome) = oneshot::channel();
        self.places[place].waiters.push(sender);
        self.ends_at = self.ends_at.max(ends_at);
        self.interest.left.fetch_add(1, Ordering::SeqCst);
        Waiting { outcome, interest: self.interest.clone() }
    }
}

impl Lane {
    /// Takes an item for a caller.
    pub(crate) fn join(&mut self, item: Arc<str>, ends_at: Instant) -> Waiting {
        let entry = match self.place_of.entry(item) {
            Entry::Occupied(entry) => {
                let (number, place) = *entry.get();
                return self.gathering[number - self.first].waits(place, ends_at);
            }
            Entry::Vacant(entry) => entry,
        };
        if self.gathering.back().is_none_or(|batch| batch.places.len() >= BATCH_LEN_MAX) {
            let (places, interest) = (Vec::new(), Arc::default());
            self.gathering.push_back(Batch { places, ends_at, interest });
        }
        let last = self.gathering.len() - 1;
        let batch = &mut self.gathering[last];
        let place = batch.places.len();
        batch.places.push(Place { item: entry.key().clone(), waiters: Vec::with_capacity(1) });
        entry.insert((self.first + last, place));
        batch.waits(place, ends_at)
    }

    /// The batches that may go now.
    fn departures(&mut self) -> Vec<Batch> {
        let mut departing = Vec::new();
        while self.out < BATCHES_OUT_MAX {
            let Some(batch) = self.gathering.pop_front() else { break };
            self.first += 1;
            for place in &batch.places {
                self.place_of.remove(&place.item);
            }
            if !batch.interest.is_lost() {
                self.out += 1;
                departing.push(batch);
            }
        }
        departing
    }
}

impl Lanes {
    /// Lets a caller join a lane. Returns what `join` returned, and the batches to be sent now. These have
    /// items of this caller alone: a batch gathers items of others only while four are under way. If
    /// items gather, the requests under way are no longer driven by their callers.
    pub(crate) fn join<W>(
        &self,
        key: &LaneKey,
        join: impl FnOnce(&mut Lane) -> W,
    ) -> (W, Vec<Batch>) {
        let (joined, departing, alone) = self.with(key, |lane| {
            let (joined, departing) = (join(lane), lane.departures());
            let gathers = !lane.gathering.is_empty();
            (joined, departing, if gathers { std::mem::take(&mut lane.alone) } else { Vec::new() })
        });
        alone.iter().filter_map(Weak::upgrade).for_each(|alone| alone.hand_over());
        (joined, departing)
    }

    /// Makes a request that its caller drives, if it may go at once.
    pub(crate) fn go_alone(
        &self,
        key: &LaneKey,
        make: impl FnOnce() -> Arc<Alone>,
    ) -> Option<Arc<Alone>> {
        self.with(key, |lane| {
            if lane.out == BATCHES_OUT_MAX {
                return None;
            }
            let made = make();
            lane.out += 1;
            lane.alone.retain(|alone| alone.strong_count() > 0);
            lane.alone.push(Arc::downgrade(&made));
            Some(made)
        })
    }

    fn with<W>(&self, key: &LaneKey, work: impl FnOnce(&mut Lane) -> W) -> W {
        let mut lanes = lock(&self.0);
        let lane = match lanes.get_mut(key) {
            Some(lane) => lane,
            None => lanes.entry(key.clone()).or_default(),
        };
        work(lane)
    }

    /// A batch that went has ended. Returns the batches that go now.
    pub(crate) fn returned(&self, key: &LaneKey) -> Vec<Batch> {
        let mut lanes = lock(&self.0);
        // None: the client was closed.
        let Some(lane) = lanes.get_mut(key) else { return Vec::new() };
        lane.out = lane.out.saturating_sub(1);
        let departing = lane.departures();
        let is_idle = lane.out == 0 && lane.gathering.is_empty();
        if is_idle && lanes.len() > IDLE_MAX {
            lanes.remove(key);
        }
        departing
    }

    /// Forgets all that gather: none of them will go.
    pub(crate) fn clear(&self) {
        let lanes = std::mem::take(&mut *lock(&self.0));
        drop(lanes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Client {
        lanes: Lanes,
        key: LaneKey,
        waiting: Vec<Waiting>,
    }

    impl Client {
        fn new() -> Self {
            let key = LaneKey { key_version: 0, read: Read::Local, are_references: false };
            Self { lanes: Lanes::default(), key, waiting: Vec::new() }
        }

        fn join(&mut self, item: &str) -> Vec<Batch> {
            let join = |lane: &mut Lane| lane.join(Arc::from(item), crate::core::now());
            let (waiting, departing) = self.lanes.join(&self.key, join);
            self.waiting.push(waiting);
            departing
        }
    }

    #[tokio::test]
    async fn four_go_at_once_and_later_ones_gather() {
        let mut client = Client::new();
        let out: Vec<_> = (0..4).flat_map(|_| client.join("a")).collect();
        assert_eq!(out.len(), 4);
        for number in 0..250 {
            assert!(client.join(&format!("b{}", number % 205)).is_empty());
        }
        let lens = |batches: &[Batch]| batches.iter().map(|it| it.places.len()).collect::<Vec<_>>();
        assert_eq!(lens(&client.lanes.returned(&client.key)), [100]);
        // What has gone is asked again.
        assert!(client.join("b0").is_empty());
        assert_eq!(lens(&client.lanes.returned(&client.key)), [100]);
        assert_eq!(lens(&client.lanes.returned(&client.key)), [6]);
        (0..4).for_each(|_| assert!(client.lanes.returned(&client.key).is_empty()));
    }

    #[tokio::test]
    async fn few_lanes_are_kept_that_nobody_uses() {
        let mut client = Client::new();
        for number in 0..100 {
            client.key.read = Read::AtLeast(format!("1.{number}"));
            assert_eq!(client.join("a").len(), 1);
            assert!(client.lanes.returned(&client.key).is_empty());
        }
        assert_eq!(lock(&client.lanes.0).len(), IDLE_MAX);
    }

    #[tokio::test]
    async fn a_batch_that_nobody_waits_for_does_not_go() {
        let mut client = Client::new();
        (0..4).for_each(|_| assert_eq!(client.join("a").len(), 1));
        client.join("b");
        client.waiting.pop();
        client.join("c");
        client.waiting.pop();
        assert!(client.lanes.returned(&client.key).is_empty());
        assert_eq!(client.join("b").len(), 1, "it has no place in the batch that was dropped");
    }

    #[tokio::test]
    async fn whoever_asks_the_same_shares_a_place() {
        let mut client = Client::new();
        (0..4).for_each(|_| drop(client.join("a")));
        client.join("b");
        client.join("b");
        let [batch] = <[Batch; 1]>::try_from(client.lanes.returned(&client.key)).ok().unwrap();
        let [place] = <[Place; 1]>::try_from(batch.places).ok().unwrap();
        place.settle(Err(Error::Deadline));
        let mut both = client.waiting.split_off(4);
        assert!(
            both.iter_mut().all(|it| matches!(it.outcome.try_recv(), Ok(Err(Error::Deadline))))
        );
    }
}
