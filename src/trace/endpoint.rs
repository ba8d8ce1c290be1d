//! Where the collector is: the URL of `--otlp`.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use rustls_pki_types::ServerName;

/// The path of traces below the base URL.
const PATH: &str = "/v1/traces";
/// The port that collectors use for OTLP over gRPC.
const GRPC_PORT: u16 = 4317;

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    /// The name that its certificate must have; `None` without TLS.
    pub(super) tls: Option<ServerName<'static>>,
    /// The value of `Host`.
    pub(super) authority: String,
    /// Path of requests.
    pub(super) path: String,
}

impl Endpoint {
    /// Whether its port is the one of OTLP over gRPC, which this is not.
    pub(super) fn has_grpc_port(&self) -> bool {
        self.port == GRPC_PORT
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "the base URL of a collector, such as http://127.0.0.1:4318, without a \
            user, a query or a fragment";
        let uri: Uri = text.trim().parse().map_err(|_| FORM)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(FORM),
        };
        let authority = uri.authority().ok_or(FORM)?;
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(FORM);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match is_tls {
            true => Some(ServerName::try_from(host.clone()).map_err(|_| FORM)?),
            false => None,
        };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = format!("{}{PATH}", uri.path().trim_end_matches('/'));
        Ok(Self { host, port, tls, authority: authority.to_string(), path })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}
