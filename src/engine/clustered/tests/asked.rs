//! Puts, deadlines that may be earlier, and operations that are performed together: all nodes decide
//! them when they land.

use super::admission::{Served, guesses};
use super::*;
use crate::engine::{DeadlineWhen, Outcome, Put, Quota, Quotas, Rejected, When};
use crate::model::record::asked::{Asked, AskedPut};
use crate::model::record::replication::Decision;
use crate::testkit::disk::Keep;
use crate::wal::{Features, Storage, survey};

pub(super) fn digest(id: u8) -> Digest {
    Digest::from_bytes([id; 16])
}

pub(super) fn put(id: u8, payload: &[u8], when: When) -> Op {
    Op::Put(Put {
        digest: digest(id),
        payload: payload.to_vec(),
        ttl: Some(Duration::from_millis(10_000)),
        default_ttl: Duration::from_millis(5_000),
        uses: 1,
        peek: true,
        when,
        wants_previous: true,
    })
}

pub(super) fn read(id: u8) -> Op {
    Op::Read { digest: digest(id) }
}

fn set(id: u8, after: u64) -> Op {
    let (deadline, when) = (UnixMillis(START.0 + after), DeadlineWhen::Always);
    Op::SetDeadline { digest: digest(id), deadline, when }
}

fn was_put(previous: Option<&[u8]>) -> Outcome {
    let deadline = UnixMillis(START.0 + 10_000);
    Outcome::Put { deadline, previous: previous.map(<[u8]>::to_vec) }
}

fn payload_of(outcome: &Outcome) -> Option<&[u8]> {
    match outcome {
        Outcome::Found { payload, .. } => payload.as_deref(),
        Outcome::Consumed { payload } => Some(payload),
        _ => None,
    }
}

/// A node of a cluster whose nodes have agreed on the latest format.
pub(super) fn agreed() -> Served {
    let mut served = Served::start();
    let agree = served.node.follower().decide(Decision::Agree(FORMAT)).unwrap();
    served.node.turn(false);
    served.land_next();
    agree.wait().unwrap();
    served
}

impl Served {
    /// Performs operations, which land at once.
    pub(super) fn perform(&mut self, ops: Vec<Op>, is_together: bool) -> Vec<Outcome> {
        let engine = self.node.engine();
        let pending = match is_together {
            true => engine.submit_together(ops),
            false => engine.submit(ops),
        };
        self.node.turn(false);
        self.land_next();
        pending.unwrap().wait().unwrap()
    }

    fn resolve(&self, id: u8, after: u64) -> Option<Vec<u8>> {
        self.node.engine().resolve(&digest(id), UnixMillis(START.0 + after), <[u8]>::to_vec)
    }

    /// A batch of another node lands.
    pub(super) fn land_of_other(&mut self, batch: u64, format: u16, records: &[Asked<'_>]) {
        let mut body = Vec::new();
        records.iter().for_each(|asked| Record::Asked(*asked).encode(&mut body));
        self.seq += 1;
        let mut landed = message(self.seq, MessageKind::Batch, batch, START, body);
        landed.content.as_mut().unwrap().0.format = format;
        land(&mut self.node, landed);
    }

    pub(super) fn begin_other(&mut self) {
        self.seq += 1;
        land(&mut self.node, message(self.seq, MessageKind::Hello, 0, START, Vec::new()));
    }

    /// The last batch of the other node that has counted.
    fn high_of_other(&self) -> u64 {
        let members = self.node.follower().state().members;
        members.iter().find(|row| row.node == OTHER.node).unwrap().high
    }
}

pub(super) fn put_of_other(id: u8, payload: &[u8]) -> Asked<'_> {
    Asked::Put(AskedPut {
        digest: digest(id),
        lifetime: UnixMillis(10_000),
        keeps: false,
        uses: 1,
        peek: true,
        when: When::Always,
        asks: false,
        payload,
    })
}

#[test]
fn p4_what_is_performed_together_is_one_part_of_one_message() {
    let mut served = agreed();
    served.perform(vec![put(1, b"old", When::Always)], false);
    let ops = vec![
        read(1),
        put(1, b"new", When::Present),
        read(1),
        Op::Consume { digest: digest(1), key: None },
        put(1, b"last", When::Absent),
        put(1, b"never", When::Absent),
        Op::Revoke { digest: digest(2) },
    ];
    // What is in flight was proposed before it, so it is proposed with the next message, as a whole.
    let before = served.node.engine().submit(guesses(1, 1)).unwrap();
    served.node.turn(false);
    let after = served.node.engine().submit_together(ops).unwrap();
    let single = served.node.engine().submit(vec![put(3, b"3", When::Always)]).unwrap();
    served.node.turn(false);
    served.land_next();
    assert_eq!(before.wait(), Ok(vec![Outcome::NotFound]));
    served.land_next();
    let outcomes = after.wait().unwrap();
    let payloads: Vec<_> = outcomes[..4].iter().map(payload_of).collect();
    let (old, new) = (&b"old"[..], &b"new"[..]);
    assert_eq!(payloads, [Some(old), None, Some(new), Some(new)]);
    let kept = Outcome::NotPut { previous: Some(b"last".to_vec()) };
    assert_eq!([&outcomes[1], &outcomes[4]], [&was_put(Some(old)), &was_put(None)]);
    assert_eq!([&outcomes[5], &outcomes[6]], [&kept, &Outcome::NotFound]);
    assert_eq!(single.wait(), Ok(vec![was_put(None)]));
    assert_eq!(served.resolve(1, 0), Some(b"last".to_vec()));
    // What was refused is not in the log.
    let again = open(&served.disk.crash(Keep::Synced)).unwrap();
    let found = |id| again.engine().resolve(&digest(id), START, <[u8]>::to_vec);
    assert_eq!([found(1), found(2), found(3)], [Some(b"last".to_vec()), None, Some(b"3".to_vec())]);
}

#[test]
fn p2_conditions_are_decided_by_what_has_landed_before() {
    let mut served = agreed();
    served.begin_other();
    let pending = served.node.engine().submit(vec![put(1, b"own", When::Absent)]).unwrap();
    let late = vec![put(2, b"own", When::Absent), put(1, b"own", When::Present)];
    let together = served.node.engine().submit_together(late).unwrap();
    served.node.turn(false);
    served.land_of_other(1, FORMAT, &[put_of_other(1, b"other")]);
    served.land_next();
    let lost = Outcome::NotPut { previous: Some(b"other".to_vec()) };
    assert_eq!(pending.wait(), Ok(vec![lost]));
    assert_eq!(together.wait(), Ok(vec![was_put(None), was_put(Some(b"other"))]));
    assert_eq!(served.high_of_other(), 1);
}

/// The deadline was in the future when it was asked for.
#[test]
fn p3_a_deadline_that_has_passed_when_it_lands_ends_the_token() {
    let mut served = agreed();
    served.perform(vec![put(1, b"1", When::Always), put(2, b"2", When::Always)], false);
    let alone = served.node.engine().submit(vec![set(1, 100)]).unwrap();
    let together = served.node.engine().submit_together(vec![set(2, 100), read(2)]).unwrap();
    served.node.turn(false);
    served.land_next_at(UnixMillis(START.0 + 100));
    assert_eq!(alone.wait(), Ok(vec![Outcome::Revoked]));
    assert_eq!(together.wait(), Ok(vec![Outcome::Revoked, Outcome::NotFound]));
    assert_eq!(served.node.engine().stats().tokens, 0);
    let unknown = served.perform(vec![set(1, 5_000)], false);
    assert_eq!(unknown, [Outcome::NotFound]);
}

#[test]
fn p4_what_all_nodes_do_not_know_yet_is_refused_and_counts_nowhere() {
    let mut served = Served::start();
    let engine = served.node.engine().clone();
    for refused in [
        engine.submit(vec![put(1, b"1", When::Always)]).map(drop),
        engine.submit(vec![set(1, 100)]).map(drop),
        engine.submit_together(guesses(1, 2)).map(drop),
    ] {
        let Err(Rejected::Invalid(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("upgrade --finish"), "{why}");
    }
    assert!(!engine.fits_together(&guesses(1, 2)));
    served.begin_other();
    served.land_of_other(1, FORMAT, &[put_of_other(1, b"1")]);
    served.land_of_other(1, 1, &[put_of_other(1, b"1")]);
    assert_eq!(served.high_of_other(), 0);
    assert_eq!(served.resolve(1, 0), None);
}

#[test]
fn p4_a_message_with_a_broken_call_counts_nowhere() {
    let mut served = agreed();
    served.begin_other();
    let (two, one) = (Asked::Together { count: 2 }, Asked::Together { count: 1 });
    let put = put_of_other(1, b"1");
    for broken in [vec![two, put], vec![two, one, put, put], vec![one]] {
        served.land_of_other(1, FORMAT, &broken);
        assert_eq!(served.high_of_other(), 0, "{broken:?}");
    }
    served.land_of_other(1, FORMAT, &[two, put, put, one, put]);
    assert_eq!(served.high_of_other(), 1);
}

#[test]
fn p8_a_call_that_no_message_can_hold_is_refused() {
    let mut served = agreed();
    let long = |count: u8, len: usize| -> Vec<Op> {
        (0..count).map(|id| put(id, &vec![b'1'; len], When::Always)).collect()
    };
    let refused = served.node.engine().submit_together(long(16, 64 << 10)).map(drop);
    let Err(Rejected::Invalid(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("1 MiB"), "{why}");
    let outcomes = served.perform(long(15, 64 << 10), true);
    assert_eq!(outcomes, vec![was_put(None); 15]);
}

#[test]
fn p8_guesses_together_write_no_record() {
    let mut served = agreed();
    let records = served.node.engine().stats().records;
    let outcomes =
        served.perform(vec![read(1), set(1, 100), read(1), put(1, b"1", When::Present)], true);
    let missed = Outcome::NotPut { previous: None };
    let nothing = Outcome::NotFound;
    assert_eq!(outcomes, [nothing.clone(), nothing.clone(), nothing, missed]);
    // The Origin of the message alone.
    assert!(served.node.engine().stats().records <= records + 1);
}

#[test]
fn p5_an_earlier_version_refuses_the_log_of_a_node_with_its_first_put() {
    let mut served = agreed();
    let features = |disk: &Memory| {
        let storage: Arc<dyn Storage> = disk.crash(Keep::Everything).storage();
        survey(&storage).unwrap().unwrap().segments.last().unwrap().header.features
    };
    assert_eq!(features(&served.disk), Features::CLUSTER);
    served.perform(vec![put(1, b"1", When::Always)], false);
    assert_eq!(features(&served.disk), Features::CLUSTER.with(Features::PUTS));
    let disk = served.disk.crash(Keep::Everything);
    assert!(open(&disk).is_ok(), "it is still the log of a node");
}

#[test]
fn p4_what_one_lacks_refuses_all() {
    let mut served = agreed();
    let quota = Quota { tokens_max: Some(1), bytes_max: None, ttl_max: None };
    let full = Quotas::from_iter([(digest(2).tag(), quota)]);
    served.node.engine().set_quotas(full);
    served.perform(vec![put(2, b"2", When::Always)], false);
    let mut second = [2; 16];
    second[0] = 9;
    let beyond = Op::Issue {
        digest: Digest::from_bytes(second),
        payload: b"3".to_vec(),
        ttl: Duration::from_millis(10_000),
        uses: 1,
        peek: true,
        derived: false,
    };
    let ops = vec![put(1, b"1", When::Always), beyond, read(2)];
    let refused = served.node.engine().submit_together(ops).unwrap();
    served.node.turn(false);
    assert_eq!(refused.wait(), Ok(vec![Outcome::QuotaFull; 3]));
    assert_eq!(served.resolve(1, 0), None);
    let outcomes = served.perform(vec![put(1, b"1", When::Always), read(2)], true);
    assert!(matches!(outcomes[..], [Outcome::Put { .. }, Outcome::Found { .. }]));
}
