//! The settings of a client, checked once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;

use crate::client::Client;
use crate::error::Error;
use crate::types::is_printable;

const AGE_MAX: Duration = Duration::from_secs(300);

/// Longer times would pass the end of what a clock can say.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// `host:port`.
    Tcp(String),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) address: Address,
    /// For `Host`.
    pub(crate) host: HeaderValue,
    /// The name that its certificate must have; `None` without TLS.
    pub(crate) name: Option<ServerName<'static>>,
}

/// The trace context of the caller.
type Traceparent = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// All settings.
pub(crate) struct Config {
    pub(crate) origins: Vec<Arc<Origin>>,
    /// As the header `Authorization` has it.
    pub(crate) key: Option<HeaderValue>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) deadline: Duration,
    pub(crate) try_timeout: Duration,
    pub(crate) coalesce: bool,
    pub(crate) answer_max_bytes: usize,
    pub(crate) connections_max: usize,
    pub(crate) connection_age: Duration,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) traceparent: Option<Traceparent>,
}

/// Makes a client. Every setting has a default.
#[must_use]
pub struct Builder {
    urls: Vec<String>,
    key: Option<String>,
    config: Config,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Builder(…)")
    }
}

impl Builder {
    pub(crate) fn new(urls: Vec<String>) -> Self {
        let config = Config {
            origins: Vec::new(),
            key: None,
            key_file: None,
            deadline: Duration::from_secs(10),
            try_timeout: Duration::from_secs(2),
            coalesce: true,
            answer_max_bytes: 32 << 20,
            connections_max: 100,
            connection_age: AGE_MAX,
            tls: None,
            traceparent: None,
        };
        Self { urls, key: None, config }
    }

    /// The API key, such as `jeton keys add` prints: printable ASCII characters without spaces.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A file with the API key, in place of [`Self::key`]. It is read by [`Self::build`], and again
    /// after a 401.
    pub fn key_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.key_file = Some(file.into());
        self
    }

    /// Time for a call with all its tries, more than 0 and at most a year; 10 s by default.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.config.deadline = time;
        self
    }

    /// Time for one try, more than 0 and at most a year; 2 s by default.
    pub fn try_timeout(mut self, time: Duration) -> Self {
        self.config.try_timeout = time;
        self
    }

    /// Whether concurrent resolves share requests; they do by default. A resolve goes at once while
    /// fewer than 4 requests of its kind are out. Later ones gather, at most 100 in a request, and go
    /// when one comes back. Nothing waits for a timer, and nothing is cached.
    pub fn coalesce(mut self, is_on: bool) -> Self {
        self.config.coalesce = is_on;
        self
    }

    /// Maximum length of an answer in bytes, at least 1; 32 MiB by default.
    pub fn answer_max_bytes(mut self, len: usize) -> Self {
        self.config.answer_max_bytes = len;
        self
    }

    /// Maximum number of connections, each with one request at a time, at least 1; 100 by default.
    pub fn connections_max(mut self, count: usize) -> Self {
        self.config.connections_max = count;
        self
    }

    /// How long a connection lives, more than 0 and at most 5 minutes, which is the default. It gets no
    /// further request when a try could end after that, at the latest after half of this time.
    pub fn connection_age(mut self, age: Duration) -> Self {
        self.config.connection_age = age;
        self
    }

    /// TLS for `https://`, with a client certificate if one is needed; by default it trusts the roots of
    /// the system. HTTP/1.1 is spoken, whatever protocols the configuration offers.
    pub fn tls(mut self, tls: Arc<ClientConfig>) -> Self {
        self.config.tls = Some(tls);
        self
    }

    /// Returns the trace context of the caller (W3C `traceparent`), which is sent with each of its
    /// calls. Coalesced resolves have one for each request.
    pub fn traceparent(
        mut self,
        current: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.config.traceparent = Some(Box::new(current));
        self
    }

    /// Makes the client. It connects with the first call.
    ///
    /// # Errors
    /// [`Error::Malformed`]: a setting is out of its limits, or the key file cannot be read.
    pub fn build(self) -> Result<Client, Error> {
        Client::of(self.checked()?)
    }

    pub(crate) fn checked(self) -> Result<Config, Error> {
        let Self { urls, key, mut config } = self;
        let times = [config.deadline, config.try_timeout, config.connection_age];
        if times.iter().any(|time| time.is_zero() || *time > TIME_MAX) {
            return Err(Error::Malformed(
                "deadline, try_timeout, connection_age: must be more than 0 and at most a year",
            ));
        }
        // No try lasts longer than its call.
        config.try_timeout = config.try_timeout.min(config.deadline);
        if config.connection_age > AGE_MAX {
            return Err(Error::Malformed("connection_age: must be at most 300 s"));
        }
        if config.answer_max_bytes == 0 || config.connections_max == 0 {
            return Err(Error::Malformed("answer_max_bytes, connections_max: must be more than 0"));
        }
        if key.is_some() && config.key_file.is_some() {
            return Err(Error::Malformed("key and key_file: give one of them"));
        }
        config.key = key.as_deref().map(bearer).transpose()?;
        for url in &urls {
            let origin = Arc::new(origin(url)?);
            let is_same = |it: &Arc<Origin>| it.address == origin.address && it.name == origin.name;
            if config.origins.iter().any(is_same) {
                return Err(Error::Malformed("urls: one is given twice"));
            }
            config.origins.push(origin);
        }
        if config.origins.is_empty() {
            return Err(Error::Malformed("urls: at least one is needed"));
        }
        if config.origins.iter().any(|origin| origin.name.is_some()) {
            config.tls = Some(match config.tls.take() {
                Some(given) => http1_only(given),
                None => system_tls()?,
            });
        }
        Ok(config)
    }
}

/// A key as the header `Authorization` has it.
pub(crate) fn bearer(key: &str) -> Result<HeaderValue, Error> {
    const WRONG: Error = Error::Malformed("key: must be a key that `jeton keys add` made");
    if !is_printable(key) {
        return Err(WRONG);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| WRONG)?;
    value.set_sensitive(true);
    Ok(value)
}

fn origin(url: &str) -> Result<Origin, Error> {
    const FORM: Error =
        Error::Malformed("urls: must be http://HOST:PORT, https://HOST:PORT or unix:PATH");
    #[cfg(unix)]
    if let Some(path) = url.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        let (address, host) = (Address::Unix(path.into()), HeaderValue::from_static("localhost"));
        return Ok(Origin { address, host, name: None });
    }
    let uri: Uri = url.parse().map_err(|_| FORM)?;
    let authority = uri.authority().ok_or(FORM)?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(FORM),
    };
    if authority.as_str().contains('@') {
        return Err(Error::Malformed("urls: must have no user or password; use key or key_file"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains('#') {
        return Err(Error::Malformed("urls: must have no path, query or fragment"));
    }
    let host = authority.host().to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| FORM)?;
    let standard = if is_tls { 443 } else { 80 };
    let port = match authority.port() {
        None if authority.as_str().len() > authority.host().len() => return Err(FORM),
        None => standard,
        Some(port) => port.as_u16(),
    };
    let named = if port == standard { host.clone() } else { format!("{host}:{port}") };
    let named = HeaderValue::from_str(&named).map_err(|_| FORM)?;
    let address = Address::Tcp(format!("{host}:{port}"));
    Ok(Origin { address, host: named, name: is_tls.then_some(name) })
}

/// The same configuration, without protocols that the client does not speak.
fn http1_only(given: Arc<ClientConfig>) -> Arc<ClientConfig> {
    let is_so = given.alpn_protocols.iter().all(|name| name == b"http/1.1");
    if is_so {
        return given;
    }
    let mut tls = Arc::unwrap_or_clone(given);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

fn system_tls() -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::Malformed("tls: the system has no roots; give a configuration"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::Malformed("tls: no protocol version is possible"))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(Builder) -> Builder) -> Result<Config, Error> {
        change(Builder::new(vec!["http://127.0.0.1:7450".to_owned()])).checked()
    }

    #[test]
    fn an_url_is_a_bare_address() {
        let of = |url: &str| origin(url).unwrap();
        assert_eq!(of("http://127.0.0.1:7450").address.to_string(), "127.0.0.1:7450");
        assert_eq!(of("https://[::1]/").address.to_string(), "[::1]:443");
        #[cfg(unix)]
        assert_eq!(of("unix:/run/jeton").address.to_string(), "unix:/run/jeton");
        assert_eq!(of("http://Shop:80").host, "shop");
        assert_eq!(of("http://shop_1.example:7450").host, "shop_1.example:7450");
        assert!(of("https://shop").name.is_some() && of("http://shop").name.is_none());
        let wrong = [
            "",
            "shop:1",
            "ftp://shop",
            "http://a@b",
            "http://a/b",
            "http://a?b",
            "/x",
            "http://a:x",
            "http://a:99999",
            "http://a b",
            "http://a/#b",
            "http://",
            "unix:",
        ];
        for wrong in wrong {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_have_limits() {
        assert!(with(|it| it).is_ok());
        assert!(with(|it| it.deadline(Duration::ZERO)).is_err());
        assert!(with(|it| it.deadline(Duration::MAX)).is_err());
        assert!(with(|it| it.try_timeout(Duration::ZERO)).is_err());
        assert!(with(|it| it.connection_age(AGE_MAX + Duration::from_nanos(1))).is_err());
        assert!(with(|it| it.answer_max_bytes(0)).is_err());
        assert!(with(|it| it.connections_max(0)).is_err());
        assert!(with(|it| it.key("a b")).is_err());
        assert!(with(|it| it.key("a").key_file("b")).is_err());
        let twice = ["http://a", "http://A:80/"].map(ToOwned::to_owned).to_vec();
        assert!(Builder::new(twice).checked().is_err());
        assert!(Builder::new(Vec::new()).checked().is_err());
    }
}
