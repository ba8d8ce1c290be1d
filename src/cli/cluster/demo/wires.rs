//! Calls of the demo: a connection to each node, made again where it ended, and calls that are
//! repeated until they have an answer that is certain.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::{sleep, timeout};

use super::failure::DemoFailure;
use crate::cli::wire::{Answer, Trust, Wire, WireError};
use crate::clock::Clock;

/// Time for one answer. A node answers `unknown` after 10 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);
/// Time in which a call must have an answer that is certain, on any node.
const CERTAIN_LIMIT: Duration = Duration::from_secs(40);
/// Pause before a call is repeated on the next node.
const AGAIN_AFTER: Duration = Duration::from_millis(25);

/// One connection to one listener.
pub(super) struct Line {
    url: String,
    wire: Option<Wire>,
}

/// A request. With a key it can be repeated without harm; so can one that changes nothing.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) key: Option<String>,
    pub(super) body: Option<String>,
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), key: None, body: None }
    }

    /// An issue under a key.
    pub(super) fn issue(key: String, payload: &str) -> Self {
        let body = format!(r#"{{"payload":{payload},"ttl":"1h"}}"#);
        Self { key: Some(key), ..Self::post("/v1/tokens", Some(body)) }
    }

    /// A consume under a key.
    pub(super) fn consume(key: String, token: &str) -> Self {
        let path = format!("/v1/tokens/{token}/consume");
        Self { key: Some(key), ..Self::post(path, None) }
    }

    pub(super) fn resolve(token: &str) -> Self {
        Self::get(format!("/v1/tokens/{token}"))
    }

    pub(super) fn post(path: impl Into<String>, body: Option<String>) -> Self {
        Self { method: Method::POST, path: path.into(), key: None, body }
    }
}

impl Line {
    pub(super) fn to(url: &str) -> Self {
        Self { url: url.to_owned(), wire: None }
    }

    /// Sends a call once.
    pub(super) async fn send(&mut self, call: &Call) -> Result<Answer, WireError> {
        let sending = async {
            let mut wire = match self.wire.take() {
                Some(wire) => wire,
                None => Wire::connect(&self.url, None, NO_TRUST).await?,
            };
            let body = call.body.clone().map(String::into_bytes);
            let answer = wire.send(call.method.clone(), &call.path, call.key.as_deref(), body);
            let answer = answer.await?;
            self.wire = Some(wire);
            Ok(answer)
        };
        timeout(ANSWER_LIMIT, sending).await.unwrap_or(Err(WireError::Slow))
    }
}

const NO_TRUST: Trust<'static> = Trust { ca: None, identity: None };

/// A connection to each node.
pub(super) struct Lines {
    lines: Vec<Line>,
}

impl Lines {
    pub(super) fn to(urls: &[String]) -> Self {
        Self { lines: urls.iter().map(|url| Line::to(url)).collect() }
    }

    /// Sends a call to node `first`, and to the next one each time it has no answer or a 5xx: the
    /// change did not happen, or happened, and the key makes it happen once.
    ///
    /// # Errors
    /// No node had an answer within 40 s.
    pub(super) async fn certain(
        &mut self,
        clock: &dyn Clock,
        first: usize,
        call: &Call,
    ) -> Result<Answer, DemoFailure> {
        let begin = clock.monotonic();
        let mut at = first;
        loop {
            let count = self.lines.len();
            let why = match self.lines[at % count].send(call).await {
                Ok(answer) if !may_pass(answer.status) => return Ok(answer),
                Ok(answer) => refusal(&answer),
                Err(error) => error.to_string(),
            };
            if clock.monotonic().saturating_sub(begin) > CERTAIN_LIMIT {
                let what = format!("{} {}", call.method, without_token(&call.path));
                return Err(DemoFailure::Slow { what, seconds: CERTAIN_LIMIT.as_secs(), why });
            }
            at += 1;
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// Whether the same call may succeed later or elsewhere.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn refusal(answer: &Answer) -> String {
    format!("{}: {}", answer.status, crate::cli::wire::reason(&answer.body))
}

/// A path for a message, which has no token (P9).
pub(super) fn without_token(path: &str) -> &str {
    if path.starts_with("/v1/tokens/") { "/v1/tokens/…" } else { path }
}
