//! A million tokens that expire within one second: does resolve suffer, and is the memory back?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bulk;
use crate::failure::{Failure, Result};
use crate::load::{Client, Measured, Pace};
use crate::process::{Memory, Server};
use crate::report::{Table, count, mebibytes, quantile_us};
use crate::requests::Key;
use crate::resolve::start_peer;
use crate::servers::{self, Peer};
use crate::settings::Settings;
use crate::work::Reads;

const CONNECTIONS: usize = 16;
const SAMPLE_PAUSE: Duration = Duration::from_millis(20);
/// The share of the memory taken by the expiring tokens that may be left when it counts as back.
const LEFT_SHARE: f64 = 0.1;

/// One row for each server.
pub fn run(settings: &Settings) -> Result<Table> {
    let header = [
        "server",
        "expiring",
        "before: p50 µs",
        "p99.9 µs",
        "max µs",
        "meanwhile: p50 µs",
        "p99 µs",
        "p99.9 µs",
        "max µs",
        "count back after",
        "memory before",
        "full",
        "back after",
        "at the end",
    ];
    let mut table = Table::new("Tokens that expire within one second", &header);
    let folder = settings.folder("jeton");
    measure(settings, servers::jeton("jeton", &folder, &["--sync", "always"])?, &mut table)?;
    for peer in Peer::redis_like() {
        match peer.missing() {
            Some(why) => table.row(vec![peer.name.to_owned(), why]),
            None => measure(settings, start_peer(settings, &peer)?, &mut table)?,
        }
    }
    table.note(format!(
        "{} resolves/s of other tokens over {CONNECTIONS} connections, sent on time whatever the \
         server does, counted from when they were due; “meanwhile” is from the first deadline \
         until {:?} after the last. “Back” counts from the last deadline: the count is that of \
         the other tokens, and of the resident memory that the expiring tokens took no more than \
         {:.0} % is left.",
        count(rate(settings)),
        tail(settings),
        LEFT_SHARE * 100.0
    ));
    Ok(table)
}

fn rate(settings: &Settings) -> f64 {
    settings.size.pick(500.0, 5_000.0, 5_000.0)
}

/// How long resolves go on behind the last deadline.
fn tail(settings: &Settings) -> Duration {
    settings.size.pick(Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(2))
}

/// When the memory and the count were back.
#[derive(Default)]
struct Back {
    count_after: Option<Duration>,
    memory_after: Option<Duration>,
    memory_last: Memory,
}

fn measure(settings: &Settings, server: Server, table: &mut Table) -> Result<()> {
    let others = bulk::load(&server, settings.size.pick(1_000, 100_000, 100_000))?;
    let expiring = settings.size.pick(5_000, 1_000_000, 1_000_000);
    let before = server.settled_memory()?;
    let lead = settings.size.pick(
        Duration::from_secs(2),
        Duration::from_secs(25),
        Duration::from_secs(25),
    );
    let first_deadline = Instant::now() + lead;
    load_expiring(&server, expiring, others.len(), lead)?;
    let full = server.memory()?;
    if first_deadline.saturating_duration_since(Instant::now()) < lead / 10 {
        let why = format!("loading {expiring} tokens took {:?} or longer", lead - lead / 10);
        return Err(Failure::Unusable(why));
    }
    let quiet_from = first_deadline - lead / 10;
    std::thread::sleep(quiet_from.saturating_duration_since(Instant::now()));
    let last_deadline = first_deadline + Duration::from_secs(1);
    let stop = AtomicBool::new(false);
    let (quiet, meanwhile, back) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            watch(settings, &server, others.len() as u64, (before, full), last_deadline, &stop)
        });
        let resolved = resolve_over(settings, &server, &others, first_deadline, last_deadline);
        stop.store(resolved.is_err(), Ordering::Relaxed);
        let back = watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (quiet, meanwhile) = resolved?;
        Ok::<_, Failure>((quiet, meanwhile, back?))
    })?;
    table.row(cells(&server, expiring, (&quiet, &meanwhile), (before, full), &back));
    server.stop()
}

/// Issues tokens whose deadlines are spread evenly over the second that begins in `lead`.
fn load_expiring(server: &Server, count: usize, first: usize, lead: Duration) -> Result<Vec<Key>> {
    let start_ms = unix_ms() + lead.as_millis() as u64;
    let ttl_ms =
        move |index: usize| (start_ms + index as u64 % 1000).saturating_sub(unix_ms()).max(1);
    bulk::load_range(server, first, count, Box::new(ttl_ms))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is behind 1970").as_millis() as u64
}

fn resolve_over(
    settings: &Settings,
    server: &Server,
    others: &[Key],
    first_deadline: Instant,
    last_deadline: Instant,
) -> Result<(Measured, Measured)> {
    let target = &server.target;
    let mut client = Client::connect(target.address, target.protocol, CONNECTIONS)?;
    let mut reads = Reads::new(target, others, None);
    let pace = Pace::open(1, rate(settings));
    let mut until = |time: Instant| {
        let run = client.run(&mut reads, pace, Some(time));
        run.map_err(|failure| server.failed(&failure.to_string()))
    };
    Ok((until(first_deadline)?, until(last_deadline + tail(settings))?))
}

/// Samples count and memory until both are back, or for a minute.
fn watch(
    settings: &Settings,
    server: &Server,
    others: u64,
    (before, full): (Memory, Memory),
    last_deadline: Instant,
    stop: &AtomicBool,
) -> Result<Back> {
    let patience = settings.size.pick(
        Duration::from_secs(3),
        Duration::from_secs(60),
        Duration::from_secs(60),
    );
    let taken = full.resident.saturating_sub(before.resident) as f64;
    let enough = before.resident as f64 + taken * LEFT_SHARE;
    let mut back = Back::default();
    let pending = |back: &Back| back.count_after.is_none() || back.memory_after.is_none();
    while pending(&back) && last_deadline.elapsed() < patience && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(SAMPLE_PAUSE);
        let after = last_deadline.elapsed();
        if Instant::now() < last_deadline {
            continue;
        }
        back.memory_last = server.memory()?;
        if back.count_after.is_none() && server.token_count()? <= others {
            back.count_after = Some(after);
        }
        if back.memory_after.is_none() && back.memory_last.resident as f64 <= enough {
            back.memory_after = Some(after);
        }
    }
    Ok(back)
}

fn cells(
    server: &Server,
    expiring: usize,
    (quiet, meanwhile): (&Measured, &Measured),
    (before, full): (Memory, Memory),
    back: &Back,
) -> Vec<String> {
    let time = |after: Option<Duration>| {
        after.map_or("not within the time".to_owned(), |after| format!("{} ms", after.as_millis()))
    };
    let mut cells = vec![server.name.clone(), count(expiring as f64)];
    cells.extend([0.5, 0.999, 1.0].map(|share| quantile_us(&quiet.latency_ns, share)));
    cells.extend([0.5, 0.99, 0.999, 1.0].map(|share| quantile_us(&meanwhile.latency_ns, share)));
    cells.push(time(back.count_after));
    cells.extend([before, full].map(|memory| mebibytes(memory.resident as f64)));
    cells.push(time(back.memory_after));
    cells.push(mebibytes(back.memory_last.resident as f64));
    cells
}
