//! What `jeton serve` is configured with: its flags, and the configuration they make.
//!
//! Environment and file say the same as the flags do; [`crate::config`] reads and merges them. Each
//! module checks its own part ([`crate::engine::Config::mistakes`],
//! [`crate::http::Config::mistakes`]); what no module can check alone is checked here.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use tracing_subscriber::EnvFilter;

mod audit;
mod check;
mod log_format;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod tests;
mod values;

use crate::config::{flags, merge};
use crate::http::server::listen::ListenAddress;
use crate::model::text::{duration_text, size_text};
use crate::service::quotas::NamespaceLimits;
use crate::tls::TlsFiles;
use crate::{engine, http, wal};

pub use log_format::LogFormat;

use audit::AuditArgs;

/// The flags and the environment of `jeton serve`.
pub(super) type Given = merge::Given<ServeArgs>;
/// The same, merged with the configuration file.
pub(super) type Settings = merge::Settings<ServeArgs>;

/// Where requests are served by default.
pub(super) const LISTEN: &str = "127.0.0.1:7450";
/// Where health, metrics and statistics are served by default.
pub(super) const ADMIN_LISTEN: &str = "127.0.0.1:7451";
/// The flags of `jeton serve`. Each is also an environment variable, `JETON_LISTEN` and so on, and a
/// key of the configuration file.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// More of these flags, as TOML; the flags given here and the environment win
    #[arg(long, env = "JETON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where requests are served: an address or localhost with a port (0 picks a free one), or
    /// unix:PATH
    #[arg(long, env = "JETON_LISTEN", default_value = LISTEN, value_name = "ADDRESS")]
    listen: String,

    /// Where health, metrics and statistics are served, as --listen
    #[arg(
        long,
        env = "JETON_ADMIN_LISTEN",
        default_value = ADMIN_LISTEN,
        value_name = "ADDRESS"
    )]
    admin_listen: String,

    /// Directory of the log and the secret; made where it is missing
    #[arg(long, env = "JETON_DATA_DIR", default_value = "jeton-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// The secret, in place of secret.key in the data directory; it must exist
    #[arg(long, env = "JETON_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Who may do what: a file made by `jeton keys` [default: anyone who can reach the server
    /// may do everything]
    #[arg(long, env = "JETON_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,

    /// What may be done without a key, such as shop-a:resolve,consume
    #[arg(long, env = "JETON_ANONYMOUS", value_name = "NAMESPACE:SCOPES")]
    anonymous: Option<String>,

    /// Accept requests that name this host, in a server without keys: NAME, .DOMAIN with all names
    /// under it, or * [default: addresses, localhost, this machine's name, names without a dot and
    /// under .local, .internal and .svc]
    #[arg(long, env = "JETON_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    allow_host: Vec<String>,

    /// Accept requests of pages of this origin in a browser, such as `https://shop.example`, and let
    /// them read the answers [default: pages of the server's own origin alone]
    #[arg(long, env = "JETON_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,

    /// Listen on other addresses than loopback though there are no keys: anyone who can reach the
    /// server may do everything
    #[arg(long, env = "JETON_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,

    /// What a namespace may use, once for each: NAMESPACE:LIMIT=VALUE,… with the limits tokens,
    /// bytes, issues (a second) and ttl, such as shop-a:tokens=1000000,bytes=1GiB,issues=500,ttl=1h
    #[arg(long, env = "JETON_QUOTA", value_name = "QUOTA", value_delimiter = ';')]
    quota: Vec<String>,

    /// How many requests for unknown tokens a key may make in a second; one more gets 429. Without
    /// --keys the limit holds for each client address. 0: no limit [default: 1000 with --keys, else 0]
    #[arg(long, env = "JETON_MISS_LIMIT", value_name = "N")]
    miss_limit: Option<String>,

    /// The same of each client address without a key or with wrong ones, where there are keys
    #[arg(long, env = "JETON_ANONYMOUS_MISS_LIMIT", default_value = "10", value_name = "N")]
    anonymous_miss_limit: String,

    /// Requests for unknown references, each second, of all clients without a key together; one more
    /// gets 429. 0: no limit
    #[arg(
        long,
        env = "JETON_ANONYMOUS_REFERENCE_MISS_LIMIT",
        default_value = "1000",
        value_name = "N"
    )]
    anonymous_reference_miss_limit: String,

    /// Speak TLS, on both addresses, with this certificate and those that lead to its root (PEM)
    #[arg(long, env = "JETON_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM, not encrypted)
    #[arg(long, env = "JETON_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Whose clients' certificates are believed (PEM): each stands for the key that names it
    #[arg(long, env = "JETON_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Time for a TLS handshake
    #[arg(
        long,
        env = "JETON_TLS_HANDSHAKE_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().tls_handshake_timeout),
        value_name = "DURATION"
    )]
    tls_handshake_timeout: String,

    #[command(flatten)]
    audit: AuditArgs,

    /// Refuse to start where others may read or write the data directory, the log, the secret, the
    /// keys file, the audit log or the TLS key, and it cannot be set right; without it the log
    /// warns
    #[arg(long, env = "JETON_STRICT_PERMISSIONS", value_parser = FalseyValueParser::new())]
    strict_permissions: bool,

    /// Keep nothing on disk
    #[arg(long, env = "JETON_MEMORY_ONLY", value_parser = FalseyValueParser::new())]
    memory_only: bool,

    /// Threads that serve requests [default: one for each core]
    #[arg(long, env = "JETON_WORKERS", value_name = "N")]
    workers: Option<String>,

    /// Let the system use transparent huge pages: look-ups among millions of tokens get faster,
    /// and a token takes up to a tenth more memory
    #[arg(long, env = "JETON_HUGE_PAGES", value_parser = FalseyValueParser::new())]
    huge_pages: bool,

    /// When changes are made durable: always (before they are acknowledged), never, or a duration
    /// such as 100ms, at most which is lost in a power cut
    #[arg(
        long,
        env = "JETON_SYNC",
        default_value_t = values::sync_text(engine::Config::default().sync),
        value_name = "MODE"
    )]
    sync: String,

    /// Life of a token that is issued without a ttl
    #[arg(
        long,
        env = "JETON_DEFAULT_TTL",
        default_value_t = duration_text(http::Config::default().default_ttl),
        value_name = "DURATION"
    )]
    default_ttl: String,

    /// Longest life of a token, extensions included
    #[arg(
        long,
        env = "JETON_MAX_TTL",
        default_value_t = duration_text(engine::Config::default().max_ttl),
        value_name = "DURATION"
    )]
    max_ttl: String,

    /// How long a consumed token that was issued without reference or key and consumed without key
    /// is remembered, never beyond its deadline: until then a replay of it is counted
    #[arg(
        long,
        env = "JETON_REMEMBER_CONSUMED",
        default_value_t = duration_text(engine::Config::default().remember_consumed),
        value_name = "DURATION"
    )]
    remember_consumed: String,

    /// Forward step of the wall clock that is believed at once, 100ms to 1h; what the other clock
    /// of the system contradicts by more is held
    #[arg(
        long,
        env = "JETON_MAX_CLOCK_STEP",
        default_value_t = duration_text(engine::Config::default().max_clock_step),
        value_name = "DURATION"
    )]
    max_clock_step: String,

    /// Time for which a larger step must stand before it is followed, up to 24h; one beyond
    /// --max-ttl also waits until the system calls its clock synchronised
    #[arg(
        long,
        env = "JETON_CLOCK_HOLD",
        default_value_t = duration_text(engine::Config::default().clock_hold),
        value_name = "DURATION"
    )]
    clock_hold: String,

    /// Follow every step of the wall clock at once: it is known to be right
    #[arg(long, env = "JETON_BELIEVE_CLOCK", value_parser = FalseyValueParser::new())]
    believe_clock: bool,

    /// Longest payload
    #[arg(
        long,
        env = "JETON_MAX_PAYLOAD",
        default_value_t = size_text(http::Config::default().max_payload as u64),
        value_name = "SIZE"
    )]
    max_payload: String,

    /// Most tokens in a batch
    #[arg(
        long,
        env = "JETON_MAX_BATCH",
        default_value_t = http::Config::default().max_batch.to_string(),
        value_name = "N"
    )]
    max_batch: String,

    /// Most connections; one more gets 503
    #[arg(
        long,
        env = "JETON_MAX_CONNECTIONS",
        default_value_t = http::Config::default().max_connections.to_string(),
        value_name = "N"
    )]
    max_connections: String,

    /// Most memory for entries; an issue beyond it gets 507, and so does a consume with a key that
    /// leaves its token alive; nothing is ever evicted [default: no limit]
    #[arg(long, env = "JETON_MAX_MEMORY", value_name = "SIZE")]
    max_memory: Option<String>,

    /// Most memory for heads, bodies and answers of clients, of which each client has a share; beyond
    /// it they get 503
    #[arg(
        long,
        env = "JETON_MAX_INFLIGHT",
        default_value_t = size_text(http::Config::default().max_inflight as u64),
        value_name = "SIZE"
    )]
    max_inflight: String,

    /// Calls that may wait for the log; one more gets 503
    #[arg(
        long,
        env = "JETON_QUEUE",
        default_value_t = engine::Config::default().queue_len.to_string(),
        value_name = "N"
    )]
    queue: String,

    /// Size of a file of the log
    #[arg(
        long,
        env = "JETON_SEGMENT_SIZE",
        default_value_t = size_text(wal::Config::default().segment_size),
        value_name = "SIZE"
    )]
    segment_size: String,

    /// Size up to which the log may always grow
    #[arg(
        long,
        env = "JETON_LOG_MIN_SIZE",
        default_value_t = size_text(wal::Config::default().log_min_size),
        value_name = "SIZE"
    )]
    log_min_size: String,

    /// Time for the head of a request
    #[arg(
        long,
        env = "JETON_HEADER_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().header_timeout),
        value_name = "DURATION"
    )]
    header_timeout: String,

    /// Time for the body of a request
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

    /// Time after which a connection that takes none of its answers is closed
    #[arg(
        long,
        env = "JETON_WRITE_TIMEOUT",
        default_value_t = duration_text(http::Limits::default().write_timeout),
        value_name = "DURATION"
    )]
    write_timeout: String,

    /// What is logged, such as info or jeton=debug,warn
    #[arg(long, env = "JETON_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: String,

    /// How it is logged: text or json
    #[arg(long, env = "JETON_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    log_format: String,
}

/// What a server needs to know, checked.
#[derive(Debug)]
pub struct ServeConfig {
    /// Where requests are served.
    pub listen: ListenAddress,
    /// Where health, metrics and statistics are served.
    pub admin_listen: ListenAddress,
    /// The engine's part.
    pub engine: engine::Config,
    /// The part of HTTP.
    pub http: http::Config,
    /// The keys file.
    pub keys: Option<PathBuf>,
    /// What namespaces may use.
    pub quotas: Vec<NamespaceLimits>,
    /// Certificate and key, where TLS is spoken.
    pub tls: Option<TlsFiles>,
    /// The audit log, where there is one.
    pub audit: Option<crate::audit::Config>,
    /// The system may use transparent huge pages.
    pub huge_pages: bool,
    /// What is logged.
    pub log_filter: EnvFilter,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// The flags, in the order of the help.
#[must_use]
pub fn flags() -> Vec<flags::Flag> {
    flags::flags::<ServeArgs>()
}
