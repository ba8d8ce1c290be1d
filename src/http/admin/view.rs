//! What the admin listener knows of the rest, and the form of its small answers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::engine::Engine;
use crate::http::answer::response::NO_SNIFF;
use crate::http::config::Limits;
use crate::http::request::browser::Web;
use crate::http::server::gauges::Gauges;
use crate::keys::Keys;
use crate::model::time::UnixMillis;

/// Stands for every peer of a Unix socket; no peer of a network has it.
pub(super) const UNIX_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// What the admin listener knows of the rest.
#[derive(Default)]
pub(super) struct View {
    pub(super) engine: OnceLock<Engine>,
    pub(super) gauges: OnceLock<Gauges>,
    pub(super) keys: OnceLock<Keys>,
    /// The value of each setting that does not change while the server runs.
    pub(super) config: OnceLock<BTreeMap<String, String>>,
    /// When the server started, by the wall clock.
    pub(super) started_at: OnceLock<UnixMillis>,
    /// Everything but health asks for a key with the scope of its own: metrics, backup or admin.
    pub(super) is_guarded: bool,
    /// Which pages in a browser may ask.
    pub(super) web: Web,
    /// Of connections.
    pub(super) limits: Limits,
}

/// A small answer, whole.
pub(super) fn text(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}
