//! jeton's answers are those of a real server, byte for byte.

use std::fmt::Write as _;

use super::key_scripts;
use super::pair::{Pair, lines};
use super::redis::{Jeton, Redis};
use super::scripts::{CUT, SCRIPTS};
use super::transactions;
use super::wire::{Wire, show};

/// Compares all answers of a list of scripts, over both versions of the protocol.
fn compare(check: &str, scripts: &[(&str, &str)]) {
    let Some(redis) = Redis::start(check) else { return };
    let jeton = Jeton::start();
    let mut wrong = String::new();
    for (name, script) in scripts {
        for protocol in [2, 3] {
            let mut pair = Pair::open(&redis, &jeton, protocol, name);
            for line in lines(script) {
                if let Some(difference) = pair.compare(line) {
                    let _ = writeln!(wrong, "  {name}, RESP{protocol}: {difference}");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "redis {:?} answers something else:\n{wrong}", redis.version);
}

#[test]
fn commands_about_values_answer_as_redis_does() {
    compare("answers about values over the Redis protocol", SCRIPTS);
}

#[test]
fn commands_about_keys_answer_as_redis_does() {
    compare("answers about keys over the Redis protocol", key_scripts::SCRIPTS);
}

#[test]
fn transactions_answer_as_redis_does() {
    compare("transactions of the Redis protocol", transactions::SCRIPTS);
}

/// The answers to `parts` of a pipeline, whose commands end at `ends`. What the first part asked for
/// in full is awaited before the second part is sent.
fn cut(wire: &mut Wire, pipeline: &[u8], ends: &[usize], at: usize) -> Vec<u8> {
    let (first, second) = pipeline.split_at(at);
    let answered = ends.iter().filter(|end| **end <= at).count();
    let mut answers = Vec::new();
    wire.send(first);
    (0..answered).for_each(|_| answers.extend(wire.answer()));
    if answered == 0 {
        std::thread::sleep(super::redis::MOMENT);
    }
    wire.send(second);
    (answered..ends.len()).for_each(|_| answers.extend(wire.answer()));
    answers
}

#[test]
fn p8_a_pipeline_may_be_cut_at_every_byte() {
    let Some(redis) = Redis::start("cuts of a pipeline of the Redis protocol") else { return };
    let jeton = Jeton::start();
    let mut pair = Pair::open(&redis, &jeton, 2, "cut");
    let (pipeline, ends) = pair.pipeline(&lines(CUT));
    let whole = cut(&mut pair.redis, &pipeline, &ends, pipeline.len());
    for at in 0..=pipeline.len() {
        let answers = cut(&mut pair.jeton, &pipeline, &ends, at);
        assert_eq!(show(&answers), show(&whole), "cut at {at} of {}", pipeline.len());
    }
}
