//! The steps of the demo, in their order.

use std::rc::Rc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::callers::{Callers, Tally, rivals, token_of, unexpected};
use super::failure::DemoFailure;
use super::show::Show;
use super::stage::{CLUSTER, COUNT, NODES, SERVERS, Stage, slow};
use super::verdict::Verdict;
use super::wires::{Call, Line};
use crate::clock::Clock;

/// Load before the first kill, and after each step under load.
const LOAD: Duration = Duration::from_secs(2);
/// Interval of the live line.
const TICK: Duration = Duration::from_millis(100);
/// Changes are being acknowledged again after a silence of less than this.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// A killed server is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);
/// Tokens that callers on all nodes consume at the same time.
const CONTESTED: u64 = 60;
/// The node that is killed.
const VICTIM: usize = 1;

/// Shows everything. True if everything that was acknowledged was kept.
pub(super) async fn tell(stage: &mut Stage, show: &Show) -> Result<bool, DemoFailure> {
    show.print(&format!(
        "A cluster on this machine: three NATS servers ({}) and three nodes, in {}",
        stage.nats.version,
        stage.dir().display()
    ))?;
    start(stage, show).await?;
    checkout(stage, show).await?;
    let tally = Rc::new(Tally::default());
    let called = load(stage, show, &tally).await;
    show.end_live();
    called?;
    show.step(&format!(
        "{CONTESTED} tokens are consumed through all three nodes at the same time."
    ))?;
    Box::pin(rivals(stage, &tally, CONTESTED)).await?;
    show.step("Every token of all callers is looked up on each node.")?;
    let verdict = Verdict::reach(stage, &tally).await?;
    show.detail(&verdict.text())?;
    let end = if verdict.is_right() {
        "Nothing was lost, and nothing was consumed twice."
    } else {
        "This is wrong. Please report it with the lines above."
    };
    show.print(&format!("\n{end}"))?;
    Ok(verdict.is_right())
}

async fn start(stage: &mut Stage, show: &Show) -> Result<(), DemoFailure> {
    show.step(
        "Three NATS servers start, each with the file that `jeton cluster nats-config` prints.",
    )?;
    for (n, name) in SERVERS.iter().enumerate() {
        stage.configure_server(n).await?;
        stage.start_server(n)?;
        show.detail(&format!("{name} at {}", stage.client(n)))?;
    }
    show.step("`jeton cluster init` makes the stream.")?;
    let begun = stage.begin_cluster().await?;
    show.detail(begun.split(';').next().unwrap_or_default())?;
    show.step("Three nodes start: `jeton serve` with the same cluster and secret.")?;
    for n in 0..COUNT {
        stage.start_node(n)?;
    }
    for (n, name) in NODES.iter().enumerate() {
        stage.await_node(n).await?;
        show.detail(&format!("{name} at {}", stage.data(n)))?;
    }
    Ok(())
}

/// One order, through all nodes.
async fn checkout(stage: &Stage, show: &Show) -> Result<(), DemoFailure> {
    show.step("A shop issues a token for an order on node a.")?;
    let body = r#"{"payload":{"order":"A-17","amount":"12.50"},"ttl":"15m"}"#;
    let issue = Call::post("/v1/tokens", Some(body.to_owned()));
    let issued = paste(stage, show, 0, &issue, 201).await?;
    let token = token_of(&issue, &issued)?;
    show.step("The customer's app resolves it on node b.")?;
    paste(stage, show, 1, &Call::resolve(&token), 200).await?;
    show.step("The app pays: it consumes the token on node c.")?;
    let consume = Call::post(format!("/v1/tokens/{token}/consume"), None);
    paste(stage, show, 2, &consume, 200).await?;
    show.step("Once more, on node a: it is gone everywhere.")?;
    paste(stage, show, 0, &consume, 404).await?;
    Ok(())
}

/// Shows a call as a command, makes it, and shows the answer.
async fn paste(
    stage: &Stage,
    show: &Show,
    n: usize,
    call: &Call,
    status: u16,
) -> Result<crate::cli::wire::Answer, DemoFailure> {
    show.detail(&curl(&stage.data(n), call))?;
    let answer = Line::to(&stage.data(n)).send(call).await;
    let answer = answer.map_err(|error| {
        DemoFailure::io(format!("call node {}", NODES[n]))(std::io::Error::other(error.to_string()))
    })?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    show.detail(&format!("{} {}", answer.status.as_u16(), body.trim_end()))?;
    if answer.status.as_u16() != status {
        return Err(unexpected(call, &answer));
    }
    Ok(answer)
}

/// The call as a command of a shell.
fn curl(url: &str, call: &Call) -> String {
    let method = match (&call.method, &call.body) {
        (&Method::POST, None) => "-X POST ",
        _ => "",
    };
    let body = call.body.as_ref().map(|body| format!("--json '{body}' ")).unwrap_or_default();
    format!("curl -s {method}{body}{url}{}", call.path)
}

/// Callers on all nodes, and kill -9 of the leader's server and of a node meanwhile.
async fn load(stage: &mut Stage, show: &Show, tally: &Rc<Tally>) -> Result<(), DemoFailure> {
    show.step("Callers issue, resolve and consume, each call on another node.")?;
    let callers = Callers::begin(stage, tally);
    let watch = Watch { show, tally, callers: &callers };
    watch.pass(stage, LOAD).await?;
    let leader = leader(stage).await?;
    show.step(&format!(
        "kill -9 of {}, the NATS server that leads the stream. The others elect another.",
        SERVERS[leader]
    ))?;
    stage.kill_server(leader)?;
    watch.await_return(stage).await?;
    watch.pass(stage, LOAD).await?;
    show.step(&format!("{} starts again.", SERVERS[leader]))?;
    stage.start_server(leader)?;
    watch.pass(stage, LOAD).await?;
    show.step(&format!(
        "kill -9 of node {}. Its callers go on elsewhere, under the same Idempotency-Keys.",
        NODES[VICTIM]
    ))?;
    stage.kill_node(VICTIM)?;
    watch.pass(stage, LOAD).await?;
    show.step(&format!(
        "Node {} starts again. It serves when it knows everything that was acknowledged meanwhile.",
        NODES[VICTIM]
    ))?;
    stage.start_node(VICTIM)?;
    stage.await_node(VICTIM).await?;
    watch.pass(stage, LOAD).await?;
    callers.finish().await
}

/// Shows the live line while time passes.
struct Watch<'a> {
    show: &'a Show,
    tally: &'a Tally,
    callers: &'a Callers,
}

impl Watch<'_> {
    /// Lets the load go on for a while.
    async fn pass(&self, stage: &mut Stage, time: Duration) -> Result<(), DemoFailure> {
        let end = self.callers.now() + time;
        while self.callers.now() < end {
            self.look(stage).await?;
        }
        Ok(())
    }

    /// Waits until the kill was noticed, or was not, and changes are acknowledged again.
    async fn await_return(&self, stage: &mut Stage) -> Result<(), DemoFailure> {
        let begin = self.callers.now();
        loop {
            self.look(stage).await?;
            let passed = self.callers.now().saturating_sub(begin);
            let silent = self.tally.silent_for(self.callers.now());
            if passed > NOTICED_WITHIN && silent < QUIET_MAX {
                return Ok(());
            }
            if !stage.within(begin) {
                return Err(slow("the election of another leader", format!("{silent:?} silent")));
            }
        }
    }

    async fn look(&self, stage: &mut Stage) -> Result<(), DemoFailure> {
        let (now, tally) = (self.callers.now(), self.tally);
        let text = format!(
            "{} changes acknowledged, {} lost, {} consumed twice; {:.1} s silent, {:.1} s at most",
            tally.acknowledged.get(),
            tally.lost.get(),
            tally.twice.get(),
            tally.silent_for(now).as_secs_f64(),
            tally.silence.get().as_secs_f64(),
        );
        self.show.live(&text, now)?;
        stage.check_running()?;
        sleep(TICK).await;
        Ok(())
    }
}

/// The server that leads the stream, as its monitor says.
async fn leader(stage: &Stage) -> Result<usize, DemoFailure> {
    let begin = stage.clock.monotonic();
    let call = Call::get("/jsz?accounts=true&streams=true");
    loop {
        for n in 0..COUNT {
            let Ok(answer) = Line::to(&stage.monitor(n)).send(&call).await else { continue };
            let told = serde_json::from_slice(&answer.body).unwrap_or_default();
            if let Some(leader) = leader_in(&told) {
                return Ok(leader);
            }
        }
        if !stage.within(begin) {
            return Err(slow("an answer about the leader of the stream", String::new()));
        }
        sleep(TICK).await;
    }
}

fn leader_in(jsz: &Value) -> Option<usize> {
    let stream = format!("jeton-{CLUSTER}");
    let accounts = jsz["account_details"].as_array()?.iter();
    let mut streams = accounts.filter_map(|one| one["stream_detail"].as_array()).flatten();
    let leader = streams.find(|one| one["name"] == stream)?["cluster"]["leader"].as_str()?;
    SERVERS.iter().position(|name| *name == leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_shown_as_commands_that_do_the_same() {
        let body = r#"{"payload":1}"#.to_owned();
        let shown = curl("http://h:1", &Call::post("/v1/tokens", Some(body)));
        assert_eq!(shown, r#"curl -s --json '{"payload":1}' http://h:1/v1/tokens"#);
        assert_eq!(curl("http://h:1", &Call::post("/x", None)), "curl -s -X POST http://h:1/x");
        assert_eq!(curl("http://h:1", &Call::get("/x")), "curl -s http://h:1/x");
    }

    #[test]
    fn the_leader_is_that_of_the_stream_of_the_cluster() {
        let of = |stream: &str, leader: &str| {
            let detail = serde_json::json!([{ "name": stream, "cluster": { "leader": leader } }]);
            leader_in(&serde_json::json!({ "account_details": [{ "stream_detail": detail }] }))
        };
        assert_eq!(of("jeton-demo", "n2"), Some(1));
        assert_eq!(of("jeton-demo", ""), None);
        assert_eq!(of("other", "n2"), None);
        assert_eq!(leader_in(&Value::Null), None);
    }
}
