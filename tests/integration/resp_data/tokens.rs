//! `TOKEN.…`, and what plain commands do with tokens of several uses, of HTTP, and of references.

use super::redis::Jeton;
use super::wire::{Wire, encode, show};
use crate::client::{Client, expect};
use crate::support::now_ms;

/// The token and the deadline of an answer to `TOKEN.ISSUE`.
fn issued(answer: &str) -> (String, i64) {
    let parts: Vec<&str> = answer.split("\\r\\n").collect();
    let ["*2", "$32", token, deadline, ""] = parts[..] else { panic!("{answer}") };
    let deadline = deadline.strip_prefix(':').and_then(|text| text.parse().ok());
    (token.to_owned(), deadline.unwrap_or_else(|| panic!("{answer}")))
}

fn issue(wire: &mut Wire, words: &str) -> String {
    issued(&wire.say(&format!("TOKEN.ISSUE {words}"))).0
}

const NIL: &str = "$-1\\r\\n";

#[test]
fn an_issued_token_is_found_by_every_command() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let (token, deadline) = issued(&wire.say("TOKEN.ISSUE payload EX 100"));
    assert!((deadline - now_ms() - 100_000).abs() < 5_000, "{deadline}");
    for command in ["GET", "TOKEN.RESOLVE"] {
        assert_eq!(wire.say(&format!("{command} {token}")), "$7\\r\\npayload\\r\\n");
    }
    assert_eq!(wire.say(&format!("PEXPIRETIME {token}")), format!(":{deadline}\\r\\n"));
    let status = wire.say(&format!("TOKEN.STATUS {token}"));
    let expected = format!(
        "*6\\r\\n$10\\r\\nexpires_at\\r\\n:{deadline}\\r\\n$9\\r\\nuses_left\\r\\n:1\\r\\n\
         $4\\r\\nsize\\r\\n:7\\r\\n"
    );
    assert_eq!(status, expected);
    let mut three = Wire::open_3(jeton.address);
    let status = three.say(&format!("TOKEN.STATUS {token}"));
    assert_eq!(status, expected.replacen("*6", "%3", 1));
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {token}")), "$7\\r\\npayload\\r\\n");
    for command in ["GET", "TOKEN.RESOLVE", "TOKEN.STATUS", "TOKEN.CONSUME", "GETDEL"] {
        assert_eq!(wire.say(&format!("{command} {token}")), NIL, "{command}");
    }
    let (_, deadline) = issued(&wire.say("TOKEN.ISSUE \"\""));
    assert!((deadline - now_ms() - 900_000).abs() < 5_000, "--default-ttl: {deadline}");
}

#[test]
fn p2_a_token_of_several_uses_stays_until_its_last() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let token = issue(&mut wire, "v USES 3 EX 100");
    for _ in 0..2 {
        assert_eq!(wire.say(&format!("GETDEL {token}")), "$1\\r\\nv\\r\\n");
        assert_eq!(wire.say(&format!("EXISTS {token}")), ":1\\r\\n");
    }
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {token}")), "$1\\r\\nv\\r\\n");
    assert_eq!(wire.say(&format!("GETDEL {token}")), NIL);
}

#[test]
fn a_token_without_peek_is_only_consumed() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let token = issue(&mut wire, "v NOPEEK EX 100");
    for command in ["GET", "GETEX", "TOKEN.RESOLVE"] {
        assert_eq!(wire.say(&format!("{command} {token}")), NIL, "{command}");
    }
    assert_eq!(wire.say(&format!("MGET {token}")), "*1\\r\\n$-1\\r\\n");
    assert_eq!(wire.say(&format!("STRLEN {token}")), ":1\\r\\n");
    let queued =
        [format!("GET {token}"), format!("EXISTS {token}"), format!("GETEX {token} EX 50")];
    assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
    for command in &queued {
        assert_eq!(wire.say(command), "+QUEUED\\r\\n");
    }
    assert_eq!(wire.say("EXEC"), "*3\\r\\n$-1\\r\\n:1\\r\\n$-1\\r\\n");
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {token}")), "$1\\r\\nv\\r\\n");
}

#[test]
fn p2_a_key_makes_issue_and_consume_repeatable() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let token = issue(&mut wire, "\"\\x00one\" KEY order-7 USES 2");
    assert_eq!(issue(&mut wire, "\"\\x00one\" KEY order-7 USES 2"), token);
    for other in ["\"\\x00two\" KEY order-7 USES 2", "\"\\xff\" KEY order-7 USES 2"] {
        let answer = wire.say(&format!("TOKEN.ISSUE {other}"));
        assert!(answer.starts_with('-'), "another payload, and no JSON either: {answer}");
    }
    for _ in 0..3 {
        let answer = wire.say(&format!("TOKEN.CONSUME {token} KEY till-4"));
        assert_eq!(answer, "$4\\r\\n\\x00one\\r\\n");
    }
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {token} key till-5")), "$4\\r\\n\\x00one\\r\\n");
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {token} KEY till-6")), NIL);
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {token} KEY till-4")), "$4\\r\\n\\x00one\\r\\n");
    // JSON is compared by its value, as over HTTP.
    let token = issue(&mut wire, "\"{\\\"a\\\": 1}\" KEY json");
    assert_eq!(issue(&mut wire, "\"{\\\"a\\\":1.0}\" KEY json"), token);
}

#[test]
fn a_reference_names_a_token() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let order = "REF 7 2010-12-01T08:26:00Z 139.10";
    let same = "ref 7 2010-12-01T09:26:00+01:00 139.1";
    let token = issue(&mut wire, &format!("v {order} EX 100 USES 2"));
    assert_eq!(issue(&mut wire, &format!("v USES 2 {same}")), token);
    assert_eq!(wire.say(&format!("TOKEN.RESOLVE {same}")), "$1\\r\\nv\\r\\n");
    assert_eq!(wire.say("TOKEN.RESOLVE REF 7 \"\" \"\""), NIL, "another reference");
    assert!(wire.say(&format!("TOKEN.STATUS {same}")).starts_with("*6"));
    assert!(wire.say(&format!("TOKEN.EXTEND {same} EX 200")).starts_with(':'));
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {same} KEY k")), "$1\\r\\nv\\r\\n");
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {same}")), "$1\\r\\nv\\r\\n");
    assert_eq!(wire.say(&format!("TOKEN.CONSUME {same}")), NIL);
    assert!(wire.say(&format!("TOKEN.ISSUE v {order} USES 2")).starts_with('-'), "it was paid");
    let token = issue(&mut wire, "w REF 8 \"\" \"\"");
    assert!(wire.say(&format!("SET {token} x")).starts_with('-'), "nothing takes its place");
    assert_eq!(wire.say("TOKEN.REVOKE REF 8 \"\" \"\""), "+OK\\r\\n");
    assert_eq!(wire.say(&format!("GET {token}")), NIL);
}

#[test]
fn lists_have_keys_and_then_references() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    issue(&mut wire, "referred REF 7 \"\" \"\"");
    assert_eq!(wire.say("SET REF named EX 100"), "+OK\\r\\n");
    assert_eq!(wire.say("TOKEN.RESOLVE REF"), "$5\\r\\nnamed\\r\\n", "a key of that name");
    let list = "3 REF none REF REF 7 \"\" \"\" REF 8 \"\" \"\"";
    let found = "$5\\r\\nnamed\\r\\n$-1\\r\\n$5\\r\\nnamed\\r\\n$8\\r\\nreferred\\r\\n$-1\\r\\n";
    assert_eq!(wire.say(&format!("TOKEN.MRESOLVE {list}")), format!("*5\\r\\n{found}"));
    let statuses = wire.say(&format!("TOKEN.MSTATUS {list}"));
    assert_eq!(statuses.matches("uses_left").count(), 3, "{statuses}");
    let extended = wire.say(&format!("TOKEN.MEXTEND {list} EX 1000"));
    assert_eq!(extended.matches(':').count(), 3, "{extended}");
    let once = found.replacen("$5\\r\\nnamed\\r\\n$8", "$-1\\r\\n$8", 1);
    let consumed = wire.say(&format!("TOKEN.MCONSUME {list}"));
    assert_eq!(consumed, format!("*5\\r\\n{once}"));
    assert_eq!(wire.say("SET a 1 EX 100"), "+OK\\r\\n");
    for _ in 0..2 {
        assert_eq!(wire.say("TOKEN.MCONSUME 1 a KEY k"), "*1\\r\\n$1\\r\\n1\\r\\n");
    }
    assert_eq!(wire.say("SET a 1 EX 100"), "+OK\\r\\n");
    assert_eq!(wire.say("TOKEN.MREVOKE 2 a none"), "+OK\\r\\n");
    assert_eq!(wire.say("TOKEN.MRESOLVE 1 a"), "*1\\r\\n$-1\\r\\n");
    assert_eq!(wire.say("TOKEN.MRESOLVE 0"), "*0\\r\\n");
    let several = wire.say("TOKEN.MISSUE 1 a 3 b USES 2 3 c EX 0 3 d KEY k 1 e");
    let [good, errors] = ["*2\\r\\n$32", "-ERR "].map(|part| several.matches(part).count());
    assert_eq!((good, errors), (3, 2), "{several}");
}

#[test]
fn mistakes_in_token_commands_are_named() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    for (command, said) in [
        ("TOKEN.ISSUE", "wrong number of arguments for 'token.issue' command"),
        ("TOKEN.ISSUE v EX", "syntax error"),
        ("TOKEN.ISSUE v EX 1 PX 1", "syntax error"),
        ("TOKEN.ISSUE v foo", "syntax error"),
        ("TOKEN.ISSUE v KEY a REF 7 \"\" \"\"", "syntax error"),
        ("TOKEN.ISSUE v REF 7", "syntax error"),
        ("TOKEN.ISSUE v EX 0", "invalid expire time in 'token.issue' command"),
        ("TOKEN.ISSUE v EX 99999999", "invalid expire time in 'token.issue' command"),
        ("TOKEN.ISSUE v EXAT 1", "invalid expire time in 'token.issue' command"),
        ("TOKEN.ISSUE v EX +5", "value is not an integer or out of range"),
        ("TOKEN.ISSUE v USES 0", "USES: must be 1 to 10000"),
        ("TOKEN.ISSUE v USES x", "value is not an integer or out of range"),
        ("TOKEN.ISSUE v KEY \"\"", "KEY: must have 1 to 255 bytes"),
        ("TOKEN.ISSUE v REF \"\" \"\" \"\"", "reference: give at least one of"),
        ("TOKEN.ISSUE v REF \"\" now \"\"", "reference.created_at: must be an RFC 3339"),
        ("TOKEN.ISSUE v REF \"\\xff\" \"\" \"\"", "REF: a field must be UTF-8"),
        ("TOKEN.RESOLVE a b", "syntax error"),
        ("TOKEN.RESOLVE REF 7 \"\"", "syntax error"),
        ("TOKEN.CONSUME a b c", "syntax error"),
        ("TOKEN.CONSUME a KEY", "syntax error"),
        ("TOKEN.EXTEND a EX", "wrong number of arguments for 'token.extend' command"),
        ("TOKEN.EXTEND a FOR 5", "syntax error"),
        ("TOKEN.MRESOLVE x", "numkeys should be 0 or more"),
        ("TOKEN.MRESOLVE -1 a", "numkeys should be 0 or more"),
        ("TOKEN.MRESOLVE 2 a", "Number of keys can't be greater than number of args"),
        ("TOKEN.MRESOLVE 1 a b", "syntax error"),
        ("TOKEN.MISSUE 0 a", "numwords should be the number of words of a token"),
        ("TOKEN.MISSUE 2 a", "numwords should be the number of words of a token"),
        ("TOKEN.NOSUCH a", "unknown command 'TOKEN.NOSUCH'"),
    ] {
        let answer = wire.say(command);
        assert!(answer.starts_with(&format!("-ERR {said}")), "{command}: {answer}");
    }
}

/// The same text as over HTTP.
#[test]
fn an_introspection_is_the_text_of_http() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let bulk = |text: &str| format!("${}\\r\\n{text}\\r\\n", text.len());
    let inactive = bulk(r#"{"active":false}"#);
    for (value, before) in
        [(r#"{"active":0,"a":1.10}"#, r#"{"a":1.10,"#), ("17", r#"{"payload":17,"#)]
    {
        let earliest = now_ms() / 1_000;
        let issue = wire.ask(&[b"TOKEN.ISSUE", value.as_bytes(), b"EX", b"100"]);
        let (token, deadline) = issued(&show(&issue));
        let times = earliest..=now_ms() / 1_000;
        let expected = |iat: i64| {
            let exp = deadline / 1_000;
            bulk(&format!(r#"{before}"active":true,"exp":{exp},"iat":{iat}}}"#))
        };
        for _ in 0..2 {
            let answer = wire.say(&format!("TOKEN.INTROSPECT {token}"));
            assert!(times.clone().any(|iat| answer == expected(iat)), "{answer}");
        }
        assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
        wire.say(&format!("TOKEN.INTROSPECT {token}"));
        assert!(wire.say("EXEC").contains("not possible within MULTI"));
        wire.say(&format!("TOKEN.CONSUME {token}"));
        assert_eq!(wire.say(&format!("TOKEN.INTROSPECT {token}")), inactive);
    }
    let (hidden, _) = issued(&wire.say("TOKEN.ISSUE v NOPEEK"));
    for name in [&*hidden, "none"] {
        assert_eq!(wire.say(&format!("TOKEN.INTROSPECT {name}")), inactive);
    }
}

#[test]
fn a_transaction_takes_what_can_be_all_or_nothing() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let token = issue(&mut wire, "v USES 2 EX 100");
    let exec = |wire: &mut Wire, commands: &[String]| {
        assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
        for command in commands {
            assert_eq!(wire.say(command), "+QUEUED\\r\\n", "{command}");
        }
        wire.say("EXEC")
    };
    let commands = ["TOKEN.RESOLVE", "TOKEN.STATUS", "TOKEN.CONSUME", "TOKEN.CONSUME", "GET"]
        .map(|command| format!("{command} {token}"));
    let answer = exec(&mut wire, &commands);
    assert!(answer.starts_with("*5\\r\\n$1\\r\\nv\\r\\n*6\\r\\n"), "{answer}");
    assert!(answer.ends_with("$1\\r\\nv\\r\\n$1\\r\\nv\\r\\n$-1\\r\\n"), "{answer}");
    let answer = exec(&mut wire, &["TOKEN.ISSUE w EX 100".to_owned()]);
    let (token, _) = issued(answer.strip_prefix("*1\\r\\n").expect("one answer"));
    let commands = [format!("TOKEN.EXTEND {token} EX 500"), format!("TOKEN.REVOKE {token}")];
    let answer = exec(&mut wire, &commands);
    assert!(answer.starts_with("*2\\r\\n:") && answer.ends_with("+OK\\r\\n"), "{answer}");
    assert_eq!(wire.say(&format!("GET {token}")), NIL);
    for refused in [
        "TOKEN.ISSUE v KEY a",
        "TOKEN.CONSUME a KEY k",
        "TOKEN.RESOLVE REF 7 \"\" \"\"",
        "TOKEN.MRESOLVE 1 a",
    ] {
        let answer = exec(&mut wire, &[refused.to_owned(), "SET a 1 EX 100".to_owned()]);
        assert!(answer.starts_with("*2\\r\\n-ERR REF, KEY and lists"), "{refused}: {answer}");
    }
}

#[test]
fn tokens_of_http_and_of_this_protocol_are_the_same() {
    let jeton = Jeton::start();
    let (mut wire, mut http) = (jeton.wire(), Client::of(&jeton.server));
    let token = http.issued(r#"{"payload":{"a":1},"ttl":"10m"}"#).token;
    assert_eq!(wire.say(&format!("GET {token}")), "$7\\r\\n{\"a\":1}\\r\\n");
    assert_eq!(wire.say(&format!("EXPIRE {token} 100")), ":1\\r\\n");
    assert_eq!(wire.say(&format!("GETDEL {token}")), "$7\\r\\n{\"a\":1}\\r\\n");
    expect(&http.resolve(&token), 404);
    let hex = "0123456789abcdef0123456789abcdef";
    assert_eq!(wire.say(&format!("SET {hex} [1] EX 100")), "+OK\\r\\n");
    assert_eq!(http.resolve(hex).text(), "[1]");
    assert_eq!(http.consume(hex).text(), "[1]");
    assert_eq!(wire.say(&format!("GET {hex}")), NIL);
}

#[test]
fn p8_what_is_beyond_a_limit_is_refused_and_the_connection_stays() {
    let jeton = Jeton::start_with(|launch| launch.flag("--max-batch", "10"));
    let mut wire = jeton.wire();
    let key = vec![b'k'; 512];
    assert_eq!(wire.ask(&[b"SET", &key, b"v"]), b"+OK\r\n");
    assert_eq!(wire.ask(&[b"GET", &key]), b"$1\r\nv\r\n");
    let long = vec![b'k'; 513];
    for command in [&[&b"GET"[..], &long][..], &[b"SET", &long, b"v"], &[b"DEL", b"a", &long]] {
        assert_eq!(show(&wire.ask(command)), "-ERR a key has 1 to 512 bytes\\r\\n");
    }
    let value = vec![b'v'; 64 << 10];
    assert_eq!(wire.ask(&[b"SET", b"a", &value]), b"+OK\r\n");
    assert_eq!(wire.ask(&[b"STRLEN", b"a"]), b":65536\r\n");
    for len in [(64 << 10) + 1, 1 << 20] {
        let value = vec![b'v'; len];
        let answer = show(&wire.ask(&[b"SET", b"a", &value]));
        assert_eq!(answer, "-ERR a value has at most 65536 bytes (--max-payload)\\r\\n");
    }
    assert_eq!(wire.ask(&[b"STRLEN", b"a"]), b":65536\r\n");
    let many = [&[&b"MGET"[..]][..], &[&b"a"[..]; 11]].concat();
    assert!(show(&wire.ask(&many)).starts_with("-ERR at most 10 keys"), "--max-batch");
    assert!(wire.ask(&many[..11]).starts_with(b"*10\r\n$65536\r\n"));
    // More commands in a transaction than that are refused as a whole.
    let mut pipeline = encode(&[b"MULTI"]);
    (0..11).for_each(|_| pipeline.extend(encode(&[b"SET", b"b", b"v"])));
    pipeline.extend(encode(&[b"EXEC"]));
    wire.send(&pipeline);
    let answers: Vec<String> = (0..13).map(|_| show(&wire.answer())).collect();
    assert!(answers[11].starts_with("-ERR "), "{answers:?}");
    assert!(answers[12].starts_with("-EXECABORT"), "{answers:?}");
    assert_eq!(wire.say("EXISTS b"), ":0\\r\\n");
}
