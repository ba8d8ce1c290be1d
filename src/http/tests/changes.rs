//! Changes on the short way are answered byte for byte as through hyper.

use std::fmt::Write as _;

use super::*;

/// A header that the short way does not know.
const UNKNOWN_HEADER: &str = "X-Unknown: 1\r\n";

/// A request for a change, as an ordinary client sends it.
fn change(path: &str, headers: &str, body: &str) -> String {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}");
    if !body.is_empty() {
        write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
            .unwrap();
    }
    request + "\r\n" + body
}

/// The answer, without what differs from one issue to the next.
fn comparable(answer: &str) -> String {
    let mut answer = without_date(answer);
    for (mark, len) in [("\"token\":\"", 32), ("\"expires_at\":\"", 24)] {
        let places: Vec<_> = answer.match_indices(mark).map(|(at, _)| at + mark.len()).collect();
        for at in places {
            answer.replace_range(at..at + len, &"?".repeat(len));
        }
    }
    answer
}

/// What is asked, and the status of the answer.
type Case = (&'static str, &'static str, String, u16);

fn issues() -> Vec<Case> {
    let one = |headers, body: &str, status| ("/v1/tokens", headers, body.to_owned(), status);
    let many = |headers, body: &str, status| ("/v1/tokens/batch", headers, body.to_owned(), status);
    let long = format!("{{\"payload\":\"{}\"}}", "x".repeat(9_000));
    vec![
        one("", r#"{"payload":{"a": 1.50}}"#, 201),
        one("", r#" {"payload":1,"ttl":"15m","uses":2,"peek":false} "#, 201),
        one("", &long, 201),
        one("", &format!("{{\"payload\":\"{}\"}}", "x".repeat(70_000)), 413),
        one("", r#"{"payload":null}"#, 422),
        one("", r#"{"payload":1,"note":1}"#, 400),
        one("", r#"{"payload":1"#, 400),
        one("", "\u{feff}{\"payload\":1}", 400),
        one("", "", 400),
        one("", r#"{"payload":1,"reference":{"order_number":"7"}}"#, 201),
        one("", r#"{"payload":1,"reference":{"order_number":"7"}}"#, 200),
        one("", r#"{"payload":2,"reference":{"order_number":"7"}}"#, 409),
        one("Idempotency-Key: a\r\n", r#"{"payload":1}"#, 201),
        one("idempotency-key:  a \r\n", r#"{"payload": 1}"#, 200),
        one("Idempotency-Key: a\r\n", r#"{"payload":2}"#, 409),
        one("Idempotency-Key: \r\n", r#"{"payload":2}"#, 422),
        one("Idempotency-Key: b\r\nIdempotency-Key: b\r\n", r#"{"payload":2}"#, 400),
        one("Idempotency-Key: b\r\n", r#"{"payload":1,"reference":{"order_number":"8"}}"#, 400),
        one("Expect: x\r\n", r#"{"payload":1}"#, 201),
        many("", r#"{"tokens":[{"payload":1},{"payload":null},{"x":1},{"payload":"b"}]}"#, 200),
        many("Idempotency-Key: a\r\n", r#"{"tokens":[{"payload":1},{"payload":2}]}"#, 200),
        many("Idempotency-Key: a\r\n", r#"{"tokens":[{"payload":1},{"payload":3}]}"#, 200),
        many("", &format!("{{\"tokens\":[{}1]}}", "1,".repeat(40)), 422),
        many("", r#"{"tokens":[]}"#, 200),
    ]
}

/// Each case on two servers: the short way, and the long one. Both see the same in the same order.
fn compare(servers: [&Server; 2], (path, headers, body, status): &Case) {
    let short = change(path, headers, body);
    let long = change(path, &format!("{headers}{UNKNOWN_HEADER}"), body);
    let [short, long] = [(servers[0], short), (servers[1], long)]
        .map(|(server, request)| comparable(&exchange(server, &(request + BYE))));
    assert_eq!(short, long, "{path} {headers} {body:.60}");
    assert!(short.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {body:.60}: {short}");
}

#[test]
fn p2_changes_on_the_short_way_are_answered_byte_for_byte_as_on_the_long_one() {
    let few = |config: &mut Config| config.max_batch = 40;
    let both @ [(short, one), (long, other)] = &[serve(few), serve(few)];
    for case in issues() {
        compare([one, other], &case);
    }
    let names: [String; 4] = ["A", "B", "C", "D"].map(|name| name.repeat(32));
    for (engine, _) in both {
        let issue = |(name, payload): (&String, &[u8])| Op::Issue {
            digest: engine.digest(&Token::parse(name.as_bytes()).unwrap()),
            payload: payload.to_vec(),
            ttl: Duration::from_secs(60),
            uses: 2,
            peek: true,
            derived: false,
        };
        let large = format!("\"{}\"", "x".repeat(300_000)).into_bytes();
        let payloads: [&[u8]; 4] = [b"{\"n\" : 1.50}", &marked(b"\x01\0"), &large, b"4"];
        let ops = names.iter().zip(payloads).map(issue).collect();
        engine.submit(ops).unwrap().wait().unwrap();
    }
    let [a, b, c, d] = &names;
    let one_of = |name: &str| -> &'static str { format!("/v1/tokens/{name}/consume").leak() };
    let list = |names: &[&String]| {
        let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        format!("{{\"tokens\":[{}]}}", names.join(","))
    };
    let odd = "A".repeat(31) + "!";
    for case in [
        (one_of(a), "Idempotency-Key: k\r\n", String::new(), 200),
        (one_of(a), "Idempotency-Key: k\r\n", "{}".to_owned(), 200),
        (one_of(a), "", " { } ".to_owned(), 200),
        (one_of(a), "", "Content".to_owned(), 400),
        (one_of(a), "", "{\"a\":1}".to_owned(), 400),
        (one_of(a), "", String::new(), 404),
        (one_of(b), "Content-Length: 0\r\n", String::new(), 200),
        (one_of(c), "Content-Length: 0\r\n", String::new(), 200),
        (one_of(UNKNOWN), "", String::new(), 404),
        (one_of(&odd), "", String::new(), 400),
        ("/v1/consume", "Idempotency-Key: k\r\n", list(&[d, a, d, d]), 200),
        ("/v1/consume", "Idempotency-Key: k\r\n", list(&[d, a, d, d]), 200),
        ("/v1/consume", "", list(&[b, c, d]), 200),
        ("/v1/consume", "", list(&[b; 41]), 422),
        ("/v1/consume", "", "{\"tokens\":[\"short\"]}".to_owned(), 400),
    ] {
        compare([one, other], &case);
    }
    let counted = |engine: &Engine| {
        let stats = engine.stats();
        [stats.issues, stats.consumes, stats.tokens, stats.bytes]
    };
    assert_eq!(counted(short), counted(long));
    both.iter().for_each(|(_, server)| {
        let gauges = server.gauges();
        assert_eq!(gauges.inflight_bytes(), 0);
    });
}
