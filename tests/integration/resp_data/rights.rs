//! Scopes, quotas, the miss limiter and the audit log hold for the Redis protocol too.

use serde_json::Value;

use super::redis::Jeton;
use super::wire::Wire;
use crate::access::Keys;
use crate::audit;
use crate::server::Launch;

/// A server with keys of one namespace, and a connection for each list of scopes.
fn with_keys<const N: usize>(
    settings: impl FnOnce(Launch) -> Launch,
    scopes: [&str; N],
) -> (tempfile::TempDir, Jeton, [Wire; N]) {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let added = scopes.map(|scopes| keys.add("shop", scopes, &[]));
    let jeton = Jeton::start_with(|launch| settings(launch.flag("--keys", keys.path())));
    let wires = added.map(|key| {
        let mut wire = jeton.wire();
        let key = key.strip_prefix("Bearer ").expect("a header's value");
        assert_eq!(wire.say(&format!("AUTH {key}")), "+OK\\r\\n");
        wire
    });
    (dir, jeton, wires)
}

#[test]
fn p10_each_command_needs_its_scopes() {
    let all = "issue,import,resolve,consume,revoke,reference";
    let scopes = [all, "import", "issue", "resolve", "consume", "revoke", "import,resolve"];
    let (_dir, _jeton, [mut owner, others @ ..]) = with_keys(|launch| launch, scopes);
    let is_refused = |wire: &mut Wire, command: &str| {
        let answer = wire.say(command);
        assert!(answer.starts_with('-') == answer.starts_with("-NOPERM"), "{command}: {answer}");
        answer.starts_with('-')
    };
    let mut others: [Wire; 6] = others;
    for (command, may) in [
        // The keys: import, issue, resolve, consume, revoke, and the first and third together.
        ("SET a 1 EX 100", [true, false, false, false, false, true]),
        ("MSET a 1", [true, false, false, false, false, true]),
        ("SET a 1 EX 100 GET", [false, false, false, false, false, true]),
        ("SET a 1 EXAT 1 NX", [true, false, false, false, false, true]),
        ("SET a 1 EXAT 1 NX GET", [false, false, false, false, false, true]),
        ("SET b 1 EXAT 1", [false; 6]),
        ("GET a", [false, false, true, false, false, true]),
        ("MGET a b", [false, false, true, false, false, true]),
        ("TTL a", [false, false, true, false, false, true]),
        ("EXISTS a", [false, false, true, false, false, true]),
        ("GETEX a EX 100", [false; 6]),
        ("EXPIRE a 1000 GT", [false, true, false, false, false, false]),
        ("EXPIRE a 100", [false; 6]),
        ("TOKEN.EXTEND a EX 200", [false, true, false, false, false, false]),
        ("TOKEN.ISSUE v", [false, true, false, false, false, false]),
        ("TOKEN.STATUS a", [false, false, true, false, false, true]),
        ("TOKEN.INTROSPECT a", [false, false, true, false, false, true]),
        ("TOKEN.RESOLVE REF 7 \"\" \"\"", [false; 6]),
        ("GETDEL none", [false, false, false, true, false, false]),
        ("DEL none", [false, false, false, false, true, false]),
    ] {
        assert!(!is_refused(&mut owner, command), "{command}");
        for (place, (wire, may)) in others.iter_mut().zip(may).enumerate() {
            assert_eq!(is_refused(wire, command), !may, "{command}, key {place}");
        }
    }
}

#[test]
fn p4_a_transaction_without_a_scope_changes_nothing() {
    let (_dir, _jeton, [mut issue, mut owner]) =
        with_keys(|launch| launch, ["import", "import,resolve,consume,revoke"]);
    for command in ["MULTI", "SET a 1 EX 100"] {
        issue.say(command);
    }
    assert!(issue.say("GETDEL a").starts_with("-NOPERM"));
    assert!(issue.say("EXEC").starts_with("-EXECABORT"));
    assert_eq!(owner.say("EXISTS a"), ":0\\r\\n");
}

#[test]
fn p4_a_transaction_beyond_a_quota_changes_nothing() {
    let quota = |launch: Launch| launch.flag("--quota", "shop:tokens=2");
    let (_dir, _jeton, [mut wire]) = with_keys(quota, ["issue,import,resolve,consume,revoke"]);
    assert_eq!(wire.say("SET a 1 EX 100"), "+OK\\r\\n");
    for command in ["MULTI", "SET a 2 EX 100", "SET b 2 EX 100", "SET c 2 EX 100"] {
        wire.say(command);
    }
    let answer = wire.say("EXEC");
    assert!(answer.starts_with("-OOM") && answer.contains("--quota"), "{answer}");
    assert_eq!(wire.say("MGET a b c"), "*3\\r\\n$1\\r\\n1\\r\\n$-1\\r\\n$-1\\r\\n");
    assert!(wire.say("MSET b 1 c 1").starts_with("-OOM"));
    assert_eq!(wire.say("EXISTS a b c"), ":1\\r\\n");
    // One that takes the place of another needs no more of it.
    assert_eq!(wire.say("MSET a 3 b 3"), "+OK\\r\\n");
    assert!(wire.say("SET c 1").starts_with("-OOM"));
    assert_eq!(wire.say("SET a 4"), "+OK\\r\\n");
}

#[test]
fn p10_guessing_keys_is_limited() {
    let limit = |launch: Launch| launch.flag("--miss-limit", "20");
    let (_dir, _jeton, [mut wire]) = with_keys(limit, ["issue,import,resolve,consume,revoke"]);
    assert_eq!(wire.say("SET a 1 EX 100"), "+OK\\r\\n");
    for command in ["GET", "GETDEL", "DEL", "TTL", "TOKEN.CONSUME", "EXPIRE", "SET", "EXEC"] {
        let refused = (0..60).any(|n| {
            let answer = match command {
                "EXPIRE" => wire.say(&format!("EXPIRE guess:{n} 10")),
                "SET" => wire.say(&format!("SET guess:{n} 1 XX")),
                "EXEC" => {
                    wire.say("MULTI");
                    wire.say(&format!("DEL guess:{n}"));
                    wire.say("EXEC")
                }
                _ => wire.say(&format!("{command} guess:{n}")),
            };
            answer.starts_with('-')
        });
        assert!(refused, "{command} guesses for ever");
        assert_eq!(wire.say("GET a"), "$1\\r\\n1\\r\\n", "what is there is answered");
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

#[test]
fn every_command_has_its_line_in_the_audit_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("audit.log");
    let flag = file.to_str().expect("UTF-8").to_owned();
    let jeton = Jeton::start_with(|launch| launch.flag("--audit", &flag));
    let mut wire = jeton.wire();
    for command in ["SET a 1 EX 100", "GET a", "MGET a b", "EXPIRE a 50", "GETDEL a", "DEL a"] {
        wire.say(command);
    }
    for command in ["MULTI", "SET a 1 EX 100", "GET a", "DEL a", "EXEC"] {
        wire.say(command);
    }
    jeton.server.stop_well();
    let refused = file.with_extension("log.refused");
    let lines = [audit::lines(&file), audit::lines(&refused)].concat();
    let count = |operation: &str| {
        let is = |line: &&Value| line["operation"] == operation;
        lines.iter().filter(is).count()
    };
    let counts = ["put", "resolve", "deadline", "consume", "revoke"].map(count);
    assert_eq!(counts, [2, 4, 1, 1, 2], "{lines:?}");
    assert!(lines.iter().all(|line| line["digest"].is_string()), "{lines:?}");
}

/// The answer to a `DEL` tells what was there, and so does the audit log. That of a revocation does not.
#[test]
fn the_audit_log_tells_which_keys_a_del_has_missed() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("audit.log");
    let flag = file.to_str().expect("UTF-8").to_owned();
    let jeton = Jeton::start_with(|launch| launch.flag("--audit", &flag));
    let mut wire = jeton.wire();
    wire.say("MSET a 1 b 2 c 3");
    for (command, answer) in [
        ("DEL a none a", ":1\\r\\n"),
        ("DEL none", ":0\\r\\n"),
        ("UNLINK b", ":1\\r\\n"),
        ("TOKEN.REVOKE none", "+OK\\r\\n"),
        ("MULTI", "+OK\\r\\n"),
        ("DEL none", "+QUEUED\\r\\n"),
        ("DEL c", "+QUEUED\\r\\n"),
        ("TOKEN.REVOKE none", "+QUEUED\\r\\n"),
        ("EXEC", "*3\\r\\n:0\\r\\n:1\\r\\n+OK\\r\\n"),
    ] {
        assert_eq!(wire.say(command), answer, "{command}");
    }
    jeton.server.stop_well();
    let refused = audit::lines(&file.with_extension("log.refused"));
    let lines = [audit::lines(&file), refused].concat();
    let count = |outcome: &str| {
        let is = |line: &&Value| line["operation"] == "revoke" && line["outcome"] == outcome;
        lines.iter().filter(is).count()
    };
    assert_eq!([count("ok"), count("not_found")], [5, 4], "{lines:?}");
}
