//! The start of a node, from its files to the first message that has landed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::clock::Clock;
use crate::cluster::follow::Following;
use crate::cluster::message::{FORMAT, Sealer};
use crate::cluster::stream::StreamError;
use crate::engine::clustered::{Follower, Membership, Standing};
use crate::engine::{self, Engine, OpenError, Progress, SecretError, read_secret};
use crate::model::cluster::{BootNonce, ClusterId, NodeId};
use crate::model::token::Secret;

use super::check::{CheckError, Checked, check};
use super::connection::Connection;
use super::identity::{self, IdentityError, Marker};
use super::outlet::Outlet;
use super::running::Node;
use super::sizes::Sizes;
use super::view::{NodeView, Phase};
use super::watch::{self, Watch};
use super::word::Ending;

/// Pause between two attempts to reach the stream.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Interval of log messages about a stream that is not reached.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Servers that have just started may not know their stream yet: for this time its absence, and a
/// refusal, are no mistakes.
const DOUBT: Duration = Duration::from_secs(15);
/// Interval at which the first message is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time for the marker of a node that must end. The thread that follows the stream leaves it.
const MARK_LIMIT: Duration = Duration::from_secs(2);

/// Why a node did not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node has left its cluster, and only a person brings it back.
    #[error(
        "this node has left its cluster: {reason} ({}; only jeton cluster rejoin removes it)",
        file.display()
    )]
    Marked {
        /// The marker.
        file: PathBuf,
        /// What it says.
        reason: String,
    },
    /// The node's files cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The stream or its servers have these mistakes.
    #[error("{}", .0.join("\nerror: "))]
    Mistaken(Vec<String>),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log is of another cluster.
    #[error("the log in {} is of another cluster than the stream", .0.display())]
    OtherCluster(PathBuf),
    /// The stream is not the one that this node has followed.
    #[error("{0}; nothing was changed")]
    Lost(String),
    /// The node had to end.
    #[error("{0}")]
    Ended(Ending),
    /// A thread cannot be started, or there are no random bytes.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What a node is started with.
pub struct Start<'a> {
    /// The configuration of its engine.
    pub engine: engine::Config,
    /// The clock of the machine.
    pub clock: Arc<dyn Clock>,
    /// Where the progress of reading the log is shown.
    pub progress: &'a dyn Progress,
    /// What is known of the node; it has the node's configuration.
    pub view: NodeView,
}

impl Start<'_> {
    /// Starts the node. `connect` opens the ways to the stream, for the node with this id. Waits
    /// for as long as the stream is not reached.
    ///
    /// # Errors
    /// The node cannot start.
    pub fn run(
        self,
        connect: impl FnOnce(NodeId) -> Result<Box<dyn Connection>, String>,
    ) -> Result<Node, NodeError> {
        let Some(dir) = self.engine.data_dir.clone() else {
            return Err(OpenError::NoDirectory.into());
        };
        if let Some(Marker { reason, .. }) = identity::marker(&dir)? {
            return Err(NodeError::Marked { file: dir.join(identity::MARKER_FILE), reason });
        }
        let node = identity::load_or_create(&dir, self.engine.permissions)?;
        self.view.identified(node);
        let secret = self.secret()?;
        let connection = connect(node).map_err(|mistake| NodeError::Mistaken(vec![mistake]))?;
        let checked = self.reach(&*connection, &secret)?;
        self.view.enter(Phase::Recovering);
        let (engine, follower) = self.open(node, &*connection, &secret)?;
        self.compare(checked.cluster, &follower, &dir)?;
        self.view.enter(Phase::Joining);
        let following = Following::after(&follower.state(), Sealer::new(&secret));
        let stops = Arc::new(AtomicBool::new(false));
        let sizes = Sizes::default();
        sizes.checked(&checked.bounds, &checked.promises);
        let watch = Watch {
            view: self.view.clone(),
            follower: follower.clone(),
            clock: self.clock.clone(),
            stops: stops.clone(),
            dir,
            sizes,
        };
        let threads = watch::start(watch, following, connection)?;
        let node =
            Node { engine, follower: follower.clone(), view: self.view.clone(), stops, threads };
        self.wait_until_serving(&follower)?;
        self.view.enter(Phase::Serving);
        Ok(node)
    }

    fn secret(&self) -> Result<Secret, NodeError> {
        match (&self.engine.secret, &self.engine.secret_file) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, Some(file)) => Ok(read_secret(file)?),
            (None, None) => {
                let mistake = "--cluster needs --secret-file or --secret-command".to_owned();
                Err(NodeError::Mistaken(vec![mistake]))
            }
        }
    }

    /// Waits for the stream, and checks it.
    fn reach(&self, connection: &dyn Connection, secret: &Secret) -> Result<Checked, NodeError> {
        let (mut stream, mut sealer) = (connection.stream(), Sealer::new(secret));
        let accepts = self.view.config().accepts_unverified_sync;
        let begin = self.clock.monotonic();
        let mut logged = None;
        let mut doubted = None;
        loop {
            let began = self.clock.monotonic();
            let found = match connection.connected() {
                Ok(()) => check(&mut *stream, &mut sealer, accepts),
                Err(why) => Err(CheckError::Unreachable(StreamError::NotConnected(why))),
            };
            let now = self.clock.monotonic();
            let why = match found {
                Ok(checked) => {
                    self.note(&checked, began);
                    return Ok(checked);
                }
                Err(CheckError::Mistaken(mistakes)) => return Err(NodeError::Mistaken(mistakes)),
                Err(CheckError::Unreachable(error)) => error,
            };
            if let Some(mistake) = decided(&why) {
                let since = *doubted.get_or_insert(now);
                if now.saturating_sub(since) >= DOUBT {
                    return Err(NodeError::Mistaken(vec![mistake]));
                }
            } else {
                doubted = None;
            }
            let is_time = logged.is_none_or(|at| now.saturating_sub(at) >= LOG_EVERY);
            if is_time && now.saturating_sub(begin) >= Duration::from_secs(1) {
                tracing::warn!(reason = %why, "waiting for the stream of the cluster");
                logged = Some(now);
            }
            self.view.enter(Phase::Starting(format!("it waits for the stream: {why}")));
            std::thread::sleep(AGAIN_AFTER);
        }
    }

    fn note(&self, checked: &Checked, began: Duration) {
        for warning in &checked.warnings {
            tracing::warn!("{warning}");
        }
        let mut known = self.view.known();
        (known.bounds, known.checked_at) = (Some(checked.bounds), Some(began));
        known.promises = checked.promises.clone();
    }

    fn open(
        &self,
        node: NodeId,
        connection: &dyn Connection,
        secret: &Secret,
    ) -> Result<(Engine, Follower), NodeError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        let membership = Membership {
            node,
            nonce: BootNonce(nonce),
            answer_within: self.view.config().answer_within,
            format: u32::from(FORMAT),
            keys: self.view.keys().0,
        };
        let outlet = Outlet::new(connection.stream(), Sealer::new(secret), self.view.clone());
        let (engine, follower) = Engine::open_in_cluster(
            self.engine.clone(),
            self.clock.clone(),
            self.progress,
            membership,
            self.view.fence().watch(Box::new(outlet)),
        )?;
        self.view.opened(follower.clone());
        Ok((engine, follower))
    }

    /// The log must be of the stream's cluster.
    fn compare(
        &self,
        cluster: Option<ClusterId>,
        follower: &Follower,
        dir: &std::path::Path,
    ) -> Result<(), NodeError> {
        let state = follower.state();
        let is_other = cluster.is_some_and(|cluster| cluster != state.cluster);
        match state.position.seq > 0 && is_other {
            true => Err(NodeError::OtherCluster(dir.to_owned())),
            false => Ok(()),
        }
    }

    fn wait_until_serving(&self, follower: &Follower) -> Result<(), NodeError> {
        let mut logged = self.clock.monotonic();
        let mut stopped = None;
        loop {
            let now = self.clock.monotonic();
            if let Some(ending) = self.view.ended() {
                return Err(NodeError::Ended(ending));
            }
            if let Some(lost) = self.view.known().lost.clone() {
                return Err(NodeError::Lost(lost));
            }
            let state = follower.state();
            match &state.standing {
                Standing::Serving => return Ok(()),
                Standing::Stopped(why) => {
                    let Some(ending) = Ending::of(why) else {
                        return Err(NodeError::Lost(why.to_string()));
                    };
                    // The marker comes first, else a supervisor starts the node again and again.
                    if now.saturating_sub(*stopped.get_or_insert(now)) >= MARK_LIMIT {
                        return Err(NodeError::Ended(ending));
                    }
                }
                Standing::Following | Standing::Introducing => {}
            }
            if now.saturating_sub(logged) >= LOG_EVERY {
                logged = now;
                let (_, sentence) = self.view.standing();
                match state.standing {
                    Standing::Introducing => tracing::warn!("joining the cluster: {sentence}"),
                    _ => tracing::info!("joining the cluster: {sentence}"),
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The mistake that an error may mean, if it lasts.
fn decided(error: &StreamError) -> Option<String> {
    match error {
        StreamError::Missing(name) => Some(format!(
            "there is no stream {name}: run jeton cluster init, or correct --cluster-name"
        )),
        StreamError::Refused(_) | StreamError::Malformed(_) | StreamError::Lost(_) => {
            Some(error.to_string())
        }
        StreamError::NotConnected(_) | StreamError::TimedOut | StreamError::NoLeader => None,
    }
}
