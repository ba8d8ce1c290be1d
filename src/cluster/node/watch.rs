//! The threads of a node: one follows the stream, one checks it again while the node runs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use crate::clock::Clock;
use crate::cluster::follow::{Following, Step, Unfollowable};
use crate::cluster::stream::{Stream, StreamError};
use crate::engine::clustered::{Follower, NodeState, Standing};
use crate::model::cluster::NodeId;

use super::connection::Connection;
use super::identity::{self, Marker};
use super::trim::{Counted, Filling, Sizes, first_needed};
use super::view::NodeView;
use super::word::Ending;

/// Patience for the next message.
const PATIENCE: Duration = Duration::from_millis(250);
/// Interval at which the state of the engine is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Interval of the checks.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Interval at which the begin of the stream is forgotten.
const TRIM_EVERY: Duration = Duration::from_secs(10);
/// Pause while the engine has no room for the next message.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// Nodes unheard of for this time of the log have no voice in what the right content is.
const HEARD_WITHIN_MS: u64 = 10_000;

/// What both threads use.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) view: NodeView,
    pub(super) follower: Follower,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stops: Arc<AtomicBool>,
    pub(super) dir: PathBuf,
    pub(super) sizes: Sizes,
}

/// Starts both threads.
pub(super) fn start(
    watch: Watch,
    following: Following,
    connection: Box<dyn Connection>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let stream = Box::new(Counted::new(connection.stream(), watch.sizes.clone()));
    let for_checks = watch.clone();
    let follows = Builder::new()
        .name("jeton-follow".to_owned())
        .spawn(move || watch.follow(following, stream))?;
    let checks = Builder::new()
        .name("jeton-watch".to_owned())
        .spawn(move || for_checks.check(&*connection))?;
    Ok(vec![follows, checks])
}

impl Watch {
    fn goes_on(&self) -> bool {
        !self.stops.load(Ordering::Relaxed)
    }

    /// Follows the stream until the node stops, or cannot follow it any further.
    fn follow(&self, mut following: Following, mut stream: Box<dyn Stream>) {
        let mut looked = Duration::ZERO;
        while self.goes_on() {
            let now = self.clock.monotonic();
            if now.saturating_sub(looked) >= LOOK_EVERY {
                looked = now;
                self.look();
            }
            // The engine may have ended, and would then never make room.
            if !self.follower.has_room() {
                sleep(FULL_PAUSE);
                continue;
            }
            match following.step(&mut *stream, &self.follower, PATIENCE) {
                Ok(Step::Landed | Step::Quiet) => {}
                // The engine has stopped: why is seen below.
                Ok(Step::Ended) => break,
                Err(why) => {
                    self.give_up(&why);
                    break;
                }
            }
        }
        while self.goes_on() {
            self.look();
            sleep(LOOK_EVERY);
        }
    }

    fn give_up(&self, why: &Unfollowable) {
        match why {
            Unfollowable::Trimmed { .. } => self.view.lose(format!(
                "{why}: restore a backup of another node into a new directory, and start it there"
            )),
            Unfollowable::Lost(_) => self.view.lose(why.to_string()),
            Unfollowable::UnknownFormat(_) => {
                self.view.end(Ending::Other(format!("{why}: start a later version here")));
            }
        }
    }

    /// Looks at the state of the engine, and ends the node where it must end.
    fn look(&self) {
        let state = self.follower.state();
        if let Standing::Stopped(why) = &state.standing {
            match Ending::of(why) {
                Some(ending) => self.end(ending),
                None => self.view.lose(why.to_string()),
            }
        }
        let Some(node) = self.view.node() else { return };
        match opinion(&state, node) {
            Opinion::Alike => self.unite(),
            Opinion::Split => self.split(),
            Opinion::Alone { others } => self.end(Ending::Diverged(format!(
                "the content of this node differs from that of {others} other nodes, which agree: \
                 at the same position the same changes came to something else here"
            ))),
        }
    }

    fn end(&self, ending: Ending) {
        if self.view.ended().is_some() {
            return;
        }
        if ending.forbids_restart() {
            let is_spoiled = matches!(ending, Ending::Diverged(_));
            let marker = Marker { is_spoiled, reason: ending.to_string() };
            if let Err(error) = identity::leave(&self.dir, &marker) {
                tracing::error!(%error, "the marker of a node that has left was not written");
            }
        }
        self.view.end(ending);
    }

    fn split(&self) {
        let mut known = self.view.known();
        if !std::mem::replace(&mut known.is_split, true) {
            tracing::error!(
                "half of the nodes have other contents, and nobody knows which half is right: \
                 changes stop"
            );
            self.view.shut();
        }
    }

    fn unite(&self) {
        let mut known = self.view.known();
        if std::mem::take(&mut known.is_split) && known.lost.is_none() && known.ending.is_none() {
            tracing::warn!("the nodes agree on their contents again");
            self.view.reopen();
        }
    }

    /// Checks the stream and its servers every few seconds.
    fn check(&self, connection: &dyn Connection) {
        let mut stream = connection.stream();
        let begin = self.clock.monotonic();
        let (mut check_at, mut trim_at) = (begin + CHECK_EVERY, begin + TRIM_EVERY);
        while self.goes_on() {
            let now = self.clock.monotonic();
            if now >= check_at {
                self.check_once(&mut *stream, connection.gaps());
                check_at = self.clock.monotonic() + CHECK_EVERY;
            } else if now >= trim_at {
                self.trim(&mut *stream);
                trim_at = self.clock.monotonic() + TRIM_EVERY;
            } else {
                sleep(LOOK_EVERY);
            }
        }
    }

    /// Forgets what enough nodes have, as of the last check, if that is this node's part.
    fn trim(&self, stream: &mut dyn Stream) {
        let filling = {
            let known = self.view.known();
            let is_right = known.lost.is_none() && known.ending.is_none() && !known.is_split;
            let Some(bounds) = known.bounds.filter(|_| is_right) else { return };
            let (bytes, bytes_max) = (known.promises.bytes, known.promises.bytes_max);
            Filling { first: bounds.first, bytes, bytes_max }
        };
        let Some(node) = self.view.node() else { return };
        let (state, keep) = (self.follower.state(), self.view.config().keep);
        if state.standing != Standing::Serving {
            return;
        }
        let Some(first) = first_needed(&state, node, keep, filling, &self.sizes) else { return };
        match stream.trim(first) {
            Ok(()) => tracing::debug!(first, "the stream begins here now"),
            Err(error) => {
                tracing::warn!(%error, first, "the begin of the stream was not forgotten");
            }
        }
    }

    fn check_once(&self, stream: &mut dyn Stream, gaps: u64) {
        let checked = stream.bounds().and_then(|bounds| Ok((bounds, stream.promises()?)));
        let mut known = self.view.known();
        known.gaps = gaps;
        match checked {
            Ok((bounds, promises)) => {
                for mistake in &promises.mistakes {
                    if !known.promises.mistakes.contains(mistake) {
                        tracing::error!("{mistake}");
                    }
                }
                if promises.mistakes.is_empty() && !known.promises.mistakes.is_empty() {
                    tracing::warn!("the settings of the stream and its servers are right again");
                }
                let is_right = promises.mistakes.is_empty();
                (known.bounds, known.promises) = (Some(bounds), promises);
                known.unchecked = None;
                drop(known);
                self.follower.refuse_changes(!is_right);
            }
            Err(StreamError::Lost(loss)) => {
                drop(known);
                self.view.lose(format!("the stream is lost: {loss}"));
            }
            Err(error) => known.unchecked = Some(error.to_string()),
        }
    }
}

/// What the other nodes think of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opinion {
    /// Most have the same content, or none has reported yet.
    Alike,
    /// As many have another content as have the same.
    Split,
    /// All others have another content, and there are several.
    Alone { others: usize },
}

/// Compares this node with the others that were heard of lately. The chains of outcomes are
/// compared where the positions are the same, see the engine.
fn opinion(state: &NodeState, node: NodeId) -> Opinion {
    let is_heard = |node: &&NodeId| {
        let row = state.members.iter().find(|row| row.node == **node);
        row.is_some_and(|row| state.log_time.since(row.heard) <= HEARD_WITHIN_MS)
    };
    let others = state.reports.keys().filter(|other| **other != node).filter(is_heard);
    let (differ, agree): (Vec<&NodeId>, Vec<&NodeId>) =
        others.partition(|other| state.diverged.contains_key(other));
    match (differ.len(), agree.len() + 1) {
        (others @ 2.., 1) => Opinion::Alone { others },
        (differ, with_us) if differ >= with_us => Opinion::Split,
        _ => Opinion::Alike,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::{BootNonce, Chain, Epoch};
    use crate::model::record::replication::{Member, Report};
    use crate::model::time::UnixMillis;

    fn state(others: &[(u64, bool)], silent: &[u64]) -> NodeState {
        let mut state = NodeState { log_time: UnixMillis(1_000_000), ..NodeState::default() };
        for (node, differs) in others {
            let node = NodeId(*node);
            let heard = match silent.contains(&node.0) {
                true => UnixMillis(900_000),
                false => UnixMillis(999_000),
            };
            let nonce = BootNonce::default();
            state.members.push(Member { node, epoch: Epoch(1), nonce, high: 1, heard });
            let report = Report {
                format: 1,
                seq: 1,
                durable: 1,
                memory_max: 0,
                chain: Chain::default(),
                outcomes: Chain::default(),
                keys: [0; 16],
            };
            state.reports.insert(node, report);
            if *differs {
                state.diverged.insert(node, 1);
            }
        }
        state
    }

    #[test]
    fn only_a_node_that_is_alone_against_several_ends_itself() {
        let think = |others: &[(u64, bool)]| opinion(&state(others, &[]), NodeId(1));
        assert_eq!(think(&[(1, false)]), Opinion::Alike);
        assert_eq!(think(&[(1, false), (2, false), (3, false)]), Opinion::Alike);
        assert_eq!(think(&[(1, false), (2, true)]), Opinion::Split, "one against one");
        assert_eq!(think(&[(2, true), (3, true)]), Opinion::Alone { others: 2 });
        assert_eq!(think(&[(2, true), (3, false)]), Opinion::Alike, "the other one is odd");
        assert_eq!(think(&[(2, true), (3, true), (4, false)]), Opinion::Split);
    }

    #[test]
    fn a_node_that_is_silent_has_no_voice() {
        let others = [(2, true), (3, true)];
        assert_eq!(opinion(&state(&others, &[3]), NodeId(1)), Opinion::Split);
        assert_eq!(opinion(&state(&others, &[2, 3]), NodeId(1)), Opinion::Alike);
    }
}
