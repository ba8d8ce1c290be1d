//! Streams that a node must not follow: made anew, cut short, or with another message.

use jeton::cluster::follow::Unfollowable;
use jeton::cluster::stream::{Loss, Stream};
use jeton::engine::clustered::{Proposal, Standing, Stopped};
use jeton::engine::replicated::{MessageKind, Sender};
use jeton::engine::{Config, DeadlineWhen, Outcome, Rejected, SyncMode};
use jeton::model::cluster::{BootNonce, ClusterId, Epoch, Era, NodeId};
use jeton::model::entry::Parts;
use jeton::model::record::{Record, records};
use jeton::model::time::UnixMillis;
use jeton::testkit::disk::Keep;
use jeton::testkit::stream::Faults;
use jeton::wal::{self, Preparing};

use super::lab::{Lab, START_MS};
use super::wire::sealer;
use crate::simulation::model::{Change, What, digest};

pub fn lab() -> Lab {
    let config = Config {
        recovery_threads: 1,
        sync: SyncMode::Always,
        wal: wal::Config {
            segment_size: 32 << 10,
            log_min_size: 128 << 10,
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    };
    let mut lab = Lab::new(1, vec![config; 3]);
    (0..3).for_each(|at| assert!(lab.open(at)));
    lab.run(3_000).expect("it runs");
    for id in 1..20 {
        let payload = vec![b'1'; 20].into();
        let what = What::Issue { payload, ttl_ms: 90_000, uses: 1, peek: true, derived: false };
        lab.ask(id as usize % 3, vec![Change { id, what }]).expect("it runs");
        lab.run(100).expect("it runs");
    }
    lab
}

/// The node, opened anew, lands nothing and says why.
fn refusal(lab: &mut Lab, at: usize) -> Unfollowable {
    lab.kill(at, Keep::Everything);
    assert!(lab.open(at));
    let before = lab.state(at).expect("it runs");
    // A stream that is too short is believed after a while.
    let mut turns = (0..100).map(|_| lab.turn(at, 64, false).expect("it runs"));
    let end = turns.find_map(|end| end).expect("the stream is not followed");
    let after = lab.state(at).expect("it runs");
    assert_eq!((after.position, after.chain), (before.position, before.chain));
    end
}

#[test]
fn p1_a_restarted_node_follows_no_stream_that_was_made_anew() {
    let mut lab = lab();
    let landed = lab.state(0).unwrap().position.seq;
    lab.stream.remake();
    let end = refusal(&mut lab, 0);
    assert_eq!(end, Unfollowable::Lost(Loss::Shorter { followed: landed, last: 0 }));
    // The new stream has become longer than what was landed.
    let mut client = lab.stream.client();
    for n in 0..2 * landed {
        let _ = Stream::propose(&mut client, &n.to_le_bytes());
    }
    let end = refusal(&mut lab, 1);
    let seq = lab.state(1).unwrap().position.seq;
    assert_eq!(end, Unfollowable::Lost(Loss::Other { seq }));
}

#[test]
fn p1_a_stream_that_has_lost_its_end_is_not_followed() {
    let mut lab = lab();
    lab.stream.lose_last(2);
    let end = lab.turn(0, 64, false).unwrap();
    assert!(matches!(end, Some(Unfollowable::Lost(Loss::Shorter { .. }))), "{end:?}");
    assert!(matches!(refusal(&mut lab, 1), Unfollowable::Lost(Loss::Shorter { .. })));
}

#[test]
fn p1_a_leader_that_does_not_know_the_end_for_a_while_is_no_loss() {
    let mut lab = lab();
    lab.kill(1, Keep::Everything);
    let hidden = lab.stream.hide_last(2);
    assert!(lab.open(1));
    for _ in 0..50 {
        assert_eq!(lab.turn(1, 64, false).unwrap(), None);
    }
    lab.stream.show(hidden);
    lab.run(1_000).unwrap();
    assert_eq!(lab.state(1).unwrap().standing, Standing::Serving);
}

#[test]
fn p1_a_node_that_starts_while_others_write_without_a_pause_serves() {
    let mut lab = lab();
    lab.kill(1, Keep::Everything);
    assert!(lab.open(1));
    let mut client = lab.stream.client();
    let is_serving = |lab: &Lab| lab.state(1).unwrap().standing == Standing::Serving;
    for _ in 0..500 {
        for _ in 0..2 {
            Stream::propose(&mut client, b"of somebody else").unwrap();
        }
        // It never finds that there is nothing: two messages come for each two that it lands.
        assert_eq!(lab.turn(1, 2, false).unwrap(), None);
        lab.pass(1);
        if is_serving(&lab) {
            return;
        }
    }
    panic!("it does not serve: {:?}", lab.state(1));
}

#[test]
fn a_node_that_is_behind_the_first_message_must_join_anew() {
    let mut lab = lab();
    lab.nodes[0].live = None;
    lab.run(5_000).unwrap();
    let state = lab.state(1).unwrap();
    let first = state.position.seq;
    let _ = Stream::trim(&mut lab.stream.client(), first);
    assert_eq!(refusal(&mut lab, 0), Unfollowable::Trimmed { first });
}

/// The records of all messages in the stream that concern a token.
fn records_of(lab: &Lab) -> usize {
    let mut sealer = sealer();
    let mut count = 0;
    for message in lab.stream.messages() {
        let landed =
            sealer.open(message.seq, message.stored_at, &message.bytes).expect("a known format");
        let body = landed.content.map_or(Vec::new(), |(_, body)| body);
        let is_change =
            |record: &Record<'_>| record.digest().is_some() || matches!(record, Record::Asked(_));
        count += records(&body).flatten().filter(is_change).count();
    }
    count
}

#[test]
fn p8_guesses_write_no_record_and_are_answered() {
    let mut lab = lab();
    let before = records_of(&lab);
    let engine = lab.nodes[0].live.as_ref().unwrap().stepped.engine().clone();
    let guess = |id: u64, what| Change { id, what }.op();
    let guesses = vec![
        guess(900, What::Consume { key: None }),
        guess(901, What::Consume { key: Some(1) }),
        guess(902, What::Extend { ttl_ms: 1_000 }),
        guess(903, What::Revoke),
        guess(904, What::Deadline { at: START_MS + 50_000, when: DeadlineWhen::Always }),
    ];
    let pending = engine.submit(guesses).unwrap();
    lab.run(500).unwrap();
    assert_eq!(pending.wait().unwrap(), vec![Outcome::NotFound; 5]);
    let together = vec![guess(905, What::Read), guess(906, What::Revoke), guess(905, What::Read)];
    let pending = engine.submit_together(together).unwrap();
    lab.run(500).unwrap();
    assert_eq!(pending.wait().unwrap(), vec![Outcome::NotFound; 3]);
    assert_eq!(records_of(&lab), before);
}

#[test]
fn p2_a_message_with_a_relocated_entry_counts_nowhere() {
    let mut lab = lab();
    let head = |batch, kind| Proposal {
        format: 2,
        kind,
        cluster: ClusterId([9; 16]),
        era: Era(1),
        sender: Sender { node: NodeId(77), epoch: Epoch(1), nonce: BootNonce([1; 16]) },
        batch,
        attempt: 0,
        proposed_at: lab.stream.now(),
        body: &[],
    };
    let parts = Parts {
        payload: b"1",
        deadline: UnixMillis(80_000),
        issued_at: UnixMillis(1),
        uses_left: 1,
        uses_total: 1,
        peek: true,
        derived: false,
        keys: &[],
    };
    let mut body = Vec::new();
    Record::encode_carry(digest(800), &parts, &mut body);
    let (mut sealer, mut client) = (sealer(), lab.stream.client());
    let hello = sealer.seal(&head(0, MessageKind::Hello)).unwrap();
    let carry = Proposal { body: &body, ..head(1, MessageKind::Batch) };
    let carry = sealer.seal(&carry).unwrap();
    Stream::propose(&mut client, &hello).unwrap();
    Stream::propose(&mut client, &carry).unwrap();
    lab.run(500).unwrap();
    for at in 0..3 {
        let state = lab.state(at).unwrap();
        let row = state.members.iter().find(|row| row.node == NodeId(77)).unwrap();
        assert_eq!(row.high, 0, "refused on node {at}");
        let engine = lab.nodes[at].live.as_ref().unwrap().stepped.engine();
        assert!(engine.status(&digest(800), state.log_time).is_none());
    }
}

#[test]
fn p2_two_processes_of_one_node_do_not_both_serve() {
    let mut lab = lab();
    // A copy of the directory, started while the first one runs.
    let first = lab.nodes[0].live.take().unwrap();
    assert!(lab.open(0));
    lab.run(1_000).unwrap();
    assert_eq!(lab.state(0).unwrap().standing, Standing::Serving);
    let second = lab.nodes[0].live.replace(first);
    lab.turn(0, 256, false).unwrap();
    assert_eq!(lab.state(0).unwrap().standing, Standing::Stopped(Stopped::Superseded));
    drop(second);
}

#[test]
fn without_a_majority_changes_are_refused_after_a_second_and_unknown_after_ten() {
    let mut lab = lab();
    lab.stream.elect(60_000);
    let issue = |id| {
        let payload = vec![b'1'; 20].into();
        let what = What::Issue { payload, ttl_ms: 90_000, uses: 1, peek: true, derived: false };
        Change { id, what }.op()
    };
    let submit = |lab: &Lab, id| {
        lab.nodes[0].live.as_ref().unwrap().stepped.engine().submit(vec![issue(id)]).unwrap()
    };
    let first = submit(&lab, 100);
    lab.run(600).unwrap();
    let gathered = submit(&lab, 101);
    lab.run(1_500).unwrap();
    assert_eq!(gathered.wait(), Err(Rejected::NoQuorum), "never proposed");
    let refused = submit(&lab, 102);
    lab.run(100).unwrap();
    assert_eq!(refused.wait(), Err(Rejected::NoQuorum));
    lab.run(10_000).unwrap();
    assert_eq!(first.wait().unwrap(), [Outcome::Unknown], "it may still happen");
    lab.run(70_000).unwrap();
    assert!(lab.state(0).unwrap().has_quorum);
    let alive = |id| {
        let engine = lab.nodes[1].live.as_ref().unwrap().stepped.engine();
        engine.status(&digest(id), lab.state(1).unwrap().log_time)
    };
    assert_eq!([100, 101, 102].map(|id| alive(id).is_some()), [true, false, false]);
}

/// Asks a node to issue a token with a payload of this length that lives for this time.
fn issue_for(lab: &mut Lab, at: usize, id: u64, len: usize, ttl_ms: u64) {
    let payload = vec![b'1'; len].into();
    let what = What::Issue { payload, ttl_ms, uses: 1, peek: true, derived: false };
    lab.ask(at, vec![Change { id, what }]).expect("it runs");
}

#[test]
fn p8_a_stream_that_became_slow_gets_each_batch_once() {
    let mut lab = lab();
    lab.stream.set_faults(Faults { delay_ms: 1_500, ..Faults::default() });
    let repeats = |lab: &mut Lab, ids: std::ops::Range<u64>| {
        let before = (lab.truth.counted, lab.truth.repeats);
        for id in ids {
            issue_for(lab, id as usize % 3, id, 20, 1_000);
            lab.run(200).expect("it runs");
        }
        let (counted, repeats) = (lab.truth.counted - before.0, lab.truth.repeats - before.1);
        assert!(counted > 20, "{counted}");
        repeats as f64 / counted as f64
    };
    repeats(&mut lab, 100..200);
    let later = repeats(&mut lab, 200..300);
    assert!(later < 0.05, "{later} of the batches came more than once");
}
