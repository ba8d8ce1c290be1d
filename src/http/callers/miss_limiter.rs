//! The guard against enumeration: a client that asks too often for what is unknown has to wait.
//!
//! Misses are counted for each key alone, whatever address they come from; without a key, or with a
//! wrong one, for each address, with a tighter limit. A miss beyond the limit gets 429 in place of
//! 404, whatever the reason that nothing was found. A resolve of one token that exists is never
//! refused and never counted, so another's guesses behind the same address lock nobody out. What is
//! asked for in a batch or by a reference can be many guesses at once: a client in debt gets 429
//! before anything is looked up.
//!
//! A batch is admitted unless its client is in debt, is answered whole, and all its misses are
//! charged. Without a key it may have as many tokens as the limit has misses a second. Debt is
//! bounded (`DEBT_MAX`), so nobody waits longer than some seconds.
//!
//! # Strangers
//!
//! An IPv4 address is one client. Of IPv6, networks are: a miss counts for the /64, and for the /56
//! and the /48 around it, which have 4 and 16 times the limit, because one customer may
//! be handed any of these. Behind all of them stands one total for misses by reference, which a
//! crowd of addresses could guess together.
//!
//! The table of `networks` is exact and bounded, and forgives nobody.
//!
//! The limiter is the generic cell rate algorithm of [`rate_limit`](crate::model::rate_limit). The
//! crate `governor` has it too and was not taken: its keyed store is not bounded, has no levels that
//! are charged together, and cannot run up a debt. The order of eviction is the crate `lru`'s.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use crate::http::api::problem::Problem;
use crate::http::callers::networks::{DEBT_MAX, Misses, Strangers};
use crate::keys::Access;
use crate::model::metrics::Counter;
use crate::model::rate_limit::Pace;
use crate::model::time::UnixMillis;

/// The limit of misses by reference of all strangers together where none is given, each second.
pub const REFERENCE_LIMIT: u32 = 1_000;

/// How many misses are allowed each second; `None`: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissLimits {
    /// Of a key.
    pub keyed: Option<u32>,
    /// Of an address without a key, or with wrong ones.
    pub keyless: Option<u32>,
    /// By reference, of all addresses without a key together; only beside `keyless`.
    pub references: Option<u32>,
}

/// Counts misses. Clones share the counts.
#[derive(Clone)]
pub(in crate::http) struct Guard(Option<Arc<Inner>>);

struct Inner {
    limits: MissLimits,
    strangers: Mutex<Strangers>,
    refused: Counter,
}

impl Guard {
    pub(in crate::http) fn new(limits: MissLimits) -> Guard {
        if limits.keyed.is_none() && limits.keyless.is_none() {
            return Guard(None);
        }
        let strangers = Mutex::new(Strangers::new(limits.keyless, limits.references));
        Guard(Some(Arc::new(Inner { limits, strangers, refused: Counter::default() })))
    }

    /// Counts a miss; [`Problem`] 429 where there were too many before, and nothing is counted.
    pub(in crate::http) fn miss(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        self.look(access, address, now)?;
        self.charge(access, address, now, Misses::ONE);
        Ok(())
    }

    /// 429 where another miss would be one too many.
    pub(in crate::http) fn look(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        let Some(inner) = &self.0 else { return Ok(()) };
        inner.counted(inner.look(access, address, now))
    }

    /// The same, where the refusal is another's to make.
    pub(in crate::http) fn is_in_debt(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.look(access, address, now).is_err())
    }

    /// The same for a look-up by reference.
    pub(in crate::http) fn look_by_reference(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        self.look(access, address, now)?;
        match &self.0 {
            Some(inner) if access.key.is_none() => {
                inner.counted(inner.strangers().look_by_reference(now))
            }
            _ => Ok(()),
        }
    }

    /// Whether a batch of `count` tokens may be looked up: 429 for a client in debt, 422 where it is
    /// longer than a client without a key may ask for.
    pub(in crate::http) fn admit_batch(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
        count: usize,
    ) -> Result<(), Problem> {
        let Some(inner) = &self.0 else { return Ok(()) };
        if let (None, Some(max)) = (access.key, inner.limits.keyless)
            && count > max as usize
        {
            let detail = format!(
                "tokens: without a key at most {max} at once (--anonymous-miss-limit; \
                 --miss-limit where there are no keys)"
            );
            return Err(Problem::out_of_limits(detail).about("tokens"));
        }
        self.look(access, address, now)
    }

    /// Counts the misses of a request that was answered.
    pub(in crate::http) fn charge(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
        misses: Misses,
    ) {
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
    pub(in crate::http) fn wrong_key(
        &self,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut strangers = inner.strangers();
        let looked = strangers.look(address, now);
        if looked.is_ok() {
            strangers.charge(address, now, Misses::ONE);
        }
        drop(strangers);
        inner.counted(looked)
    }

    /// Misses that were refused.
    pub(in crate::http) fn refused(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.refused.get())
    }
}

impl Inner {
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

    fn counted(&self, looked: Result<(), Duration>) -> Result<(), Problem> {
        looked.map_err(|wait| {
            self.refused.increment();
            Problem::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY).after(wait)
        })
    }
}

const TOO_MANY: &str = "too many requests for unknown tokens; wait before the next";

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

    fn guard(keyed: u32, keyless: u32) -> Guard {
        Guard::new(MissLimits {
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
        let guard = guard(100, 2);
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let nobody = access(None);
        for _ in 0..2 {
            assert!(guard.miss(&nobody, one, NOW).is_ok());
        }
        assert_eq!(guard.miss(&nobody, one, NOW).unwrap_err().status, 429);
        assert!(guard.wrong_key(one, NOW).is_err(), "wrong keys are guesses as well");
        assert!(guard.miss(&nobody, two, NOW).is_ok());
        let [mine, other] = [access(Some("00000001")), access(Some("00000002"))];
        guard.charge(&mine, one, NOW, misses(100));
        assert!(guard.look(&mine, two, NOW).is_err(), "the key, from wherever");
        assert!(guard.look(&other, one, NOW).is_ok(), "another one, from the same address");
        assert!(guard.miss(&mine, one, UnixMillis(NOW.0 + 1_000)).is_ok());
        assert_eq!(guard.refused(), 3);
    }

    #[test]
    fn p10_a_batch_without_a_key_is_short_and_all_its_misses_are_charged() {
        let guard = guard(10, 10);
        let (nobody, mine) = (access(None), access(Some("00000001")));
        let address = [192, 0, 2, 1].into();
        let too_long = guard.admit_batch(&nobody, address, NOW, 11).unwrap_err();
        assert!(too_long.status == 422 && too_long.detail.contains("--anonymous-miss-limit"));
        assert!(guard.admit_batch(&mine, address, NOW, 1_000).is_ok());
        for who in [&nobody, &mine] {
            guard.charge(who, address, NOW, misses(9));
            assert!(guard.admit_batch(who, address, NOW, 10).is_ok(), "it is not in debt");
            guard.charge(who, address, NOW, misses(10));
            let refused = guard.admit_batch(who, address, NOW, 1).unwrap_err();
            assert_eq!(refused.status, 429);
            assert!(guard.admit_batch(who, address, UnixMillis(NOW.0 + 1_000), 1).is_ok());
        }
    }

    #[test]
    fn p8_nobody_waits_longer_than_some_seconds() {
        let guard = guard(10, 10);
        let (mine, address) = (access(Some("00000001")), [192, 0, 2, 1].into());
        guard.charge(&mine, address, NOW, misses(1_000_000));
        assert!(guard.look(&mine, address, UnixMillis(NOW.0 + 4_000)).is_err());
        assert!(guard.look(&mine, address, UnixMillis(NOW.0 + 6_000)).is_ok());
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let guard = Guard::new(MissLimits::default());
        for _ in 0..10_000 {
            guard.charge(&access(None), [127, 0, 0, 1].into(), NOW, misses(1_000));
            assert!(guard.miss(&access(None), [127, 0, 0, 1].into(), NOW).is_ok());
        }
    }
}
