//! Configuration and limits of the HTTP server.

use std::time::Duration;

use crate::audit::Audit;
use crate::engine;
use crate::http::request::browser::Web;
use crate::keys::Keys;
use crate::model::entry::PAYLOAD_LEN_MAX;
use crate::model::setting::SettingError;
use crate::model::text::{duration_text, size_text};
use crate::net::limits::Limits;
use crate::net::proxy_header::TrustedProxies;
use crate::service::authentication::Anonymous;
use crate::service::memory_budget::Budget;
use crate::service::miss_limiter::MissLimits;
use crate::service::quotas::Quotas;
use crate::service::reads::Reads;
use crate::service::state::{ANSWER_LEN_MAX, TokenLimits};
use crate::tls::Tls;
use crate::trace::Tracer;

/// Maximum of `--max-batch`.
const BATCH_MAX: usize = 100_000;
/// Maximum body of any request, in bytes.
const BODY_LEN_MAX: usize = 16 << 20;
/// Maximum bytes of an issue besides its payload.
const ISSUE_BESIDE_LEN: usize = 4 << 10;
/// Maximum bytes of one item of a list: a reference with every character escaped.
const LISTED_LEN_MAX: usize = 1 << 10;
/// Maximum bytes of one item in the answer to a batch of issues: a token, or why it was not issued.
const ISSUED_LEN_MAX: usize = 512;

/// Range of each of the time limits.
const TIMEOUT_LIMITS: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(3_600));

/// Configuration of the HTTP server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads, each with a listener of its own.
    pub workers: usize,
    /// Lifetime of a token that is issued without a ttl.
    pub default_ttl: Duration,
    /// Maximum lifetime of a token.
    pub max_ttl: Duration,
    /// Maximum payload, in bytes.
    pub max_payload: usize,
    /// Maximum tokens in a batch.
    pub max_batch: usize,
    /// Maximum connections, over all workers.
    pub max_connections: usize,
    /// Memory for heads, bodies and answers of clients, in bytes, over all workers.
    pub max_inflight: usize,
    /// Time limits.
    pub limits: Limits,
    /// Maximum time for requests in flight during shutdown.
    pub drain_timeout: Duration,
    /// The keys; `None`: anyone may do everything.
    pub keys: Option<Keys>,
    /// Audit log; `None` disables auditing.
    pub audit: Option<Audit>,
    /// Traces; `None` disables them.
    pub tracer: Option<Tracer>,
    /// Scopes of requests without a key, in a server with keys.
    pub anonymous: Option<Anonymous>,
    /// Browser pages that may send requests.
    pub web: Web,
    /// Limits of misses.
    pub miss_limits: MissLimits,
    /// Limits of the namespaces.
    pub quotas: Quotas,
    /// TLS settings of new connections; `None`: plain TCP.
    pub tls: Option<Tls>,
    /// Proxies whose connections begin with their client's address.
    pub proxies: TrustedProxies,
    /// The reads of a cluster's node; `None`: a single server.
    pub reads: Option<Reads>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            default_ttl: Duration::from_secs(15 * 60),
            max_ttl: engine::Config::default().max_ttl,
            max_payload: 64 << 10,
            max_batch: 1000,
            max_connections: 10_000,
            max_inflight: 256 << 20,
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(10),
            keys: None,
            audit: None,
            tracer: None,
            anonymous: None,
            web: Web::default(),
            miss_limits: MissLimits::default(),
            quotas: Quotas::default(),
            tls: None,
            proxies: TrustedProxies::default(),
            reads: None,
        }
    }
}

impl Config {
    /// All mistakes in the configuration, each with its limits.
    #[must_use]
    pub fn mistakes(&self) -> Vec<SettingError> {
        let ranges = [
            ("workers", self.workers, 1, 1024),
            ("max-payload", self.max_payload, 1, PAYLOAD_LEN_MAX),
            ("max-batch", self.max_batch, 1, BATCH_MAX),
            ("max-connections", self.max_connections, 1, 1_000_000),
            ("max-inflight", self.max_inflight, BODY_LEN_MAX, 1 << 40),
        ];
        let outside = ranges.iter().filter(|(_, value, min, max)| !(min..=max).contains(&value));
        let outside = outside.map(|(setting, value, min, max)| {
            SettingError::new(*setting, format!("must be {min} to {max}, not {value}"))
        });
        let limits = &self.limits;
        let timeouts = [
            ("header-timeout", limits.header_timeout),
            ("body-timeout", limits.body_timeout),
            ("idle-timeout", limits.idle_timeout),
            ("write-timeout", limits.write_timeout),
            ("tls-handshake-timeout", limits.tls_handshake_timeout),
        ];
        let (least, most) = TIMEOUT_LIMITS;
        let text = format!("must be {} to {}", duration_text(least), duration_text(most));
        let timeouts = timeouts.iter().filter(|(_, timeout)| !(least..=most).contains(timeout));
        let timeouts = timeouts.map(|(setting, _)| SettingError::new(*setting, text.clone()));
        outside.chain(self.inflight_mistake()).chain(self.ttl_mistake()).chain(timeouts).collect()
    }

    /// The mistake of a memory budget that is too small for one exchange.
    fn inflight_mistake(&self) -> Option<SettingError> {
        let inflight_min = Budget::limit_min(self.exchange_len_max());
        let are_limits_right = (1..=BATCH_MAX).contains(&self.max_batch)
            && (1..=PAYLOAD_LEN_MAX).contains(&self.max_payload);
        // Limits that are out of range are reported by themselves.
        if !are_limits_right || !(BODY_LEN_MAX..inflight_min).contains(&self.max_inflight) {
            return None;
        }
        // Rounded up, so that the value in the message is sufficient.
        let min = inflight_min.div_ceil(1 << 20);
        let largest = size_text(self.exchange_len_max() as u64);
        let error =
            SettingError::new("max-inflight", format!("must be at least {min}MiB with this "));
        Some(error.name("max-batch").text(" and ").name("max-payload").text(format!(
            ": a request and its answer may take {largest}, and a client's share is a quarter"
        )))
    }

    fn ttl_mistake(&self) -> Option<SettingError> {
        let is_right = (Duration::from_millis(1)..=self.max_ttl).contains(&self.default_ttl);
        let max = duration_text(self.max_ttl);
        let error = || SettingError::new("default-ttl", "must be 1ms to ");
        (!is_right).then(|| error().name("max-ttl").text(format!(", which is {max}")))
    }

    /// Limits of tokens.
    pub(in crate::http) fn token_limits(&self) -> TokenLimits {
        let Self { default_ttl, max_ttl, max_payload, max_batch, .. } = *self;
        TokenLimits { default_ttl, max_ttl, max_payload, max_batch }
    }

    pub(in crate::http) fn issue_body_len_max(&self) -> usize {
        self.max_payload.saturating_add(ISSUE_BESIDE_LEN)
    }

    pub(in crate::http) fn issue_batch_body_len_max(&self) -> usize {
        (self.issue_body_len_max().saturating_mul(self.max_batch)).min(BODY_LEN_MAX)
    }

    /// Maximum bytes of a request together with its answer.
    fn exchange_len_max(&self) -> usize {
        let issued = ISSUED_LEN_MAX.saturating_mul(self.max_batch);
        let answer_len_max = self.max_payload.saturating_add(1).max(ISSUED_LEN_MAX);
        let payloads = self.max_batch.saturating_mul(answer_len_max);
        let listed = self.list_body_len_max().saturating_add(payloads.min(ANSWER_LEN_MAX));
        listed.max(self.issue_batch_body_len_max().saturating_add(issued))
    }

    /// The memory budget for clients, unused.
    pub(in crate::http) fn budget(&self) -> Budget {
        Budget::new(self.max_inflight, self.exchange_len_max(), self.keys.is_some())
    }

    pub(in crate::http) fn list_body_len_max(&self) -> usize {
        LISTED_LEN_MAX
            .saturating_mul(self.max_batch)
            .saturating_add(ISSUE_BESIDE_LEN)
            .min(BODY_LEN_MAX)
    }
}
