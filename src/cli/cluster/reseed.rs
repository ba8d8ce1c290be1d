//! `jeton cluster reseed`: a new stream for a cluster that has lost its own, from the log of a node.

use std::thread::sleep;
use std::time::Duration;

use clap::Args;

use super::check::{Reached, connect, patiently};
use super::failure::ClusterFailure;
use super::given::settings_of;
use super::init;
use crate::cli::out::{self, tell};
use crate::cli::progress::Shown;
use crate::cli::settings::{Given, ServeConfig};
use crate::clock::{Clock, SystemClock};
use crate::cluster::message::Sealer;
use crate::cluster::node::{Connection, marker};
use crate::cluster::reseed::{Found, Reseeding};
use crate::cluster::stream::{Hint, StreamError};
use crate::engine::replicated::Sender;
use crate::engine::{OpenError, StoppedNode, read_secret, stopped_node};
use crate::model::cluster::{BootNonce, Epoch, NodeId};

/// Name under which the first message is published.
const PUBLISHER: &str = "reseed";
/// Attempts to end the old stream, and the pause between two of them.
const SEAL_ATTEMPTS: usize = 20;
const SEAL_PAUSE: Duration = Duration::from_millis(250);

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
    /// The new stream is there already.
    Nothing,
    /// There is no stream in the way.
    Make,
    /// The stream that is there ends, and is deleted.
    Replace,
}

pub(super) fn run(args: &ReseedArgs) -> Result<(), ClusterFailure> {
    let creation = init::creation(&args.stream_copies, &args.stream_max_bytes)?;
    let (config, cluster) = settings_of(&args.given)?;
    let node = stopped(&config)?;
    let Some(reseeding) = Reseeding::after(&node.replicated) else {
        return Err(ClusterFailure::Refused(
            "the log of this node is empty: take another node".to_owned(),
        ));
    };
    let Some(file) = &config.engine.secret_file else {
        return Err(ClusterFailure::Mistake("--secret-file is needed".to_owned()));
    };
    let mut sealer = Sealer::new(&read_secret(file)?);
    let message = reseeding.message(&mut sealer, sender()?, SystemClock::new().wall());
    let message = message.map_err(|error| ClusterFailure::Refused(error.to_string()))?;
    let mut reached = connect(&cluster, PUBLISHER)?;
    let found = look(&reseeding, &reached, &mut sealer)?;
    let plan = plan(args, &cluster.name, &reseeding, found)?;
    if plan == Plan::Replace {
        end(&reached, &message)?;
        // The connection has seen the old stream, and would take the new one for a loss.
        drop(reached);
        reached = connect(&cluster, PUBLISHER)?;
    }
    if plan != Plan::Nothing {
        patiently(|| reached.nats().create(creation))?;
        init::promise(&reached, cluster.accepts_unverified_sync)?;
        init::store_first(&reached, &message)?;
    }
    drop(node);
    let (position, chain) = (reseeding.ended.position, reseeding.ended.chain);
    out::print_line(format!(
        "cluster {} goes on in era {}, from position {position} with chain {chain}: start this \
         node, and then each other one whose log ends there (jeton verify prints it); a node whose \
         log ends elsewhere must join anew",
        cluster.name,
        reseeding.era().0,
    ))?;
    Ok(())
}

/// The node whose data directory is configured. It cannot start meanwhile.
fn stopped(config: &ServeConfig) -> Result<StoppedNode, ClusterFailure> {
    if let Some(dir) = &config.engine.data_dir
        && let Some(marker) = marker(dir)?.filter(|marker| marker.is_spoiled)
    {
        let text = format!("the log of this node cannot be continued: {}", marker.reason);
        return Err(ClusterFailure::Refused(text));
    }
    let shown = Shown::new("reading the log");
    stopped_node(&config.engine, &shown).map_err(|error| match error {
        OpenError::NoLog { .. } | OpenError::NoDirectory | OpenError::OfSingle => {
            ClusterFailure::Mistake(error.to_string())
        }
        error => ClusterFailure::Refused(error.to_string()),
    })
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
        Some(Found::Done) => Ok(Plan::Nothing),
        Some(Found::Old { .. }) if agrees(&args.give_up_stream) => Ok(Plan::Replace),
        None | Some(Found::Empty) if agrees(&args.old_cluster_is_stopped) => Ok(Plan::Make),
        Some(Found::Old { last, is_followable: true }) => refused(format!(
            "the stream is there up to message {last}, and this node can follow it: start the \
             node, or give up what it has not landed with --give-up-stream {name}"
        )),
        Some(Found::Old { last, is_followable: false }) => refused(format!(
            "a stream of the cluster is there up to message {last}, which this node cannot follow: \
             if no other node can, give it up with --give-up-stream {name}"
        )),
        Some(Found::Later(from)) => refused(match from {
            Some(from) => {
                format!("the cluster already goes on in a later era, from position {from}")
            }
            None => "the cluster already goes on in a later era".to_owned(),
        }),
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
    for _ in 0..SEAL_ATTEMPTS {
        sleep(SEAL_PAUSE);
        match stream.answer() {
            Some(Ok(_)) => {
                last = None;
                break;
            }
            Some(Err(hint)) => last = stream.propose(message).err().or(Some(hint)),
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
