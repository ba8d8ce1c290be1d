//! Three nodes on three NATS servers: what they do a second, how long their clients wait when
//! something is killed, and how fast a node catches up.

pub mod catch_up;
pub mod failover;
pub mod rates;
pub mod slow_syncs;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use loadtest::drive::clock::Clock;
use loadtest::drive::session::{Endpoint, Measured};
use loadtest::failure::{Failure, Result, io};
use loadtest::protocol::Protocol;
use loadtest::report::units;
use loadtest::stats::median;
use loadtest::target::cluster::Cluster;
use loadtest::workload::Workload;

use crate::setting::{LONG, Setting, Size, workload};

/// Syncs of a probe.
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 4 << 10;

/// Starts a cluster. Its data is below the directory that cargo builds in.
fn start(setting: &Setting) -> Result<Cluster> {
    Cluster::start(setting.server_bin.as_deref(), None)
}

/// The nodes, for a session.
fn endpoints(cluster: &Cluster) -> Vec<Endpoint> {
    let endpoint = |address: std::net::SocketAddr| {
        Endpoint::new(Protocol::Http1, address, address.to_string().as_str().into())
    };
    cluster.addresses().into_iter().map(endpoint).collect()
}

/// New tokens alone, from so many callers of whom each waits for its answer.
fn issuing(callers: usize) -> Workload {
    let mut workload = workload((2 * callers).max(1_000), callers, LONG);
    workload.mix.issue = 1.0;
    workload
}

/// Insists that no answer was false. Refusals and lost answers are the price of a kill.
fn insist_on_truth(what: &str, measured: &Measured) -> Result<()> {
    match measured.record.errors.iter().any(|(kind, ..)| kind.is_wrong()) {
        true => insist_on_right(what, measured),
        false => Ok(()),
    }
}

/// Insists that every answer was right.
fn insist_on_right(what: &str, measured: &Measured) -> Result<()> {
    let wrong = measured.record.errors.iter().next();
    wrong.map_or(Ok(()), |(kind, count, example)| {
        let problem = format!("{count} times {}: {example}", kind.name());
        Err(Failure::Target { target: what.to_owned(), problem })
    })
}

/// Milliseconds of each of some syncs of 4 KiB behind the end of a file, the fastest first.
fn syncs_ms(folder: &Path) -> Result<Vec<f64>> {
    let path = folder.join("syncs");
    let failed = || io(format!("sync {}", path.display()));
    let mut file = File::create(&path).map_err(failed())?;
    let clock = Clock::start();
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun_ns = clock.now_ns();
        file.write_all(&[1; SYNC_BYTES]).and_then(|()| file.sync_data()).map_err(failed())?;
        times.push((clock.now_ns() - begun_ns) as f64 / 1e6);
    }
    std::fs::remove_file(&path).map_err(failed())?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Times to be shown: the median and 99 of 100.
fn shown_syncs(times: &[f64]) -> String {
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    format!("{:.2} / {:.2} ms", at(0.5), at(0.99))
}

/// The median of some rates or counts, and the least and the greatest where there are several.
fn shown(values: &[f64]) -> String {
    let middle = units::rate(median(values).unwrap_or(f64::NAN));
    if values.len() < 2 {
        return middle;
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{middle} ({}..{})", units::rate(least), units::rate(most))
}

/// Whether this is the smoke test, which takes a cluster of its own for each figure.
fn is_smoke(setting: &Setting) -> bool {
    setting.size == Size::Smoke
}
