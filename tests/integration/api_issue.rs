//! `POST /v1/tokens`: payload, lifetime and uses.

use crate::client::{Client, expect, expect_naming};
use crate::server::Server;
use crate::support::{millis, now_ms};

/// Payloads whose bytes would change if they were parsed and serialized again.
const PAYLOADS: &[&str] = &[
    r#"{"order":"1001","total":"12.50"}"#,
    "{ \"spaced\" :\t[ 1 ,2,\n 3 ] , \"a\":{ } }",
    r#""text""#,
    r#""""#,
    "false",
    "true",
    "0",
    "-0",
    "-0.0",
    "[]",
    "{}",
    "[null, null]",
    "1e3",
    "1E+2",
    "0.10",
    "12345678901234567890123456789012345678901234567890",
    "0.1000000000000000055511151231257827021181583404541015625",
    "1e-999",
    r#""\u00e9\u20ac \ud83d\ude00 \/ \" \\ \b\f\n\r\t""#,
    "\"é € 😀 \u{2028} 漢字\"",
    r#"{"b":1,"a":2,"b":3}"#,
    r#"{"é":{"\u0061":[[[[[[[[[[1]]]]]]]]]]}}"#,
];

#[test]
fn payloads_come_back_byte_for_byte() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for payload in PAYLOADS {
        let issued = client.issued(&format!("{{\"payload\": {payload} , \"ttl\":\"5m\"}}"));
        let resolved = client.resolve(&issued.token);
        expect(&resolved, 200);
        assert_eq!(resolved.text(), *payload);
        assert_eq!(resolved.header("content-type"), Some("application/json"));
        let many = client.resolve_many(&[&issued.token]);
        assert_eq!(many.text(), format!("[{payload}]"));
        let consumed = client.consume(&issued.token);
        expect(&consumed, 200);
        assert_eq!(consumed.text(), *payload);
        assert_eq!(consumed.header("content-type"), Some("application/json"));
    }
}

#[test]
fn the_payload_may_stand_anywhere_in_the_body() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued("\n{\"peek\":true,\"uses\":2,\"payload\":[1, 2],\"ttl\":60}\r\n ");
    assert_eq!(client.resolve(&issued.token).text(), "[1, 2]");
    assert_eq!(client.uses_left(&issued.token), 2);
}

#[test]
fn tokens_do_not_repeat() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let mut tokens: Vec<_> =
        (0..50).map(|_| client.issued(r#"{"payload":"same","ttl":60}"#).token).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 50);
}

#[test]
fn ttl_is_read_in_every_form() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let forms: &[(&str, i64)] = &[
        (r#","ttl":"2250ms""#, 2_250),
        (r#","ttl":"90s""#, 90_000),
        (r#","ttl":"15m""#, 900_000),
        (r#","ttl":"1h 30m""#, 5_400_000),
        (r#","ttl":"7d""#, 604_800_000),
        (r#","ttl":"30d""#, 2_592_000_000),
        (r#","ttl":"45""#, 45_000),
        (r#","ttl":45"#, 45_000),
        ("", 900_000),
    ];
    for (field, ttl_ms) in forms {
        let before = now_ms();
        let issued = client.issued(&format!("{{\"payload\":1{field}}}"));
        let issued_at = millis(&issued.expires_at) - ttl_ms;
        assert!((before..=now_ms()).contains(&issued_at), "{field}: {}", issued.expires_at);
    }
}

#[test]
fn ttl_out_of_its_limits_is_named() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for ttl in [r#""0""#, "0", r#""0s""#, r#""31d""#, r#""30d 1s""#, "2592001"] {
        let refused = client.issue(&format!(r#"{{"payload":1,"ttl":{ttl}}}"#));
        expect_naming(&refused, 422, "ttl");
    }
}

#[test]
fn a_ttl_that_is_no_duration_is_refused() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for ttl in [r#""soon""#, r#""15 parsecs""#, r#""""#, r#""-5s""#, "-5", "[]", "true", "1e999"] {
        let refused = client.issue(&format!(r#"{{"payload":1,"ttl":{ttl}}}"#));
        assert!(matches!(refused.status, 400 | 422), "ttl {ttl}: {}", refused.without_date());
    }
}

#[test]
fn a_ttl_that_overflows_is_refused() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let huge = [r#""99999999999999999999d""#, "18446744073709551615", r#""9223372036854775807s""#];
    for ttl in huge {
        let refused = client.issue(&format!(r#"{{"payload":1,"ttl":{ttl}}}"#));
        assert!(matches!(refused.status, 400 | 422), "ttl {ttl}: {}", refused.without_date());
    }
}

#[test]
fn max_ttl_and_default_ttl_are_the_servers() {
    let server =
        Server::fresh_with(|launch| launch.flag("--max-ttl", "10m").flag("--default-ttl", "2m"));
    let mut client = Client::of(&server);
    let before = now_ms();
    let issued = client.issued(r#"{"payload":1}"#);
    assert!((before..=now_ms()).contains(&(millis(&issued.expires_at) - 120_000)));
    client.issued(r#"{"payload":1,"ttl":"10m"}"#);
    expect_naming(&client.issue(r#"{"payload":1,"ttl":"10m 1s"}"#), 422, "ttl");
}

#[test]
fn uses_out_of_its_limits_is_named() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    expect_naming(&client.issue(r#"{"payload":1,"uses":0}"#), 422, "uses");
    for uses in ["-1", "1.5", r#""2""#, "99999999999999999999"] {
        let refused = client.issue(&format!(r#"{{"payload":1,"uses":{uses}}}"#));
        assert!(matches!(refused.status, 400 | 422), "uses {uses}: {}", refused.without_date());
    }
}

#[test]
fn a_null_payload_is_named() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    expect_naming(&client.issue(r#"{"payload":null}"#), 422, "payload");
    expect_naming(&client.issue(r#"{"payload": null }"#), 422, "payload");
    let missing = client.issue(r#"{"ttl":60}"#);
    assert!(matches!(missing.status, 400 | 422), "{}", missing.without_date());
    assert!(missing.text().contains("payload"), "{}", missing.text());
}

#[test]
fn a_payload_is_as_large_as_the_limit_allows() {
    let server = Server::fresh_with(|launch| launch.flag("--max-payload", "2KiB"));
    let mut client = Client::of(&server);
    let largest = format!("\"{}\"", "x".repeat(2046));
    let issued = client.issued(&format!("{{\"payload\":{largest}}}"));
    assert_eq!(client.resolve(&issued.token).text(), largest);
    assert_eq!(client.status(&issued.token).json()["size"], 2048);
    let larger = format!("\"{}\"", "x".repeat(2047));
    expect(&client.issue(&format!("{{\"payload\":{larger}}}")), 413);
    let padded = format!("{{\"payload\":1{}}}", " ".repeat(200));
    expect(&client.issue(&padded), 201);
}

#[test]
fn the_default_payload_limit_is_64_kib() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let largest = format!("\"{}\"", "y".repeat(64 * 1024 - 2));
    let issued = client.issued(&format!("{{\"payload\":{largest},\"ttl\":\"1h 30m\"}}"));
    assert_eq!(client.resolve(&issued.token).text(), largest);
    let larger = format!("\"{}\"", "y".repeat(64 * 1024 - 1));
    expect(&client.issue(&format!("{{\"payload\":{larger}}}")), 413);
}
