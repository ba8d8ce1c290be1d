//! Changes on the short way: an issue or a consume, alone or as a batch, that has arrived as a whole.
//!
//! A change waits for the committer, so its answer is pending for a time. The operation, its checks, its
//! lines in the audit log and its answer are those of every request; what is passed by is hyper with
//! its pipe, and the general reading of heads.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::http::answer::response::Body;
use crate::http::api::answering::Exchange;
use crate::http::api::endpoints::{body_kind, perform_gathered};
use crate::http::conn::context::Worker;
use crate::http::conn::phase::Phase;
use crate::http::conn::state::ConnState;
use crate::http::h1::hot_head::Change;
use crate::http::ops::Request;
use crate::http::request::body;
use crate::http::request::named::digest_of;
use crate::service::principal::Principal;

/// An answer that is pending.
pub(in crate::http) type Pending = Pin<Box<dyn Future<Output = Response<Body>>>>;

/// The request on the short way.
pub(in crate::http) enum ShortWay {
    /// Its answer is pending.
    Pending(Pending),
    /// The rest of its answer; whether the connection ends behind it.
    Sending(Body, bool),
}

/// Begins to answer `change`, which `access` asks for. `None` if it is left to hyper, because it is to be
/// refused before its operation begins, or has a body that is too long; then nothing has happened.
pub(in crate::http) fn begin(
    worker: &Rc<Worker>,
    conn: &Rc<ConnState>,
    access: &Principal,
    change: Change<'_>,
) -> Option<Pending> {
    let Change { operation, token, idempotency_key, body } = change;
    if operation.scope().is_some_and(|scope| !access.may(scope)) {
        return None;
    }
    let token = match token {
        Some(text) => Some(digest_of(text, &access.digester).ok()?),
        None => None,
    };
    let mut headers = HeaderMap::new();
    if let Some(key) = idempotency_key {
        let name = HeaderName::from_static("idempotency-key");
        headers.insert(name, HeaderValue::from_bytes(key).ok()?);
    }
    let exchange = Exchange::of_change(worker, conn, access);
    exchange.trail.token_of(token);
    exchange.trail.may(operation).ok()?;
    let holder = exchange.holder();
    let gathered = body::whole(worker, &holder, body, body_kind(operation, &worker.config))?;
    conn.enter(Phase::Busy, worker.now());
    let access = access.clone();
    Some(Box::pin(async move {
        let done = match gathered.map(body::Gathered::into_parts) {
            Ok((body, _charge)) => {
                let context = exchange.context(&access, &holder);
                perform_gathered(operation, Request { context, headers, token, body }).await
            }
            Err(problem) => Err(problem),
        };
        exchange.finish_written(operation, done).await
    }))
}
