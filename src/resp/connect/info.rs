//! `INFO`: what clients and tools read about the server. What it holds is that of the caller's
//! namespace; for the rest there are the metrics of the admin listener.

use std::fmt::Write as _;

use bytes::Bytes;

use super::desk::{Desk, REDIS_VERSION};
use super::words::is;
use crate::build_info;
use crate::resp::reply::Reply;
use crate::resp::session::Session;

type Section = fn(&Desk<'_>, &Session) -> String;

/// The sections, in the order in which they are shown.
const SECTIONS: [(&str, Section); 8] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// Names that stand for all sections.
const ALL: [&str; 3] = ["ALL", "DEFAULT", "EVERYTHING"];

/// `INFO [section …]`
pub(super) fn run(desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let is_all = words.is_empty() || words.iter().any(|word| ALL.iter().any(|all| is(word, all)));
    let mut text = String::new();
    for (name, section) in SECTIONS {
        if is_all || words.iter().any(|word| is(word, name)) {
            let gap = if text.is_empty() { "" } else { "\r\n" };
            // A string takes all that is written to it.
            let _ = write!(text, "{gap}# {name}\r\n{}", section(desk, session));
        }
    }
    reply.text(&text);
}

/// One line for each field.
fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    fields.into_iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect()
}

fn server(desk: &Desk<'_>, _session: &Session) -> String {
    fields([
        ("redis_version", REDIS_VERSION.into()),
        ("jeton_version", build_info::VERSION.into()),
        ("redis_mode", "standalone".into()),
        ("os", std::env::consts::OS.into()),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("tcp_port", desk.local.map_or(0, |local| local.port()).to_string()),
        ("server_time_usec", desk.service.now().0.saturating_mul(1_000).to_string()),
    ])
}

fn clients(desk: &Desk<'_>, _session: &Session) -> String {
    fields([
        ("connected_clients", desk.connections.to_string()),
        ("blocked_clients", "0".into()),
        ("tracking_clients", "0".into()),
    ])
}

fn memory(desk: &Desk<'_>, session: &Session) -> String {
    fields([
        ("used_memory", desk.holding(session).bytes.to_string()),
        ("maxmemory_policy", "noeviction".into()),
    ])
}

fn persistence(desk: &Desk<'_>, _session: &Session) -> String {
    let has_log = desk.service.engine.stats().log.segments > 0;
    fields([
        ("loading", "0".into()),
        ("async_loading", "0".into()),
        ("rdb_bgsave_in_progress", "0".into()),
        ("aof_enabled", u8::from(has_log).to_string()),
        ("aof_rewrite_in_progress", "0".into()),
    ])
}

fn stats(_desk: &Desk<'_>, _session: &Session) -> String {
    fields([("evicted_keys", "0".into()), ("pubsub_channels", "0".into())])
}

fn replication(_desk: &Desk<'_>, _session: &Session) -> String {
    fields([
        ("role", "master".into()),
        ("connected_slaves", "0".into()),
        ("master_failover_state", "no-failover".into()),
        ("master_repl_offset", "0".into()),
    ])
}

fn cluster(_desk: &Desk<'_>, _session: &Session) -> String {
    fields([("cluster_enabled", "0".into())])
}

fn keyspace(desk: &Desk<'_>, session: &Session) -> String {
    match desk.holding(session).tokens {
        0 => String::new(),
        tokens => format!("db0:keys={tokens},expires={tokens},avg_ttl=0\r\n"),
    }
}
