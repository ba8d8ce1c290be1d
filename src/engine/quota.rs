//! Quotas: the maximum holdings of a namespace.
//!
//! The committer checks them, because only it knows the holdings of a namespace at the moment of a
//! change: a quota is never exceeded, however many clients issue at once. When a quota is lowered,
//! existing tokens stay until their deadlines.

use std::collections::HashMap;
use std::time::Duration;

use ahash::RandomState;

use crate::model::namespace::NamespaceTag;

use super::state::Holding;

/// Maximum holdings of a namespace; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Maximum tokens with a use left.
    pub tokens_max: Option<u64>,
    /// Maximum memory of entries in bytes, including consumed entries as long as they are
    /// remembered.
    pub bytes_max: Option<u64>,
    /// Maximum lifetime of a token that is extended. For an issue the caller checks it, with a
    /// better message.
    pub ttl_max: Option<Duration>,
}

impl Quota {
    /// Whether a namespace with the holdings `held` may hold `more`.
    fn admits(&self, held: Holding, more: Holding) -> bool {
        let fits = |held: u64, more: u64, max: Option<u64>| {
            more == 0 || max.is_none_or(|max| held.saturating_add(more) <= max)
        };
        fits(held.tokens, more.tokens, self.tokens_max)
            && fits(held.bytes, more.bytes, self.bytes_max)
    }
}

/// The quotas of all namespaces that have one.
pub type Quotas = HashMap<NamespaceTag, Quota, RandomState>;

/// The last published holdings of namespaces.
pub(super) type Holdings = HashMap<NamespaceTag, Holding, RandomState>;

/// Maximum namespaces whose holdings are published; beyond this number, only those with quotas are.
pub(super) const TOLD_MAX: usize = 1_024;

/// Holdings reserved by the records of one frame, until they are applied.
#[derive(Clone, Default)]
pub(super) struct Reserved(Holdings);

impl Reserved {
    /// Clears the reservations when the frame is applied, or lost.
    pub(super) fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0.clear();
        }
    }

    /// Reserves `more`. Returns false if that would exceed the quota.
    pub(super) fn take(
        &mut self,
        quotas: &Quotas,
        held: &Holdings,
        tag: NamespaceTag,
        more: Holding,
    ) -> bool {
        let Some(quota) = quotas.get(&tag) else { return true };
        if (quota.tokens_max, quota.bytes_max) == (None, None) {
            return true;
        }
        let mut holding = held.get(&tag).copied().unwrap_or_default();
        let reserved = self.0.entry(tag).or_default();
        holding.tokens += reserved.tokens;
        holding.bytes += reserved.bytes;
        let admits = quota.admits(holding, more);
        if admits {
            reserved.tokens += more.tokens;
            reserved.bytes += more.bytes;
        }
        admits
    }
}
