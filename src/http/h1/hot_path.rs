//! The hot path: the canonical `GET /v1/tokens/{token}` is answered before hyper sees it, and so are a
//! short `POST /v1/resolve` ([`hot_list`]) and the canonical introspection, if all of it has arrived. A
//! canonical [`change`] begins here.
//!
//! Resolves are most of what a server does, and most of what a resolve costs beyond the kernel is
//! the general parsing and writing of HTTP. [`hot`] knows these forms of request only, byte for
//! byte what ordinary clients send, and leaves everything else to hyper: another method, version or
//! target, a header it does not know or a value with an unusual byte, any other body, a missing or
//! second Host. The hot path takes whole heads and only between requests, so hyper never sees half
//! of what was answered here.
//!
//! Requests that have arrived together are answered together: some of one caller are read first, their
//! digests are computed side by side and their look-ups overlap, and all answers of a turn are sent by
//! one write. Each is answered as if it were alone. Behind a request that
//! was left to the service the groups begin small
//! ([`GroupLen`](crate::service::gathered::GroupLen)): where a client has missed too often, not all its
//! digests are computed again for each refusal.

use std::rc::Rc;

use bytes::BufMut;

use crate::http::answer::{canned, problem};
use crate::http::api::change::{self, Pending};
use crate::http::conn::context::Worker;
use crate::http::conn::pipe::OUTPUT_LEN_MAX;
use crate::http::conn::state::ConnState;
use crate::http::h1::hot_head::{Hot, hot};
use crate::http::h1::hot_introspection;
use crate::http::h1::hot_list;
use crate::http::h1::turn::Turn;
use crate::http::request::authorization::presented;
use crate::model::scope::Scope;
use crate::model::token::{Digest, Token};
use crate::model::value::{is_json, value_of};
use crate::net::buffer::Buffer;
use crate::service::counters::Class;
use crate::service::gathered::Gathered;
use crate::service::operation::Operation;
use crate::service::quick_trail::QuickTrail;
use crate::store::Lookup;
use crate::trace::{Chosen, Draw};

/// How far the hot path came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Progress {
    /// Everything that had arrived is answered.
    Drained,
    /// The begin of a request that may become canonical is there: read on.
    Partial,
    /// The output is full: send it, then come back.
    Full,
    /// A change has begun, whose answer comes next.
    Begun,
    /// What comes next is for hyper.
    Other,
}

/// Answers canonical requests from the front of the input, as far as they go. A change is put into
/// `begun`, and nothing behind it is looked at.
pub(in crate::http) fn serve(
    worker: &Rc<Worker>,
    state: &Rc<ConnState>,
    begun: &mut Option<Pending>,
) -> Progress {
    serve_as::<false, false>(worker, state, begun)
}

/// The same for a node of a cluster: a miss is for the service, which confirms it first.
pub(in crate::http) fn serve_hits(
    worker: &Rc<Worker>,
    state: &Rc<ConnState>,
    begun: &mut Option<Pending>,
) -> Progress {
    serve_as::<true, false>(worker, state, begun)
}

/// The same for a server whose requests are traced: one that is sampled is for the service.
pub(in crate::http) fn serve_traced(
    worker: &Rc<Worker>,
    state: &Rc<ConnState>,
    begun: &mut Option<Pending>,
) -> Progress {
    match worker.service.reads {
        None => serve_as::<false, true>(worker, state, begun),
        Some(_) => serve_as::<true, true>(worker, state, begun),
    }
}

fn serve_as<const HITS_ONLY: bool, const TRACED: bool>(
    worker: &Rc<Worker>,
    state: &Rc<ConnState>,
    begun: &mut Option<Pending>,
) -> Progress {
    let service = &*worker.service;
    let (mut input, mut output) = (state.wire.input.borrow_mut(), state.wire.output.borrow_mut());
    let mut group = worker.gathered.borrow_mut();
    loop {
        if TRACED && state.http1.draw.get() == Draw::Passed {
            state.http1.draw.set(Draw::Undecided);
        }
        if input.is_empty() {
            return Progress::Drained;
        }
        if output.len() >= OUTPUT_LEN_MAX {
            return Progress::Full;
        }
        let found = hot(input.unread(), state.client.host.borrow().text());
        let Hot::Resolve { token, key, new_host, len } = found else {
            let (unread, group, output) = (input.unread(), &mut group, &mut output);
            match with_body::<HITS_ONLY, TRACED>(worker, state, &found, unread, group, output) {
                Ok((len, None)) => input.advance(len),
                Ok((len, change)) => {
                    *begun = change;
                    input.advance(len);
                    return Progress::Begun;
                }
                Err(progress) => return progress,
            }
            continue;
        };
        if !is_for_us::<TRACED>(worker, state, &input.unread()[..len], key, new_host) {
            return Progress::Other;
        }
        let now = service.now();
        // Who may not is told so by the service.
        let admitted = service.authenticator.admit(&state.client.credentials, presented(key), now);
        let Ok(access) = admitted else { return Progress::Other };
        if !access.may(Scope::Resolve) {
            return Progress::Other;
        }
        let turn = Turn { worker, state, access: &access, now };
        let Ok(token) = Token::parse(token) else { return Progress::Other };
        let (first, unread) = ((token, len), input.unread());
        let (answered_len, is_whole) =
            turn.answer_together::<HITS_ONLY, TRACED>(first, key, unread, &mut group, &mut output);
        input.advance(answered_len);
        if !is_whole {
            return Progress::Other;
        }
    }
}

/// Answers or begins a request with a body. Returns its length, and the change that has begun. In a
/// function of its own, because a resolve by GET pays for each value that its loop has to keep.
#[inline(never)]
fn with_body<const HITS_ONLY: bool, const TRACED: bool>(
    worker: &Rc<Worker>,
    state: &Rc<ConnState>,
    found: &Hot<'_>,
    unread: &[u8],
    group: &mut Gathered,
    output: &mut Buffer,
) -> Result<(usize, Option<Pending>), Progress> {
    let Some((key, new_host, len)) = found.caller() else {
        return Err(if *found == Hot::Partial { Progress::Partial } else { Progress::Other });
    };
    if !is_for_us::<TRACED>(worker, state, &unread[..len], key, new_host) {
        return Err(Progress::Other);
    }
    let whole = |is_answered| if is_answered { Ok((len, None)) } else { Err(Progress::Other) };
    if let Hot::Introspect { form, .. } = found {
        let served = hot_introspection::serve::<HITS_ONLY>(worker, state, form, key, output);
        return whole(served);
    }
    let (service, now) = (&*worker.service, worker.service.now());
    let admitted = service.authenticator.admit(&state.client.credentials, presented(key), now);
    let Ok(access) = admitted else { return Err(Progress::Other) };
    match *found {
        Hot::Change { change, .. } => {
            let begun = change::begin(worker, state, &access, change);
            begun.map(|begun| (len, Some(begun))).ok_or(Progress::Other)
        }
        Hot::List { body, .. } if access.may(Scope::Resolve) && !HITS_ONLY => {
            let turn = Turn { worker, state, access: &access, now };
            whole(hot_list::answer(&turn, body, group, output))
        }
        _ => Err(Progress::Other),
    }
}

/// Whether a request with this head is answered here: it is not sampled for a trace, and its host is
/// accepted. The service answers one for another host.
#[inline]
fn is_for_us<const TRACED: bool>(
    worker: &Worker,
    state: &ConnState,
    head: &[u8],
    key: Option<&[u8]>,
    new_host: Option<&[u8]>,
) -> bool {
    !(TRACED && is_sampled(worker, state, head, key))
        && new_host.is_none_or(|host| worker.accepts_host(state, host))
}

/// Adds the canonical requests behind those of `group`, as long as they have the same `key`.
fn gather<const TRACED: bool>(
    group: &mut Gathered,
    unread: &[u8],
    key: Option<&[u8]>,
    (worker, state): (&Worker, &ConnState),
) {
    if group.end() == unread.len() {
        return;
    }
    let (host, len_max) = (state.client.host.borrow(), state.client.together.get().get());
    while group.len() < len_max {
        let at = group.end();
        let found = hot(&unread[at..], host.text());
        // Another host is judged, and another key admitted, when it is the first of a group.
        let Hot::Resolve { token, key: another, new_host: None, len } = found else { return };
        if another != key {
            return;
        }
        let Ok(token) = Token::parse(token) else { return };
        if TRACED && is_sampled(worker, state, &unread[at..at + len], key) {
            return;
        }
        group.push(token, at + len);
    }
}

/// Whether the request with this head is for the service, because it is sampled. One that was chosen
/// stays chosen until the service has it.
fn is_sampled(worker: &Worker, state: &ConnState, head: &[u8], key: Option<&[u8]>) -> bool {
    let (Some(traced), draw) = (&worker.service.traced, &state.http1.draw) else { return false };
    if draw.get() == Draw::Taken {
        return true;
    }
    let has_key = key.is_some() || state.client.credentials.has_certificate();
    let chosen = traced.chooses(head, has_key);
    draw.set(match chosen {
        Some(Chosen::ByDraw) => Draw::Taken,
        Some(Chosen::ByParent) => Draw::Undecided,
        None => Draw::Passed,
    });
    chosen.is_some()
}

impl Turn<'_> {
    /// Answers the `first` request, and those behind it that have the same `key`. Returns the length of
    /// those that were answered, and false where one of them is left to the service.
    fn answer_together<const HITS_ONLY: bool, const TRACED: bool>(
        &self,
        (token, len): (Token, usize),
        key: Option<&[u8]>,
        unread: &[u8],
        group: &mut Gathered,
        output: &mut Buffer,
    ) -> (usize, bool) {
        group.clear();
        group.push(token, len);
        gather::<TRACED>(group, unread, key, (self.worker, self.state));
        let answered = self.answer::<HITS_ONLY>(group, output);
        let is_whole = answered == group.len() || output.len() >= OUTPUT_LEN_MAX;
        if TRACED
            && !is_whole
            && let Some(traced) = &self.worker.service.traced
        {
            traced.pass(&self.state.http1.draw);
        }
        let together = &self.state.client.together;
        together.set(together.get().after(is_whole));
        (group.end_of(answered), is_whole)
    }

    /// Answers requests in their order, as long as there is room for answers and none is for the
    /// service. Returns how many were answered; the first finds room.
    fn answer<const HITS_ONLY: bool>(&self, group: &mut Gathered, output: &mut Buffer) -> usize {
        let service = &*self.worker.service;
        let at = if HITS_ONLY { service.token_time() } else { self.now };
        let digests = group.digest(&self.access.digester);
        service.engine.answer_many(digests, at, |found| {
            let mut pairs = digests.iter().zip(found);
            let mut is_answered = |(digest, looked_up): (&Digest, &Lookup<&[u8]>)| {
                let has_room = output.len() < OUTPUT_LEN_MAX;
                has_room && self.answer_one::<HITS_ONLY>(digest, looked_up, output)
            };
            pairs.position(|pair| !is_answered(pair)).unwrap_or(digests.len())
        })
    }

    /// False where the request is for the service, and nothing was answered.
    fn answer_one<const HITS_ONLY: bool>(
        &self,
        digest: &Digest,
        looked_up: &Lookup<&[u8]>,
        output: &mut Buffer,
    ) -> bool {
        let service = &*self.worker.service;
        let payload = match looked_up {
            Lookup::Found(payload) => Some(*payload),
            _ => None,
        };
        let is_found = payload.is_some();
        if !is_found && HITS_ONLY {
            return false;
        }
        let Ok(trail) = QuickTrail::begin(service) else { return false };
        match payload {
            Some(payload) => self.found(payload, output),
            None if self.may_miss() => self.not_found(output),
            None => return false,
        }
        if let Some(trail) = trail {
            let found = (is_found, Some(if is_found { 200 } else { 404 }));
            let peer = self.state.address();
            trail.end(service, peer, self.access, *digest, found, Operation::Resolve);
        }
        true
    }

    /// Counts a miss. What is missed too often is refused by the service.
    fn may_miss(&self) -> bool {
        let peer = self.state.client.peer.get();
        self.worker.service.miss_limiter.may_miss(self.access, peer, self.now)
    }

    fn found(&self, payload: &[u8], output: &mut Buffer) {
        let out = output.tail(canned::OK_HEAD.len() + 128 + payload.len());
        let (head, payload) = match is_json(payload) {
            true => (canned::OK_HEAD, payload),
            false => (canned::OK_HEAD_OF_BYTES, value_of(payload)),
        };
        canned::complete(out, head, payload.len(), &self.worker.date.borrow());
        out.put_slice(payload);
        self.worker.counters.count(Operation::Resolve, Class::Done);
    }

    fn not_found(&self, output: &mut Buffer) {
        let out = output.tail(canned::NOT_FOUND_HEAD.len() + 512);
        let date = self.worker.date.borrow();
        canned::complete(out, canned::NOT_FOUND_HEAD, problem::NOT_FOUND.len(), &date);
        out.put_slice(problem::NOT_FOUND);
        self.worker.counters.count(Operation::Resolve, Class::Refused);
    }
}

#[cfg(test)]
mod tests;
