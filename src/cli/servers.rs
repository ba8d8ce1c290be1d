//! The servers in front of the tokens, one for each protocol: started and stopped together.

use std::io;

use super::out;
use super::settings::RespListen;
use crate::engine::Engine;
use crate::http::{self, Gauges};
use crate::net::listen::{ListenAddress, Listeners};
use crate::resp;

/// The servers, serving.
pub(super) struct Servers {
    http: http::Server,
    resp: Option<resp::Server>,
}

/// Ends the drain of servers that are being stopped.
pub(super) struct EndDrain(http::EndDrain, Option<resp::EndDrain>);

impl EndDrain {
    /// Requests in flight are no longer waited for.
    pub(super) fn end(&self) {
        self.0.end();
        if let Some(resp) = &self.1 {
            resp.end();
        }
    }
}

impl Servers {
    pub(super) fn start(
        engine: &Engine,
        config: &http::Config,
        data: Vec<Listeners>,
        resp: Option<&RespListen>,
        listeners: Vec<Listeners>,
    ) -> io::Result<Self> {
        let http = http::Server::start(engine, config, data)?;
        let resp = resp.map(|resp| {
            let (shared, places) = http.shared();
            let config = resp::Config {
                limits: config.limits,
                idle_timeout: resp.idle_timeout,
                drain_timeout: config.drain_timeout,
                tls: config.tls.clone(),
                read: resp.read,
                proxies: config.proxies.clone(),
            };
            resp::Server::start(&shared, &places, &config, listeners)
        });
        Ok(Self { http, resp: resp.transpose()? })
    }

    /// What can be asked of all workers while they serve.
    pub(super) fn gauges(&self) -> Gauges {
        let mut gauges = self.http.gauges();
        for counters in self.resp.iter().flat_map(resp::Server::counters) {
            gauges.count_with(counters.clone());
        }
        gauges
    }

    pub(super) fn end_drain(&self) -> EndDrain {
        EndDrain(self.http.end_drain(), self.resp.as_ref().map(resp::Server::end_drain))
    }

    /// Stops all at the same time, and returns when all have ended.
    ///
    /// # Errors
    /// A worker had failed.
    pub(super) fn stop(self) -> io::Result<()> {
        if let Some(resp) = &self.resp {
            resp.begin_stop();
        }
        let http = self.http.stop();
        http.and(self.resp.map_or(Ok(()), resp::Server::stop))
    }
}

/// Prints the ready line to standard output. If it cannot be written, the server still runs.
pub(super) fn say_ready(servers: &Servers, has_tls: bool, admin: &ListenAddress, engine: &Engine) {
    let (http, redis) = if has_tls { ("https", "rediss") } else { ("http", "redis") };
    let (data, admin) = (servers.http.address().url(http), admin.url(http));
    let resp = servers.resp.as_ref().map(|resp| format!(" resp={}", resp.address().url(redis)));
    let (resp, tokens) = (resp.unwrap_or_default(), engine.stats().tokens);
    let line = format!("jeton ready: data={data} admin={admin}{resp} tokens={tokens}");
    if let Err(error) = out::print_line(line) {
        tracing::warn!(%error, %data, %admin, "can't write the ready line to standard output");
    }
}
