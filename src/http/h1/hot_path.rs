//! The hot path: the canonical `GET /v1/tokens/{token}` is answered before hyper sees it, and so is
//! the canonical introspection.
//!
//! Resolves are most of what a server does, and most of what a resolve costs beyond the kernel is
//! the general parsing and writing of HTTP. [`head::hot`] knows one form of request only, byte for
//! byte what ordinary clients send, and leaves everything else to hyper: another method, version or
//! target, a header it does not know or a value with an unusual byte, a body of any kind, a missing
//! or second Host. The hot path takes whole heads and only between requests, so hyper never sees half
//! of what was answered here.

use bytes::BufMut;

use crate::http::answer::{canned, problem};
use crate::http::conn::context::Worker;
use crate::http::conn::pipe::OUTPUT_LEN_MAX;
use crate::http::conn::state::ConnState;
use crate::http::h1::head::{self, Hot};
use crate::http::h1::hot_introspection;
use crate::http::request::authorization::presented;
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Token};
use crate::model::value::{is_json, value_of};
use crate::net::buffer::Buffer;
use crate::service::audit_trail::QuickTrail;
use crate::service::counters::Class;
use crate::service::networks::Misses;
use crate::service::operation::Operation;

/// How far the hot path came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Progress {
    /// Everything that had arrived is answered.
    Drained,
    /// The begin of a request that may become canonical is there: read on.
    Partial,
    /// The output is full: send it, then come back.
    Full,
    /// What comes next is for hyper.
    Other,
}

/// Answers canonical requests from the front of the input, as far as they go.
pub(in crate::http) fn serve(worker: &Worker, state: &ConnState) -> Progress {
    serve_as::<false>(worker, state)
}

/// The same for a node of a cluster: a miss is for the service, which confirms it first.
pub(in crate::http) fn serve_hits(worker: &Worker, state: &ConnState) -> Progress {
    serve_as::<true>(worker, state)
}

fn serve_as<const HITS_ONLY: bool>(worker: &Worker, state: &ConnState) -> Progress {
    let service = &*worker.service;
    let (mut input, mut output) = (state.wire.input.borrow_mut(), state.wire.output.borrow_mut());
    loop {
        if input.is_empty() {
            return Progress::Drained;
        }
        if output.len() >= OUTPUT_LEN_MAX {
            return Progress::Full;
        }
        let found = head::hot(input.unread(), state.client.host.borrow().text());
        let (token, key, new_host, len) = match found {
            Hot::Resolve { token, key, new_host, len } => (token, key, new_host, len),
            Hot::Introspect { form, key, new_host, len } => {
                let is_accepted = new_host.is_none_or(|host| worker.accepts_host(state, host));
                if !is_accepted
                    || !hot_introspection::serve::<HITS_ONLY>(worker, state, form, key, &mut output)
                {
                    return Progress::Other;
                }
                input.advance(len);
                continue;
            }
            Hot::Partial => return Progress::Partial,
            Hot::Other => return Progress::Other,
        };
        // What is not accepted is refused by the service.
        if new_host.is_some_and(|host| !worker.accepts_host(state, host)) {
            return Progress::Other;
        }
        let Ok(token) = Token::parse(token) else { return Progress::Other };
        let now = service.now();
        // Who may not is told so by the service.
        match service.authenticator.admit(&state.client.credentials, presented(key), now) {
            Ok(access) if access.may(Scope::Resolve) => {
                let Ok(trail) = QuickTrail::begin(service) else { return Progress::Other };
                let digest = access.digester.digest(&token);
                let at = if HITS_ONLY { service.token_time() } else { now };
                let is_found = answer::<HITS_ONLY>(worker, &digest, at, &mut output);
                if !is_found && HITS_ONLY {
                    return Progress::Other;
                }
                if !is_found {
                    // What is missed too often is refused by the service.
                    let peer = state.client.peer.get();
                    if service.miss_limiter.is_in_debt(&access, peer, now) {
                        return Progress::Other;
                    }
                    service.miss_limiter.charge(&access, peer, now, Misses::ONE);
                    not_found(worker, &mut output);
                }
                if let Some(trail) = trail {
                    let found = (is_found, Some(if is_found { 200 } else { 404 }));
                    trail.end(service, state.address(), &access, digest, found, Operation::Resolve);
                }
            }
            Ok(_) | Err(_) => return Progress::Other,
        }
        input.advance(len);
    }
}

/// False where nothing is there, and nothing was answered.
fn answer<const HITS_ONLY: bool>(
    worker: &Worker,
    digest: &Digest,
    now: UnixMillis,
    output: &mut Buffer,
) -> bool {
    let (date, engine) = (worker.date.borrow(), &worker.service.engine);
    let copy = |payload: &[u8]| {
        let out = output.tail(canned::OK_HEAD.len() + 128 + payload.len());
        let (head, payload) = match is_json(payload) {
            true => (canned::OK_HEAD, payload),
            false => (canned::OK_HEAD_OF_BYTES, value_of(payload)),
        };
        out.put_slice(head);
        out.put_slice(itoa::Buffer::new().format(payload.len()).as_bytes());
        out.put_slice(b"\r\ndate: ");
        out.put_slice(date.as_bytes());
        out.put_slice(b"\r\n\r\n");
        out.put_slice(payload);
    };
    let found = match HITS_ONLY {
        true => engine.find(digest, now, copy),
        false => engine.resolve(digest, now, copy),
    };
    if found.is_some() {
        worker.counters.count(Operation::Resolve, Class::Done);
    }
    found.is_some()
}

fn not_found(worker: &Worker, output: &mut Buffer) {
    let out = output.tail(canned::NOT_FOUND_HEAD.len() + 512);
    out.put_slice(canned::NOT_FOUND_HEAD);
    out.put_slice(itoa::Buffer::new().format(problem::NOT_FOUND.len()).as_bytes());
    out.put_slice(b"\r\ndate: ");
    out.put_slice(worker.date.borrow().as_bytes());
    out.put_slice(b"\r\n\r\n");
    out.put_slice(problem::NOT_FOUND);
    worker.counters.count(Operation::Resolve, Class::Refused);
}
