//! `jeton import` from a real server. Without one on this machine the tests print NOT RUN.

mod between;
mod clusters;
mod encrypted;
mod export;
mod kills;
mod servers;
mod source;

use std::time::Duration;

use tempfile::TempDir;

use crate::resp_data::redis::Jeton;
use crate::server::output;
use crate::support::eventually;
use source::{Source, begun_unread, count, import, said};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn p9_each_key_is_copied_or_counted_by_kind_and_no_key_is_shown() {
    let Some(source) = Source::start("import: kinds") else { return };
    let (jeton, dir) = (Jeton::start(), dir());
    let long = "x".repeat(70_000);
    for words in [
        "SET cart:json \"{\\\"a\\\": 1.10}\" EX 600",
        "SET cart:bytes \"\\xff\\x00\\r\\n\" PX 600000",
        &format!("SET {TOKEN} \"[1]\" EX 600"),
        "SET cart:forever 1",
        "SET cart:late 1 EX 99999999",
        &format!("SET cart:long {long} EX 600"),
        "RPUSH cart:list 1",
        "HSET cart:hash a 1",
        &format!("SET {} 1 EX 600", "n".repeat(513)),
        "SET cart:empty \"\" EX 600",
    ] {
        source.say(words);
    }
    let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
    assert_eq!(code, 1, "{text}");
    for (kind, expected) in [
        ("copied", 4),
        ("no-deadline", 1),
        ("beyond-max-ttl", 1),
        ("too-big", 1),
        ("other-type", 2),
        ("name-length", 1),
    ] {
        assert_eq!(count(&text, kind), expected, "{kind}: {text}");
    }
    assert!(!text.contains("cart") && !text.contains("xxx") && !text.contains(TOKEN), "{text}");
    let state = std::fs::read(dir.path().join("state")).expect("a state file");
    for key in [&b"cart:json"[..], TOKEN.as_bytes()] {
        assert!(!state.windows(key.len()).any(|part| part == key));
    }
    let mut wire = jeton.wire();
    assert_eq!(wire.say("GET cart:json"), "$11\\r\\n{\"a\": 1.10}\\r\\n");
    assert_eq!(wire.say("GET cart:bytes"), "$4\\r\\n\\xff\\x00\\r\\n\\r\\n");
    assert_eq!(wire.say("GET cart:empty"), "$0\\r\\n\\r\\n");
    assert_eq!(wire.say("GET cart:forever"), "$-1\\r\\n");
    let http = format!("http://{}", jeton.server.data);
    let resolved = output(crate::server::jeton().args(["resolve", TOKEN, "--server", &http]));
    assert_eq!(resolved.stdout, b"[1]\n", "32 characters are a token");
}

#[test]
fn what_is_not_copied_by_itself_is_copied_when_asked_for() {
    let Some(source) = Source::start("import: options") else { return };
    let (jeton, dir) = (Jeton::start(), dir());
    for words in [
        "SET s:a 1",
        "SET s:b 2 EX 99999999",
        "SET s:c 3 EX 600",
        "SET c 4 EX 600",
        "SET other 5 EX 600",
        "SET s: 6 EX 600",
    ] {
        source.say(words);
    }
    let flags = ["--match", "s:*", "--strip", "s:", "--cap-ttl", "--persistent-ttl", "1h"];
    let mut command = import(&source.url(), &jeton, &dir);
    let (code, text) = said(&output(command.args(flags)));
    assert_eq!((code, count(&text, "copied"), count(&text, "name-length")), (1, 3, 1), "{text}");
    let mut wire = jeton.wire();
    let mut ttl = |key: &str| -> i64 {
        let answer = wire.say(&format!("PTTL {key}"));
        answer.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("a number")
    };
    assert!((3_500_000..=3_600_000).contains(&ttl("a")));
    let month = 30 * 24 * 3_600_000;
    assert!((month - 100_000..=month).contains(&ttl("b")));
    assert!((500_000..=600_000).contains(&ttl("c")));
    assert_eq!(ttl("other"), -2);

    // The second key with a name is not the first.
    let mut command = import(&source.url(), &jeton, &dir);
    let (code, text) = said(&output(command.args(["--strip", "s:", "--cap-ttl"])));
    assert_eq!((code, count(&text, "same-name")), (1, 1), "{text}");
    assert_eq!(wire.say("GET c"), "$1\\r\\n3\\r\\n");
    let mut command = import(&source.url(), &jeton, &dir);
    let (code, text) = said(&output(command.args(["--strip", "x:"])));
    assert!(code == 2 && text.contains("another --strip"), "{text}");
}

#[test]
fn p2_what_is_gone_in_jeton_stays_gone_and_what_changed_is_replaced_if_import_put_it() {
    let Some(source) = Source::start("import: the second pass") else { return };
    let (jeton, dir) = (Jeton::start(), dir());
    for key in ["used", "changed", "moved", "theirs", "same", "both"] {
        source.say(&format!("SET {key} before EX 600"));
    }
    jeton.wire().say("SET both before EX 600");
    let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
    assert_eq!((code, count(&text, "copied"), count(&text, "present")), (0, 5, 1), "{text}");

    let mut wire = jeton.wire();
    wire.say("GETDEL used");
    wire.say("SET theirs mine EX 600");
    wire.say("GETDEL both");
    for words in ["SET changed after EX 900", "EXPIRE moved 60", "SET theirs after EX 600"] {
        source.say(words);
    }
    let second = said(&output(&mut import(&source.url(), &jeton, &dir)));
    let (code, text) = second;
    assert_eq!(code, 1, "{text}");
    for (kind, expected) in
        [("gone", 2), ("replaced", 1), ("deadline-set", 1), ("unchanged", 1), ("other-value", 1)]
    {
        assert_eq!(count(&text, kind), expected, "{kind}: {text}");
    }
    for (key, value) in [("changed", "after"), ("theirs", "mine"), ("moved", "before")] {
        let expected = format!("${}\\r\\n{value}\\r\\n", value.len());
        assert_eq!(wire.say(&format!("GET {key}")), expected, "{key}");
    }
    for (key, longest) in [("changed", ":9"), ("moved", ":5")] {
        let left = wire.say(&format!("TTL {key}"));
        assert!(left.starts_with(longest) || left.starts_with(":8") || left.starts_with(":60"));
    }
    for key in ["used", "both"] {
        assert_eq!(wire.say(&format!("GET {key}")), "$-1\\r\\n", "{key} lives again");
    }
}

#[test]
fn p2_a_value_is_put_once_and_another_one_under_a_key_whose_first_is_gone_is_put() {
    let Some(source) = Source::start("import: a name used again") else { return };
    let (jeton, dir) = (Jeton::start(), dir());
    for key in ["again", "other"] {
        source.say(&format!("SET {key} first EX 600"));
    }
    let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
    assert_eq!((code, count(&text, "copied")), (0, 2), "{text}");
    let mut wire = jeton.wire();
    for (key, value) in [("again", "first"), ("other", "second")] {
        source.say(&format!("GETDEL {key}"));
        wire.say(&format!("GETDEL {key}"));
        source.say(&format!("SET {key} {value} EX 600"));
    }
    for (kind, gone) in [("copied", 1), ("unchanged", 1)] {
        let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
        assert_eq!((code, count(&text, kind), count(&text, "gone")), (0, 1, gone), "{text}");
        assert_eq!(wire.say("GET other"), "$6\\r\\nsecond\\r\\n");
        assert_eq!(wire.say("GET again"), "$-1\\r\\n", "put a second time");
    }
    wire.say("GETDEL other");
    let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
    assert_eq!((code, count(&text, "gone")), (0, 2), "{text}");
}

#[test]
fn an_import_that_goes_on_with_another_pattern_leaves_out_no_key() {
    let Some(source) = Source::start("import: another pattern") else { return };
    let (jeton, dir) = (Jeton::start(), dir());
    for number in 0..1_500 {
        source.say(&format!("SET a:{number} 1 EX 600"));
        source.say(&format!("SET b:{number} 1 EX 600"));
    }
    let mut child =
        begun_unread(import(&source.url(), &jeton, &dir).args(["--match", "a:*", "--rate", "200"]));
    eventually("some keys are copied", || jeton.wire().say("DBSIZE") != ":0\\r\\n");
    // Its first page is noted; the second one is far.
    std::thread::sleep(Duration::from_millis(500));
    child.kill().expect("a child of ours");
    child.wait().expect("it has ended");
    let mut command = import(&source.url(), &jeton, &dir);
    let (code, text) = said(&output(command.args(["--match", "b:*"])));
    assert_eq!((code, count(&text, "copied")), (0, 1_500), "{text}");
}

#[test]
fn a_login_is_percent_encoded_and_the_password_is_in_a_file_or_a_variable() {
    let Some(source) = Source::start("import: login") else { return };
    let (jeton, dir) = (Jeton::start(), dir());
    source.say("ACL SETUSER shop@eu on >p:w/1 ~* +@all");
    source.say("ACL SETUSER default resetpass");
    let mut wire = source.wire();
    wire.say("AUTH shop@eu p:w/1");
    wire.say("SELECT 3");
    wire.say("SET a 1 EX 600");
    let url = |login: &str| format!("redis://{login}@{}/3", source.address);
    let file = dir.path().join("password");
    std::fs::write(&file, "p:w/1\n").expect("a file");

    let mut command = import(&url("shop%40eu"), &jeton, &dir);
    let (code, text) = said(&output(command.arg("--password-file").arg(&file)));
    assert_eq!((code, count(&text, "copied")), (0, 1), "{text}");
    let mut command = import(&url("shop%40eu"), &jeton, &dir);
    let (code, text) = said(&output(command.env("REDISCLI_AUTH", "p:w/1")));
    assert_eq!((code, count(&text, "unchanged")), (0, 1), "{text}");
    let (code, text) = said(&output(&mut import(&url("shop%40eu:p%3Aw%2F1"), &jeton, &dir)));
    assert!(code == 0 && text.contains("can see the password"), "{text}");

    let (code, text) = said(&output(&mut import(&url("shop%40eu:secret-1"), &jeton, &dir)));
    assert!(code == 1 && text.contains("the source refuses the login"), "{text}");
    assert!(!text.contains("secret-1") && !text.contains("p:w"), "{text}");
}

#[test]
fn a_wrong_address_is_told_at_once() {
    let Some(source) = Source::start("import: addresses") else { return };
    let (jeton, dir) = (Jeton::start(), dir());
    let nobody = "redis://127.0.0.1:1";
    for (from, to, code, said_of) in [
        (
            nobody,
            format!("redis://{}", jeton.address),
            3,
            "the source redis://127.0.0.1:1: no server",
        ),
        (&source.url(), nobody.to_owned(), 3, "the server redis://127.0.0.1:1: no server"),
        (&source.url(), source.url(), 2, "--resp-listen"),
        (&source.url(), format!("redis://{}", jeton.server.data), 3, "does not speak"),
        ("http://x", nobody.to_owned(), 2, "the source must be redis[s]://"),
        (&source.url(), "x".to_owned(), 2, "--server must be redis[s]://"),
    ] {
        let mut command = crate::server::jeton();
        command.args(["import", from, "--server", &to, "--state"]).arg(dir.path().join("state"));
        let (ended, text) = said(&output(&mut command));
        assert!(ended == code && text.contains(said_of), "{from} {to}: {ended} {text}");
    }
    let (code, text) =
        said(&output(crate::server::jeton().args(["import", &source.url(), "--rate", "0"])));
    assert!(code == 2 && text.contains("--rate must be 1 to 1000000"), "{text}");
}
