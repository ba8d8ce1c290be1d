//! The fence against a model that remembers everything.

use proptest::prelude::*;

use super::*;
use crate::engine::replicated::Sender;
use crate::model::cluster::{BootNonce, ClusterId, Epoch, Era, NodeId};
use crate::testkit::clock::ManualClock;

const STALE_MS: u64 = 30_000;
const START: UnixMillis = UnixMillis(1_769_860_800_000);

struct Nowhere;

impl Proposer for Nowhere {
    fn propose(&mut self, _: &Proposal<'_>) {}
}

struct Lab {
    clock: Arc<ManualClock>,
    fence: Fence,
    proposer: Box<dyn Proposer>,
}

impl Lab {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let fence = Fence::new(Arc::clone(&clock) as Arc<dyn Clock>, STALENESS);
        let proposer = fence.watch(Box::new(Nowhere));
        Self { clock, fence, proposer }
    }

    fn propose(&mut self, batch: u64, attempt: u32) {
        let head = head(batch, attempt);
        let MessageHead { kind, cluster, era, sender, .. } = head;
        self.proposer.propose(&Proposal {
            format: 1,
            kind,
            cluster,
            era,
            sender,
            batch,
            attempt,
            proposed_at: self.clock.wall(),
            body: &[],
        });
    }

    fn land(&mut self, batch: u64, attempt: u32) {
        self.proposer.landed(&head(batch, attempt));
    }
}

fn head(batch: u64, attempt: u32) -> MessageHead {
    MessageHead {
        format: 1,
        kind: if batch == 0 { MessageKind::Hello } else { MessageKind::Batch },
        cluster: ClusterId::default(),
        era: Era(1),
        sender: Sender { node: NodeId(1), epoch: Epoch(1), nonce: BootNonce::default() },
        batch,
        attempt,
        proposed_at: START,
    }
}

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    /// The machine is paused as a whole, and its wall clock is set right afterwards.
    Paused(u64),
    /// The machine sleeps, which the forward clock counts.
    Sleep(u64),
    Propose,
    ProposeAgain,
    /// What is in flight lands, by the attempt at this place.
    Land(prop::sample::Index),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0_u64..40_000).prop_map(Event::Pass),
        1 => (900_u64..1_100).prop_map(Event::Paused),
        1 => (0_u64..60_000).prop_map(Event::Paused),
        1 => (0_u64..60_000).prop_map(Event::Sleep),
        3 => Just(Event::Propose),
        2 => Just(Event::ProposeAgain),
        4 => any::<prop::sample::Index>().prop_map(Event::Land),
    ];
    prop::collection::vec(event, 0..40)
}

proptest! {
    #[test]
    fn p3_a_node_is_as_fresh_as_the_proposal_of_its_last_landed_message(events in events()) {
        let mut lab = Lab::new();
        // The attempts of the message in flight, and the newest proof, as (forward, wall).
        let (mut batch, mut in_flight, mut proof) = (0, Vec::<(u64, u64)>::new(), None);
        for event in events {
            let now = |lab: &Lab| (millis(lab.clock.forward()), lab.clock.wall().0);
            match event {
                Event::Pass(millis) => lab.clock.advance(millis),
                Event::Paused(millis) => lab.clock.jump_to(UnixMillis(now(&lab).1 + millis)),
                Event::Sleep(millis) => lab.clock.sleep(millis),
                Event::Propose => {
                    (batch, in_flight) = (batch + 1, vec![now(&lab)]);
                    lab.propose(batch, 0);
                }
                Event::ProposeAgain if !in_flight.is_empty() => {
                    lab.propose(batch, in_flight.len() as u32);
                    in_flight.push(now(&lab));
                }
                Event::Land(attempt) if !in_flight.is_empty() => {
                    let attempt = attempt.index(in_flight.len());
                    lab.land(batch, attempt as u32);
                    proof = Some(in_flight[attempt]);
                    in_flight.clear();
                }
                Event::ProposeAgain | Event::Land(_) => {}
            }
            let (forward, wall) = now(&lab);
            let expected = proof.is_some_and(|(proven, wall_then)| {
                let (since, wall_since) = (forward - proven, wall - wall_then);
                since <= STALE_MS && since.abs_diff(wall_since) <= 1_000
            });
            prop_assert_eq!(lab.fence.is_open(), expected);
            let age = proof.map(|(proven, _)| Duration::from_millis(forward - proven));
            prop_assert_eq!(lab.fence.age(), age);
        }
    }
}

#[test]
fn the_fence_is_closed_until_an_own_message_has_landed() {
    let mut lab = Lab::new();
    assert!(!lab.fence.is_open());
    lab.propose(0, 0);
    assert!(!lab.fence.is_open(), "proposed is not landed");
    lab.land(0, 0);
    assert!(lab.fence.is_open());
    lab.clock.advance(STALE_MS);
    assert!(lab.fence.is_open(), "at most so old");
    lab.clock.advance(1);
    assert!(!lab.fence.is_open());
    assert_eq!(lab.fence.age(), Some(Duration::from_millis(STALE_MS + 1)));
}

/// The stream had stored the first attempt long ago; a later one of the same message says nothing
/// about what was acknowledged since.
#[test]
fn p3_a_message_that_was_proposed_again_proves_no_more_than_the_attempt_that_landed() {
    let mut lab = Lab::new();
    lab.propose(1, 0);
    lab.clock.advance(STALE_MS);
    lab.propose(1, 1);
    lab.clock.advance(1);
    lab.land(1, 0);
    assert!(!lab.fence.is_open());
    assert_eq!(lab.fence.age(), Some(Duration::from_millis(STALE_MS + 1)));
}

#[test]
fn p3_a_machine_that_was_paused_as_a_whole_answers_nothing_before_it_has_heard_again() {
    let mut lab = Lab::new();
    lab.propose(1, 0);
    lab.land(1, 0);
    lab.propose(2, 0);
    lab.clock.jump_to(UnixMillis(START.0 + 3_600_000));
    assert!(!lab.fence.is_open());
    lab.land(2, 0);
    assert!(!lab.fence.is_open(), "it was proposed before the pause");
    lab.propose(3, 0);
    lab.land(3, 0);
    assert!(lab.fence.is_open());
    lab.clock.jump_to(START);
    assert!(!lab.fence.is_open(), "set back");
}

#[test]
fn what_a_copy_of_this_process_proposed_proves_nothing_and_a_node_that_left_stays_closed() {
    let mut lab = Lab::new();
    lab.propose(1, 0);
    lab.land(1, 1);
    lab.land(2, 0);
    assert!(!lab.fence.is_open());
    for attempt in 0..2 * ATTEMPTS_MAX as u32 {
        lab.propose(3, attempt);
        lab.clock.advance(1);
    }
    lab.land(3, 2 * ATTEMPTS_MAX as u32 - 1);
    assert_eq!(lab.fence.age(), Some(Duration::from_millis(ATTEMPTS_MAX as u64 + 1)));
    lab.fence.close();
    lab.propose(4, 0);
    lab.land(4, 0);
    assert!(!lab.fence.is_open());
}
