//! New tokens a second and how long each takes, at 1, 64 and 1,000 callers: three nodes, beside a
//! Redis with a replica; and what an issue costs in CPU time, apart for nodes, servers and callers.

use std::time::Duration;

use loadtest::drive::session::{Endpoint, Silent, Spec};
use loadtest::failure::Result;
use loadtest::protocol::{Caller, Protocol};
use loadtest::stats::median;
use loadtest::target::cluster::{self, Cluster};
use loadtest::target::{Kind, Spawned, missing, probe, usage};

use super::{endpoints, insist_on_truth, issuing, shown, shown_syncs, start, syncs_ms};
use crate::setting::{Setting, Table, percentiles, session_on, tokens_of};

const CALLERS: [usize; 3] = [1, 64, 1_000];
const SMOKE: [usize; 3] = [1, 3, 6];
/// How long a replica may take until it follows.
const PATIENCE_NS: u64 = 60_000_000_000;

/// What is asked, and what was measured of it.
struct Row {
    system: &'static str,
    promise: &'static str,
    callers: usize,
    per_s: Vec<f64>,
    latency_ns: hdrhistogram::Histogram<u64>,
    syncs: Vec<f64>,
    cpu_us: Vec<[f64; PARTIES]>,
}

/// Who uses CPU time for an issue: the nodes or the Redis, the NATS servers or the replica, and the
/// callers.
const PARTIES: usize = 3;

/// The systems.
struct Systems {
    cluster: Option<Cluster>,
    redis: Option<(Spawned, Spawned)>,
}

/// One row for each system and number of callers.
pub fn run(setting: &Setting) -> Result<Table> {
    let duration = setting.size.pick(300, 2_000, 5_000);
    let mut table = Table::new(
        "New tokens on several machines",
        &[
            "system",
            "callers",
            "issues/s",
            "p50",
            "p99",
            "max",
            "CPU µs an issue: nodes + servers + callers",
            "sync 4 KiB p50 / p99",
            "promise",
        ],
        format!(
            "Payloads of 128 bytes, {} rounds of {duration} ms in turn, all processes on this \
             machine and one disk. A sync is a write and fdatasync of 4 KiB on that disk, {} times \
             before each measurement. Each caller has a connection of its own and waits for its \
             answer; those of jeton are spread over the three nodes. For redis the CPU time is that \
             of the primary, of the replica and of the callers.",
            setting.rounds,
            super::SYNCS,
        ),
    );
    let systems = Systems::start(setting, &mut table)?;
    let mut rows = Vec::new();
    for &callers in setting.size.pick(&SMOKE[..], &CALLERS[..], &CALLERS[..]) {
        rows.extend(systems.rows(callers));
    }
    for round in 0..setting.rounds {
        for (n, row) in rows.iter_mut().enumerate() {
            let session = (round * 100 + n + 1) as u64;
            systems.measure(row, session, Duration::from_millis(duration))?;
        }
    }
    for row in rows {
        let latency = percentiles(&row.latency_ns, &[0.5, 0.99, 1.0]);
        let mut syncs = row.syncs;
        syncs.sort_by(f64::total_cmp);
        let mut cells = vec![row.system.to_owned(), row.callers.to_string(), shown(&row.per_s)];
        cells.extend(latency);
        cells.extend([shown_cpu(&row.cpu_us), shown_syncs(&syncs), row.promise.to_owned()]);
        table.row(cells);
    }
    Ok(table)
}

impl Systems {
    fn start(setting: &Setting, table: &mut Table) -> Result<Self> {
        let cluster = match cluster::missing() {
            None => Some(start(setting)?),
            Some(why) => {
                table.not_run("a cluster", &why);
                None
            }
        };
        let redis = match missing(Kind::Redis) {
            None => Some(redis(setting)?),
            Some(why) => {
                table.not_run(Kind::Redis.name(), &why);
                None
            }
        };
        Ok(Self { cluster, redis })
    }

    fn rows(&self, callers: usize) -> Vec<Row> {
        let latency_ns = || loadtest::drive::histogram::latencies();
        let row = |system, promise| Row {
            system,
            promise,
            callers,
            per_s: Vec::new(),
            latency_ns: latency_ns(),
            syncs: Vec::new(),
            cpu_us: Vec::new(),
        };
        let cluster = self
            .cluster
            .as_ref()
            .map(|_| row("jeton, 3 nodes", "synced by a majority of 3, in one order, and applied"));
        let redis = self.redis.as_ref().map(|_| {
            row("redis, 1 replica, WAIT 1", "synced by the primary, in the replica's memory")
        });
        cluster.into_iter().chain(redis).collect()
    }

    fn measure(&self, row: &mut Row, session: u64, duration: Duration) -> Result<()> {
        // All data is below one folder.
        let folder = self.cluster.as_ref().map(Cluster::folder);
        row.syncs.extend(syncs_ms(folder.unwrap_or(&std::env::temp_dir()))?);
        let endpoints = match (&self.cluster, &self.redis) {
            (Some(cluster), _) if row.system.starts_with("jeton") => {
                // A single caller asks a single node.
                let all = endpoints(cluster);
                if row.callers < all.len() { all[..1].to_vec() } else { all }
            }
            (_, Some((primary, _))) => {
                let caller = Caller { replicas: 1, ..Caller::default() };
                vec![Endpoint::new(Protocol::Resp, primary.address(), caller)]
            }
            _ => return Ok(()),
        };
        let mut session = session_on(&endpoints, &issuing(row.callers), tokens_of(session))?;
        insist_on_truth(row.system, &session.load(&mut Silent, None)?)?;
        let warm_up = duration / 5;
        let spec = Spec { rate: None, warm_up, duration, ramp: Duration::ZERO };
        let before = self.cpu_s(row)?;
        let measured = session.measure(spec, &mut Silent, None)?;
        let after = self.cpu_s(row)?;
        super::insist_on_right(row.system, &measured)?;
        let per_s = measured.record.requests as f64 / duration.as_secs_f64();
        // The warm-up used CPU time too, for as many issues a second.
        let issues = per_s * (duration + warm_up).as_secs_f64();
        row.per_s.push(per_s);
        row.cpu_us.push(std::array::from_fn(|n| (after[n] - before[n]) * 1e6 / issues));
        loadtest::drive::histogram::add(&mut row.latency_ns, &measured.record.all_latencies());
        Ok(())
    }

    /// CPU time that was used until now, in seconds.
    fn cpu_s(&self, row: &Row) -> Result<[f64; PARTIES]> {
        let of = |pids: Vec<u32>| -> Result<f64> {
            pids.into_iter().map(|pid| Ok(usage::cpu(pid)?.total_s())).sum()
        };
        let (nodes, servers) = match (&self.cluster, &self.redis) {
            (Some(cluster), _) if row.system.starts_with("jeton") => (
                (0..cluster::COUNT).map(|n| cluster.node_pid(n)).collect(),
                (0..cluster::COUNT).map(|n| cluster.server_pid(n)).collect(),
            ),
            (_, Some((primary, replica))) => (vec![primary.pid()], vec![replica.pid()]),
            _ => Default::default(),
        };
        Ok([of(nodes)?, of(servers)?, of(vec![std::process::id()])?])
    }
}

/// Medians.
fn shown_cpu(rounds: &[[f64; PARTIES]]) -> String {
    let of = |party: usize| {
        let values: Vec<f64> = rounds.iter().map(|round| round[party]).collect();
        format!("{:.1}", median(&values).unwrap_or(f64::NAN))
    };
    (0..PARTIES).map(of).collect::<Vec<_>>().join(" + ")
}

/// A Redis that syncs each change, and a replica of it that does so too.
fn redis(setting: &Setting) -> Result<(Spawned, Spawned)> {
    let primary = setting.start(Kind::Redis, true, &["--repl-diskless-sync-delay", "0"])?;
    let of = format!("127.0.0.1 {}", primary.address().port());
    let replica = setting.start(Kind::Redis, true, &["--replicaof", &of])?;
    let clock = loadtest::drive::clock::Clock::start();
    while probe::replicas(primary.address()) != Some(1) {
        if clock.now_ns() > PATIENCE_NS {
            return Err(replica.failed("does not follow its primary"));
        }
        clock.sleep_until(clock.now_ns() + 20_000_000);
    }
    Ok((primary, replica))
}
