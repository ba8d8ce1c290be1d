//! Answers of the admin listener: liveness, readiness, metrics and statistics.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{Either, Full};
use serde::Serialize;

use super::backup::{AdminBody, Purpose, whole};
use super::entrance::{Credentials, enter, is_open};
use super::format::Format;
use super::limits::Limits;
use super::live;
use super::membership;
use super::page;
use super::readiness;
use super::seats::Seat;
use super::view::{TEXT, View, text};
use crate::build_info;
use crate::cluster::node::Wish;
use crate::engine::{Engine, Stats};
use crate::http::admin::cluster_metrics::ClusterReading;
use crate::http::admin::exposition::Reading;
use crate::http::admin::{backup, openapi};
use crate::keys::{Access, Keys};
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::net::proxy_header::TrustedProxies;

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// Of the metrics.
    pub(super) format: Format,
}

/// What has an answer that takes time. No page in a browser may ask for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slow {
    /// A backup for this purpose, or what is wrong with it.
    Backup(Result<Purpose, &'static str>),
    /// What a person decides about the cluster, or what is wrong with it.
    Decision(Result<Wish, &'static str>),
}

impl Asked<'_> {
    /// What it asks for, if that takes time.
    pub(super) fn slow(&self) -> Option<Slow> {
        match self.path {
            _ if self.method != Method::POST => None,
            backup::PATH => Some(Slow::Backup(backup::purpose(self.query))),
            path => membership::wish(path, self.query).map(Slow::Decision),
        }
    }
}

impl Slow {
    /// Its name in the audit log, where it is refused.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Decision(_) => "admin",
        }
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Backup(_) => Scope::Backup,
            Self::Decision(_) => Scope::Admin,
        }
    }
}

/// The answer to what takes no time, or a stream of events.
pub(super) fn at_once(
    asked: Asked<'_>,
    shown: Credentials<'_>,
    view: &Arc<View>,
    seat: &Rc<Seat>,
) -> Response<AdminBody> {
    match live::stream((asked.method, asked.path), shown, view, seat) {
        Some(Ok(events)) => events.map(|body| Either::Right(Either::Right(body))),
        Some(Err(refused)) => whole(*refused),
        None => whole(answer(asked, shown, view)),
    }
}

fn answer(asked: Asked<'_>, shown: Credentials<'_>, view: &View) -> Response<Full<Bytes>> {
    let Asked { method, path, query, format } = asked;
    let scope = match path {
        path if is_open(path) || path == page::PATH => None,
        "/metrics" | live::PATH => Some(Scope::Metrics),
        backup::PATH => Some(Scope::Backup),
        _ => Some(Scope::Admin),
    };
    let viewer = match scope.map(|scope| enter(shown, view, scope)).transpose() {
        Ok(viewer) => viewer.flatten(),
        Err(refused) => return *refused,
    };
    if path == backup::PATH || membership::wish(path, None).is_some() {
        return only("POST");
    }
    let is_read = method == Method::GET || method == Method::HEAD;
    match path {
        _ if !is_read => only("GET, HEAD"),
        "/healthz" => text(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" => readiness::ready(view, query),
        "/cluster" => readiness::cluster(view),
        "/metrics" => metrics(view, viewer.as_deref(), format),
        page::PATH => page::answer(),
        live::PATH => live::reading(view, viewer.as_deref()),
        "/v1/stats" => stats(view),
        "/openapi.json" => text(StatusCode::OK, "application/json", openapi::DOCUMENT),
        _ => text(StatusCode::NOT_FOUND, TEXT, "no such path\n"),
    }
}

/// 405.
fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let detail = format!("this path allows the methods {methods}\n");
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, detail);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// A key of one namespace sees that namespace's series and those of the process.
fn metrics(view: &View, viewer: Option<&Access>, format: Format) -> Response<Full<Bytes>> {
    let only = viewer.map(|access| &access.namespace);
    let only = only.filter(|namespace| !namespace.is_every());
    let stats = view.engine.get().map(Engine::stats);
    let mut reading = Reading::new(stats, view.gauges.get(), readiness::takes_changes(view));
    reading.started_at = view.started.get().map(|started| started.at);
    reading.limits = Limits::of(view);
    let recovery = view.recovery.bytes();
    // Before the log is opened, its length is not known.
    reading.recovery = Some(recovery).filter(|(_, all)| *all > 0 || view.engine.get().is_some());
    reading.cluster = view.node.get().map(ClusterReading::of);
    reading.warnings = readiness::warnings(view).into_keys().collect();
    let proxies = Some(&view.proxies).filter(|proxies| !proxies.is_empty());
    reading.proxies_refused = proxies.map(TrustedProxies::refused);
    if let Some(engine) = view.engine.get() {
        let expiring = |keys: &Keys| keys.table().expiring(engine.now()).count();
        reading.keys_expiring = view.keys.get().map(expiring);
        reading.namespaces = view.namespaces(engine, only);
    }
    match reading.expose() {
        Ok(exposition) => text(StatusCode::OK, format.media_type(), format.of(exposition)),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot be written\n"),
    }
}

/// The statistics, with the build and the configuration of the server.
#[derive(Serialize)]
struct ShownStats<'a> {
    version: &'static str,
    commit: &'static str,
    /// Start time of the server by the wall clock, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    /// Where the secret is from: `command`, `file`, `data-dir` or `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_origin: Option<&'static str>,
    #[serde(flatten)]
    stats: Stats,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a BTreeMap<String, String>>,
    /// The keys that are not revoked, by id; absent without a keys file.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<BTreeMap<String, ShownKey>>,
}

/// A key's statistics.
#[derive(Serialize)]
struct ShownKey {
    namespace: String,
    /// RFC 3339 in UTC; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// RFC 3339 in UTC, exact to a second; absent: not since the start of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
}

impl ShownKey {
    fn of(access: &Access) -> Self {
        let expires_at = Some(access.expires_at).filter(|at| *at != UnixMillis::MAX);
        Self {
            namespace: access.namespace.to_string(),
            expires_at: expires_at.map(|at| at.to_string()),
            last_used_at: access.used.last_use().map(|at| at.to_string()),
        }
    }
}

fn shown_keys(keys: &Keys) -> BTreeMap<String, ShownKey> {
    let table = keys.table();
    let shown = |access: &Access| Some((access.key?.to_string(), ShownKey::of(access)));
    table.all().filter_map(shown).collect()
}

fn stats(view: &View) -> Response<Full<Bytes>> {
    let Some(engine) = view.engine.get() else {
        let reason = "recovering: the log is being read\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason);
    };
    let started = view.started.get();
    let shown = ShownStats {
        version: build_info::VERSION,
        commit: build_info::COMMIT,
        started_at: started.map(|started| started.at.to_string()),
        secret_origin: started.map(|started| started.secret_origin),
        stats: engine.stats(),
        config: started.map(|started| &started.config),
        keys: view.keys.get().map(shown_keys),
    };
    match serde_json::to_vec_pretty(&shown) {
        Ok(json) => text(StatusCode::OK, "application/json", json),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot be written\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Config, Progress};
    use crate::http::admin::Started;
    use crate::warning::Warning;
    use http_body_util::BodyExt;

    async fn get(view: &View, path: &str) -> (u16, String) {
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let asked = Asked { method: &Method::GET, path, query, format: Format::Text };
        let response = answer(asked, Credentials::default(), view);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn before_recovery_is_over_it_is_alive_and_not_ready() {
        let view = View::default();
        assert_eq!(get(&view, "/healthz").await.0, 200);
        let (status, reason) = get(&view, "/readyz").await;
        assert_eq!(status, 503);
        assert!(reason.contains("recovering"), "{reason}");
        assert_eq!(get(&view, "/v1/stats").await.0, 503);
        let metrics = get(&view, "/metrics").await.1;
        for line in [
            "jeton_ready 0\n",
            "jeton_issues_total 0\n",
            "jeton_http_connections_accepted_total 0\n",
            "jeton_commit_seconds_count 0\n",
            "jeton_commit_seconds_bucket{le=\"0.001\"} 0\n",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        // What is not known yet is not 0.
        for name in ["jeton_tokens", "jeton_log_bytes", "jeton_http_connections", "jeton_recovery"]
        {
            assert!(!metrics.contains(&format!("\n{name} ")), "{name} in {metrics}");
        }
        view.recovery.advance(3 << 20, 4 << 20);
        let (_, reason) = get(&view, "/readyz").await;
        assert_eq!(reason, "recovering: the log is being read: 75 % of 4MiB\n");
        let metrics = get(&view, "/metrics").await.1;
        assert!(metrics.contains("\njeton_recovery_read_bytes 3145728\n"), "{metrics}");
        assert!(metrics.contains("\njeton_recovery_log_bytes 4194304\n"), "{metrics}");
    }

    #[tokio::test]
    async fn with_an_engine_it_shows_what_is_measured() {
        let view = View::default();
        let engine = Engine::open(Config::memory_only()).unwrap();
        view.engine.set(engine.clone()).ok().unwrap();
        assert_eq!(get(&view, "/readyz").await.0, 200);
        let (_, metrics) = get(&view, "/metrics").await;
        for line in [
            "jeton_ready 1\n",
            "jeton_tokens 0\n",
            "jeton_issues_total 0\n",
            "jeton_http_requests_total{operation=\"resolve\",status=\"2xx\"} 0\n",
            "jeton_commit_seconds_bucket{le=\"+Inf\"} ",
            "# TYPE jeton_issues_total counter\n",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        let (_, stats) = get(&view, "/v1/stats").await;
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        assert_eq!((&stats["tokens"], &stats["config"]), (&0.into(), &serde_json::Value::Null));
        let config = [("sync", "100ms")].map(|(k, v)| (k.into(), v.into())).into();
        let at = UnixMillis(1_700_000_000_500);
        view.started.set(Started { config, secret_origin: "file", at }).unwrap();
        let stats: serde_json::Value =
            serde_json::from_str(&get(&view, "/v1/stats").await.1).unwrap();
        assert_eq!((&stats["tokens"], &stats["config"]["sync"]), (&0.into(), &"100ms".into()));
        assert_eq!(stats["version"], build_info::VERSION);
        assert_eq!(stats["commit"], build_info::COMMIT);
        assert_eq!(stats["started_at"], "2023-11-14T22:13:20.500Z");
        assert_eq!(stats["secret_origin"], "file");
        let (_, metrics) = get(&view, "/metrics").await;
        assert!(metrics.contains("\njeton_start_time_seconds 1700000000.5\n"), "{metrics}");
        let (version, commit) = (build_info::VERSION, build_info::COMMIT);
        let labels = format!("version=\"{version}\",commit=\"{commit}\",aes=\"");
        assert!(metrics.contains(&format!("\njeton_build_info{{{labels}")), "{metrics}");
        engine.close().unwrap();
        let (status, reason) = get(&view, "/readyz").await;
        assert_eq!((status, reason.contains("closing")), (503, true));
    }

    #[tokio::test]
    async fn while_it_drains_it_is_alive_and_not_ready() {
        let view = View::default();
        view.engine.set(Engine::open(Config::memory_only()).unwrap()).ok().unwrap();
        assert!(get(&view, "/metrics").await.1.contains("jeton_ready 1\n"));
        view.drain();
        for path in ["/readyz", "/readyz?for=changes", "/readyz?for=reads"] {
            let (status, reason) = get(&view, path).await;
            assert_eq!((status, reason.starts_with("draining")), (503, true), "{path}: {reason}");
        }
        assert!(get(&view, "/metrics").await.1.contains("jeton_ready 0\n"));
        assert_eq!(get(&view, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn a_warning_is_a_line_and_a_metric_and_stays_200() {
        let view = View::default();
        let engine = Engine::open(Config::memory_only()).unwrap();
        view.engine.set(engine.clone()).ok().unwrap();
        let shows = |metrics: &str, value: u8| {
            metrics.contains(&format!("jeton_warning{{name=\"clock_held\"}} {value}\n"))
        };
        assert!(shows(&get(&view, "/metrics").await.1, 0));
        engine.raise(Warning::ClockHeld, "a step of 70 s is held".to_owned());
        let (status, body) = get(&view, "/readyz").await;
        let line = "warning: clock_held: a step of 70 s is held\n";
        assert_eq!((status, body), (200, format!("ready\n{line}")));
        assert!(shows(&get(&view, "/metrics").await.1, 1));
    }

    #[tokio::test]
    async fn a_single_server_is_ready_for_changes_or_for_nothing() {
        let view = View::default();
        for path in ["/readyz", "/readyz?for=changes", "/readyz?for=reads&x=1"] {
            assert_eq!(get(&view, path).await.0, 503, "{path}");
        }
        view.engine.set(Engine::open(Config::memory_only()).unwrap()).ok().unwrap();
        for path in ["/readyz?", "/readyz?for=changes", "/readyz?for=reads&x=1", "/readyz?x=1"] {
            assert_eq!(get(&view, path).await, (200, "ready\n".to_owned()), "{path}");
        }
        for path in ["/readyz?for=", "/readyz?for=change", "/readyz?x=1&for=writes"] {
            assert_eq!(get(&view, path).await.0, 400, "{path}");
        }
        assert_eq!(get(&view, "/cluster").await.0, 404);
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let view = View::default();
        assert_eq!(get(&view, "/v1/tokens").await.0, 404);
        let format = Format::Text;
        let asked = Asked { method: &Method::POST, path: "/healthz", query: None, format };
        let response = answer(asked, Credentials::default(), &view);
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
