//! Resolve: the payload of a token, or of many in one request.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use crate::http::answer::problem::Problem;
use crate::http::answer::response::{self, Body};
use crate::http::api::request_context::RequestContext;
use crate::http::config::ANSWER_LEN_MAX;
use crate::http::conn::context::Worker;
use crate::http::request::list;
use crate::model::token::Digest;
use crate::service::networks::Misses;

/// What a payload is expected to take in the answer to a batch.
const EXPECTED_LEN: usize = 160;

/// `GET /v1/tokens/{token}`
pub(in crate::http) fn one(
    worker: &Worker,
    headers: HeaderMap,
    digest: &Digest,
) -> Result<Response<Body>, Problem> {
    let engine = &worker.engine;
    engine
        .resolve(digest, engine.now(), Bytes::copy_from_slice)
        .map(|payload| response::json(headers, StatusCode::OK, payload))
        .ok_or_else(Problem::not_found)
}

/// `POST /v1/resolve`
pub(in crate::http) fn batch(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, Problem> {
    let (engine, now) = (&worker.engine, worker.engine.now());
    let RequestContext { access, peer, trail, .. } = request;
    let (digests, referred) = list::tokens(worker, request, body)?;
    list::admit(worker, request, (&digests, &referred), digests.len())?;
    let mut answer = ArrayOfPayloads::new(digests.len(), referred);
    let mut place = 0;
    engine.resolve_many(&digests, now, |payload| {
        trail.found(place, payload.is_some());
        place += 1;
        answer.push(payload);
    });
    worker.miss_limiter.charge(access, peer, now, answer.misses);
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}

/// A JSON array of payloads, each byte for byte, `null` where there is none.
pub(in crate::http) struct ArrayOfPayloads {
    bytes: Vec<u8>,
    is_too_long: bool,
    /// Places where there is none.
    pub(in crate::http) misses: Misses,
    /// Payloads pushed.
    len: usize,
    /// Places that a reference names, in their order.
    referred: Vec<usize>,
}

impl ArrayOfPayloads {
    /// For `count` payloads; those at the places `referred` are asked for by a reference.
    pub(in crate::http) fn new(count: usize, referred: Vec<usize>) -> ArrayOfPayloads {
        let mut bytes = Vec::with_capacity(2 + count * EXPECTED_LEN);
        bytes.push(b'[');
        let misses = Misses::default();
        ArrayOfPayloads { bytes, is_too_long: false, misses, len: 0, referred }
    }

    pub(in crate::http) fn push(&mut self, payload: Option<&[u8]>) {
        if payload.is_none() {
            self.misses.all += 1;
            self.misses.by_reference += usize::from(self.referred.binary_search(&self.len).is_ok());
        }
        self.len += 1;
        let payload = payload.unwrap_or(b"null");
        if self.bytes.len() + payload.len() + 2 > ANSWER_LEN_MAX {
            self.is_too_long = true;
            return;
        }
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(payload);
    }

    /// The array, unless it would have been too long.
    pub(in crate::http) fn finish(mut self) -> Result<Bytes, Problem> {
        if self.is_too_long {
            return Err(too_much());
        }
        self.bytes.push(b']');
        Ok(self.bytes.into())
    }
}

/// 422: the payloads of a batch are too long together.
pub(in crate::http) fn too_much() -> Problem {
    Problem::out_of_limits(format!(
        "tokens: their payloads must have at most {ANSWER_LEN_MAX} bytes together"
    ))
    .about("tokens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_in_the_order_pushed() {
        let mut array = ArrayOfPayloads::new(3, vec![1]);
        for payload in [Some(&b"{\"a\": 1}"[..]), None, Some(b"\"x\"")] {
            array.push(payload);
        }
        assert_eq!(array.misses, Misses { all: 1, by_reference: 1 });
        assert_eq!(array.finish().unwrap(), &b"[{\"a\": 1},null,\"x\"]"[..]);
        assert_eq!(ArrayOfPayloads::new(0, vec![]).finish().unwrap(), &b"[]"[..]);
    }

    #[test]
    fn p8_an_answer_has_a_longest_length() {
        let payload = vec![b'1'; 1 << 20];
        let mut array = ArrayOfPayloads::new(17, vec![]);
        for _ in 0..17 {
            array.push(Some(&payload));
        }
        assert!(array.bytes.len() <= ANSWER_LEN_MAX);
        assert_eq!(array.finish().unwrap_err().status, 422);
    }
}
