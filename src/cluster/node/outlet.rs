//! What goes out of a node: its messages, sealed and handed to the stream.

use crate::cluster::message::Sealer;
use crate::cluster::stream::{Hint, Stream};
use crate::engine::clustered::{Proposal, Proposer};

use super::view::NodeView;

/// Seals the messages of a node and hands them to the stream, unless the node must not propose.
pub(super) struct Outlet {
    stream: Box<dyn Stream>,
    sealer: Sealer,
    view: NodeView,
    /// Whether the last message could not be sealed, which is logged once.
    has_failed: bool,
}

impl Outlet {
    pub(super) fn new(stream: Box<dyn Stream>, sealer: Sealer, view: NodeView) -> Self {
        Self { stream, sealer, view, has_failed: false }
    }

    /// Takes what the stream has said of earlier messages.
    fn take_answers(&mut self) {
        let mut last = None;
        while let Some(answer) = self.stream.answer() {
            last = Some(answer);
        }
        match last {
            Some(Ok(_)) => self.view.hinted(None),
            Some(Err(hint)) => self.view.hinted(Some(hint)),
            None => {}
        }
    }

    fn hand_over(&mut self, proposal: &Proposal<'_>) -> Result<(), Hint> {
        let sealed = match self.sealer.seal(proposal) {
            Ok(sealed) => sealed,
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::error!(%error, "a message of this node was not proposed");
                }
                return Ok(());
            }
        };
        self.has_failed = false;
        self.stream.propose(&sealed)
    }
}

impl Proposer for Outlet {
    fn propose(&mut self, proposal: &Proposal<'_>) {
        self.take_answers();
        if !self.view.may_propose() {
            return;
        }
        self.view.count_proposal(proposal.attempt > 0);
        if let Err(hint) = self.hand_over(proposal) {
            self.view.hinted(Some(hint));
        }
    }
}
