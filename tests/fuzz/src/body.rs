//! Bodies: JSON within the limits is accepted and returned byte for byte. Any other body is
//! refused, and the refusal never repeats it.

use jeton::model::reference::Reference;
use jeton::model::text::parse_duration;
use jeton::testkit::stepped::Stepped;

use super::json::{self, Kind, Value};
use super::{http, lists, talk};

const PAYLOAD_LEN_MAX: usize = 64 << 10;
const DEPTH_MAX: usize = 128;
const BATCH_LEN_MAX: usize = 1_000;
const TTL_MS_MAX: f64 = 30.0 * 86_400_000.0;
/// A piece of a body of this length that contains one of these characters is in no error's own
/// text.
const TELLING_LEN: usize = 12;
const TELLING: &[u8] = b"@#$%^&*~|<>";

/// The expected result of an issue.
struct Wanted<'a> {
    payload: &'a str,
    uses: u64,
    peek: bool,
    by_reference: bool,
}

/// Whether the result is certain: a value next to a limit may be accepted or refused.
enum Verdict<'a> {
    Accept(Wanted<'a>),
    Refuse,
    Either,
}

/// Sends the bytes after the first as a body; the first selects the route.
pub fn check(bytes: &[u8]) {
    let Some((place, body)) = bytes.split_first() else { return };
    agrees_with_serde(body);
    if body.is_empty() {
        return;
    }
    let mut stepped = talk::engine();
    match place % 6 {
        0 => one(&mut stepped, body),
        1 => batch(&mut stepped, body),
        2 => lists::resolve(&mut stepped, body),
        3 => lists::status(&mut stepped, body),
        4 => lists::extend(&mut stepped, body),
        _ => lists::revoke(&mut stepped, body),
    }
}

/// A value that serde reads is valid here too. Serde refuses more: numbers outside the range of a
/// float, deep nesting, escapes that encode no character.
fn agrees_with_serde(body: &[u8]) {
    let ours = json::read(body).is_some();
    let theirs = serde_json::from_slice::<serde_json::Value>(body);
    match theirs {
        Ok(_) => assert!(ours, "serde reads what we don't"),
        Err(error) => assert!(!ours || !error.is_eof(), "{error}, but we read it"),
    }
}

fn verdict<'a>(value: &'a Value<'a>) -> Verdict<'a> {
    let names = ["payload", "ttl", "uses", "peek", "reference"];
    let Some(fields) = value.fields(&names) else { return Verdict::Refuse };
    let [payload, ttl, uses, peek, reference] = fields[..] else { return Verdict::Refuse };
    let Some(payload) = payload else { return Verdict::Refuse };
    let is_readable = payload.is_readable(DEPTH_MAX);
    let payload = payload.text;
    let uses = uses.map_or(Some(1), |value| value.text.parse().ok());
    let peek = match peek.map(|value| value.text) {
        None | Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => None,
    };
    let (Some(uses), Some(peek)) = (uses, peek) else { return Verdict::Refuse };
    let is_good = is_readable
        && payload != "null"
        && payload.len() <= PAYLOAD_LEN_MAX
        && (1..=10_000).contains(&uses)
        && reference.is_none_or(|value| self::reference(value).is_some());
    let by_reference = reference.is_some();
    match ttl.map_or(Some(true), ttl_fits) {
        Some(fits) if !fits || !is_good => Verdict::Refuse,
        None if !is_good => Verdict::Refuse,
        None => Verdict::Either,
        Some(_) => Verdict::Accept(Wanted { payload, uses, peek, by_reference }),
    }
}

/// `None` if that depends on the rounding of a number.
pub(super) fn ttl_fits(value: &Value<'_>) -> Option<bool> {
    let Some(millis) = ttl_millis(value) else { return Some(false) };
    let is_near = |limit: f64| (millis - limit).abs() < 1.0;
    let is_near_limit = is_near(0.5) || is_near(TTL_MS_MAX);
    (!is_near_limit).then_some((1.0..=TTL_MS_MAX).contains(&millis))
}

/// A `ttl` in milliseconds, rounded or not; `None` if it is invalid.
pub(super) fn ttl_millis(value: &Value<'_>) -> Option<f64> {
    let seconds = match &value.kind {
        Kind::String(text) => parse_duration(text.as_deref()?).ok()?.as_secs_f64(),
        _ if value.is_number() => value.text.parse().unwrap_or(f64::INFINITY),
        _ => return None,
    };
    Some(seconds * 1_000.0)
}

pub(super) fn reference(value: &Value<'_>) -> Option<Reference> {
    let fields = value.fields(&["order_number", "created_at", "amount"])?;
    let text = |value: &Value<'_>| value.string().map(str::to_owned);
    let order = fields[0].map(|value| text(value).ok_or(())).transpose().ok()?;
    let time = fields[1].map(|value| text(value).ok_or(())).transpose().ok()?;
    let amount = fields[2].map(|value| match value.string() {
        Some(text) => text.to_owned(),
        None => value.text.to_owned(),
    });
    Reference::new(order.as_deref(), time.as_deref(), amount.as_deref()).ok()
}

fn one(stepped: &mut Stepped, body: &[u8]) {
    let answer = talk::ask(stepped, "POST", "/v1/tokens", body);
    http::well_formed(&answer);
    let value = json::read(body);
    let verdict = value.as_ref().map_or(Verdict::Refuse, verdict);
    match (answer.status, verdict) {
        (201, Verdict::Accept(wanted)) => {
            let issued: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            came_back(stepped, issued["token"].as_str().expect("a token"), &wanted);
        }
        (201, Verdict::Either) => {}
        (400 | 413 | 422, Verdict::Refuse | Verdict::Either) => tells_nothing(body, &answer.body),
        (status, _) => panic!("{status} to {:?}", String::from_utf8_lossy(body)),
    }
}

/// The issued payload resolves byte for byte, and the token can be consumed.
fn came_back(stepped: &mut Stepped, token: &str, wanted: &Wanted<'_>) {
    let path = format!("/v1/tokens/{token}");
    let got = talk::ask(stepped, "GET", &path, b"");
    let is_seen = wanted.peek.then_some(wanted.payload.as_bytes());
    assert_eq!((got.status == 200).then_some(&got.body[..]), is_seen, "GET");
    let status = talk::ask(stepped, "GET", &format!("{path}/status"), b"");
    let status: serde_json::Value = serde_json::from_slice(&status.body).expect("JSON");
    assert_eq!(status["uses_left"], wanted.uses);
    assert_eq!(status["size"], wanted.payload.len());
    let consumed = talk::ask(stepped, "POST", &format!("{path}/consume"), b"");
    assert_eq!(consumed.body, wanted.payload.as_bytes(), "consume");
    let again = talk::ask(stepped, "POST", &format!("{path}/consume"), b"");
    assert_eq!(again.status, if wanted.uses > 1 { 200 } else { 404 }, "P2");
}

/// P9: an error repeats no part of the request.
pub(super) fn tells_nothing(body: &[u8], answer: &[u8]) {
    let is_told = |piece: &[u8]| answer.windows(TELLING_LEN).any(|told| told == piece);
    let mut pieces = body.windows(TELLING_LEN);
    let is_telling = |piece: &&[u8]| piece.iter().any(|byte| TELLING.contains(byte));
    assert!(
        !pieces.any(|piece| is_telling(&piece) && is_told(piece)),
        "P9: {}",
        String::from_utf8_lossy(answer)
    );
}

/// The items of `{"tokens": […]}`.
fn items<'a>(value: &'a Value<'a>) -> Option<&'a [Value<'a>]> {
    let fields = value.fields(&["tokens"])?;
    match &fields[0]?.kind {
        Kind::Array(items) if items.len() <= BATCH_LEN_MAX => Some(items),
        _ => None,
    }
}

fn batch(stepped: &mut Stepped, body: &[u8]) {
    let answer = talk::ask(stepped, "POST", "/v1/tokens/batch", body);
    http::well_formed(&answer);
    let value = json::read(body);
    let Some(items) = value.as_ref().and_then(items) else {
        assert!(matches!(answer.status, 400 | 413 | 422), "{answer:?}");
        return;
    };
    assert_eq!(answer.status, 200, "{answer:?}");
    let results: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let results = results["results"].as_array().expect("results");
    assert_eq!(results.len(), items.len(), "a result for each");
    for (item, result) in items.iter().zip(results) {
        match (result["token"].as_str(), verdict(item)) {
            // Two of one reference may be in one batch.
            (_, Verdict::Accept(Wanted { by_reference: true, .. }) | Verdict::Either) => {}
            (Some(token), Verdict::Accept(wanted)) => came_back(stepped, token, &wanted),
            (None, Verdict::Refuse) => assert!(result["error"]["status"].is_number(), "{result}"),
            (token, _) => panic!("{:?} to {}", token.map(|_| "a token"), item.text),
        }
    }
}
