//! Makes the configuration from the flags of `jeton serve`, or reports every mistake in them.

use std::time::Duration;

use super::audit;
use super::cluster;
use super::resp;
use super::trace;
use super::values::Reader;
use super::{MISS_LIMIT, ServeArgs, ServeConfig};
use crate::config::Flags;
use crate::http::request::browser::Web;
use crate::model::setting::SettingError;
use crate::model::text::{duration_text, size_text};
use crate::net::proxy_header::TrustedProxies;
use crate::permissions::Strictness;
use crate::service::miss_limiter::MissLimits;
use crate::{engine, http, wal};

/// Maximum of `--drain-delay`.
const DRAIN_DELAY_MAX: Duration = Duration::from_secs(10 * 60);

impl Flags for ServeArgs {
    type Config = ServeConfig;

    fn check(&self) -> Result<ServeConfig, Vec<SettingError>> {
        let mut reader = Reader::default();
        let config = self.read(&mut reader);
        let mut limits = config.engine.mistakes();
        limits.extend(config.http.mistakes());
        limits.extend(config.audit.iter().flat_map(audit::mistakes));
        limits.extend(self.secret.mistakes(config.secret_command.as_ref()));
        let has_secret = config.engine.secret_file.is_some() || config.secret_command.is_some();
        limits.extend(cluster::mistakes(config.cluster.as_ref(), &config.engine, has_secret));
        limits.extend(self.cluster.lonely());
        let others = [("listen", &config.listen), ("admin-listen", &config.admin_listen)];
        limits.extend(resp::mistakes(config.resp.as_ref(), others, config.cluster.is_some()));
        limits.extend(trace::mistakes(config.trace.as_ref()));
        limits.extend(self.trace.lonely());
        check_together(&config, &mut limits);
        if config.keys.is_none() && !self.insecure {
            check_loopback(&config, &mut limits);
        }
        // Limits are compared only if all values could be parsed.
        let is_unread =
            |setting: &str| reader.mistakes.iter().any(|unread| unread.setting() == setting);
        limits.retain(|mistake| !mistake.settings().any(is_unread));
        let mut mistakes = reader.mistakes;
        mistakes.extend(limits);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }
}

impl ServeArgs {
    fn read(&self, reader: &mut Reader) -> ServeConfig {
        ServeConfig {
            listen: reader.address("listen", &self.listen),
            admin_listen: reader.address("admin-listen", &self.admin_listen),
            resp: self.resp.read(reader),
            trace: self.trace.read(reader),
            engine: self.engine(reader),
            is_memory_of_cgroup: self.max_memory.is_none(),
            http: self.http(reader),
            keys: self.keys.clone(),
            audit: self.audit.read(reader, self.permissions()),
            quotas: reader.quotas("quota", &self.quota),
            tls: reader.tls(
                self.tls_cert.as_deref(),
                self.tls_key.as_deref(),
                self.tls_client_ca.as_deref(),
                self.permissions(),
            ),
            cluster: self.cluster.read(reader),
            drain_delay: reader.duration("drain-delay", &self.drain_delay),
            secret_command: self.secret.command(reader),
            allow_core: self.allow_core,
            huge_pages: self.huge_pages,
            log_filter: reader.log_filter(&self.log_level),
            log_format: reader.log_format(&self.log_format),
        }
    }

    fn permissions(&self) -> Strictness {
        if self.strict_permissions { Strictness::Refuse } else { Strictness::Warn }
    }

    fn engine(&self, reader: &mut Reader) -> engine::Config {
        engine::Config {
            data_dir: (!self.memory_only).then(|| self.data_dir.clone()),
            secret_file: self.secret.file(),
            permissions: self.permissions(),
            sync: reader.sync("sync", &self.sync),
            max_memory_bytes: self.max_memory.as_ref().and_then(|text| reader.memory(text)),
            max_ttl: reader.duration("max-ttl", &self.max_ttl),
            remember_consumed: reader.duration("remember-consumed", &self.remember_consumed),
            max_clock_step: reader.duration("max-clock-step", &self.max_clock_step),
            clock_hold: reader.duration("clock-hold", &self.clock_hold),
            believe_clock: self.believe_clock,
            queue_len: reader.count("queue", &self.queue),
            wal: wal::Config {
                segment_size: reader.size("segment-size", &self.segment_size),
                log_min_size: reader.size("log-min-size", &self.log_min_size),
                max_age: self.log_max_age.as_ref().map(|age| reader.duration("log-max-age", age)),
                ..wal::Config::default()
            },
            ..engine::Config::default()
        }
    }

    fn http(&self, reader: &mut Reader) -> http::Config {
        let defaults = http::Config::default();
        http::Config {
            workers: match &self.workers {
                Some(text) => reader.count("workers", text),
                None => defaults.workers,
            },
            default_ttl: reader.duration("default-ttl", &self.default_ttl),
            // A mistake in it is reported with the engine's part.
            max_ttl: Reader::default().duration("max-ttl", &self.max_ttl),
            max_payload: reader.bytes("max-payload", &self.max_payload),
            max_batch: reader.count("max-batch", &self.max_batch),
            max_connections: reader.count("max-connections", &self.max_connections),
            max_inflight: reader.bytes("max-inflight", &self.max_inflight),
            limits: http::Limits {
                header_timeout: reader.duration("header-timeout", &self.header_timeout),
                body_timeout: reader.duration("body-timeout", &self.body_timeout),
                idle_timeout: reader.duration("idle-timeout", &self.idle_timeout),
                write_timeout: reader.duration("write-timeout", &self.write_timeout),
                tls_handshake_timeout: reader
                    .duration("tls-handshake-timeout", &self.tls_handshake_timeout),
            },
            anonymous: self.anonymous.as_ref().and_then(|text| reader.anonymous(text)),
            web: Web::new(
                reader.all("allow-host", &self.allow_host),
                reader.all("allow-origin", &self.allow_origin),
            ),
            proxies: TrustedProxies::new(reader.all("trusted-proxy", &self.trusted_proxy)),
            miss_limits: self.miss_limits(reader),
            ..defaults
        }
    }
}

impl ServeArgs {
    fn miss_limits(&self, reader: &mut Reader) -> MissLimits {
        let given = self.miss_limit.as_ref().map(|text| reader.rate("miss-limit", text));
        let keyless = reader.rate("anonymous-miss-limit", &self.anonymous_miss_limit);
        let flag = "anonymous-reference-miss-limit";
        let references = reader.rate(flag, &self.anonymous_reference_miss_limit);
        if self.keys.is_some() {
            MissLimits { keyed: given.unwrap_or(Some(MISS_LIMIT)), keyless, references }
        } else {
            MissLimits { keyed: None, keyless: given.flatten(), references }
        }
    }
}

/// Without keys, only the listen address restricts who can use the server.
fn check_loopback(config: &ServeConfig, mistakes: &mut Vec<SettingError>) {
    let resp = config.resp.as_ref().map(|resp| ("resp-listen", &resp.address));
    let addresses = [("listen", &config.listen), ("admin-listen", &config.admin_listen)];
    for (setting, address) in addresses.into_iter().chain(resp) {
        if !address.is_loopback() {
            let text = format!(
                "is not a loopback address, and without keys anyone who can reach {address} may \
                 read, consume and revoke every token: give "
            );
            let mistake = SettingError::new(setting, text).name("keys").text(" FILE, or ");
            let why = " if something else restricts access";
            mistakes.push(mistake.name("insecure").text(why));
        }
    }
}

/// Checks that concern several modules.
fn check_together(config: &ServeConfig, mistakes: &mut Vec<SettingError>) {
    let max = config.engine.payload_len_max();
    if config.http.max_payload > max {
        // Rounded down, so that the value in the message is allowed.
        let max = size_text(max as u64 >> 10 << 10);
        let mistake = SettingError::new("max-payload", format!("must be at most {max} with this "));
        mistakes.push(mistake.name("segment-size"));
    }
    if config.drain_delay > DRAIN_DELAY_MAX {
        let text = format!("must be 0s to {}", duration_text(DRAIN_DELAY_MAX));
        mistakes.push(SettingError::new("drain-delay", text));
    }
    if config.listen.overlaps(&config.admin_listen) {
        let mistake = SettingError::new("admin-listen", "must be another address than ");
        mistakes.push(mistake.name("listen"));
    }
    let needs_keys = |setting: &'static str, why: &'static str| {
        SettingError::new(setting, "needs ").name("keys").text(why)
    };
    if config.http.anonymous.is_some() && config.keys.is_none() {
        mistakes.push(needs_keys("anonymous", ": without keys anyone may do everything"));
    }
    if config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) && config.keys.is_none() {
        let why = ": a certificate replaces a key, and without keys anyone may do everything";
        mistakes.push(needs_keys("tls-client-ca", why));
    }
}
