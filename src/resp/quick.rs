//! The short way of a canonical `GET`: an array of two words, answered without a future, an
//! allocation or a second look at its bytes.
//!
//! Resolves are most of what a server does. Whatever is unusual (a partial command, a key that is
//! too long, a caller who may not, one that misses too often, a miss in a cluster) is left to the
//! ordinary way, which says why.

use bytes::BufMut;

use crate::keys::Access;
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::value::value_of;
use crate::net::buffer::Buffer;
use crate::resp::conn::{Conn, Worker};
use crate::resp::data::KEY_LEN_MAX;
use crate::resp::session::Session;
use crate::service::audit_trail::QuickTrail;
use crate::service::counters::Class;
use crate::service::networks::Misses;
use crate::service::operation::Operation;
use crate::service::state::Service;

/// What every canonical `GET` begins with, but for the case of its name.
const HEAD: &[u8] = b"*2\r\n$3\r\nGET\r\n$";
/// Bytes of an answer besides the payload.
const BESIDE: usize = 32;

/// Answers the `GET` at the front of the input; false where it is for the ordinary way.
pub(in crate::resp) fn get(
    worker: &Worker,
    conn: &Conn,
    session: &Session,
    input: &mut Buffer,
    output: &mut Buffer,
) -> bool {
    let Some((key, len)) = canonical(input.unread()) else { return false };
    let service = &*worker.service;
    let reads = service.reads.as_ref();
    // A node of a cluster answers hits only, and only as long as its knowledge is fresh. A read that must
    // know more waits for a barrier.
    if reads.is_some_and(|reads| worker.is_linear() || !reads.is_open()) {
        return false;
    }
    let now = service.now();
    let Ok(access) = service.authenticator.admit(&conn.credentials, session.presented(), now)
    else {
        return false;
    };
    if !access.may(Scope::Resolve) {
        return false;
    }
    let Ok(trail) = QuickTrail::begin(service) else { return false };
    let digest = access.digester.digest_of_key(key);
    let copy = |payload: &[u8]| {
        let payload = value_of(payload);
        let out = output.tail(BESIDE + payload.len());
        out.put_u8(b'$');
        out.put_slice(itoa::Buffer::new().format(payload.len()).as_bytes());
        out.put_slice(b"\r\n");
        out.put_slice(payload);
        out.put_slice(b"\r\n");
    };
    let is_found = match reads {
        Some(_) => service.engine.find(&digest, service.token_time(), copy),
        None => service.engine.resolve(&digest, now, copy),
    }
    .is_some();
    if !is_found && !may_miss(service, conn, &access, now) {
        return false;
    }
    if !is_found {
        output.tail(BESIDE).put_slice(if session.is_3 { b"_\r\n" } else { b"$-1\r\n" });
    }
    let class = if is_found { Class::Done } else { Class::Refused };
    worker.counters.count(Operation::Resolve, class);
    if let Some(trail) = trail {
        trail.end(service, conn.peer, &access, digest, (is_found, None), Operation::Resolve);
    }
    input.advance(len);
    true
}

/// Counts a miss, unless the ordinary way has to confirm or to refuse it.
fn may_miss(service: &Service, conn: &Conn, access: &Access, now: UnixMillis) -> bool {
    let peer = conn.peer.ip();
    if service.reads.is_some() || service.miss_limiter.is_in_debt(access, peer, now) {
        return false;
    }
    service.miss_limiter.charge(access, peer, now, Misses::ONE);
    true
}

/// The key of a whole canonical `GET`, and the length of the command.
fn canonical(input: &[u8]) -> Option<(&[u8], usize)> {
    let (head, rest) = input.split_at_checked(HEAD.len())?;
    if !head.eq_ignore_ascii_case(HEAD) {
        return None;
    }
    // At most three digits: a longer key is refused elsewhere.
    let (mut len, mut at) = (0, 0);
    while let Some(digit @ b'0'..=b'9') = rest.get(at) {
        len = 10 * len + usize::from(digit - b'0');
        at += 1;
        if at > 3 {
            return None;
        }
    }
    let is_plain = at > 0 && len > 0 && len <= KEY_LEN_MAX && rest[0] != b'0';
    let key = rest.get(at + 2..at + 2 + len)?;
    let is_whole = rest.get(at..at + 2) == Some(b"\r\n")
        && rest.get(at + 2 + len..at + 4 + len) == Some(b"\r\n");
    (is_plain && is_whole).then_some((key, HEAD.len() + at + 4 + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_canonical_gets_take_the_short_way() {
        let input = b"*2\r\n$3\r\ngEt\r\n$12\r\nabcdefghijkl\r\nmore";
        assert_eq!(canonical(input), Some((&b"abcdefghijkl"[..], input.len() - 4)));
        for cut in 0..input.len() - 4 {
            assert_eq!(canonical(&input[..cut]), None, "cut at {cut}");
        }
        for other in [
            &b"*2\r\n$3\r\nSET\r\n$1\r\na\r\n"[..],
            b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
            b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
            b"*2\r\n$3\r\nGET\r\n$513\r\n",
            b"*2\r\n$3\r\nGET\r\n$1\r\nab\r\n",
            b"*2\r\n$3\r\nGET\r\n$-1\r\n",
            b"GET a\r\n",
        ] {
            assert_eq!(canonical(other), None, "{}", other.escape_ascii());
        }
    }
}
