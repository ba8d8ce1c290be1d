//! What the nodes of a cluster answer: a hit from their own memory while it is fresh, and nothing
//! negative that is not confirmed.

mod audited;
mod bounds;
mod clocks;
mod commands;
mod trio;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::scope;
use std::time::Duration;

use crate::client::Client;
use crate::raw::Response;
use crate::server::Server;
use crate::support::eventually;
use trio::{Link, Trio};

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// How long an answer that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(100);

/// A request about one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Resolve,
    ResolveList,
    Status,
    StatusList,
    Consume,
    ConsumeList,
    Extend,
    ExtendList,
    Revoke,
    RevokeList,
}

use About::*;

const ALL: [About; 10] = [
    Resolve,
    ResolveList,
    Status,
    StatusList,
    Consume,
    ConsumeList,
    Extend,
    ExtendList,
    Revoke,
    RevokeList,
];

impl About {
    fn ask(self, trio: &Trio, at: usize, token: &str) -> Response {
        self.ask_with(trio, at, token, &[])
    }

    fn ask_with(self, trio: &Trio, at: usize, token: &str, headers: &[(&str, &str)]) -> Response {
        let path = format!("/v1/tokens/{token}");
        let list = format!(r#"{{"tokens":["{token}"]}}"#);
        let with_ttl = format!(r#"{{"tokens":["{token}"],"ttl":"1h"}}"#);
        let (method, path, body) = match self {
            Resolve => ("GET", path, String::new()),
            Status => ("GET", path + "/status", String::new()),
            Consume => ("POST", path + "/consume", String::new()),
            Extend => ("PATCH", path, r#"{"ttl":"1h"}"#.to_owned()),
            Revoke => ("DELETE", path, String::new()),
            ResolveList => ("POST", "/v1/resolve".to_owned(), list),
            StatusList => ("POST", "/v1/status".to_owned(), list),
            ConsumeList => ("POST", "/v1/consume".to_owned(), list),
            ExtendList => ("POST", "/v1/extend".to_owned(), with_ttl),
            RevokeList => ("POST", "/v1/revoke".to_owned(), list),
        };
        trio.ask_with(at, method, &path, headers, &body)
    }

    /// Whether the answer says that the token is there.
    fn is_found(self, answer: &Response) -> bool {
        match (answer.status, self) {
            (404, _) => false,
            (204, Revoke | RevokeList) => true,
            (200, _) => answer.text() != "[null]",
            _ => panic!("{self:?}: {} {}", answer.status, answer.text()),
        }
    }

    fn is_read(self) -> bool {
        matches!(self, Resolve | ResolveList | Status | StatusList)
    }
}

/// The answer to `ask` while a node gets nothing of the stream: it must not come before the node
/// follows again.
fn waits<A: Send>(trio: &Trio, at: usize, link: Link, ask: impl FnOnce() -> A + Send) -> A {
    let (send, answered) = channel();
    scope(|scope| {
        scope.spawn(move || send.send(ask()));
        let early = answered.recv_timeout(SILENCE);
        trio.link(at, link);
        assert_eq!(
            early.err(),
            Some(RecvTimeoutError::Timeout),
            "it was answered before it was confirmed"
        );
        answered.recv().expect("it is answered")
    })
}

#[test]
fn p1_a_token_that_one_node_issued_is_never_unknown_to_another() {
    let trio = Trio::start();
    for about in ALL {
        trio.link(1, Link::Deaf);
        let (token, _) = trio.issue(0, "");
        let answer = waits(&trio, 1, Link::Whole, || about.ask(&trio, 1, &token));
        assert!(about.is_found(&answer), "{about:?}: {}", answer.text());
        if matches!(about, Revoke | RevokeList) {
            assert_eq!(Resolve.ask_with(&trio, 2, &token, LINEAR).status, 404, "{about:?}");
        }
    }
}

const LINEAR: &[(&str, &str)] = &[("Jeton-Read", "linear")];

#[test]
fn p2_a_use_that_one_node_has_consumed_is_consumed_on_no_other() {
    let trio = Trio::start();
    for round in 0..20 {
        let (token, _) = trio.issue(round % 3, "");
        let statuses = scope(|scope| {
            let ask = |at| {
                let (trio, token) = (&trio, &token);
                scope.spawn(move || Consume.ask(trio, at, token).status)
            };
            let asked: Vec<_> = (0..3).map(ask).collect();
            asked.into_iter().map(|one| one.join().expect("it is answered")).collect::<Vec<_>>()
        });
        let won = statuses.iter().filter(|status| **status == 200).count();
        let lost = statuses.iter().filter(|status| **status == 404).count();
        assert_eq!((won, lost), (1, 2), "round {round}: {statuses:?}");
        for at in 0..3 {
            assert_eq!(Consume.ask(&trio, at, &token).status, 404, "round {round}, node {at}");
        }
    }
}

/// A node that does not know of the consume yet still holds the token.
#[test]
fn p2_p3_a_linear_read_sees_what_was_acknowledged_before_it_and_a_local_one_may_not() {
    let trio = Trio::start();
    for about in ALL.into_iter().filter(|about| about.is_read()) {
        let (token, _) = trio.issue(1, "");
        trio.link(1, Link::Deaf);
        assert_eq!(Consume.ask(&trio, 0, &token).status, 200);
        assert!(about.is_found(&about.ask(&trio, 1, &token)), "{about:?}: local, and behind");
        let local = &[("Jeton-Read", "local")];
        assert!(about.is_found(&about.ask_with(&trio, 1, &token, local)), "{about:?}");
        let ask = || about.ask_with(&trio, 1, &token, LINEAR);
        let answer = waits(&trio, 1, Link::Whole, ask);
        assert!(!about.is_found(&answer), "{about:?}: {}", answer.text());
    }
}

#[test]
fn p2_p3_a_session_reads_its_own_changes_on_every_node() {
    let trio = Trio::start();
    for about in ALL.into_iter().filter(|about| about.is_read()) {
        let (token, issued) = trio.issue(0, "");
        let position = issued.header("jeton-position").expect("a change states its position");
        let answer = about.ask_with(&trio, 2, &token, &[("Jeton-At-Least", position)]);
        assert!(about.is_found(&answer), "{about:?}: {}", answer.text());
        trio.link(2, Link::Deaf);
        let consumed = Consume.ask(&trio, 0, &token);
        let position = consumed.header("jeton-position").expect("a change states its position");
        assert!(about.is_found(&about.ask(&trio, 2, &token)), "{about:?}: it is behind");
        let ask = || about.ask_with(&trio, 2, &token, &[("Jeton-At-Least", position)]);
        let answer = waits(&trio, 2, Link::Whole, ask);
        assert!(!about.is_found(&answer), "{about:?}: {}", answer.text());
    }
    // What changes nothing has a position too: what was learnt stays so on another node.
    assert!(Consume.ask(&trio, 0, UNKNOWN).header("jeton-position").is_some());
    assert!(Revoke.ask(&trio, 0, UNKNOWN).header("jeton-position").is_some());
    assert!(Resolve.ask(&trio, 0, UNKNOWN).header("jeton-position").is_none());
}

#[test]
fn a_position_that_does_not_come_is_503_and_one_beyond_the_end_of_an_earlier_stream_is_412() {
    let trio = Trio::start();
    let (token, _) = trio.issue(0, "");
    let ask = |position| Resolve.ask_with(&trio, 0, &token, &[("Jeton-At-Least", position)]);
    // A node never gets to a later stream, so it answers at once: no node takes a turn here.
    let later = trio.still(|| ask("3.1"));
    for answer in [ask("2.1000000"), later] {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("behind: "), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let answer = Resolve.ask_with(&trio, 0, &token, &[("Jeton-At-Least", "1.2")]);
    assert_eq!((answer.status, &answer.json()["field"]), (412, &"Jeton-At-Least".into()));
    for reached in ["1.1", "2.1"] {
        let answer = Resolve.ask_with(&trio, 0, &token, &[("Jeton-At-Least", reached)]);
        assert_eq!(answer.status, 200, "{reached}: the earlier stream ended there, or it is new");
    }
}

#[test]
fn p1_p3_a_node_without_a_majority_answers_hits_until_the_fence_closes_and_no_misses() {
    let trio = Trio::start();
    let (token, _) = trio.issue(0, "");
    assert!(Resolve.is_found(&Resolve.ask_with(&trio, 1, &token, LINEAR)));
    trio.link(1, Link::Cut);
    for about in ALL {
        let answer = about.ask(&trio, 1, UNKNOWN);
        assert_eq!(answer.status, 503, "{about:?}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"), "{about:?}");
        assert!(answer.text().contains("no-quorum: "), "{about:?}: {}", answer.text());
        let answer = about.ask(&trio, 1, &token);
        assert_eq!(answer.status, if about.is_read() { 200 } else { 503 }, "{about:?}");
        let answer = about.ask_with(&trio, 1, &token, LINEAR);
        assert_eq!(answer.status, 503, "{about:?}: {}", answer.text());
    }
    let both = format!(r#"{{"tokens":["{token}","{UNKNOWN}"]}}"#);
    assert_eq!(trio.ask(1, "POST", "/v1/resolve", &both).status, 503, "nothing of the list");
    trio.pass(1, 31_000);
    for about in ALL.into_iter().filter(|about| about.is_read()) {
        let answer = about.ask(&trio, 1, &token);
        assert_eq!(answer.status, 503, "{about:?}: {}", answer.text());
        assert!(answer.text().contains("stale: "), "{about:?}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"), "{about:?}");
    }
    trio.link(1, Link::Whole);
    eventually("the node is fresh again", || Resolve.ask(&trio, 1, &token).status == 200);
}

#[test]
fn p3_a_node_whose_machine_was_paused_is_stale_until_it_has_heard_again() {
    let trio = Trio::start();
    let (token, _) = trio.issue(0, "");
    assert!(Resolve.is_found(&Resolve.ask_with(&trio, 1, &token, LINEAR)));
    trio.link(1, Link::Cut);
    trio.jump(1, 5_000);
    assert!(Resolve.ask(&trio, 1, &token).text().contains("stale: "));
    trio.link(1, Link::Whole);
    eventually("the node is fresh again", || Resolve.ask(&trio, 1, &token).status == 200);
}

#[test]
fn wrong_headers_are_400_with_their_names_and_a_single_server_ignores_them() {
    let trio = Trio::start();
    let (token, _) = trio.issue(0, "");
    let wrong: [(&str, &[(&str, &str)]); 7] = [
        ("Jeton-Read", &[("Jeton-Read", "Linear")]),
        ("Jeton-Read", &[("Jeton-Read", "")]),
        ("Jeton-Read", &[("Jeton-Read", "local"), ("Jeton-Read", "linear")]),
        ("Jeton-At-Least", &[("Jeton-At-Least", "7")]),
        ("Jeton-At-Least", &[("Jeton-At-Least", "2.-1")]),
        ("Jeton-At-Least", &[("Jeton-At-Least", "2.18446744073709551616")]),
        ("Jeton-At-Least", &[("Jeton-At-Least", "2.1"), ("Jeton-At-Least", "2.1")]),
    ];
    for (field, headers) in wrong {
        for about in ALL {
            let answer = about.ask_with(&trio, 0, &token, headers);
            assert_eq!(answer.status, 400, "{about:?} with {headers:?}");
            assert_eq!(answer.json()["field"], field, "{about:?} with {headers:?}");
        }
    }
    assert_eq!(Resolve.ask(&trio, 0, &token).status, 200, "nothing was changed");
    let server = Server::shared();
    let path = format!("/v1/tokens/{UNKNOWN}");
    let answer = Client::of(&server).send("GET", &path, &[("Jeton-Read", "Linear")], "");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("jeton-position"), None);
}

/// What a client with several URLs asks: servers that share nothing would consume a token once each.
#[test]
fn p2_each_node_states_its_cluster_and_a_single_server_states_none() {
    let trio = Trio::start();
    let (token, _) = trio.issue(0, "");
    let id = "09".repeat(16);
    for at in 0..3 {
        for headers in [[("Jeton-Read", "probe")], [("Jeton-At-Least", "probe")]] {
            for about in ALL {
                let answer = about.ask_with(&trio, at, &token, &headers);
                assert_eq!(answer.status, 400, "{about:?}");
                assert_eq!(answer.header("jeton-cluster"), Some(&*id), "{about:?}");
            }
        }
        let answer = Resolve.ask(&trio, at, &token);
        assert_eq!(answer.status, 200, "nothing was changed");
        assert_eq!(answer.header("jeton-cluster"), None, "nobody has asked");
    }
    let server = Server::shared();
    let probe = &[("Jeton-Read", "probe")];
    let answer = Client::of(&server).send("POST", "/v1/resolve", probe, r#"{"tokens":[]}"#);
    assert_eq!((answer.status, answer.header("jeton-cluster")), (200, None));
}
