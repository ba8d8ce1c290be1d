//! The record decoder: accepts exactly the records that the format allows, and encodes them to the
//! same bytes.

use jeton::model::record::{RECORD_LEN_MAX, Record, records};

use super::spec;

/// Reads the bytes as the body of a frame.
pub fn check(body: &[u8]) {
    let mut at = 0;
    while at < body.len() {
        let len = spec::record(&body[at..]).map(|record| record.len);
        match Record::decode(body, at) {
            Ok((record, next)) => {
                assert_eq!(Some(next - at), len, "read what is no record, or not all of one");
                assert!(next <= body.len() && next - at <= RECORD_LEN_MAX, "length out of bounds");
                let mut again = Vec::new();
                record.encode(&mut again);
                assert_eq!(again, &body[at..next], "another record came back");
                let cut = Record::decode(&body[..next - 1], at);
                assert!(cut.is_err(), "a record cut short was read");
                at = next;
            }
            Err(error) => {
                assert_eq!(error.at, at, "the error is about another place");
                assert_eq!(len, None, "{error}, but it is a record");
                break;
            }
        }
    }
    let (mut count, mut errors) = (0, 0);
    for record in records(body) {
        assert_eq!(errors, 0, "a record behind the first error");
        count += 1;
        errors += usize::from(record.is_err());
    }
    assert_eq!(errors == 0, at >= body.len(), "{count} records");
}
