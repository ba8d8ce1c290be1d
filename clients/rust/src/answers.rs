//! How the answer to each operation is read. `None`: it is not what the operation returns.

use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, Problem};
use crate::issue::Issued;
use crate::types::{Payload, Status, Token};

#[derive(Deserialize)]
struct IssuedJson {
    token: String,
    expires_at: String,
}

impl IssuedJson {
    fn read(self) -> Option<Issued> {
        Some(Issued { token: Token(self.token), expires_at: time(&self.expires_at)? })
    }
}

#[derive(Deserialize)]
struct Deadline {
    expires_at: String,
}

fn time(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

/// Of an issue.
pub(crate) fn issued(body: &Bytes) -> Option<Issued> {
    serde_json::from_slice::<IssuedJson>(body).ok()?.read()
}

/// Of a put: its deadline.
pub(crate) fn deadline(body: &Bytes) -> Option<SystemTime> {
    time(&serde_json::from_slice::<Deadline>(body).ok()?.expires_at)
}

/// Of a batch of issues: a token or the error of each of the `count` items.
pub(crate) fn issued_or_refused(body: &Bytes, count: usize) -> Option<Vec<Result<Issued, Error>>> {
    #[derive(Deserialize)]
    struct Results<'a> {
        #[serde(borrow)]
        results: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Failed<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Numbered {
        status: u16,
    }
    let Results { results } = serde_json::from_slice(body).ok()?;
    let one = |raw: &RawValue| {
        if let Ok(Failed { error }) = serde_json::from_str(raw.get()) {
            let status = serde_json::from_str::<Numbered>(error.get()).ok()?.status;
            let problem = Problem::read(status, error.get().as_bytes(), None)?;
            return Some(Err(Error::Problem(problem)));
        }
        serde_json::from_str::<IssuedJson>(raw.get()).ok()?.read().map(Ok)
    };
    (results.len() == count).then(|| results.into_iter().map(one).collect())?
}

/// Of a resolve or consume: the payloads of an array, byte for byte.
pub(crate) fn payloads(body: &Bytes, count: usize) -> Option<Vec<Option<Payload>>> {
    let raws: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    let one = |raw: &RawValue| match raw.get() {
        "null" => None,
        text => Some(Payload(body.slice_ref(text.as_bytes()))),
    };
    (raws.len() == count).then(|| raws.into_iter().map(one).collect())
}

/// Of a status.
pub(crate) fn statuses(body: &Bytes, count: usize) -> Option<Vec<Option<Status>>> {
    #[derive(Deserialize)]
    struct Json {
        expires_at: String,
        uses_left: u32,
        size: u64,
    }
    optionals(body, count, |Json { expires_at, uses_left, size }| {
        Some(Status { expires_at: time(&expires_at)?, uses_left, size })
    })
}

/// Of an extend.
pub(crate) fn deadlines(body: &Bytes, count: usize) -> Option<Vec<Option<SystemTime>>> {
    optionals(body, count, |Deadline { expires_at }| time(&expires_at))
}

fn optionals<'a, J: Deserialize<'a>, T>(
    body: &'a [u8],
    count: usize,
    read: impl Fn(J) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    let all: Vec<Option<J>> = serde_json::from_slice(body).ok()?;
    let one = |json: Option<J>| match json {
        None => Some(None),
        Some(json) => read(json).map(Some),
    };
    (all.len() == count).then(|| all.into_iter().map(one).collect())?
}

/// Of a revoke.
pub(crate) fn nothing(body: &Bytes) -> Option<()> {
    body.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raws(text: &'static str, count: usize) -> Option<Vec<Option<Payload>>> {
        payloads(&Bytes::from_static(text.as_bytes()), count)
    }

    #[test]
    fn payloads_are_bytes_without_the_space_around_them() {
        let payload = |text: &'static str| Some(Payload(Bytes::from_static(text.as_bytes())));
        let all = raws(" [ 1.10 ,\n null , {\"a\" : 1} ,\"],[\\\"\"] \n", 4).unwrap();
        assert_eq!(all, [payload("1.10"), None, payload("{\"a\" : 1}"), payload("\"],[\\\"\"")]);
        assert_eq!(raws("[]", 0).unwrap(), []);
        for wrong in ["", "1", "{}", "[1", "[1]]", "[1,2]", "[[1]", "[nul]"] {
            assert!(raws(wrong, 1).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_payload_may_be_deep() {
        let deep = "[".repeat(5_000) + &"]".repeat(5_000);
        let all = payloads(&Bytes::from(format!("[{deep}]")), 1).unwrap();
        assert_eq!(all[0].as_ref().unwrap().raw(), deep.as_bytes());
    }

    #[test]
    fn a_batch_has_an_answer_for_each_item() {
        let at = r#""expires_at":"2026-11-22T20:52:24.715Z""#;
        let problem = r#"{"error":{"status":422,"title":"t","detail":"d","field":"uses"}}"#;
        let body = Bytes::from(format!(r#"{{"results":[{{"token":"a",{at}}},{problem}]}}"#));
        let results = issued_or_refused(&body, 2).unwrap();
        assert!(matches!(&results[0], Ok(issued) if issued.token.as_str() == "a"));
        assert!(matches!(&results[1], Err(error) if error.status() == Some(422)));
        assert!(issued_or_refused(&body, 3).is_none());
    }

    #[test]
    fn times_are_of_rfc_3339() {
        let body = Bytes::from_static(br#"[{"expires_at":"1970-01-01T00:00:01.500Z"},null]"#);
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500);
        assert_eq!(deadlines(&body, 2).unwrap(), [Some(at), None]);
        assert!(deadlines(&Bytes::from_static(br#"[{"expires_at":"soon"}]"#), 1).is_none());
        assert!(statuses(&body, 2).is_none());
    }
}
