//! A stream that runs full: changes are refused while there is room for what makes room again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jeton::cluster::node::{Node, Word};
use jeton::engine::{Op, Outcome, Rejected};
use jeton::model::token::Token;

use super::simulated::{World, await_word, issue, knows, refused, stop};
use crate::cluster::servers::within;
use crate::support::Over;

/// Bytes that the stream may hold.
pub const BYTES_MAX: usize = 8 << 20;

pub fn long_issue(node: &Node) -> Op {
    Op::Issue {
        digest: node.engine().digest(&Token::random().expect("random")),
        payload: vec![b'1'; 60 << 10],
        ttl: Duration::from_secs(600),
        uses: 1,
        peek: true,
        derived: false,
    }
}

pub fn bytes(world: &World) -> usize {
    world.stream.messages().iter().map(|message| message.bytes.len()).sum()
}

#[test]
fn p6_a_full_stream_refuses_changes_resolves_and_is_left_again() {
    let world = World::begun();
    world.stream.limit(Some(BYTES_MAX));
    let one = world.start("a").expect("it starts");
    let token = issue(&one);
    let refused = loop {
        match one.engine().submit(vec![long_issue(&one)]).expect("queued").wait() {
            Ok(outcomes) => assert!(matches!(outcomes[..], [Outcome::Issued { .. }])),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Rejected::StreamFull);
    let filled = bytes(&world) * 100 / BYTES_MAX;
    assert!((94..98).contains(&filled), "{filled} %");
    await_word(&one, Word::StreamFull);
    assert!(knows(&one, &token));
    let barrier = one.follower().barrier().expect("taken");
    assert_eq!(barrier.wait(), Ok(Vec::new()), "reads are confirmed");
    let report = one.view().report();
    let says_so = |text: &String| text.contains("more than 80 % full");
    assert!(report.degraded.iter().any(says_so), "{:?}", report.degraded);
    // A single node may forget nothing. Another one still finds room to begin.
    let two = world.start("b").expect("it starts");
    await_word(&one, Word::Ready);
    assert!(world.stream.messages()[0].seq > 1);
    let filled = bytes(&world) * 100 / BYTES_MAX;
    assert!((45..60).contains(&filled), "{filled} %: half of it stays");
    issue(&one);
    await_word(&two, Word::Ready);
    issue(&two);
    assert!(knows(&two, &token));
    stop(one);
    stop(two);
}

#[test]
fn p8_a_node_that_is_dead_never_stops_the_others_and_must_join_anew() {
    let world = World::begun();
    world.stream.limit(Some(BYTES_MAX));
    let [one, two, three] = ["a", "b", "c"].map(|name| world.start(name).expect("it starts"));
    let token = issue(&three);
    stop(three);
    // More than the stream may hold.
    for _ in 0..200 {
        within("there is room", || {
            match one.engine().submit(vec![long_issue(&one)]).expect("queued").wait() {
                Ok(outcomes) if matches!(outcomes[..], [Outcome::Issued { .. }]) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    assert!(knows(&two, &token));
    let error = refused(world.start("c"));
    assert!(error.to_string().contains("run jeton cluster join into a new directory"), "{error}");
    stop(one);
    stop(two);
}

#[test]
fn p6_a_stream_that_the_servers_call_full_is_left_too() {
    let world = World::begun();
    world.servers.hides_limit.store(true, Ordering::Relaxed);
    world.stream.limit(Some(BYTES_MAX));
    let one = world.start("a").expect("it starts");
    let is_full = AtomicBool::new(false);
    let fill = || {
        while !is_full.load(Ordering::Relaxed) {
            // The batch in flight lands when there is room; what follows it may be refused.
            drop(one.engine().submit(vec![long_issue(&one)]).expect("queued").wait());
        }
    };
    std::thread::scope(|scope| {
        let _over = Over(&is_full);
        scope.spawn(fill);
        await_word(&one, Word::StreamFull);
        is_full.store(true, Ordering::Relaxed);
        // Its messages are short, so they find room.
        let two = world.start("b").expect("it starts");
        await_word(&one, Word::Ready);
        await_word(&two, Word::Ready);
        issue(&one);
        issue(&two);
        stop(two);
    });
    assert!(world.stream.messages()[0].seq > 1);
    stop(one);
}
