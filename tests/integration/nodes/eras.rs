//! A new stream after a lost one: who goes on, who must join anew, and what the old one still does.

use jeton::cluster::follow::Unfollowable;
use jeton::cluster::message::Sealer;
use jeton::cluster::reseed::{Found, Reseeding};
use jeton::cluster::stream::Stream;
use jeton::engine::clustered::{NodeState, Standing, Stopped};
use jeton::engine::{Outcome, Pending};
use jeton::model::cluster::{Era, Position};
use jeton::model::record::replication::Ended;
use jeton::testkit::disk::Keep;
use jeton::testkit::stream::Faults;

use super::lab::Lab;
use super::losses::lab;
use super::wire::sealer;
use crate::simulation::model::{Change, What};

/// Equal nodes, each of which has landed everything.
fn settled() -> Lab {
    let mut lab = lab();
    lab.stream.set_faults(Faults { dropped: 100, ..Faults::default() });
    lab.check_equal().expect("they are equal");
    lab
}

fn restart(lab: &mut Lab, at: usize) {
    lab.kill(at, Keep::Everything);
    assert!(lab.open(at));
}

fn state(lab: &Lab, at: usize) -> NodeState {
    lab.state(at).expect("it runs")
}

fn change(lab: &Lab, at: usize, id: u64, what: What) -> Pending {
    let engine = lab.nodes[at].live.as_ref().expect("it runs").stepped.engine().clone();
    engine.submit(vec![Change { id, what }.op()]).expect("it is taken")
}

fn consume(lab: &Lab, at: usize, id: u64) -> Pending {
    change(lab, at, id, What::Consume { key: None })
}

/// The node, opened anew, lands nothing and says why.
fn refusal(lab: &mut Lab, at: usize) -> Unfollowable {
    restart(lab, at);
    let before = state(lab, at);
    let end = lab.turn(at, 64, false).expect("it runs").expect("the stream is not followed");
    let after = state(lab, at);
    assert_eq!((after.position, after.chain), (before.position, before.chain));
    end
}

#[test]
fn p1_equal_nodes_go_on_in_a_new_stream_and_nothing_acknowledged_is_lost() {
    let mut lab = settled();
    let ended = state(&lab, 1).position;
    lab.reseed(1);
    (0..3).for_each(|at| restart(&mut lab, at));
    lab.run(2_000).expect("it runs");
    for at in 0..3 {
        let state = state(&lab, at);
        assert_eq!((&state.standing, state.position.era), (&Standing::Serving, Era(2)));
        let follower = lab.nodes[at].live.as_ref().expect("it runs").stepped.follower();
        let lost = Position { seq: ended.seq + 1, ..ended };
        assert_eq!((follower.has_lost(ended), follower.has_lost(lost)), (false, true));
    }
    // The tokens of the first era are consumed in the second, once.
    let consumed = consume(&lab, 0, 1);
    lab.run(500).expect("it runs");
    assert!(matches!(consumed.wait().expect("answered")[..], [Outcome::Consumed { .. }]));
    let again = consume(&lab, 2, 1);
    lab.run(500).expect("it runs");
    assert_eq!(again.wait().expect("answered"), [Outcome::NotFound]);
    // Once more.
    lab.stream.set_faults(Faults { dropped: 100, ..Faults::default() });
    lab.check_equal().expect("they are equal");
    lab.reseed(2);
    (0..3).for_each(|at| restart(&mut lab, at));
    lab.run(2_000).expect("it runs");
    assert_eq!(state(&lab, 0).position.era, Era(3));
    lab.stream.set_faults(Faults { dropped: 100, ..Faults::default() });
    lab.check_equal().expect("they are equal");
}

#[test]
fn p1_a_node_that_has_landed_less_or_more_must_join_anew() {
    for is_ahead in [false, true] {
        let mut lab = lab();
        let (odd, from) = if is_ahead { (2, 0) } else { (0, 2) };
        // One node stands still.
        let still = if is_ahead { from } else { odd };
        lab.kill(still, Keep::Everything);
        lab.run(3_000).expect("it runs");
        assert!(lab.open(still));
        let (own, position) = (state(&lab, odd).position, state(&lab, from).position);
        assert_eq!(own > position, is_ahead);
        lab.reseed(from);
        let left = Unfollowable::NewerEra { era: Era(2), from: Some(position), own };
        assert_eq!(refusal(&mut lab, odd), left);
        let said = left.to_string();
        assert!(said.contains(&format!("continues position {position}")), "{said}");
    }
}

#[test]
fn p1_a_node_without_a_log_does_not_begin_with_a_stream_that_continues_another() {
    let mut lab = settled();
    lab.reseed(0);
    lab.kill(2, Keep::Everything);
    lab.nodes[2].disk = jeton::testkit::disk::Memory::seeded(77);
    assert!(lab.open(2));
    let end = lab.turn(2, 64, false).expect("it runs");
    assert_eq!(end, Some(Unfollowable::Continued));
    assert_eq!(state(&lab, 2).position.seq, 0);
}

#[test]
fn p1_a_new_stream_that_has_forgotten_its_begin_is_followed_by_nobody_of_the_old_era() {
    let mut lab = settled();
    lab.reseed(0);
    restart(&mut lab, 0);
    restart(&mut lab, 1);
    lab.kill(2, Keep::Everything);
    lab.run(3_000).expect("it runs");
    let _ = Stream::trim(&mut lab.stream.client(), 5);
    assert!(lab.open(2));
    let own = state(&lab, 2).position;
    let left = Unfollowable::NewerEra { era: Era(2), from: None, own };
    assert_eq!(refusal(&mut lab, 2), left);
}

#[test]
fn p2_the_old_stream_answers_nobody_after_the_cluster_went_on_in_a_new_one() {
    let mut lab = settled();
    let old = lab.reseed(0);
    restart(&mut lab, 0);
    // Two nodes still follow the old stream, and are asked there.
    let late = [consume(&lab, 1, 2), consume(&lab, 2, 2)];
    let here = consume_later(&mut lab, 0, 2);
    assert!(matches!(here.wait().expect("answered")[..], [Outcome::Consumed { .. }]));
    for (at, late) in [1, 2].into_iter().zip(late) {
        let stopped = Standing::Stopped(Stopped::NewerEra { era: Era(2) });
        assert_eq!(state(&lab, at).standing, stopped);
        let outcomes = late.wait();
        let is_none = matches!(outcomes.as_deref(), Err(_) | Ok([Outcome::Unknown]));
        assert!(is_none, "{outcomes:?}");
    }
    // A node of the new era does not go back to the old stream.
    old.jump_to(lab.stream.now());
    let new = std::mem::replace(&mut lab.stream, old);
    let own = state(&lab, 0).position;
    let end = refusal(&mut lab, 0);
    assert_eq!(end, Unfollowable::OlderEra { era: Era(1), own });
    // The others have landed exactly what the new stream continues.
    new.jump_to(lab.stream.now());
    lab.stream = new;
    (0..3).for_each(|at| restart(&mut lab, at));
    lab.run(2_000).expect("it runs");
    let again = consume(&lab, 1, 2);
    lab.run(500).expect("it runs");
    assert_eq!(again.wait().expect("answered"), [Outcome::NotFound]);
}

/// The same, as soon as the node serves.
fn consume_later(lab: &mut Lab, at: usize, id: u64) -> Pending {
    lab.run(2_000).expect("it runs");
    let asked = consume(lab, at, id);
    lab.run(500).expect("it runs");
    asked
}

/// The log is that of a backup, from before the stream was lost for the first time.
#[test]
fn p2_a_cluster_goes_back_to_a_log_of_an_earlier_era_and_nobody_goes_on_with_the_later_one() {
    let mut lab = settled();
    let backup = lab.reseeding(2);
    lab.kill(2, Keep::Everything);
    lab.stream.set_faults(Faults::default());
    lab.run(3_000).expect("it runs");
    lab.reseed(0);
    restart(&mut lab, 0);
    restart(&mut lab, 1);
    lab.run(3_000).expect("it runs");
    let found = backup.look_at(&mut lab.stream.client(), &mut sealer()).expect("it answers");
    let Found::Later { era, from: Some(from) } = found else { panic!("{found:?}") };
    assert!(era == Era(2) && from > backup.ended.position, "{found:?}");
    let back = backup.beyond(era);
    lab.reseed_with(&back);
    lab.run(500).expect("it runs");
    for at in [0, 1] {
        let stopped = Standing::Stopped(Stopped::NewerEra { era: Era(3) });
        assert_eq!(state(&lab, at).standing, stopped);
    }
    restart(&mut lab, 2);
    lab.run(3_000).expect("it runs");
    let NodeState { standing, position, ended, .. } = state(&lab, 2);
    assert_eq!((standing, position.era), (Standing::Serving, Era(3)));
    assert_eq!(ended, [backup.ended]);
    let found = back.look_at(&mut lab.stream.client(), &mut sealer()).expect("it answers");
    assert_eq!(found, Found::Done(Era(3)));
    let own = state(&lab, 0).position;
    let left = Unfollowable::NewerEra { era: Era(3), from: Some(backup.ended.position), own };
    assert_eq!(refusal(&mut lab, 0), left);
}

#[test]
fn what_is_in_the_way_of_a_new_stream_is_recognised() {
    let mut lab = settled();
    let NodeState { cluster, position, chain, hash, .. } = state(&lab, 0);
    let after = |position, chain| Reseeding::at(cluster, Ended { position, chain }, hash);
    let reseeding = after(position, chain);
    let look = |reseeding: &Reseeding, lab: &Lab, sealer: &mut Sealer| {
        reseeding.look_at(&mut lab.stream.client(), sealer).expect("it answers")
    };
    let last = position.seq;
    let old = |is_followable| Found::Old { last, is_followable };
    assert_eq!(look(&reseeding, &lab, &mut sealer()), old(true));
    let further = after(Position { seq: last + 1, ..position }, chain);
    assert_eq!(look(&further, &lab, &mut sealer()), old(false));
    let later = after(Position { era: Era(2), ..position }, chain);
    assert_eq!(look(&later, &lab, &mut sealer()), old(false));
    let foreign = jeton::model::token::Secret::from_bytes([8; 32]);
    assert_eq!(look(&reseeding, &lab, &mut Sealer::new(&foreign)), Found::Foreign);
    lab.reseed(0);
    assert_eq!(look(&reseeding, &lab, &mut sealer()), Found::Done(Era(2)));
    let later = Found::Later { era: Era(2), from: Some(position) };
    assert_eq!(look(&further, &lab, &mut sealer()), later);
    lab.stream.remake();
    assert_eq!(look(&reseeding, &lab, &mut sealer()), Found::Empty);
}
