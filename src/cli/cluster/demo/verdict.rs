//! The end of the demo: what of everything acknowledged is there on each node, and whether the
//! nodes came to the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::callers::{Tally, unexpected};
use super::failure::DemoFailure;
use super::stage::{COUNT, NODES, Stage, slow};
use super::wires::{Call, Line};
use crate::clock::Clock;

/// Tokens in one request.
const BATCH_LEN: usize = 500;
/// Interval between two looks at the positions.
const LOOK: Duration = Duration::from_millis(20);

/// What a node is, as `GET /cluster` says.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
struct Place {
    #[serde(default)]
    position: String,
    #[serde(default)]
    chain: String,
    #[serde(default)]
    outcomes: String,
}

/// The chains of the nodes at the position that was found for all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chains {
    position: String,
    /// Messages and outcomes of each node.
    of: Vec<(String, String)>,
}

/// The result of the demo.
#[derive(Debug)]
pub(super) struct Verdict {
    acknowledged: u64,
    lost: u64,
    twice: u64,
    contested: u64,
    silence: Duration,
    chains: Chains,
}

impl Verdict {
    /// Looks up every token of the callers on every node, and compares the nodes.
    pub(super) async fn reach(stage: &mut Stage, tally: &Tally) -> Result<Self, DemoFailure> {
        let chains = chains(stage).await?;
        let mut missing = vec![false; tally.kept.borrow().len()];
        let mut present = vec![false; tally.consumed.borrow().len()];
        for n in 0..COUNT {
            look_up_kept(stage, n, tally, &mut missing).await?;
            look_up_consumed(stage, n, tally, &mut present).await?;
        }
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as u64;
        Ok(Self {
            acknowledged: tally.acknowledged.get(),
            lost: tally.lost.get() + count(&missing) + count(&present),
            twice: tally.twice.get(),
            contested: tally.contested.get(),
            silence: tally.silence.get(),
            chains,
        })
    }

    /// Whether nothing is lost, nothing was consumed twice, and all nodes are alike.
    pub(super) fn is_right(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.chains.are_equal()
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{what:<16} {value}");
        };
        line("acknowledged", &format_args!("{} changes", self.acknowledged));
        line("lost", &self.lost);
        let rivals = format_args!("{} ({} tokens had rivals)", self.twice, self.contested);
        line("consumed twice", &rivals);
        line("longest silence", &format_args!("{:.1} s", self.silence.as_secs_f64()));
        let Chains { position, of } = &self.chains;
        line("position", &format_args!("{position} on all nodes"));
        match self.chains.are_equal() {
            true => {
                line("messages", &format_args!("chain {} on all nodes", of[0].0));
                line("outcomes", &format_args!("chain {} on all nodes", of[0].1));
            }
            false => {
                for (name, (messages, outcomes)) in NODES.iter().zip(of) {
                    let chains = format_args!("messages {messages}, outcomes {outcomes}");
                    line(&format!("node {name}"), &chains);
                }
            }
        }
        text
    }
}

impl Chains {
    fn are_equal(&self) -> bool {
        self.of.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// Positions that nodes were seen at, with their chains there.
#[derive(Default)]
struct Sightings([BTreeMap<String, (String, String)>; COUNT]);

impl Sightings {
    fn add(&mut self, n: usize, place: Place) {
        if !place.position.is_empty() {
            self.0[n].insert(place.position, (place.chain, place.outcomes));
        }
    }

    /// A position at which every node was seen.
    fn common(&self) -> Option<Chains> {
        let [first, others @ ..] = &self.0;
        let is_common = |position: &&String| others.iter().all(|one| one.contains_key(*position));
        let position = first.keys().find(is_common)?.clone();
        let of = self.0.iter().filter_map(|one| one.get(&position).cloned()).collect();
        Some(Chains { position, of })
    }
}

/// Waits until all nodes were seen at one position. Each of them reports once a second, so their
/// positions go on.
async fn chains(stage: &mut Stage) -> Result<Chains, DemoFailure> {
    let begin = stage.clock.monotonic();
    let mut lines = [0, 1, 2].map(|n| Line::to(&stage.admin(n)));
    let mut seen = Sightings::default();
    let call = Call::get("/cluster");
    loop {
        for (n, line) in lines.iter_mut().enumerate() {
            if let Ok(answer) = line.send(&call).await {
                let place = serde_json::from_slice(&answer.body);
                seen.add(n, place.map_err(|_| unexpected(&call, &answer))?);
            }
        }
        if let Some(chains) = seen.common() {
            return Ok(chains);
        }
        stage.check_running()?;
        if !stage.within(begin) {
            let last = seen.0.each_ref().map(|one| one.keys().next_back().cloned());
            return Err(slow("an equal position of all nodes", format!("{last:?}")));
        }
        sleep(LOOK).await;
    }
}

/// Marks the tokens that node `n` does not know, or knows with another payload.
async fn look_up_kept(
    stage: &Stage,
    n: usize,
    tally: &Tally,
    missing: &mut [bool],
) -> Result<(), DemoFailure> {
    let kept = tally.kept.borrow().clone();
    for (batch, missing) in kept.chunks(BATCH_LEN).zip(missing.chunks_mut(BATCH_LEN)) {
        let tokens: Vec<&String> = batch.iter().map(|(token, _)| token).collect();
        let found = look_up(stage, n, &tokens).await?;
        for (((_, payload), found), missing) in batch.iter().zip(found).zip(missing) {
            *missing |= found != *payload;
        }
    }
    Ok(())
}

/// Marks the tokens that node `n` still has though they were consumed.
async fn look_up_consumed(
    stage: &Stage,
    n: usize,
    tally: &Tally,
    present: &mut [bool],
) -> Result<(), DemoFailure> {
    let consumed = tally.consumed.borrow().clone();
    for (batch, present) in consumed.chunks(BATCH_LEN).zip(present.chunks_mut(BATCH_LEN)) {
        let found = look_up(stage, n, &batch.iter().collect::<Vec<_>>()).await?;
        for (found, present) in found.into_iter().zip(present) {
            *present |= found != "null";
        }
    }
    Ok(())
}

/// The payloads of tokens on node `n`, as they are; `null` for an unknown one.
async fn look_up(stage: &Stage, n: usize, tokens: &[&String]) -> Result<Vec<String>, DemoFailure> {
    let call = Call::post("/v1/resolve", Some(json!({ "tokens": tokens }).to_string()));
    let begin = stage.clock.monotonic();
    let mut line = Line::to(&stage.data(n));
    let answer = loop {
        match line.send(&call).await {
            Ok(answer) if !answer.status.is_server_error() => break answer,
            Ok(answer) if !stage.within(begin) => return Err(unexpected(&call, &answer)),
            Err(error) if !stage.within(begin) => {
                return Err(slow(&format!("an answer of node {}", NODES[n]), error.to_string()));
            }
            _ => sleep(LOOK).await,
        }
    };
    let found = serde_json::from_slice::<Vec<Box<serde_json::value::RawValue>>>(&answer.body);
    match found {
        Ok(found) if found.len() == tokens.len() => {
            Ok(found.iter().map(|one| one.get().to_owned()).collect())
        }
        _ => Err(unexpected(&call, &answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lost: u64, twice: u64, chains: [(&str, &str); COUNT]) -> Verdict {
        let of = chains.map(|(one, two)| (one.to_owned(), two.to_owned())).to_vec();
        let chains = Chains { position: "1.7".to_owned(), of };
        let (acknowledged, contested, silence) = (9, 3, Duration::from_millis(5_140));
        Verdict { acknowledged, lost, twice, contested, silence, chains }
    }

    #[test]
    fn p1_p2_only_what_is_whole_single_and_equal_everywhere_is_right() {
        let equal = [("m", "o"); COUNT];
        let right = verdict(0, 0, equal);
        assert!(right.is_right());
        let text = right.text();
        for part in ["9 changes\n", "5.1 s\n", "1.7 on all nodes\n", "chain m on all nodes\n"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!verdict(1, 0, equal).is_right());
        assert!(!verdict(0, 1, equal).is_right());
        for wrong in [("x", "o"), ("m", "x")] {
            let wrong = verdict(0, 0, [equal[0], equal[1], wrong]);
            assert!(!wrong.is_right());
            assert!(wrong.text().contains("node c"), "{}", wrong.text());
        }
    }

    #[test]
    fn nodes_are_compared_at_a_position_that_all_were_seen_at() {
        let place = |position: &str, chain: &str| Place {
            position: position.to_owned(),
            chain: chain.to_owned(),
            outcomes: "o".to_owned(),
        };
        let mut seen = Sightings::default();
        for (n, position, chain) in [
            (0, "1.4", "four"),
            (1, "1.5", "five"),
            (2, "1.4", "four"),
            (0, "1.5", "other"),
            (2, "", ""),
        ] {
            seen.add(n, place(position, chain));
            assert_eq!(seen.common(), None);
        }
        seen.add(2, place("1.5", "five"));
        let found = seen.common().unwrap();
        assert_eq!(found.position, "1.5");
        assert!(!found.are_equal(), "node a had another chain there");
    }
}
