//! Verdicts, chains and log time: decided by the messages alone.

use super::*;
use crate::model::record::replication::Decision;

const CLUSTER: ClusterId = ClusterId([1; 16]);
const ERA: Era = Era(1);
const START: u64 = 1_700_000_000_000;

fn life(node: u64, epoch: u64, nonce: u8) -> Sender {
    Sender { node: NodeId(node), epoch: Epoch(epoch), nonce: BootNonce([nonce; 16]) }
}

fn message(seq: u64, kind: MessageKind, sender: Sender, batch: u64) -> Landed {
    let head = MessageHead {
        format: 1,
        kind,
        cluster: CLUSTER,
        era: ERA,
        sender,
        batch,
        attempt: 0,
        proposed_at: UnixMillis(START),
    };
    let hash = hash_of(&[seq as u8, batch as u8, sender.epoch.0 as u8]);
    Landed { seq, stream_time: UnixMillis(START), hash, content: Some((head, Vec::new())) }
}

/// Takes a message, which must come to this verdict.
fn take(state: &mut Replicated, message: &Landed, time: UnixMillis, expected: Verdict) {
    let verdict = state.judge(message, time);
    assert_eq!(verdict, expected, "{message:?}");
    *state = state.after(message, verdict, time);
}

fn begun() -> Replicated {
    let mut state = Replicated::default();
    let genesis = message(1, MessageKind::Genesis, life(1, 1, 1), 0);
    take(&mut state, &genesis, UnixMillis(START), Verdict::Genesis);
    take(
        &mut state,
        &message(2, MessageKind::Hello, life(1, 1, 1), 0),
        UnixMillis(START),
        Verdict::Hello,
    );
    state
}

#[test]
fn p2_a_batch_counts_once_and_only_in_its_life_and_in_its_order() {
    let (mut state, time) = (begun(), UnixMillis(START));
    let batch = |seq, sender, number| message(seq, MessageKind::Batch, sender, number);
    take(&mut state, &batch(3, life(1, 1, 1), 1), time, Verdict::Counted);
    take(&mut state, &batch(4, life(1, 1, 1), 1), time, Verdict::Repeat);
    take(&mut state, &batch(5, life(1, 1, 1), 3), time, Verdict::Refused);
    take(&mut state, &batch(6, life(1, 1, 2), 2), time, Verdict::Refused);
    take(&mut state, &batch(7, life(2, 1, 1), 1), time, Verdict::Refused);
    take(&mut state, &batch(8, life(1, 1, 1), 2), time, Verdict::Counted);
    take(&mut state, &message(9, MessageKind::Hello, life(1, 2, 2), 0), time, Verdict::Hello);
    take(&mut state, &batch(10, life(1, 1, 1), 3), time, Verdict::Repeat);
    take(&mut state, &batch(11, life(1, 2, 2), 1), time, Verdict::Counted);
    assert_eq!(state.members[&NodeId(1)].high, 1);
}

#[test]
fn the_first_hello_of_an_epoch_wins() {
    let (mut state, time) = (begun(), UnixMillis(START));
    let hello = |seq, sender| message(seq, MessageKind::Hello, sender, 0);
    take(&mut state, &hello(3, life(1, 1, 1)), time, Verdict::Repeat);
    take(&mut state, &hello(4, life(1, 1, 2)), time, Verdict::Refused);
    take(&mut state, &hello(5, life(1, 2, 2)), time, Verdict::Hello);
    take(&mut state, &hello(6, life(1, 2, 1)), time, Verdict::Refused);
    assert_eq!(state.members[&NodeId(1)].nonce, BootNonce([2; 16]));
}

#[test]
fn nothing_counts_before_the_genesis_and_no_second_one_does() {
    let (mut state, time) = (Replicated::default(), UnixMillis(START));
    take(&mut state, &message(1, MessageKind::Hello, life(1, 1, 1), 0), time, Verdict::Refused);
    take(&mut state, &message(2, MessageKind::Genesis, life(1, 1, 1), 0), time, Verdict::Genesis);
    take(&mut state, &message(3, MessageKind::Genesis, life(2, 1, 1), 0), time, Verdict::Refused);
    let mut other = message(4, MessageKind::Hello, life(1, 1, 1), 0);
    if let Some((head, _)) = &mut other.content {
        head.era = Era(2);
    }
    take(&mut state, &other, time, Verdict::Refused);
    let unopened = Landed { content: None, ..message(5, MessageKind::Hello, life(1, 1, 1), 0) };
    take(&mut state, &unopened, time, Verdict::Unopened);
    take(&mut state, &message(6, MessageKind::Hello, life(0, 1, 1), 0), time, Verdict::Unopened);
    assert_eq!(state.position, Position { era: ERA, seq: 6 });
}

/// The first message of the stream that continues a state.
fn continuing(state: &Replicated) -> Landed {
    let ended = Ended { position: state.position, chain: state.chain };
    let mut genesis = message(1, MessageKind::Genesis, life(9, 1, 9), 0);
    if let Some((head, body)) = &mut genesis.content {
        head.era = Era(state.position.era.0 + 1);
        body.extend_from_slice(&ended.encode());
    }
    genesis
}

#[test]
fn p2_a_new_stream_is_continued_from_exactly_where_it_says_and_nowhere_else() {
    let (state, time) = (begun(), UnixMillis(START));
    let genesis = continuing(&state);
    let mut ahead = state.clone();
    let batch = message(3, MessageKind::Batch, life(1, 1, 1), 1);
    take(&mut ahead, &batch, time, Verdict::Counted);
    let mut other = state.clone();
    other.chain = Chain([7; 16]);
    let foreign = Replicated { cluster: ClusterId([7; 16]), ..state.clone() };
    for wrong in [&ahead, &other] {
        assert_eq!(wrong.judge(&genesis, time), Verdict::Refused);
        assert_eq!(wrong.is_left_behind_by(&genesis), Some(Era(2)));
    }
    assert_eq!(foreign.judge(&genesis, time), Verdict::Refused);
    assert_eq!(foreign.is_left_behind_by(&genesis), None);
    assert_eq!(Replicated::default().judge(&genesis, time), Verdict::Refused, "an empty node");
    // At the end of the old stream the same message continues nothing.
    let seal = Landed { seq: 3, ..genesis.clone() };
    assert_eq!(state.is_left_behind_by(&seal), Some(Era(2)));
    let mut next = state.clone();
    assert_eq!(next.is_left_behind_by(&genesis), None);
    take(&mut next, &genesis, time, Verdict::Genesis);
    assert_eq!(next.position, Position { era: Era(2), seq: 1 });
    assert_eq!((&next.members, next.ended.len()), (&state.members, 1));
    assert_ne!(next.chain, state.chain);
    // What the old era still sends does not count.
    let late = message(2, MessageKind::Batch, life(1, 1, 1), 1);
    take(&mut next, &late, time, Verdict::Refused);
}

#[test]
fn p8_the_ends_of_few_earlier_streams_are_known() {
    let (mut state, time) = (begun(), UnixMillis(START));
    for _ in 0..ENDED_MAX + 3 {
        let genesis = continuing(&state);
        take(&mut state, &genesis, time, Verdict::Genesis);
    }
    assert_eq!(state.ended.len(), ENDED_MAX);
    assert_eq!(state.ended[0].position.era, Era(4));
}

#[test]
fn p8_a_new_node_finds_room_only_where_one_was_not_heard_of_for_a_day() {
    let (mut state, time) = (begun(), UnixMillis(START));
    for node in 2..=MEMBERS_MAX as u64 {
        let hello = message(node + 1, MessageKind::Hello, life(node, 1, 1), 0);
        take(&mut state, &hello, time, Verdict::Hello);
    }
    let more = |seq| message(seq, MessageKind::Hello, life(1_000, 1, 1), 0);
    let day = UnixMillis(START + UNHEARD_MS);
    take(&mut state, &more(66), day, Verdict::Refused);
    take(&mut state, &message(67, MessageKind::Batch, life(7, 1, 1), 1), day, Verdict::Counted);
    take(&mut state, &more(68), UnixMillis(day.0 + 1), Verdict::Hello);
    let left: Vec<u64> = state.members.keys().map(|node| node.0).collect();
    assert_eq!(left, [7, 1_000]);
}

#[test]
fn p3_one_wrong_clock_makes_nothing_expire_early() {
    let now = UnixMillis(START);
    let year = 365 * 24 * 3_600_000;
    let at = |stream: u64, proposer: u64| {
        let mut message = message(3, MessageKind::Batch, life(1, 1, 1), 1);
        message.stream_time = UnixMillis(stream);
        if let Some((head, _)) = &mut message.content {
            head.proposed_at = UnixMillis(proposer);
        }
        log_time_of(&message, now).0
    };
    assert_eq!(at(START + 500, START + 400), START + 500);
    assert_eq!(at(START + 500, START + 10_500), START + 500, "10 s are no difference");
    assert_eq!(at(START + 500, START + year), START + 500, "a node a year ahead");
    assert_eq!(at(START + year, START + 400), START + 400, "the stream a year ahead");
    assert_eq!(at(START + 500, START - year), START, "a node a year behind: time stands still");
    assert_eq!(at(START - year, START + 400), START, "the stream a year behind");
    let both = Landed { content: None, ..message(3, MessageKind::Batch, life(1, 1, 1), 1) };
    let unopened = Landed { stream_time: UnixMillis(START + year), ..both };
    assert_eq!(log_time_of(&unopened, now), now, "nobody agrees with the stream");
}

#[test]
fn the_log_brings_back_what_the_messages_made() {
    let time = UnixMillis(START + 7);
    let (mut state, mut read) = (Replicated::default(), Replicated::default());
    let messages = [
        message(1, MessageKind::Genesis, life(1, 1, 1), 0),
        message(2, MessageKind::Hello, life(1, 1, 1), 0),
        message(3, MessageKind::Hello, life(2, 1, 1), 0),
        message(4, MessageKind::Batch, life(2, 1, 1), 1),
        message(5, MessageKind::Batch, life(2, 1, 1), 1),
        message(6, MessageKind::Hello, life(2, 2, 3), 0),
        message(7, MessageKind::Batch, life(1, 1, 1), 1),
    ];
    for message in &messages {
        let verdict = state.judge(message, time);
        let after = state.after(message, verdict, time);
        let head = message.content.as_ref().map(|(head, _)| head);
        read.replay_origin(&after.origin(head, verdict, &state), time);
        if verdict.states_all_members() {
            after.members.values().for_each(|row| read.replay_member(*row));
            after.ended.iter().for_each(|ended| read.replay_ended(*ended));
        }
        state = after;
        assert_eq!(read, Replicated { outcomes: None, ..state.clone() }, "{message:?}");
    }
}

#[test]
fn chains_differ_with_each_message_and_each_outcome() {
    let state = begun();
    let batch = message(3, MessageKind::Batch, life(1, 1, 1), 1);
    let other = Landed { hash: MessageHash([9; 16]), ..batch.clone() };
    let chain = |message: &Landed| state.after(message, Verdict::Counted, UnixMillis(START)).chain;
    assert_ne!(chain(&batch), chain(&other));
    let before = state.outcomes.unwrap();
    let all = [
        next_outcomes(&before, 3, Verdict::Counted, b"a"),
        next_outcomes(&before, 3, Verdict::Counted, b"b"),
        next_outcomes(&before, 4, Verdict::Counted, b"a"),
        next_outcomes(&before, 3, Verdict::Repeat, b"a"),
    ];
    assert!((0..4).all(|at| !all[..at].contains(&all[at])));
}

#[test]
fn p2_nothing_of_a_retired_node_counts_and_the_last_node_is_never_retired() {
    let (mut state, time) = (begun(), UnixMillis(START));
    let hello = |seq, sender| message(seq, MessageKind::Hello, sender, 0);
    take(&mut state, &hello(3, life(2, 1, 1)), time, Verdict::Hello);
    let retire = |node| [Decision::Retire(NodeId(node))];
    assert_eq!(state.decide(&retire(3), time), [], "there is no such node");
    let rows = state.decide(&retire(2), time);
    assert!(rows.len() == 1 && rows[0].retired && rows[0].node == NodeId(2), "{rows:?}");
    assert_eq!(state.decide(&retire(2), time), [], "it is retired already");
    assert_eq!(state.decide(&retire(1), time), [], "somebody must stay");
    assert!(state.is_retired(NodeId(2)) && !state.is_retired(NodeId(1)));
    let batch = message(4, MessageKind::Batch, life(2, 1, 1), 1);
    take(&mut state, &batch, time, Verdict::Refused);
    take(&mut state, &hello(5, life(2, 2, 7)), time, Verdict::Refused);
    // The same data directory under another id.
    take(&mut state, &hello(6, life(3, 1, 1)), time, Verdict::Hello);
    let both = [Decision::Retire(NodeId(1)), Decision::Retire(NodeId(3))];
    assert_eq!(state.decide(&both, time).len(), 1, "of two that leave at once one stays");
}

#[test]
fn p1_a_dead_node_does_not_let_all_living_ones_leave() {
    let (mut state, time) = (begun(), UnixMillis(START));
    let hello = |seq, sender| message(seq, MessageKind::Hello, sender, 0);
    take(&mut state, &hello(3, life(2, 1, 1)), time, Verdict::Hello);
    take(&mut state, &hello(4, life(3, 1, 1)), time, Verdict::Hello);
    // The third one is dead, and nobody has forgotten it.
    let later = UnixMillis(START + 5_001);
    let batch = |seq, node| message(seq, MessageKind::Batch, life(node, 1, 1), 1);
    take(&mut state, &batch(5, 1), later, Verdict::Counted);
    take(&mut state, &batch(6, 2), later, Verdict::Counted);
    let leave = |node| Decision::Retire(NodeId(node));
    assert_eq!(state.decide(&[leave(1), leave(2)], later).len(), 1);
    assert!(state.is_retired(NodeId(1)) && !state.is_retired(NodeId(2)));
    assert_eq!(state.decide(&[leave(3)], later).len(), 1, "the dead one is forgotten");
}

#[test]
fn p8_retired_nodes_give_way_after_ten_minutes() {
    let (mut state, time) = (begun(), UnixMillis(START));
    for node in 2..=MEMBERS_MAX as u64 {
        let hello = message(node + 1, MessageKind::Hello, life(node, 1, 1), 0);
        take(&mut state, &hello, time, Verdict::Hello);
    }
    state.decide(&[Decision::Retire(NodeId(7))], time);
    let more = |seq| message(seq, MessageKind::Hello, life(1_000, 1, 1), 0);
    let later = UnixMillis(START + RETIRED_MS);
    take(&mut state, &more(66), later, Verdict::Refused);
    take(&mut state, &more(67), UnixMillis(later.0 + 1), Verdict::Hello);
    assert!(!state.members.contains_key(&NodeId(7)) && state.members.len() == MEMBERS_MAX);
}

#[test]
fn the_format_that_nodes_agree_on_never_falls() {
    let (mut state, time) = (begun(), UnixMillis(START));
    state.decide(&[Decision::Agree(2)], time);
    state.decide(&[Decision::Agree(1)], time);
    assert_eq!(state.agreed, 2);
}
