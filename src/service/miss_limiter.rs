//! The miss limiter, against enumeration: a client that looks up too many unknown tokens has to
//! wait.
//!
//! Misses are counted per key, whatever their address; without a key, or with a wrong one, they are
//! counted per address, with a lower limit. A miss beyond the limit is refused instead of answered,
//! whatever the reason for the miss. A resolve of one existing token is never refused and never
//! counted, so guesses from the same address do not lock other clients out. A batch, or a look-up
//! by reference, can be many guesses at once: a client in debt is refused before any look-up.
//!
//! In a cluster a miss is confirmed before it is answered, which takes time. So a client in debt is
//! refused before that, and again afterwards. The first refusal goes by what this node knows: it may
//! refuse the resolve of a token that another node has issued a moment ago.
//!
//! A batch is refused only if its client is in debt. Otherwise it is answered completely, and all
//! its misses are charged. Without a key a batch may have at most as many tokens as the limit
//! allows misses per second. Debt is bounded (`DEBT_MAX`), so no client waits longer than some
//! seconds.
//!
//! # Clients without a key
//!
//! An IPv4 address is one client. For IPv6, networks count: a miss counts for the /64, and for the
//! enclosing /56 and /48, which have 4 and 16 times the limit, because providers assign any of
//! these to one customer. In addition, one total limits the misses by reference of all addresses,
//! which many addresses could guess together.
//!
//! The table of `networks` is exact and bounded, and evicting an entry does not cancel its debt.
//!
//! The limiter is the generic cell rate algorithm of [`rate_limit`](crate::model::rate_limit). The
//! crate `governor` has this algorithm too, but its keyed store is not bounded, cannot charge
//! several levels together, and cannot go into debt. The crate `lru` provides the order of
//! eviction.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::networks::{DEBT_MAX, Misses, Strangers};
use super::refusal::Refusal;
use crate::keys::Access;
use crate::model::metrics::Counter;
use crate::model::rate_limit::Pace;
use crate::model::time::UnixMillis;

/// Default limit of misses by reference per second, of all clients without a key together.
pub const REFERENCE_LIMIT: u32 = 1_000;

/// Allowed misses per second; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissLimits {
    /// For each key.
    pub keyed: Option<u32>,
    /// For each address without a key, or with a wrong key.
    pub keyless: Option<u32>,
    /// By reference, for all addresses without a key together; only effective with `keyless`.
    pub references: Option<u32>,
}

/// Counts misses. Clones share the counts.
#[derive(Clone)]
pub(crate) struct MissLimiter(Option<Arc<Inner>>);

struct Inner {
    limits: MissLimits,
    strangers: Mutex<Strangers>,
    refused: Counter,
}

impl MissLimiter {
    pub(crate) fn new(limits: MissLimits) -> Self {
        if limits.keyed.is_none() && limits.keyless.is_none() {
            return Self(None);
        }
        let strangers = Mutex::new(Strangers::new(limits.keyless, limits.references));
        Self(Some(Arc::new(Inner { limits, strangers, refused: Counter::default() })))
    }

    /// Counts a miss. If the limit is already exceeded, it is refused and not counted.
    pub(crate) fn miss(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        self.look(access, address, now)?;
        self.charge(access, address, now, Misses::ONE);
        Ok(())
    }

    /// Refuses the caller if another miss would exceed the limit.
    pub(crate) fn look(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let Some(inner) = &self.0 else { return Ok(()) };
        inner.counted(inner.look(access, address, now))
    }

    /// Counts a miss, if it does not exceed the limit. Returns false if it does: then nothing is
    /// counted, because the service looks again and refuses.
    pub(crate) fn may_miss(&self, access: &Access, address: IpAddr, now: UnixMillis) -> bool {
        let Some(inner) = &self.0 else { return true };
        let may_miss = inner.look(access, address, now).is_ok();
        if may_miss {
            self.charge(access, address, now, Misses::ONE);
        }
        may_miss
    }

    /// Refuses a look-up by reference if another miss would exceed a limit.
    pub(crate) fn look_by_reference(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        self.look(access, address, now)?;
        match &self.0 {
            Some(inner) if access.key.is_none() => {
                inner.counted(inner.strangers().look_by_reference(now))
            }
            _ => Ok(()),
        }
    }

    /// Whether a batch of `count` tokens may be looked up. It is refused for a client in debt, or
    /// if it is longer than a client without a key may send.
    pub(crate) fn admit_batch(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
        count: usize,
    ) -> Result<(), Refusal> {
        let Some(inner) = &self.0 else { return Ok(()) };
        if let Some(max) = inner.is_too_long(access, count) {
            return Err(Refusal::KeylessBatchTooLong { max });
        }
        self.look(access, address, now)
    }

    /// Whether [`MissLimiter::admit_batch`] would admit a batch, without counting a refusal.
    pub(crate) fn may_ask_batch(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
        count: usize,
    ) -> bool {
        self.0.as_ref().is_none_or(|inner| {
            inner.is_too_long(access, count).is_none() && inner.look(access, address, now).is_ok()
        })
    }

    /// Counts the misses of an answered request.
    pub(crate) fn charge(&self, access: &Access, address: IpAddr, now: UnixMillis, misses: Misses) {
        let Some(inner) = &self.0 else { return };
        if misses.all == 0 {
            return;
        }
        match (access.key, inner.limits.keyed) {
            (Some(_), Some(rate)) => {
                let pace = Pace::per_second(rate);
                pace.charge(&access.used.misses, now, misses.all as u64, DEBT_MAX);
            }
            (Some(_), None) => (),
            (None, _) => inner.strangers().charge(address, now, misses),
        }
    }

    /// Counts a wrong key.
    pub(crate) fn wrong_key(&self, address: IpAddr, now: UnixMillis) -> Result<(), Refusal> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut strangers = inner.strangers();
        let looked = strangers.look(address, now);
        if looked.is_ok() {
            strangers.charge(address, now, Misses::ONE);
        }
        drop(strangers);
        inner.counted(looked)
    }

    /// Number of refused misses.
    pub(crate) fn refused(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.refused.get())
    }
}

impl Inner {
    /// The limit that a batch of `count` tokens exceeds.
    fn is_too_long(&self, access: &Access, count: usize) -> Option<u32> {
        let is_exceeded = |max: &u32| access.key.is_none() && count > *max as usize;
        self.limits.keyless.filter(is_exceeded)
    }

    fn look(&self, access: &Access, address: IpAddr, now: UnixMillis) -> Result<(), Duration> {
        match (access.key, self.limits.keyed) {
            (Some(_), Some(rate)) => Pace::per_second(rate).look(&access.used.misses, now),
            (Some(_), None) => Ok(()),
            (None, _) => self.strangers().look(address, now),
        }
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, looked: Result<(), Duration>) -> Result<(), Refusal> {
        looked.map_err(|wait| {
            self.refused.increment();
            Refusal::TooManyMisses { wait }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::namespace::Namespace;
    use crate::model::token::{Digester, SECRET_LEN, Secret};

    const NOW: UnixMillis = UnixMillis(1_769_860_800_000);

    fn access(key: Option<&str>) -> Access {
        let digester = Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default");
        let key = key.map(|id| id.parse().unwrap());
        Access { key, ..Access::everything(Namespace::default(), digester) }
    }

    fn limiter(keyed: u32, keyless: u32) -> MissLimiter {
        MissLimiter::new(MissLimits {
            keyed: Some(keyed),
            keyless: Some(keyless),
            references: Some(REFERENCE_LIMIT),
        })
    }

    fn misses(all: usize) -> Misses {
        Misses { all, by_reference: 0 }
    }

    #[test]
    fn p10_a_key_is_counted_by_itself_and_strangers_by_their_address() {
        let limiter = limiter(100, 2);
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let nobody = access(None);
        for _ in 0..2 {
            assert!(limiter.miss(&nobody, one, NOW).is_ok());
        }
        let refused = limiter.miss(&nobody, one, NOW).unwrap_err();
        assert!(matches!(refused, Refusal::TooManyMisses { .. }));
        assert!(limiter.wrong_key(one, NOW).is_err(), "wrong keys are guesses as well");
        assert!(limiter.miss(&nobody, two, NOW).is_ok());
        let [mine, other] = [access(Some("00000001")), access(Some("00000002"))];
        limiter.charge(&mine, one, NOW, misses(100));
        assert!(limiter.look(&mine, two, NOW).is_err(), "the key, from any address");
        assert!(limiter.look(&other, one, NOW).is_ok(), "another one, from the same address");
        assert!(limiter.miss(&mine, one, UnixMillis(NOW.0 + 1_000)).is_ok());
        assert_eq!(limiter.refused(), 3);
        let allowed = (0..200).filter(|_| limiter.may_miss(&other, one, NOW)).count();
        assert_eq!(allowed, 100, "the quick ways have the same limit");
        assert!(limiter.look(&other, one, NOW).is_err());
        assert_eq!(limiter.refused(), 4, "and leave the refusal to the service");
    }

    #[test]
    fn p10_a_batch_without_a_key_is_short_and_all_its_misses_are_charged() {
        let limiter = limiter(10, 10);
        let (nobody, mine) = (access(None), access(Some("00000001")));
        let address = [192, 0, 2, 1].into();
        let too_long = limiter.admit_batch(&nobody, address, NOW, 11).unwrap_err();
        assert_eq!(too_long, Refusal::KeylessBatchTooLong { max: 10 });
        assert!(limiter.admit_batch(&mine, address, NOW, 1_000).is_ok());
        for who in [&nobody, &mine] {
            limiter.charge(who, address, NOW, misses(9));
            assert!(limiter.admit_batch(who, address, NOW, 10).is_ok(), "it is not in debt");
            limiter.charge(who, address, NOW, misses(10));
            let refused = limiter.admit_batch(who, address, NOW, 1).unwrap_err();
            assert!(matches!(refused, Refusal::TooManyMisses { .. }));
            assert!(limiter.admit_batch(who, address, UnixMillis(NOW.0 + 1_000), 1).is_ok());
        }
    }

    #[test]
    fn p8_nobody_waits_longer_than_some_seconds() {
        let limiter = limiter(10, 10);
        let (mine, address) = (access(Some("00000001")), [192, 0, 2, 1].into());
        limiter.charge(&mine, address, NOW, misses(1_000_000));
        assert!(limiter.look(&mine, address, UnixMillis(NOW.0 + 4_000)).is_err());
        assert!(limiter.look(&mine, address, UnixMillis(NOW.0 + 6_000)).is_ok());
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let limiter = MissLimiter::new(MissLimits::default());
        for _ in 0..10_000 {
            limiter.charge(&access(None), [127, 0, 0, 1].into(), NOW, misses(1_000));
            assert!(limiter.miss(&access(None), [127, 0, 0, 1].into(), NOW).is_ok());
        }
    }
}
