//! A node that is cut off from all servers: it refuses changes, answers what it knows as long as it
//! may, and is back by itself. The others do not notice.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::cluster::servers::within;
use crate::cluster_serve::lab::{admin, await_known, await_ready};
use crate::raw::Response;
use crate::volume::tell;

use super::net::Cut;
use super::place::{Place, SERVERS, STALENESS, since_ms, token_in};

const PAYLOAD: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;
const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// What a node answers at once takes much less; what waits for the stream takes 10 s.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn p1_p2_node_cut_off_in_both_directions_is_back_by_itself() {
    node_is_cut_off("node cut off from all servers", Cut::Both);
}

#[test]
fn p1_p2_node_whose_packets_are_lost_is_back_by_itself() {
    node_is_cut_off("node whose packets are lost", Cut::Sent);
}

#[test]
fn p1_p2_node_that_receives_nothing_is_back_by_itself() {
    node_is_cut_off("node that receives nothing", Cut::Received);
}

fn node_is_cut_off(check: &str, cut: Cut) {
    let Some(place) = Place::begun(check) else { return };
    let [mut lone, mut other, mut third] = place.clients();
    let [known, kept, consumed] = [(); 3].map(|()| other.issued(PAYLOAD).token);
    [&known, &kept, &consumed].into_iter().for_each(|one| drop(await_known(&place.nodes[0], one)));
    let last_key = "in-flight";
    let (fresh, times) = thread::scope(|scope| {
        place.net.cut("a", &SERVERS, cut);
        let begin = Instant::now();
        // Its fate is unknown to the caller, who asks again below.
        let in_flight = scope.spawn(|| Client::of(&place.nodes[0]).issue_keyed(last_key, PAYLOAD));
        let (place, known) = (&place, &known);
        let fence = scope.spawn(move || reads_until_the_fence(place, known, begin));
        let no_quorum_ms = changes_are_refused(place, &mut lone, &kept, begin);
        // The others go on.
        let fresh = other.issued(PAYLOAD).token;
        assert_eq!(third.consume(&consumed).status, 200);
        assert_eq!(third.resolve(&fresh).status, 200);
        let others_ms = since_ms(begin);
        let stale_ms = fence.join().expect("the fence closes");
        let unsure = in_flight.join().expect("an answer");
        refused(&unsure, &["unknown", "no-quorum"]);
        assert_eq!(other.resolve(&fresh).status, 200);
        (fresh, [("no_quorum_ms", no_quorum_ms), ("others_ms", others_ms), ("stale_ms", stale_ms)])
    });
    place.net.heal();
    let begin = Instant::now();
    await_ready(&place.nodes[0]);
    let ready_ms = since_ms(begin);
    // At once, without another wait.
    assert_eq!(lone.resolve(&fresh).status, 200);
    assert_eq!(lone.resolve(&consumed).status, 404);
    assert_eq!(lone.consume(&consumed).status, 404);
    assert_eq!(lone.resolve(&known).status, 200);
    // What was refused did not happen.
    assert_eq!(third.consume(&kept).status, 200);
    assert_eq!(lone.consume(&kept).status, 404);
    // What was in flight happened once, or now.
    let repeated = [&mut other, &mut lone].map(|one| one.issue_keyed(last_key, PAYLOAD));
    assert!(matches!(repeated[0].status, 200 | 201), "{}", repeated[0].text());
    assert_eq!(repeated[1].status, 200, "{}", repeated[1].text());
    assert_eq!(token_in(&repeated[0].json()), token_in(&repeated[1].json()));
    place.assert_equal_chains();
    place.stop();
    let name = format!("cluster-cut-{cut:?}").to_lowercase();
    tell(&name, &[&times[..], &[("ready_ms", ready_ms)]].concat());
}

/// Waits until the node says that its changes do not land; then all of them are refused at once.
fn changes_are_refused(place: &Place, lone: &mut Client, kept: &str, begin: Instant) -> u64 {
    within("the node notices it", || match place.word(0) {
        word if ["no-quorum", "stale"].contains(&word.as_str()) => Ok(()),
        word => Err(word),
    });
    let no_quorum_ms = since_ms(begin);
    let at_once = |what: &str, asked: &mut dyn FnMut() -> Response| {
        let begin = Instant::now();
        let answer = asked();
        assert!(begin.elapsed() < AT_ONCE, "{what}: {:?}: {}", begin.elapsed(), answer.text());
        answer
    };
    refused(&at_once("issue", &mut || lone.issue(PAYLOAD)), &["no-quorum"]);
    refused(&at_once("consume", &mut || lone.consume(kept)), &["no-quorum"]);
    refused(&at_once("extend", &mut || lone.extend(kept, "1h")), &["no-quorum"]);
    refused(&at_once("revoke", &mut || lone.revoke(kept)), &["no-quorum"]);
    refused(&at_once("miss", &mut || lone.resolve(UNKNOWN)), &["no-quorum", "stale"]);
    assert_eq!(admin(&place.nodes[0], "/healthz").status, 200);
    no_quorum_ms
}

/// Resolves a known token until the node may not answer any more; when that was.
fn reads_until_the_fence(place: &Place, known: &str, begin: Instant) -> u64 {
    let mut client = Client::of(&place.nodes[0]);
    let mut hits = 0;
    within("the fence closes", || {
        let asked = begin.elapsed();
        let answer = client.resolve(known);
        if answer.status == 200 {
            // Its last message was proposed before the cut.
            assert!(asked <= STALENESS, "a hit {asked:?} after the cut");
            hits += 1;
            return Err("a hit".to_owned());
        }
        refused(&answer, &["stale"]);
        Ok(())
    });
    assert!(hits > 0, "known tokens are answered before the fence closes");
    since_ms(begin)
}

/// 503, with a reason.
fn refused(answer: &Response, reasons: &[&str]) {
    let said = answer.text();
    assert_eq!(answer.status, 503, "{said}");
    let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
    let reason = detail.split(':').next().unwrap_or_default();
    assert!(reasons.contains(&reason), "{reasons:?}: {said}");
}
