//! The table of the commands about tokens.

use bytes::Bytes;

use super::asked::Asked;
use super::mistake::Mistake;
use super::plan::Plan;
use super::token::{issue, named};
use super::words::is;
use super::{keys, set, strings};
use crate::service::operation::Operation;

/// A command.
pub(in crate::resp) struct Command {
    /// Its name, in upper case.
    pub(in crate::resp) name: &'static str,
    /// Number of its words with the name; at least that many if negative, as Redis writes it.
    pub(in crate::resp) arity: i32,
    /// What it is for the limits, the audit log and the metrics.
    pub(in crate::resp) operation: Operation,
    /// Places of its first and last key and the step between them, as `COMMAND` shows them; 0: none,
    /// -1: the last word.
    pub(in crate::resp) keys: [i32; 3],
    /// Reads its words.
    pub(super) read: Read,
}

type Read = fn(&Asked<'_>) -> Result<Plan, Mistake>;

impl Command {
    /// Whether it is a change that comes to the same whatever is there: only such a change may be
    /// begun before the changes before it are answered. The engine answers any other at once if it
    /// cannot succeed on what is there now.
    pub(in crate::resp) fn is_unconditional(&self, words: &[Bytes]) -> bool {
        match (self.name, words) {
            ("SETEX" | "PSETEX", _) | ("SET", [_, _]) => true,
            ("SET", [_, _, unit, _]) => is(unit, "EX") || is(unit, "PX"),
            ("TOKEN.ISSUE", words) => !words.iter().any(|word| is(word, "KEY") || is(word, "REF")),
            _ => false,
        }
    }

    /// Its flags, as `COMMAND` shows them.
    pub(in crate::resp) fn flags(&self) -> &'static [&'static str] {
        if self.operation.changes() { &["write"] } else { &["readonly"] }
    }
}

const ONE: [i32; 3] = [1, 1, 1];
const ALL: [i32; 3] = [1, -1, 1];
const PAIRS: [i32; 3] = [1, -1, 2];
const NONE: [i32; 3] = [0, 0, 0];

/// One line for each command: its name, its arity, what it is, its keys, and what reads it.
macro_rules! commands {
    ($($name:literal, $arity:literal, $operation:ident, $keys:ident, $read:path;)+) => {
        &[$(Command {
            name: $name,
            arity: $arity,
            operation: Operation::$operation,
            keys: $keys,
            read: $read,
        },)+]
    };
}

/// The commands, in the order of their names.
pub(in crate::resp) static COMMANDS: &[Command] = commands! {
    "DEL", -2, RevokeBatch, ALL, keys::del;
    "EXISTS", -2, StatusBatch, ALL, keys::exists;
    "EXPIRE", -3, Deadline, ONE, keys::expire;
    "EXPIREAT", -3, Deadline, ONE, keys::expireat;
    "EXPIRETIME", 2, Status, ONE, keys::expiretime;
    "GET", 2, Resolve, ONE, strings::get;
    "GETDEL", 2, Consume, ONE, strings::getdel;
    "GETEX", -2, Resolve, ONE, strings::getex;
    "MGET", -2, ResolveBatch, ALL, strings::mget;
    "MSET", -3, Put, PAIRS, set::mset;
    "PEXPIRE", -3, Deadline, ONE, keys::pexpire;
    "PEXPIREAT", -3, Deadline, ONE, keys::pexpireat;
    "PEXPIRETIME", 2, Status, ONE, keys::pexpiretime;
    "PSETEX", 4, Put, ONE, set::psetex;
    "PTTL", 2, Status, ONE, keys::pttl;
    "SET", -3, Put, ONE, set::set;
    "SETEX", 4, Put, ONE, set::setex;
    "SETNX", 3, Put, ONE, set::setnx;
    "STRLEN", 2, Status, ONE, strings::strlen;
    "TOKEN.CONSUME", -2, Consume, ONE, named::consume;
    "TOKEN.EXTEND", -4, Extend, ONE, named::extend;
    "TOKEN.INTROSPECT", 2, Introspect, ONE, named::introspect;
    "TOKEN.ISSUE", -2, Issue, NONE, issue::one;
    "TOKEN.MCONSUME", -2, ConsumeBatch, NONE, named::consume_many;
    "TOKEN.MEXTEND", -4, ExtendBatch, NONE, named::extend_many;
    "TOKEN.MISSUE", -3, IssueBatch, NONE, issue::many;
    "TOKEN.MRESOLVE", -2, ResolveBatch, NONE, named::resolve_many;
    "TOKEN.MREVOKE", -2, RevokeBatch, NONE, named::revoke_many;
    "TOKEN.MSTATUS", -2, StatusBatch, NONE, named::status_many;
    "TOKEN.RESOLVE", -2, Resolve, ONE, named::resolve;
    "TOKEN.REVOKE", -2, Revoke, ONE, named::revoke;
    "TOKEN.STATUS", -2, Status, ONE, named::status;
    "TTL", 2, Status, ONE, keys::ttl;
    "TYPE", 2, Status, ONE, keys::kind;
    "UNLINK", -2, RevokeBatch, ALL, keys::del;
};

/// The command of a name, in any case.
pub(in crate::resp) fn command(name: &[u8]) -> Option<&'static Command> {
    let upper = |byte: &u8| byte.to_ascii_uppercase();
    let place = COMMANDS
        .binary_search_by(|command| command.name.bytes().cmp(name.iter().map(upper)))
        .ok()?;
    COMMANDS.get(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        assert!(COMMANDS.is_sorted_by(|one, next| one.name < next.name));
        for listed in COMMANDS {
            let lower = listed.name.to_ascii_lowercase();
            assert_eq!(command(lower.as_bytes()).map(|found| found.name), Some(listed.name));
        }
        assert!(command(b"GETS").is_none() && command(b"").is_none() && command(b"\xff").is_none());
    }

    #[test]
    fn only_what_depends_on_nothing_overtakes_an_answer() {
        for (line, is_unconditional) in [
            ("SET a 1", true),
            ("SET a 1 ex 10", true),
            ("SETEX a 10 1", true),
            ("TOKEN.ISSUE v USES 2", true),
            ("SET a 1 NX", false),
            ("SET a 1 EX 10 XX", false),
            ("SET a 1 EXAT 1", false),
            ("SET a 1 KEEPTTL", false),
            ("TOKEN.ISSUE v KEY k", false),
            ("TOKEN.ISSUE v ref 7", false),
            ("SETNX a 1", false),
            ("DEL a", false),
            ("GETDEL a", false),
            ("EXPIRE a 10", false),
        ] {
            let mut words = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes()));
            let name = words.next().unwrap();
            let words: Vec<Bytes> = words.collect();
            assert_eq!(
                command(&name).unwrap().is_unconditional(&words),
                is_unconditional,
                "{line}"
            );
        }
    }
}
