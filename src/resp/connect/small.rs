//! The small commands.

use bytes::Bytes;

use super::desk::Desk;
use super::words::wrong_count;
use crate::resp::parse::number;
use crate::resp::reply::Reply;
use crate::resp::session::Session;

/// `PING [message]`
pub(super) fn ping(
    _desk: &Desk<'_>,
    _session: &mut Session,
    words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    match words {
        [] => reply.simple("PONG"),
        [message] => reply.bulk(message),
        _ => reply.error(&wrong_count("ping")),
    }
}

/// `ECHO message`
pub(super) fn echo(
    _desk: &Desk<'_>,
    _session: &mut Session,
    words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    reply.bulk(words.first().map_or(&[], |message| &message[..]));
}

/// `SELECT index`: there is one database, 0.
pub(super) fn select(
    _desk: &Desk<'_>,
    _session: &mut Session,
    words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    let index = words.first().and_then(|index| number(index));
    match index.and_then(|index| i32::try_from(index).ok()) {
        Some(0) => reply.simple("OK"),
        Some(_) => reply.error("ERR DB index is out of range"),
        None => reply.error("ERR value is not an integer or out of range"),
    }
}

/// `DBSIZE`: the tokens of the caller's namespace.
pub(super) fn dbsize(
    desk: &Desk<'_>,
    session: &mut Session,
    _words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    reply.integer(i64::try_from(desk.holding(session).tokens).unwrap_or(i64::MAX));
}

/// `TIME`: seconds, and microseconds of the second. Engine time has milliseconds.
pub(super) fn time(
    desk: &Desk<'_>,
    _session: &mut Session,
    _words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    let now = desk.service.now().0;
    reply.array(2);
    reply.bulk((now / 1_000).to_string().as_bytes());
    reply.bulk((now % 1_000 * 1_000).to_string().as_bytes());
}

/// `UNWATCH`: nothing is ever watched.
pub(super) fn unwatch(
    _desk: &Desk<'_>,
    _session: &mut Session,
    _words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    reply.simple("OK");
}

/// `QUIT`
pub(super) fn quit(
    _desk: &Desk<'_>,
    session: &mut Session,
    _words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    session.is_closing = true;
    reply.simple("OK");
}

/// `RESET`
pub(super) fn reset(
    _desk: &Desk<'_>,
    session: &mut Session,
    _words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    session.reset();
    reply.speak(session.is_3);
    reply.simple("RESET");
}
