//! The answer to a list: a JSON array with one item per token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::http::answer::problem::Problem;
use crate::model::value::{is_json, value_of};
use crate::service::refusal::Refusal;
use crate::service::state::ANSWER_LEN_MAX;

/// Expected bytes per item.
const EXPECTED_LEN: usize = 160;

/// Builds a JSON array of JSON texts, each copied byte for byte, with `null` for a missing one.
pub(in crate::http) struct JsonArray {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl JsonArray {
    /// An empty array with capacity for `count` items.
    pub(in crate::http) fn new(count: usize) -> Self {
        let mut bytes = Vec::with_capacity(2 + count * EXPECTED_LEN);
        bytes.push(b'[');
        Self { bytes, is_too_long: false }
    }

    /// Adds a payload; one that is not JSON becomes an object with its bytes in base64 (RFC 4648, 4).
    pub(in crate::http) fn push(&mut self, payload: Option<&[u8]>) {
        let encoded;
        let text = match payload {
            None => b"null",
            Some(payload) if is_json(payload) => payload,
            Some(payload) => {
                encoded = format!("{{\"base64\":\"{}\"}}", STANDARD.encode(value_of(payload)));
                encoded.as_bytes()
            }
        };
        if self.bytes.len() + text.len() + 2 > ANSWER_LEN_MAX {
            self.is_too_long = true;
            return;
        }
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(text);
    }

    /// Finishes the array.
    ///
    /// # Errors
    /// The array would be longer than [`ANSWER_LEN_MAX`].
    pub(in crate::http) fn finish(mut self) -> Result<Bytes, Problem> {
        if self.is_too_long {
            return Err(Refusal::AnswerTooLong.into());
        }
        self.bytes.push(b']');
        Ok(self.bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::marked;

    #[test]
    fn an_array_in_the_order_pushed() {
        let mut array = JsonArray::new(3);
        for text in [Some(&b"{\"a\": 1}"[..]), None, Some(b"\"x\"")] {
            array.push(text);
        }
        assert_eq!(array.finish().unwrap(), &b"[{\"a\": 1},null,\"x\"]"[..]);
        assert_eq!(JsonArray::new(0).finish().unwrap(), &b"[]"[..]);
        let mut array = JsonArray::new(1);
        array.push(Some(&marked(b"\xff\x00a")));
        assert_eq!(array.finish().unwrap(), &b"[{\"base64\":\"/wBh\"}]"[..]);
    }

    #[test]
    fn p8_an_answer_has_a_longest_length() {
        let payload = vec![b'1'; 1 << 20];
        let mut array = JsonArray::new(17);
        for _ in 0..17 {
            array.push(Some(&payload));
        }
        assert!(array.bytes.len() <= ANSWER_LEN_MAX);
        assert_eq!(array.finish().unwrap_err().status, 422);
    }
}
