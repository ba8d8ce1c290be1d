//! `COMMAND`: which commands there are, as clients and `redis-cli` ask for it.

use bytes::Bytes;

use super::desk::{Connect, Desk, Subcommand};
use super::words::is;
use super::{docs, glob, subcommand};
use crate::resp::data::table::COMMANDS;
use crate::resp::reply::Reply;
use crate::resp::session::Session;

/// The subcommands.
pub(super) const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "COUNT", arity: 2, run: count },
    Subcommand { name: "DOCS", arity: -2, run: documents },
    Subcommand { name: "HELP", arity: 2, run: help },
    Subcommand { name: "INFO", arity: -2, run: info },
    Subcommand { name: "LIST", arity: -2, run: list },
];

/// A command, as `COMMAND` shows it.
#[derive(Clone, Copy)]
pub(super) struct Listed {
    pub(super) name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    categories: &'static [&'static str],
    /// Places of the first and the last key, and the step between keys; all 0: none.
    keys: [i32; 3],
}

/// The commands of transactions, which the dispatcher performs.
const TRANSACTION: [(&str, i32); 4] = [("MULTI", 1), ("EXEC", 1), ("DISCARD", 1), ("WATCH", -2)];

/// All commands.
pub(super) fn all(connects: &'static [Connect]) -> impl Iterator<Item = Listed> {
    let data = COMMANDS.iter().map(|command| {
        let is_read = !command.operation.changes();
        Listed {
            name: command.name,
            arity: command.arity,
            flags: command.flags(),
            categories: if is_read { &["@read", "@string"] } else { &["@write", "@string"] },
            keys: command.keys,
        }
    });
    let transaction = TRANSACTION.iter().map(|(name, arity)| Listed {
        name,
        arity: *arity,
        flags: &["noscript", "fast"],
        categories: &["@fast", "@transaction"],
        keys: [0; 3],
    });
    let connect = connects.iter().map(|connect| Listed {
        name: connect.name,
        arity: connect.arity,
        flags: if connect.is_for_strangers { &["no_auth", "fast"] } else { &["fast"] },
        categories: &["@fast", "@connection"],
        keys: [0; 3],
    });
    data.chain(transaction).chain(connect)
}

fn named(desk: &Desk<'_>, name: &[u8]) -> Option<Listed> {
    all(desk.connects).find(|listed| is(name, listed.name))
}

/// `COMMAND [subcommand …]`
pub(super) fn run(desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    match words {
        [] => entries(all(desk.connects).map(Some), reply),
        _ => subcommand::run("COMMAND", SUBCOMMANDS, desk, session, words, reply),
    }
}

/// `COMMAND COUNT`
fn count(desk: &Desk<'_>, _session: &mut Session, _words: &[Bytes], reply: &mut Reply<'_>) {
    reply.integer(i64::try_from(all(desk.connects).count()).unwrap_or(i64::MAX));
}

/// `COMMAND INFO [name …]`
fn info(desk: &Desk<'_>, _session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    match words {
        [] => entries(all(desk.connects).map(Some), reply),
        names => entries(names.iter().map(|name| named(desk, name)), reply),
    }
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
fn list(desk: &Desk<'_>, _session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let names: Vec<Listed> = match words {
        [] => all(desk.connects).collect(),
        [by, kind, _] if is(by, "FILTERBY") && is(kind, "MODULE") => Vec::new(),
        [by, kind, category] if is(by, "FILTERBY") && is(kind, "ACLCAT") => {
            let is_in = |own: &&str| own.strip_prefix('@').is_some_and(|own| is(category, own));
            all(desk.connects).filter(|listed| listed.categories.iter().any(is_in)).collect()
        }
        [by, kind, pattern] if is(by, "FILTERBY") && is(kind, "PATTERN") => all(desk.connects)
            .filter(|listed| glob::matches(pattern, listed.name.as_bytes()))
            .collect(),
        _ => return reply.error("ERR syntax error"),
    };
    reply.array(names.len());
    names.iter().for_each(|listed| reply.bulk(lower(listed).as_bytes()));
}

/// `COMMAND DOCS [name …]`: names that are unknown are left out.
fn documents(desk: &Desk<'_>, _session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let asked: Vec<Listed> = match words {
        [] => all(desk.connects).collect(),
        names => names.iter().filter_map(|name| named(desk, name)).collect(),
    };
    reply.map(asked.len());
    for listed in &asked {
        let (group, summary) = docs::of(listed.name);
        reply.bulk(lower(listed).as_bytes());
        reply.map(3);
        for (field, value) in [("summary", summary), ("since", "1.0.0"), ("group", group)] {
            reply.bulk(field.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

/// `COMMAND HELP`
fn help(_desk: &Desk<'_>, _session: &mut Session, _words: &[Bytes], reply: &mut Reply<'_>) {
    let lines = [
        "(no subcommand)",
        "    Return details about all commands.",
        "COUNT",
        "    Return the total number of commands in this server.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple commands.",
        "INFO [<command-name> ...]",
        "    Return details about multiple commands.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Return a list of all commands in this server.",
    ];
    subcommand::help("COMMAND", &lines, reply);
}

fn lower(listed: &Listed) -> String {
    listed.name.to_ascii_lowercase()
}

fn entries(asked: impl Iterator<Item = Option<Listed>>, reply: &mut Reply<'_>) {
    let asked: Vec<Option<Listed>> = asked.collect();
    reply.array(asked.len());
    for listed in &asked {
        match listed {
            Some(listed) => entry(listed, reply),
            None => reply.null(),
        }
    }
}

fn entry(listed: &Listed, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(lower(listed).as_bytes());
    reply.integer(listed.arity.into());
    words(listed.flags, reply);
    listed.keys.iter().for_each(|place| reply.integer((*place).into()));
    words(listed.categories, reply);
    // No tips.
    reply.set(0);
    match listed.keys {
        [0, ..] => reply.set(0),
        [first, last, step] => {
            reply.set(1);
            key_spec(listed, [first, last, step], reply);
        }
    }
    // Subcommands are not listed one by one.
    reply.set(0);
}

fn words(words: &[&str], reply: &mut Reply<'_>) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word));
}

/// Where the keys are: from the first one on, to the first or the last word.
fn key_spec(listed: &Listed, [first, last, step]: [i32; 3], reply: &mut Reply<'_>) {
    let is_write = listed.flags.contains(&"write");
    reply.map(3);
    reply.bulk(b"flags");
    words(if is_write { &["RW", "update"] } else { &["RO", "access"] }, reply);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(first.into());
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    // The last key is told from the first one on, or from the end.
    let last = if last < 0 { last } else { last - first };
    for (field, value) in [("lastkey", last), ("keystep", step), ("limit", 0)] {
        reply.bulk(field.as_bytes());
        reply.integer(value.into());
    }
}
