//! `/metrics`: the measurements of the engine and the workers, in the text format of Prometheus.
//!
//! Every label has a fixed or bounded set of values, so no client can make the exposition grow.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::cluster_metrics::ClusterReading;
use super::limits::Limits;
use super::namespaces::Told;
use super::process::ProcessReading;
use super::sheet::Sheet;
use crate::audit;
use crate::build_info;
use crate::engine::Stats;
use crate::http::server::gauges::Gauges;
use crate::model::metrics::{BUCKETS_US, LOG_LINES_DROPPED, Summary};
use crate::model::time::UnixMillis;
use crate::service::counters::{CLASSES, SAMPLE_BOUNDS_US, Totals};
use crate::service::operation::{OPERATIONS, Row};
use crate::trace;
use crate::warning::Warning;

/// One reading of everything.
#[derive(Debug)]
pub(in crate::http) struct Reading {
    pub(in crate::http) stats: Option<Stats>,
    pub(in crate::http) totals: Totals,
    /// `None` before the server serves, as all gauges.
    pub(in crate::http) connections: Option<usize>,
    pub(in crate::http) inflight_bytes: Option<usize>,
    pub(in crate::http) limits: Limits,
    /// Bytes of the log that recovery has read, and all.
    pub(in crate::http) recovery: Option<(u64, u64)>,
    pub(in crate::http) misses_refused: u64,
    pub(in crate::http) audited: Option<audit::Stats>,
    /// `None` where requests are not traced.
    pub(in crate::http) traced: Option<trace::Stats>,
    pub(in crate::http) namespaces: Vec<Told>,
    /// `None` in a single server.
    pub(in crate::http) cluster: Option<ClusterReading>,
    pub(in crate::http) warnings: Vec<Warning>,
    pub(in crate::http) is_ready: bool,
    pub(in crate::http) started_at: Option<UnixMillis>,
    /// Connections of trusted proxies that were refused; `None` where no proxy is trusted.
    pub(in crate::http) proxies_refused: Option<u64>,
    /// Keys that expire soon; `None` without a keys file.
    pub(in crate::http) keys_expiring: Option<usize>,
}

impl Reading {
    pub(in crate::http) fn new(
        stats: Option<Stats>,
        gauges: Option<&Gauges>,
        is_ready: bool,
    ) -> Self {
        Self {
            stats,
            totals: gauges.map(Gauges::totals).unwrap_or_default(),
            connections: gauges.map(Gauges::connections),
            inflight_bytes: gauges.map(Gauges::inflight_bytes),
            limits: Limits::default(),
            recovery: None,
            misses_refused: gauges.map_or(0, Gauges::misses_refused),
            audited: gauges.and_then(Gauges::audited),
            traced: gauges.and_then(Gauges::traced),
            namespaces: Vec::new(),
            cluster: None,
            warnings: Vec::new(),
            is_ready,
            started_at: None,
            proxies_refused: None,
            keys_expiring: None,
        }
    }

    /// The whole exposition.
    pub(in crate::http) fn expose(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("jeton");
        // Their names have no prefix.
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessReading::new(self.started_at)));
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(32 * 1024);
        text::encode_registry(&mut text, &registry)?;
        text::encode(&mut text, &process)?;
        Ok(text)
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(&mut encoder);
        sheet.build(self.started_at)?;
        sheet.gauge("ready", "1 while the server accepts changes", u64::from(self.is_ready))?;
        sheet.warnings(&self.warnings)?;
        for (name, help, value) in [
            (
                "recovery_read_bytes",
                "Bytes of the log that the start has read",
                self.recovery.map(|(done, _)| done),
            ),
            (
                "recovery_log_bytes",
                "Bytes of the log that the start has to read",
                self.recovery.map(|(_, all)| all),
            ),
        ] {
            sheet.known(name, help, value)?;
        }
        self.limits.encode(&mut sheet)?;
        if let Some(keys) = self.keys_expiring {
            let help = "Valid keys that expire within 30 days";
            sheet.gauge("keys_expiring", help, keys as u64)?;
        }
        if let Some(refused) = self.proxies_refused {
            let help = "Connections of trusted proxies without a valid header";
            sheet.counter("proxy_headers_refused", help, refused)?;
        }
        self.encode_http(&mut sheet)?;
        sheet.namespaces(&self.namespaces)?;
        if let Some(cluster) = &self.cluster {
            cluster.encode(&mut sheet)?;
        }
        if let Some(stats) = &self.stats {
            encode_gauges(&mut sheet, stats)?;
        }
        // A counter that begins later would look like one that has jumped.
        encode_counters(&mut sheet, self.stats.as_ref().unwrap_or(&Stats::default()))
    }
}

impl Reading {
    fn encode_audit(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let Some(audited) = &self.audited else { return Ok(()) };
        let failing = u64::from(audited.is_failing);
        sheet.gauge("audit_failing", "1 while the audit log cannot be written", failing)?;
        sheet.counter("audit_lines", "Lines written to the audit log", audited.lines)?;
        sheet.counter("audit_dropped", "Events dropped from the audit log", audited.dropped)?;
        let (lines, dropped) = (audited.refused_lines, audited.refused_dropped);
        sheet.counter("audit_refused_lines", "Lines about refused or missed requests", lines)?;
        sheet.counter(
            "audit_refused_dropped",
            "Dropped events of refused or missed requests",
            dropped,
        )?;
        let Some(free_bytes) = audited.free_bytes else { return Ok(()) };
        sheet.gauge("audit_disk_free_bytes", "Free bytes on the disk of the audit log", free_bytes)
    }

    fn encode_traces(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let Some(traced) = &self.traced else { return Ok(()) };
        sheet.counter("spans_sent", "Spans that the collector has accepted", traced.sent)?;
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Spans dropped, by reason";
        let mut family = sheet.0.encode_descriptor("spans_dropped", help, None, kind)?;
        for (reason, count) in traced.dropped {
            let labels = [("reason", reason)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_http(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let totals = &self.totals;
        let connections = self.connections.map(|count| count as u64);
        sheet.known("http_connections", "Connections open", connections)?;
        sheet.known(
            "http_inflight_bytes",
            "Bytes of large bodies and answers held for clients",
            self.inflight_bytes.map(|bytes| bytes as u64),
        )?;
        for (name, help, value) in [
            ("http_connections_accepted", "Connections accepted", totals.accepted),
            (
                "http_connections_refused",
                "Connections refused over --max-connections",
                totals.refused,
            ),
            ("http_accept_errors", "Failures to accept a connection", totals.accept_errors),
            ("http_received_bytes", "Bytes read from clients", totals.bytes_in),
            ("http_sent_bytes", "Bytes sent to clients", totals.bytes_out),
            ("misses_refused", "Requests refused after too many misses", self.misses_refused),
            (
                "log_lines_dropped",
                "Log lines that could not be written to standard error",
                LOG_LINES_DROPPED.get(),
            ),
        ] {
            sheet.counter(name, help, value)?;
        }
        self.encode_audit(sheet)?;
        self.encode_traces(sheet)?;
        sheet.samples(totals)?;
        sheet.requests(totals)
    }
}

fn encode_histograms(sheet: &mut Sheet<'_, '_>, stats: &Stats) -> fmt::Result {
    for (name, help, summary) in [
        ("expiry_lag_seconds", "Time from a deadline until its memory is freed", &stats.expiry_lag),
        (
            "commit_seconds",
            "Time from the start of a commit until its waiters are woken",
            &stats.commit_latency,
        ),
        ("fsync_seconds", "Time of a sync of the log", &stats.fsync_latency),
    ] {
        sheet.histogram(name, help, summary)?;
    }
    Ok(())
}

fn encode_gauges(sheet: &mut Sheet<'_, '_>, stats: &Stats) -> fmt::Result {
    let log = &stats.log;
    for (name, help, value) in [
        ("tokens", "Tokens with a use left", stats.tokens),
        ("entries", "Entries, consumed ones included", stats.entries),
        ("memory_bytes", "Memory of all entries", stats.bytes),
        ("timers", "Timers in the wheel", stats.timers),
        ("queued_calls", "Calls that wait for the committer", stats.queued),
        ("lsn", "Position of the end of the log", stats.lsn),
        ("durable_lsn", "Position up to which the log is durable", stats.durable_lsn),
        (
            "backup_running",
            "1 while a backup is read: no segment is released",
            u64::from(stats.backup_running),
        ),
        ("log_bytes", "Bytes of all segment files", log.bytes),
        ("log_living_bytes", "Bytes of live entries in the log", log.living_bytes),
        ("log_dead_bytes", "Bytes of dead entries and unused space", log.dead_bytes),
        ("log_limit_bytes", "Size above which the log is cleaned", log.limit_bytes),
        ("log_over_limit_bytes", "Bytes by which the log exceeds that size", log.over_limit_bytes),
        ("log_segments", "Segment files in use", log.segments),
    ] {
        sheet.gauge(name, help, value)?;
    }
    for (name, help, value_ms) in [
        ("clock_skew_seconds", "Engine time ahead of the wall clock", stats.clock_skew_ms),
        (
            "clock_held_seconds",
            "Wall clock ahead of engine time: a step that is held",
            stats.clock_held_ms,
        ),
    ] {
        sheet.fraction(name, help, value_ms as f64 / 1e3)?;
    }
    Ok(())
}

fn encode_counters(sheet: &mut Sheet<'_, '_>, stats: &Stats) -> fmt::Result {
    let log = &stats.log;
    for (name, help, value) in [
        ("resolves", "Resolves that found a token", stats.resolves),
        ("misses", "Resolves that found no token", stats.misses),
        (
            "replays",
            "Consumed tokens presented again, as long as they are remembered",
            stats.replays,
        ),
        ("issues", "Tokens issued", stats.issues),
        ("consumes", "Uses taken", stats.consumes),
        ("extends", "Deadlines moved", stats.extends),
        ("revokes", "Revocations", stats.revokes),
        ("expired", "Entries freed at their deadline", stats.expired),
        ("backups", "Backups completed", stats.backups),
        ("backups_broken", "Backups aborted", stats.backups_broken),
        ("commits", "Frames written", stats.commits),
        ("records", "Records written", stats.records),
        ("log_appended_bytes", "Bytes appended to the log", log.appended_bytes),
        ("log_carried_bytes", "Bytes of live entries relocated", log.carried_bytes),
        ("log_segments_created", "Segments created as new files", log.segments_created),
        ("log_segments_recycled", "Segments created from reused files", log.segments_recycled),
        ("log_segments_released", "Segments released", log.segments_released),
        ("log_syncs", "Syncs of the log", log.syncs),
    ] {
        sheet.counter(name, help, value)?;
    }
    encode_histograms(sheet, stats)
}

impl Sheet<'_, '_> {
    /// Version of the build, and the start time.
    fn build(&mut self, started_at: Option<UnixMillis>) -> fmt::Result {
        let kind = ConstGauge::new(0_u64).metric_type();
        let help = "Always 1; the labels are the version and the commit of the build, and whether it \
            uses AES instructions";
        let mut family = self.0.encode_descriptor("build_info", help, None, kind)?;
        let aes = if build_info::HAS_AES { "true" } else { "false" };
        let (version, commit) = (build_info::VERSION, build_info::COMMIT);
        let labels = [("version", version), ("commit", commit), ("aes", aes)];
        ConstGauge::new(1_u64).encode(family.encode_family(&labels)?)?;
        let Some(started_at) = started_at else { return Ok(()) };
        let help = "Start time of the server by the wall clock, in seconds since 1970";
        self.fraction("start_time_seconds", help, started_at.0 as f64 / 1e3)
    }

    /// The resolves that were measured.
    fn samples(&mut self, totals: &Totals) -> fmt::Result {
        let kind = prometheus_client::metrics::MetricType::Histogram;
        let help = "Time from reading a resolve until its answer is ready to be sent, over HTTP/1.1, \
            of one resolve in 64";
        let mut encoder = self.0.encode_descriptor("resolve_seconds", help, None, kind)?;
        let bounds = SAMPLE_BOUNDS_US.iter().map(|bound_us| *bound_us as f64 / 1e6);
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(totals.sampled).collect();
        let (sum, count) = (totals.sampled_ns as f64 / 1e9, totals.sampled.iter().sum());
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }

    fn requests(&mut self, totals: &Totals) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Requests answered, by operation and class of the status";
        let mut family = self.0.encode_descriptor("http_requests", help, None, kind)?;
        for (Row { name: operation, .. }, counts) in OPERATIONS.iter().zip(&totals.requests) {
            for (class, count) in CLASSES.iter().zip(counts) {
                let labels = [("operation", *operation), ("status", *class)];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// One gauge for each warning, standing or not, so that alerts can be defined in advance.
    fn warnings(&mut self, standing: &[Warning]) -> fmt::Result {
        let help = "1 while the condition in the label holds; /readyz describes it";
        let value = |warning: &Warning| (warning.name(), u64::from(standing.contains(warning)));
        self.gauges(("warning", help, "name"), Warning::ALL.iter().map(value))
    }

    fn namespaces(&mut self, told: &[Told]) -> fmt::Result {
        type Value = fn(&Told) -> u64;
        let gauges: [(&str, &str, Value); 2] = [
            ("namespace_tokens", "Tokens with a use left, by namespace", |told| told.tokens),
            ("namespace_memory_bytes", "Memory of entries, by namespace", |told| told.bytes),
        ];
        for (name, help, value) in gauges {
            let values = told.iter().map(|told| (told.namespace.as_str(), value(told)));
            self.gauges((name, help, "namespace"), values)?;
        }
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Issues refused because of the rate limit of their namespace";
        let mut family = self.0.encode_descriptor("namespace_issues_refused", help, None, kind)?;
        for told in told {
            let labels = [("namespace", told.namespace.as_str())];
            ConstCounter::new(told.refused).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, summary: &Summary) -> fmt::Result {
        let kind = prometheus_client::metrics::MetricType::Histogram;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        let sum_seconds = summary.mean_us * summary.count as f64 / 1e6;
        let mut below = 0;
        // The summary's buckets are cumulative, but the encoder expects separate counts.
        let bounds = BUCKETS_US.iter().map(|bound_us| *bound_us as f64 / 1e6);
        // An empty summary has no buckets, but its series begin at 0.
        let counts = summary.buckets.iter().copied().chain(std::iter::repeat(0));
        let mut buckets = Vec::with_capacity(BUCKETS_US.len() + 1);
        for (bound, upto) in bounds.zip(counts) {
            buckets.push((bound, upto.saturating_sub(below)));
            below = upto;
        }
        buckets.push((f64::INFINITY, summary.count.saturating_sub(below)));
        encoder.encode_histogram::<[(&str, &str); 0]>(sum_seconds, summary.count, &buckets, None)
    }
}
