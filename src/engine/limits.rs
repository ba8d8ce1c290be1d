//! The limits of calls, which are checked before a call is queued.

use std::time::Duration;

use crate::model::namespace::NamespaceTag;

use super::config::Config;
use super::frame::record_len;
use super::handle::Engine;
use super::op::{Op, Rejected};

/// Maximum bytes of operations that are performed together, without a log.
const TOGETHER_LEN_IN_MEMORY: usize = 4 << 20;

impl Engine {
    /// Whether the operations can be performed together by [`Engine::submit_together`], as far as
    /// their length decides it.
    #[must_use]
    pub fn fits_together<'o>(&self, ops: impl IntoIterator<Item = &'o Op>) -> bool {
        let len: usize = ops.into_iter().map(record_len).sum();
        !self.shared.in_cluster && len <= together_len_max(&self.shared.config)
    }

    /// Checks the limits of operations.
    pub(super) fn check(&self, ops: &[Op]) -> Result<(), Rejected> {
        for op in ops {
            op.validate(&self.shared.config)?;
            if self.shared.in_cluster && matches!(op, Op::Put(_) | Op::SetDeadline { .. }) {
                return Err(Rejected::Invalid(
                    "puts and deadlines that may be earlier: not possible in a cluster yet",
                ));
            }
            if let Op::SetDeadline { digest, deadline, .. } = op
                && *deadline > self.now().plus(self.life_max(digest.tag()))
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
        if self.shared.in_cluster {
            return Err(Rejected::Invalid("changes together: not possible in a cluster yet"));
        }
        self.check(ops)
    }

    fn life_max(&self, namespace: NamespaceTag) -> Duration {
        let quota = self.shared.quotas().get(&namespace).and_then(|quota| quota.ttl_max);
        let max_ttl = self.shared.config.max_ttl;
        quota.map_or(max_ttl, |life| life.min(max_ttl))
    }
}

/// Maximum bytes of the records of operations that are performed together.
fn together_len_max(config: &Config) -> usize {
    match config.data_dir {
        Some(_) => config.wal.frame_body_max(),
        None => TOGETHER_LEN_IN_MEMORY,
    }
}
