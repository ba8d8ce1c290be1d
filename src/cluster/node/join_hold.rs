//! A running node keeps the stream for one that copies its log: see [`super::holds`].

use crate::engine::clustered::NodeState;

use super::view::NodeView;

/// Keeps the stream for a node that copies this one's log, while it lives and a while after
/// [`JoinHold::copied`].
pub struct JoinHold {
    view: NodeView,
    number: u64,
}

impl JoinHold {
    /// The whole copy was handed over.
    pub fn copied(self) {
        self.view.known().holds.copied(self.number);
    }
}

impl Drop for JoinHold {
    fn drop(&mut self) {
        self.view.known().holds.end(self.number);
    }
}

impl NodeView {
    /// Keeps the stream from where this node's log is durable, for a node that is about to copy it;
    /// `None` before this node has landed anything.
    #[must_use]
    pub fn hold_for_join(&self) -> Option<JoinHold> {
        let state = self.state().filter(|state| state.position.seq > 0)?;
        let number = self.known().holds.begin(&state, self.now());
        self.hold(&state);
        tracing::info!(seq = state.durable, "the stream is kept for a node that joins");
        Some(JoinHold { view: self.clone(), number })
    }

    /// Takes the holds into this node's reports, and returns what of its log counts as durable.
    pub(super) fn hold(&self, state: &NodeState) -> u64 {
        let held = {
            let mut known = self.known();
            let filled = known.filled;
            known.holds.least(state, filled, self.now())
        };
        if let Some(follower) = self.follower() {
            follower.hold(held);
        }
        held.map_or(state.durable, |held| held.seq.min(state.durable))
    }
}
