//! `redis://` and `rediss://` addresses.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use zeroize::Zeroizing;

use crate::tls;

/// The form of an address, for error messages.
pub(super) const FORM: &str = "redis[s]://[USER@]HOST[:PORT][/DATABASE], percent-encoded";

/// A server of the Redis protocol, and how to log in there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) database: u32,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl fmt::Display for Place {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

/// An address as it was given.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) database: u32,
}

impl fmt::Debug for Url {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.host)
    }
}

impl Url {
    /// Reads an address. `None` if it has another form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains(['?', '#', ' ']) {
            return None;
        }
        let database = if path.is_empty() { 0 } else { path.parse().ok()? };
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            None => (None, None),
            Some((user, password)) => (decoded(user)?, decoded(password)?.map(Zeroizing::new)),
        };
        let (host, port) = host_and_port(address)?;
        Some(Self { is_tls, host, port, user, password, database })
    }

    /// The server, which is trusted by the certificates in `ca`.
    pub(super) fn place(
        self,
        port: u16,
        ca: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Place, tls::TlsError> {
        let Self { is_tls, host, port: given, user, password, database } = self;
        let tls = is_tls.then(|| tls::client::config(ca, identity)).transpose()?;
        Ok(Place { host, port: given.unwrap_or(port), tls, user, password, database })
    }
}

/// `Some(None)` for an empty text, `None` for one that is not UTF-8.
fn decoded(text: &str) -> Option<Option<String>> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?.into_owned();
    Some((!decoded.is_empty()).then_some(decoded))
}

/// Splits `host:port`, `[v6]:port` or a host alone.
pub(super) fn host_and_port(address: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map(str::parse).transpose().ok()?;
    let is_host = !host.is_empty() && (address.starts_with('[') || !host.contains(':'));
    is_host.then(|| (host.to_owned(), port))
}

#[cfg(test)]
impl Place {
    /// Without TLS and without a login, on the port of Redis.
    pub(super) fn plain(host: &str) -> Self {
        let (tls, user, password) = (None, None, None);
        Self { host: host.to_owned(), port: 6379, tls, user, password, database: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_user_password_and_database() {
        let parsed = |text: &str| {
            let Url { is_tls, host, port, user, password, database } = Url::parse(text).unwrap();
            (is_tls, host, port, user, password.map(|it| it.to_string()), database)
        };
        let host = |text: &str| text.to_owned();
        assert_eq!(parsed("redis://shop"), (false, host("shop"), None, None, None, 0));
        assert_eq!(
            parsed("rediss://a%40b:p%3Aw%2F@[::1]:7/3"),
            (true, host("::1"), Some(7), Some(host("a@b")), Some(host("p:w/")), 3)
        );
        assert_eq!(parsed("redis://:pw@h:1/").4.as_deref(), Some("pw"));
        assert_eq!(parsed("redis://u@h:1/").3.as_deref(), Some("u"));
        for wrong in [
            "shop:6379",
            "http://shop",
            "redis://",
            "redis://shop:port",
            "redis://shop/one",
            "redis://shop/0?protocol=3",
            "redis://::1",
            "redis://%ff@shop",
        ] {
            assert!(Url::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn p9_an_address_is_shown_without_its_password() {
        let url = Url::parse("redis://user:pass@shop:1").unwrap();
        let shown = format!("{url:?} {:?}", url.clone().place(6379, None, None).unwrap());
        assert!(!shown.contains("user") && !shown.contains("pass"), "{shown}");
        assert!(shown.contains("redis://shop:1"), "{shown}");
    }
}
