//! Every call fails once: a script of all operations runs again for each call to the disk and for
//! each way in which that call can fail, once and permanently. The oracle checks every answer. Then
//! the process is killed or the power fails, the log is opened again, and every token is checked.

use std::sync::Arc;
use std::time::Duration;

use jeton::engine::{Config, SyncMode};
use jeton::testkit::disk::{Call, Fault, Planned};
use jeton::wal::{self, Preparing};

use super::counts::Counts;
use super::lab::Lab;
use super::model::{Change, MAX_TTL_MS, What};
use super::oracle::Broken;
use crate::volume;

const ROUNDS: u64 = 11;

/// The n-th call fails.
#[derive(Clone, Copy, Debug)]
struct Case {
    planned: Planned,
}

fn lab() -> Lab {
    let config = Config {
        max_ttl: Duration::from_millis(MAX_TTL_MS),
        recovery_threads: 1,
        sync: SyncMode::Always,
        wal: wal::Config {
            segment_size: 8 << 10,
            log_min_size: 32 << 10,
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    };
    Lab::new(config, 7)
}

fn issue(id: u64, ttl_ms: u64, uses: u32) -> Change {
    let payload: Arc<[u8]> = vec![id as u8; 330].into();
    let what = What::Issue { payload, ttl_ms, uses, peek: true, derived: id < 4 };
    Change { id, what }
}

/// The operations of one round: a derived token again and again, some tokens with a long life and
/// some with a short one, and changes to the tokens of the round before.
fn round(round: u64) -> Vec<Vec<Change>> {
    let first = 10 + round * 10;
    let consume = |id: u64, key: Option<u8>| Change { id, what: What::Consume { key } };
    let before = first - 10;
    vec![
        vec![issue(first, 90_000, 2), issue(first + 1, 300, 1), issue(first + 2, 300, 1)],
        vec![issue(round % 4, 60_000, 1), consume(before, Some(1)), consume(before, Some(1))],
        vec![
            Change { id: before + 1, what: What::Extend { ttl_ms: 20_000 } },
            Change { id: before + 2, what: What::Revoke },
            consume(round % 4, None),
        ],
    ]
}

/// The script. It ends early when the power fails.
fn run_script(lab: &mut Lab) -> Result<(), Broken> {
    open(lab)?;
    for number in 0..ROUNDS {
        for step in 0..4 {
            if lab.disk.is_off() {
                return Ok(());
            }
            match step {
                0 => lab.turn(&round(number))?,
                1 => lab.tend(false)?,
                2 => lab.clock.advance(130),
                _ => lab.tend(true)?,
            }
        }
        if number % 5 == 4 && !lab.disk.is_off() {
            lab.close()?;
            open(lab)?;
        }
    }
    if lab.disk.is_off() { Ok(()) } else { lab.close() }
}

/// Opens the engine. If a fault prevents that, the disk is repaired first.
fn open(lab: &mut Lab) -> Result<(), Broken> {
    while !lab.disk.is_off() && !lab.try_open()? {
        lab.disk.mend();
    }
    Ok(())
}

fn run(case: Case) -> Result<Counts, Broken> {
    let mut lab = lab();
    let Planned { at, .. } = case.planned;
    lab.disk.plan(case.planned);
    run_script(&mut lab)?;
    lab.disk.mend();
    lab.kill();
    if at % 2 == 0 && !lab.disk.is_off() {
        // The process alone dies first.
        open(&mut lab)?;
        lab.look_at_all()?;
    }
    for again in 0..2 {
        lab.cut_power(at * 2 + again);
        open(&mut lab)?;
        lab.look_at_all()?;
    }
    // An engine on a healthy disk accepts changes.
    lab.turn(&round(ROUNDS))?;
    lab.close()?;
    lab.counts.seeds += 1;
    Ok(lab.counts)
}

/// All different cases. A call that cannot fail in this way is skipped, because the next one that
/// can has a case of its own.
fn cases(history: &[Call]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, call) in (1..).zip(history) {
        for fault in Fault::ALL {
            let is_useless = fault == Fault::PowerCut && !call.is_change();
            if fault.hits(*call) && !is_useless {
                cases.push(Case { planned: Planned { fault, at, is_lasting: false } });
                cases.push(Case { planned: Planned { fault, at, is_lasting: true } });
            }
        }
    }
    // After a power cut every call fails: once is the same as permanently.
    cases.retain(|case| case.planned.fault != Fault::PowerCut || !case.planned.is_lasting);
    cases
}

#[test]
fn p1_to_p7_hold_when_any_call_fails() {
    let mut whole = lab();
    run_script(&mut whole).expect("the script runs where nothing fails");
    let cases = cases(&whole.disk.history());
    assert!(cases.len() > 500 && whole.counts.segments_released > 3, "{:?}", whole.counts);
    assert!(whole.counts.carried_bytes > 0 && whole.counts.segments_recycled > 0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let counts = std::thread::scope(|scope| {
        let run_part = |part: &[Case]| {
            part.iter().fold(Counts::default(), |mut counts, case| {
                match run(*case) {
                    Ok(one) => counts.add(&one),
                    Err(broken) => panic!("{case:?}: {broken}"),
                }
                counts
            })
        };
        let parts = cases.chunks(cases.len().div_ceil(threads));
        let parts: Vec<_> = parts.map(|part| scope.spawn(move || run_part(part))).collect();
        parts.into_iter().fold(Counts::default(), |mut counts, part| {
            counts.add(&part.join().expect("no case fails"));
            counts
        })
    });
    let told = [
        ("calls", whole.disk.asked()),
        ("cases", cases.len() as u64),
        ("recoveries", counts.recoveries),
        ("power_cuts", counts.power_cuts),
        ("io_errors", counts.io_errors),
        ("no_spaces", counts.no_spaces),
        ("short_writes", counts.short_writes),
        ("failed_syncs", counts.failed_syncs),
        ("refused_opens", counts.refused_opens),
        ("read_only", counts.read_only),
        ("unsynced", counts.unsynced),
        ("disk_full", counts.disk_full),
    ];
    volume::tell("every_call", &told);
    assert!(told.iter().all(|(_, count)| *count > 0), "{told:?}");
}
