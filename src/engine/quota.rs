//! Quotas: how much a namespace may hold.
//!
//! They are checked by the committer, which alone knows what a namespace holds at the moment of a
//! change: however many clients issue at once, a quota is never exceeded. What is already there
//! when a quota is lowered stays until its deadline.

use std::collections::HashMap;
use std::time::Duration;

use ahash::RandomState;

use crate::model::namespace::NamespaceTag;

use super::state::Holding;

/// How much a namespace may hold; `None` where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Tokens with a use left.
    pub tokens_max: Option<u64>,
    /// Memory of entries in bytes, consumed ones included while they are remembered.
    pub bytes_max: Option<u64>,
    /// The longest life of a token that is extended. That of an issue is the caller's to check,
    /// who can say what was wrong.
    pub ttl_max: Option<Duration>,
}

impl Quota {
    /// Whether a namespace that holds `held` may hold `more`.
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

/// What namespaces hold, as last told.
pub(super) type Holdings = HashMap<NamespaceTag, Holding, RandomState>;

/// Namespaces that are published; beyond this number, only those with quotas are.
pub(super) const TOLD_MAX: usize = 1_024;

/// What the records of one frame will take when they are applied.
#[derive(Default)]
pub(super) struct Reserved(Holdings);

impl Reserved {
    /// Nothing is reserved any more: the frame is applied, or lost.
    pub(super) fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0.clear();
        }
    }

    /// Reserves `more`. False where the quota has no room for it.
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
