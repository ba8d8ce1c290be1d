//! The promises of `Stream`, tried on any stream: the simulated one, and a real cluster of NATS.

use std::time::Duration;

use jeton::cluster::stream::{Hint, Message, Next, Stream};

/// Patience for what must come.
const PATIENCE: Duration = Duration::from_secs(1);
/// Patience for what should not come.
const MOMENT: Duration = Duration::from_millis(300);
/// Attempts to get a message to land or to be read. Some are lost.
const ATTEMPTS: usize = 30;

/// Tries every promise on a new stream. `open` makes one more connection to it.
pub fn holds(open: &mut dyn FnMut() -> Box<dyn Stream>) {
    let (mut one, mut two) = (open(), open());
    starts_empty(&mut *one);
    lands_in_one_order(&mut *one, &mut *two);
    follows_a_whole_stream(&mut *two, &mut *open());
    goes_back(&mut *one);
    forgets_from_the_front_alone(&mut *one, &mut *two);
    refuses_what_is_too_long(&mut *one);
    says_how_it_is_set_up(&mut *one);
}

/// Proposes until the message has landed, as a node does, and returns its number: the first at or
/// after `from`.
pub fn land(stream: &mut dyn Stream, from: u64, bytes: &[u8]) -> u64 {
    let mut seq = from;
    for _ in 0..ATTEMPTS {
        let _ = stream.propose(bytes);
        loop {
            match stream.next(seq, PATIENCE) {
                Ok(message) if message.bytes == bytes => return seq,
                Ok(_) => seq += 1,
                Err(Next::Quiet) => break,
                Err(Next::Trimmed { first }) => seq = first,
                Err(Next::Lost(loss)) => panic!("lost: {loss}"),
            }
        }
    }
    panic!("message never landed");
}

/// The message at `seq`, which is there.
pub fn read(stream: &mut dyn Stream, seq: u64) -> Message {
    for _ in 0..ATTEMPTS {
        match stream.next(seq, PATIENCE) {
            Ok(message) => {
                assert_eq!(message.seq, seq, "another message than the one asked for");
                return message;
            }
            Err(Next::Quiet) => {}
            Err(why) => panic!("message {seq}: {why:?}"),
        }
    }
    panic!("message {seq} never came");
}

/// The first and the last number.
pub fn bounds(stream: &mut dyn Stream) -> (u64, u64) {
    let bounds = patiently(|| stream.bounds().map_err(|error| error.to_string()));
    (bounds.first, bounds.last)
}

/// Repeats a call until it succeeds.
pub fn patiently<T>(mut call: impl FnMut() -> Result<T, String>) -> T {
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        match call() {
            Ok(value) => return value,
            Err(error) => said = error,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("never succeeded: {said}");
}

/// The last number, once nothing more lands: copies of proposals may come late.
fn end(stream: &mut dyn Stream) -> u64 {
    let (first, last) = bounds(stream);
    let mut next = last.max(first);
    loop {
        match stream.next(next, MOMENT) {
            Ok(_) => next += 1,
            Err(Next::Quiet) => return next - 1,
            Err(why) => panic!("message {next}: {why:?}"),
        }
    }
}

fn starts_empty(stream: &mut dyn Stream) {
    assert_eq!(bounds(stream), (1, 0));
    assert_eq!(stream.next(1, MOMENT), Err(Next::Quiet));
}

fn lands_in_one_order(one: &mut dyn Stream, two: &mut dyn Stream) {
    let (mut first, mut second) = (1, 1);
    for n in 0..20 {
        first = land(one, first, format!("one {n}").as_bytes()) + 1;
        second = land(two, second, format!("two {n}").as_bytes()) + 1;
    }
    // An empty message is a message.
    let last = land(one, first, b"");
    let seen = |stream: &mut dyn Stream| (1..=last).map(|seq| read(stream, seq)).collect();
    let (by_one, by_two): (Vec<Message>, Vec<Message>) = (seen(one), seen(two));
    assert_eq!(by_one, by_two);
    let own = by_one.iter().filter(|message| message.bytes.starts_with(b"one")).count();
    assert!(own >= 20, "{own} of 20 messages landed");
    // With luck no answer was lost; one at least names the number of its message.
    let answers: Vec<_> = std::iter::from_fn(|| one.answer()).collect();
    let named = answers.iter().flatten().filter(|seq| {
        by_one.get(**seq as usize - 1).is_some_and(|message| !message.bytes.starts_with(b"two"))
    });
    assert!(named.count() >= 1, "{answers:?}");
}

fn follows_a_whole_stream(proposer: &mut dyn Stream, follower: &mut dyn Stream) {
    let (_, mut last) = bounds(proposer);
    let body = vec![7; 3000];
    for n in 0..600_u32 {
        let _ = proposer.propose(&[&n.to_le_bytes()[..], &body].concat());
        // Reading keeps the number of unanswered proposals small.
        if proposer.next(last + 1, Duration::from_millis(20)).is_ok() {
            last += 1;
        }
    }
    let end = land(proposer, last + 1, b"the end");
    let followed: Vec<_> = (1..=end).map(|seq| read(follower, seq)).collect();
    assert_eq!(followed.last().map(|message| &message.bytes[..]), Some(&b"the end"[..]));
    let again: Vec<_> = (1..=end).map(|seq| read(proposer, seq)).collect();
    assert_eq!(followed, again);
    assert!(end > 400, "{end} messages landed of more than 600");
}

fn goes_back(stream: &mut dyn Stream) {
    let last = end(stream);
    let newest = read(stream, last);
    let oldest = read(stream, 1);
    assert_eq!(read(stream, last), newest);
    assert_eq!(read(stream, 1), oldest);
    assert_eq!(stream.next(last + 1, MOMENT), Err(Next::Quiet));
    assert_eq!(stream.next(last + 1000, MOMENT), Err(Next::Quiet));
}

fn forgets_from_the_front_alone(one: &mut dyn Stream, two: &mut dyn Stream) {
    let last = end(one);
    let kept = read(one, 30);
    patiently(|| two.trim(30).map_err(|error| error.to_string()));
    patiently(|| two.trim(30).map_err(|error| error.to_string()));
    assert_eq!(bounds(one), (30, last));
    assert_eq!(trimmed(one, 1), 30);
    assert_eq!(trimmed(one, 29), 30);
    assert_eq!(read(one, 30), kept);
    // Below the front nothing happens.
    for seq in [0, 1, 5, 29] {
        patiently(|| one.trim(seq).map_err(|error| error.to_string()));
        assert_eq!(bounds(two), (30, last), "trimmed to {seq}");
    }
    // Everything and more: numbers go on.
    patiently(|| one.trim(last + 1000).map_err(|error| error.to_string()));
    assert_eq!(bounds(two), (last + 1, last));
    assert_eq!(trimmed(two, last), last + 1);
    assert_eq!(land(two, last + 1, b"after all"), last + 1);
    assert_eq!(read(one, last + 1).bytes, &b"after all"[..]);
}

/// The first number that the stream has, for one that it forgot.
fn trimmed(stream: &mut dyn Stream, seq: u64) -> u64 {
    for _ in 0..ATTEMPTS {
        match stream.next(seq, PATIENCE) {
            Err(Next::Trimmed { first }) => return first,
            Err(Next::Quiet) => {}
            // A replica may still have it.
            Ok(message) => assert_eq!(message.seq, seq),
            Err(other) => panic!("message {seq}: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("message {seq} was never said to be trimmed");
}

fn refuses_what_is_too_long(stream: &mut dyn Stream) {
    let last = end(stream);
    let len = 64 << 20;
    let refused = patiently(|| match stream.propose(&vec![0; len]) {
        Err(Hint::NotConnected | Hint::Busy) => Err("not now".to_owned()),
        other => Ok(other),
    });
    assert!(
        matches!(refused, Err(Hint::TooLong { len: found, .. }) if found == len),
        "{refused:?}"
    );
    assert_eq!(stream.next(last + 1, MOMENT), Err(Next::Quiet));
}

fn says_how_it_is_set_up(stream: &mut dyn Stream) {
    let promises = patiently(|| stream.promises().map_err(|error| error.to_string()));
    assert_eq!(promises.mistakes, []);
    assert!(promises.copies >= 3, "{promises:?}");
    assert!(promises.bytes > 0, "{promises:?}");
}
