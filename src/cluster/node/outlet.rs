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
    /// Whether the last message seems not to be in the stream.
    is_refused: bool,
}

/// Whether a message that was refused so may be taken a moment later.
fn is_passing(hint: &Hint) -> bool {
    matches!(hint, Hint::NotConnected | Hint::Busy | Hint::NoLeader)
}

impl Outlet {
    pub(super) fn new(stream: Box<dyn Stream>, sealer: Sealer, view: NodeView) -> Self {
        Self { stream, sealer, view, has_failed: false, is_refused: false }
    }

    /// Takes what the stream has said of earlier messages.
    fn take_answers(&mut self) {
        let mut last = None;
        while let Some(answer) = self.stream.answer() {
            last = Some(answer);
        }
        match last {
            Some(Ok(_)) => {
                self.is_refused = false;
                self.view.hinted(None);
            }
            Some(Err(hint)) => self.refused(hint),
            None => {}
        }
    }

    fn refused(&mut self, hint: Hint) {
        self.is_refused = is_passing(&hint);
        self.view.hinted(Some(hint));
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
        self.is_refused = false;
        if !self.view.may_propose() {
            return;
        }
        self.view.count_proposal(proposal.attempt > 0);
        if let Err(hint) = self.hand_over(proposal) {
            self.refused(hint);
        }
    }

    fn is_refused(&mut self) -> bool {
        self.take_answers();
        self.is_refused
    }
}
