//! A cluster's node without a thread: it works only inside calls, for reproducible simulations.

use std::sync::Arc;

use crossbeam_channel::bounded;

use crate::clock::Clock;
use crate::engine::config::Config;
use crate::engine::handle::{Committing, Engine};
use crate::engine::job::CloseError;
use crate::engine::recovery::{NoProgress, OpenError, Role, with_storage};
use crate::model::token::Digester;
use crate::wal::{Storage, survey};

use super::Clustered;
use super::boundary::{Follower, Membership, Proposer};
use super::run::Event;

/// A node whose committer works only inside calls. Dropping it has the effect of a killed process.
pub struct SteppedNode {
    engine: Engine,
    follower: Follower,
    node: Clustered,
}

impl SteppedNode {
    /// Reads the log on `storage`, or starts a new one. The configuration is not checked.
    ///
    /// # Errors
    /// A damaged log, or an error of the storage.
    pub fn open(
        config: Config,
        storage: Arc<dyn Storage>,
        digester: Digester,
        clock: Arc<dyn Clock>,
        membership: Membership,
        proposer: Box<dyn Proposer>,
    ) -> Result<Self, OpenError> {
        let found = survey(&storage)?;
        let recovered =
            with_storage(Role::Node, config, storage, found, digester, clock, &NoProgress)?;
        let shared = Arc::clone(&recovered.shared);
        let (jobs, queue) = bounded(shared.config.queue_len);
        let (node, follower) = Clustered::new(recovered, queue, membership, proposer);
        let committer = Arc::new(Committing::new(jobs, None));
        Ok(Self { engine: Engine { shared, committer }, follower, node })
    }

    /// The engine. Submitted operations wait for [`SteppedNode::turn`].
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Feeds the node with messages.
    #[must_use]
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// One turn of the committer with everything that has come. `is_idle`: as after a tick in which
    /// nothing came.
    pub fn turn(&mut self, is_idle: bool) {
        if !is_idle {
            self.node.take_more();
        }
        self.node.turn(Event::Idle);
    }

    /// Closes the log cleanly.
    ///
    /// # Errors
    /// The log could not be synced.
    pub fn close(mut self) -> Result<(), CloseError> {
        self.node.finish()
    }
}
