//! The HTTP client of commands that ask an admin listener, and of the demo: sends one request after the
//! other over one connection. Commands about tokens use the Rust client (`remote`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::exit::{MISTAKEN, UNANSWERED};
use super::explain;
use crate::tls::{self, TlsError};

/// Maximum time for one request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of an answer, in bytes.
const ANSWER_LEN_MAX: usize = 32 << 20;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("--server must be http://HOST:PORT, https://HOST:PORT or unix:PATH")]
    Server,
    #[error("--ca, --cert and --key are for a --server that begins with https://")]
    NotTls,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{server}: {source}")]
    Connect { server: String, source: ConnectError },
    #[error("the server did not answer: {}", explain::exchange(.0))]
    Exchange(#[from] hyper::Error),
    #[error("the answer could not be read")]
    Answer,
    #[error("the server did not answer within {} s", TIMEOUT.as_secs())]
    Slow,
    #[error("the header {0} cannot hold this value")]
    Header(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{}", explain::name(.0))]
    Name(io::Error),
    #[error("{}", explain::connect(.0))]
    Socket(io::Error),
    #[error("{}", explain::handshake(.0))]
    Handshake(io::Error),
}

impl WireError {
    /// The exit code: 2 if the call is wrong, 3 without an answer.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Server | Self::NotTls | Self::Tls(_) | Self::Header(_) => MISTAKEN,
            Self::Connect { .. } | Self::Exchange(_) | Self::Answer | Self::Slow | Self::Io(_) => {
                UNANSWERED
            }
        }
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// TLS files of the client; all `None` without TLS.
#[derive(Clone, Copy)]
pub(super) struct Trust<'a> {
    /// CA certificate, instead of the system's roots.
    pub(super) ca: Option<&'a Path>,
    /// Client certificate and its private key.
    pub(super) identity: Option<(&'a Path, &'a Path)>,
}

/// A connection to a server.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    /// The value of `Authorization`.
    key: Option<HeaderValue>,
}

impl Wire {
    /// Connects to `server`, which is `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.
    pub(super) async fn connect(
        server: &str,
        key: Option<&str>,
        trust: Trust<'_>,
    ) -> Result<Self, WireError> {
        let key = key.map(|key| HeaderValue::from_str(&format!("Bearer {key}"))).transpose();
        let mut key = key.map_err(|_| WireError::Header("Authorization"))?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        let tls = tls_for(server, trust)?;
        if let Some(path) = server.strip_prefix("unix:") {
            let sender = begin_unix(server, path).await?;
            return Ok(Self { sender, host: HeaderValue::from_static("localhost"), key });
        }
        let Place { address, host, name } = place_of(server)?;
        let failed = |source| WireError::Connect { server: server.to_owned(), source };
        let connecting = timeout(TIMEOUT, reach(&address));
        let socket = connecting.await.map_err(|_| WireError::Slow)?.map_err(failed)?;
        socket.set_nodelay(true)?;
        let sender = match tls.zip(name) {
            None => begin(socket).await?,
            Some((config, name)) => {
                let connecting = TlsConnector::from(config).connect(name, socket);
                let connecting = timeout(TIMEOUT, connecting);
                let connected = connecting.await.map_err(|_| WireError::Slow)?;
                let connected = connected.map_err(ConnectError::Handshake);
                begin(connected.map_err(failed)?).await?
            }
        };
        Ok(Self { sender, host, key })
    }

    /// Sends a request without a body and streams the answer, which may be longer than memory.
    pub(super) async fn stream(
        &mut self,
        method: Method,
        path: &'static str,
    ) -> Result<Response<Incoming>, WireError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static(path);
        request.headers_mut().insert(HOST, self.host.clone());
        if let Some(key) = &self.key {
            request.headers_mut().insert(AUTHORIZATION, key.clone());
        }
        let exchange = async {
            self.sender.ready().await?;
            Ok(self.sender.send_request(request).await?)
        };
        timeout(TIMEOUT, exchange).await.map_err(|_| WireError::Slow)?
    }

    /// Sends one request, with a JSON body if `body` is given, and with this `Idempotency-Key`.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, WireError> {
        let has_body = body.is_some();
        let mut request = Request::new(Full::from(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| WireError::Answer)?;
        let sent = request.headers_mut();
        sent.insert(HOST, self.host.clone());
        if let Some(key) = &self.key {
            sent.insert(AUTHORIZATION, key.clone());
        }
        if has_body {
            sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = key {
            let refused = |_| WireError::Header("Idempotency-Key");
            sent.insert("idempotency-key", HeaderValue::from_str(key).map_err(refused)?);
        }
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await;
            let body = body.map_err(|_| WireError::Answer)?.to_bytes();
            Ok(Answer { status, body })
        };
        timeout(TIMEOUT, exchange).await.map_err(|_| WireError::Slow)?
    }
}

/// The detail of a problem document (RFC 9457), which every refusal of a data listener is.
pub(super) fn detail(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    serde_json::from_slice(body).ok().map(|problem: Problem| problem.detail)
}

/// The first line of a refusal in plain text, as the admin listener or a proxy sends it.
pub(super) fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line: String = text.trim().lines().next().unwrap_or_default().chars().take(200).collect();
    match line.is_empty() {
        true => "no reason given".to_owned(),
        false => line.escape_debug().to_string(),
    }
}

/// The TLS configuration for `server`; `None` where it speaks no TLS.
pub(super) fn tls_for(
    server: &str,
    trust: Trust<'_>,
) -> Result<Option<Arc<rustls::ClientConfig>>, WireError> {
    let is_tls = !server.starts_with("unix:") && place_of(server)?.name.is_some();
    if is_tls {
        return Ok(Some(tls::client::config(trust.ca, trust.identity)?));
    }
    match trust.ca.is_some() || trust.identity.is_some() {
        true => Err(WireError::NotTls),
        false => Ok(None),
    }
}

/// Resolves the host and connects to it.
async fn reach(address: &str) -> Result<TcpStream, ConnectError> {
    let found = tokio::net::lookup_host(address).await.map_err(ConnectError::Name)?;
    let addresses: Vec<_> = found.collect();
    TcpStream::connect(&*addresses).await.map_err(ConnectError::Socket)
}

/// Connects to a Unix socket, which does not speak TLS.
async fn begin_unix(server: &str, path: &str) -> Result<SendRequest<Full<Bytes>>, WireError> {
    let connected = timeout(TIMEOUT, UnixStream::connect(path)).await;
    let connected = connected.map_err(|_| WireError::Slow)?.map_err(ConnectError::Socket);
    let failed = |source| WireError::Connect { server: server.to_owned(), source };
    begin(connected.map_err(failed)?).await
}

/// Starts an HTTP/1.1 connection.
async fn begin<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, WireError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection also fails the request, which reports it.
    tokio::spawn(connection);
    Ok(sender)
}

/// The address to connect to, and its name for `Host`.
#[derive(Debug)]
struct Place {
    address: String,
    host: HeaderValue,
    /// Name that the server's certificate must have; `None` without TLS.
    name: Option<ServerName<'static>>,
}

fn place_of(server: &str) -> Result<Place, WireError> {
    let uri: Uri = server.parse().map_err(|_| WireError::Server)?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().ok_or(WireError::Server)?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(WireError::Server),
    };
    if !is_bare || authority.as_str().contains('@') {
        return Err(WireError::Server);
    }
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| WireError::Server)?;
    let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = is_tls.then(|| ServerName::try_from(bare.to_owned())).transpose();
    let name = name.map_err(|_| WireError::Server)?;
    Ok(Place { address: format!("{}:{port}", authority.host()), host, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_bare_addresses() {
        for (server, expected, name) in [
            ("http://127.0.0.1:7450", "127.0.0.1:7450", None),
            ("http://localhost:1/", "localhost:1", None),
            ("http://[::1]:7450", "[::1]:7450", None),
            ("http://shop", "shop:80", None),
            ("https://shop", "shop:443", Some("shop")),
            ("https://[::1]:7450", "[::1]:7450", Some("::1")),
            ("https://127.0.0.1:1", "127.0.0.1:1", Some("127.0.0.1")),
        ] {
            let place = place_of(server).unwrap();
            assert_eq!(place.address, expected);
            assert_eq!(place.name, name.map(|name| name.try_into().unwrap()), "{server}");
        }
        for server in ["ftp://x:1", "x:1", "http://x:1/path", "https://a@b:1", "", "/x"] {
            assert!(place_of(server).is_err(), "{server}");
        }
    }
}
