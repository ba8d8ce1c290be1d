//! The canonical introspection on the hot path: a form that came whole, with its key in the head.

use bytes::BufMut;

use crate::engine::Introspected;
use crate::http::answer::canned;
use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::http::request::client_secret::ClientSecret;
use crate::http::request::form::Form;
use crate::http::request::named::digest_of_name;
use crate::keys::Access;
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::net::buffer::Buffer;
use crate::service::counters::Class;
use crate::service::introspection::{INACTIVE, Introspection};
use crate::service::operation::Operation;
use crate::service::quick_trail::QuickTrail;

/// Answers an introspection with this form and value of `Authorization`. False where it is left to
/// the service, which says why it is refused, or looks again; then nothing was answered.
#[inline(never)]
pub(super) fn serve<const HITS_ONLY: bool>(
    worker: &Worker,
    state: &ConnState,
    form: &[u8],
    key: Option<&[u8]>,
    output: &mut Buffer,
) -> bool {
    let (service, form) = (&*worker.service, Form::read(form));
    let secret = key.map_or(ClientSecret::Nothing, ClientSecret::of_header);
    let (Ok(token), Ok(None)) = (form.token(), form.client_secret()) else { return false };
    let (cached, now) = (&state.client.credentials, service.now());
    let admitted = service.authenticator.admit_client(cached, secret.presented(), now);
    let Ok(access) = admitted else { return false };
    let Ok(digest) = digest_of_name(token, &access.digester) else { return false };
    if !access.may(Scope::Resolve) {
        return false;
    }
    let Ok(trail) = QuickTrail::begin(service) else { return false };
    let at = if HITS_ONLY { service.token_time() } else { now };
    let is_found = active::<HITS_ONLY>(worker, &digest, at, output);
    if !is_found && (HITS_ONLY || !inactive(worker, state, &access, now, output)) {
        return false;
    }
    worker.counters.count(Operation::Introspect, Class::Done);
    if let Some(trail) = trail {
        let found = (is_found, Some(200));
        trail.end(service, state.address(), &access, digest, found, Operation::Introspect);
    }
    true
}

/// Answers where the token resolves; else false.
fn active<const HITS_ONLY: bool>(
    worker: &Worker,
    digest: &Digest,
    now: UnixMillis,
    output: &mut Buffer,
) -> bool {
    let (engine, copy) = (&worker.service.engine, |token: &Introspected<'_>| {
        let answer = Introspection::of(token);
        let len = answer.len();
        answer.write(head(worker, len, output));
    });
    let found = match HITS_ONLY {
        true => engine.find_introspected(digest, now, copy),
        false => engine.introspect(digest, now, copy),
    };
    found.is_some()
}

/// Answers that a token is not active. False for a client that has missed too often, which the
/// service refuses.
fn inactive(
    worker: &Worker,
    state: &ConnState,
    access: &Access,
    now: UnixMillis,
    output: &mut Buffer,
) -> bool {
    if !worker.service.miss_limiter.may_miss(access, state.client.peer.get(), now) {
        return false;
    }
    head(worker, INACTIVE.len(), output).put_slice(INACTIVE);
    true
}

/// Writes the head of an answer of `len` bytes, which is to follow.
fn head<'o>(worker: &Worker, len: usize, output: &'o mut Buffer) -> &'o mut Vec<u8> {
    let out = output.tail(canned::OAUTH_HEAD.len() + 128 + len);
    canned::complete(out, canned::OAUTH_HEAD, len, &worker.date.borrow());
    out
}
