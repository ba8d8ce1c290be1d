//! The memory that clients can make the server use: heads and bodies being received, large answers
//! not yet sent, and output that a peer does not read.
//!
//! One budget for the whole process bounds them together (promise P8: bounded memory). The first
//! [`FREE_LEN`] bytes of each connection are not counted, because the number of connections bounds
//! them. So a common request touches no shared counter.
//!
//! # Shares
//!
//! No client can use the whole budget. The budget is short while more than half of it is used, and
//! then:
//!
//! - a connection may hold at most its share: an eighth of the budget, or the largest request with
//!   its answer that the limits allow, whichever is more;
//! - a key may hold at most a quarter of the budget over all its connections, or the share of a
//!   connection if that is more. In a server with keys, all callers without a key are one holder.
//!   In a server without keys, clients cannot be distinguished, so only connections have shares.
//!   Addresses have no shares, because all clients behind a proxy have the same address;
//! - a head over HTTP/1 gets no memory, because its holder is not known yet;
//! - the last eighth is reserved for small bodies and answers ([`SMALL_LEN`]), of which a
//!   connection may use at most [`RESERVED_LEN`].
//!
//! The largest request with its answer fits into every share: `Config::validate` demands a budget
//! of four shares. While the budget is short, `outgoing` aborts answers whose clients read too
//! slowly.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::service::principal::Principal;

/// Bytes of each connection that are not counted.
pub(crate) const FREE_LEN: usize = 16 * 1024;
/// Maximum length of a small body or answer, in bytes; the reserve is for these.
pub(crate) const SMALL_LEN: usize = 128 * 1024;
/// Maximum bytes of a connection while only the reserve is left.
const RESERVED_LEN: usize = 2 * SMALL_LEN;
/// The budget is at least this many times the share of a connection.
const SHARES_MIN: usize = 4;

/// A budget in bytes, shared by all workers.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    used: AtomicUsize,
    limit: usize,
    /// Maximum bytes of a connection, and of a key, while the budget is short.
    of_connection: usize,
    of_key: usize,
    /// Reserve for small bodies and answers, in bytes.
    reserve: usize,
    /// Bytes held by callers without a key; `None` in a server without keys.
    keyless: Option<AtomicUsize>,
}

/// Bytes held by one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldBytes(Rc<Cell<usize>>);

impl HeldBytes {
    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.0.get()
    }

    /// The part of `held` bytes that is counted.
    fn counted(held: usize) -> usize {
        held.saturating_sub(FREE_LEN)
    }
}

/// The holder of memory: a connection, and its principal.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) totals: HeldBytes,
    /// `None` before a head is read.
    pub(crate) access: Option<Principal>,
}

impl Budget {
    /// A budget of `limit` bytes, in which every share has room for `largest` bytes. With
    /// `has_keys`, all callers without a key are one holder.
    #[must_use]
    pub fn new(limit: usize, largest: usize, has_keys: bool) -> Self {
        let of_connection = largest.max(limit / 8);
        Self(Arc::new(Inner {
            used: AtomicUsize::new(0),
            limit,
            of_connection,
            of_key: of_connection.max(limit / 4),
            reserve: limit / 8,
            keyless: has_keys.then(AtomicUsize::default),
        }))
    }

    /// Minimum limit of a budget in which `largest` fits into every share.
    pub(crate) fn limit_min(largest: usize) -> usize {
        SHARES_MIN.saturating_mul(largest)
    }

    /// Reserves `len` bytes; `None` if `holder` may not hold that much.
    #[must_use]
    pub(crate) fn take(&self, holder: &Holder, len: usize) -> Option<Charge> {
        let mut charge = self.charge(holder);
        charge.grow_to(len).then_some(charge)
    }

    /// Reserves `len` bytes even beyond the budget, for answers that must not be lost.
    #[must_use]
    pub(crate) fn take_anyway(&self, holder: &Holder, len: usize) -> Charge {
        let mut charge = self.charge(holder);
        let (_, counted) = charge.after(len);
        self.0.used.fetch_add(counted, Ordering::Relaxed);
        charge.add(len, counted);
        charge
    }

    /// An empty charge that can grow.
    #[must_use]
    pub(crate) fn charge(&self, holder: &Holder) -> Charge {
        Charge { budget: self.clone(), holder: holder.clone(), len: 0, of_key: 0 }
    }

    /// Bytes reserved at the moment.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes that can be reserved.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Whether more than half of the budget is used, so that shares apply and slow answers are
    /// aborted.
    pub(crate) fn is_short(&self) -> bool {
        self.used() > self.0.limit / 2
    }
}

impl Inner {
    /// The counter of the key of `holder`; `None` before its head is read.
    fn key<'a>(&'a self, holder: &'a Holder) -> Option<&'a AtomicUsize> {
        let access = holder.access.as_ref()?;
        if access.key.is_some() { Some(&access.used.held_bytes) } else { self.keyless.as_ref() }
    }

    /// Whether the total may be `used` bytes, of which the connection holds `held`, the key
    /// `of_key`, and this charge `len`.
    fn allows(&self, used: usize, held: usize, of_key: usize, len: usize) -> bool {
        if used <= self.limit / 2 {
            return true;
        }
        if used > self.limit || held > self.of_connection || of_key > self.of_key {
            return false;
        }
        used <= self.limit - self.reserve || (len <= SMALL_LEN && held <= RESERVED_LEN)
    }
}

/// Bytes reserved from a [`Budget`]; dropping it releases them.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    holder: Holder,
    len: usize,
    /// The part that is counted for the key.
    of_key: usize,
}

impl Charge {
    /// Grows the charge to at least `len` bytes. Returns false and changes nothing if the holder
    /// may not hold that much.
    #[must_use]
    pub(crate) fn grow_to(&mut self, len: usize) -> bool {
        self.grow(len, false)
    }

    /// Grows the charge of a head, whose holder is not known yet. Returns false also while the
    /// budget is short, so that unfinished heads leave half of the budget to others.
    #[must_use]
    pub(crate) fn grow_head_to(&mut self, len: usize) -> bool {
        self.grow(len, true)
    }

    fn grow(&mut self, len: usize, is_head: bool) -> bool {
        if len <= self.len {
            return true;
        }
        let (held, counted) = self.after(len);
        if counted > 0 {
            let inner = &self.budget.0;
            let used = inner.used.fetch_add(counted, Ordering::Relaxed).saturating_add(counted);
            let of_key = inner.key(&self.holder).map_or(0, |key| key.load(Ordering::Relaxed));
            let is_allowed = inner.allows(used, held, of_key.saturating_add(counted), len);
            if !is_allowed || (is_head && used > inner.limit / 2) {
                inner.used.fetch_sub(counted, Ordering::Relaxed);
                return false;
            }
        }
        self.add(len, counted);
        true
    }

    /// Bytes held by the connection after this charge becomes `len` bytes, and how many more of
    /// them are counted then.
    fn after(&self, len: usize) -> (usize, usize) {
        let held = self.holder.totals.held();
        let after = held.saturating_add(len - self.len);
        (after, HeldBytes::counted(after) - HeldBytes::counted(held))
    }

    /// Adds bytes that the budget has already reserved.
    fn add(&mut self, len: usize, counted: usize) {
        let totals = &self.holder.totals;
        totals.0.set(totals.held().saturating_add(len - self.len));
        self.len = len;
        if counted > 0
            && let Some(key) = self.budget.0.key(&self.holder)
        {
            key.fetch_add(counted, Ordering::Relaxed);
            self.of_key += counted;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let totals = &self.holder.totals;
        let held = totals.held();
        totals.0.set(held - self.len);
        let counted = HeldBytes::counted(held) - HeldBytes::counted(held - self.len);
        if counted > 0 {
            self.budget.0.used.fetch_sub(counted, Ordering::Relaxed);
        }
        if self.of_key > 0
            && let Some(key) = self.budget.0.key(&self.holder)
        {
            key.fetch_sub(self.of_key, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Access;
    use crate::model::namespace::Namespace;
    use crate::model::token::{Digester, SECRET_LEN, Secret};

    const MIB: usize = 1 << 20;

    fn connection(access: Option<&Principal>) -> Holder {
        Holder { totals: HeldBytes::default(), access: access.cloned() }
    }

    fn admitted(key: Option<&str>) -> Principal {
        let digester = Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default");
        let key = key.map(|id| id.parse().unwrap());
        let access = Access { key, ..Access::everything(Namespace::default(), digester) };
        Rc::new(Arc::new(access))
    }

    #[test]
    fn p8_the_budget_is_never_exceeded_by_take_and_comes_back() {
        let (budget, holder) = (Budget::new(MIB, MIB, false), connection(None));
        let mut one = budget.take(&holder, MIB / 2).unwrap();
        assert!(!one.grow_to(2 * MIB));
        let others: Vec<_> = (0..100)
            .filter_map(|_| budget.take(&connection(None), SMALL_LEN))
            .inspect(|_| assert!(budget.used() <= MIB))
            .collect();
        assert!(others.len() >= 4, "{}", others.len());
        drop((one, others));
        assert_eq!((budget.used(), holder.totals.held()), (0, 0));
    }

    #[test]
    fn what_is_little_on_a_connection_is_not_counted() {
        let (budget, holder) = (Budget::new(MIB, MIB, false), connection(None));
        let one = budget.take(&holder, FREE_LEN - 1).unwrap();
        assert_eq!(budget.used(), 0);
        let two = budget.take(&holder, 11).unwrap();
        assert_eq!(budget.used(), 10);
        drop(one);
        assert_eq!(budget.used(), 0);
        drop(two);
    }

    #[test]
    fn p8_shares_bind_while_the_budget_is_short_and_the_reserve_is_for_small_ones() {
        let budget = Budget::new(64 * MIB, 16 * MIB, false);
        let (one, other) = (connection(None), connection(None));
        let half = budget.take(&one, 32 * MIB).unwrap();
        assert!(budget.take(&one, MIB).is_none(), "more than its share");
        let share = budget.take(&other, 16 * MIB).unwrap();
        let third = connection(None);
        assert!(budget.take(&third, 9 * MIB).is_none(), "that is the reserve");
        let rest = budget.take(&third, 8 * MIB).unwrap();
        assert!(budget.take(&third, SMALL_LEN).is_none(), "it has enough already");
        assert!(budget.take(&connection(None), 2 * SMALL_LEN).is_none(), "that is not small");
        let small: Vec<_> =
            (0..63).map(|_| budget.take(&connection(None), SMALL_LEN).unwrap()).collect();
        drop((half, share, rest, small));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn p8_a_key_has_one_share_over_all_its_connections_and_so_have_those_without() {
        for (mine, others) in [(Some("00000001"), None), (None, Some("00000001"))] {
            let (mine, others) = (admitted(mine), admitted(others));
            let budget = Budget::new(64 * MIB, MIB, true);
            let held: Vec<_> =
                (0..40).filter_map(|_| budget.take(&connection(Some(&mine)), 4 * MIB)).collect();
            assert_eq!(held.len(), 8, "half of the budget, while it is not short");
            assert!(budget.take(&connection(Some(&mine)), 2 * SMALL_LEN).is_none());
            assert!(budget.take(&connection(Some(&others)), 4 * MIB).is_some());
            drop(held);
            assert!(budget.take(&connection(Some(&mine)), 4 * MIB).is_some());
            assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn p8_heads_leave_half_of_it_to_others() {
        let budget = Budget::new(MIB, MIB, false);
        let heads: Vec<_> = (0..100)
            .map(|_| budget.charge(&connection(None)))
            .filter_map(|mut head| head.grow_head_to(64 * 1024).then_some(head))
            .collect();
        assert!((8..=16).contains(&heads.len()), "{}", heads.len());
        assert!(budget.used() <= MIB / 2);
        assert!(budget.take(&connection(None), SMALL_LEN).is_some());
    }

    #[test]
    fn an_answer_that_must_not_be_lost_exceeds_it() {
        let (budget, holder) = (Budget::new(MIB, MIB, false), connection(None));
        let must = budget.take_anyway(&holder, 5 * MIB);
        assert!(budget.take(&connection(None), 2 * FREE_LEN).is_none());
        drop(must);
        assert!(budget.take(&holder, MIB / 2).is_some());
        assert_eq!(budget.used(), 0);
    }
}
