//! Access control of the admin listener: with a keys file, every path except the health checks
//! needs a key with the scope that the path demands. Refusals go to the audit log.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;

use super::view::{TEXT, UNIX_PEER, View, text};
use crate::audit::{self, EventOutcome, Permit};
use crate::http::answer::problem::Problem;
use crate::http::request::authorization::bearer;
use crate::http::request::browser::{Refused, Sender, is_navigation};
use crate::http::request::head as request_head;
use crate::keys::{Access, Table};
use crate::model::scope::{Scope, Scopes};
use crate::model::time::UnixMillis;
use crate::tls::Peer;

/// Refuses a request from a page of another site without a key, as the data listener does (see
/// [`crate::http::request::browser`]). Otherwise returns the origin of the page that may read the
/// answer.
pub(super) fn page<B>(
    request: &Request<B>,
    address: SocketAddr,
    view: &View,
) -> Result<Option<HeaderValue>, Problem> {
    let (headers, path) = (request.headers(), request.uri().path());
    if is_open(path) {
        return Ok(None);
    }
    let host = request_head::host(request.uri(), request.version(), headers)?;
    let refuse = |refused: Refused| {
        view.web.log(refused, view.now());
        let forbidden = EventOutcome::Forbidden;
        audit(view, address, "admin", forbidden, Some(StatusCode::FORBIDDEN), None);
        Err(Problem::new(StatusCode::FORBIDDEN, refused.detail()))
    };
    // A page in a browser cannot reach a Unix socket.
    let checks_host = !view.is_guarded && address != UNIX_PEER;
    if checks_host && host.is_some_and(|host| !view.web.accepts_host(host)) {
        return refuse(Refused::Host);
    }
    let is_ambient = !view.is_guarded || !headers.contains_key(AUTHORIZATION);
    match view.web.sender(headers, host) {
        Sender::Allowed(origin) => Ok(Some(origin)),
        Sender::Foreign if is_ambient => match path {
            "/" if is_navigation(request.method(), headers) => Ok(None),
            _ => refuse(Refused::Origin),
        },
        Sender::Own | Sender::Foreign => Ok(None),
    }
}

/// Whether the path needs no key and no checked headers: probes send arbitrary headers.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// Refuses what takes time (a backup, a decision about the cluster) to any page in a browser, even
/// without keys and if the page's name was made to resolve to this server. A browser sends `Origin`
/// with each POST (RFC 6454, 7.3).
pub(super) fn from_a_page(
    operation: &'static str,
    address: SocketAddr,
    view: &View,
) -> Response<Full<Bytes>> {
    let forbidden = EventOutcome::Forbidden;
    audit(view, address, operation, forbidden, Some(StatusCode::FORBIDDEN), None);
    text(StatusCode::FORBIDDEN, TEXT, "a page in a browser may not do this\n")
}

/// The credentials of a request.
#[derive(Clone, Copy, Default)]
pub(super) struct Credentials<'a> {
    /// The value of `Authorization`.
    pub(super) key: Option<&'a [u8]>,
    /// The peer of a verified client certificate.
    pub(super) peer: Option<&'a Peer>,
    /// The client's address.
    pub(super) address: Option<SocketAddr>,
}

impl Credentials<'_> {
    /// The principal of these credentials at `now`. A presented key takes precedence over a
    /// certificate.
    pub(super) fn access(&self, table: &Table, now: UnixMillis) -> Option<Arc<Access>> {
        let access = match self.key {
            Some(header) => table.access(bearer(header)?)?,
            None => {
                let peer = self.peer.filter(|peer| now < peer.not_after)?;
                table.certified(&peer.names)?
            }
        };
        let address = self.address.unwrap_or(UNIX_PEER).ip();
        access.is_accepted_from(address).then_some(access)
    }
}

/// Who may see an answer: anyone, or the holder of a key.
pub(super) type Viewer = Option<Arc<Access>>;

/// The key of the request, or a refusal if it lacks `scope`.
pub(super) fn enter(
    shown: Credentials<'_>,
    view: &View,
    scope: Scope,
) -> Result<Viewer, Box<Response<Full<Bytes>>>> {
    if !view.is_guarded {
        return Ok(None);
    }
    let now = view.now();
    let access = view.key_table().and_then(|table| shown.access(&table, now));
    let access = access.filter(|access| now < access.expires_at);
    let mut refused = match &access {
        Some(granted) if granted.may(scope) => {
            granted.used.mark(now);
            return Ok(access);
        }
        Some(_) => {
            let name = Scopes::default().with(scope);
            text(StatusCode::FORBIDDEN, TEXT, format!("this needs the scope {name}\n"))
        }
        None => {
            text(StatusCode::UNAUTHORIZED, TEXT, "a key is needed: Authorization: Bearer KEY\n")
        }
    };
    let challenge = HeaderValue::from_static("Bearer realm=\"jeton\"");
    refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    if let Some(address) = shown.address {
        let outcome = match access {
            Some(_) => EventOutcome::Forbidden,
            None => EventOutcome::Unauthorized,
        };
        audit(view, address, "admin", outcome, Some(refused.status()), access);
    }
    Err(Box::new(refused))
}

/// Adds a refusal of this listener to the audit log.
pub(super) fn audit(
    view: &View,
    address: SocketAddr,
    operation: &'static str,
    outcome: EventOutcome,
    status: Option<StatusCode>,
    access: Option<Arc<Access>>,
) {
    let (Some(engine), Some(gauges)) = (view.engine.get(), view.gauges.get()) else { return };
    let Some(audit) = gauges.audit() else { return };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let mut event = audit::event(engine.now(), address, access, operation, outcome);
    event.status = status.map(|status| status.as_u16());
    audit.tell(&mut Permit::default(), event);
}
