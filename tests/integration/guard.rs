//! Protection against enumeration: misses are limited, hits are not, and a miss looks the same
//! whatever its reason, byte for byte and as far as measurable in time.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::access::{Keys, issued, resolve, send};
use crate::client::Client;
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server};
use crate::support::{Rng, eventually};
use crate::volume;

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct Shop {
    server: Server,
    key: String,
    other: String,
    _dir: tempfile::TempDir,
}

/// A server with two keys, with these limits of misses per second for each key and for clients
/// without a key.
fn shop(keyed: &str, keyless: &str) -> Shop {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [key, other] =
        ["shop-a", "shop-b"].map(|shop| keys.add(shop, "issue,resolve,consume,reference", &[]));
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let launch = launch.flag("--anonymous", "shop-a:resolve,consume");
    let server = launch.flag("--miss-limit", keyed).flag("--anonymous-miss-limit", keyless).start();
    Shop { server, key, other, _dir: dir }
}

fn is_refused(answer: &Response) -> bool {
    assert!(matches!(answer.status, 401 | 404 | 429), "{}", answer.text());
    assert_eq!(answer.status == 429, answer.header("retry-after").is_some());
    answer.status == 429
}

/// How many of `count` such requests were refused, sent on one connection at once.
fn refused(server: &Server, key: &str, method: &str, path: &str, count: usize) -> usize {
    let mut conn = Conn::open(server.data).expect("a connection");
    let headers: &[_] = if key.is_empty() { &[] } else { &[("Authorization", key)] };
    let one = request(method, path, headers, b"");
    conn.send(&one.repeat(count)).expect("sends");
    let answers = (0..count).map(|_| conn.response().expect("an answer"));
    answers.filter(is_refused).count()
}

#[test]
fn p10_who_misses_too_often_is_told_to_wait_and_hits_go_on() {
    let path = format!("/v1/tokens/{UNKNOWN}");
    for (method, path) in [
        ("GET", path.clone()),
        ("GET", format!("{path}/status")),
        ("POST", format!("{path}/consume")),
    ] {
        let shop = shop("3", "2");
        let token = issued(&shop.server, &shop.key, r#"{"payload":1,"uses":100}"#);
        let count = refused(&shop.server, &shop.key, method, &path, 200);
        assert!(count > 100, "{count} of 200 {method} {path}");
        // Both keys have the same address: the misses of both are limited, the hits of neither.
        assert_eq!(resolve(&shop.server, &shop.key, &token), 200);
        let consume = format!("/v1/tokens/{token}/consume");
        assert_eq!(send(&shop.server, &shop.key, "POST", &consume, "").status, 200);
        assert_eq!(resolve(&shop.server, "", &token), 200);
        eventually("it is forgotten after a second", || {
            !is_refused(&send(&shop.server, &shop.key, method, &path, ""))
        });
        let count = refused(&shop.server, "", method, &path, 50);
        assert!(count > 25, "{count} of 50 without a key");
    }
}

#[test]
fn wrong_keys_are_guesses_as_well() {
    let shop = shop("3", "2");
    let wrong = format!("{}x", &shop.key[..shop.key.len() - 1]);
    let path = format!("/v1/tokens/{UNKNOWN}");
    let count = refused(&shop.server, &wrong, "GET", &path, 60);
    assert!(count > 30, "{count} of 60");
    let token = issued(&shop.server, &shop.key, r#"{"payload":1}"#);
    assert_eq!(resolve(&shop.server, &shop.key, &token), 200, "who has one is not concerned");
}

#[test]
fn batches_count_each_miss_and_references_are_not_looked_up_beyond_the_limit() {
    let shop = shop("20", "5");
    let order = json!({"payload": 1, "reference": {"order_number": "7"}}).to_string();
    let token = issued(&shop.server, &shop.key, &order);
    let ask = |path: &str, tokens: &serde_json::Value| {
        let body = json!({ "tokens": tokens }).to_string();
        send(&shop.server, &shop.key, "POST", path, &body)
    };
    let guesses: Vec<_> =
        (0..60).map(|n| json!({"reference": {"order_number": format!("guess {n}")}})).collect();
    let guesses = json!(guesses);
    assert_eq!(ask("/v1/resolve", &guesses).status, 200, "answered whole, as a debt");
    for path in ["/v1/resolve", "/v1/consume"] {
        for asked in [json!([{"reference": {"order_number": "7"}}]), json!([token])] {
            let refused = ask(path, &asked);
            assert_eq!(refused.status, 429, "{path}: {}", refused.text());
        }
    }
    assert_eq!(resolve(&shop.server, &shop.key, &token), 200, "a hit by token");
    eventually("the debt is paid", || {
        ask("/v1/consume", &json!([{"reference": {"order_number": "7"}}])).text() == "[1]"
    });
}

/// Batches without a key are short, and answered completely unless there is a debt.
#[test]
fn p10_a_batch_without_a_key_asks_for_no_more_than_its_burst() {
    let shop = shop("1000", "5");
    let ask = |count| {
        let body = json!({ "tokens": vec![UNKNOWN; count] }).to_string();
        send(&shop.server, "", "POST", "/v1/resolve", &body)
    };
    let refused = ask(6);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("--anonymous-miss-limit"), "{}", refused.text());
    assert_eq!(ask(4).text(), "[null,null,null,null]");
    assert_eq!(ask(5).text(), "[null,null,null,null,null]", "not in debt, so answered whole");
    assert!((0..20).any(|_| ask(5).status == 429), "all of them were charged");
    eventually("no debt is longer than some seconds", || ask(1).status == 200);
}

/// The guesses of a key count only for it: another key from the same address keeps its own limit.
#[test]
fn p10_guesses_with_one_key_lock_no_other_out_behind_the_same_address() {
    let shop = shop("20", "5");
    let path = format!("/v1/tokens/{UNKNOWN}");
    assert!(refused(&shop.server, &shop.key, "GET", &path, 200) > 100);
    assert_eq!(refused(&shop.server, &shop.other, "GET", &path, 10), 0);
}

#[test]
fn without_keys_misses_are_limited_only_where_it_is_asked_for() {
    let path = format!("/v1/tokens/{UNKNOWN}");
    let dir = tempfile::tempdir().expect("a folder");
    let server = Launch::on(dir.path()).start();
    assert_eq!(refused(&server, "", "GET", &path, 2_000), 0);
    drop(server);
    let server = Launch::on(dir.path()).flag("--miss-limit", "2").start();
    assert!(refused(&server, "", "GET", &path, 50) > 25);
}

/// One token of each kind that cannot be resolved.
fn missing(shop: &Shop) -> Vec<(&'static str, String)> {
    let issue = |key: &str, body: &str| issued(&shop.server, key, body);
    let expired = issue(&shop.key, r#"{"payload":1,"ttl":"1ms"}"#);
    let consumed = issue(&shop.key, r#"{"payload":1}"#);
    let path = format!("/v1/tokens/{consumed}/consume");
    assert_eq!(send(&shop.server, &shop.key, "POST", &path, "").status, 200);
    let hidden = issue(&shop.key, r#"{"payload":1,"peek":false}"#);
    vec![
        ("unknown", UNKNOWN.to_owned()),
        ("expired", expired),
        ("consumed", consumed),
        ("foreign", issue(&shop.other, r#"{"payload":1}"#)),
        ("sealed", hidden),
    ]
}

/// How often a time of `those` is longer than one of `these`, from -1 (never) to 1 (always): the
/// effect size Cliff's delta.
fn effect(these: &[u64], those: &[u64]) -> f64 {
    let mut sorted = these.to_vec();
    sorted.sort_unstable();
    let balance = |time: &u64| {
        let less = sorted.partition_point(|other| other < time);
        let more = sorted.len() - sorted.partition_point(|other| other <= time);
        less as f64 - more as f64
    };
    those.iter().map(balance).sum::<f64>() / (these.len() * those.len()) as f64
}

/// An operation upon a token: method, path and body.
type Ask = fn(&str) -> (&'static str, String, String);

const ASKS: [(&str, Ask); 4] = [
    ("resolve", |token| ("GET", format!("/v1/tokens/{token}"), String::new())),
    ("resolve_batch", |token| {
        ("POST", "/v1/resolve".to_owned(), json!({ "tokens": [token] }).to_string())
    }),
    ("status", |token| ("GET", format!("/v1/tokens/{token}/status"), String::new())),
    ("consume", |token| ("POST", format!("/v1/tokens/{token}/consume"), String::new())),
];

/// Sends requests for each of `kinds` in a random order. Returns the effect sizes of all but the
/// first in thousandths, and the number of different answers.
fn compare(
    client: &mut Client,
    key: &str,
    kinds: &[(&'static str, String)],
    ask: Ask,
    samples: u64,
) -> (Vec<(&'static str, u64)>, usize) {
    let mut rng = Rng::new(7);
    let mut times = vec![Vec::new(); kinds.len()];
    let mut answers = Vec::new();
    for _ in 0..samples * kinds.len() as u64 {
        let kind = rng.below(kinds.len());
        let (method, path, body) = ask(&kinds[kind].1);
        let headers = [("Authorization", key), ("Content-Type", "application/json")];
        let headers = if body.is_empty() { &headers[..1] } else { &headers[..] };
        let began = Instant::now();
        let mut answer = client.send(method, &path, headers, &body);
        times[kind].push(began.elapsed().as_nanos() as u64);
        answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
        let answer = (answer.status, answer.headers, answer.body);
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    let effects = times[1..].iter().map(|those| (effect(&times[0], those).abs() * 1_000.0) as u64);
    let names = kinds[1..].iter().map(|(name, _)| *name);
    (names.zip(effects).collect(), answers.len())
}

/// Printed and not asserted, because of other load on the machine: near 0 the times cannot be
/// distinguished, 0.147 counts as small.
#[test]
fn p10_what_is_not_there_gets_the_same_bytes_and_no_other_time() {
    let samples = volume::volume("timing", 200);
    let mut shop = shop("3", "2");
    shop.server = {
        let dir = shop._dir.path().join("data");
        let keys = Keys::in_dir(shop._dir.path());
        shop.server.stop_well();
        Launch::on(&dir).flag("--keys", keys.path()).flag("--miss-limit", "0").start()
    };
    let mut kinds = missing(&shop);
    let mut client = Client::of(&shop.server);
    for (name, ask) in ASKS {
        if name == "status" {
            // A token that must not be resolved has a status, and can be consumed.
            kinds.retain(|(name, _)| *name != "sealed");
        }
        let (effects, answers) = compare(&mut client, &shop.key, &kinds, ask, samples);
        assert_eq!(answers, 1, "{name}: the same bytes");
        volume::tell(&format!("timing_of_{name}_effect_in_thousandths"), &effects);
    }
    assert!(effect(&[1, 2, 3], &[4, 5, 6]) > 0.99, "the measure sees a difference");
}

#[test]
fn p10_a_key_that_may_only_issue_cannot_try_out_references() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [shop, thief] = ["issue,consume,reference", "issue"].map(|may| keys.add("shop", may, &[]));
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let server = launch.flag("--miss-limit", "5").start();
    let issue = |key: &str, number: usize, payload: &str| {
        let body = format!(r#"{{"payload":{payload},"reference":{{"order_number":"{number}"}}}}"#);
        send(&server, key, "POST", "/v1/tokens", &body)
    };
    for number in 0..50 {
        assert_eq!(issue(&shop, number, "\"paid\"").status, 201);
    }
    let consume = r#"{"tokens":[{"reference":{"order_number":"0"}}]}"#;
    assert_eq!(send(&server, &shop, "POST", "/v1/consume", consume).status, 200);
    // Consumed, or issued with another payload: a thief cannot distinguish the two.
    let [consumed, other] = [0, 1].map(|number| issue(&thief, number, "1"));
    assert_eq!((consumed.status, other.status), (409, 409));
    assert_eq!(consumed.text(), other.text());
    assert!(issue(&shop, 0, "1").text() != issue(&shop, 1, "1").text(), "the shop may know");
    let refused = (0..50).filter(|number| issue(&thief, *number, "1").status == 429).count();
    assert!(refused > 30, "{refused} of 50");
    // In a batch each counts as a guess.
    std::thread::sleep(Duration::from_secs(7));
    let item = |number: usize| json!({ "payload": 1, "reference": { "order_number": number.to_string() } });
    let batch = json!({ "tokens": (1..50).map(item).collect::<Vec<_>>() }).to_string();
    assert_eq!(send(&server, &thief, "POST", "/v1/tokens/batch", &batch).status, 200);
    assert_eq!(send(&server, &thief, "POST", "/v1/tokens/batch", &batch).status, 429);
    // A new issue of a shop is not a guess, and neither is a retry.
    for number in 1_000..1_050 {
        assert_eq!(issue(&shop, number, "1").status, 201);
        assert_eq!(issue(&shop, number, "1").status, 200);
    }
}

#[test]
fn p10_without_keys_an_address_cannot_try_out_references() {
    let server = Server::fresh_with(|launch| launch.flag("--miss-limit", "5"));
    let issue = |number: usize, payload: u8| {
        let body = format!(r#"{{"payload":{payload},"reference":{{"order_number":"{number}"}}}}"#);
        send(&server, "", "POST", "/v1/tokens", &body).status
    };
    for number in 0..50 {
        assert_eq!(issue(number, 1), 201);
    }
    let refused = (0..50).filter(|number| issue(*number, 2) == 429).count();
    assert!(refused > 30, "{refused} of 50");
}
