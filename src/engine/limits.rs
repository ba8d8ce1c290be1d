//! The limits of calls, which are checked before a call is queued.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::model::namespace::NamespaceTag;
use crate::model::time::UnixMillis;

use super::frame::{BESIDE_IN_MESSAGE, TOO_LONG, record_len};
use super::handle::Engine;
use super::op::{Op, Rejected};
use super::replicated::CLOCK_DIFFERENCE_MAX_MS;

/// Maximum bytes of operations that are performed together, without a log.
const TOGETHER_LEN_IN_MEMORY: usize = 4 << 20;

/// Maximum bytes of the records of operations that are performed together in a cluster, where one
/// message holds them. A message that holds one operation may be as long.
const TOGETHER_LEN_IN_CLUSTER: usize = 1 << 20;

/// Why a node refuses what an earlier version does not know.
const NOT_AGREED: &str = "puts, deadlines that may be earlier and changes together: the nodes of the \
                          cluster have not agreed on them yet (jeton cluster upgrade --finish)";

impl Engine {
    /// Whether the operations can be performed together by [`Engine::submit_together`], as far as
    /// their length and the versions of a cluster's nodes decide it.
    #[must_use]
    pub fn fits_together<'o>(&self, ops: impl IntoIterator<Item = &'o Op>) -> bool {
        let is_possible = !self.shared.in_cluster || self.has_agreed();
        is_possible && self.len_together(ops) <= self.len_together_max()
    }

    /// Checks the limits of operations.
    pub(super) fn check(&self, ops: &[Op]) -> Result<(), Rejected> {
        for op in ops {
            op.validate(&self.shared.config)?;
            let is_new = matches!(op, Op::Put(_) | Op::SetDeadline { .. });
            if is_new && self.shared.in_cluster && !self.has_agreed() {
                return Err(Rejected::Invalid(NOT_AGREED));
            }
            if let Op::SetDeadline { digest, deadline, .. } = op
                && *deadline > self.latest_now().plus(self.life_max(digest.tag()))
            {
                return Err(Rejected::Invalid(
                    "deadline: must be at most the maximum lifetime from now",
                ));
            }
        }
        Ok(())
    }

    /// Checks the limits of operations that are to be performed together.
    pub(super) fn check_together(&self, ops: &[Op]) -> Result<(), Rejected> {
        if self.shared.in_cluster && !self.has_agreed() {
            return Err(Rejected::Invalid(NOT_AGREED));
        }
        if self.len_together(ops) > self.len_together_max() {
            return Err(Rejected::Invalid(match self.shared.in_cluster {
                true => "changes together: longer than a message of the cluster, 1 MiB",
                false => TOO_LONG,
            }));
        }
        self.check(ops)
    }

    fn has_agreed(&self) -> bool {
        self.shared.has_agreed.load(Ordering::Relaxed)
    }

    /// Bytes of the records of operations that are performed together.
    fn len_together<'o>(&self, ops: impl IntoIterator<Item = &'o Op>) -> usize {
        let beside = if self.shared.in_cluster { BESIDE_IN_MESSAGE } else { 0 };
        ops.into_iter().map(|op| record_len(op) + beside).sum()
    }

    /// Maximum bytes of the records of operations that are performed together.
    fn len_together_max(&self) -> usize {
        let config = &self.shared.config;
        match config.data_dir {
            _ if self.shared.in_cluster => TOGETHER_LEN_IN_CLUSTER,
            Some(_) => config.wal.frame_body_max(),
            None => TOGETHER_LEN_IN_MEMORY,
        }
    }

    /// The latest time that may decide about a token: in a cluster that is log time, which may be ahead
    /// of this machine's clock.
    pub(crate) fn latest_now(&self) -> UnixMillis {
        let ahead_ms = if self.shared.in_cluster { CLOCK_DIFFERENCE_MAX_MS } else { 0 };
        self.now().plus(Duration::from_millis(ahead_ms))
    }

    fn life_max(&self, namespace: NamespaceTag) -> Duration {
        let quota = self.shared.quotas().get(&namespace).and_then(|quota| quota.ttl_max);
        let max_ttl = self.shared.config.max_ttl;
        quota.map_or(max_ttl, |life| life.min(max_ttl))
    }
}
