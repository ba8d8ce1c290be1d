//! Bytes written for a byte issued, over many turns of the log's ring, and whether cleaning shows
//! in the latency of issues.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::failure::Result;
use crate::load::{Client, Measured, Pace};
use crate::process::{Server, Written};
use crate::report::{LATENCY_HEADER, Table, count, latency_cells_us};
use crate::requests::PAYLOAD_BYTES;
use crate::servers::{self, Peer};
use crate::settings::{Settings, disk_bytes};
use crate::stats::Stats;
use crate::work::{Issues, TtlMs};

/// What a record is, near enough: a payload and 32 bytes.
const RECORD_BYTES: usize = PAYLOAD_BYTES + 32;
const CONNECTIONS: usize = 64;
const SMALL_RING: [&str; 4] = ["--segment-size", "1MiB", "--log-min-size", "4MiB"];
const LARGE_RING: [&str; 4] = ["--segment-size", "64MiB", "--log-min-size", "4GiB"];
const REDIS_REWRITING: [&str; 10] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
    "--auto-aof-rewrite-percentage",
    "100",
    "--auto-aof-rewrite-min-size",
    "4mb",
];

/// Deadlines and ring of one row.
struct Case {
    deadlines: &'static str,
    ring: &'static [&'static str],
    sync: &'static str,
    ttl_ms: fn(usize) -> u64,
}

const CASES: [Case; 5] = [
    Case {
        deadlines: "all 2 s, ring never full",
        ring: &LARGE_RING,
        sync: "always",
        ttl_ms: |_| 2_000,
    },
    Case { deadlines: "all 2 s", ring: &SMALL_RING, sync: "always", ttl_ms: |_| 2_000 },
    Case { deadlines: "half 1 s, half 8 s", ring: &SMALL_RING, sync: "always", ttl_ms: half_8_s },
    Case {
        deadlines: "half 2 s, half 10 min",
        ring: &SMALL_RING,
        sync: "always",
        ttl_ms: half_10_min,
    },
    Case { deadlines: "all 2 s", ring: &SMALL_RING, sync: "100ms", ttl_ms: |_| 2_000 },
];

fn half_8_s(index: usize) -> u64 {
    if index.is_multiple_of(2) { 1_000 } else { 8_000 }
}

fn half_10_min(index: usize) -> u64 {
    if index.is_multiple_of(2) { 2_000 } else { 600_000 }
}

/// Counters of a server at one moment.
struct Moment {
    written: Written,
    stats: Option<Stats>,
}

impl Moment {
    fn of(server: &Server) -> Result<Self> {
        Ok(Self {
            written: server.written()?,
            stats: server.admin.map(|_| server.stats()).transpose()?,
        })
    }

    /// The growth since `before` of the first counter that fits, with its name.
    fn grown(&self, before: &Self, wordings: &[&[&str]]) -> Option<(String, f64)> {
        let (name, now) = self.stats.as_ref()?.find_any(wordings)?;
        let (_, then) = before.stats.as_ref()?.find_any(wordings)?;
        Some((name.to_owned(), now - then))
    }
}

/// Bytes that reached the log, copies included; a position in the log serves as well.
const APPENDED: [&[&str]; 4] =
    [&["log", "written"], &["log", "appended"], &["log", "bytes_total"], &["lsn"]];
const CARRIED: [&[&str]; 2] = [&["carried", "bytes"], &["carried"]];

/// One row for each kind of deadlines, then the peers.
pub fn run(settings: &Settings) -> Result<Table> {
    settings.insist_on_a_disk()?;
    let mut header = vec![
        "server",
        "deadlines",
        "sync",
        "issues/s",
        "turns",
        "log ÷ records",
        "carried ÷ records",
        "device ÷ records",
        "device ÷ payloads",
        "write calls ÷ records",
    ];
    header.extend(LATENCY_HEADER);
    let mut table =
        Table::new("Bytes written for a byte issued, and issue latency meanwhile", &header);
    for case in &CASES {
        let folder = settings.folder("jeton");
        let arguments = [&["--sync", case.sync], case.ring].concat();
        let server = servers::jeton("jeton", &folder, &arguments)?;
        measure(settings, server, &folder, case, &mut table)?;
    }
    for peer in Peer::redis_like() {
        if let Some(why) = peer.missing() {
            table.row(vec![peer.name.to_owned(), why]);
            continue;
        }
        let folder = settings.folder(peer.name);
        let server = peer.start(&folder, &REDIS_REWRITING)?;
        measure(settings, server, &folder, &CASES[1], &mut table)?;
    }
    table.note(format!(
        "{} issues/s over {CONNECTIONS} connections, sent on time whatever the server does, for \
         {:?} after {:?} of warm-up; the small ring has segments of 1 MiB and at least 4 MiB. \
         Records are counted as {RECORD_BYTES} bytes, payloads as {PAYLOAD_BYTES}. “device” is \
         `write_bytes` of the process, in which a page that is synced half full and then filled \
         counts each time; “write calls” is `wchar`, in which answers sent with `write` count \
         too. The peers rewrite their file whenever it doubles.",
        count(rate(settings)),
        measured_time(settings),
        warm_up_time(settings)
    ));
    Ok(table)
}

fn rate(settings: &Settings) -> f64 {
    settings.size.pick(2_000.0, 10_000.0, 10_000.0)
}

fn warm_up_time(settings: &Settings) -> Duration {
    settings.size.pick(Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(20))
}

fn measured_time(settings: &Settings) -> Duration {
    settings.size.pick(Duration::from_secs(2), Duration::from_secs(15), Duration::from_secs(60))
}

fn measure(
    settings: &Settings,
    server: Server,
    folder: &Path,
    case: &Case,
    table: &mut Table,
) -> Result<()> {
    let target = &server.target;
    let mut client = Client::connect(target.address, target.protocol, CONNECTIONS)?;
    let ttl_ms: TtlMs<'_> = Box::new(case.ttl_ms);
    let mut issues = Issues::new(target, None, usize::MAX, ttl_ms);
    let pace = Pace::open(1, rate(settings));
    let mut paced = |time: Duration| {
        let run = client.run(&mut issues, pace, Some(Instant::now() + time));
        run.map_err(|failure| server.failed(&failure.to_string()))
    };
    paced(warm_up_time(settings))?;
    let before = Moment::of(&server)?;
    let measured = paced(measured_time(settings))?;
    let after = Moment::of(&server)?;
    table.row(cells(&server, case, &measured, (&before, &after), disk_bytes(folder)?));
    if table_needs_names(&before, &after) {
        let names = after.stats.as_ref().map(Stats::names).unwrap_or_default();
        table.note(format!("No counter of bytes appended or carried among: {names}"));
    }
    server.stop()?;
    std::fs::remove_dir_all(folder).map_err(crate::failure::io("remove a data directory"))
}

fn table_needs_names(before: &Moment, after: &Moment) -> bool {
    after.stats.is_some()
        && (after.grown(before, &APPENDED).is_none() || after.grown(before, &CARRIED).is_none())
}

fn cells(
    server: &Server,
    case: &Case,
    measured: &Measured,
    (before, after): (&Moment, &Moment),
    disk_bytes: u64,
) -> Vec<String> {
    let issued = measured.operations as f64;
    let (records, payloads) = (issued * RECORD_BYTES as f64, issued * PAYLOAD_BYTES as f64);
    let device = after.written.to_device.saturating_sub(before.written.to_device) as f64;
    let calls = after.written.to_calls.saturating_sub(before.written.to_calls) as f64;
    let appended = after.grown(before, &APPENDED);
    let carried = after.grown(before, &CARRIED);
    let turns = appended.as_ref().map(|(_, bytes)| bytes / disk_bytes as f64);
    let ratio = |counter: Option<(String, f64)>| {
        counter.map_or("–".to_owned(), |(name, bytes)| format!("{:.3} `{name}`", bytes / records))
    };
    let mut cells = vec![
        server.name.clone(),
        case.deadlines.to_owned(),
        if server.admin.is_some() { case.sync } else { "always" }.to_owned(),
        count(issued / measured.elapsed.as_secs_f64()),
        turns.map_or("–".to_owned(), |turns| format!("{turns:.1}")),
        ratio(appended),
        ratio(carried),
        format!("{:.2}", device / records),
        format!("{:.2}", device / payloads),
        format!("{:.2}", calls / records),
    ];
    cells.extend(latency_cells_us(&measured.latency_ns));
    cells
}
