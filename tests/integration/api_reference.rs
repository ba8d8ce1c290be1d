//! References: the token of an order can be found again by the order's data.

use serde_json::{Value, json};

use crate::client::{Client, Issued, expect};
use crate::server::{Launch, Server};
use crate::support::{millis, not_run, now_ms, wait_past};

fn body(payload: &Value, reference: &Value) -> String {
    json!({ "payload": payload, "ttl": "10m", "reference": reference }).to_string()
}

fn by_reference(client: &mut Client, path: &str, reference: &Value) -> String {
    let body = json!({ "tokens": [{ "reference": reference }] }).to_string();
    let response = client.post(path, &body);
    expect(&response, 200);
    response.text().to_owned()
}

#[test]
fn each_part_alone_and_all_together_identify_an_order() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let (number, created_at, amount) = ("ref-1", "2024-03-01T10:00:00Z", "139.12");
    let references = [
        json!({ "order_number": number }),
        json!({ "created_at": created_at }),
        json!({ "amount": amount }),
        json!({ "order_number": number, "created_at": created_at }),
        json!({ "order_number": number, "amount": amount }),
        json!({ "created_at": created_at, "amount": amount }),
        json!({ "order_number": number, "created_at": created_at, "amount": amount }),
    ];
    let mut tokens = Vec::new();
    for (n, reference) in references.iter().enumerate() {
        tokens.push(client.issued(&body(&json!(n), reference)).token);
    }
    for (n, reference) in references.iter().enumerate() {
        assert_eq!(by_reference(&mut client, "/v1/resolve", reference), format!("[{n}]"));
        assert_eq!(client.resolve(&tokens[n]).text(), n.to_string());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), references.len(), "two references have one token");
}

#[test]
fn the_same_reference_has_the_same_token() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let reference = json!({ "order_number": "same" });
    let first = client.issued(&body(&json!({ "a": 1 }), &reference));
    let again = client
        .issue(&json!({ "payload": { "a": 1 }, "ttl": "2h", "reference": reference }).to_string());
    expect(&again, 200);
    assert_eq!(Issued::from(&again.json()), first, "same token, first deadline");
    expect(&client.issue(&body(&json!({ "a": 2 }), &reference)), 409);
    let other_uses =
        json!({ "payload": { "a": 1 }, "uses": 2, "reference": reference }).to_string();
    expect(&client.issue(&other_uses), 409);
    let no_peek =
        json!({ "payload": { "a": 1 }, "peek": false, "reference": reference }).to_string();
    expect(&client.issue(&no_peek), 409);
    assert_eq!(client.resolve(&first.token).text(), r#"{"a":1}"#);
}

#[test]
fn one_instant_written_two_ways_is_one_reference() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let reference = |at: &str| json!({ "order_number": "instant", "created_at": at });
    let first = client.issued(&body(&json!(1), &reference("2024-03-01T10:00:00Z")));
    for at in [
        "2024-03-01T10:00:00.000Z",
        "2024-03-01T11:00:00+01:00",
        "2024-03-01T04:30:00-05:30",
        "2024-02-29T23:00:00-11:00",
    ] {
        let again = client.issue(&body(&json!(1), &reference(at)));
        expect(&again, 200);
        assert_eq!(Issued::from(&again.json()).token, first.token, "{at}");
    }
    for at in ["2024-03-01T10:00:01Z", "2024-03-01T10:00:00.001Z", "2024-03-01T10:00:00+01:00"] {
        let other = client.issued(&body(&json!(1), &reference(at)));
        assert_ne!(other.token, first.token, "{at}");
    }
}

/// RFC 3339, section 5.6, and nothing else; a leap second is a different time.
#[test]
fn a_time_is_what_rfc_3339_writes_and_nothing_else() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let issue = |client: &mut Client, at: &str| {
        let reference = json!({ "order_number": "grammar", "created_at": at });
        client.issue(&body(&json!(1), &reference))
    };
    for at in [
        "20161231T235959Z",
        "2016-12-31T23:59Z",
        "2016-12-31T23:59:59,5Z",
        "2016-12-31T23:59:59Z[UTC]",
        "2016-12-31T23:59:59+24:00",
        "2016-12-31 23:59:59Z",
        "2016-12-31T23:58:60Z",
        "2016-11-30T23:59:60Z",
        "2016-12-31T23:59:59.1234567891Z",
    ] {
        let refused = issue(&mut client, at);
        expect(&refused, 400);
        assert_eq!(refused.json()["field"], "reference.created_at", "{at}");
    }
    let mut tokens = Vec::new();
    for at in [
        "2016-12-31T23:59:59Z",
        "2016-12-31T23:59:60Z",
        "2017-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "0000-01-01t00:00:00z",
    ] {
        let issued = issue(&mut client, at);
        expect(&issued, 201);
        tokens.push(Issued::from(&issued.json()).token);
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 5, "each is a different time");
    let leap_elsewhere = issue(&mut client, "2017-01-01T00:59:60+01:00");
    expect(&leap_elsewhere, 200);
}

#[test]
fn one_amount_written_two_ways_is_one_reference() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    for (written, other_ways, others) in [
        ("22.20", ["22.2", "22.200"], ["22.21", "2.220"]),
        ("-5", ["-5.0", "-5.00"], ["5", "-50"]),
        ("100", ["100.0", "100.000"], ["10", "1000"]),
    ] {
        let reference = |amount: &str| json!({ "order_number": written, "amount": amount });
        let first = client.issued(&body(&json!(1), &reference(written)));
        for amount in other_ways {
            let again = client.issue(&body(&json!(1), &reference(amount)));
            expect(&again, 200);
            assert_eq!(Issued::from(&again.json()).token, first.token, "{amount}");
        }
        for amount in others {
            let other = client.issued(&body(&json!(1), &reference(amount)));
            assert_ne!(other.token, first.token, "{amount}");
        }
    }
}

/// Two references must not be equal because of different borders between their fields.
#[test]
fn parts_of_a_reference_do_not_run_together() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let references = [
        json!({ "order_number": "1", "amount": "23" }),
        json!({ "order_number": "12", "amount": "3" }),
        json!({ "order_number": "123" }),
        json!({ "amount": "123" }),
        json!({ "order_number": "1:23" }),
        json!({ "order_number": "1 23" }),
        json!({ "order_number": "A" }),
        json!({ "order_number": "a" }),
        json!({ "order_number": "007" }),
        json!({ "order_number": "7" }),
    ];
    for reference in &references {
        client.issued(&body(reference, reference));
    }
    for reference in &references {
        let found = by_reference(&mut client, "/v1/resolve", reference);
        assert_eq!(found, format!("[{reference}]"));
    }
}

#[test]
fn p2_a_paid_order_is_not_issued_again_until_its_deadline() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let body = r#"{"payload":1,"ttl":"3s","reference":{"order_number":"paid"}}"#;
    let first = client.issued(body);
    expect(&client.consume(&first.token), 200);
    for other in [body, r#"{"payload":2,"reference":{"order_number":"paid"}}"#] {
        let early = client.issue(other);
        if now_ms() >= millis(&first.expires_at) {
            return not_run("409 until the deadline", "the machine was too slow to ask in time");
        }
        expect(&early, 409);
    }
    wait_past(&first.expires_at);
    let next = client.issued(r#"{"payload":2,"reference":{"order_number":"paid"}}"#);
    assert_eq!(client.resolve(&next.token).text(), "2");
}

#[test]
fn p2_a_paid_order_stays_paid_across_a_crash() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let reference = json!({ "order_number": "paid", "amount": "9.99" });
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    client.issued(&body(&json!("goods"), &reference));
    assert_eq!(by_reference(&mut client, "/v1/consume", &reference), r#"["goods"]"#);
    expect(&client.issue(&body(&json!("goods"), &reference)), 409);
    server.kill9();
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    expect(&client.issue(&body(&json!("goods"), &reference)), 409);
    assert_eq!(by_reference(&mut client, "/v1/resolve", &reference), "[null]");
    assert_eq!(by_reference(&mut client, "/v1/consume", &reference), "[null]");
}

#[test]
fn a_partly_used_order_is_still_the_same() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let body = r#"{"payload":1,"uses":2,"reference":{"order_number":"partly"}}"#;
    let first = client.issued(body);
    expect(&client.consume(&first.token), 200);
    let again = client.issue(body);
    expect(&again, 200);
    assert_eq!(Issued::from(&again.json()), first);
    assert_eq!(client.uses_left(&first.token), 1, "an issue gives no use back");
}

#[test]
fn a_revoked_order_is_free_again() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let reference = json!({ "order_number": "revoked" });
    let first = client.issued(&body(&json!(1), &reference));
    expect(&client.revoke(&first.token), 204);
    assert_eq!(by_reference(&mut client, "/v1/resolve", &reference), "[null]");
    client.issued(&body(&json!(2), &reference));
    assert_eq!(by_reference(&mut client, "/v1/resolve", &reference), "[2]");
}

#[test]
fn a_consumed_then_revoked_order_does_not_pay_twice() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let reference = json!({ "order_number": "consumed-revoked" });
    let first = client.issued(&body(&json!(1), &reference));
    expect(&client.consume_keyed("k", &first.token), 200);
    expect(&client.revoke(&first.token), 204);
    assert_eq!(by_reference(&mut client, "/v1/consume", &reference), "[null]");
}

#[test]
fn tokens_and_references_stand_side_by_side() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let reference = json!({ "order_number": "mixed", "amount": "1" });
    let referred = client.issued(&body(&json!("referred"), &reference)).token;
    let random = client.issued(r#"{"payload":"random"}"#).token;
    let unknown = json!({ "order_number": "never issued" });
    let tokens = json!([random, { "reference": reference }, { "reference": unknown }, referred]);
    let asked = json!({ "tokens": tokens }).to_string();
    let resolved = client.post("/v1/resolve", &asked);
    assert_eq!(resolved.text(), r#"["random","referred",null,"referred"]"#);
    let consumed = client.post("/v1/consume", &asked);
    assert_eq!(consumed.text(), r#"["random","referred",null,null]"#);
}

#[test]
fn a_reference_survives_a_crash() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let reference = json!({ "order_number": "kept", "created_at": "2024-03-01T10:00:00Z" });
    let server = Launch::on(dir.path()).start();
    let first = Client::of(&server).issued(&body(&json!(1), &reference));
    server.kill9();
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    let again = client.issue(&body(&json!(1), &reference));
    expect(&again, 200);
    assert_eq!(Issued::from(&again.json()), first);
}

/// A token cannot be derived without the secret: two servers differ for the same order.
#[test]
fn a_reference_has_another_token_under_another_secret() {
    let (one, other) = (Server::fresh(), Server::fresh());
    let body = body(&json!(1), &json!({ "order_number": "guess me" }));
    let tokens = [&one, &other].map(|server| Client::of(server).issued(&body).token);
    assert_ne!(tokens[0], tokens[1]);
}

#[test]
fn a_reference_that_is_none_is_refused() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let bad = [
        json!({}),
        json!({ "order_number": "" }),
        json!({ "order_number": 7 }),
        json!({ "order_number": "x".repeat(100_000) }),
        json!({ "created_at": "yesterday" }),
        json!({ "created_at": "2024-02-30T10:00:00Z" }),
        json!({ "created_at": "2024-03-01T10:00:00" }),
        json!({ "amount": "ten" }),
        json!({ "amount": "" }),
        json!({ "amount": "1.2.3" }),
        json!({ "amount": "NaN" }),
        json!({ "customer": "1" }),
        json!("order"),
    ];
    for reference in bad {
        for (path, body) in [
            ("/v1/tokens", json!({ "payload": 1, "reference": reference })),
            ("/v1/resolve", json!({ "tokens": [{ "reference": reference }] })),
            ("/v1/consume", json!({ "tokens": [{ "reference": reference }] })),
        ] {
            let refused = client.post(path, &body.to_string());
            let known = matches!(refused.status, 400 | 413 | 422);
            assert!(known, "{path} {reference}: {}", refused.without_date());
        }
    }
}
