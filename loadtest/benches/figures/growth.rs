//! Growth: resolve throughput in slices of time while the number of tokens grows.

use std::time::Duration;

use loadtest::drive::session::{Measured, Silent, Spec};
use loadtest::failure::Result;
use loadtest::report::units;
use loadtest::stats::median;
use loadtest::target::{Kind, Spawned, missing};

use crate::setting::{
    LONG, PEERS, Setting, Table, insist_on_count, insist_on_right, percentiles, session, tokens_of,
    workload,
};

const RESOLVING: usize = 8;
const ISSUING: usize = 4;
const SHARES: [f64; 3] = [0.5, 0.999, 1.0];

/// How far and how fast it grows.
struct Growth {
    from: usize,
    to: usize,
    per_second: f64,
    alone: Duration,
}

impl Growth {
    fn time(&self) -> Duration {
        Duration::from_secs_f64((self.to - self.from) as f64 / self.per_second)
    }
}

/// One row for each server.
pub fn run(setting: &Setting) -> Result<Table> {
    let growth = Growth {
        from: setting.size.pick(2_000, 1_000_000, 1_000_000),
        to: setting.size.pick(4_000, 2_000_000, 10_000_000),
        per_second: setting.size.pick(4_000.0, 20_000.0, 20_000.0),
        alone: setting.size.pick(Duration::from_millis(200), SECONDS, SECONDS),
    };
    let mut table = Table::new(
        "Resolve while the number of tokens grows",
        &[
            "server",
            "tokens",
            "alone/s",
            "while issuing: median/s",
            "worst slice ÷ median",
            "last tenth ÷ first tenth",
            "p50",
            "p99.9",
            "max",
        ],
        format!(
            "{RESOLVING} connections resolve the first {} tokens as fast as they are answered; \
             {ISSUING} others issue {} a second meanwhile, one in a request. Three busy threads \
             share the cores, so a slice is only as steady as the scheduler; latency is that of \
             resolves while issuing.",
            units::count(growth.from as u64),
            units::rate(growth.per_second),
        ),
    );
    for kind in [Kind::Jeton].into_iter().chain(PEERS) {
        match missing(kind) {
            Some(why) => table.not_run(kind.name(), &why),
            None => table.row(measure(&growth, setting.start(kind, false, &[])?)?),
        }
    }
    Ok(table)
}

const SECONDS: Duration = Duration::from_secs(3);

fn measure(growth: &Growth, server: Spawned) -> Result<Vec<String>> {
    let mut resolving = workload(growth.from, RESOLVING, LONG);
    resolving.mix.resolve = 1.0;
    let mut resolving = session(&server, &resolving, tokens_of(0))?;
    insist_on_right(&server, &resolving.load(&mut Silent, None)?)?;
    // It issues alone and asks for none of them, so it need not remember them all.
    let mut issuing = workload(growth.per_second as usize, ISSUING, LONG);
    issuing.mix.issue = 1.0;
    issuing.load.depth = 256;
    let mut issuing = session(&server, &issuing, tokens_of(1))?;
    let spec =
        |rate, duration| Spec { rate, warm_up: Duration::ZERO, duration, ramp: Duration::ZERO };
    let alone = resolving.measure(spec(None, growth.alone), &mut Silent, None)?;
    let (resolved, issued) = std::thread::scope(|scope| {
        let issuing = scope.spawn(|| {
            let rate = Some(growth.per_second);
            issuing.measure(spec(rate, growth.time()), &mut Silent, None)
        });
        let resolved = resolving.measure(spec(None, growth.time()), &mut Silent, None);
        let issued = issuing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (resolved, issued)
    });
    let resolved = resolved?;
    for measured in [&alone, &resolved, &issued?] {
        insist_on_right(&server, measured)?;
    }
    insist_on_count(&server, growth.to as u64)?;
    let cells = cells(growth, &server, &alone, &resolved);
    server.stop()?;
    Ok(cells)
}

/// Resolves a second, slice by slice.
fn rates(measured: &Measured) -> Vec<f64> {
    let record = &measured.record;
    let slice_s = record.window.slice_ns() as f64 / 1e9;
    // The last one may be shorter, and holds the answers that came late.
    let whole = &record.slices[..record.slices.len().saturating_sub(1).max(1)];
    whole.iter().map(|slice| slice.requests as f64 / slice_s).collect()
}

fn cells(growth: &Growth, server: &Spawned, alone: &Measured, resolved: &Measured) -> Vec<String> {
    let rates_while = rates(resolved);
    let middle = median(&rates_while).unwrap_or(f64::NAN);
    let tenth = (rates_while.len() / 10).max(1);
    let sum = |part: &[f64]| part.iter().sum::<f64>();
    let last_to_first = sum(&rates_while[rates_while.len() - tenth..]) / sum(&rates_while[..tenth]);
    let worst = rates_while.iter().copied().fold(f64::INFINITY, f64::min) / middle;
    let mut cells = vec![
        server.kind().name().to_owned(),
        format!("{} → {}", units::count(growth.from as u64), units::count(growth.to as u64)),
        units::rate(median(&rates(alone)).unwrap_or(f64::NAN)),
        units::rate(middle),
        units::number(worst),
        units::number(last_to_first),
    ];
    cells.extend(percentiles(&resolved.record.all_latencies(), &SHARES));
    cells
}
