//! What guesses and waits cost a node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jeton::audit;
use jeton::service::miss_limiter::MissLimits;

use super::audited::required;
use super::*;
use crate::support::Over;

#[test]
fn p8_guesses_have_no_record_and_all_who_wait_share_a_message() {
    const CALLERS: usize = 16;
    const ROUNDS: usize = 3;
    let trio = Trio::start();
    let (_, changes) = trio.messages(None);
    let before = trio.messages(Some(1)).0;
    scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                for about in ALL.repeat(ROUNDS) {
                    let is_revoke = matches!(about, Revoke | RevokeList);
                    let answer = about.ask(&trio, 1, UNKNOWN);
                    assert_eq!(about.is_found(&answer), is_revoke, "{about:?}");
                }
            });
        }
    });
    let after = trio.messages(Some(1)).0;
    let guesses = CALLERS * ROUNDS * ALL.len();
    assert!(after - before < guesses / 3, "{} messages", after - before);
    let list = format!(r#"{{"tokens":[{}"{UNKNOWN}"]}}"#, format!(r#""{UNKNOWN}","#).repeat(49));
    assert_eq!(trio.ask(1, "POST", "/v1/resolve", &list).status, 200);
    assert!(trio.messages(Some(1)).0 < after + 10, "a list takes one barrier");
    assert_eq!(trio.messages(None).1, changes, "no record for the unknown");
}

/// The limiter refuses before the barrier: it answers while no node takes a turn.
#[test]
fn p8_p10_who_has_missed_too_often_is_refused_before_anybody_waits() {
    let limits = MissLimits { keyed: None, keyless: Some(5), references: None };
    let trio = Trio::with(limits, [0; 3]);
    let (token, _) = trio.issue(0, "");
    assert!(Resolve.is_found(&Resolve.ask_with(&trio, 1, &token, LINEAR)));
    let list = format!(r#"{{"tokens":[{}"{UNKNOWN}"]}}"#, format!(r#""{UNKNOWN}","#).repeat(4));
    while trio.ask(1, "POST", "/v1/resolve", &list).status == 200 {}
    trio.still(|| {
        for about in [Resolve, Status, Consume, Extend, ResolveList, StatusList] {
            let answer = about.ask(&trio, 1, UNKNOWN);
            assert_eq!(answer.status, 429, "{about:?}: {}", answer.text());
            for demand in [LINEAR, &[("Jeton-At-Least", "2.1000000")]] {
                let answer = about.ask_with(&trio, 1, UNKNOWN, demand);
                assert_eq!(answer.status, 429, "{about:?} with {demand:?}: {}", answer.text());
            }
        }
        assert_eq!(Resolve.ask(&trio, 1, &token).status, 200, "a hit is never refused");
    });
}

/// A list of consumes needs a barrier before it, for its answer's memory, and no second one.
#[test]
fn p8_a_list_of_consumes_takes_one_barrier() {
    const LISTS: usize = 24;
    let trio = Trio::start();
    let before = trio.messages(Some(1)).0;
    for _ in 0..LISTS {
        assert!(!ConsumeList.is_found(&ConsumeList.ask(&trio, 1, UNKNOWN)));
    }
    let messages = trio.messages(Some(1)).0 - before;
    // The node reports once a second too.
    assert!(messages < LISTS + LISTS / 2, "{messages} messages");
    let (token, _) = trio.issue(0, "");
    let list = format!(r#"{{"tokens":["{UNKNOWN}","{token}","{token}"]}}"#);
    let answer = trio.ask(1, "POST", "/v1/consume", &list);
    assert_eq!((answer.status, answer.text()), (200, "[null,7,null]"));
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this process runs");
    let pages = statm.split_whitespace().nth(1).expect("the resident pages");
    pages.parse::<usize>().expect("a number") * 4_096
}

/// What was found of a list with a miss is dropped before the wait: nothing has charged it.
#[test]
fn p8_a_list_that_waits_for_its_barrier_holds_no_answer() {
    const CALLERS: usize = 10;
    const PAYLOAD_LEN: usize = 30 << 10;
    const ANSWER_LEN: usize = 16 << 20;
    let trio = Trio::start();
    let payload = "x".repeat(PAYLOAD_LEN - 2);
    let issued = trio.ask(0, "POST", "/v1/tokens", &format!(r#"{{"payload":"{payload}"}}"#));
    let token = issued.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(Resolve.ask_with(&trio, 1, &token, LINEAR).status, 200);
    let hits = format!(r#""{token}","#).repeat(ANSWER_LEN / PAYLOAD_LEN - 1);
    let list = format!(r#"{{"tokens":[{hits}"{UNKNOWN}"]}}"#);
    // Other tests use this process's memory too, so a single high reading proves nothing.
    let grown = || {
        let before = resident();
        trio.link(1, Link::Deaf);
        let is_over = AtomicBool::new(false);
        let most = scope(|scope| {
            let _over = Over(&is_over);
            let asked: Vec<_> = (0..CALLERS)
                .map(|_| scope.spawn(|| trio.ask(1, "POST", "/v1/resolve", &list).status))
                .collect();
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !is_over.load(Ordering::Relaxed) {
                    most = most.max(resident());
                    std::thread::sleep(Duration::from_millis(1));
                }
                most
            });
            let statuses: Vec<_> =
                asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            assert!(statuses.iter().all(|status| matches!(status, Ok(503))), "{statuses:?}");
            is_over.store(true, Ordering::Relaxed);
            watch.join().expect("it reads")
        });
        trio.link(1, Link::Whole);
        eventually("the node is fresh again", || {
            Resolve.ask_with(&trio, 1, &token, LINEAR).status == 200
        });
        most.saturating_sub(before)
    };
    let least = (0..3).map(|_| grown()).min().expect("three readings");
    assert!(least < CALLERS / 2 * ANSWER_LEN, "{least} bytes");
}

/// The audit log has places for some lines, and refuses requests without one if it is required.
#[test]
fn p8_lists_that_wait_hold_one_place_in_the_audit_log_each() {
    const LISTS: usize = 8;
    const LIST_LEN: usize = audit::EVENTS_MAX / LISTS;
    let folder = tempfile::tempdir().expect("a folder");
    let audit = required(&folder.path().join("audit.log"));
    let trio = Trio::configured([0; 3], |config| {
        config.audit = Some(audit.clone());
        config.max_batch = LIST_LEN;
    });
    let (token, _) = trio.issue(0, "");
    assert_eq!(Resolve.ask_with(&trio, 1, &token, LINEAR).status, 200);
    let unknown = format!(r#""{UNKNOWN}","#).repeat(LIST_LEN - 1);
    let list = format!(r#"{{"tokens":[{unknown}"{UNKNOWN}"]}}"#);
    scope(|scope| {
        trio.still(|| {
            for path in ["/v1/resolve", "/v1/consume"].repeat(LISTS / 2) {
                let (trio, list) = (&trio, &list);
                scope.spawn(move || trio.ask(1, "POST", path, list));
            }
            let since = Instant::now();
            while since.elapsed() < Duration::from_secs(4) {
                let answer = Resolve.ask(&trio, 1, &token);
                assert_eq!(answer.status, 200, "{}", answer.text());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    });
    audit.close();
}

/// A request that waits is charged to its client, so many streams of one connection have a share.
#[test]
fn p8_streams_that_wait_for_the_cluster_are_charged() {
    const STREAMS: usize = 120;
    let trio = Trio::configured([0; 3], |config| config.max_inflight = 256 << 10);
    let (token, _) = trio.issue(0, "");
    assert_eq!(Resolve.ask_with(&trio, 1, &token, LINEAR).status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let refused = trio.still(|| {
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(trio.address(1)).await.expect("connects");
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (sender, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
            tokio::spawn(connection);
            let asked: Vec<_> = (0..STREAMS)
                .map(|_| {
                    let request = hyper::Request::get(format!("http://a/v1/tokens/{UNKNOWN}"))
                        .body(http_body_util::Empty::<bytes::Bytes>::new())
                        .expect("a request");
                    let asked = sender.clone().send_request(request);
                    tokio::spawn(tokio::time::timeout(Duration::from_secs(2), asked))
                })
                .collect();
            let mut refused = 0;
            for one in asked {
                if let Ok(Ok(answer)) = one.await.expect("no panic") {
                    assert_eq!(answer.status(), 503);
                    refused += 1;
                }
            }
            refused
        })
    });
    assert!((40..100).contains(&refused), "{refused} of {STREAMS}");
    eventually("what waited is given back", || Resolve.ask(&trio, 1, UNKNOWN).status == 404);
}
