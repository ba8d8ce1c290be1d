//! Pages in a browser: which pages may send requests to a server that does not identify its
//! clients.
//!
//! A browser sends requests for the pages of every site, even to a server on loopback that only its
//! own machine can reach. Without a key in the request, such a page cannot be distinguished from a
//! program, so two things are checked:
//!
//! - **`Host`**, in a server without keys. A site can point a name of its own at this machine (DNS
//!   rebinding); its pages then have the server's origin and can read every answer. Names that no
//!   site can own are accepted, all others only with `--allow-host`.
//! - **`Sec-Fetch-Site` and `Origin`**, in a request without a key. Browsers state the page's site
//!   in them, and pages cannot change them. Pages of other origins are accepted only with
//!   `--allow-origin`, and only they get CORS headers.
//!
//! Programs send only `Host` of these headers and are not affected. Proxies rewrite `Host`, so
//! `Sec-Fetch-Site: same-origin` decides if `Origin` and `Host` differ.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue, Method};

use crate::http::h1::head_syntax::is_host;
use crate::model::time::UnixMillis;

const SEC_FETCH_SITE: &str = "sec-fetch-site";
const SEC_FETCH_MODE: &str = "sec-fetch-mode";
/// Last labels that no site can register (RFC 6761, RFC 6762, ICANN's resolution on `.internal`),
/// and that of services in a Kubernetes cluster.
const LOCAL_LABELS: [&[u8]; 4] = [b"localhost", b"local", b"internal", b"svc"];
/// Minimum interval between log messages about refused requests.
const LOG_INTERVAL_MS: u64 = 60_000;

/// A `Host` that is accepted in addition to the names that no site can own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowHost {
    /// Every `Host`.
    Any,
    /// A domain and all names under it, in lower case and without a leading dot.
    Under(String),
    /// One name, in lower case.
    Name(String),
}

impl FromStr for AllowHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "a host name without a port, .DOMAIN or *";
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let name = text.strip_prefix('.').unwrap_or(text);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if !is_host(name.as_bytes()) || (name.contains(':') && !name.starts_with('[')) {
            return Err(FORM);
        }
        Ok(if text.starts_with('.') { Self::Under(name) } else { Self::Name(name) })
    }
}

/// An origin whose pages may send requests: `https://shop.example`, or `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowOrigin(HeaderValue);

impl FromStr for AllowOrigin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "an origin such as https://shop.example, or null";
        let text = text.trim();
        let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty()
                && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || b"+-.".contains(&byte))
                && is_host(host.as_bytes())
        });
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if text != "null" && !(is_origin && is_lower) {
            return Err(FORM);
        }
        HeaderValue::from_str(text).map(AllowOrigin).map_err(|_| FORM)
    }
}

/// The pages that may send requests. Clones share the interval between log messages.
#[derive(Clone, Debug)]
pub struct Web {
    hosts: Vec<AllowHost>,
    origins: Vec<AllowOrigin>,
    /// The machine's host name.
    machine: String,
    logged_at: Arc<AtomicU64>,
}

impl Default for Web {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

/// The page that sends a request.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Sender {
    /// No page, or a page of this server's own origin.
    Own,
    /// A page of this origin, which `--allow-origin` names.
    Allowed(HeaderValue),
    /// A page of another origin.
    Foreign,
}

/// Why a request that may come from a page is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Refused {
    Host,
    Origin,
}

impl Refused {
    /// The header that causes the refusal.
    pub(in crate::http) fn field(self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::Origin => "Origin",
        }
    }

    /// The sentence for the client and the log.
    pub(in crate::http) fn detail(self) -> &'static str {
        match self {
            Self::Host => "Host: not a name of this server; --allow-host NAME accepts it",
            Self::Origin => {
                "Origin: the page is of another origin; --allow-origin ORIGIN accepts it"
            }
        }
    }
}

impl Web {
    /// Accepts these, and names that no site can own.
    #[must_use]
    pub fn new(hosts: Vec<AllowHost>, origins: Vec<AllowOrigin>) -> Self {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { hosts, origins, machine, logged_at: Arc::default() }
    }

    /// Whether this value of `Host` is accepted by a server without keys.
    pub(in crate::http) fn accepts_host(&self, value: &[u8]) -> bool {
        let (name, _) = split_port(value);
        let name = name.strip_suffix(b".").unwrap_or(name);
        let Some(dot) = memchr::memrchr(b'.', name) else { return true };
        let label = &name[dot + 1..];
        let is_address = || {
            let text = std::str::from_utf8(name).unwrap_or_default();
            text.parse::<Ipv4Addr>().is_ok()
        };
        name.starts_with(b"[")
            || LOCAL_LABELS.iter().any(|local| label.eq_ignore_ascii_case(local))
            || is_address()
            || name.eq_ignore_ascii_case(self.machine.as_bytes())
            || self.hosts.iter().any(|allowed| allowed.covers(name))
    }

    /// The page that sends a request with these headers to `host`.
    pub(in crate::http) fn sender(&self, headers: &HeaderMap, host: Option<&[u8]>) -> Sender {
        let (origin, site) = match (one(headers, ORIGIN.as_str()), one(headers, SEC_FETCH_SITE)) {
            (Ok(origin), Ok(site)) => (origin, site.map(HeaderValue::as_bytes)),
            // A repeated header is ambiguous.
            (Err(Twice), _) | (_, Err(Twice)) => return Sender::Foreign,
        };
        if let Some(origin) = origin
            && self.origins.iter().any(|allowed| allowed.0 == origin)
        {
            return Sender::Allowed(origin.clone());
        }
        let is_own = match site {
            Some(b"same-origin") => true,
            None | Some(b"none") => origin.is_none_or(|origin| is_origin_of(origin, host)),
            Some(_) => false,
        };
        if is_own { Sender::Own } else { Sender::Foreign }
    }

    /// Logs a refusal, at most once a minute.
    pub(in crate::http) fn log(&self, refused: Refused, now: UnixMillis) {
        let last = self.logged_at.load(Ordering::Relaxed);
        let is_due = last == 0 || now.0.saturating_sub(last) >= LOG_INTERVAL_MS;
        let is_ours = is_due
            && self
                .logged_at
                .compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_ours {
            let (header, reason) = (refused.field(), refused.detail());
            tracing::warn!(header, reason, "rejected a request that a browser page may have sent");
        }
    }
}

impl AllowHost {
    /// Whether it covers `name`, which has no port.
    fn covers(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Name(allowed) => name.eq_ignore_ascii_case(allowed.as_bytes()),
            Self::Under(domain) => {
                let Some(at) = name.len().checked_sub(domain.len()) else { return false };
                let (below, end) = name.split_at(at);
                end.eq_ignore_ascii_case(domain.as_bytes())
                    && (below.is_empty() || below.ends_with(b"."))
            }
        }
    }
}

/// A header was sent more than once.
struct Twice;

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Twice) } else { Ok(first) }
}

fn is_origin_of(origin: &HeaderValue, host: Option<&[u8]>) -> bool {
    let origin = origin.as_bytes();
    let default_port = default_port(origin);
    let authority = memchr::memmem::find(origin, b"://").map(|at| &origin[at + 3..]);
    matches!((authority, host), (Some(origin), Some(host)) if is_same(origin, host, default_port))
}

/// The default port of this scheme.
pub(in crate::http) fn default_port(scheme: &[u8]) -> &'static [u8] {
    if scheme.starts_with(b"https") { b"443" } else { b"80" }
}

/// Whether two authorities are the same (RFC 3986, 6.2.2.1 and 6.2.3).
pub(in crate::http) fn is_same(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    let parts = |authority| {
        let (host, port): (&[u8], &[u8]) = split_port(authority);
        (host, if port.is_empty() { default_port } else { port })
    };
    let ((host, port), (other_host, other_port)) = (parts(one), parts(other));
    host.eq_ignore_ascii_case(other_host) && port == other_port
}

/// Host and port of an authority; the port is empty if there is none.
fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b':', authority) {
        Some(at) if !authority.ends_with(b"]") => (&authority[..at], &authority[at + 1..]),
        _ => (authority, b""),
    }
}

/// Whether the request is a navigation (a followed link or a typed address), whose answer no page
/// can read.
pub(in crate::http) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let mode = headers.get(SEC_FETCH_MODE).map(HeaderValue::as_bytes);
    method == Method::GET && mode == Some(b"navigate")
}
