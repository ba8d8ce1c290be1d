//! The short way of a canonical `GET`: an array of two words, answered without a future, an
//! allocation or a second look at its bytes.
//!
//! Resolves are most of what a server does. Whatever is unusual (a partial command, a key that is
//! too long, a caller who may not, one that misses too often, a miss in a cluster) is left to the
//! ordinary way, which says why. Commands that have arrived together are looked up together, as the
//! [`gathered`](crate::service::gathered) say; each is answered as if it were alone.

use bytes::BufMut;

use crate::keys::Access;
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Token};
use crate::model::value::value_of;
use crate::net::buffer::Buffer;
use crate::resp::conn::{Conn, Worker};
use crate::resp::data::KEY_LEN_MAX;
use crate::resp::session::Session;
use crate::service::counters::Class;
use crate::service::gathered::Gathered;
use crate::service::operation::Operation;
use crate::service::principal::Principal;
use crate::service::quick_trail::QuickTrail;
use crate::store::Lookup;
use crate::trace::Draw;

/// What every canonical `GET` begins with, but for the case of its name.
const HEAD: &[u8] = b"*2\r\n$3\r\nGET\r\n$";
/// Bytes of an answer besides the payload.
const BESIDE: usize = 32;

/// Where answers go: says whether there is room for another one.
pub(in crate::resp) trait Room {
    /// The answers.
    fn output(&mut self) -> &mut Buffer;

    /// Whether another answer may wait.
    fn has_room(&mut self) -> bool;
}

/// Answers the `GET`s at the front of the input, up to `max` of them, which are looked up together.
/// Returns how many were answered; the next one is for the ordinary way, or waits for room. The first
/// finds room.
pub(in crate::resp) fn get<const TRACED: bool>(
    worker: &Worker,
    conn: &Conn,
    session: &Session,
    input: &mut Buffer,
    (max, room): (usize, &mut impl Room),
) -> usize {
    let Some((key, len)) = canonical(input.unread()) else { return 0 };
    let service = &*worker.service;
    let reads = service.reads.as_ref();
    // A node of a cluster answers hits only, and only as long as its knowledge is fresh. A read that must
    // know more waits for a barrier.
    if reads.is_some_and(|reads| worker.is_linear() || !reads.is_open()) {
        return 0;
    }
    let now = service.now();
    let Ok(access) = service.authenticator.admit(&conn.credentials, session.presented(), now)
    else {
        return 0;
    };
    if !access.may(Scope::Resolve) {
        return 0;
    }
    let is_sampled = || TRACED && is_sampled(worker, conn);
    if is_sampled() {
        return 0;
    }
    let mut group = worker.gathered.borrow_mut();
    group.clear();
    add(&mut group, key, len, &access);
    while group.len() < max.min(conn.together.get().get())
        && let Some((key, len)) = canonical(&input.unread()[group.end()..])
        && !is_sampled()
    {
        add(&mut group, key, len, &access);
    }
    let turn = Turn { worker, conn, is_3: session.is_3, access: &access, now };
    let answered = turn.answer(group.digest(&access.digester), room);
    input.advance(group.end_of(answered));
    let is_whole = answered == group.len() || !room.has_room();
    if TRACED
        && !is_whole
        && let Some(traced) = &worker.service.traced
    {
        traced.pass(&conn.draw);
    }
    conn.together.set(conn.together.get().after(is_whole));
    answered
}

/// Whether the next command is for the ordinary way, because it is sampled. It stays chosen until it is
/// performed.
fn is_sampled(worker: &Worker, conn: &Conn) -> bool {
    let Some(traced) = &worker.service.traced else { return false };
    match conn.draw.get() {
        Draw::Taken => return true,
        Draw::Passed => {
            conn.draw.set(Draw::Undecided);
            return false;
        }
        Draw::Undecided => {}
    }
    // A command has no trace context.
    let is_chosen = traced.chooses(&[], false).is_some();
    conn.draw.set(if is_chosen { Draw::Taken } else { Draw::Undecided });
    is_chosen
}

/// Adds a command of `len` bytes.
fn add(group: &mut Gathered, key: &[u8], len: usize, access: &Access) {
    let end = group.end() + len;
    match Token::parse(key) {
        Ok(token) => group.push(token, end),
        Err(_) => group.push_digest(access.digester.digest_of_name(key), end, &access.digester),
    }
}

/// A caller who may resolve, and when it asks.
struct Turn<'a> {
    worker: &'a Worker,
    conn: &'a Conn,
    is_3: bool,
    access: &'a Principal,
    now: UnixMillis,
}

impl Turn<'_> {
    /// Answers commands in their order, as long as there is room for answers and none is for the
    /// ordinary way.
    fn answer(&self, digests: &[Digest], room: &mut impl Room) -> usize {
        let service = &*self.worker.service;
        let at = if service.reads.is_some() { service.token_time() } else { self.now };
        service.engine.answer_many(digests, at, |found| {
            let mut answered = 0;
            for (digest, looked_up) in digests.iter().zip(found) {
                let has_room = answered == 0 || room.has_room();
                if !has_room || !self.answer_one(digest, looked_up, room.output()) {
                    break;
                }
                answered += 1;
            }
            answered
        })
    }

    /// False where the command is for the ordinary way, and nothing was answered.
    fn answer_one(&self, digest: &Digest, looked_up: &Lookup<&[u8]>, output: &mut Buffer) -> bool {
        let service = &*self.worker.service;
        let payload = match looked_up {
            Lookup::Found(payload) => Some(value_of(payload)),
            _ => None,
        };
        let Ok(trail) = QuickTrail::begin(service) else { return false };
        match payload {
            Some(payload) => write(payload, output),
            None if self.may_miss() => {
                output.tail(BESIDE).put_slice(if self.is_3 { b"_\r\n" } else { b"$-1\r\n" });
            }
            None => return false,
        }
        let is_found = payload.is_some();
        let class = if is_found { Class::Done } else { Class::Refused };
        self.worker.counters.count(Operation::Resolve, class);
        if let Some(trail) = trail {
            let found = (is_found, None);
            trail.end(service, self.conn.peer, self.access, *digest, found, Operation::Resolve);
        }
        true
    }

    /// Counts a miss, unless the ordinary way has to confirm or to refuse it.
    fn may_miss(&self) -> bool {
        let (service, peer) = (&*self.worker.service, self.conn.peer.ip());
        service.reads.is_none() && service.miss_limiter.may_miss(self.access, peer, self.now)
    }
}

fn write(payload: &[u8], output: &mut Buffer) {
    let out = output.tail(BESIDE + payload.len());
    out.put_u8(b'$');
    out.put_slice(itoa::Buffer::new().format(payload.len()).as_bytes());
    out.put_slice(b"\r\n");
    out.put_slice(payload);
    out.put_slice(b"\r\n");
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
pub(in crate::resp) mod tests;
