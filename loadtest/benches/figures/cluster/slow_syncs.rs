//! New tokens a second, and how long each takes, where the disks of the NATS servers sync slowly: each
//! fsync and fdatasync of theirs is made to take longer by strace.

use std::time::Duration;

use loadtest::drive::session::{Silent, Spec};
use loadtest::failure::Result;
use loadtest::target::cluster::{self, Cluster, delayed};

use super::{endpoints, insist_on_right, insist_on_truth, is_smoke, issuing, shown};
use crate::setting::{Setting, Table, percentiles, session_on, tokens_of};

/// What each sync takes longer.
const DELAYS: [Duration; 3] =
    [Duration::from_millis(2), Duration::from_millis(5), Duration::from_millis(10)];
const CALLERS: [usize; 3] = [64, 1_000, 4_000];
const SMOKE: [usize; 1] = [6];

/// One row for each delay and load.
pub fn run(setting: &Setting) -> Result<Table> {
    let duration = setting.size.pick(300, 2_000, 5_000);
    let mut table = Table::new(
        "New tokens on several machines whose disks are slow",
        &["each sync takes longer by", "callers", "issues/s", "p50", "p99", "max"],
        format!(
            "Payloads of 128 bytes, {} rounds of {duration} ms, all processes on this machine. Every \
             fsync and fdatasync of the three NATS servers is delayed with strace, which costs them \
             CPU time of its own.",
            setting.rounds
        ),
    );
    if let Some(why) = cluster::missing().or_else(delayed::missing) {
        table.not_run("a cluster", &why);
        return Ok(table);
    }
    let delays = if is_smoke(setting) { &DELAYS[..1] } else { &DELAYS[..] };
    let counts = setting.size.pick(&SMOKE[..], &CALLERS[..], &CALLERS[..]);
    for &delay in delays {
        let cluster = Cluster::start_delayed(setting.server_bin.as_deref(), None, delay)?;
        for (n, &callers) in counts.iter().enumerate() {
            let mut per_s = Vec::new();
            let mut latency_ns = loadtest::drive::histogram::latencies();
            for round in 0..setting.rounds {
                let number = (round * 100 + n + 1) as u64;
                let mut session =
                    session_on(&endpoints(&cluster), &issuing(callers), tokens_of(number))?;
                insist_on_truth("jeton", &session.load(&mut Silent, None)?)?;
                let duration = Duration::from_millis(duration);
                let warm_up = duration / 5;
                let spec = Spec { rate: None, warm_up, duration, ramp: Duration::ZERO };
                let measured = session.measure(spec, &mut Silent, None)?;
                insist_on_right("jeton", &measured)?;
                per_s.push(measured.record.requests as f64 / duration.as_secs_f64());
                let latencies = measured.record.all_latencies();
                loadtest::drive::histogram::add(&mut latency_ns, &latencies);
            }
            let mut cells = vec![format!("{delay:?}"), callers.to_string(), shown(&per_s)];
            cells.extend(percentiles(&latency_ns, &[0.5, 0.99, 1.0]));
            table.row(cells);
        }
    }
    Ok(table)
}
