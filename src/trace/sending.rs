//! One request to the collector, over a connection of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use super::message;
use super::settings::{Settings, Unusable};
use crate::tls;

/// Maximum length of an answer, in bytes.
const ANSWER_LEN_MAX: usize = 64 << 10;
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("jeton/", env!("CARGO_PKG_VERSION")));
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Sends messages to one collector.
pub(super) struct Sending {
    endpoint: Endpoint,
    headers: HeaderMap,
    /// For one request, from the connection to the end of the answer.
    timeout: Duration,
    tls: Option<Arc<ClientConfig>>,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("can't connect: {0}")]
    Connect(io::Error),
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("it does not answer as an HTTP/1.1 server does")]
    Exchange(#[from] hyper::Error),
    #[error("its answer is longer than {ANSWER_LEN_MAX} bytes, or broke off")]
    Answer,
    #[error("it has not answered within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("it answers with status {}", status.as_u16())]
    Status { status: StatusCode, retry_after: Option<Duration> },
}

impl Failure {
    /// Whether the same message may be accepted later, as OTLP says; with the least time until then.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { status, retry_after } => {
                matches!(status.as_u16(), 429 | 502 | 503 | 504)
                    .then(|| retry_after.unwrap_or_default())
            }
            _ => Some(Duration::ZERO),
        }
    }

    /// Whether the peer may speak gRPC, which is HTTP/2.
    pub(super) fn may_be_grpc(&self) -> bool {
        matches!(self, Self::Exchange(_) | Self::Answer)
    }
}

impl Sending {
    pub(super) fn new(endpoint: &Endpoint, settings: &Settings) -> Result<Self, Unusable> {
        let tls = match endpoint.tls {
            Some(_) => Some(tls::client::config(None, None)?),
            None => None,
        };
        let (headers, timeout) = (settings.headers.clone(), settings.timeout);
        Ok(Self { endpoint: endpoint.clone(), headers, timeout, tls })
    }

    /// Sends a message. Returns how many of its spans the collector has refused.
    pub(super) async fn send(&self, message: Bytes) -> Result<u64, Failure> {
        let exchange = timeout(self.timeout, self.exchange(message));
        exchange.await.unwrap_or(Err(Failure::Slow(self.timeout)))
    }

    async fn exchange(&self, message: Bytes) -> Result<u64, Failure> {
        let Endpoint { host, port, tls: name, .. } = &self.endpoint;
        let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(Failure::Connect)?;
        match self.tls.clone().zip(name.clone()) {
            None => self.ask(socket, message).await,
            Some((config, name)) => {
                let connected = TlsConnector::from(config).connect(name, socket).await;
                self.ask(connected.map_err(Failure::Handshake)?, message).await
            }
        }
    }

    async fn ask(
        &self,
        socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
        message: Bytes,
    ) -> Result<u64, Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        let request = self.request(message);
        let answer = async {
            let answer = sender.send_request(request).await?;
            let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
            let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
            let body = body.map_err(|_| Failure::Answer)?.to_bytes();
            match status {
                StatusCode::OK => Ok(message::rejected(&body)),
                _ => Err(Failure::Status { status, retry_after }),
            }
        };
        // The connection ends with the answer, whatever becomes of it then.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answered = &mut answer => answered,
            _ = &mut connection => answer.await,
        }
    }

    fn request(&self, message: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = Method::POST;
        // The path of an endpoint is one of a URL.
        if let Ok(path) = self.endpoint.path.parse() {
            *request.uri_mut() = path;
        }
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        if let Ok(host) = HeaderValue::from_str(&self.endpoint.authority) {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, PROTOBUF);
        headers.insert(CONNECTION, CLOSE);
        headers.entry(USER_AGENT).or_insert(AGENT);
        request
    }
}

/// The seconds of `Retry-After`. A date is not read: collectors send seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
