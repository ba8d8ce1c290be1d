//! `CONFIG GET`: the settings that clients and tools look at. None can be set here.

use bytes::Bytes;

use super::desk::{Desk, Subcommand};
use super::{glob, subcommand};
use crate::model::time::millis;
use crate::resp::parse::COMMAND_LEN_MAX;
use crate::resp::reply::Reply;
use crate::resp::session::Session;

/// The subcommands.
pub(super) const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "GET", arity: -3, run: get },
    Subcommand { name: "HELP", arity: 2, run: help },
];

/// `CONFIG subcommand …`
pub(super) fn run(desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    subcommand::run("CONFIG", SUBCOMMANDS, desk, session, words, reply);
}

/// The settings: those of Redis that jeton has too, and the limits of the caller's tokens, by which
/// `jeton import` knows what it can copy.
fn settings(desk: &Desk<'_>, session: &Session) -> [(&'static str, String); 11] {
    let limits = &desk.service.limits;
    let ttl_max = match desk.admit(session) {
        Ok(access) => desk.service.ttl_max(&access.digester),
        Err(_) => limits.max_ttl,
    };
    let has_log = desk.service.engine.stats().log.segments > 0;
    let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
    [
        ("appendonly", yes_or_no(has_log)),
        ("databases", "1".into()),
        ("jeton-max-payload", limits.max_payload.to_string()),
        ("jeton-max-ttl", millis(ttl_max).to_string()),
        ("list-max-listpack-size", "-2".into()),
        ("maxmemory-policy", "noeviction".into()),
        ("proto-max-bulk-len", COMMAND_LEN_MAX.to_string()),
        ("replica-read-only", yes_or_no(true)),
        ("save", String::new()),
        ("slave-read-only", yes_or_no(true)),
        // Clients in pools need not keep their connections alive.
        ("timeout", "0".into()),
    ]
}

/// `CONFIG GET pattern [pattern …]`
fn get(desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let is_asked = |name: &str| words.iter().any(|word| glob::matches(word, name.as_bytes()));
    let found: Vec<_> =
        settings(desk, session).into_iter().filter(|(name, _)| is_asked(name)).collect();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

/// `CONFIG HELP`
fn help(_desk: &Desk<'_>, _session: &mut Session, _words: &[Bytes], reply: &mut Reply<'_>) {
    let lines = ["GET <pattern>", "    Return parameters matching the glob-like <pattern>."];
    subcommand::help("CONFIG", &lines, reply);
}
