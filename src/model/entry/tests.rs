//! An entry returns what was stored in it, even while the committer changes it.

use super::footprint::size_class;
use super::*;
use proptest::prelude::*;

const SLOT: JournalPart = JournalPart(0xBEEF);

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        deadline in 0..=UnixMillis::MAX.0, issued in 0..=UnixMillis::MAX.0,
        uses_total in 1..=USES_MAX, taken in 0..3u32, peek: bool, derived: bool,
        keys in prop::collection::vec(any::<[u8; 16]>(), 0..4),
    ) {
        let keys: Vec<_> = keys.into_iter().map(ConsumeKey).collect();
        let uses_left = uses_total.saturating_sub(taken);
        let parts = Parts {
            payload: &payload, deadline: UnixMillis(deadline), issued_at: UnixMillis(issued),
            uses_left, uses_total, peek, derived, keys: &keys,
        };
        let entry = Entry::new(&parts, SLOT);
        prop_assert_eq!(entry.payload(), &payload[..]);
        prop_assert_eq!(entry.deadline().0, deadline);
        prop_assert_eq!(entry.issued_at().0, issued);
        prop_assert_eq!(entry.uses_left(), uses_left);
        prop_assert_eq!((entry.peek(), entry.is_derived()), (peek, derived));
        prop_assert_eq!(entry.keys(), &keys[..]);
        prop_assert_eq!(entry.segment(), SLOT);
        prop_assert_eq!(entry.is_consumed(), uses_left == 0);
        if uses_left > 0 { prop_assert_eq!(entry.uses_total(), uses_total); }
        entry.set_deadline(UnixMillis(5));
        entry.set_segment(JournalPart(1));
        prop_assert_eq!((entry.deadline().0, entry.segment()), (5, JournalPart(1)));
        prop_assert_eq!(entry.payload(), &payload[..]);
    }
}

fn plain(payload: &[u8]) -> Parts<'_> {
    Parts {
        payload,
        deadline: UnixMillis(1_000),
        issued_at: UnixMillis(0),
        uses_left: 1,
        uses_total: 1,
        peek: true,
        derived: false,
        keys: &[],
    }
}

#[test]
fn p3_gone_from_the_deadline_on_to_the_millisecond() {
    let entry = Entry::new(&plain(b"1"), SLOT);
    assert!(entry.is_resolvable(UnixMillis(999)) && !entry.is_expired(UnixMillis(999)));
    assert!(!entry.is_resolvable(UnixMillis(1_000)) && entry.is_expired(UnixMillis(1_000)));
}

#[test]
fn several_uses_count_down() {
    let entry = Entry::new(&Parts { uses_left: 3, uses_total: 3, ..plain(b"{}") }, SLOT);
    assert!(entry.take_use(None));
    assert_eq!((entry.uses_left(), entry.uses_total()), (2, 3));
    assert_eq!(entry.payload(), b"{}");
}

#[test]
fn an_entry_has_24_bytes_beside_its_key() {
    assert_eq!(size_of::<Entry>(), 24);
}

#[test]
fn size_classes_are_those_of_the_allocator() {
    for (len, class) in
        [(0, 0), (1, 8), (64, 64), (65, 80), (128, 128), (129, 160), (161, 192), (257, 320)]
    {
        assert_eq!(size_class(len), class, "{len}");
    }
}

#[test]
fn p9_debug_shows_no_payload() {
    let shown = format!("{:?}", Entry::new(&plain(b"4111111111111111"), SLOT));
    assert!(!shown.contains("4111"));
}

fn many(uses_left: u32, keys: &[ConsumeKey]) -> Entry {
    Entry::new(&Parts { uses_left, uses_total: USES_MAX, keys, ..plain(b"{\"a\":1}") }, SLOT)
}

/// Distributed evenly, like HMACs.
fn mac(n: u64) -> ConsumeKey {
    let [head, tail] = [1, 2].map(|at| (n * 2 + at).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    ConsumeKey((u128::from(head) << 64 | u128::from(tail.rotate_left(17))).to_le_bytes())
}

/// Consumes a use with a key as the engine does. Returns true if the entry had to be replaced.
fn take(entry: &mut Entry, key: ConsumeKey) -> bool {
    if entry.take_use(Some(&key)) {
        return false;
    }
    let growth = entry.key_growth(1);
    let mut keys = entry.keys().to_vec();
    keys.push(key);
    let successor =
        Entry::new(&Parts { uses_left: entry.uses_left() - 1, keys: &keys, ..entry.parts() }, SLOT);
    assert_eq!(successor.memory_bytes() - entry.memory_bytes(), growth, "as admitted");
    *entry = successor;
    true
}

#[test]
fn p8_a_key_costs_the_same_however_many_there_are() {
    // As many as Miri can process in a minute.
    let count = if cfg!(miri) { 300 } else { u64::from(USES_MAX) - 1 };
    let mut entry = many(USES_MAX, &[]);
    let mut replaced = 0;
    for n in 0..count {
        replaced += u32::from(take(&mut entry, mac(n)));
    }
    assert!(replaced <= count.ilog2() + 1, "replaced {replaced} times");
    assert_eq!(u64::from(entry.uses_left()), u64::from(USES_MAX) - count);
    assert_eq!(entry.payload(), b"{\"a\":1}");
    let index = entry.index().expect("many keys have an index");
    let probed = |key: ConsumeKey| {
        let slots = probes(index.len(), &key).map(|at| index[at].load(Ordering::Relaxed));
        slots.take_while(|slot| *slot != 0 && entry.key_at(*slot) != Some(&key)).count() as u64
    };
    let found: u64 = (0..count).map(|n| probed(mac(n))).sum();
    let unknown: u64 = (0..count).map(|n| probed(mac(1 << 32 | n))).sum();
    assert!(found < 3 * count && unknown < 6 * count, "{found} and {unknown} for {count}");
    assert!((0..count).all(|n| entry.has_key(&mac(n)) && !entry.has_key(&mac(1 << 32 | n))));
}

#[test]
fn an_entry_takes_the_same_memory_however_it_came_by_its_keys() {
    let mut entry = many(USES_MAX, &[]);
    let keys: Vec<_> = (0..40).map(mac).collect();
    for (at, key) in keys.iter().enumerate() {
        take(&mut entry, *key);
        assert_eq!(entry.keys(), &keys[..=at]);
        let relocated = many(entry.uses_left(), &keys[..=at]);
        assert_eq!(relocated.memory_bytes(), entry.memory_bytes());
        let more = keys.len();
        let later = many(1, &(0..at as u64 + 1 + more as u64).map(mac).collect::<Vec<_>>());
        assert_eq!(entry.memory_bytes() + entry.key_growth(more), later.memory_bytes());
    }
    let consumed = many(0, &keys);
    assert!(consumed.memory_bytes() < entry.memory_bytes(), "no room for keys that can never come");
    assert!(keys.iter().all(|key| consumed.has_key(key)));
}

/// Keys whose MACs have the same prefix, or differ in only one bit, are different keys.
#[test]
fn p2_keys_are_told_apart_in_the_index_too() {
    let near = |n: u8| {
        let mut key = [7; 16];
        key[15] = n;
        ConsumeKey(key)
    };
    let keys: Vec<_> = (0..100).map(near).collect();
    let entry = many(100, &keys);
    assert!(keys.iter().all(|key| entry.has_key(key)));
    assert!((100..=255).all(|n| !entry.has_key(&near(n))));
}

#[test]
fn p2_readers_see_a_key_once_they_see_its_use() {
    let keys: Vec<_> = (0..16).map(mac).collect();
    let entry = many(1_000, &keys[..1]);
    let more = if cfg!(miri) { 3 } else { 300 };
    let grown = many(1_000, &(0..300).map(mac).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for entry in [&entry, &grown] {
            let first = entry.keys().len() as u64;
            let room = (first..first + more).map(mac).collect::<Vec<_>>();
            scope.spawn(move || room.iter().take_while(|key| entry.take_use(Some(key))).count());
            scope.spawn(move || {
                for _ in 0..200 {
                    let taken = u64::from(1_000 - entry.uses_left());
                    assert!((first..first + taken).all(|n| entry.has_key(&mac(n))));
                    assert!(entry.keys().len() as u64 >= first + taken);
                }
            });
        }
    });
    assert!(entry.keys().len() == 4 && grown.keys().len() > 300);
}
