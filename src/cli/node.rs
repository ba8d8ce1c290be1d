//! The engine of `jeton serve`, as a single server or as a node of a cluster.

use std::future;
use std::sync::Arc;

use super::settings::ServeConfig;
use crate::clock::{Clock, SystemClock};
use crate::cluster::node::{Ending, Node, NodeError, NodeView, OnNats, Start};
use crate::engine::{CloseError, Engine, Progress};
use crate::service::reads::Reads;

/// The engine of the server, and the node around it, if the server is a node of a cluster.
pub(super) enum Running {
    Single(Engine),
    Node(Node),
}

impl Running {
    /// Opens the engine. A node starts only when it has connected and its first message has landed.
    pub(super) fn start(
        config: &ServeConfig,
        clock: Arc<dyn Clock>,
        view: Option<NodeView>,
        progress: &dyn Progress,
    ) -> Result<Self, NodeError> {
        let engine = config.engine.clone();
        let Some(view) = view else {
            return Ok(Self::Single(Engine::open_with(engine, clock, progress)?));
        };
        let cluster = view.config().clone();
        let start = Start { engine, clock, progress, view };
        let connect = |node| OnNats::open(&cluster, &format!("{node}")).map(OnNats::boxed);
        start.run(connect).map(Self::Node)
    }

    /// What a node may answer; `None` for a single server.
    pub(super) fn reads(&self) -> Option<Reads> {
        match self {
            Self::Single(_) => None,
            Self::Node(node) => {
                Some(Reads::new(node.follower().clone(), node.view().fence().clone()))
            }
        }
    }

    /// What is known of the node; `None` for a single server.
    pub(super) fn view(&self) -> Option<NodeView> {
        match self {
            Self::Single(_) => None,
            Self::Node(node) => Some(node.view().clone()),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Single(engine) => engine,
            Self::Node(node) => node.engine(),
        }
    }

    /// Why the process must end, as soon as it must; a single server never must.
    pub(super) async fn ending(&self) -> Ending {
        match self {
            Self::Single(_) => future::pending().await,
            Self::Node(node) => node.view().ending().await,
        }
    }

    /// The server is shutting down.
    pub(super) fn draining(&self) {
        if let Self::Node(node) = self {
            node.view().draining();
        }
    }

    /// Closes the log, and ends the threads of a node; returns why the node had to end, if it had.
    pub(super) fn close(self) -> (Result<(), CloseError>, Option<Ending>) {
        let closed = self.engine().close();
        match self {
            Self::Single(_) => (closed, None),
            Self::Node(node) => {
                let ended = node.view().ended();
                node.stop();
                (closed, ended)
            }
        }
    }
}

/// The view of a node that is about to start; `None` for a single server.
pub(super) fn view_of(config: &ServeConfig) -> Option<NodeView> {
    let cluster = config.cluster.clone()?;
    Some(NodeView::new(cluster, Arc::new(SystemClock::new())))
}
