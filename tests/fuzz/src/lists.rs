//! Bodies of the routes that take a list of tokens: an accepted list has an answer for each place
//! and changes each token as requested, and a refused one changes nothing.

use jeton::model::token::Token;
use jeton::testkit::stepped::Stepped;

use super::answers::Answer;
use super::body::{reference, tells_nothing, ttl_fits, ttl_millis};
use super::json::{self, Kind, Value};
use super::{http, talk};

const BATCH_LEN_MAX: usize = 1_000;
/// The names of the tokens that live.
const LIVING: [&str; 2] = [talk::ONE, talk::TWO];

/// The token at a place of a list, as an index into [`LIVING`]; `None` for an unknown token.
type Named = Option<usize>;

/// The known state of a living token.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    deadline_ms: i64,
    text: Vec<u8>,
}

/// `POST /v1/resolve`
pub fn resolve(stepped: &mut Stepped, body: &[u8]) {
    let answer = post(stepped, "/v1/resolve", body);
    let Some(places) = read(body, &["tokens"]).and_then(|value| places(&value)) else {
        return refused(body, &answer);
    };
    // The second can only be consumed.
    let payload = |named: &Named| if *named == Some(0) { "\"one\"" } else { "null" };
    let payloads: Vec<_> = places.iter().map(payload).collect();
    assert_eq!((answer.status, &answer.body[..]), (200, array(&payloads).as_bytes()));
}

/// `POST /v1/status`: the answers of single requests for each token, and no use is consumed.
pub fn status(stepped: &mut Stepped, body: &[u8]) {
    let before = living(stepped);
    let answer = post(stepped, "/v1/status", body);
    assert_eq!(living(stepped), before, "a status changes nothing");
    let Some(places) = read(body, &["tokens"]).and_then(|value| places(&value)) else {
        return refused(body, &answer);
    };
    let text = |named: &Named| {
        let known = named.and_then(|place| before[place].as_ref());
        known.map_or("null", |known| std::str::from_utf8(&known.text).expect("UTF-8"))
    };
    let texts: Vec<_> = places.iter().map(text).collect();
    assert_eq!((answer.status, &answer.body[..]), (200, array(&texts).as_bytes()));
}

/// `POST /v1/extend`: one deadline for all, never an earlier one.
pub fn extend(stepped: &mut Stepped, body: &[u8]) {
    let before = living(stepped);
    let answer = post(stepped, "/v1/extend", body);
    let after = living(stepped);
    let value = read(body, &["tokens", "ttl"]);
    let asked = value.as_ref().and_then(|value| {
        let fields = value.fields(&["tokens", "ttl"])?;
        Some((places(value)?, fields[1]?))
    });
    let is_near_limit = asked.as_ref().is_some_and(|(_, ttl)| ttl_fits(ttl).is_none());
    let Some((places, ttl)) = asked.filter(|(_, ttl)| ttl_fits(ttl) != Some(false)) else {
        assert_eq!(after, before, "a refusal changes nothing");
        return refused(body, &answer);
    };
    if answer.status != 200 && is_near_limit {
        return refused(body, &answer);
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    let later = talk::NOW_MS as f64 + ttl_millis(ttl).expect("it fits");
    for (place, known) in before.iter().enumerate() {
        let (was, is) =
            [known, &after[place]].map(|known| known.as_ref().expect("it lives")).into();
        let wanted = if places.contains(&Some(place)) { later } else { 0.0 };
        let wanted = wanted.max(was.deadline_ms as f64);
        assert!((is.deadline_ms as f64 - wanted).abs() <= 1.0, "{was:?} {is:?} {wanted}");
    }
    let shown: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(shown.len(), places.len(), "a place for each");
    for (shown, named) in shown.iter().zip(places) {
        let deadline = shown["expires_at"].as_str().map(millis);
        let wanted = named.and_then(|place| after[place].as_ref()).map(|known| known.deadline_ms);
        assert_eq!(deadline, wanted, "the deadline that it has");
    }
}

/// `POST /v1/revoke`: exactly the named tokens are revoked, and the answer does not show which
/// existed.
pub fn revoke(stepped: &mut Stepped, body: &[u8]) {
    let before = living(stepped);
    let answer = post(stepped, "/v1/revoke", body);
    let after = living(stepped);
    let Some(places) = read(body, &["tokens"]).and_then(|value| places(&value)) else {
        assert_eq!(after, before, "a refusal changes nothing");
        return refused(body, &answer);
    };
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    for (place, known) in before.into_iter().enumerate() {
        let wanted = if places.contains(&Some(place)) { None } else { known };
        assert_eq!(after[place], wanted, "P3");
    }
}

fn post(stepped: &mut Stepped, path: &str, body: &[u8]) -> Answer {
    let answer = talk::ask(stepped, "POST", path, body);
    http::well_formed(&answer);
    answer
}

fn refused(body: &[u8], answer: &Answer) {
    assert!(matches!(answer.status, 400 | 413 | 422), "{answer:?}");
    tells_nothing(body, &answer.body);
}

/// The answers of single requests for each token.
fn living(stepped: &mut Stepped) -> [Option<Known>; 2] {
    LIVING.map(|token| {
        let answer = talk::ask(stepped, "GET", &format!("/v1/tokens/{token}/status"), b"");
        let shown: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let known = || Known {
            deadline_ms: millis(shown["expires_at"].as_str().expect("a deadline")),
            text: answer.body.clone(),
        };
        (answer.status == 200).then(known)
    })
}

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond()
}

/// The body if it is an object of these fields.
fn read<'a>(body: &'a [u8], names: &[&str]) -> Option<Value<'a>> {
    json::read(body).filter(|value| value.fields(names).is_some())
}

/// The tokens at the places of `{"tokens": […]}`; `None` if the list is invalid.
fn places(value: &Value<'_>) -> Option<Vec<Named>> {
    let Kind::Object(fields) = &value.kind else { return None };
    let tokens = fields.iter().find(|(name, _)| name.as_deref() == Some("tokens"));
    match &tokens?.1.kind {
        Kind::Array(items) if items.len() <= BATCH_LEN_MAX => items.iter().map(named).collect(),
        _ => None,
    }
}

/// The token that an item names; the outer `None` if it is neither a token nor a reference.
fn named(item: &Value<'_>) -> Option<Named> {
    if let Kind::String(text) = &item.kind {
        let text = text.as_deref().filter(|text| Token::parse(text.as_bytes()).is_ok())?;
        return Some(LIVING.iter().position(|living| *living == text));
    }
    let fields = item.fields(&["reference"])?;
    reference(fields[0]?).map(|_| None)
}

fn array(texts: &[&str]) -> String {
    format!("[{}]", texts.join(","))
}
