//! The engine alone, embedded: an order's payment information is issued, resolved and consumed once.
//!
//! Neither HTTP nor a command line is compiled: `cargo run --example embed --no-default-features`.
//! The log is in the directory that the first argument names, and in memory alone without one.

#![allow(clippy::print_stdout, reason = "it prints what happens")]

use std::error::Error;
use std::time::Duration;

use jeton::engine::{Config, Engine, Op, Outcome};
use jeton::model::token::Token;

const PAYLOAD: &[u8] = br#"{"order":"A-17","amount":"49.90","currency":"EUR"}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let config = std::env::args_os().nth(1).map_or_else(Config::memory_only, Config::at);
    let engine = Engine::open(config)?;

    // The shop's order becomes a token, durable before `wait` returns.
    let token = Token::random()?;
    let digest = engine.digest(&token);
    let issue = Op::Issue {
        digest,
        payload: PAYLOAD.to_vec(),
        ttl: Duration::from_secs(15 * 60),
        uses: 1,
        peek: true,
        derived: false,
    };
    let outcomes = engine.submit(vec![issue])?.wait()?;
    assert!(matches!(outcomes[..], [Outcome::Issued { .. }]), "{outcomes:?}");
    println!("issued {}", token.text().as_str());

    // The customer's app presents the token: a read on the calling thread, which never waits.
    let found = engine.resolve(&digest, engine.now(), <[u8]>::to_vec);
    assert_eq!(found.as_deref(), Some(PAYLOAD));
    println!("resolved to {}", String::from_utf8_lossy(PAYLOAD));

    // The order is paid. Of any number of rivals one has the last use.
    let consume = || Op::Consume { digest, key: None };
    let outcomes = engine.submit(vec![consume(), consume()])?.wait()?;
    println!("consumed: {outcomes:?}");
    assert!(engine.resolve(&digest, engine.now(), |_| ()).is_none());

    engine.close()?;
    Ok(())
}
