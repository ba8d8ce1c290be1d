//! The hot path of lists: a short `POST /v1/resolve` that has arrived as a whole.
//!
//! A batch resolve is read, looked up and answered at once: the payloads are copied once, from the
//! store into the output. Everything else is left to the service, which has seen nothing of it then:
//! a body of another form or not all there, a payload that is not JSON, a client that misses too often,
//! a server with an audit log, a node of a cluster. So is an answer that is longer than all that may
//! wait for a peer; and while memory is short, one that is longer than what is free of charge, which the
//! service may refuse.

use bytes::BufMut;

use crate::http::answer::canned;
use crate::http::conn::pipe::OUTPUT_LEN_MAX;
use crate::http::h1::turn::Turn;
use crate::http::request::plain_list;
use crate::model::value::is_json;
use crate::net::buffer::Buffer;
use crate::service::counters::Class;
use crate::service::gathered::Gathered;
use crate::service::memory_budget::FREE_LEN;
use crate::service::networks::Misses;
use crate::service::operation::Operation;
use crate::store::Lookup;

/// Answers the list in `body`; false where that is for the service, and nothing was answered.
pub(super) fn answer(
    turn: &Turn<'_>,
    body: &[u8],
    group: &mut Gathered,
    output: &mut Buffer,
) -> bool {
    let (worker, access, now) = (turn.worker, turn.access, turn.now);
    let (service, peer) = (&*worker.service, turn.state.client.peer.get());
    // The audit log has a line for each token.
    if service.audit.is_some() || body.len() > worker.config.list_body_len_max() {
        return false;
    }
    let tokens = group.tokens_of_list();
    let is_plain = plain_list::read_tokens(body, service.limits.max_batch, tokens);
    if !is_plain || !service.miss_limiter.may_ask_batch(access, peer, now, tokens.len()) {
        return false;
    }
    let digests = group.digest(&access.digester);
    let mut misses = 0;
    let len_max = if service.budget.is_short() { FREE_LEN } else { OUTPUT_LEN_MAX };
    let answered = service.engine.answer_many(digests, now, |found| {
        let Some(measured) = Measured::of(found, len_max) else { return 0 };
        misses = measured.misses;
        let out = output.tail(canned::OK_HEAD.len() + 128 + measured.len);
        canned::complete(out, canned::OK_HEAD, measured.len, &worker.date.borrow());
        write(found, out);
        found.len()
    });
    // A plain list is not empty.
    if answered == 0 {
        return false;
    }
    service.miss_limiter.charge(access, peer, now, Misses { all: misses, by_reference: 0 });
    worker.counters.count(Operation::ResolveBatch, Class::Done);
    true
}

const MISSING: &[u8] = b"null";

/// The array of what was found.
struct Measured {
    len: usize,
    misses: usize,
}

impl Measured {
    /// `None` if it has more than `len_max` bytes, or more than JSON.
    fn of(found: &[Lookup<&[u8]>], len_max: usize) -> Option<Self> {
        // Brackets, and a comma behind each item but the last.
        let (mut len, mut misses) = (1 + found.len(), 0);
        for looked_up in found {
            len += match looked_up {
                Lookup::Found(payload) if is_json(payload) => payload.len(),
                Lookup::Found(_) => return None,
                _ => {
                    misses += 1;
                    MISSING.len()
                }
            };
        }
        (len <= len_max).then_some(Self { len, misses })
    }
}

fn write(found: &[Lookup<&[u8]>], out: &mut Vec<u8>) {
    for (place, looked_up) in found.iter().enumerate() {
        out.put_u8(if place == 0 { b'[' } else { b',' });
        match looked_up {
            Lookup::Found(payload) => out.put_slice(payload),
            _ => out.put_slice(MISSING),
        }
    }
    out.put_u8(b']');
}
