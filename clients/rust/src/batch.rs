//! Resolves that share requests: the waiting of their callers, and one call for all.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::alone::{Alone, Driven};
use crate::answers;
use crate::core::{Core, random};
use crate::error::{Error, ProblemKind};
use crate::lanes::{Batch, Lane, LaneKey, Lanes, Outcome, Place, Waiting};
use crate::ops;
use crate::types::{Payload, Read, Target};

/// What calls and batches share.
pub(crate) struct Shared {
    pub(crate) core: Core,
    lanes: Lanes,
    /// Requests that their callers may drive: one that is not polled keeps its connection, and one
    /// connection is left for everybody else.
    lone: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Self {
        let lone = core.config.connections_max.min(Semaphore::MAX_PERMITS) - 1;
        Self { core, lanes: Lanes::default(), lone: Arc::new(Semaphore::new(lone)) }
    }

    /// Ends every call.
    pub(crate) fn close(&self) {
        self.core.pool.close();
        self.lanes.clear();
    }

    fn lane(&self, read: Read, are_references: bool) -> LaneKey {
        LaneKey { key_version: self.core.key_version(), read, are_references }
    }

    /// Resolves one target together with others.
    pub(crate) async fn resolve(
        self: &Arc<Self>,
        target: &Target,
        read: Read,
        ends_at: Instant,
    ) -> Result<Option<Payload>, Error> {
        let runtime = Handle::current();
        let item: Arc<str> = target.to_json()?.into();
        let key = self.lane(read, is_reference(target));
        if let Ok(permit) = self.lone.clone().try_acquire_owned() {
            let make = || {
                // A request that is never polled gives its place back too.
                let returned = Returned::new(self, &key, &runtime);
                let item = Arc::clone(&item);
                let request = async move {
                    let (_permit, Returned { shared, key, .. }) = (permit, &returned);
                    ask_one(&shared.core, &item, &key.read, ends_at).await
                };
                Alone::new(request, &runtime)
            };
            if let Some(alone) = self.lanes.go_alone(&key, make) {
                return self.asked(Driven(alone).await, &item, &key.read, ends_at).await;
            }
        }
        let join = |lane: &mut Lane| lane.join(Arc::clone(&item), ends_at);
        let (mut waiting, departing) = self.lanes.join(&key, join);
        // In a task of its own: a caller that is not polled must not keep those who gather.
        self.start(&key, departing, &runtime);
        let outcome = outcome(&mut waiting, ends_at).await?;
        self.asked(outcome, &item, &key.read, ends_at).await
    }

    /// What came of an item. If its request has ended with the runtime of another caller, it is asked
    /// again, which a resolve may be.
    async fn asked(&self, outcome: Outcome, item: &str, read: &Read, ends_at: Instant) -> Outcome {
        match outcome {
            Err(Error::Closed) if !self.core.pool.is_closed() => {
                ask_one(&self.core, item, read, ends_at).await
            }
            outcome => outcome,
        }
    }

    /// Resolves targets together with others. `items` are those of the targets.
    pub(crate) async fn resolve_many(
        self: &Arc<Self>,
        targets: &[Target],
        items: Vec<String>,
        read: &Read,
        ends_at: Instant,
    ) -> Result<Vec<Option<Payload>>, Error> {
        let runtime = Handle::current();
        let (mut places, mut waiting) = (Vec::new(), Vec::with_capacity(items.len()));
        for are_references in [false, true] {
            let is_here = |(_, target): &(usize, &Target)| is_reference(target) == are_references;
            let here = places.len();
            places.extend(targets.iter().enumerate().filter(is_here).map(|(place, _)| place));
            if places.len() == here {
                continue;
            }
            let key = self.lane(read.clone(), are_references);
            let mine = places[here..].iter().map(|place| Arc::from(items[*place].as_str()));
            let join = |lane: &mut Lane| {
                waiting.extend(mine.map(|item| lane.join(item, ends_at)));
            };
            let ((), departing) = self.lanes.join(&key, join);
            self.start(&key, departing, &runtime);
        }
        let mut outcomes: Vec<Option<Outcome>> = items.iter().map(|_| None).collect();
        // Every item has joined by now. If the deadline ends this call, so do the items that only it
        // waits for.
        for (place, waiting) in places.into_iter().zip(&mut waiting) {
            let outcome = outcome(waiting, ends_at).await?;
            outcomes[place] = Some(self.asked(outcome, &items[place], read, ends_at).await);
        }
        outcomes.into_iter().flatten().collect()
    }

    fn start(self: &Arc<Self>, key: &LaneKey, departing: Vec<Batch>, runtime: &Handle) {
        for batch in departing {
            runtime.spawn(run(Returned::new(self, key, runtime), batch));
        }
    }
}

fn is_reference(target: &Target) -> bool {
    matches!(target, Target::Reference(_))
}

async fn outcome(waiting: &mut Waiting, ends_at: Instant) -> Result<Outcome, Error> {
    match timeout_at(ends_at, &mut waiting.outcome).await {
        Ok(outcome) => Ok(outcome.unwrap_or(Err(Error::Closed))),
        Err(_) => Err(Error::Deadline),
    }
}

/// Gives the place of a batch back, whatever has become of it.
struct Returned {
    shared: Arc<Shared>,
    key: LaneKey,
    /// A request may be dropped outside of every runtime.
    runtime: Handle,
}

impl Returned {
    fn new(shared: &Arc<Shared>, key: &LaneKey, runtime: &Handle) -> Self {
        Self { shared: shared.clone(), key: key.clone(), runtime: runtime.clone() }
    }
}

thread_local! {
    /// While batches are started on this thread: how many of them a runtime that has ended has dropped.
    static DROPPED: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Drop for Returned {
    fn drop(&mut self) {
        // One of those that are started below. All that gather may end so: not one within the other.
        if let Some(dropped) = DROPPED.get() {
            DROPPED.set(Some(dropped + 1));
            return;
        }
        let mut back = 1;
        while back > 0 {
            let departing = self.shared.lanes.returned(&self.key);
            DROPPED.set(Some(0));
            self.shared.start(&self.key, departing, &self.runtime);
            back = back - 1 + DROPPED.take().unwrap_or_default();
        }
    }
}

/// A boxed future: a batch starts the next ones.
///
/// `returned` is made before, so that a task that never ran gives its place back too.
fn run(returned: Returned, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let Batch { places, ends_at, interest } = batch;
        tokio::select! {
            () = send(&returned.shared.core, places, &returned.key.read, ends_at) => {}
            () = interest.lost() => {}
        }
    })
}

/// Sends the batch, and its halves if one of its items may be to blame for an error.
async fn send(core: &Core, places: Vec<Place>, read: &Read, ends_at: Instant) {
    let mut parts = vec![places];
    while let Some(mut part) = parts.pop() {
        part.retain(|place| !place.is_abandoned());
        if part.is_empty() {
            continue;
        }
        match ask(core, &part, read, ends_at).await {
            Ok(payloads) => {
                for (place, payload) in part.into_iter().zip(payloads) {
                    place.settle(Ok(payload));
                }
            }
            Err(error) if is_halved(&error) && part.len() > 1 => {
                let second = part.split_off(part.len().div_ceil(2));
                parts.extend([second, part]);
            }
            Err(error) => part.into_iter().for_each(|place| place.settle(Err(error.clone()))),
        }
    }
}

async fn ask_one(core: &Core, item: &str, read: &Read, ends_at: Instant) -> Outcome {
    Ok(ask(core, &[item], read, ends_at).await?.into_iter().next().flatten())
}

async fn ask(
    core: &Core,
    part: &[impl AsRef<str>],
    read: &Read,
    ends_at: Instant,
) -> Result<Vec<Option<Payload>>, Error> {
    let mut operation = ops::resolve(part, read)?;
    operation.headers.push(("traceparent", traceparent()));
    let read = |body: &_| answers::payloads(body, part.len());
    Ok(core.perform(&operation, ends_at, read).await?.value)
}

/// Whether one item may be to blame for the error of all.
fn is_halved(error: &Error) -> bool {
    use ProblemKind::{BadRequest, ContentTooLarge, OutOfLimits};
    match error {
        Error::AnswerTooLarge => true,
        Error::Problem(problem) => {
            matches!(problem.kind, BadRequest | ContentTooLarge | OutOfLimits)
        }
        _ => false,
    }
}

/// A trace context of its own (W3C Trace Context): a batch belongs to many callers.
fn traceparent() -> String {
    // Zeros alone are not valid.
    let [high, low, span] = [random(), random() | 1, random() | 1];
    format!("00-{high:016x}{low:016x}-{span:016x}-01")
}
