//! A million tokens that expire within one second: does resolve suffer, and is the memory back?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loadtest::drive::clock::{Clock, nanos};
use loadtest::drive::session::{Measured, Session, Silent, Spec};
use loadtest::failure::{Failure, Result};
use loadtest::report::units;
use loadtest::target::{Kind, Spawned, missing, usage};

use crate::setting::{
    LONG, PEERS, Setting, Table, insist_on_right, percentiles, session, tokens_of, workload,
};

const CONNECTIONS: usize = 16;
const SAMPLE_PAUSE_NS: u64 = 20_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// The share of the memory taken by the expiring tokens that may be left when it counts as back.
const LEFT_SHARE: f64 = 0.1;

/// One row for each server.
pub fn run(setting: &Setting) -> Result<Table> {
    let mut table = Table::new(
        "Tokens that expire within one second",
        &[
            "server",
            "expiring",
            "before: p50",
            "p99.9",
            "max",
            "meanwhile: p50",
            "p99.9",
            "max",
            "count back after",
            "memory before",
            "full",
            "back after",
            "at the end",
        ],
        format!(
            "{} resolves/s of other tokens over {CONNECTIONS} connections, sent on time whatever \
             the server does; “meanwhile” is from the first deadline until {} after the last. \
             “Back” counts from the last deadline: the count is that of the other tokens, and of \
             the resident memory that the expiring tokens took no more than {:.0} % is left.",
            units::rate(rate(setting)),
            units::seconds(tail(setting).as_secs_f64()),
            LEFT_SHARE * 100.0
        ),
    );
    for kind in [Kind::Jeton].into_iter().chain(PEERS) {
        match missing(kind) {
            Some(why) => table.not_run(kind.name(), &why),
            None => table.row(measure(setting, setting.start(kind, false, &[])?)?),
        }
    }
    Ok(table)
}

fn rate(setting: &Setting) -> f64 {
    setting.size.pick(500.0, 5_000.0, 5_000.0)
}

/// How long resolves go on behind the last deadline.
fn tail(setting: &Setting) -> Duration {
    Duration::from_millis(setting.size.pick(500, 2_000, 2_000))
}

/// Resident memory of the server, in bytes: without the tokens that expire, and with all of them.
#[derive(Clone, Copy)]
struct Memory {
    before: u64,
    full: u64,
}

/// When the memory and the count were back.
#[derive(Default)]
struct Back {
    count_after_ns: Option<u64>,
    memory_after_ns: Option<u64>,
    memory_last: u64,
}

fn measure(setting: &Setting, server: Spawned) -> Result<Vec<String>> {
    let others = setting.size.pick(1_000, 100_000, 100_000);
    let mut lasting = workload(others, CONNECTIONS, LONG);
    lasting.mix.resolve = 1.0;
    let mut lasting = session(&server, &lasting, tokens_of(0))?;
    insist_on_right(&server, &lasting.load(&mut Silent, None)?)?;

    let expiring = setting.size.pick(5_000, 1_000_000, 1_000_000);
    let lead_ns = setting.size.pick(8, 40, 40) * SECOND_NS;
    let before = usage::memory(server.pid())?.resident_bytes;
    let clock = Clock::start();
    load_expiring(&server, expiring, lead_ns)?;
    let full = usage::memory(server.pid())?.resident_bytes;
    if clock.now_ns() > lead_ns - lead_ns / 5 {
        let took = units::seconds(clock.now_ns() as f64 / 1e9);
        return Err(Failure::Input(format!("issuing {expiring} tokens took {took}: too long")));
    }
    clock.sleep_until(lead_ns - lead_ns / 5);

    let memory = Memory { before, full };
    let last_ns = lead_ns + SECOND_NS;
    let stop = AtomicBool::new(false);
    let (resolved, back) = std::thread::scope(|scope| {
        let resolving = scope.spawn(|| {
            let resolved = resolve_over(setting, &mut lasting, clock, lead_ns);
            stop.store(resolved.is_err(), Ordering::Relaxed);
            resolved
        });
        let back = watch(setting, &server, others as u64, memory, (clock, last_ns), &stop);
        (resolving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), back)
    });
    let ((quiet, meanwhile), back) = (resolved?, back?);
    insist_on_right(&server, &quiet)?;
    insist_on_right(&server, &meanwhile)?;
    if back.count_after_ns.is_none() {
        return Err(server.failed("still counts tokens that are past their deadline"));
    }
    let cells = cells(&server, expiring, (&quiet, &meanwhile), memory, &back);
    drop(lasting);
    server.stop()?;
    Ok(cells)
}

/// Issues tokens whose deadlines are spread evenly over the second that begins in `lead_ns`.
fn load_expiring(server: &Spawned, count: usize, lead_ns: u64) -> Result<()> {
    let mut workload = workload(count, CONNECTIONS, LONG);
    workload.mix.issue = 1.0;
    let mut tokens = tokens_of(1);
    tokens.deadlines_ns = Some((lead_ns, lead_ns + SECOND_NS));
    let mut session = session(server, &workload, tokens)?;
    insist_on_right(server, &session.load(&mut Silent, None)?)
}

fn resolve_over(
    setting: &Setting,
    session: &mut Session,
    clock: Clock,
    first_deadline_ns: u64,
) -> Result<(Measured, Measured)> {
    let mut until = |end_ns: u64| {
        let duration =
            Duration::from_nanos(end_ns.saturating_sub(clock.now_ns()).max(SECOND_NS / 10));
        let rate = Some(rate(setting));
        let spec = Spec { rate, warm_up: Duration::ZERO, duration, ramp: Duration::ZERO };
        session.measure(spec, &mut Silent, None)
    };
    let quiet = until(first_deadline_ns)?;
    Ok((quiet, until(first_deadline_ns + SECOND_NS + nanos(tail(setting)))?))
}

/// Samples count and memory until both are back, or for a minute.
fn watch(
    setting: &Setting,
    server: &Spawned,
    others: u64,
    memory: Memory,
    (clock, last_ns): (Clock, u64),
    stop: &AtomicBool,
) -> Result<Back> {
    // A store of a few thousand may keep their memory for good.
    let patience_ns = setting.size.pick(3, 60, 60) * SECOND_NS;
    let taken = memory.full.saturating_sub(memory.before) as f64;
    let enough = memory.before as f64 + taken * LEFT_SHARE;
    let mut back = Back::default();
    clock.sleep_until(last_ns);
    loop {
        let after_ns = clock.now_ns().saturating_sub(last_ns);
        back.memory_last = usage::memory(server.pid())?.resident_bytes;
        if back.count_after_ns.is_none() && server.tokens()?.is_some_and(|count| count <= others) {
            back.count_after_ns = Some(after_ns);
        }
        if back.memory_after_ns.is_none() && back.memory_last as f64 <= enough {
            back.memory_after_ns = Some(after_ns);
        }
        let is_back = back.count_after_ns.is_some() && back.memory_after_ns.is_some();
        if is_back || after_ns > patience_ns || stop.load(Ordering::Relaxed) {
            return Ok(back);
        }
        clock.sleep_until(clock.now_ns() + SAMPLE_PAUSE_NS);
    }
}

fn cells(
    server: &Spawned,
    expiring: usize,
    (quiet, meanwhile): (&Measured, &Measured),
    memory: Memory,
    back: &Back,
) -> Vec<String> {
    let time = |after_ns: Option<u64>| match after_ns {
        None => "not within the time".to_owned(),
        Some(after_ns) => units::latency(after_ns as f64 / 1e3),
    };
    let mut cells = vec![server.kind().name().to_owned(), units::count(expiring as u64)];
    for measured in [quiet, meanwhile] {
        cells.extend(percentiles(&measured.record.all_latencies(), &[0.5, 0.999, 1.0]));
    }
    cells.push(time(back.count_after_ns));
    cells.extend([memory.before, memory.full].map(units::bytes));
    cells.push(time(back.memory_after_ns));
    cells.push(units::bytes(back.memory_last));
    cells
}
