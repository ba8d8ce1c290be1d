//! From a route and a method to an operation: what it takes for a body, and what performs it.

use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;

use crate::http::answer::problem::Problem;
use crate::http::answer::response::Body;
use crate::http::api::request_context::RequestContext;
use crate::http::conn::context::Worker;
use crate::http::ops::{consume, extend, issue, resolve, revoke, status};
use crate::http::request::body::{self, BodyKind};
use crate::http::request::routes::Route;
use crate::model::token::Digest;
use crate::service::operation::Operation;

/// What a method does at a route; `None` where the route does not have the method.
pub(super) fn operation(route: Route<'_>, method: &Method) -> Option<Operation> {
    match (route, method) {
        (Route::Token(_), &Method::GET) => Some(Operation::Resolve),
        (Route::Token(_), &Method::PATCH) => Some(Operation::Extend),
        (Route::Token(_), &Method::DELETE) => Some(Operation::Revoke),
        (Route::TokenStatus(_), &Method::GET) => Some(Operation::Status),
        (Route::Tokens, &Method::POST) => Some(Operation::Issue),
        (Route::TokensBatch, &Method::POST) => Some(Operation::IssueBatch),
        (Route::Resolve, &Method::POST) => Some(Operation::ResolveBatch),
        (Route::Consume, &Method::POST) => Some(Operation::ConsumeBatch),
        (Route::Status, &Method::POST) => Some(Operation::StatusBatch),
        (Route::Extend, &Method::POST) => Some(Operation::ExtendBatch),
        (Route::Revoke, &Method::POST) => Some(Operation::RevokeBatch),
        (Route::TokenConsume(_), &Method::POST) => Some(Operation::Consume),
        _ => None,
    }
}

/// Reads the body, admits the request again, and performs `operation`.
pub(super) async fn perform(
    worker: &Worker,
    request: RequestContext<'_>,
    operation: Operation,
    token: Option<Digest>,
    mut headers: HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Body>, Problem> {
    let kind = match operation {
        Operation::Issue => BodyKind::Json(worker.config.issue_body_len_max()),
        Operation::IssueBatch => BodyKind::Json(worker.config.issue_batch_body_len_max()),
        Operation::ResolveBatch
        | Operation::ConsumeBatch
        | Operation::StatusBatch
        | Operation::ExtendBatch
        | Operation::RevokeBatch => BodyKind::Json(worker.config.list_body_len_max()),
        Operation::Extend => BodyKind::Json(body::SMALL_LEN_MAX),
        Operation::Consume => BodyKind::EmptyObject,
        Operation::Resolve | Operation::Status | Operation::Revoke | Operation::Unknown => {
            BodyKind::None
        }
    };
    let gathered = body::gather(worker, request, &mut headers, body, kind).await?;
    request.admit_again(worker, &headers, operation)?;
    match (operation, token) {
        (Operation::Issue, _) => issue::one(worker, request, headers, gathered.bytes).await,
        (Operation::IssueBatch, _) => issue::batch(worker, request, headers, gathered.bytes).await,
        (Operation::ResolveBatch, _) => resolve::batch(worker, request, headers, &gathered.bytes),
        (Operation::ConsumeBatch, _) => {
            consume::batch(worker, request, headers, gathered.bytes).await
        }
        (Operation::StatusBatch, _) => status::batch(worker, request, headers, &gathered.bytes),
        (Operation::ExtendBatch, _) => {
            extend::batch(worker, request, headers, gathered.bytes).await
        }
        (Operation::RevokeBatch, _) => revoke::batch(worker, request, gathered.bytes).await,
        (Operation::Consume, Some(digest)) => consume::one(worker, request, headers, digest).await,
        (Operation::Extend, Some(digest)) => {
            extend::one(worker, request, headers, digest, gathered.bytes).await
        }
        (Operation::Revoke, Some(digest)) => revoke::one(worker, request, digest).await,
        // These come here where the end of their empty body was still to come.
        (Operation::Resolve, Some(digest)) => resolve::one(worker, headers, &digest),
        (Operation::Status, Some(digest)) => status::one(worker, headers, &digest),
        (
            Operation::Resolve
            | Operation::Status
            | Operation::Unknown
            | Operation::Consume
            | Operation::Extend
            | Operation::Revoke,
            _,
        ) => Err(Problem::not_found()),
    }
}
