//! What the page shows: one reading of the server as JSON, alone or as a stream of events.
//!
//! At most [`STREAMS_MAX`] streams run at once, each with an event a second. They have places of their
//! own, so they take none from probes. The next client is told to ask for single readings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame};
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::entrance::{Credentials, Viewer, enter};
use super::limits::Limits;
use super::namespaces::Told;
use super::readiness;
use super::seats::Seat;
use super::streams::{Place, STREAMS_MAX};
use super::view::{TEXT, UNIX_PEER, View, text};
use crate::build_info;
use crate::cluster::node::{NodeView, Report};
use crate::engine::{BackupError, Detail, Engine, Stats};
use crate::http::answer::response::NO_SNIFF;
use crate::http::server::gauges::Gauges;
use crate::keys::Access;
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::service::operation::OPERATIONS;

/// Path of one reading.
pub(super) const PATH: &str = "/v1/live";
/// Path of the stream.
const STREAM_PATH: &str = "/v1/live/events";
/// Time between two events; less than the 15 s after which a page takes the server for gone.
const PERIOD: Duration = Duration::from_secs(1);
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// One reading.
#[derive(Serialize)]
struct Live {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    /// Engine time in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    now_ms: Option<u64>,
    is_ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    warnings: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
    /// Requests since the start by operation: done, refused, failed.
    requests: BTreeMap<&'static str, [u64; 3]>,
    connections: usize,
    inflight_bytes: usize,
    misses_refused: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<ShownAudit>,
    namespaces: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Report>,
    /// Resolves whose time was measured, and the sum of their times in nanoseconds.
    sampled: (u64, u64),
    limits: Limits,
}

#[derive(Serialize)]
struct ShownAudit {
    lines: u64,
    dropped: u64,
    is_failing: bool,
}

/// What `viewer` may see: a key of one namespace sees that namespace, and what concerns the process.
fn read(view: &View, viewer: Option<&Access>) -> Live {
    let only = viewer.map(|access| &access.namespace);
    let only = only.filter(|namespace| !namespace.is_every());
    let (engine, gauges) = (view.engine.get(), view.gauges.get());
    let namespaces = engine.map(|engine| view.namespaces(engine, only)).unwrap_or_default();
    let totals = gauges.map(Gauges::totals).unwrap_or_default();
    let requests = OPERATIONS.iter().zip(&totals.requests);
    Live {
        version: build_info::VERSION,
        started_at: view.started.get().map(|started| started.at.to_string()),
        now_ms: engine.map(|engine| engine.now().0),
        is_ready: readiness::takes_changes(view),
        why: readiness::why(view),
        warnings: readiness::warnings(view).into_iter().map(|(w, text)| (w.name(), text)).collect(),
        stats: engine.map(Engine::stats),
        detail: engine.map(Engine::detail),
        requests: requests.map(|(row, counts)| (row.name, *counts)).collect(),
        connections: gauges.map_or(0, Gauges::connections),
        inflight_bytes: gauges.map_or(0, Gauges::inflight_bytes),
        misses_refused: gauges.map_or(0, Gauges::misses_refused),
        audit: gauges.and_then(Gauges::audited).map(|audited| ShownAudit {
            lines: audited.lines,
            dropped: audited.dropped,
            is_failing: audited.is_failing,
        }),
        namespaces,
        cluster: view.node.get().map(NodeView::report),
        sampled: (totals.sampled.iter().sum(), totals.sampled_ns),
        limits: Limits::of(view),
    }
}

/// One reading.
pub(super) fn reading(view: &View, viewer: Option<&Access>) -> Response<Full<Bytes>> {
    match serde_json::to_vec(&read(view, viewer)) {
        Ok(json) => text(StatusCode::OK, "application/json", json),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot be written\n"),
    }
}

/// Why there is no stream.
type Refusal = Box<Response<Full<Bytes>>>;

/// The stream, or why there is none; `None` for another request.
pub(super) fn stream(
    (method, path): (&Method, &str),
    shown: Credentials<'_>,
    view: &Arc<View>,
    seat: &Rc<Seat>,
) -> Option<Result<Response<Events>, Refusal>> {
    if path != STREAM_PATH || method != Method::GET {
        return None;
    }
    let viewer = match enter(shown, view, Scope::Metrics) {
        Ok(viewer) => viewer,
        Err(refused) => return Some(Err(refused)),
    };
    let Some(place) = view.streams.take() else {
        let reason = format!("{STREAMS_MAX} streams run already: ask for {PATH}\n");
        let mut refused = text(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason);
        refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return Some(Err(Box::new(refused)));
    };
    seat.stands_apart();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let certificate = shown.peer.filter(|_| shown.key.is_none());
    let until = certificate.map_or(UnixMillis::MAX, |peer| peer.not_after);
    let address = shown.address.unwrap_or(UNIX_PEER).ip();
    let (view, is_over, _place) = (view.clone(), false, place);
    let body = Events { view, viewer, until, address, ticks, is_over, _place };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENTS);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    // A proxy that gathers answers would hold the events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Some(Ok(response))
}

/// The stream: an event each second, until the server drains or the key is no longer valid.
pub(in crate::http) struct Events {
    view: Arc<View>,
    viewer: Viewer,
    /// The end of the certificate that stands for the key.
    until: UnixMillis,
    address: IpAddr,
    ticks: Interval,
    is_over: bool,
    _place: Place,
}

impl Events {
    /// Whether the key that asked for the stream may still see it, and nothing else than at first.
    fn may_go_on(&self) -> bool {
        let Some(access) = &self.viewer else { return true };
        let now = self.view.now();
        let is_it = |other: &Access| {
            other.key == access.key
                && now < other.expires_at.min(self.until)
                && other.may(Scope::Metrics)
                && other.namespace == access.namespace
                && other.is_accepted_from(self.address)
                && other.certificate == access.certificate
        };
        self.view.key_table().is_some_and(|table| table.all().any(is_it))
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = BackupError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BackupError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(cx));
        if !self.may_go_on() {
            self.is_over = true;
            return Poll::Ready(None);
        }
        // The last event says that the server drains.
        self.is_over = self.view.is_draining();
        let json =
            serde_json::to_string(&read(&self.view, self.viewer.as_deref())).unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(format!("data: {json}\n\n").into()))))
    }
}
