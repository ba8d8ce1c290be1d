//! One request after the other over one connection: all the HTTP that the client commands need.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer, in bytes.
const ANSWER_LEN_MAX: usize = 32 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("--server must be http://HOST:PORT")]
    Server,
    #[error("{server}: {source}")]
    Connect { server: String, source: io::Error },
    #[error("the server did not answer: {0}")]
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

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A connection to a server.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    /// The value of `Authorization`.
    key: Option<HeaderValue>,
}

impl Wire {
    /// Connects to `server`, which is `http://HOST:PORT`.
    pub(super) async fn connect(server: &str, key: Option<&str>) -> Result<Wire, WireError> {
        let (address, host) = address_of(server)?;
        let failed = |source| WireError::Connect { server: server.to_owned(), source };
        let connecting = timeout(TIMEOUT, TcpStream::connect(&address));
        let socket = connecting.await.map_err(|_| WireError::Slow)?.map_err(failed)?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // What ends the connection also ends the request, which reports it.
        tokio::spawn(connection);
        let key = key.map(|key| HeaderValue::from_str(&format!("Bearer {key}"))).transpose();
        let mut key = key.map_err(|_| WireError::Header("Authorization"))?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        Ok(Wire { sender, host, key })
    }

    /// One request, with a JSON body where `body` is given.
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
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = key {
            let value = HeaderValue::from_str(key);
            let value = value.map_err(|_| WireError::Header("Idempotency-Key"))?;
            headers.insert("idempotency-key", value);
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

/// Where to connect, and what to call it.
fn address_of(server: &str) -> Result<(String, HeaderValue), WireError> {
    let uri: Uri = server.parse().map_err(|_| WireError::Server)?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().ok_or(WireError::Server)?;
    if uri.scheme_str() != Some("http") || !is_bare || authority.as_str().contains('@') {
        return Err(WireError::Server);
    }
    let port = authority.port_u16().unwrap_or(80);
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| WireError::Server)?;
    Ok((format!("{}:{port}", authority.host()), host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_plain_http_addresses() {
        for (server, expected) in [
            ("http://127.0.0.1:7450", "127.0.0.1:7450"),
            ("http://localhost:1/", "localhost:1"),
            ("http://[::1]:7450", "[::1]:7450"),
            ("http://shop", "shop:80"),
        ] {
            assert_eq!(address_of(server).unwrap().0, expected);
        }
        for server in ["https://x:1", "x:1", "http://x:1/path", "http://a@b:1", "", "/x"] {
            assert!(address_of(server).is_err(), "{server}");
        }
    }
}
