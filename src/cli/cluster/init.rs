//! `jeton cluster init`: makes the stream of a cluster and stores its first message.

use std::time::Duration;

use clap::Args;

use super::check::{PATIENCE, Reached, connect, patiently, repeat_for};
use super::failure::ClusterFailure;
use super::given::{secret_of, settings_of};
use crate::cli::out::{self, tell};
use crate::cli::settings::Given;
use crate::clock::{Clock, SystemClock};
use crate::cluster::message::Sealer;
use crate::cluster::nats::Creation;
use crate::cluster::node::Connection as _;
use crate::cluster::stream::{Next, Stream, StreamError};
use crate::engine::clustered::Proposal;
use crate::engine::replicated::Sender;
use crate::model::cluster::{BootNonce, ClusterId, Epoch, NodeId};
use crate::model::text::{parse_size, size_text};
use crate::model::token::Secret;

/// Name under which the first message is published.
const PUBLISHER: &str = "init";
/// Time for which the first message is looked for after an attempt.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// `jeton cluster init`
#[derive(Args, Debug)]
pub(in crate::cli) struct InitArgs {
    /// NATS servers that keep a copy of the stream, an odd number
    #[arg(long, default_value = "3", value_name = "N")]
    stream_copies: String,

    /// Bytes that the stream may hold on each server; a full stream takes no changes
    #[arg(long, default_value = "64GiB", value_name = "SIZE")]
    stream_max_bytes: String,

    #[command(flatten)]
    given: Given,
}

impl InitArgs {
    fn creation(&self) -> Result<Creation, ClusterFailure> {
        creation(&self.stream_copies, &self.stream_max_bytes)
    }
}

/// What is chosen for a stream.
pub(super) fn creation(copies: &str, bytes_max: &str) -> Result<Creation, ClusterFailure> {
    let number = copies.trim().parse().ok();
    let Some(copies) = number.filter(|copies| [3, 5].contains(copies)) else {
        let text = format!("--stream-copies must be 3 or 5, not {copies:?}");
        return Err(ClusterFailure::Mistake(text));
    };
    let Ok(bytes_max) = parse_size(bytes_max) else {
        let text = format!("--stream-max-bytes must be a size such as 64GiB, not {bytes_max:?}");
        return Err(ClusterFailure::Mistake(text));
    };
    Ok(Creation { copies, bytes_max })
}

pub(super) fn run(args: &InitArgs) -> Result<(), ClusterFailure> {
    let creation = args.creation()?;
    let (config, cluster) = settings_of(&args.given)?;
    let secret = secret_of(&config)?;
    let reached = connect(&cluster, PUBLISHER)?;
    patiently(|| reached.nats().create(creation))?;
    promise(&reached, cluster.accepts_unverified_sync)?;
    let (id, message) = genesis(&secret)?;
    store_first(&reached, &message)?;
    let Creation { copies, bytes_max } = creation;
    out::print_line(format!(
        "cluster {} begins: id {}, {copies} copies, at most {} on each server; start each node \
         with jeton serve and the same --cluster, --cluster-name and secret",
        cluster.name,
        const_hex::encode(id.0),
        size_text(bytes_max),
    ))?;
    Ok(())
}

/// The servers must promise enough before the first message, which makes the stream that of a
/// cluster.
pub(super) fn promise(reached: &Reached, accepts_unverified: bool) -> Result<(), ClusterFailure> {
    let mut stream: Box<dyn Stream> = Box::new(reached.nats().clone());
    let promises = patiently(|| stream.promises())?;
    let mut mistakes: Vec<String> = promises.mistakes.iter().map(ToString::to_string).collect();
    match accepts_unverified {
        true => promises.unverified.iter().for_each(|text| tell!("warning: {text}")),
        false => mistakes.extend(promises.unverified),
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    mistakes.push("the cluster has not begun: correct these, and run init again".to_owned());
    Err(ClusterFailure::Wrong(mistakes))
}

/// The first message of a cluster.
fn genesis(secret: &Secret) -> Result<(ClusterId, Vec<u8>), ClusterFailure> {
    let mut random = [0; 40];
    let no_random = |_| ClusterFailure::Refused("no random bytes".to_owned());
    getrandom::fill(&mut random).map_err(no_random)?;
    let (mut id, mut nonce, mut node) = ([0; 16], [0; 16], [0; 8]);
    id.copy_from_slice(&random[..16]);
    nonce.copy_from_slice(&random[16..32]);
    node.copy_from_slice(&random[32..]);
    let sender = Sender {
        node: NodeId(u64::from_le_bytes(node).max(1)),
        epoch: Epoch(1),
        nonce: BootNonce(nonce),
    };
    let proposal = Proposal::genesis(ClusterId(id), sender, SystemClock::new().wall());
    let sealed = Sealer::new(secret).seal(&proposal);
    let sealed = sealed.map_err(|error| ClusterFailure::Refused(error.to_string()))?;
    Ok((ClusterId(id), sealed))
}

/// Stores the first message of a stream.
pub(super) fn store_first(reached: &Reached, message: &[u8]) -> Result<(), ClusterFailure> {
    let first = &mut || reached.nats().store_first(message).map(drop);
    store(PATIENCE, first, &mut *reached.stream(), message)
}

/// Stores the first message. An attempt without an answer may have stored it: whatever was said, the
/// first message of the stream decides.
fn store(
    patience: Duration,
    first: &mut dyn FnMut() -> Result<(), StreamError>,
    stream: &mut dyn Stream,
    message: &[u8],
) -> Result<(), ClusterFailure> {
    let mut refused = None;
    let stored = repeat_for(patience, || {
        let Err(error) = first() else { return Ok(()) };
        refused = match stream.next(1, LOOK_FOR) {
            Ok(first) if first.bytes == message => return Ok(()),
            Ok(_) | Err(Next::Trimmed { .. }) => Some(
                "the stream has had messages already: its cluster has begun; nothing was changed"
                    .to_owned(),
            ),
            Err(Next::Lost(loss)) => Some(format!(
                "the stream was changed while the first message was stored ({loss}): run jeton \
                 cluster check, then init again"
            )),
            Err(Next::Quiet) => return Err(error),
        };
        Ok(())
    });
    match refused {
        Some(why) => Err(ClusterFailure::Refused(why)),
        None => stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::UnixMillis;
    use crate::testkit::stream::Simulated;

    const SHORT: Duration = Duration::from_millis(300);

    fn stream() -> Simulated {
        Simulated::new(1, UnixMillis(1_700_000_000_000))
    }

    #[test]
    fn p8_a_stream_that_never_answers_is_not_waited_for_without_end() {
        let (mut client, mut asked) = (stream().client(), 0);
        let never = &mut || {
            asked += 1;
            Err(StreamError::TimedOut)
        };
        let failure = store(SHORT, never, &mut client, b"first").unwrap_err();
        assert!(matches!(failure, ClusterFailure::Unreachable(_)), "{failure}");
        assert!((2..8).contains(&asked), "{asked} attempts");
    }

    #[test]
    fn what_the_stream_has_as_its_first_message_decides() {
        let stream = stream();
        stream.client().propose(b"first").unwrap();
        stream.advance(5_000);
        let lost_answer = &mut || Err(StreamError::TimedOut);
        assert!(store(SHORT, lost_answer, &mut stream.client(), b"first").is_ok());
        let failure = store(SHORT, lost_answer, &mut stream.client(), b"another").unwrap_err();
        assert!(failure.to_string().contains("its cluster has begun"), "{failure}");
    }

    #[test]
    fn a_stream_that_is_lost_meanwhile_is_a_refusal() {
        let stream = stream();
        let mut client = stream.client();
        assert_eq!(client.next(1, SHORT), Err(Next::Quiet));
        stream.remake();
        let failure = store(SHORT, &mut || Err(StreamError::TimedOut), &mut client, b"first");
        let failure = failure.unwrap_err();
        assert!(matches!(failure, ClusterFailure::Refused(_)), "{failure}");
        assert!(failure.to_string().contains("the stream was changed"), "{failure}");
    }
}
