//! The flags of `jeton serve`, and the configuration that they make.
//!
//! Each flag can also be set by the environment and the file; [`crate::config`] reads and merges
//! all three. Each module checks its own part ([`crate::engine::Config::mistakes`],
//! [`crate::http::Config::mistakes`]); checks that concern several modules are here.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{ArgPredicate, FalseyValueParser};

mod audit;
mod check;
mod checked;
mod cluster;
mod log_format;
#[cfg(test)]
mod merge_tests;
mod resp;
mod secret;
#[cfg(test)]
mod tests;
mod trace;
mod values;

use crate::config::{flags, merge};
use crate::model::text::{duration_text, size_text};
use crate::{engine, http, wal};

pub use checked::ServeConfig;
pub use log_format::LogFormat;
pub use resp::RespListen;
pub use secret::{SecretArgs, SecretSource, SecretSourceError};

use audit::AuditArgs;
use cluster::ClusterArgs;
use resp::RespArgs;
use trace::TraceArgs;

/// The flags and the environment of `jeton serve`.
pub(super) type Given = merge::Given<ServeArgs>;
/// The same, merged with the configuration file.
pub(super) type Settings = merge::Settings<ServeArgs>;

/// Default address of the data listener.
pub(super) const LISTEN: &str = "127.0.0.1:7450";
/// Default address of the admin listener (health, metrics, statistics).
pub(super) const ADMIN_LISTEN: &str = "127.0.0.1:7451";
/// Default of `--miss-limit` with keys: misses per second of each key.
const MISS_LIMIT: u32 = 1_000;

/// The flags of `jeton serve`. Each is also an environment variable, `JETON_LISTEN` and so on, and a
/// key of the configuration file.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Configuration file (TOML) with more of these flags; flags of the command line and the
    /// environment win
    #[arg(long, env = "JETON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address of the data listener: an address or localhost with a port (0 picks a free one), or
    /// unix:PATH
    #[arg(long, env = "JETON_LISTEN", default_value = LISTEN, value_name = "ADDRESS")]
    listen: String,

    /// Address of the admin listener (health, metrics, statistics), in the form of --listen
    #[arg(
        long,
        env = "JETON_ADMIN_LISTEN",
        default_value = ADMIN_LISTEN,
        value_name = "ADDRESS"
    )]
    admin_listen: String,

    /// Directory of the log and the secret; created if missing
    #[arg(long, env = "JETON_DATA_DIR", default_value = "jeton-data", value_name = "DIR")]
    data_dir: PathBuf,

    #[command(flatten)]
    secret: SecretArgs,

    /// Keys file, made by `jeton keys` [default: anyone who can reach the server may do everything]
    #[arg(long, env = "JETON_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,

    /// Namespace and scopes of requests without a key, such as shop-a:resolve,consume
    #[arg(long, env = "JETON_ANONYMOUS", value_name = "NAMESPACE:SCOPES")]
    anonymous: Option<String>,

    /// Without keys: accept requests for this host: NAME, .DOMAIN with all names under it, or *
    /// [default: addresses, localhost, this machine's name, names without a dot and under .local,
    /// .internal and .svc]
    #[arg(long, env = "JETON_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    allow_host: Vec<String>,

    /// Accept requests from browser pages of this origin, such as `https://shop.example`, and let
    /// them read the answers [default: only pages of the server's own origin]
    #[arg(long, env = "JETON_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,

    /// Trust proxies at these addresses or networks: each of their connections must begin with a
    /// header of the PROXY protocol, version 2, and counts as one of the client that it names
    #[arg(long, env = "JETON_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxy: Vec<String>,

    /// Allow other listen addresses than loopback without keys: anyone who can reach the server may
    /// do everything
    #[arg(long, env = "JETON_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,

    /// Limits of a namespace, at most once per namespace: NAMESPACE:LIMIT=VALUE,… with the limits
    /// tokens, bytes, issues (per second) and ttl, such as
    /// shop-a:tokens=1000000,bytes=1GiB,issues=500,ttl=1h
    #[arg(long, env = "JETON_QUOTA", value_name = "QUOTA", value_delimiter = ';')]
    quota: Vec<String>,

    #[arg(
        long,
        env = "JETON_MISS_LIMIT",
        help = format!(
            "Maximum requests for unknown tokens per second and key; more get 429. Without --keys \
             the limit applies to each client address. 0: no limit [default: {MISS_LIMIT} with \
             --keys, else 0]"
        ),
        value_name = "N"
    )]
    miss_limit: Option<String>,

    /// With --keys: the same limit for each client address without a key or with a wrong key. 0: no
    /// limit
    #[arg(long, env = "JETON_ANONYMOUS_MISS_LIMIT", default_value = "10", value_name = "N")]
    anonymous_miss_limit: String,

    /// Maximum requests for unknown references per second, of all clients without a key together;
    /// more get 429. 0: no limit
    #[arg(
        long,
        env = "JETON_ANONYMOUS_REFERENCE_MISS_LIMIT",
        default_value = "1000",
        value_name = "N"
    )]
    anonymous_reference_miss_limit: String,

    /// Serve TLS on both listeners with this certificate and its chain (PEM)
    #[arg(long, env = "JETON_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM, not encrypted)
    #[arg(long, env = "JETON_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// CA of client certificates (PEM): a client certificate counts as the key that names it
    #[arg(long, env = "JETON_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Maximum time for a TLS handshake
    #[arg(
        long,
        env = "JETON_TLS_HANDSHAKE_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().tls_handshake_timeout),
        value_name = "DURATION"
    )]
    tls_handshake_timeout: String,

    #[command(flatten)]
    audit: AuditArgs,

    /// Refuse to start if other users may read or write the data directory, the log, the secret,
    /// the keys file, the audit log or the TLS key, and jeton cannot correct the mode; without this
    /// flag a warning is logged
    #[arg(long, env = "JETON_STRICT_PERMISSIONS", value_parser = FalseyValueParser::new())]
    strict_permissions: bool,

    /// Allow core dumps and debuggers, which show the secret and all payloads: for support
    #[arg(long, env = "JETON_ALLOW_CORE", value_parser = FalseyValueParser::new())]
    allow_core: bool,

    /// Keep nothing on disk
    #[arg(long, env = "JETON_MEMORY_ONLY", value_parser = FalseyValueParser::new())]
    memory_only: bool,

    /// Threads that serve requests [default: one per core]
    #[arg(long, env = "JETON_WORKERS", value_name = "N")]
    workers: Option<String>,

    /// Allow transparent huge pages: look-ups among millions of tokens get faster, and a token uses
    /// up to a tenth more memory
    #[arg(long, env = "JETON_HUGE_PAGES", value_parser = FalseyValueParser::new())]
    huge_pages: bool,

    /// When changes are synced to disk: always (before they are acknowledged), never, or a duration
    /// such as 100ms, the maximum time whose changes a power cut can lose. With --cluster the default
    /// is 1s, because the stream has synced each change
    #[arg(
        long,
        env = "JETON_SYNC",
        default_value_t = values::sync_text(engine::Config::default().sync),
        default_value_if("cluster", ArgPredicate::IsPresent, cluster::SYNC),
        value_name = "MODE"
    )]
    sync: String,

    /// Lifetime of a token that is issued without a ttl
    #[arg(
        long,
        env = "JETON_DEFAULT_TTL",
        default_value_t = duration_text(http::Config::default().default_ttl),
        value_name = "DURATION"
    )]
    default_ttl: String,

    /// Maximum lifetime of a token, counted from its issue, extensions included
    #[arg(
        long,
        env = "JETON_MAX_TTL",
        default_value_t = duration_text(engine::Config::default().max_ttl),
        value_name = "DURATION"
    )]
    max_ttl: String,

    /// Time for which a consumed token is remembered that was issued without a reference or key and
    /// consumed without a key; never beyond its deadline. Until then a replay of the token is
    /// counted
    #[arg(
        long,
        env = "JETON_REMEMBER_CONSUMED",
        default_value_t = duration_text(engine::Config::default().remember_consumed),
        value_name = "DURATION"
    )]
    remember_consumed: String,

    #[arg(
        long,
        env = "JETON_MAX_CLOCK_STEP",
        help = format!(
            "Forward step of the wall clock that is followed at once, {} to {}; a larger step that \
             the forward clock contradicts is held",
            duration_text(engine::CLOCK_STEP_LIMITS.0),
            duration_text(engine::CLOCK_STEP_LIMITS.1),
        ),
        default_value_t = duration_text(engine::Config::default().max_clock_step),
        value_name = "DURATION"
    )]
    max_clock_step: String,

    #[arg(
        long,
        env = "JETON_CLOCK_HOLD",
        help = format!(
            "Time for which a larger step must last before it is followed, up to {}; a step beyond \
             --max-ttl also waits until the system reports a synchronised clock",
            duration_text(engine::CLOCK_HOLD_MAX),
        ),
        default_value_t = duration_text(engine::Config::default().clock_hold),
        value_name = "DURATION"
    )]
    clock_hold: String,

    /// Follow every step of the wall clock at once: for clocks that are known to be right
    #[arg(long, env = "JETON_BELIEVE_CLOCK", value_parser = FalseyValueParser::new())]
    believe_clock: bool,

    /// Maximum size of a payload
    #[arg(
        long,
        env = "JETON_MAX_PAYLOAD",
        default_value_t = size_text(http::Config::default().max_payload as u64),
        value_name = "SIZE"
    )]
    max_payload: String,

    /// Maximum tokens in a batch
    #[arg(
        long,
        env = "JETON_MAX_BATCH",
        default_value_t = http::Config::default().max_batch.to_string(),
        value_name = "N"
    )]
    max_batch: String,

    /// Maximum connections; more get 503
    #[arg(
        long,
        env = "JETON_MAX_CONNECTIONS",
        default_value_t = http::Config::default().max_connections.to_string(),
        value_name = "N"
    )]
    max_connections: String,

    /// Maximum memory for entries, or none; an issue beyond it gets 507, and so does a consume with
    /// a key that leaves its token alive; no token is ever evicted [default: 65 % of the memory
    /// limit of the cgroup, as a container or a service has one, else none]
    #[arg(long, env = "JETON_MAX_MEMORY", value_name = "SIZE")]
    max_memory: Option<String>,

    /// Maximum memory for heads, bodies and answers of clients, of which each client gets a share;
    /// requests beyond it get 503
    #[arg(
        long,
        env = "JETON_MAX_INFLIGHT",
        default_value_t = size_text(http::Config::default().max_inflight as u64),
        value_name = "SIZE"
    )]
    max_inflight: String,

    /// Maximum calls that wait for the log; more get 503
    #[arg(
        long,
        env = "JETON_QUEUE",
        default_value_t = engine::Config::default().queue_len.to_string(),
        value_name = "N"
    )]
    queue: String,

    /// Size of a segment file of the log
    #[arg(
        long,
        env = "JETON_SEGMENT_SIZE",
        default_value_t = size_text(wal::Config::default().segment_size),
        value_name = "SIZE"
    )]
    segment_size: String,

    /// Size up to which the log grows before it is cleaned
    #[arg(
        long,
        env = "JETON_LOG_MIN_SIZE",
        default_value_t = size_text(wal::Config::default().log_min_size),
        value_name = "SIZE"
    )]
    log_min_size: String,

    /// Maximum age of a record on disk, for payloads that are dead [default: no limit]
    #[arg(long, env = "JETON_LOG_MAX_AGE", value_name = "DURATION")]
    log_max_age: Option<String>,

    /// Maximum time to receive the head of a request
    #[arg(
        long,
        env = "JETON_HEADER_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().header_timeout),
        value_name = "DURATION"
    )]
    header_timeout: String,

    /// Maximum time to receive the body of a request
    #[arg(
        long,
        env = "JETON_BODY_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().body_timeout),
        value_name = "DURATION"
    )]
    body_timeout: String,

    /// Time after which a connection without requests is closed
    #[arg(
        long,
        env = "JETON_IDLE_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().idle_timeout),
        value_name = "DURATION"
    )]
    idle_timeout: String,

    /// Time after which a connection whose client reads none of its answers is closed
    #[arg(
        long,
        env = "JETON_WRITE_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().write_timeout),
        value_name = "DURATION"
    )]
    write_timeout: String,

    /// After SIGTERM or SIGINT, time for which new connections are still served while /readyz says
    /// 503, so that load balancers notice; a second signal ends it
    #[arg(long, env = "JETON_DRAIN_DELAY", default_value = "0s", value_name = "DURATION")]
    drain_delay: String,

    /// Log filter, such as info or jeton=debug,warn
    #[arg(long, env = "JETON_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: String,

    /// Format of log lines: text or json
    #[arg(long, env = "JETON_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    log_format: String,

    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    resp: RespArgs,

    #[command(flatten)]
    trace: TraceArgs,
}

/// The flags, in the order of the help.
#[must_use]
pub fn flags() -> Vec<flags::Flag> {
    flags::flags::<ServeArgs>()
}
