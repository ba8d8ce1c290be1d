//! What a node admits to its batches, and how long it keeps who waits.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::engine::mailbox::Pending;
use crate::engine::{Caller, NotReady, Outcome, Rejected};
use crate::model::record::replication::Decision;

/// What the node has proposed.
type Proposed = Arc<Mutex<Vec<(MessageHead, Vec<u8>)>>>;

struct Recorder(Proposed, Arc<AtomicBool>);

impl Proposer for Recorder {
    fn propose(&mut self, proposal: &Proposal<'_>) {
        let head = MessageHead {
            format: proposal.format,
            kind: proposal.kind,
            cluster: proposal.cluster,
            era: proposal.era,
            sender: proposal.sender,
            batch: proposal.batch,
            attempt: proposal.attempt,
            proposed_at: proposal.proposed_at,
        };
        self.0.lock().unwrap().push((head, proposal.body.to_vec()));
    }

    fn is_refused(&mut self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

/// A node that serves, and a stream that stores what it proposes when the test says so.
pub(super) struct Served {
    pub(super) node: SteppedNode,
    pub(super) proposed: Proposed,
    /// Whether the stream refuses what is proposed.
    refuses: Arc<AtomicBool>,
    clock: Arc<ManualClock>,
    pub(super) disk: Memory,
    pub(super) seq: u64,
}

impl Served {
    pub(super) fn start() -> Self {
        let proposed = Proposed::default();
        let clock = Arc::new(ManualClock::at(START));
        let refuses = Arc::<AtomicBool>::default();
        let recorder = Box::new(Recorder(proposed.clone(), refuses.clone()));
        let disk = Memory::new();
        let mut node = open_at(&disk, recorder, clock.clone()).unwrap();
        land(&mut node, message(1, MessageKind::Genesis, 0, START, Vec::new()));
        node.follower().caught_up();
        node.turn(false);
        let mut served = Self { node, proposed, refuses, clock, disk, seq: 1 };
        served.land_next();
        assert_eq!(served.node.follower().state().standing, Standing::Serving);
        // Its first report.
        served.land_next();
        served
    }

    /// The message in flight lands.
    pub(super) fn land_next(&mut self) {
        self.land_next_at(START);
    }

    /// The same, by this clock of the stream.
    pub(super) fn land_next_at(&mut self, stream_time: UnixMillis) {
        let proposed = std::mem::take(&mut *self.proposed.lock().unwrap());
        let [(head, body)] = &proposed[..] else { panic!("{} messages in flight", proposed.len()) };
        self.seq += 1;
        let hash = hash_of(&self.seq.to_le_bytes());
        let content = Some((*head, body.clone()));
        land(&mut self.node, Landed { seq: self.seq, stream_time, hash, content });
    }
}

/// Revocations of unknown tokens in the namespace of this number.
pub(super) fn guesses(namespace: u8, count: usize) -> Vec<Op> {
    let mut bytes = [7; 16];
    bytes[12..].fill(namespace);
    vec![Op::Revoke { digest: Digest::from_bytes(bytes) }; count]
}

pub(super) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn p8_who_guesses_delays_another_namespace_by_one_batch() {
    let mut served = Served::start();
    let guessed: Vec<Pending> =
        (0..100).map(|_| served.node.engine().submit(guesses(1, 1_000)).unwrap()).collect();
    let mut honest = pin!(served.node.engine().submit(guesses(2, 1)).unwrap());
    served.node.turn(false);
    // What is in flight was proposed before the other came.
    served.land_next();
    assert!(poll(honest.as_mut()).is_pending());
    served.land_next();
    assert_eq!(poll(honest.as_mut()), Poll::Ready(Ok(vec![Outcome::NotFound])));
    while !served.proposed.lock().unwrap().is_empty() {
        served.land_next();
    }
    for one in guessed {
        assert_eq!(one.wait().map(|outcomes| outcomes.len()), Ok(1_000));
    }
}

/// A leader that is cut off from the other servers stores each attempt, in vain.
#[test]
fn p8_a_stream_where_nothing_lands_is_asked_less_often() {
    let mut served = Served::start();
    let _waits = served.node.engine().submit(guesses(1, 1)).unwrap();
    served.node.turn(false);
    for _ in 0..100 {
        served.clock.advance(100);
        served.node.turn(true);
    }
    let mut tries = std::mem::take(&mut *served.proposed.lock().unwrap());
    // At 0, 0.1, 0.4 and 0.9 s, and then each second.
    assert!((10..=13).contains(&tries.len()), "{} attempts in 10 s", tries.len());
    let is_repeat = |(head, body): &(MessageHead, Vec<u8>)| {
        (head.batch, body) == (tries[0].0.batch, &tries[0].1)
    };
    assert!(tries.iter().all(is_repeat));
    // The stream is back: the next one does not wait so long.
    let last = tries.pop().unwrap();
    served.proposed.lock().unwrap().push(last);
    served.land_next();
    let _waits = served.node.engine().submit(guesses(1, 1)).unwrap();
    served.node.turn(false);
    served.clock.advance(300);
    served.node.turn(true);
    assert_eq!(served.proposed.lock().unwrap().len(), 2, "again after 0.05 s");
}

/// As while the stream gets another leader. What was refused is not stored, and costs nothing.
#[test]
fn p8_a_refused_message_is_proposed_again_soon_and_then_less_often() {
    let mut served = Served::start();
    served.refuses.store(true, Ordering::Relaxed);
    let waits = served.node.engine().submit(guesses(1, 1)).unwrap();
    served.node.turn(false);
    let mut tried_ms = Vec::new();
    for after_ms in (10..=900).step_by(10) {
        served.clock.advance(10);
        served.node.turn(true);
        if served.proposed.lock().unwrap().len() > tried_ms.len() + 1 {
            tried_ms.push(after_ms);
        }
    }
    assert_eq!(tried_ms, [20, 60, 140, 300, 550, 800]);
    served.refuses.store(false, Ordering::Relaxed);
    let last = served.proposed.lock().unwrap().pop().unwrap();
    *served.proposed.lock().unwrap() = vec![last];
    served.land_next();
    assert_eq!(waits.wait(), Ok(vec![Outcome::NotFound]));
}

/// Its own message may be stored in the stream long since: it cannot know while it lands nothing.
#[test]
fn p6_p8_a_node_with_a_full_disk_says_so_and_stores_no_copies_in_the_stream() {
    let mut served = Served::start();
    let _waits = served.node.engine().submit(guesses(1, 1)).unwrap();
    served.node.turn(false);
    served.disk.set_space_left(Some(0));
    let unwritable = |served: &Served| served.node.follower().state().unwritable;
    let mut held = None;
    for batch in 1..60 {
        let next =
            message(served.seq + 1, MessageKind::Batch, batch, START, issue(1, 9_000, 1_500));
        land(&mut served.node, next.clone());
        if unwritable(&served).is_some() {
            held = Some(next.seq);
            break;
        }
        served.seq = next.seq;
    }
    assert_eq!(unwritable(&served), Some(NotReady::DiskFull));
    let before = served.proposed.lock().unwrap().len();
    for _ in 0..100 {
        served.clock.advance(100);
        served.node.turn(true);
    }
    assert_eq!(served.proposed.lock().unwrap().len(), before, "nothing is proposed again");
    served.disk.set_space_left(None);
    served.clock.advance(200);
    served.node.turn(true);
    let state = served.node.follower().state();
    assert_eq!((state.unwritable, Some(state.position.seq)), (None, held));
    assert_eq!(served.proposed.lock().unwrap().len(), before + 1, "again, now that it lands");
}

#[test]
fn p8_a_namespace_that_fills_the_backlog_is_rejected_and_others_are_not() {
    let mut served = Served::start();
    let mut guessed = Vec::new();
    // Turn by turn, as the queue of jobs is bounded too.
    for _ in 0..60 {
        guessed.push(served.node.engine().submit(guesses(1, 10_000)).unwrap());
        served.node.turn(false);
    }
    let mut rejected = 0;
    for one in guessed {
        let mut one = pin!(one);
        match poll(one.as_mut()) {
            Poll::Ready(Err(Rejected::QueueFull)) => rejected += 1,
            Poll::Pending => {}
            other @ Poll::Ready(_) => panic!("{other:?}"),
        }
    }
    assert!((25..60).contains(&rejected), "{rejected}");
    let mut honest = pin!(served.node.engine().submit(guesses(2, 10_000)).unwrap());
    served.node.turn(false);
    assert!(poll(honest.as_mut()).is_pending(), "it waits");
}

/// The stream is full, a setting is wrong, or nodes differ: just then people decide.
#[test]
fn a_decision_lands_also_while_the_node_takes_no_changes() {
    for accepts in
        [Accepts::Waits, Accepts::WaitsWhileFull, Accepts::NothingWhileFull, Accepts::Nothing]
    {
        let mut served = Served::start();
        served.seq += 1;
        land(&mut served.node, message(served.seq, MessageKind::Hello, 0, START, Vec::new()));
        served.node.follower().accept(accepts);
        let forget = served.node.follower().decide(Decision::Retire(OTHER.node)).unwrap();
        let agree = served.node.follower().decide(Decision::Agree(1)).unwrap();
        served.node.turn(false);
        served.land_next();
        assert_eq!((forget.wait(), agree.wait()), (Ok(Vec::new()), Ok(Vec::new())));
        let state = served.node.follower().state();
        let nodes: Vec<NodeId> = state.members.iter().map(|row| row.node).collect();
        assert_eq!((state.agreed, nodes), (1, vec![NodeId(1)]), "{accepts:?}");
    }
}

#[test]
fn changes_that_were_gathered_when_the_stream_became_full_get_that_as_their_reason() {
    let mut served = Served::start();
    let sent = served.node.engine().submit(guesses(1, 1)).unwrap();
    served.node.turn(false);
    let gathered = served.node.engine().submit(guesses(1, 1)).unwrap();
    served.node.turn(false);
    served.node.follower().accept(Accepts::WaitsWhileFull);
    served.node.turn(false);
    assert_eq!(gathered.wait(), Err(Rejected::StreamFull));
    served.land_next();
    assert_eq!(sent.wait(), Ok(vec![Outcome::NotFound]), "what was proposed still lands");
}

/// A connection that is closed, or a stream that is reset.
#[test]
fn p8_a_caller_that_goes_away_leaves_no_wait_behind() {
    let mut served = Served::start();
    let (caller, follower): (Caller, Follower) =
        (served.node.engine().caller(), served.node.follower().clone());
    let far = Until::Position(Position { era: Era(1), seq: u64::MAX }, Duration::from_secs(3_600));
    for round in 0..2 * waits::WAITS_MAX {
        let mut wait = pin!(caller.wait(&follower, far));
        assert!(poll(wait.as_mut()).is_pending(), "round {round}");
        if round % 1_000 == 0 {
            served.node.turn(false);
        }
    }
}

/// Also in time: neither waits for the stream.
#[test]
fn p10_while_the_clock_is_wrong_known_and_unknown_tokens_are_refused_at_once() {
    let mut served = Served::start();
    let known = Digest::from_bytes([1; 16]);
    let issue = Op::Issue {
        digest: known,
        payload: b"1".to_vec(),
        ttl: Duration::from_secs(3_600),
        uses: 1,
        peek: true,
        derived: false,
    };
    let issued = served.node.engine().submit(vec![issue]).unwrap();
    served.node.turn(false);
    served.land_next_at(UnixMillis(START.0 + 20_000));
    assert!(matches!(issued.wait().unwrap()[..], [Outcome::Issued { .. }]));
    assert!(!served.node.follower().state().is_clock_right);
    for digest in [known, Digest::from_bytes([2; 16])] {
        for op in [
            Op::Revoke { digest },
            Op::Extend { digest, ttl: Duration::from_secs(60) },
            Op::Consume { digest, key: None },
        ] {
            let shown = format!("{op:?}");
            let mut asked = pin!(served.node.engine().submit(vec![op]).unwrap());
            served.node.turn(false);
            let refused = Poll::Ready(Ok(vec![Outcome::ClockWrong]));
            assert_eq!(poll(asked.as_mut()), refused, "{shown}");
        }
    }
}

/// Also the times that metrics show.
#[test]
fn a_clock_three_seconds_off_is_known_and_refuses_nothing() {
    let mut served = Served::start();
    let state = |served: &Served| served.node.follower().state();
    assert_eq!(state(&served).clock_difference_ms, Some(0));
    let before = served.node.follower().times().proposals.summary().count;
    let barrier = served.node.follower().barrier().unwrap();
    served.node.turn(false);
    served.clock.advance(200);
    served.land_next_at(UnixMillis(START.0 + 3_200));
    assert_eq!(barrier.wait(), Ok(Vec::new()));
    assert_eq!(state(&served).clock_difference_ms, Some(-3_000), "it is behind");
    assert!(state(&served).is_clock_right);
    let times = served.node.follower().times();
    assert_eq!(times.proposals.summary().count, before + 1);
    for summary in [times.proposals.summary(), times.barriers.summary()] {
        assert!((190_000..=210_000).contains(&summary.max_us), "{summary:?}");
    }
    assert_eq!(times.barriers.summary().count, 1);
}

#[test]
fn p8_a_node_reports_no_later_position_as_durable_than_one_that_is_held() {
    let mut served = Served::start();
    // The report after the one that is in flight.
    let reported = |served: &mut Served| {
        if !served.proposed.lock().unwrap().is_empty() {
            served.land_next();
        }
        for _ in 0..30 {
            served.clock.advance(100);
            served.node.turn(true);
        }
        let body = served.proposed.lock().unwrap()[0].1.clone();
        served.proposed.lock().unwrap().truncate(1);
        served.land_next();
        match Record::decode(&body, 0) {
            Ok((Record::Report(report), _)) => report.fields().durable,
            Ok(_) | Err(_) => panic!("it does not begin with a report"),
        }
    };
    let durable = reported(&mut served);
    let held = Position { era: Era(1), seq: durable };
    served.node.follower().hold(Some(held));
    assert_eq!(reported(&mut served), durable);
    served.node.follower().hold(Some(Position { era: Era(2), seq: 0 }));
    assert!(reported(&mut served) > durable, "that is another stream");
    served.node.follower().hold(Some(held));
    assert_eq!(reported(&mut served), durable);
    served.node.follower().hold(None);
    assert!(reported(&mut served) > durable);
}
