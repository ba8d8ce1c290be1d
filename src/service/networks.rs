//! Misses of clients without a key: an exact, bounded table of networks. Evicting an entry does not
//! cancel its debt.
//!
//! An entry is the time until which the misses of a network are paid for. The table holds
//! [`NETS_MAX`] entries; when it is full, the least recently used entry is evicted. Its remaining
//! debt is moved to the enclosing network (for an IPv6 network the next wider prefix, then the /32;
//! for an IPv4 address the /16), and a network that is new in a full table starts from the level of
//! its enclosing network. So no client loses a debt by using many addresses. The enclosing networks
//! have a table of their own with [`WIDE_MAX`] entries, and one level for all comes after that.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use ahash::RandomState;
use lru::LruCache;

use crate::model::rate_limit::{Pace, Paid};
use crate::model::time::UnixMillis;

/// Maximum debt of a client beyond the burst of one second.
pub(crate) const DEBT_MAX: Duration = Duration::from_secs(5);

/// Some 6 MiB when it is full.
const NETS_MAX: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();
const WIDE_MAX: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

/// The IPv6 networks that a miss counts for: the length of their prefix, and their multiple of the
/// limit.
const PREFIXES: [(u8, u32); 3] = [(64, 1), (56, 4), (48, 16)];
/// Prefix length of the networks that take over the debts of evicted entries.
const WIDE_V4: u8 = 16;
const WIDE_V6: u8 = 32;

/// Misses of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Misses {
    pub(crate) all: usize,
    /// Misses by reference.
    pub(crate) by_reference: usize,
}

impl Misses {
    /// One miss by token.
    pub(crate) const ONE: Self = Self { all: 1, by_reference: 0 };
}

/// A network: the first bits of an address, with the other bits 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Net {
    V4(u32, u8),
    V6(u128, u8),
}

impl Net {
    fn v4(bits: u32, prefix: u8) -> Self {
        Self::V4(bits & (u32::MAX << (32 - prefix)), prefix)
    }

    fn v6(bits: u128, prefix: u8) -> Self {
        Self::V6(bits & (u128::MAX << (128 - prefix)), prefix)
    }

    /// The enclosing network; `None` for the widest ones.
    fn around(self) -> Option<Self> {
        match self {
            Self::V4(bits, prefix) => (prefix > WIDE_V4).then(|| Self::v4(bits, WIDE_V4)),
            Self::V6(bits, prefix) => {
                let longer = PREFIXES.map(|(prefix, _)| prefix).into_iter();
                let around = longer.chain([WIDE_V6]).find(|other| *other < prefix)?;
                Some(Self::v6(bits, around))
            }
        }
    }

    fn is_wide(self) -> bool {
        self.around().is_none()
    }
}

/// The networks that a miss from `address` counts for, and their multiple of the limit.
fn nets(address: IpAddr) -> impl Iterator<Item = (Net, u32)> {
    let (v4, v6) = match address.to_canonical() {
        IpAddr::V4(address) => (Some(Net::v4(address.to_bits(), 32)), None),
        IpAddr::V6(address) => (None, Some(address.to_bits())),
    };
    let of_v6 = v6.into_iter().flat_map(|bits| {
        PREFIXES.into_iter().map(move |(prefix, times)| (Net::v6(bits, prefix), times))
    });
    v4.into_iter().map(|net| (net, 1)).chain(of_v6)
}

/// The time until which misses are paid for.
type Level = Paid;

/// The misses of all clients without a key.
pub(crate) struct Strangers {
    limit: Option<u32>,
    nets: LruCache<Net, Level, RandomState>,
    wide: LruCache<Net, Level, RandomState>,
    /// Debt of networks without an entry in either table.
    others: Level,
    references: Option<Pace>,
    by_reference: Level,
}

impl Strangers {
    /// Allows `limit` misses per second for each client, and `references` misses by reference for
    /// all together.
    pub(crate) fn new(limit: Option<u32>, references: Option<u32>) -> Self {
        Self::with_room(limit, references, NETS_MAX, WIDE_MAX)
    }

    fn with_room(
        limit: Option<u32>,
        references: Option<u32>,
        nets_max: NonZeroUsize,
        wide_max: NonZeroUsize,
    ) -> Self {
        Self {
            limit,
            nets: LruCache::with_hasher(nets_max, RandomState::new()),
            wide: LruCache::with_hasher(wide_max, RandomState::new()),
            others: Level::default(),
            references: references.map(Pace::per_second),
            by_reference: Level::default(),
        }
    }

    /// Whether `address` may miss once more; the error is the time to wait.
    pub(crate) fn look(&mut self, address: IpAddr, now: UnixMillis) -> Result<(), Duration> {
        let Some(limit) = self.limit else { return Ok(()) };
        for (net, times) in nets(address) {
            Pace::per_second(limit.saturating_mul(times)).look(&self.level(net), now)?;
        }
        Ok(())
    }

    /// Whether one more miss by reference is allowed for all clients together.
    pub(crate) fn look_by_reference(&self, now: UnixMillis) -> Result<(), Duration> {
        self.references.map_or(Ok(()), |pace| pace.look(&self.by_reference, now))
    }

    /// Counts misses from `address`.
    pub(crate) fn charge(&mut self, address: IpAddr, now: UnixMillis, misses: Misses) {
        let Some(limit) = self.limit else { return };
        for (net, times) in nets(address) {
            let level = self.level(net);
            let pace = Pace::per_second(limit.saturating_mul(times));
            pace.charge(&level, now, misses.all as u64, DEBT_MAX);
            self.put(net, level);
        }
        if let Some(pace) = self.references {
            pace.charge(&self.by_reference, now, misses.by_reference as u64, DEBT_MAX);
        }
    }

    /// The level of `net`, or the one that it starts from.
    fn level(&mut self, net: Net) -> Level {
        if let Some(level) = self.nets.get(&net) {
            return level.clone();
        }
        if self.nets.len() < self.nets.cap().get() {
            return Level::default();
        }
        let mut around = net.around();
        while let Some(net) = around {
            let found = if net.is_wide() { self.wide.peek(&net) } else { self.nets.peek(&net) };
            if let Some(level) = found {
                return level.clone();
            }
            around = net.around();
        }
        if self.wide.len() < self.wide.cap().get() { Level::default() } else { self.others.clone() }
    }

    /// Stores the level of `net`. The debt of an evicted entry moves to its enclosing network.
    fn put(&mut self, net: Net, level: Level) {
        let Some((old, level)) = self.nets.push(net, level).filter(|(old, _)| *old != net) else {
            return;
        };
        let mut around = old.around();
        while let Some(net) = around {
            if net.is_wide() {
                let known = self.wide.get(&net).cloned().unwrap_or_default();
                let displaced = self.wide.push(net, known.later(&level));
                if let Some((_, level)) = displaced.filter(|(old, _)| *old != net) {
                    self.others = self.others.later(&level);
                }
                return;
            }
            if let Some(known) = self.nets.peek_mut(&net) {
                *known = known.later(&level);
                return;
            }
            around = net.around();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_769_860_800_000);

    fn strangers(limit: u32) -> Strangers {
        Strangers::new(Some(limit), Some(5))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    /// How many of `count` misses, the n-th from `address(n)`, are allowed.
    fn passed(strangers: &mut Strangers, count: u32, address: impl Fn(u32) -> IpAddr) -> u32 {
        let mut passed = 0;
        for n in 0..count {
            if strangers.look(address(n), NOW).is_ok() {
                strangers.charge(address(n), NOW, Misses::ONE);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn p10_thousands_of_guessing_addresses_refuse_nobody_else() {
        let mut strangers = strangers(10);
        for n in 0..5_000 {
            passed(&mut strangers, 11, |_| v4(0x0a00_0000 + n));
        }
        let honest = |n: u32| v4(0xc000_0200 + 7919 * n);
        assert_eq!(passed(&mut strangers, 400, honest), 400);
    }

    #[test]
    fn p10_a_network_of_ipv6_is_one_client_at_each_of_its_lengths() {
        for (bits, allowed) in [(0, 10), (64, 40), (72, 160)] {
            let mut strangers = strangers(10);
            let base = address("2001:db8::").to_canonical();
            let IpAddr::V6(base) = base else { unreachable!() };
            let at = |n: u32| IpAddr::V6((base.to_bits() | u128::from(n % 256) << bits).into());
            assert_eq!(passed(&mut strangers, 1_000, at), allowed, "from bit {bits}");
            assert!(strangers.look(address("2001:db9::1"), NOW).is_ok());
        }
        let mut strangers = strangers(1);
        assert_eq!(passed(&mut strangers, 9, |_| address("::ffff:192.0.2.1")), 1);
        assert!(strangers.look(address("192.0.2.1"), NOW).is_err(), "mapped, it is the same");
    }

    #[test]
    fn p8_the_table_is_bounded_and_eviction_forgives_nobody() {
        let (nets, wide) = (NonZeroUsize::new(100).unwrap(), NonZeroUsize::new(3).unwrap());
        let mut strangers = Strangers::with_room(Some(1), None, nets, wide);
        let debtor = v4(0x0a00_0001);
        strangers.charge(debtor, NOW, Misses { all: 4, by_reference: 0 });
        for n in 0..1_000 {
            strangers.charge(v4(0x0b00_0000 + n), NOW, Misses::ONE);
        }
        assert_eq!(strangers.nets.len(), 100);
        assert!(!strangers.nets.contains(&Net::v4(0x0a00_0001, 32)));
        assert!(strangers.look(debtor, NOW).is_err(), "it is as deep in debt as before");
        assert!(
            strangers.look(v4(0x0a00_ffff), NOW).is_err(),
            "a new address of the enclosing \
            network"
        );
        assert!(strangers.look(v4(0x0c00_0001), NOW).is_ok(), "an address of another network");
        for n in 0..1_000 {
            strangers.charge(v4(0x1000_0000 + (n << 16)), NOW, Misses::ONE);
        }
        assert!(strangers.wide.len() <= 3);
        assert!(strangers.look(debtor, NOW).is_err(), "whatever was displaced");
        let later = UnixMillis(NOW.0 + 6_001);
        assert!(strangers.look(debtor, later).is_ok(), "and for no longer than that");
    }

    #[test]
    fn p8_debt_is_bounded_to_seconds() {
        let mut strangers = strangers(10);
        let client = v4(7);
        strangers.charge(client, NOW, Misses { all: 1_000_000, by_reference: 1_000_000 });
        let wait = strangers.look(client, NOW).unwrap_err();
        assert!(wait <= DEBT_MAX + Duration::from_secs(1), "{wait:?}");
        assert!(strangers.look_by_reference(NOW).unwrap_err() <= DEBT_MAX + Duration::from_secs(1));
    }

    #[test]
    fn p10_one_total_stands_behind_all_addresses_by_reference() {
        let mut strangers = strangers(10);
        for n in 0..5 {
            assert!(strangers.look_by_reference(NOW).is_ok());
            strangers.charge(v4(n), NOW, Misses { all: 1, by_reference: 1 });
        }
        assert!(strangers.look_by_reference(NOW).is_err());
        assert!(strangers.look(v4(9), NOW).is_ok(), "tokens cannot be guessed together");
    }
}
