//! How long a node that was killed takes until it serves again, when others went on meanwhile.

use std::time::Duration;

use loadtest::drive::session::{Silent, Spec};
use loadtest::failure::Result;
use loadtest::report::units;
use loadtest::target::cluster::{self, Cluster};

use super::{endpoints, insist_on_truth, issuing, shown, start};
use crate::setting::{Setting, Table, session_on, spread, tokens_of};

const CALLERS: usize = 1_000;
/// The node that is away.
const AWAY: usize = 2;

/// One row: a node that was away for some time under load.
pub fn run(setting: &Setting) -> Result<Table> {
    let away = setting.size.pick(Duration::from_millis(500), SECONDS * 5, SECONDS * 15);
    let mut table = Table::new(
        "A node catches up",
        &["away for", "changes meanwhile", "messages", "until it serves s", "changes/s"],
        format!(
            "kill -9 of a node; {} callers issue on the two others; then the node starts. The time \
             is from its start until it serves: it reads its log, follows the stream to its end and \
             has been seen by the others. {} rounds.",
            units::count(CALLERS as u64),
            setting.rounds
        ),
    );
    if let Some(why) = cluster::missing() {
        table.not_run("a cluster", &why);
        return Ok(table);
    }
    let mut cluster = start(setting)?;
    let (mut seconds, mut rates, mut changes, mut messages) = (vec![], vec![], vec![], vec![]);
    for round in 0..setting.rounds {
        let (issued, landed, time) = be_away(&mut cluster, away, round as u64 + 1)?;
        seconds.push(time.as_secs_f64());
        rates.push(issued as f64 / time.as_secs_f64());
        changes.push(issued as f64);
        messages.push(landed as f64);
    }
    table.row(vec![
        units::seconds(away.as_secs_f64()),
        shown(&changes),
        shown(&messages),
        spread(&seconds),
        shown(&rates),
    ]);
    Ok(table)
}

const SECONDS: Duration = Duration::from_secs(1);

/// Gives the changes and messages that the node missed, and how long it took until it served.
fn be_away(cluster: &mut Cluster, away: Duration, round: u64) -> Result<(u64, u64, Duration)> {
    let before = cluster.position(0).unwrap_or_default();
    cluster.kill_node(AWAY);
    let mut others = endpoints(cluster);
    others.truncate(AWAY);
    let mut session = session_on(&others, &issuing(CALLERS), tokens_of(round))?;
    let load = session.load(&mut Silent, None)?;
    insist_on_truth("the cluster", &load)?;
    let (warm_up, ramp) = (Duration::ZERO, Duration::ZERO);
    let spec = Spec { rate: None, warm_up, duration: away, ramp };
    let measured = session.measure(spec, &mut Silent, None)?;
    super::insist_on_right("the cluster", &measured)?;
    let issued = load.record.living + measured.record.requests;
    let landed = cluster.position(0).unwrap_or_default().saturating_sub(before);
    let time = cluster.start_node(AWAY)?;
    Ok((issued, landed, time))
}
