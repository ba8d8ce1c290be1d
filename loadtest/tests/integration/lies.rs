//! Servers that lie, refuse, break off or say nothing: every lie is noticed, under its own name, and
//! an honest server is never accused.

use std::time::Duration;

use crate::fake::{Fake, HONEST, Lie, Manner, Speed};
use crate::harness::{BRIEF, command, error, reported, run};

/// All that can be asked at once.
const EVERYTHING: &str = "issue=5,resolve=5,batch=2,consume=3,revoke=2,extend=2,miss=3,replay=2";

/// Runs a mix against a server that tells this lie. The error must be the only kind there is, stand
/// in the table with its count, have an example, and end the run with exit code 1.
fn check(lie: Lie, kind: &str, wrong: bool, words: &str) -> (u64, u64) {
    let fake = Fake::lying(lie);
    let target = format!("run resolve --target http://{} -c 4 {words}", fake.address);
    let (ended, report) = reported(command(&target).args(BRIEF));
    assert_eq!(ended.code, Some(1), "{lie:?}: {}", ended.said());
    let found = error(&report, kind);
    assert_eq!(report.errors.len(), 1, "{lie:?}: {}", ended.said());
    assert_eq!(found.wrong, wrong, "{lie:?}");
    assert!(found.example.len() > 10, "{lie:?}: no example: {found:?}");
    let row = ended.stdout.lines().find(|line| line.trim_start().starts_with(kind));
    let row = row.unwrap_or_else(|| panic!("{lie:?}: no row: {}", ended.said())).replace(',', "");
    assert!(row.contains(&format!(" {} ", found.count)), "{lie:?}: {row}");
    // All but those that came to light after the end.
    let of_slices = report.slices.iter().map(|slice| slice.errors).sum::<u64>();
    assert!((1..=found.count).contains(&of_slices), "{lie:?}: {of_slices} of {}", found.count);
    (found.count, fake.lies())
}

/// As [`check`], where each lie is one error.
fn check_each(lie: Lie, kind: &str, wrong: bool, words: &str) {
    let (noticed, told) = check(lie, kind, wrong, words);
    assert!(told > 0, "{lie:?} was never told");
    assert_eq!(noticed, told, "{lie:?}: lies noticed, and told");
}

#[test]
fn an_honest_server_is_never_accused() {
    for words in ["--rivals 1", "--rivals 3", "--ttl 60ms..300ms"] {
        let fake = Fake::start(HONEST);
        let target =
            format!("run resolve --target http://{} -c 4 --mix {EVERYTHING} {words}", fake.address);
        let (ended, report) = reported(command(&target).args(BRIEF));
        assert_eq!((ended.code, &report.errors[..]), (Some(0), &[][..]), "{}", ended.said());
        assert_eq!(report.operations.len(), 8, "{words}: not all was asked");
    }
}

#[test]
fn a_wrong_payload_is_noticed() {
    check_each(Lie::WrongPayload, "wrong payload", true, "");
    check_each(Lie::SwappedBatch, "wrong payload", true, "--mix batch=1 --batch-size 5");
}

#[test]
fn a_lost_token_is_noticed() {
    check_each(Lie::Lost, "lost", true, "");
}

#[test]
fn a_second_winner_is_noticed() {
    let mix = "--mix consume=1,issue=1 --rivals 2";
    let (noticed, told) = check(Lie::TwoWinners, "consumed twice", true, mix);
    // The rival may be through before the lie; but never is there more to notice than was told.
    assert!(noticed > 0 && noticed <= told, "{noticed} of {told}");
}

#[test]
fn what_is_over_must_stay_over() {
    for (lie, words) in [
        (Lie::KeptAfterConsume, "--mix consume=1,replay=4,issue=1"),
        (Lie::KeptAfterConsume, "--mix consume=1,miss=4,issue=1"),
        (Lie::KeptAfterRevoke, "--mix revoke=1,miss=4,issue=1"),
        (Lie::Immortal, "--mix resolve=1,miss=1 --ttl 50ms"),
    ] {
        check(lie, "resurrected", true, words);
    }
}

#[test]
fn a_connection_that_breaks_off_is_noticed() {
    check_each(Lie::HalfAnAnswer, "connection closed", false, "");
}

#[test]
fn garbage_is_noticed() {
    check_each(Lie::Garbage, "not the protocol", true, "");
}

#[test]
fn an_answer_nobody_asked_for_is_noticed() {
    check_each(Lie::Twice, "not the protocol", true, "");
}

#[test]
fn a_refusal_is_noticed_and_quoted() {
    check_each(Lie::Unavailable, "status 503", false, "");
}

#[test]
fn silence_is_noticed_at_the_time_limit() {
    check_each(Lie::Silence, "timeout", false, "--timeout 150ms");
}

/// The first look at what came finds nothing but the refusal.
#[test]
fn one_denial_that_passes_does_not_end_the_issuing_of_tokens() {
    let speed = Speed::Delay(Duration::from_millis(150));
    let fake = Fake::start(Manner { lie: Lie::FirstIssueDenied, speed, ..HONEST });
    let target = format!("run resolve -c 1 --target http://{}", fake.address);
    let mut command = command(&target);
    let (ended, report) = reported(
        command.args(["--population", "5", "--warm-up", "0s"]).args(["--duration", "500ms"]),
    );
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let denied = error(&report, "status 401");
    assert_eq!((denied.count, denied.while_issuing, denied.wrong), (1, 1, false));
    assert!(report.totals.requests > 0, "{}", ended.said());
}

#[test]
fn a_server_that_lets_nobody_in_is_given_up_with_its_reason() {
    let speed = Speed::Delay(Duration::from_millis(20));
    let fake = Fake::start(Manner { lie: Lie::AlwaysDenied, speed, ..HONEST });
    let target = format!("run resolve -c 1 --timeout 200ms --target http://{}", fake.address);
    let ended = run(command(&target).args(["--population", "10000000"]));
    ended.refused(&[
        "rejected every client for 600 ms",
        "wants a valid key (401)",
        "--key-file FILE",
    ]);
}
