//! What people decide about the cluster: a node is taken out, or all agree on a format. A decision is
//! a record in a batch of the node that was asked, and all nodes obey it when it lands.

use crate::engine::mailbox::{Pending, Reply};
use crate::engine::op::Rejected;
use crate::engine::replicated::{FORMAT_ASKED, MessageHead};
use crate::model::record::asked::Asked;
use crate::model::record::replication::Decision;
use crate::model::record::{Record, records};

use super::Clustered;
use super::boundary::{Arrival, Follower, Stopped};
use super::waits::Waiter;

impl Follower {
    /// Proposes a decision. The result, without outcomes, comes when it has landed; what became of it
    /// is in [`Follower::state`].
    ///
    /// # Errors
    /// Too many messages are waiting, or the node has ended.
    pub fn decide(&self, decision: Decision) -> Result<Pending, Rejected> {
        let (pending, reply) = Pending::new();
        self.try_send(Arrival::Decide(decision, reply))?;
        Ok(pending)
    }
}

impl Clustered {
    /// Adds a decision to the gathering batch, whatever the node takes from its callers.
    pub(super) fn propose_decision(&mut self, decision: Decision, reply: Reply) {
        if !self.may_change() || !self.own.add_decision(&decision.encode()) {
            return self.calls.reject(reply, Rejected::NoQuorum);
        }
        self.own.gathering.barriers.push(Waiter::uncounted(reply));
    }

    /// Ends the part of this node if it was taken out of the cluster, or if the nodes have agreed on
    /// a format that it does not know; forgets what retired nodes have reported.
    pub(super) fn obey(&mut self) {
        let state = &self.replicated;
        if state.members.values().any(|row| row.retired) {
            self.reports.retain(|node, _| !state.is_retired(*node));
            self.diverged.retain(|node, _| !state.is_retired(*node));
            self.alike.retain(|node| !state.is_retired(*node));
        }
        if state.is_retired(self.own.membership.node) {
            return self.stop(Stopped::Retired);
        }
        let format = u32::from(state.agreed);
        if format > self.own.membership.format {
            self.stop(Stopped::Outdated { format });
        }
    }
}

/// The decisions in the body of a message; `None` if it has a record that no node may propose.
/// Relocated entries, times, positions, and records that replace or set deadlines are written by the
/// local log alone, and a token is remembered by each node for itself. What nodes ask of each other
/// comes with its format.
pub(super) fn decisions_of(head: &MessageHead, body: &[u8]) -> Option<Vec<Decision>> {
    let mut decisions = Vec::new();
    // Records that are performed together and have not come yet.
    let mut together = 0;
    for record in records(body) {
        match record {
            Ok(
                Record::Consume { remembered_until: None, .. }
                | Record::Issue { replaces: false, .. }
                | Record::Extend { .. }
                | Record::Revoke { .. },
            ) => together = u32::saturating_sub(together, 1),
            Ok(Record::Asked(_)) if head.format < FORMAT_ASKED => return None,
            Ok(Record::Asked(Asked::Together { count })) if together == 0 => together = count,
            Ok(Record::Asked(Asked::Together { .. })) => return None,
            Ok(Record::Asked(_)) => together = u32::saturating_sub(together, 1),
            Ok(Record::Report(_)) if together == 0 => {}
            Ok(Record::Decision(decision)) if together == 0 => decisions.push(decision.fields()),
            Ok(
                Record::Consume { remembered_until: Some(_), .. }
                | Record::Issue { replaces: true, .. }
                | Record::Deadline { .. }
                | Record::Carry { .. }
                | Record::Time
                | Record::Origin(_)
                | Record::Member(_)
                | Record::Ended(_)
                | Record::Report(_)
                | Record::Decision(_),
            )
            | Err(_) => return None,
        }
    }
    (together == 0).then_some(decisions)
}
