//! hyper alone, with which tests compare what is read here.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::h1::head::HEAD_LEN_MAX;

/// What hyper hands to its service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) target: String,
    pub(super) host: Option<Vec<u8>>,
    /// Each `Authorization`.
    pub(super) keys: Vec<Vec<u8>>,
    /// Each `Idempotency-Key`.
    pub(super) idempotency_keys: Vec<Vec<u8>>,
    pub(super) body: Vec<u8>,
}

/// All whole requests that a hyper with our settings makes of these bytes, behind which the peer ends,
/// and what it answers.
pub(super) fn serve_with_hyper(bytes: &[u8]) -> (Vec<Served>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let served = Arc::<Mutex<Vec<Served>>>::default();
    let seen = served.clone();
    let answers = runtime.block_on(async {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let seen = seen.clone();
            async move {
                let (head, body) = request.into_parts();
                let values = |name| {
                    let all = head.headers.get_all(name).iter();
                    all.map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>()
                };
                let mut one = Served {
                    target: head.uri.to_string(),
                    host: values("host").into_iter().next(),
                    keys: values("authorization"),
                    idempotency_keys: values("idempotency-key"),
                    body: Vec::new(),
                };
                if let Ok(body) = body.collect().await {
                    one.body = body.to_bytes().to_vec();
                    seen.lock().unwrap().push(one);
                }
                Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::new())))
            }
        });
        let mut builder = http1::Builder::new();
        builder.half_close(true).max_buf_size(HEAD_LEN_MAX);
        let _ = builder.serve_connection(TokioIo::new(far), service).await;
        let mut answers = String::new();
        near.read_to_string(&mut answers).await.unwrap();
        answers
    });
    let served = served.lock().unwrap().clone();
    (served, answers)
}
