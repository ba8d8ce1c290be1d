//! Values of clients that may send any bytes.

use serde_json::Value;

use crate::model::value::marked;

/// The payload that is stored for a value: as it is where it is JSON that HTTP would take, else marked
/// as bytes. `null` means that nothing was found, and many parsers reject what is nested deeply.
pub(crate) fn stored(value: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<Value>(value) {
        Ok(Value::Null) | Err(_) => marked(value),
        Ok(_) => value.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::is_json;

    #[test]
    fn only_json_is_stored_as_it_is() {
        for value in ["{}", "[1, 2]", "\"a\"", "17", " true "] {
            assert_eq!(stored(value.as_bytes()), value.as_bytes());
        }
        for value in [
            &b""[..],
            b"hello",
            b"{} {}",
            b"\xff",
            b"\"\xc3\"",
            b"{'a':1}",
            b"null",
            b"\"\\ud800\"",
        ] {
            assert!(!is_json(&stored(value)), "{value:?}");
        }
        let deep = [vec![b'['; 129], vec![b']'; 129]].concat();
        assert!(!is_json(&stored(&deep)));
    }
}
