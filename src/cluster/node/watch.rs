//! The threads of a node: one follows the stream, one checks it again while the node runs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use crate::clock::Clock;
use crate::cluster::follow::{Following, Step, Unfollowable};
use crate::cluster::stream::{Hint, Stream, StreamError};
use crate::engine::clustered::{Accepts, Follower, Standing};
use crate::model::cluster::NodeId;

use super::connection::Connection;
use super::fullness::{FILLING, Fullness, percent};
use super::identity::{self, Marker};
use super::opinion::{Opinion, opinion};
use super::sizes::{Counted, Sizes};
use super::trim::{Filling, first_needed};
use super::view::NodeView;
use super::word::Ending;

/// Patience for the next message.
const PATIENCE: Duration = Duration::from_millis(250);
/// Interval at which the state of the engine is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Interval of the checks.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Interval at which the begin of the stream is forgotten. Each node adds up to half of it, so that
/// not all do it at once.
const TRIM_EVERY: Duration = Duration::from_secs(10);
/// Both intervals while changes wait for room, which another node may have made.
const SOON: Duration = Duration::from_secs(2);
/// Pause while the engine has no room for the next message.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// Time for which a doubt about the contents may last, until all nodes have reported.
const DOUBT: Duration = Duration::from_secs(10);

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
        let (mut looked, mut doubted) = (Duration::ZERO, None);
        while self.goes_on() {
            let now = self.clock.monotonic();
            if now.saturating_sub(looked) >= LOOK_EVERY {
                looked = now;
                self.look(&mut doubted);
            }
            // The engine may have ended, and would then never make room.
            if !self.follower.has_room() {
                sleep(FULL_PAUSE);
                continue;
            }
            match following.step(&mut *stream, &self.follower, PATIENCE) {
                // At once: a small stream is full before the next look.
                Ok(Step::Landed) => self.measure(),
                Ok(Step::Quiet) => {}
                // The engine has stopped: why is seen below.
                Ok(Step::Ended) => break,
                Err(why) => {
                    self.give_up(&why);
                    break;
                }
            }
        }
        while self.goes_on() {
            self.look(&mut doubted);
            sleep(LOOK_EVERY);
        }
    }

    fn give_up(&self, why: &Unfollowable) {
        match why {
            Unfollowable::Trimmed { .. } | Unfollowable::Continued => self.view.lose(format!(
                "{why}: run jeton cluster join into a new directory, and start the node there"
            )),
            Unfollowable::Lost(_) | Unfollowable::OlderEra { .. } => {
                self.view.lose(why.to_string());
            }
            Unfollowable::NewerEra { .. } => self.end(Ending::LeftBehind(format!(
                "{why}: run jeton cluster join into a new directory, and start the node there"
            ))),
            Unfollowable::UnknownFormat(_) => {
                self.view.end(Ending::Other(format!("{why}: start a later version here")));
            }
        }
    }

    /// Looks at the state of the engine, ends the node where it must end, and sets what it takes.
    fn look(&self, doubted: &mut Option<Duration>) {
        let state = self.follower.state();
        if let Standing::Stopped(why) = &state.standing {
            match Ending::of(why) {
                Some(ending) => self.end(ending),
                None => self.view.lose(why.to_string()),
            }
        }
        if let Some(node) = self.view.node() {
            self.heed(opinion(&state, node), doubted);
        }
        self.view.hold(&state);
        self.measure();
    }

    /// Acts on what the reports of the other nodes say. Nothing of it is ever taken back.
    fn heed(&self, opinion: Opinion, doubted: &mut Option<Duration>) {
        let now = self.clock.monotonic();
        match opinion {
            Opinion::Alike => *doubted = None,
            Opinion::Undecided => {
                let since = *doubted.get_or_insert(now);
                if now.saturating_sub(since) >= DOUBT {
                    self.split();
                }
            }
            Opinion::Split => self.split(),
            Opinion::Alone { others } => self.end(Ending::Diverged(format!(
                "the content of this node differs from that of {others} other nodes, which agree: \
                 at the same position the same changes came to something else here; keep this \
                 directory, and start another node with jeton cluster join into a new one"
            ))),
        }
    }

    fn end(&self, ending: Ending) {
        if self.view.ended().is_some() {
            return;
        }
        if ending.forbids_restart() {
            let is_spoiled = ending.spoils_log();
            self.mark(&Marker { is_spoiled, reason: ending.to_string() });
        }
        self.view.end(ending);
    }

    /// Leaves a marker, with which the node does not start again.
    fn mark(&self, marker: &Marker) {
        if let Err(error) = identity::leave(&self.dir, marker) {
            tracing::error!(%error, "the marker of a node that has left was not written");
        }
    }

    /// Stops for good, and tells the others with each report. The process stays, so that a person
    /// can look at it; a restart would forget what it has seen, so the marker prevents it.
    fn split(&self) {
        if std::mem::replace(&mut self.view.known().is_split, true) {
            return;
        }
        self.view.fence().close();
        self.follower.report_stopped();
        self.follower.accept(Accepts::Nothing);
        let reason = "half of the nodes have other contents, and nobody knows which half is right";
        tracing::error!("{reason}: this node takes no more changes and answers no more reads");
        self.mark(&Marker { is_spoiled: false, reason: reason.to_owned() });
    }

    /// Notes how full the stream is, and sets what the node takes.
    fn measure(&self) {
        let filled = self.sizes.filled();
        let mut known = self.view.known();
        let is_refused = known.hint == Some(Hint::Full);
        known.refused.note(is_refused, self.clock.monotonic());
        let most = known.promises.bytes_max;
        let now = Fullness::of(filled, most, is_refused);
        let is_refused = known.refused.has_lasted(self.clock.monotonic());
        known.filled = if is_refused { 100 } else { most.map_or(0, |most| percent(filled, most)) };
        let before = std::mem::replace(&mut known.fullness, now);
        drop(known);
        if before < Fullness::Filling && now >= Fullness::Filling {
            tracing::warn!(bytes = filled, most, "the stream is more than {FILLING} % full");
        }
        if before < Fullness::Full && now >= Fullness::Full {
            tracing::error!(bytes = filled, most, "the stream is nearly full: changes are refused");
        } else if before >= Fullness::Full && now < Fullness::Full {
            tracing::warn!(bytes = filled, most, "the stream has room: changes are taken again");
        }
        self.follower.accept(self.view.accepts());
    }

    /// Checks the stream and its servers every few seconds.
    fn check(&self, connection: &dyn Connection) {
        let mut stream = connection.stream();
        let (mut checked, mut trimmed) = (self.clock.monotonic(), self.clock.monotonic());
        while self.goes_on() {
            let now = self.clock.monotonic();
            if now.saturating_sub(trimmed) >= self.trim_every() {
                if self.trim(&mut *stream) {
                    self.check_once(&mut *stream, connection.gaps());
                }
                trimmed = self.clock.monotonic();
            } else if now.saturating_sub(checked) >= self.check_every() {
                self.check_once(&mut *stream, connection.gaps());
                checked = self.clock.monotonic();
            } else {
                sleep(LOOK_EVERY);
            }
        }
    }

    fn check_every(&self) -> Duration {
        if self.view.known().fullness >= Fullness::Full { SOON } else { CHECK_EVERY }
    }

    fn trim_every(&self) -> Duration {
        if self.view.known().fullness >= Fullness::Full {
            return SOON;
        }
        let half_ms = TRIM_EVERY.as_millis() as u64 / 2;
        let NodeId(number) = self.view.node().unwrap_or_default();
        TRIM_EVERY + Duration::from_millis(number % half_ms)
    }

    /// Forgets what nobody needs, as of the last check. Returns whether the stream did.
    fn trim(&self, stream: &mut dyn Stream) -> bool {
        let filling = {
            let known = self.view.known();
            let is_right = known.lost.is_none() && known.ending.is_none() && !known.is_split;
            let Some(bounds) = known.bounds.filter(|_| is_right) else { return false };
            let is_refused = known.refused.has_lasted(self.clock.monotonic());
            Filling { first: bounds.first, bytes_max: known.promises.bytes_max, is_refused }
        };
        let Some(node) = self.view.node() else { return false };
        let (mut state, keep) = (self.follower.state(), self.view.config().keep);
        if state.standing != Standing::Serving {
            return false;
        }
        state.durable = self.view.hold(&state);
        let first = first_needed(&state, node, keep, filling, &self.sizes);
        let done = first.map(|first| stream.trim(first));
        match &done {
            Some(Ok(())) => tracing::debug!(first, "the stream begins here now"),
            Some(Err(error)) => tracing::warn!(%error, first, "the stream was not trimmed"),
            None => {}
        }
        let failure = done.as_ref().and_then(|done| done.as_ref().err());
        self.view.known().untrimmed = failure.map(ToString::to_string);
        matches!(done, Some(Ok(())))
    }

    fn check_once(&self, stream: &mut dyn Stream, gaps: u64) {
        let began = self.clock.monotonic();
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
                self.sizes.checked(&bounds, &promises);
                (known.bounds, known.promises) = (Some(bounds), promises);
                (known.unchecked, known.checked_at) = (None, Some(began));
                drop(known);
                self.measure();
            }
            Err(StreamError::Lost(loss)) => {
                drop(known);
                self.view.lose(format!("the stream is lost: {loss}"));
            }
            Err(error) => known.unchecked = Some(error.to_string()),
        }
    }
}
