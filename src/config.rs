//! The flags of `jeton serve`, and the configuration they make.
//!
//! Environment and file say the same as the flags do: [`flags`] is what clap knows of them, [`mod@file`]
//! reads the file, [`merge`] decides which value counts and says where it comes from.
//!
//! Every value is taken as text and read here, so that all mistakes are reported at once, each with
//! its flag; each module checks its own part ([`crate::engine::Config::validate`],
//! [`crate::http::Config::validate`]).

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use tracing_subscriber::EnvFilter;

mod audit;
pub mod file;
pub mod flags;
mod log_format;
pub mod merge;
mod reader;
#[cfg(test)]
mod tests;

use crate::http::request::browser::Web;
use crate::http::server::listen::ListenAddress;
use crate::model::text::size_text;
use crate::permissions::Strictness;
use crate::service::miss_limiter::MissLimits;
use crate::service::quotas::NamespaceLimits;
use crate::tls::TlsFiles;
use crate::{engine, http, wal};

pub use log_format::LogFormat;

use audit::AuditArgs;
use reader::Reader;

/// Misses a second that each key has where there are keys and nothing else is said.
const MISS_LIMIT: u32 = 1_000;

/// The flags of `jeton serve`. Each is also an environment variable, `JETON_LISTEN` and so on, and a
/// key of the configuration file. So what one needs of another is said in [`ServeArgs::check`], not
/// to clap, which does not know the file.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// More of these flags, as TOML; the flags given here and the environment win
    #[arg(long, env = "JETON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where requests are served: an address or localhost with a port (0 picks a free one), or
    /// unix:PATH
    #[arg(long, env = "JETON_LISTEN", default_value = "127.0.0.1:7450", value_name = "ADDRESS")]
    listen: String,

    /// Where health, metrics and statistics are served, as --listen
    #[arg(
        long,
        env = "JETON_ADMIN_LISTEN",
        default_value = "127.0.0.1:7451",
        value_name = "ADDRESS"
    )]
    admin_listen: String,

    /// Directory of the log and the secret; made where it is missing
    #[arg(long, env = "JETON_DATA_DIR", default_value = "jeton-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// The secret, in place of secret.key in the data directory; it must exist
    #[arg(long, env = "JETON_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Who may do what: a file made by `jeton keys` [default: whoever reaches the server may do
    /// everything]
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

    /// Listen on other addresses than loopback though there are no keys: whoever reaches the server
    /// may do everything
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
        default_value = "5s",
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
    #[arg(long, env = "JETON_SYNC", default_value = "always", value_name = "MODE")]
    sync: String,

    /// Life of a token that is issued without a ttl
    #[arg(long, env = "JETON_DEFAULT_TTL", default_value = "15m", value_name = "DURATION")]
    default_ttl: String,

    /// Longest life of a token, extensions included
    #[arg(long, env = "JETON_MAX_TTL", default_value = "30d", value_name = "DURATION")]
    max_ttl: String,

    /// How long a consumed token that was issued without reference or key and consumed without key
    /// is remembered, never beyond its deadline: until then a replay of it is counted
    #[arg(long, env = "JETON_REMEMBER_CONSUMED", default_value = "15m", value_name = "DURATION")]
    remember_consumed: String,

    /// Forward step of the wall clock that is believed at once, 100ms to 1h; what the other clock
    /// of the system contradicts by more is held
    #[arg(long, env = "JETON_MAX_CLOCK_STEP", default_value = "10s", value_name = "DURATION")]
    max_clock_step: String,

    /// Time for which a larger step must stand before it is followed, up to 24h; one beyond
    /// --max-ttl also waits until the system calls its clock synchronised
    #[arg(long, env = "JETON_CLOCK_HOLD", default_value = "60s", value_name = "DURATION")]
    clock_hold: String,

    /// Follow every step of the wall clock at once: it is known to be right
    #[arg(long, env = "JETON_BELIEVE_CLOCK", value_parser = FalseyValueParser::new())]
    believe_clock: bool,

    /// Longest payload
    #[arg(long, env = "JETON_MAX_PAYLOAD", default_value = "64KiB", value_name = "SIZE")]
    max_payload: String,

    /// Most tokens in a batch
    #[arg(long, env = "JETON_MAX_BATCH", default_value = "1000", value_name = "N")]
    max_batch: String,

    /// Most connections; one more gets 503
    #[arg(long, env = "JETON_MAX_CONNECTIONS", default_value = "10000", value_name = "N")]
    max_connections: String,

    /// Most memory for entries; an issue beyond it gets 507, and so does a consume with a key that
    /// leaves its token alive; nothing is ever evicted [default: no limit]
    #[arg(long, env = "JETON_MAX_MEMORY", value_name = "SIZE")]
    max_memory: Option<String>,

    /// Most memory for heads, bodies and answers of clients, of which each client has a share; beyond
    /// it they get 503
    #[arg(long, env = "JETON_MAX_INFLIGHT", default_value = "256MiB", value_name = "SIZE")]
    max_inflight: String,

    /// Calls that may wait for the log; one more gets 503
    #[arg(long, env = "JETON_QUEUE", default_value = "8192", value_name = "N")]
    queue: String,

    /// Size of a file of the log
    #[arg(long, env = "JETON_SEGMENT_SIZE", default_value = "64MiB", value_name = "SIZE")]
    segment_size: String,

    /// Size up to which the log may always grow
    #[arg(long, env = "JETON_LOG_MIN_SIZE", default_value = "1GiB", value_name = "SIZE")]
    log_min_size: String,

    /// Time for the head of a request
    #[arg(long, env = "JETON_HEADER_TIMEOUT", default_value = "10s", value_name = "DURATION")]
    header_timeout: String,

    /// Time for the body of a request
    #[arg(long, env = "JETON_BODY_TIMEOUT", default_value = "30s", value_name = "DURATION")]
    body_timeout: String,

    /// Time after which a connection without requests is closed
    #[arg(long, env = "JETON_IDLE_TIMEOUT", default_value = "60s", value_name = "DURATION")]
    idle_timeout: String,

    /// Time after which a connection that takes none of its answers is closed
    #[arg(long, env = "JETON_WRITE_TIMEOUT", default_value = "10s", value_name = "DURATION")]
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

impl ServeArgs {
    /// The configuration that the flags make.
    ///
    /// # Errors
    /// All mistakes, each with its flag.
    pub fn check(&self) -> Result<ServeConfig, Vec<String>> {
        let mut reader = Reader::default();
        let config = ServeConfig {
            listen: reader.address("--listen", &self.listen),
            admin_listen: reader.address("--admin-listen", &self.admin_listen),
            engine: self.engine(&mut reader),
            http: self.http(&mut reader),
            keys: self.keys.clone(),
            audit: self.audit.read(&mut reader, self.permissions()),
            quotas: reader.quotas("--quota", &self.quota),
            tls: reader.tls(
                self.tls_cert.as_deref(),
                self.tls_key.as_deref(),
                self.tls_client_ca.as_deref(),
                self.permissions(),
            ),
            huge_pages: self.huge_pages,
            log_filter: reader.log_filter(&self.log_level),
            log_format: reader.log_format(&self.log_format),
        };
        let mut limits = Vec::new();
        config.engine.validate(&mut limits);
        config.http.validate(&mut limits);
        if let Some(config) = &config.audit {
            audit::validate(config, &mut limits);
        }
        check_together(&config, &mut limits);
        if config.keys.is_none() && !self.insecure {
            check_loopback(&config, &mut limits);
        }
        // A limit is only worth comparing with values that could be read.
        let unread: Vec<_> =
            reader.mistakes.iter().filter_map(|text| text.split(' ').next()).collect();
        limits.retain(|text| !text.split([' ', ',']).any(|word| unread.contains(&word)));
        let mut mistakes = reader.mistakes.clone();
        mistakes.extend(limits);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    fn permissions(&self) -> Strictness {
        if self.strict_permissions { Strictness::Refuse } else { Strictness::Warn }
    }

    fn engine(&self, reader: &mut Reader) -> engine::Config {
        engine::Config {
            data_dir: (!self.memory_only).then(|| self.data_dir.clone()),
            secret_file: self.secret_file.clone(),
            permissions: self.permissions(),
            sync: reader.sync("--sync", &self.sync),
            max_memory_bytes: self
                .max_memory
                .as_ref()
                .map(|text| reader.size("--max-memory", text)),
            max_ttl: reader.duration("--max-ttl", &self.max_ttl),
            remember_consumed: reader.duration("--remember-consumed", &self.remember_consumed),
            max_clock_step: reader.duration("--max-clock-step", &self.max_clock_step),
            clock_hold: reader.duration("--clock-hold", &self.clock_hold),
            believe_clock: self.believe_clock,
            queue_len: reader.count("--queue", &self.queue),
            wal: wal::Config {
                segment_size: reader.size("--segment-size", &self.segment_size),
                log_min_size: reader.size("--log-min-size", &self.log_min_size),
                ..wal::Config::default()
            },
            ..engine::Config::default()
        }
    }

    fn http(&self, reader: &mut Reader) -> http::Config {
        let defaults = http::Config::default();
        http::Config {
            workers: match &self.workers {
                Some(text) => reader.count("--workers", text),
                None => defaults.workers,
            },
            default_ttl: reader.duration("--default-ttl", &self.default_ttl),
            // A mistake in it was reported with the engine's part.
            max_ttl: Reader::default().duration("--max-ttl", &self.max_ttl),
            max_payload: reader.bytes("--max-payload", &self.max_payload),
            max_batch: reader.count("--max-batch", &self.max_batch),
            max_connections: reader.count("--max-connections", &self.max_connections),
            max_inflight: reader.bytes("--max-inflight", &self.max_inflight),
            limits: http::Limits {
                header_timeout: reader.duration("--header-timeout", &self.header_timeout),
                body_timeout: reader.duration("--body-timeout", &self.body_timeout),
                idle_timeout: reader.duration("--idle-timeout", &self.idle_timeout),
                write_timeout: reader.duration("--write-timeout", &self.write_timeout),
                tls_handshake_timeout: reader
                    .duration("--tls-handshake-timeout", &self.tls_handshake_timeout),
            },
            anonymous: self.anonymous.as_ref().and_then(|text| reader.anonymous(text)),
            web: Web::new(
                reader.all("--allow-host", &self.allow_host),
                reader.all("--allow-origin", &self.allow_origin),
            ),
            miss_limits: self.miss_limits(reader),
            ..defaults
        }
    }
}

impl ServeArgs {
    fn miss_limits(&self, reader: &mut Reader) -> MissLimits {
        let given = self.miss_limit.as_ref().map(|text| reader.rate("--miss-limit", text));
        let keyless = reader.rate("--anonymous-miss-limit", &self.anonymous_miss_limit);
        let flag = "--anonymous-reference-miss-limit";
        let references = reader.rate(flag, &self.anonymous_reference_miss_limit);
        if self.keys.is_some() {
            MissLimits { keyed: given.unwrap_or(Some(MISS_LIMIT)), keyless, references }
        } else {
            MissLimits { keyed: None, keyless: given.flatten(), references }
        }
    }
}

/// Without keys nothing but the address keeps strangers out.
fn check_loopback(config: &ServeConfig, mistakes: &mut Vec<String>) {
    for (flag, address) in [("--listen", &config.listen), ("--admin-listen", &config.admin_listen)]
    {
        if !address.is_loopback() {
            mistakes.push(format!(
                "{flag} is not a loopback address, and without keys whoever reaches {address} may \
                 read, consume and revoke every token: give --keys FILE, or --insecure where \
                 something else keeps strangers out"
            ));
        }
    }
}

/// What no module can check alone.
fn check_together(config: &ServeConfig, mistakes: &mut Vec<String>) {
    let max = config.engine.payload_len_max();
    if config.http.max_payload > max {
        mistakes.push(format!(
            "--max-payload must be at most {} with this --segment-size",
            size_text(max as u64 >> 10 << 10)
        ));
    }
    if config.listen.overlaps(&config.admin_listen) {
        mistakes.push("--admin-listen must be another address than --listen".to_owned());
    }
    if config.http.anonymous.is_some() && config.keys.is_none() {
        let why = "without them everybody may do everything";
        mistakes.push(format!("--anonymous needs --keys: {why}"));
    }
    if config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) && config.keys.is_none() {
        let why = "a certificate stands for a key, and without keys everybody may do everything";
        mistakes.push(format!("--tls-client-ca needs --keys: {why}"));
    }
}
