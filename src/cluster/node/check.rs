//! The checks before a node follows a stream: that it promises enough, and that it is the stream of
//! this cluster, with this secret. All mistakes are reported at once.

use std::time::Duration;

use crate::cluster::message::{Sealer, UnknownFormat};
use crate::cluster::stream::{Bounds, Next, Promises, Server, Stream, StreamError};
use crate::engine::replicated::{MessageHead, MessageKind};
use crate::model::cluster::ClusterId;

/// The longest message of a node, in bytes: a batch of the longest payload, with its head.
pub const MESSAGE_LEN_MAX: usize = 2 << 20;
/// Messages that are read to find one that opens with the secret.
const SAMPLES: u64 = 16;
/// Patience for one of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stream that a node may follow.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its extent.
    pub bounds: Bounds,
    /// Its settings and servers.
    pub promises: Promises,
    /// The cluster; `None` if all messages that would name it are gone.
    pub cluster: Option<ClusterId>,
    /// What should be corrected, but does not prevent the start.
    pub warnings: Vec<String>,
}

/// Why a stream cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It did not answer; the same check may succeed later.
    #[error("{0}")]
    Unreachable(StreamError),
    /// All mistakes, each as a sentence.
    #[error("{}", .0.join("; "))]
    Mistaken(Vec<String>),
}

impl From<StreamError> for CheckError {
    fn from(error: StreamError) -> Self {
        Self::Unreachable(error)
    }
}

/// Checks the stream, before a node follows it.
///
/// # Errors
/// It does not answer, or has mistakes.
pub fn check(
    stream: &mut dyn Stream,
    sealer: &mut Sealer,
    accepts_unverified_sync: bool,
) -> Result<Checked, CheckError> {
    let bounds = stream.bounds()?;
    let promises = stream.promises()?;
    let mut mistakes: Vec<String> = promises.mistakes.iter().map(ToString::to_string).collect();
    let mut warnings = promises.unverified.clone();
    match syncs(&promises) {
        Syncs::Verified => {}
        Syncs::Unverified(which) if accepts_unverified_sync => warnings.push(format!(
            "it is not known whether {which} sync each message (sync_interval: always): a power \
             cut of all can lose the stream"
        )),
        Syncs::Unverified(which) => mistakes.push(format!(
            "it is not known whether {which} sync each message (sync_interval: always): give \
             their monitor listeners with --cluster-monitor, or --cluster-accept-unverified-sync"
        )),
    }
    let cluster = match identify(stream, sealer, bounds)? {
        Identified::Ours(cluster) => Some(cluster),
        Identified::Trimmed => None,
        Identified::Mistaken(mistake) => {
            mistakes.push(mistake);
            None
        }
    };
    match mistakes.is_empty() {
        true => Ok(Checked { bounds, promises, cluster, warnings }),
        false => Err(CheckError::Mistaken(mistakes)),
    }
}

/// Whether enough servers are known to sync each message.
enum Syncs {
    /// A majority of the copies.
    Verified,
    /// These, as far as they are named.
    Unverified(String),
}

/// Whether a majority of the copies is known to sync each message. A server that is known not to is
/// a mistake of its own.
pub(super) fn is_sync_verified(promises: &Promises) -> bool {
    matches!(syncs(promises), Syncs::Verified)
}

fn syncs(promises: &Promises) -> Syncs {
    let copies: Vec<&Server> = promises.servers.iter().filter(|server| server.has_copy).collect();
    let verified = copies.iter().filter(|server| server.syncs_always == Some(true)).count();
    if verified * 2 > promises.copies.max(copies.len()) {
        return Syncs::Verified;
    }
    // A server that does not sync is a mistake of its own.
    if copies.iter().any(|server| server.syncs_always == Some(false)) {
        return Syncs::Verified;
    }
    let unknown = copies.iter().filter(|server| server.syncs_always.is_none());
    let names: Vec<&str> = unknown.map(|server| server.name.as_str()).collect();
    match names.is_empty() {
        true => Syncs::Unverified("the servers".to_owned()),
        false => Syncs::Unverified(format!("the servers {}", names.join(", "))),
    }
}

enum Identified {
    Ours(ClusterId),
    /// The messages that are left do not say, because none of them opens, or there is none.
    Trimmed,
    Mistaken(String),
}

/// Which cluster the stream belongs to, by its first messages.
fn identify(
    stream: &mut dyn Stream,
    sealer: &mut Sealer,
    bounds: Bounds,
) -> Result<Identified, CheckError> {
    if bounds.last < bounds.first {
        return Ok(match bounds.first {
            1 => {
                Identified::Mistaken("the stream has no message: run jeton cluster init".to_owned())
            }
            _ => Identified::Trimmed,
        });
    }
    let last = bounds.last.min(bounds.first + SAMPLES - 1);
    for seq in bounds.first..=last {
        let message = match stream.next(seq, PATIENCE) {
            Ok(message) => message,
            Err(Next::Quiet | Next::Trimmed { .. }) => return Err(StreamError::TimedOut.into()),
            Err(Next::Lost(loss)) => return Err(StreamError::Lost(loss).into()),
        };
        let opened = sealer.open(seq, message.stored_at, &message.bytes);
        match opened.map(|landed| landed.content.map(|(head, _)| head)) {
            Ok(Some(head)) => return Ok(identified(seq, &head)),
            Ok(None) => {}
            Err(format @ UnknownFormat(_)) => {
                return Ok(Identified::Mistaken(format.to_string()));
            }
        }
    }
    Ok(Identified::Mistaken(
        "the messages of the stream do not open with the secret of --secret-file: every node \
         needs the secret that jeton cluster init was given"
            .to_owned(),
    ))
}

fn identified(seq: u64, head: &MessageHead) -> Identified {
    // Whoever has the secret of another cluster may have published here.
    match head.kind {
        MessageKind::Genesis => Identified::Ours(head.cluster),
        _ if seq == 1 => Identified::Mistaken(
            "the first message of the stream does not begin a cluster: it was not made by jeton \
             cluster init"
                .to_owned(),
        ),
        _ => Identified::Ours(head.cluster),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promises(syncs: &[Option<bool>]) -> Promises {
        let server = |(n, syncs_always): (usize, &Option<bool>)| Server {
            name: format!("n{n}"),
            syncs_always: *syncs_always,
            has_copy: true,
            ..Server::default()
        };
        let servers = syncs.iter().enumerate().map(server).collect();
        Promises { copies: 3, servers, ..Promises::default() }
    }

    #[test]
    fn a_majority_of_the_copies_must_be_known_to_sync() {
        let is_verified =
            |known: &[Option<bool>]| matches!(syncs(&promises(known)), Syncs::Verified);
        assert!(is_verified(&[Some(true), Some(true), None]), "one server is down");
        assert!(!is_verified(&[Some(true), None, None]));
        assert!(!is_verified(&[]));
        assert!(!is_verified(&[Some(true)]), "two servers are not even named");
        assert!(is_verified(&[Some(true), Some(false), None]), "that is a mistake of its own");
        let Syncs::Unverified(named) = syncs(&promises(&[None, Some(true), None])) else {
            panic!("two are not known");
        };
        assert_eq!(named, "the servers n0, n2");
    }
}
