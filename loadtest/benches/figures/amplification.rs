//! Bytes written for a byte issued, over many turns of the log's ring, and whether cleaning shows
//! in the latency of issues.

use std::time::Duration;

use hdrhistogram::Histogram;
use loadtest::drive::histogram::{add, latencies};
use loadtest::drive::session::{Session, Silent, Spec};
use loadtest::failure::Result;
use loadtest::report::units;
use loadtest::target::usage::{self, Written};
use loadtest::target::{Kind, Spawned, missing, probe};

use crate::setting::{
    PEERS, Setting, Table, insist_on_right, percentiles, session, tokens_of, workload,
};

const PAYLOAD_BYTES: usize = 128;
/// What a record is, near enough: a payload and 32 bytes.
const RECORD_BYTES: usize = PAYLOAD_BYTES + 32;
const CONNECTIONS: usize = 64;
const SHARES: [f64; 3] = [0.5, 0.999, 1.0];
const SMALL_RING: [&str; 4] = ["--segment-size", "1MiB", "--log-min-size", "4MiB"];
const LARGE_RING: [&str; 4] = ["--segment-size", "64MiB", "--log-min-size", "4GiB"];
const REWRITING: [&str; 4] =
    ["--auto-aof-rewrite-percentage", "100", "--auto-aof-rewrite-min-size", "4mb"];

/// Deadlines and ring of one row; each time to live is given to the same share of the tokens.
struct Case {
    deadlines: &'static str,
    ring: &'static [&'static str],
    sync: &'static str,
    ttls_s: &'static [u64],
}

const CASES: [Case; 5] = [
    Case { deadlines: "all 2 s, ring never full", ring: &LARGE_RING, sync: "always", ttls_s: &[2] },
    Case { deadlines: "all 2 s", ring: &SMALL_RING, sync: "always", ttls_s: &[2] },
    Case { deadlines: "half 1 s, half 8 s", ring: &SMALL_RING, sync: "always", ttls_s: &[1, 8] },
    Case {
        deadlines: "half 2 s, half 10 min",
        ring: &SMALL_RING,
        sync: "always",
        ttls_s: &[2, 600],
    },
    Case { deadlines: "all 2 s", ring: &SMALL_RING, sync: "100ms", ttls_s: &[2] },
];

/// One row for each kind of deadlines, then the peers.
pub fn run(setting: &Setting) -> Result<Table> {
    let mut table = Table::new(
        "Bytes written for a byte issued, and issue latency meanwhile",
        &[
            "server",
            "deadlines",
            "sync",
            "issues/s",
            "turns",
            "log ÷ records",
            "relocated ÷ records",
            "device ÷ records",
            "write calls ÷ records",
            "p50",
            "p99.9",
            "max",
        ],
        format!(
            "{} issues/s over {CONNECTIONS} connections, sent on time whatever the server does, \
             for {} after {} of warm-up; the small ring has segments of 1 MiB and at least 4 MiB. \
             Records are counted as {RECORD_BYTES} bytes. “device” is what the process made the \
             device write, in which a page that is synced half full and then filled counts each \
             time; “write calls” holds answers too. The peers rewrite their file whenever it \
             doubles.",
            units::rate(rate(setting)),
            units::seconds(measured_time(setting).as_secs_f64()),
            units::seconds(warm_up_time(setting).as_secs_f64()),
        ),
    );
    for case in &CASES {
        let arguments = [&["--sync", case.sync], case.ring].concat();
        let server = setting.start(Kind::Jeton, true, &arguments)?;
        table.row(measure(setting, server, case)?);
    }
    for kind in PEERS {
        match missing(kind) {
            Some(why) => table.not_run(kind.name(), &why),
            None => {
                let server = setting.start(kind, true, &REWRITING)?;
                table.row(measure(setting, server, &CASES[1])?);
            }
        }
    }
    Ok(table)
}

fn rate(setting: &Setting) -> f64 {
    setting.size.pick(1_000.0, 10_000.0, 10_000.0)
}

fn warm_up_time(setting: &Setting) -> Duration {
    Duration::from_secs(setting.size.pick(1, 10, 20))
}

fn measured_time(setting: &Setting) -> Duration {
    Duration::from_secs(setting.size.pick(1, 15, 60))
}

/// Counters of a server at one moment, in bytes.
struct Moment {
    written: Written,
    /// What its log took and what of it was relocated, where it says so.
    log: Option<(f64, f64)>,
}

impl Moment {
    fn of(server: &Spawned) -> Result<Self> {
        let log = match server.admin() {
            None => None,
            Some(admin) => {
                let log = &probe::statistics(admin)?["log"];
                let both = log["appended_bytes"].as_f64().zip(log["carried_bytes"].as_f64());
                Some(both.ok_or_else(|| server.failed("does not count what it appends"))?)
            }
        };
        Ok(Self { written: usage::written(server.pid())?, log })
    }
}

fn measure(setting: &Setting, server: Spawned, case: &Case) -> Result<Vec<String>> {
    let mut sessions = Vec::new();
    for (number, &ttl_s) in case.ttls_s.iter().enumerate() {
        let connections = CONNECTIONS / case.ttls_s.len();
        // It asks for none of them, so it need not remember them all.
        let mut workload = workload(10_000, connections, Duration::from_secs(ttl_s));
        workload.mix.issue = 1.0;
        sessions.push(session(&server, &workload, tokens_of(number as u64))?);
    }
    issue(setting, &server, &mut sessions, warm_up_time(setting))?;
    let before = Moment::of(&server)?;
    let (issued, latency_ns) = issue(setting, &server, &mut sessions, measured_time(setting))?;
    let after = Moment::of(&server)?;
    let records = issued as f64 * RECORD_BYTES as f64;
    let ratio = |bytes: f64| format!("{:.3}", bytes / records);
    let since = |after: u64, before: u64| ratio(after.saturating_sub(before) as f64);
    let log = after.log.zip(before.log);
    let appended = log.map(|(after, before)| after.0 - before.0);
    let relocated = log.map(|(after, before)| after.1 - before.1);
    let disk_bytes = server.disk_bytes()? as f64;
    let none = || "–".to_owned();
    let mut cells = vec![
        server.kind().name().to_owned(),
        case.deadlines.to_owned(),
        if log.is_some() { case.sync } else { "always" }.to_owned(),
        units::rate(issued as f64 / measured_time(setting).as_secs_f64()),
        appended.map_or_else(none, |bytes| format!("{:.1}", bytes / disk_bytes)),
        appended.map_or_else(none, ratio),
        relocated.map_or_else(none, ratio),
        since(after.written.device_bytes, before.written.device_bytes),
        since(after.written.call_bytes, before.written.call_bytes),
    ];
    cells.extend(percentiles(&latency_ns, &SHARES));
    drop(sessions);
    server.stop()?;
    Ok(cells)
}

/// Issues from all sessions at once, each its share of the rate; gives how many, and nanoseconds.
fn issue(
    setting: &Setting,
    server: &Spawned,
    sessions: &mut [Session],
    time: Duration,
) -> Result<(u64, Histogram<u64>)> {
    let rate = Some(rate(setting) / sessions.len() as f64);
    let spec = Spec { rate, warm_up: Duration::ZERO, duration: time, ramp: Duration::ZERO };
    let all = std::thread::scope(|scope| {
        let running: Vec<_> = sessions
            .iter_mut()
            .map(|session| scope.spawn(move || session.measure(spec, &mut Silent, None)))
            .collect();
        let join = |one: std::thread::ScopedJoinHandle<'_, _>| {
            one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        running.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let (mut issued, mut latency_ns) = (0, latencies());
    for measured in &all {
        insist_on_right(server, measured)?;
        issued += measured.record.requests;
        add(&mut latency_ns, &measured.record.all_latencies());
    }
    Ok((issued, latency_ns))
}
