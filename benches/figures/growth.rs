//! Growth: resolve throughput in slices of time while the number of tokens grows tenfold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bulk::{self, BATCH, LONG_TTL_MS};
use crate::failure::{Failure, Result};
use crate::load::{Client, Pace, latency_histogram};
use crate::process::Server;
use crate::report::{LATENCY_HEADER, Spread, Table, count, latency_cells_us};
use crate::requests::Key;
use crate::resolve::start_peer;
use crate::servers::{self, Peer};
use crate::settings::Settings;
use crate::work::{Issues, Reads};

const RESOLVING: usize = 8;

/// How far and how fast it grows.
struct Plan {
    from: usize,
    to: usize,
    per_second: f64,
    slice: Duration,
}

/// What the slices came to.
struct Slices {
    /// Resolves per second, before anything was loaded beside them.
    alone: Vec<f64>,
    /// Resolves per second while loading.
    loading: Vec<f64>,
    latency_ns: hdrhistogram::Histogram<u64>,
}

/// One row for each server.
pub fn run(settings: &Settings) -> Result<Table> {
    let plan = Plan {
        from: settings.size.pick(5_000, 1_000_000, 1_000_000),
        to: settings.size.pick(10_000, 4_000_000, 10_000_000),
        per_second: settings.size.pick(20_000.0, 50_000.0, 50_000.0),
        slice: Duration::from_millis(settings.size.pick(50, 200, 200)),
    };
    let mut header = vec![
        "server",
        "tokens",
        "alone/s",
        "loading: median/s",
        "worst slice ÷ median",
        "last tenth ÷ first tenth",
        "slices under 0.9",
        "loaded/s",
    ];
    header.extend(LATENCY_HEADER);
    let mut table = Table::new("Resolve while the number of tokens grows", &header);
    let folder = settings.folder("jeton");
    measure(&plan, servers::jeton("jeton", &folder, &["--sync", "always"])?, &mut table)?;
    for peer in Peer::redis_like() {
        match peer.missing() {
            Some(why) => table.row(vec![peer.name.to_owned(), why]),
            None => measure(&plan, start_peer(settings, &peer)?, &mut table)?,
        }
    }
    table.note(format!(
        "{RESOLVING} connections resolve the first {} tokens as fast as they are answered, in \
         slices of {:?}; another thread loads {} tokens/s in bursts of {BATCH} (jeton: one \
         batch). Three busy threads share the cores, so a slice is only as steady as the \
         scheduler; latency is that of resolves while loading.",
        count(plan.from as f64),
        plan.slice,
        count(plan.per_second)
    ));
    Ok(table)
}

fn measure(plan: &Plan, server: Server, table: &mut Table) -> Result<()> {
    let first = bulk::load(&server, plan.from)?;
    let done = AtomicBool::new(false);
    let mut slices =
        Slices { alone: Vec::new(), loading: Vec::new(), latency_ns: latency_histogram() };
    let mut reader = Reader::new(&server, &first)?;
    for _ in 0..10 {
        slices.alone.push(reader.slice(plan.slice, None)?);
    }
    let seconds = std::thread::scope(|scope| {
        let loader = scope.spawn(|| {
            let loaded = grow(plan, &server);
            done.store(true, Ordering::Release);
            loaded
        });
        let mut resolving = || {
            while !done.load(Ordering::Acquire) {
                let rate = reader.slice(plan.slice, Some(&mut slices.latency_ns))?;
                slices.loading.push(rate);
            }
            Ok(())
        };
        let resolved: Result<()> = resolving();
        let loaded = loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        resolved.and(loaded)
    })
    .map_err(|failure: Failure| server.failed(&failure.to_string()))?;
    bulk::insist_on_count(&server, plan.to as u64)?;
    table.row(cells(plan, &server, &slices, seconds));
    server.stop()
}

/// The connections that resolve.
struct Reader<'a> {
    client: Client,
    reads: Reads<'a>,
}

impl<'a> Reader<'a> {
    fn new(server: &Server, keys: &'a [Key]) -> Result<Self> {
        let target = &server.target;
        Ok(Self {
            client: Client::connect(target.address, target.protocol, RESOLVING)?,
            reads: Reads::new(target, keys, None),
        })
    }

    /// Resolves for a slice of time; gives resolves per second.
    fn slice(
        &mut self,
        slice: Duration,
        latency_ns: Option<&mut hdrhistogram::Histogram<u64>>,
    ) -> Result<f64> {
        let until = Instant::now() + slice;
        let measured = self.client.run(&mut self.reads, Pace::closed(1), Some(until))?;
        if let Some(all) = latency_ns {
            *all += &measured.latency_ns;
        }
        Ok(measured.operations as f64 / measured.elapsed.as_secs_f64())
    }
}

/// Loads up to the full number at the planned pace; gives the seconds it took.
fn grow(plan: &Plan, server: &Server) -> Result<f64> {
    let target = &server.target;
    let mut client = Client::connect(target.address, target.protocol, 4)?;
    let more = plan.to - plan.from;
    let issues = Issues::new(target, Some(BATCH), more, Box::new(|_| LONG_TTL_MS));
    let depth = if bulk::depth(target.protocol) == 1 { 1 } else { BATCH };
    let pace = Pace::open(depth, plan.per_second / BATCH as f64);
    let done = client.run(&mut issues.starting_at(plan.from), pace, None)?;
    Ok(done.elapsed.as_secs_f64())
}

fn cells(plan: &Plan, server: &Server, slices: &Slices, seconds: f64) -> Vec<String> {
    // The last slice may have ended after the loading did.
    let loading = &slices.loading[..slices.loading.len().saturating_sub(1)];
    let spread = Spread::of(loading.iter().copied());
    let tenth = (loading.len() / 10).max(1).min(loading.len());
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let last_to_first = mean(&loading[loading.len() - tenth..]) / mean(&loading[..tenth]);
    let slow = loading.iter().filter(|&&rate| rate < spread.median * 0.9).count();
    let mut cells = vec![
        server.name.clone(),
        format!("{} → {}", count(plan.from as f64), count(plan.to as f64)),
        count(Spread::of(slices.alone.iter().copied()).median),
        count(spread.median),
        format!("{:.2}", spread.least / spread.median),
        format!("{last_to_first:.2}"),
        format!("{slow} of {}", loading.len()),
        count((plan.to - plan.from) as f64 / seconds),
    ];
    cells.extend(latency_cells_us(&slices.latency_ns));
    cells
}
