//! What a payload is: JSON, or bytes of any kind.
//!
//! HTTP takes JSON alone, and its answers hold payloads as they are. The Redis protocol takes any
//! bytes. Those that are no JSON are stored behind one byte that no JSON text begins with, so that
//! a look at the first byte tells one from the other, and an empty value is stored too.

/// The first byte of a stored payload that is not JSON. No UTF-8 text has this byte.
const MARK: u8 = 0xff;

/// Makes the stored payload of a value that is not JSON.
#[must_use]
pub fn marked(value: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + value.len());
    payload.push(MARK);
    payload.extend_from_slice(value);
    payload
}

/// Whether a stored payload is JSON.
#[must_use]
pub fn is_json(payload: &[u8]) -> bool {
    payload.first() != Some(&MARK)
}

/// The value of a stored payload: what the client has sent.
#[must_use]
pub fn value_of(payload: &[u8]) -> &[u8] {
    payload.strip_prefix(&[MARK]).unwrap_or(payload)
}

/// Bytes of a stored payload in a JSON array: as it is, or as an object with its bytes in base64.
#[must_use]
pub fn json_len(payload: &[u8]) -> usize {
    const AROUND: usize = "{\"base64\":\"\"}".len();
    match is_json(payload) {
        true => payload.len(),
        false => AROUND + value_of(payload).len().div_ceil(3) * 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_was_stored_whatever_its_bytes() {
        for value in [&b""[..], b"a", b"\xff", b"\xff\xff{}", b"\0"] {
            let payload = marked(value);
            assert!(!is_json(&payload));
            assert_eq!(value_of(&payload), value);
        }
        for (len, encoded) in [(0, 0), (1, 4), (3, 4), (4, 8)] {
            assert_eq!(json_len(&marked(&vec![0; len])), 13 + encoded);
        }
        let json = b"{\"a\":1}";
        assert!(is_json(json));
        assert_eq!(value_of(json), json);
    }
}
