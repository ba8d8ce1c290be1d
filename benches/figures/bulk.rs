//! Filling a server with tokens as fast as it takes them.

use crate::failure::{Failure, Result};
use crate::load::{Client, Pace};
use crate::process::Server;
use crate::requests::Key;
use crate::wire::Protocol;
use crate::work::{Issues, TtlMs};

/// Tokens in one batch issue: the most that jeton takes by default.
pub const BATCH: usize = 1000;
/// A time to live that outlasts every measurement, in milliseconds.
pub const LONG_TTL_MS: u64 = 6 * 60 * 60 * 1000;
const CONNECTIONS: usize = 8;

/// Issues `count` tokens beginning with number `first`, with the time to live of each number;
/// gives their keys in order.
pub fn load_range(
    server: &Server,
    first: usize,
    count: usize,
    ttl_ms: TtlMs<'_>,
) -> Result<Vec<Key>> {
    let target = &server.target;
    let mut client = Client::connect(target.address, target.protocol, CONNECTIONS)?;
    let mut issues = Issues::new(target, Some(BATCH), count, ttl_ms).starting_at(first);
    let done = client
        .run(&mut issues, Pace::closed(depth(target.protocol)), None)
        .map_err(|failure| server.failed(&failure.to_string()))?;
    if done.operations != count as u64 {
        return Err(server.failed(&format!("took {} of {count} tokens", done.operations)));
    }
    Ok(issues.into_keys())
}

/// Issues `count` tokens that outlast the measurement and checks that the server counts them.
pub fn load(server: &Server, count: usize) -> Result<Vec<Key>> {
    let keys = load_range(server, 0, count, Box::new(|_| LONG_TTL_MS))?;
    if server.target.protocol != Protocol::Memcached {
        insist_on_count(server, count as u64)?;
    }
    Ok(keys)
}

/// Fails unless the server holds exactly `expected` tokens.
pub fn insist_on_count(server: &Server, expected: u64) -> Result<()> {
    let found = server.token_count()?;
    if found == expected {
        return Ok(());
    }
    let name = &server.name;
    Err(Failure::Wrong(format!("{name} has {found} tokens instead of {expected}")))
}

/// Requests sent together when loading: stores that take one key at a time are pipelined.
pub fn depth(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Http => 1,
        Protocol::Resp | Protocol::Memcached => 100,
    }
}
