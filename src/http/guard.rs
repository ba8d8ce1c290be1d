//! The guard against enumeration: who asks for too much that is not there is told to wait.
//!
//! Misses are counted for each key, and for each client address; without a key, or with a wrong
//! one, for the address alone and with a tighter limit. A miss beyond the limit gets 429 in place of
//! 404, whatever the reason that nothing is there. Hits are never refused and never looked at here,
//! so a client behind the same address or key is not locked out by another's guesses. The exception
//! are references, which can be guessed: beyond the limit nothing is looked up by reference.
//!
//! The memory is bounded: keys and addresses share a fixed number of cells, found by a hash that
//! nobody outside can compute. Two that share a cell share its limit.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use http::StatusCode;

use super::respond::Problem;
use crate::keys::{Access, KeyId};
use crate::metrics::Counter;
use crate::pace::{Pace, Paid};
use crate::time::UnixMillis;

/// 512 KiB in all.
const CELLS: usize = 1 << 16;

/// How many misses are allowed each second; `None`: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissLimits {
    /// Of a key, and of an address from which keys are shown.
    pub keyed: Option<u32>,
    /// Of an address without a key, or with wrong ones.
    pub keyless: Option<u32>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Hash)]
enum Who {
    Key(KeyId),
    Address(IpAddr),
    Stranger(IpAddr),
}

/// Counts misses. Clones share the counts.
#[derive(Clone)]
pub(super) struct Guard(Option<Arc<Inner>>);

struct Inner {
    keyed: Option<Pace>,
    keyless: Option<Pace>,
    cells: Box<[Paid]>,
    hasher: RandomState,
    refused: Counter,
}

impl Guard {
    pub(super) fn new(limits: MissLimits) -> Guard {
        if limits == MissLimits::default() {
            return Guard(None);
        }
        Guard(Some(Arc::new(Inner {
            keyed: limits.keyed.map(Pace::per_second),
            keyless: limits.keyless.map(Pace::per_second),
            cells: (0..CELLS).map(|_| Paid::default()).collect(),
            hasher: RandomState::new(),
            refused: Counter::default(),
        })))
    }

    /// Counts `misses` of who plays the part `access`; [`Problem`] 429 where they were too many.
    pub(super) fn miss(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
        misses: usize,
    ) -> Result<(), Problem> {
        let taken =
            self.each(access.key, address, |pace, paid| pace.take(paid, now, misses as u64));
        self.counted(taken)
    }

    /// 429 where another miss would be one too many; counts nothing, not even that.
    pub(super) fn look(
        &self,
        access: &Access,
        address: IpAddr,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        self.each(access.key, address, |pace, paid| pace.look(paid, now))
    }

    /// Counts a wrong key.
    pub(super) fn wrong_key(&self, address: IpAddr, now: UnixMillis) -> Result<(), Problem> {
        self.counted(self.each(None, address, |pace, paid| pace.take(paid, now, 1)))
    }

    fn counted(&self, taken: Result<(), Problem>) -> Result<(), Problem> {
        if let (Err(_), Some(inner)) = (&taken, &self.0) {
            inner.refused.increment();
        }
        taken
    }

    /// Misses that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.refused.get())
    }

    fn each(
        &self,
        key: Option<KeyId>,
        address: IpAddr,
        try_one: impl Fn(Pace, &Paid) -> Result<(), Duration>,
    ) -> Result<(), Problem> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let address = network(address);
        let (pace, parts) = match key {
            Some(key) => (inner.keyed, [Some(Who::Key(key)), Some(Who::Address(address))]),
            None => (inner.keyless, [Some(Who::Stranger(address)), None]),
        };
        let Some(pace) = pace else { return Ok(()) };
        for who in parts.into_iter().flatten() {
            let cell = inner.hasher.hash_one(who) as usize % CELLS;
            if let Err(wait) = try_one(pace, &inner.cells[cell]) {
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
                return Err(problem.after(wait));
            }
        }
        Ok(())
    }
}

const TOO_MANY: &str = "too many requests for what is not there; wait before the next";

/// What belongs to one client: of IPv6 a whole network of 64 bits is handed out to each.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Namespace;
    use crate::token::{Digester, SECRET_LEN, Secret};

    const NOW: UnixMillis = UnixMillis(1_769_860_800_000);

    fn access(key: Option<&str>) -> Access {
        let digester = Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default");
        let key = key.map(|id| id.parse().unwrap());
        Access { key, ..Access::everything(Namespace::default(), digester) }
    }

    fn guard(keyed: u32, keyless: u32) -> Guard {
        Guard::new(MissLimits { keyed: Some(keyed), keyless: Some(keyless) })
    }

    #[test]
    fn keys_and_addresses_are_counted_apart_and_strangers_by_a_tighter_limit() {
        let guard = guard(100, 2);
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let nobody = access(None);
        for _ in 0..2 {
            assert!(guard.miss(&nobody, one, NOW, 1).is_ok());
        }
        let refused = guard.miss(&nobody, one, NOW, 1).unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(guard.wrong_key(one, NOW).is_err(), "wrong keys are guesses as well");
        assert!(guard.miss(&nobody, two, NOW, 1).is_ok());
        let [mine, other] = [access(Some("00000001")), access(Some("00000002"))];
        assert!(guard.miss(&mine, one, NOW, 100).is_ok(), "a key's misses are other misses");
        assert!(guard.look(&mine, two, NOW).is_err(), "the key, from wherever");
        assert!(guard.look(&other, one, NOW).is_err(), "the address, with whatever key");
        assert!(guard.look(&other, two, NOW).is_ok());
        assert!(guard.miss(&mine, one, UnixMillis(NOW.0 + 1_000), 1).is_ok());
        assert_eq!(guard.refused(), 2);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let guard = guard(1, 1);
        let addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1"];
        let [one, same, other, mapped] = addresses.map(|text| text.parse().unwrap());
        assert!(guard.wrong_key(one, NOW).is_ok());
        assert!(guard.wrong_key(same, NOW).is_err());
        assert!(guard.wrong_key(other, NOW).is_ok());
        assert!(guard.wrong_key(mapped, NOW).is_ok());
        assert!(guard.wrong_key("192.0.2.1".parse().unwrap(), NOW).is_err());
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let guard = Guard::new(MissLimits::default());
        for _ in 0..10_000 {
            assert!(guard.miss(&access(None), [127, 0, 0, 1].into(), NOW, 1_000).is_ok());
        }
    }
}
