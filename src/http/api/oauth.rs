//! Requests with a form: the client is known only after the form was read, because its key may be in
//! it.

use http::{HeaderMap, Response};
use hyper::body::Incoming;

use crate::http::answer::problem::Problem;
use crate::http::answer::response::Body;
use crate::http::api::answering::Exchange;
use crate::http::api::endpoints::perform_gathered;
use crate::http::ops::{Answered, Request};
use crate::http::request::body::{self, BodyKind, Gathered, Sender};
use crate::http::request::client_secret::ClientSecret;
use crate::http::request::form::Form;
use crate::http::request::named::digest_of_name;
use crate::model::token::Digest;
use crate::service::memory_budget::Holder;
use crate::service::operation::Operation;
use crate::service::principal::{Principal, demand};
use crate::service::refusal::Refusal;

/// Answers a request for `operation`.
pub(super) async fn answer(
    mut exchange: Exchange,
    operation: Operation,
    headers: HeaderMap,
    mut body: Incoming,
) -> Response<Body> {
    let done = perform(&mut exchange, operation, headers, &mut body).await;
    body::let_run_out(&exchange.worker, &exchange.conn, body);
    exchange.finish_written(operation, done).await
}

async fn perform(
    exchange: &mut Exchange,
    operation: Operation,
    mut headers: HeaderMap,
    body: &mut Incoming,
) -> Answered {
    let (form, _charge) = gather(exchange, &mut headers, body).await?.into_parts();
    let form = Form::read(&form);
    let client = admit(exchange, &ClientSecret::of(&headers, &form)?)?;
    exchange.trail.admitted(&client);
    exchange.access = Some(client.clone());
    if let Some(scope) = operation.scope() {
        demand(&client, scope)?;
    }
    exchange.trail.may(operation)?;
    let token = token(&client, &form)?;
    let holder = exchange.holder();
    let context = exchange.context(&client, &holder);
    let request = Request { context, headers, token, body: bytes::Bytes::new() };
    perform_gathered(operation, request).await
}

/// Receives the form. Its memory is charged to the client if the head says who that is.
async fn gather(
    exchange: &Exchange,
    headers: &mut HeaderMap,
    body: &mut Incoming,
) -> Result<Gathered, Problem> {
    let (worker, conn) = (&*exchange.worker, &*exchange.conn);
    let (service, cached) = (&worker.service, &conn.client.credentials);
    let secret = ClientSecret::in_head(headers)?;
    let known = service.authenticator.admit_client(cached, secret.presented(), service.now()).ok();
    drop(secret);
    let is_keyless = known.as_ref().is_none_or(|client| client.key.is_none());
    let holder = Holder { access: known, ..conn.holder() };
    let sender = Sender { conn, holder: &holder, is_keyless };
    body::gather(worker, sender, headers, body, BodyKind::Form).await
}

/// Authenticates the client.
fn admit(exchange: &Exchange, secret: &ClientSecret<'_>) -> Result<Principal, Problem> {
    let (service, client) = (&exchange.worker.service, &exchange.conn.client);
    let now = service.now();
    let admitted = service.authenticator.admit_client(&client.credentials, secret.presented(), now);
    admitted.map_err(|denied| match service.denied(denied, client.peer.get()) {
        Refusal::NoKey => Problem::unauthorized(
            "a key is needed: as a bearer token, as the password of Basic, or as client_secret",
        ),
        refusal => refusal.into(),
    })
}

/// The digest of the token in the form, which may be a name; `None` for a text that is too long for
/// one.
fn token(client: &Principal, form: &Form<'_>) -> Result<Option<Digest>, Problem> {
    Ok(digest_of_name(form.token()?, &client.digester).ok())
}
