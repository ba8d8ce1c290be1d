//! The state of the server that the admin listener can see, and the form of its small answers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::disk::Disk;
use super::namespaces::{self, Few, Told};
use super::recovery::Recovery;
use super::streams::Streams;
use crate::cluster::node::NodeView;
use crate::engine::Engine;
use crate::http::answer::response::NO_SNIFF;
use crate::http::request::browser::Web;
use crate::http::server::gauges::Gauges;
use crate::keys::{Keys, Table};
use crate::model::namespace::Namespace;
use crate::model::time::UnixMillis;
use crate::net::limits::Limits;
use crate::net::proxy_header::TrustedProxies;
use crate::tls::Tls;

/// Address for every peer of a Unix socket; no network peer can have it.
pub(super) const UNIX_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// What is known of the server from its start on.
#[derive(Debug)]
pub struct Started {
    /// The values of settings that do not change at run time.
    pub config: BTreeMap<String, String>,
    /// Where the secret is from: `command`, `file`, `data-dir` or `memory`.
    pub secret_origin: &'static str,
    /// Start time of the server, by the wall clock.
    pub at: UnixMillis,
}

/// The state of the server that the admin listener can see.
#[derive(Default)]
pub(super) struct View {
    pub(super) engine: OnceLock<Engine>,
    /// What is known of the node; never set in a single server.
    pub(super) node: OnceLock<NodeView>,
    pub(super) recovery: Arc<Recovery>,
    pub(super) gauges: OnceLock<Gauges>,
    pub(super) keys: OnceLock<Keys>,
    /// The keys of the file as it was at the start, until the server has the engine's secret.
    pub(super) early_keys: OnceLock<Arc<Table>>,
    /// The namespaces that have metrics of their own.
    pub(super) told: Few,
    pub(super) disk: Disk,
    /// The certificate; never set without TLS.
    pub(super) tls: OnceLock<Tls>,
    pub(super) started: OnceLock<Started>,
    /// Whether the server is shutting down.
    pub(super) is_draining: AtomicBool,
    /// Whether every path but health needs a key with its scope: metrics, backup or admin.
    pub(super) is_guarded: bool,
    /// Browser pages that may send requests.
    pub(super) web: Web,
    /// Proxies whose connections begin with their client's address.
    pub(super) proxies: TrustedProxies,
    /// Time limits of connections.
    pub(super) limits: Limits,
    /// Streams of events for the page.
    pub(super) streams: Streams,
}

impl View {
    /// The server is shutting down from here on.
    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// The namespaces that a viewer may see: `only` one, or those with metrics of their own and the
    /// others together.
    pub(super) fn namespaces(&self, engine: &Engine, only: Option<&Namespace>) -> Vec<Told> {
        let all = namespaces::all(engine, self.gauges.get(), self.keys.get(), only);
        match only {
            Some(_) => all.into_iter().map(Told::named).collect(),
            None => self.told.few(all),
        }
    }

    /// The keys; `None` without any.
    pub(super) fn key_table(&self) -> Option<Arc<Table>> {
        self.keys.get().map(Keys::table).or_else(|| self.early_keys.get().cloned())
    }

    /// The time: before the engine has one, that of the start.
    pub(super) fn now(&self) -> UnixMillis {
        let start = || self.started.get().map(|started| started.at).unwrap_or_default();
        self.engine.get().map_or_else(start, Engine::now)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }
}

/// A small answer with a complete body.
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
