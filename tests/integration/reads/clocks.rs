//! Nodes whose clocks are or were wrong.

use jeton::service::miss_limiter::MissLimits;

use super::*;

const HOUR_MS: i64 = 3_600_000;

#[test]
fn p3_a_node_whose_clock_is_a_year_off_calls_nothing_expired_too_early_or_too_late() {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    let trio = Trio::with(MissLimits::default(), [0, YEAR_MS, -YEAR_MS]);
    let (lasting, _) = trio.issue(0, "");
    let (short, issued) = trio.issue(0, r#","ttl":"1m""#);
    let position = issued.header("jeton-position").expect("a change states its position");
    let headers = &[("Jeton-At-Least", position)];
    for at in 0..3 {
        for about in ALL.into_iter().filter(|about| about.is_read()) {
            let answer = about.ask_with(&trio, at, &lasting, headers);
            assert!(about.is_found(&answer), "{about:?} on node {at}: {}", answer.text());
        }
    }
    assert!(Resolve.is_found(&Resolve.ask(&trio, 1, &short)), "it had not expired");
    trio.pass_everywhere(61_000);
    for at in 0..3 {
        eventually("the node has heard again", || {
            Resolve.ask_with(&trio, at, &lasting, LINEAR).status == 200
        });
        for about in ALL.into_iter().filter(|about| about.is_read()) {
            let answer = about.ask(&trio, at, &short);
            assert!(!about.is_found(&answer), "{about:?} on node {at}: {}", answer.text());
        }
    }
}

/// Engine time never runs backwards, so it stays ahead after such a step. Tokens do not expire by it.
#[test]
fn p3_after_a_step_of_the_clock_and_its_correction_hits_need_no_barrier() {
    let trio = Trio::start();
    let (token, _) = trio.issue(0, "");
    assert!(Resolve.is_found(&Resolve.ask_with(&trio, 1, &token, LINEAR)));
    let fresh = |trio: &Trio| Resolve.ask_with(trio, 1, &token, LINEAR).status == 200;
    let answers_at_once = |when: &str| {
        eventually("the node has heard again", || fresh(&trio));
        for about in ALL.into_iter().filter(|about| about.is_read()) {
            // The hot path knows no such header.
            for headers in [&[][..], &[("Jeton-Read", "local")]] {
                let answer = trio.still(|| about.ask_with(&trio, 1, &token, headers));
                assert!(about.is_found(&answer), "{about:?}, {when}: {}", answer.text());
            }
        }
    };
    trio.jump(1, HOUR_MS);
    answers_at_once("the step is held");
    trio.pass_everywhere(61_000);
    answers_at_once("the step is followed");
    trio.jump(1, -HOUR_MS);
    answers_at_once("the clock is right again");
}

/// A node that refuses changes must not tell by its refusal which tokens there are.
#[test]
fn p10_with_a_wrong_clock_changes_of_known_and_unknown_tokens_get_the_same_answer() {
    let trio = Trio::with(MissLimits::default(), [0, 11_000, 0]);
    let (known, _) = trio.issue(0, "");
    let (consumed, _) = trio.issue(0, "");
    assert_eq!(Consume.ask(&trio, 2, &consumed).status, 200);
    for token in [&known, &consumed] {
        let _ = Resolve.ask_with(&trio, 1, token, LINEAR);
    }
    for about in ALL.into_iter().filter(|about| !about.is_read()) {
        let expected = about.ask(&trio, 1, &known);
        assert_eq!(expected.status, 503, "{about:?}: {}", expected.text());
        assert!(expected.text().contains("clock"), "{about:?}: {}", expected.text());
        for (what, token) in [("unknown", UNKNOWN), ("consumed", &consumed)] {
            let answer = about.ask(&trio, 1, token);
            assert_eq!(answer.status, expected.status, "{about:?}, {what}: {}", answer.text());
            assert_eq!(answer.text(), expected.text(), "{about:?}, {what}");
            let at = |answer: &crate::raw::Response| answer.header("jeton-position").map(str::len);
            assert_eq!(at(&answer), at(&expected), "{about:?}, {what}");
        }
    }
    for about in ALL.into_iter().filter(|about| about.is_read()) {
        assert!(about.is_found(&about.ask(&trio, 1, &known)), "{about:?}");
        assert!(!about.is_found(&about.ask(&trio, 1, UNKNOWN)), "{about:?}");
    }
}
