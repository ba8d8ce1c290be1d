//! `jeton cluster reseed`: a new stream for a cluster that has lost its own, from the log of a node.

use std::thread::sleep;
use std::time::Duration;

use clap::Args;

use super::check::{Reached, connect, patiently};
use super::failure::ClusterFailure;
use super::given::{secret_of, settings_of};
use super::init;
use crate::cli::out::{self, tell};
use crate::cli::progress::Shown;
use crate::cli::settings::{Given, ServeConfig};
use crate::clock::{Clock, SystemClock};
use crate::cluster::message::Sealer;
use crate::cluster::node::{Connection, Marker, marker};
use crate::cluster::reseed::{Found, Reseeding};
use crate::cluster::stream::{Hint, StreamError};
use crate::engine::replicated::Sender;
use crate::engine::{OpenError, StoppedNode, stopped_node};
use crate::model::cluster::{BootNonce, Epoch, Era, NodeId};

/// Name under which the first message is published.
const PUBLISHER: &str = "reseed";
/// Attempts to end the old stream, and the pause between two of them.
const SEAL_ATTEMPTS: usize = 20;
const SEAL_PAUSE: Duration = Duration::from_millis(250);
/// Pauses without an answer after which the last message is proposed again.
const SEAL_AGAIN: usize = 4;

/// `jeton cluster reseed`
#[derive(Args, Debug)]
pub(in crate::cli) struct ReseedArgs {
    /// State that no node follows the old stream any more, wherever its servers are: give the name
    /// of the cluster
    #[arg(long, value_name = "NAME")]
    old_cluster_is_stopped: Option<String>,

    /// End and delete the stream that is there, with all changes that this node has not landed:
    /// give the name of the cluster
    #[arg(long, value_name = "NAME")]
    give_up_stream: Option<String>,

    /// NATS servers that keep a copy of the stream, an odd number
    #[arg(long, default_value = "3", value_name = "N")]
    stream_copies: String,

    /// Bytes that the stream may hold on each server; a full stream takes no changes
    #[arg(long, default_value = "64GiB", value_name = "SIZE")]
    stream_max_bytes: String,

    #[command(flatten)]
    given: Given,
}

/// What is to be done with the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// The new stream is there already, and this is its era.
    Nothing(Era),
    /// There is no stream in the way.
    Make,
    /// The stream that is there ends, and is deleted; the next one is of a later era than this.
    Replace(Era),
}

pub(super) fn run(args: &ReseedArgs) -> Result<(), ClusterFailure> {
    let creation = init::creation(&args.stream_copies, &args.stream_max_bytes)?;
    let (config, cluster) = settings_of(&args.given)?;
    let (node, marker) = stopped(&config)?;
    let Some(mut reseeding) = Reseeding::after(&node.replicated) else {
        return Err(ClusterFailure::Refused(
            "the log of this node is empty: take another node".to_owned(),
        ));
    };
    let mut sealer = Sealer::new(&secret_of(&config)?);
    let mut reached = connect(&cluster, PUBLISHER)?;
    let found = look(&reseeding, &reached, &mut sealer)?;
    let plan = plan(args, &cluster.name, &reseeding, found)?;
    match plan {
        Plan::Nothing(era) => reseeding.era = era,
        Plan::Make => {}
        Plan::Replace(era) => reseeding = reseeding.beyond(era),
    }
    let message = reseeding.message(&mut sealer, sender()?, SystemClock::new().wall());
    let message = message.map_err(|error| ClusterFailure::Refused(error.to_string()))?;
    if matches!(plan, Plan::Replace(_)) {
        end(&reached, &message)?;
        // The connection has seen the old stream, and would take the new one for a loss.
        drop(reached);
        reached = connect(&cluster, PUBLISHER)?;
    }
    if !matches!(plan, Plan::Nothing(_)) {
        patiently(|| reached.nats().create(creation))?;
        init::promise(&reached, cluster.accepts_unverified_sync)?;
        init::store_first(&reached, &message)?;
    }
    drop(node);
    let (position, chain) = (reseeding.ended.position, reseeding.ended.chain);
    let first = first_step(marker);
    out::print_line(format!(
        "cluster {} goes on in era {}, from position {position} with chain {chain}: {first}, and \
         then each other one whose log ends there (jeton verify prints it); a node whose log ends \
         elsewhere must join anew",
        cluster.name, reseeding.era.0,
    ))?;
    Ok(())
}

/// The node whose data directory is configured, and its marker. It cannot start meanwhile.
fn stopped(config: &ServeConfig) -> Result<(StoppedNode, Option<Marker>), ClusterFailure> {
    let marker = match &config.engine.data_dir {
        Some(dir) => marker(dir)?,
        None => None,
    };
    if let Some(marker) = marker.as_ref().filter(|marker| marker.is_spoiled) {
        let text = format!("the log of this node cannot be continued: {}", marker.reason);
        return Err(ClusterFailure::Refused(text));
    }
    let shown = Shown::new("reading the log");
    let node = stopped_node(&config.engine, &shown).map_err(|error| match error {
        OpenError::NoLog { .. } | OpenError::NoDirectory | OpenError::OfSingle => {
            ClusterFailure::Mistake(error.to_string())
        }
        error => ClusterFailure::Refused(error.to_string()),
    })?;
    Ok((node, marker))
}

/// What is to be done with the node first. With its marker it would not start.
fn first_step(marker: Option<Marker>) -> String {
    marker.map_or_else(
        || "start this node".to_owned(),
        |Marker { reason, .. }| {
            format!("run jeton cluster rejoin on this directory ({reason}), start this node")
        },
    )
}

/// What stream is there, if there is one.
fn look(
    reseeding: &Reseeding,
    reached: &Reached,
    sealer: &mut Sealer,
) -> Result<Option<Found>, ClusterFailure> {
    let mut stream = reached.stream();
    patiently(|| match reseeding.look_at(&mut *stream, sealer) {
        Err(StreamError::Missing(_)) => Ok(None),
        found => found.map(Some),
    })
}

/// What is to be done, if that is what the caller has agreed to.
fn plan(
    args: &ReseedArgs,
    name: &str,
    reseeding: &Reseeding,
    found: Option<Found>,
) -> Result<Plan, ClusterFailure> {
    let position = reseeding.ended.position;
    let agrees = |given: &Option<String>| given.as_deref() == Some(name);
    let refused = |why: String| {
        Err(ClusterFailure::Refused(format!(
            "{why}; this node is at {position}; nothing was changed"
        )))
    };
    match found {
        Some(Found::Done(era)) => Ok(Plan::Nothing(era)),
        Some(Found::Old { .. }) if agrees(&args.give_up_stream) => Ok(Plan::Replace(position.era)),
        Some(Found::Later { era, .. }) if agrees(&args.give_up_stream) => Ok(Plan::Replace(era)),
        None | Some(Found::Empty) if agrees(&args.old_cluster_is_stopped) => Ok(Plan::Make),
        Some(Found::Old { last, is_followable: true }) => refused(format!(
            "the stream is there up to message {last}, and this node can follow it: start the \
             node, or give up what it has not landed with --give-up-stream {name}"
        )),
        Some(Found::Old { last, is_followable: false }) => refused(format!(
            "a stream of the cluster is there up to message {last}, which this node cannot follow: \
             if no other node can, give it up with --give-up-stream {name}"
        )),
        Some(Found::Later { era, from }) => {
            let from = from.map(|from| format!(", from position {from}")).unwrap_or_default();
            refused(format!(
                "the cluster already goes on in era {}{from}: give that up, with every change of \
                 it, with --give-up-stream {name}",
                era.0
            ))
        }
        Some(Found::Foreign) => {
            refused("the stream there is of another cluster, or of another secret".to_owned())
        }
        None | Some(Found::Empty) => refused(format!(
            "the old stream is not on these servers. If it is still elsewhere, nodes that follow \
             it could consume a token again: stop all of them and its servers, and say so with \
             --old-cluster-is-stopped {name}"
        )),
    }
}

/// Ends the old stream: the message stops each node that follows it, and then it is deleted.
fn end(reached: &Reached, message: &[u8]) -> Result<(), ClusterFailure> {
    let mut stream = reached.stream();
    let mut last = stream.propose(message).err();
    for attempt in 1..=SEAL_ATTEMPTS {
        sleep(SEAL_PAUSE);
        match stream.answer() {
            Some(Ok(_)) => {
                last = None;
                break;
            }
            Some(Err(hint)) => last = stream.propose(message).err().or(Some(hint)),
            None if attempt % SEAL_AGAIN == 0 => {
                last = stream.propose(message).err().or(Some(Hint::NoLeader));
            }
            None => last = last.or(Some(Hint::NoLeader)),
        }
    }
    if let Some(hint) = last {
        tell!("warning: the old stream took no last message ({hint}); it is deleted without one");
    }
    patiently(|| match reached.nats().delete() {
        Err(StreamError::Missing(_)) => Ok(()),
        done => done,
    })
}

fn sender() -> Result<Sender, ClusterFailure> {
    let (mut nonce, mut node) = ([0; 16], [0; 8]);
    let no_random = |_| ClusterFailure::Refused("no random bytes".to_owned());
    getrandom::fill(&mut nonce).map_err(no_random)?;
    getrandom::fill(&mut node).map_err(no_random)?;
    let node = NodeId(u64::from_le_bytes(node).max(1));
    Ok(Sender { node, epoch: Epoch(1), nonce: BootNonce(nonce) })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::model::cluster::{Chain, ClusterId, MessageHash, Position};
    use crate::model::record::replication::Ended;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        args: ReseedArgs,
    }

    fn planned(flags: &[&str], found: Option<Found>) -> Result<Plan, ClusterFailure> {
        let call = Call::try_parse_from([&["reseed"], flags].concat()).unwrap();
        let position = Position { era: Era(1), seq: 7 };
        let ended = Ended { position, chain: Chain::default() };
        let reseeding = Reseeding::at(ClusterId([1; 16]), ended, MessageHash([2; 16]));
        plan(&call.args, "shop", &reseeding, found)
    }

    #[test]
    fn a_stream_is_given_up_only_for_who_says_so_and_a_later_era_too() {
        let gives_up = ["--give-up-stream", "shop"];
        let later = || Some(Found::Later { era: Era(4), from: None });
        let old = || Some(Found::Old { last: 9, is_followable: true });
        assert!(matches!(planned(&gives_up, later()), Ok(Plan::Replace(Era(4)))));
        assert!(matches!(planned(&gives_up, old()), Ok(Plan::Replace(Era(1)))));
        let other = ["--give-up-stream", "other"];
        for flags in [&[][..], &other, &["--old-cluster-is-stopped", "shop"]] {
            for found in [later(), old()] {
                let refused = planned(flags, found).unwrap_err().to_string();
                assert!(refused.contains("--give-up-stream shop"), "{refused}");
            }
        }
        assert!(planned(&gives_up, Some(Found::Foreign)).is_err());
        assert!(planned(&gives_up, Some(Found::Empty)).is_err());
        assert!(matches!(planned(&[], Some(Found::Done(Era(5)))), Ok(Plan::Nothing(Era(5)))));
    }

    #[test]
    fn who_continues_a_marked_log_is_told_to_remove_the_marker_first() {
        assert_eq!(first_step(None), "start this node");
        let (is_spoiled, reason) = (false, "it was taken out".to_owned());
        let first = first_step(Some(Marker { is_spoiled, reason }));
        assert!(
            first.starts_with("run jeton cluster rejoin") && first.contains("it was taken out")
        );
    }
}
