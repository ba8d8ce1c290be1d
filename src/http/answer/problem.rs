//! Problem documents (RFC 9457), the answers to refused requests.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::model::cluster::ClusterId;

/// The one answer for every token that cannot be resolved (promise P10: unknown, expired, consumed,
/// revoked and foreign look the same).
pub(in crate::http) const NOT_FOUND: &[u8] =
    br#"{"type":"about:blank","title":"Not Found","status":404,"detail":"unknown token"}"#;

/// The detail of that answer.
pub(super) const NOTHING: &str = "unknown token";

#[derive(serde::Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// Why a request is refused. It never contains a token, a payload or any other text of the request
/// (promise P9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Problem {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) detail: Cow<'static, str>,
    /// The field of the body, or the header, that the problem concerns.
    pub(in crate::http) field: Option<Cow<'static, str>>,
    /// Value of `Allow`, for 405.
    pub(super) allow: Option<String>,
    /// Value of `WWW-Authenticate`, for 401 and 403 (RFC 6750, 3).
    pub(super) challenge: Option<&'static str>,
    /// Value of `Retry-After`, for 429, in seconds.
    pub(super) retry_after: Option<u64>,
    /// Value of `Jeton-Cluster`. Boxed, because few problems have one.
    pub(super) cluster: Option<Box<ClusterId>>,
    /// Whether the connection is closed after this answer, because the rest of the request is not
    /// read.
    pub(in crate::http) closes: bool,
}

impl Problem {
    pub(in crate::http) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            field: None,
            allow: None,
            challenge: None,
            retry_after: None,
            cluster: None,
            closes: false,
        }
    }

    /// 400: the form of the request is wrong.
    pub(in crate::http) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 422: the form is right, but a value is out of its limits.
    pub(in crate::http) fn out_of_limits(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 413.
    pub(in crate::http) fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 503 with `Retry-After`.
    pub(in crate::http) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 404: the same for every token that cannot be resolved.
    pub(in crate::http) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, NOTHING)
    }

    /// 404: the path is unknown, whatever the token in it.
    pub(in crate::http) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such path")
    }

    /// 405.
    pub(in crate::http) fn method_not_allowed(allow: String) -> Self {
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!(
                "this path allows the methods \
                {allow}"
            ),
        );
        problem.allow = Some(allow);
        problem
    }

    /// 401: no key was presented.
    pub(in crate::http) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, detail);
        Self { challenge: Some("Bearer realm=\"jeton\""), ..problem }
    }

    /// 401: the presented key is not valid, whatever the reason.
    pub(in crate::http) fn wrong_key() -> Self {
        let problem = Self::unauthorized("the key is not valid here");
        Self { challenge: Some("Bearer realm=\"jeton\", error=\"invalid_token\""), ..problem }
    }

    /// 403: the key may not do this.
    pub(in crate::http) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self::new(StatusCode::FORBIDDEN, detail);
        let challenge = "Bearer realm=\"jeton\", error=\"insufficient_scope\"";
        Self { challenge: Some(challenge), ..problem }
    }

    /// Sets the field that the problem concerns.
    #[must_use]
    pub(in crate::http) fn about(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// States the cluster of this node, which is how a client compares nodes.
    #[must_use]
    pub(in crate::http) fn of_cluster(mut self, cluster: ClusterId) -> Self {
        self.cluster = Some(Box::new(cluster));
        self
    }

    /// Sets when to retry, in whole seconds.
    #[must_use]
    pub(in crate::http) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub(in crate::http) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    fn title(&self) -> &'static str {
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
            StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
            status => status.canonical_reason().unwrap_or("Error"),
        }
    }

    /// The problem document.
    pub(in crate::http) fn to_json(&self) -> Vec<u8> {
        let document = Document {
            r#type: "about:blank",
            title: self.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        // Strings and a number always serialize.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_the_fixed_404_is_the_document_it_claims_to_be() {
        let fixed: serde_json::Value = serde_json::from_slice(NOT_FOUND).unwrap();
        let made: serde_json::Value =
            serde_json::from_slice(&Problem::not_found().to_json()).unwrap();
        assert_eq!(fixed, made);
    }
}
