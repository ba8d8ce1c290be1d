//! The table of endpoints: for each operation its path and method, its id in the OpenAPI
//! description, its body, and its handler.

use std::borrow::Cow;

use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use percent_encoding::percent_decode;

use crate::http::answer::problem::Problem;
use crate::http::answer::response::Body;
use crate::http::api::request_context::RequestContext;
use crate::http::config::Config;
use crate::http::conn::context::Worker;
use crate::http::ops::{Request, consume, extend, introspect, issue, put, resolve, revoke, status};
use crate::http::request::body::{self, BodyKind};
use crate::http::request::named::{digest_of, digest_of_name};
use crate::model::token::{Digest, Digester};
use crate::service::operation::Operation;

/// Makes [`ENDPOINTS`] and [`perform`] from one line for each operation, which may have several paths.
macro_rules! endpoints {
    ($($operation:ident: $($method:ident $path:literal, id: $id:literal)|+, $takes:expr,
       $handler:path;)+) => {
        /// All endpoints. The methods of a path are in the order of the `Allow` header.
        const ENDPOINTS: &[Endpoint] = &[$($(Endpoint {
            operation: Operation::$operation,
            method: Method::$method,
            path: Path::of($path),
            id: $id,
            takes: $takes,
        },)+)+];

        /// Performs an operation whose body is complete.
        pub(super) async fn perform_gathered(
            operation: Operation,
            request: Request<'_>,
        ) -> Result<Response<Body>, Problem> {
            match operation {
                $(Operation::$operation => $handler(request).await,)+
                Operation::Deadline
                | Operation::Together
                | Operation::Session
                | Operation::Unknown => Err(Problem::not_found()),
            }
        }
    };
}

endpoints! {
    // operation: method and path, operation id of the description, body, handler
    Issue: POST "/v1/tokens", id: "issue", Takes::Json(Config::issue_body_len_max), issue::one;
    IssueBatch: POST "/v1/tokens/batch", id: "issueBatch",
        Takes::Json(Config::issue_batch_body_len_max), issue::batch;
    ResolveBatch: POST "/v1/resolve", id: "resolveBatch", LIST, resolve::batch;
    ConsumeBatch: POST "/v1/consume", id: "consumeBatch", LIST, consume::batch;
    StatusBatch: POST "/v1/status", id: "statusBatch", LIST, status::batch;
    ExtendBatch: POST "/v1/extend", id: "extendBatch", LIST, extend::batch;
    RevokeBatch: POST "/v1/revoke", id: "revokeBatch", LIST, revoke::batch;
    Consume: POST "/v1/tokens/{token}/consume", id: "consume", Takes::EmptyObject, consume::one;
    Status: GET "/v1/tokens/{token}/status", id: "status", Takes::Nothing, status::one;
    Resolve: GET "/v1/tokens/{token}", id: "resolve", Takes::Nothing, resolve::one;
    Extend: PATCH "/v1/tokens/{token}", id: "extend", Takes::Fields, extend::one;
    Revoke: DELETE "/v1/tokens/{token}", id: "revoke", Takes::Nothing, revoke::one;
    Put: PUT "/v1/names/{name}", id: "put" | POST "/v1/names", id: "putNamed",
        Takes::Json(Config::issue_body_len_max), put::one;
    Introspect: POST "/oauth2/introspect", id: "introspect", Takes::Form, introspect::one;
    OauthRevoke: POST "/oauth2/revoke", id: "oauthRevoke", Takes::Form, revoke::by_form;
}

/// A list of tokens.
const LIST: Takes = Takes::Json(Config::list_body_len_max);

/// The body that an endpoint accepts.
#[derive(Clone, Copy)]
enum Takes {
    /// JSON, of a length that the configuration limits.
    Json(fn(&Config) -> usize),
    /// JSON of a few small fields.
    Fields,
    /// No body, or an object without fields.
    EmptyObject,
    /// A form, which may hold the key of the client.
    Form,
    /// Nothing.
    Nothing,
}

impl Takes {
    fn kind(self, config: &Config) -> BodyKind {
        match self {
            Self::Json(len_max) => BodyKind::Json(len_max(config)),
            Self::Fields => BodyKind::Json(body::SMALL_LEN_MAX),
            Self::EmptyObject => BodyKind::EmptyObject,
            Self::Form => BodyKind::Form,
            Self::Nothing => BodyKind::None,
        }
    }
}

/// An operation at its path and method.
pub(super) struct Endpoint {
    pub(super) operation: Operation,
    method: Method,
    path: Path,
    /// Operation id in the OpenAPI description.
    #[cfg_attr(not(test), expect(dead_code, reason = "the description is compared with it"))]
    id: &'static str,
    takes: Takes,
}

/// A path template with at most one token or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Path {
    prefix: &'static str,
    /// The part after the token or name.
    suffix: Option<&'static str>,
    is_name: bool,
}

const TOKEN: &str = "{token}";
const NAME: &str = "{name}";

impl Path {
    /// Parses a template with at most one `{token}` or `{name}`.
    const fn of(template: &'static str) -> Self {
        let mut at = 0;
        while at < template.len() {
            if template.as_bytes()[at] == b'{' {
                let (prefix, rest) = template.split_at(at);
                let is_name = rest.as_bytes()[1] == b'n';
                let (_, suffix) = rest.split_at(if is_name { NAME.len() } else { TOKEN.len() });
                return Self { prefix, suffix: Some(suffix), is_name };
            }
            at += 1;
        }
        Self { prefix: template, suffix: None, is_name: false }
    }

    /// The token in `path`, if the template has one; `None` if `path` does not match.
    fn matched(self, path: &[u8]) -> Option<Option<&[u8]>> {
        let rest = path.strip_prefix(self.prefix.as_bytes())?;
        let Some(suffix) = self.suffix else { return rest.is_empty().then_some(None) };
        let token = rest.strip_suffix(suffix.as_bytes())?;
        (!token.is_empty() && !token.contains(&b'/')).then_some(Some(token))
    }
}

/// The endpoints of a path, and the token in it, whose form is not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    path: Path,
    pub(super) token: Option<&'a [u8]>,
}

/// The route of `path`, if there is one.
pub(super) fn route(path: &[u8]) -> Option<Route<'_>> {
    ENDPOINTS.iter().find_map(|endpoint| {
        let token = endpoint.path.matched(path)?;
        Some(Route { path: endpoint.path, token })
    })
}

/// Whether the endpoints of `path` take forms: those of OAuth.
pub(super) fn takes_form(path: &[u8]) -> bool {
    path.starts_with(b"/oauth2/") && route(path).is_some()
}

impl Route<'_> {
    fn endpoints(self) -> impl Iterator<Item = &'static Endpoint> {
        ENDPOINTS.iter().filter(move |endpoint| endpoint.path == self.path)
    }

    /// The digest of the token or name in the path, if there is one.
    pub(super) fn digest(self, digester: &Digester) -> Option<Result<Digest, Problem>> {
        let text = self.token?;
        Some(match self.path.is_name {
            true => digest_of_name(&Cow::from(percent_decode(text)), digester),
            false => digest_of(text, digester),
        })
    }

    /// The endpoint of `method` at this path, if there is one.
    pub(super) fn endpoint(self, method: &Method) -> Option<&'static Endpoint> {
        self.endpoints().find(|endpoint| endpoint.method == *method)
    }

    /// The methods of this path, for `Allow`.
    pub(super) fn methods(self) -> String {
        let methods: Vec<_> = self.endpoints().map(|endpoint| endpoint.method.as_str()).collect();
        methods.join(", ")
    }
}

/// The body that the endpoint of `operation` takes.
pub(super) fn body_kind(operation: Operation, config: &Config) -> BodyKind {
    let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.operation == operation);
    endpoint.map_or(BodyKind::None, |endpoint| endpoint.takes.kind(config))
}

/// Reads the body, admits the request again, and performs the operation of `endpoint`.
pub(super) async fn perform(
    worker: &Worker,
    request: RequestContext<'_>,
    endpoint: &Endpoint,
    token: Option<Digest>,
    mut headers: HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Body>, Problem> {
    let kind = endpoint.takes.kind(&worker.config);
    let gathered = body::gather(worker, request.sender(), &mut headers, body, kind).await?;
    request.admit_again(worker, &headers, endpoint.operation)?;
    let (body, _charge) = gathered.into_parts();
    let request = Request { context: request.context, headers, token, body };
    perform_gathered(endpoint.operation, request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation<'a>(method: &Method, path: &'a str) -> Option<(Operation, Option<&'a [u8]>)> {
        let route = route(path.as_bytes())?;
        route.endpoint(method).map(|endpoint| (endpoint.operation, route.token))
    }

    #[test]
    fn every_endpoint_of_the_contract() {
        let token = Some(&b"abc"[..]);
        for (method, path, expected) in [
            (Method::POST, "/v1/tokens", (Operation::Issue, None)),
            (Method::POST, "/v1/tokens/batch", (Operation::IssueBatch, None)),
            (Method::POST, "/v1/resolve", (Operation::ResolveBatch, None)),
            (Method::POST, "/v1/consume", (Operation::ConsumeBatch, None)),
            (Method::POST, "/v1/status", (Operation::StatusBatch, None)),
            (Method::POST, "/v1/extend", (Operation::ExtendBatch, None)),
            (Method::POST, "/v1/revoke", (Operation::RevokeBatch, None)),
            (Method::GET, "/v1/tokens/abc", (Operation::Resolve, token)),
            (Method::PATCH, "/v1/tokens/abc", (Operation::Extend, token)),
            (Method::DELETE, "/v1/tokens/abc", (Operation::Revoke, token)),
            (Method::GET, "/v1/tokens/consume", (Operation::Resolve, Some(b"consume"))),
            (Method::POST, "/v1/tokens/abc/consume", (Operation::Consume, token)),
            (Method::GET, "/v1/tokens/abc/status", (Operation::Status, token)),
            (Method::PUT, "/v1/names/abc", (Operation::Put, token)),
            (Method::POST, "/v1/names", (Operation::Put, None)),
            (Method::POST, "/oauth2/introspect", (Operation::Introspect, None)),
            (Method::POST, "/oauth2/revoke", (Operation::OauthRevoke, None)),
        ] {
            assert_eq!(operation(&method, path), Some(expected), "{path}");
        }
    }

    #[test]
    fn nothing_else_is_a_route() {
        for path in [
            "",
            "/",
            "*",
            "/v1",
            "/v1/",
            "/v1/tokens/",
            "/v1/tokensx",
            "/v1/tokens//consume",
            "/v1/tokens/a/b",
            "/v1/tokens/a/b/consume",
            "/v1/tokens/a/",
            "/v1/resolve/",
            "/v1/revoke/",
            "/v1/status/a",
            "/v1/names/",
            "/v1/names/a/b",
            "/v2/tokens",
            "/oauth2",
            "/oauth2/",
            "/oauth2/token",
            "/oauth2/introspect/",
            "//v1/tokens",
        ] {
            assert_eq!(route(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn a_path_names_its_methods() {
        for (path, methods) in [
            ("/v1/tokens/abc", "GET, PATCH, DELETE"),
            ("/v1/tokens/batch", "POST"),
            ("/v1/tokens/abc/status", "GET"),
            ("/v1/names/abc", "PUT"),
            ("/v1/names", "POST"),
        ] {
            assert_eq!(route(path.as_bytes()).unwrap().methods(), methods);
        }
        assert_eq!(operation(&Method::GET, "/v1/tokens/batch"), None, "batch is not a token");
        assert_eq!(operation(&Method::HEAD, "/v1/tokens/abc"), None);
    }

    /// The OpenAPI description contains each endpoint under its id, and no others on the data
    /// listener.
    #[test]
    fn the_description_has_the_endpoints_and_their_ids() {
        let text = include_str!("../admin/openapi.json");
        let description: serde_json::Value = serde_json::from_str(text).unwrap();
        for Endpoint { method, path, id, operation, .. } in ENDPOINTS {
            let template = match path.suffix {
                Some(suffix) if path.is_name => format!("{}{NAME}{suffix}", path.prefix),
                Some(suffix) => format!("{}{TOKEN}{suffix}", path.prefix),
                None => path.prefix.to_owned(),
            };
            let method = method.as_str().to_lowercase();
            let described = &description["paths"][&template][&method]["operationId"];
            assert_eq!(described, id, "{operation:?}");
        }
        let paths = description["paths"].as_object().unwrap();
        let is_data =
            |path: &&String| path.starts_with("/v1/tokens") || route(path.as_bytes()).is_some();
        let described =
            paths.keys().filter(is_data).flat_map(|path| paths[path].as_object().unwrap());
        let count = described.filter(|(_, what)| what.get("operationId").is_some()).count();
        assert_eq!(count, ENDPOINTS.len());
    }
}
