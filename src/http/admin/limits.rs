//! Limits of the server, and times that come nearer, as metrics to compare others with.

use std::fmt;

use serde::Serialize;

use super::sheet::Sheet;
use super::view::View;
use crate::engine::Engine;
use crate::http::server::gauges::Gauges;
use crate::model::time::UnixMillis;
use crate::tls::Tls;

/// One reading. What is not known, or not limited, is left out.
#[derive(Debug, Default, Serialize)]
pub(in crate::http) struct Limits {
    memory_bytes: Option<u64>,
    connections: Option<usize>,
    inflight_bytes: Option<usize>,
    queued_calls: Option<usize>,
    /// Free bytes on the disk of the log, and all.
    disk: Option<(u64, u64)>,
    #[serde(skip)]
    last_backup: Option<UnixMillis>,
    #[serde(skip)]
    certificate_expires_at: Option<UnixMillis>,
    #[serde(skip)]
    key_expires_at: Option<UnixMillis>,
}

impl Limits {
    pub(super) fn of(view: &View) -> Self {
        let (engine, gauges) = (view.engine.get(), view.gauges.get());
        let table = view.keys.get().and_then(|_| view.key_table());
        let first = |now: UnixMillis| {
            let ends = table.iter().flat_map(|table| table.all()).map(|access| access.expires_at);
            ends.filter(|end| now < *end && *end != UnixMillis::MAX).min()
        };
        Self {
            memory_bytes: engine.and_then(Engine::memory_max),
            connections: gauges.map(Gauges::connections_max),
            inflight_bytes: gauges.map(Gauges::inflight_bytes_max),
            queued_calls: engine.map(Engine::queue_max),
            disk: view.disk.space(),
            last_backup: engine.and_then(Engine::last_backup),
            certificate_expires_at: view.tls.get().and_then(Tls::not_after),
            key_expires_at: first(view.now()),
        }
    }

    pub(super) fn encode(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let disk = |part: fn((u64, u64)) -> u64| self.disk.map(part);
        for (name, help, value) in [
            ("memory_limit_bytes", "Limit of the memory of all entries", self.memory_bytes),
            (
                "http_connections_limit",
                "Maximum connections, after the limit of file descriptors",
                self.connections.map(|count| count as u64),
            ),
            (
                "http_inflight_limit_bytes",
                "Maximum bytes of large bodies and answers held for clients",
                self.inflight_bytes.map(|bytes| bytes as u64),
            ),
            (
                "queued_calls_limit",
                "Maximum calls that wait for the committer",
                self.queued_calls.map(|count| count as u64),
            ),
            ("data_disk_free_bytes", "Free bytes on the disk of the log", disk(|(free, _)| free)),
            ("data_disk_bytes", "All bytes of the disk of the log", disk(|(_, all)| all)),
        ] {
            sheet.known(name, help, value)?;
        }
        for (name, help, at) in [
            (
                "last_backup_time_seconds",
                "Moment of the last complete backup since the start, in seconds since 1970",
                self.last_backup,
            ),
            (
                "certificate_expiry_time_seconds",
                "End of the server's certificate, in seconds since 1970",
                self.certificate_expires_at,
            ),
            (
                "key_expiry_time_seconds",
                "The next end of a valid key, in seconds since 1970",
                self.key_expires_at,
            ),
        ] {
            if let Some(at) = at {
                sheet.fraction(name, help, at.0 as f64 / 1e3)?;
            }
        }
        Ok(())
    }
}
