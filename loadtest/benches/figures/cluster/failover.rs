//! How long the clients of a cluster get no answer when a process is killed or stopped.

use std::time::Duration;

use loadtest::drive::session::{Session, Silent, Spec};
use loadtest::failure::{Failure, Result};
use loadtest::report::units;
use loadtest::stats::median;
use loadtest::target::cluster::{self, COUNT, Cluster, signal};
use loadtest::workload::Operation;
use rustix::process::Signal;

use super::{endpoints, insist_on_truth, is_smoke, issuing, start};
use crate::setting::{Setting, Table, session_on, tokens_of};

const CALLERS: usize = 64;
/// Load before something is killed.
const BEFORE: Duration = Duration::from_secs(2);
/// Tokens that are looked up after each kill.
const LOOKED_UP: u64 = 1_000;

/// What is done to the cluster.
#[derive(Clone, Copy, PartialEq)]
enum Event {
    KillLeader,
    KillOther,
    StopLeader,
    /// What `nats-server --signal ldm` does.
    LameDuck,
    KillNode,
}

impl Event {
    const ALL: [(Self, &'static str); 5] = [
        (Self::KillLeader, "kill -9 of the NATS server that leads the stream"),
        (Self::KillOther, "kill -9 of another NATS server"),
        (Self::StopLeader, "SIGTERM to the NATS server that leads the stream"),
        (Self::LameDuck, "lame duck mode (SIGUSR2) of the NATS server that leads the stream"),
        (Self::KillNode, "kill -9 of a node"),
    ];

    /// How long the load goes on: an election takes seconds.
    fn time(self) -> Duration {
        Duration::from_secs(if self == Self::KillLeader { 16 } else { 6 })
    }
}

/// One row for each event.
pub fn run(setting: &Setting) -> Result<Table> {
    let times = setting.size.pick(1, 3, 10);
    let mut table = Table::new(
        "Silence of a cluster",
        &["event", "times", "median", "max", "of the best node", "false answers"],
        format!(
            "{CALLERS} callers issue tokens on three nodes as fast as they are answered. Silence is \
             the longest time without a right answer of any node, and beside it the median of that \
             of the node that was silent for the shortest time. After each event {} tokens are \
             resolved on all nodes, and the killed process starts again before the next one.",
            units::count(LOOKED_UP)
        ),
    );
    if let Some(why) = cluster::missing() {
        table.not_run("a cluster", &why);
        return Ok(table);
    }
    let mut cluster = start(setting)?;
    // The smoke test shows that it works: one event that takes little time.
    let events = if is_smoke(setting) { &Event::ALL[4..] } else { &Event::ALL[..] };
    let mut number = 0;
    for &(event, name) in events {
        let (mut silences, mut of_best) = (Vec::new(), Vec::new());
        for _ in 0..times {
            number += 1;
            let (all_s, best_s) = suffer(&mut cluster, event, number)?;
            silences.push(all_s);
            of_best.push(best_s);
        }
        table.row(vec![
            name.to_owned(),
            times.to_string(),
            units::seconds(median(&silences).unwrap_or(f64::NAN)),
            units::seconds(silences.iter().copied().fold(0.0, f64::max)),
            units::seconds(median(&of_best).unwrap_or(f64::NAN)),
            "0".to_owned(),
        ]);
    }
    Ok(table)
}

/// Lets the event happen under load, and mends what it broke. Gives the silence of all nodes together
/// and the shortest one of a node, in seconds.
fn suffer(cluster: &mut Cluster, event: Event, number: u64) -> Result<(f64, f64)> {
    let mut session = session_on(&endpoints(cluster), &issuing(CALLERS), tokens_of(number))?;
    insist_on_truth("the cluster", &session.load(&mut Silent, None)?)?;
    let leader = cluster.leader()?;
    let victim = if event == Event::KillOther { (leader + 1) % COUNT } else { leader };
    let (pid, sent) = match event {
        Event::KillLeader | Event::KillOther => (cluster.server_pid(victim), Signal::KILL),
        Event::StopLeader => (cluster.server_pid(victim), Signal::TERM),
        Event::LameDuck => (cluster.server_pid(victim), Signal::USR2),
        Event::KillNode => (cluster.node_pid(victim), Signal::KILL),
    };
    let spec =
        Spec { rate: None, warm_up: Duration::ZERO, duration: event.time(), ramp: Duration::ZERO };
    let measured = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            std::thread::sleep(BEFORE);
            signal(pid, sent)
        });
        let measured = session.measure(spec, &mut Silent, None);
        match killer.join() {
            Ok(true) => measured,
            _ => Err(Failure::Input(format!("process {pid} had ended before it was killed"))),
        }
    })?;
    insist_on_truth("the cluster", &measured)?;
    if event == Event::KillNode {
        cluster.kill_node(victim);
        cluster.start_node(victim)?;
    } else {
        cluster.restart_server(victim)?;
    }
    look_up(&mut session)?;
    let (nodes, ended_ns) = (&measured.record.nodes, measured.record.ended_ns);
    let seconds = |ns: u64| ns as f64 / 1e9;
    let all_s = seconds(nodes.silence_ns(ended_ns).unwrap_or_default());
    let least = nodes.iter().map(|one| one.timeline.silence_ns(ended_ns)).min();
    Ok((all_s, seconds(least.unwrap_or_default())))
}

/// Some of the tokens are looked up on all nodes: none may be lost.
fn look_up(session: &mut Session) -> Result<()> {
    insist_on_truth("the cluster", &session.perform(Operation::Resolve, LOOKED_UP, &mut Silent)?)
}
