//! Which share of the digest space each shard has.

/// Number of shards.
pub const SHARDS: usize = 64;

/// Number of equal parts of the digest space; each part belongs to a shard.
pub(super) const PARTS: usize = 1 << PART_BITS;
pub(super) const PART_BITS: u32 = 12;

/// Shares of the digest space: shard i gets a share proportional to 2^(i / [`SHARDS`]).
pub(super) fn parts() -> [u8; PARTS] {
    let weight = |shard: usize| (shard as f64 / SHARDS as f64).exp2();
    let total: f64 = (0..SHARDS).map(weight).sum();
    let mut parts = [0; PARTS];
    let (mut shard, mut end) = (0, weight(0));
    for (at, part) in parts.iter_mut().enumerate() {
        while shard + 1 < SHARDS && (at as f64 + 0.5) / PARTS as f64 * total > end {
            shard += 1;
            end += weight(shard);
        }
        *part = shard as u8;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_the_shares_they_should() {
        let mut counts = [0u32; SHARDS];
        for shard in parts() {
            counts[usize::from(shard)] += 1;
        }
        let (first, last) = (f64::from(counts[0]), f64::from(counts[SHARDS - 1]));
        assert!((1.8..2.2).contains(&(last / first)), "{first} {last}");
        assert!(counts.iter().all(|count| *count > 0));
    }
}
