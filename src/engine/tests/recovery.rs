//! A start rebuilds the live entries without using more memory than they need, and `jeton verify`
//! counts them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::recovery::{Rebuilt, rebuild, rebuild_plainly, take};
use super::super::replicated::{Landed, MessageHead, MessageKind, Replicated, Sender, hash_of};
use super::*;
use crate::model::cluster::{BootNonce, ClusterId, Epoch, Era, NodeId};
use crate::model::entry::JournalPart;
use crate::model::record::replication::{Origin, Verdict};
use crate::wal::pieces::PIECE_LEN;
use crate::wal::{FrameBuffer, LogKey, Survey, Wal};

/// An entry, and the segment that contains it.
type Seen = (Vec<u8>, [u64; 4], bool, bool, Vec<ConsumeKey>, JournalPart);

/// The entries that are alive at `now`, or remembered as consumed.
fn entries(rebuilt: &Rebuilt, now: UnixMillis) -> BTreeMap<[u8; 16], Seen> {
    let mut seen = BTreeMap::new();
    rebuilt.store.pin().for_each(|digest, entry| {
        assert!(!entry.is_expired(now), "what has expired by now is freed");
        let parts = entry.parts();
        let numbers = [
            parts.deadline.0,
            parts.issued_at.0,
            u64::from(parts.uses_left),
            u64::from(parts.uses_total),
        ];
        let rest = (parts.peek, parts.derived, parts.keys.to_vec(), entry.segment());
        let all = (parts.payload.to_vec(), numbers, rest.0, rest.1, rest.2, rest.3);
        assert!(seen.insert(digest.to_bytes(), all).is_none());
    });
    seen
}

/// Checks for the same entries, the same counts, and the same live bytes in each segment.
fn assert_same(one: &Rebuilt, other: &Rebuilt, now: UnixMillis) {
    assert_eq!(entries(one, now), entries(other, now));
    let [one, other] = [one, other].map(|rebuilt| {
        let totals = &rebuilt.accounting.totals;
        let live = |usage: &&super::super::state::Usage| usage.live_bytes != 0;
        let usage: BTreeMap<_, _> = totals
            .usage
            .iter()
            .filter(|(_, usage)| live(usage))
            .map(|(slot, usage)| (*slot, usage.live_bytes))
            .collect();
        let holdings: BTreeMap<_, _> =
            totals.holdings.iter().map(|(tag, held)| (tag.0, (held.tokens, held.bytes))).collect();
        (totals.tokens, totals.entries, totals.memory_bytes, usage, holdings)
    });
    assert_eq!(one, other);
}

fn found(disk: &Memory) -> Survey {
    survey(&disk.storage()).unwrap().unwrap().with_key(&log_key()).unwrap()
}

/// The key of the log of these tests.
fn log_key() -> LogKey {
    LogKey::new(&Digester::new(&Secret::from_bytes([7; 32]), "default"))
}

/// Compares a start at several times after the end of the log with one that skips no entry.
fn compare(disk: &Memory) {
    let survey = found(disk);
    let last = survey.tail.last_time_ms;
    for now in [0, 1, 700, 5_000, 30_000, 200_000].map(|later| UnixMillis(last + later)) {
        let plain = rebuild_plainly(&survey, now, 1, &NoProgress).unwrap();
        for threads in [1, 3] {
            let fast = rebuild(&survey, now, threads, &NoProgress).unwrap();
            assert_same(&fast, &plain, now);
        }
        if now.0 == last {
            let counted = take(&survey, 2, &NoProgress).unwrap();
            assert_eq!(counted.tokens, plain.accounting.totals.tokens, "verify");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// All in one frame, so that competing operations are next to each other.
    Batch(Vec<Op>),
    Advance(u64),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (id, ttl) = (0..8u64, prop_oneof![1..400u64, 400..9_000u64, 9_000..90_000u64]);
    let key = prop::option::of((0..3u8).prop_map(key));
    prop_oneof![
        6 => (id.clone(), ttl.clone(), 0..3u8, 1..4u32, any::<bool>()).prop_map(
            |(id, ttl_ms, payload, uses, derived)| Op::Issue {
                digest: digest(id), payload: vec![payload + b'0'; 40], uses, derived, peek: true,
                ttl: Duration::from_millis(ttl_ms),
            }
        ),
        3 => (id.clone(), key).prop_map(|(id, key)| Op::Consume { digest: digest(id), key }),
        3 => (id.clone(), ttl).prop_map(
            |(id, ttl_ms)| Op::Extend { digest: digest(id), ttl: Duration::from_millis(ttl_ms) }
        ),
        1 => id.prop_map(|id| Op::Revoke { digest: digest(id) }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::collection::vec(op(), 1..6).prop_map(Step::Batch),
        4 => (1..3_000u64).prop_map(Step::Advance),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn p2_p3_a_start_that_passes_over_what_is_past_finds_the_same_entries(steps in steps()) {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let mut engine = open(&disk, &clock, config(12 << 10));
        for step in steps {
            match step {
                Step::Batch(ops) => drop(engine.submit(ops).unwrap().wait().unwrap()),
                Step::Advance(ms) => clock.advance(ms),
                Step::Reopen => {
                    engine.close().unwrap();
                    compare(&disk);
                    engine = open(&disk, &clock, config(12 << 10));
                }
            }
        }
        engine.close().unwrap();
        compare(&disk);
    }
}

/// Two consumes with one key in one frame consume one of two uses: the token stays alive.
#[test]
fn p2_verify_counts_a_use_once_for_one_key_in_a_frame() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(12 << 10));
    let issue = Op::Issue {
        digest: digest(1),
        payload: b"1".to_vec(),
        ttl: Duration::from_secs(60),
        uses: 2,
        peek: true,
        derived: false,
    };
    engine.submit(vec![issue]).unwrap().wait().unwrap();
    let consume = Op::Consume { digest: digest(1), key: Some(key(1)) };
    engine.submit(vec![consume.clone(), consume]).unwrap().wait().unwrap();
    engine.close().unwrap();
    compare(&disk);
    assert_eq!(take(&found(&disk), 1, &NoProgress).unwrap().tokens, 1);
}

/// A log of one long-lived token and many short-lived ones, 100 at a time, 100 ms apart; and the
/// maximum memory of its entries at one moment.
fn mostly_dead(rounds: u64, ttl_ms: u64) -> (Memory, Arc<ManualClock>, u64) {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut config = config(4 << 20);
    config.wal.log_min_size = 1 << 30;
    let engine = open(&disk, &clock, config);
    one(&engine, issue(0, b"1", 90_000));
    for round in 0..rounds {
        let ops = (0..100).map(|n| issue(1 + round * 100 + n, &[b'x'; 1_000], ttl_ms)).collect();
        engine.submit(ops).unwrap().wait().unwrap();
        clock.advance(100);
    }
    engine.close().unwrap();
    let live = (ttl_ms / 100 + 2) * 100;
    (disk, clock, live * crate::model::entry::Entry::footprint(1_000, 1) as u64)
}

#[test]
fn p8_a_start_takes_the_memory_of_what_lived_at_one_moment() {
    let (disk, _, lived) = mostly_dead(200, 500);
    let (survey, all) = (found(&disk), 200 * 100 * 1_000);
    let now = UnixMillis(survey.tail.last_time_ms);
    let most = lived * 13 / 10 + 2 * PIECE_LEN;
    assert!(most < all / 3, "otherwise the test shows nothing");
    for threads in [1, 2] {
        let passed_over = rebuild(&survey, now, threads, &NoProgress).unwrap().peak_bytes;
        assert!(passed_over <= lived * 13 / 10, "{passed_over} of {lived}");
        let followed = rebuild_plainly(&survey, now, threads, &NoProgress).unwrap().peak_bytes;
        assert!(followed <= most, "{followed} of {most}");
    }
}

#[test]
fn p8_what_is_past_at_the_start_is_not_built() {
    let (disk, _, _) = mostly_dead(100, 60_000);
    let survey = found(&disk);
    let now = UnixMillis(survey.tail.last_time_ms + 60_000);
    let rebuilt = rebuild(&survey, now, 2, &NoProgress).unwrap();
    assert_eq!(rebuilt.accounting.totals.tokens, 1);
    assert!(rebuilt.peak_bytes < 1_000, "{}", rebuilt.peak_bytes);
    assert!(rebuilt.expired_until > UnixMillis(survey.tail.last_time_ms), "the log will record it");
}

#[test]
fn p8_verify_keeps_at_most_32_bytes_a_living_token() {
    let (disk, _, _) = mostly_dead(400, 60_000);
    let counted = take(&found(&disk), 2, &NoProgress).unwrap();
    assert_eq!(counted.tokens, 40_001);
    let fixed = 64 * 16 * 32;
    assert!(counted.peak_bytes < 32 * counted.tokens + fixed, "{}", counted.peak_bytes);
    let (disk, _, _) = mostly_dead(400, 500);
    let counted = take(&found(&disk), 2, &NoProgress).unwrap();
    assert!(counted.peak_bytes < 32 * 1_000 + fixed, "expired tokens use no memory");
}

#[test]
fn p1_an_extension_revives_what_was_passed_over() {
    // More doubtful digests than a partition collects, and fewer.
    for tokens in [2, 40] {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(1 << 20));
        for id in 0..tokens {
            one(&engine, issue(id, b"1", 1_000));
        }
        clock.advance(500);
        let ttl = Duration::from_millis(50_000);
        for id in 0..tokens {
            one(&engine, Op::Extend { digest: digest(id), ttl });
        }
        engine.close().unwrap();
        clock.advance(10_000);
        let engine = open(&disk, &clock, config(1 << 20));
        assert!((0..tokens).all(|id| resolve(&engine, id).is_some()), "P1: {tokens}");
        assert_eq!(engine.stats().tokens, tokens);
    }
}

#[test]
fn p2_a_rival_that_lost_to_what_was_passed_over_is_not_revived() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(1 << 20));
    let rivals = vec![rival(b"first", 1_000), rival(b"second", 60_000)];
    let outcomes = engine.submit(rivals).unwrap().wait().unwrap();
    assert_eq!(outcomes[1], Outcome::Conflict);
    engine.close().unwrap();
    clock.advance(10_000);
    let engine = open(&disk, &clock, config(1 << 20));
    assert_eq!(resolve(&engine, 2), None);
}

/// The records of one message of a cluster's stream after another, as a node logs them.
fn origins(count: u64, salt: u8) -> Vec<Origin> {
    let mut state = Replicated::default();
    let sender = Sender { node: NodeId(1), epoch: Epoch(1), nonce: BootNonce([1; 16]) };
    let made = |seq: u64| {
        let (kind, batch) = match seq {
            1 => (MessageKind::Genesis, 0),
            2 => (MessageKind::Hello, 0),
            _ => (MessageKind::Batch, seq - 2),
        };
        let proposed_at = UnixMillis(seq);
        let (cluster, era) = (ClusterId([1; 16]), Era(1));
        let (format, attempt) = (1, 0);
        let head = MessageHead { format, kind, cluster, era, sender, batch, attempt, proposed_at };
        let hash = hash_of(&[salt, seq as u8]);
        Landed { seq, stream_time: proposed_at, hash, content: Some((head, Vec::new())) }
    };
    let mut next = |seq| {
        let (before, message) = (state.clone(), made(seq));
        let verdict = before.judge(&message, UnixMillis(seq));
        state = before.after(&message, verdict, UnixMillis(seq));
        state.origin(message.content.as_ref().map(|(head, _)| head), verdict, &before)
    };
    (1..=count).map(&mut next).collect()
}

fn restated(last: Origin) -> Origin {
    let (node, epoch) = (NodeId(0), Epoch(0));
    Origin { verdict: Verdict::Restated, node, epoch, batch: 0, ..last }
}

/// What a start and `jeton verify` say of a log with these frames.
fn read_node(origins: &[Origin]) -> [Result<Option<Replicated>, String>; 2] {
    let disk = Memory::new();
    let config = wal::Config { preparing: Preparing::Inline, ..wal::Config::default() };
    let mut log = Wal::create(disk.storage(), config, &log_key()).unwrap();
    for (time, origin) in (1..).zip(origins) {
        let mut frame = FrameBuffer::default();
        frame.writer().extend_from_slice(&origin.encode());
        log.append(time, &frame).unwrap();
    }
    log.close(1_000).unwrap();
    let survey = found(&disk);
    let opened = rebuild(&survey, UnixMillis(1_000), 1, &NoProgress);
    let verified = take(&survey, 2, &NoProgress);
    [
        opened.map(|all| all.replicated).map_err(|error| error.to_string()),
        verified.map(|all| all.counts.replicated).map_err(|error| error.to_string()),
    ]
}

#[test]
fn p5_a_log_that_goes_on_as_that_of_another_node_is_refused() {
    let own = origins(6, 1);
    // The oldest segments may be gone, and a frame may state its position again.
    let good = [own[2], own[3], own[4], restated(own[4]), own[5]];
    for read in read_node(&good) {
        assert_eq!(read.unwrap().unwrap().position.seq, 6);
    }
    let other = origins(6, 2);
    let foreign = Origin { cluster: ClusterId([2; 16]), ..own[5] };
    for wrong in [
        vec![own[2], own[3], own[5]],
        vec![own[2], own[3], own[3]],
        vec![own[2], own[3], other[4]],
        vec![own[2], own[3], own[4], restated(other[4])],
        vec![own[2], own[3], own[4], restated(own[3])],
        vec![own[2], own[3], own[4], foreign],
        vec![own[0], own[1], own[0]],
    ] {
        for read in read_node(&wrong) {
            let why = read.unwrap_err();
            assert!(why.contains("is not the continuation of this log"), "{why}");
        }
    }
}
