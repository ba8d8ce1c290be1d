//! `jeton cluster status`: what a node knows of its cluster, as a person or a script reads it.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::cli::exit::{FAILED, MISTAKEN, UNANSWERED};
use crate::cli::failure::ClientError;
use crate::cli::out::{self, tell};
use crate::cli::target::AdminArgs;
use crate::cli::wire::reason;
use crate::clock::{Clock, SystemClock};
use crate::model::cluster::NodeId;
use crate::model::text::parse_duration;

const PATH: &str = "/cluster";
/// Pause before the node is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// A check that begins this much later than a server has stopped says so: the leader of the stream
/// hears of each copy once a second, and calls it silent after 5 s.
const UNHEARD_MAX: Duration = Duration::from_secs(6);
/// Time for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// `jeton cluster status`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Print the node's answer as it is
    #[arg(long)]
    json: bool,

    /// Wait for this time until all is well, such as 60s, by a check of the stream that began after
    /// this command; without --after-epoch 6 s after it, because a server that was stopped right
    /// before is not missed sooner
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,

    /// The node that must answer, by its id; an answer of another one counts as unhealthy
    #[arg(long, value_name = "ID")]
    node: Option<NodeId>,

    /// The epoch of the node before its restart: an answer of the same life, or of an earlier one,
    /// counts as unhealthy
    #[arg(long, value_name = "N", requires = "node")]
    after_epoch: Option<u64>,
}

/// The parts of the answer that are printed.
#[derive(Deserialize)]
struct Answer {
    name: String,
    state: String,
    sentence: String,
    degraded: Vec<String>,
    node: Option<String>,
    epoch: Option<u64>,
    address: Option<String>,
    position: Option<String>,
    chain: Option<String>,
    stream: Stream,
    nodes: Vec<Member>,
}

#[derive(Deserialize)]
struct Stream {
    checked_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Member {
    node: String,
    present: bool,
    removed: bool,
    seq: Option<u64>,
    durable: Option<u64>,
    diverged: bool,
}

/// What became of one question.
enum Asked {
    Answered { is_well: bool, text: String },
    Refused { code: u8, may_pass: bool, why: String },
    Unanswered(String),
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let wait = match args.wait.as_deref().map(parse_duration).transpose() {
        Ok(wait) => wait.unwrap_or_default(),
        Err(_) => {
            let form = "--wait must be a duration such as 60s";
            return out::failed(&form, MISTAKEN);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = match runtime {
        Ok(runtime) => runtime.block_on(ask_until_well(args, wait)),
        Err(error) => Asked::Unanswered(error.to_string()),
    };
    match asked {
        Asked::Answered { is_well, text } => match out::print(text) {
            Ok(()) => ExitCode::from(if is_well { 0 } else { FAILED }),
            Err(error) => out::unprinted(&error, ""),
        },
        Asked::Refused { code, why, .. } => out::failed(&why, code),
        Asked::Unanswered(why) => out::failed(&why, UNANSWERED),
    }
}

/// Asks until all is well, or the time is over; the last answer counts.
async fn ask_until_well(args: &StatusArgs, wait: Duration) -> Asked {
    let clock = SystemClock::new();
    let begin = clock.monotonic();
    loop {
        let waited = (!wait.is_zero()).then(|| clock.monotonic().saturating_sub(begin));
        let asked = match timeout(ANSWER_LIMIT, ask(args, waited)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(error)) if error.code() == MISTAKEN => {
                let why = error.to_string();
                return Asked::Refused { code: MISTAKEN, may_pass: false, why };
            }
            Ok(Err(error)) => Asked::Unanswered(error.to_string()),
            Err(_) => Asked::Unanswered("the node did not answer in time".to_owned()),
        };
        let is_final = match asked {
            Asked::Answered { is_well, .. } => is_well,
            Asked::Refused { may_pass, .. } => !may_pass,
            Asked::Unanswered(_) => false,
        };
        if is_final || clock.monotonic().saturating_sub(begin) >= wait {
            return asked;
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Asks once. `waited` is the time since the command began, if the check must be later than that.
async fn ask(args: &StatusArgs, waited: Option<Duration>) -> Result<Asked, ClientError> {
    let mut wire = args.admin.connect().await?;
    let answer = wire.send(Method::GET, PATH, None, None).await?;
    let code = match answer.status {
        StatusCode::OK => {
            let parsed: Answer =
                serde_json::from_slice(&answer.body).map_err(|_| ClientError::Answer)?;
            let other = parsed.other_than(args);
            let early = waited.and_then(|waited| parsed.checked_too_early(args, waited));
            let is_well = parsed.degraded.is_empty() && other.is_none() && early.is_none();
            let mut text = match args.json {
                true => format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end()),
                false => parsed.text(),
            };
            match other {
                Some(why) if args.json => tell!("{why}"),
                Some(why) => drop(writeln!(text, "not the node that was asked for: {why}")),
                None => {}
            }
            match early {
                Some(why) if args.json => tell!("{why}"),
                Some(why) => drop(writeln!(text, "{why}")),
                None => {}
            }
            return Ok(Asked::Answered { is_well, text });
        }
        StatusCode::SERVICE_UNAVAILABLE => UNANSWERED,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FAILED,
        _ => MISTAKEN,
    };
    let (status, said) = (answer.status, reason(&answer.body));
    // During the start of a node with keys, nobody is known yet.
    let may_pass = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::UNAUTHORIZED);
    let why = format!("{status}: {said} (--server must name the admin listener of a node)");
    Ok(Asked::Refused { code, may_pass, why })
}

impl Answer {
    /// Why this is not the answer of the node that was asked for, or not of a later life of it.
    fn other_than(&self, args: &StatusArgs) -> Option<String> {
        let wanted = args.node?;
        let Some(node) = &self.node else {
            return Some("the node that answers does not know its id yet".to_owned());
        };
        if *node != wanted.to_string() {
            return Some(format!("node {node} answers, and --node is {wanted}"));
        }
        let before = args.after_epoch?;
        match self.epoch {
            Some(epoch) if epoch > before => None,
            Some(epoch) => Some(format!("its epoch is {epoch}, and --after-epoch is {before}")),
            None => Some("its new life has not begun yet".to_owned()),
        }
    }

    /// Why the answer does not show what was so when the command began, `waited` ago: it has the
    /// last check of the stream and its servers.
    fn checked_too_early(&self, args: &StatusArgs, waited: Duration) -> Option<String> {
        let unheard = if args.after_epoch.is_some() { Duration::ZERO } else { UNHEARD_MAX };
        let latest = waited.checked_sub(unheard).map(|latest| latest.as_secs_f64());
        let is_fresh =
            self.stream.checked_seconds.zip(latest).is_some_and(|(age, latest)| age <= latest);
        (!is_fresh).then(|| "no check of the stream is late enough for --wait yet".to_owned())
    }

    fn text(&self) -> String {
        let unknown = "not known yet";
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| unknown.to_owned());
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "cluster {}: {} ({})", self.name, self.state, self.sentence);
        let (node, position) = (or_unknown(&self.node), or_unknown(&self.position));
        let address = self.address.as_ref().map(|address| format!(" at {address}"));
        let epoch = self.epoch.map(|epoch| format!(" (epoch {epoch})"));
        let (address, epoch) = (address.unwrap_or_default(), epoch.unwrap_or_default());
        let chain = or_unknown(&self.chain);
        let _ = writeln!(text, "node {node}{address}{epoch}: position {position}, chain {chain}");
        for member in self.nodes.iter().filter(|member| !member.removed) {
            let Member { node, seq, durable, .. } = member;
            let state = match (member.diverged, member.present) {
                (true, _) => "has other content",
                (false, true) => "present",
                (false, false) => "absent",
            };
            let at = |number: &Option<u64>| {
                number.map_or_else(|| unknown.to_owned(), |number| number.to_string())
            };
            let (seq, durable) = (at(seq), at(durable));
            let _ = writeln!(text, "  {node}: {state}, position {seq}, durable {durable}");
        }
        for complaint in &self.degraded {
            let _ = writeln!(text, "degraded: {complaint}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        args: StatusArgs,
    }

    fn args(flags: &[&str]) -> Result<StatusArgs, clap::Error> {
        let call = Call::try_parse_from([&["status"], flags].concat());
        call.map(|call| call.args)
    }

    fn answer(node: Option<&str>, epoch: Option<u64>) -> Answer {
        let json = serde_json::json!({
            "name": "shop",
            "state": "ready",
            "sentence": "everything works",
            "degraded": [],
            "node": node,
            "epoch": epoch,
            "address": "n1.example:7450",
            "position": "1.7",
            "chain": "ab",
            "stream": {},
            "nodes": [],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn gate_is_passed_by_a_later_life_of_the_same_node_alone() {
        let id = "00000000000000ab";
        let asked = args(&["--node", id, "--after-epoch", "3"]).unwrap();
        let other = |answer: Answer| answer.other_than(&asked);
        assert_eq!(other(answer(Some(id), Some(4))), None);
        assert!(other(answer(Some(id), Some(3))).unwrap().contains("its epoch is 3"));
        assert!(other(answer(Some(id), None)).unwrap().contains("has not begun"));
        let another = other(answer(Some("00000000000000ac"), Some(9))).unwrap();
        assert!(another.contains("node 00000000000000ac answers"), "{another}");
        assert!(other(answer(None, None)).is_some());
        let any = args(&[]).unwrap();
        assert_eq!(answer(Some("00000000000000ac"), Some(1)).other_than(&any), None);
        assert!(args(&["--after-epoch", "3"]).is_err(), "the epochs of nodes differ");
        for wrong in ["", "0", "0000000000000000", "xyz", "00000000000000AB0"] {
            assert!(args(&["--node", wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn p1_gate_is_passed_by_a_check_that_began_after_the_command() {
        let restart = args(&["--node", "00000000000000ab", "--after-epoch", "3"]).unwrap();
        let server = args(&[]).unwrap();
        let is_early = |args: &StatusArgs, age: Option<f64>, waited: u64| {
            let mut answer = answer(None, None);
            answer.stream.checked_seconds = age;
            answer.checked_too_early(args, Duration::from_secs(waited)).is_some()
        };
        assert!(is_early(&restart, Some(4.0), 3), "the picture from before");
        assert!(!is_early(&restart, Some(3.0), 4));
        assert!(is_early(&server, Some(3.0), 4), "its silence is not seen yet");
        assert!(is_early(&server, Some(0.0), 5));
        assert!(!is_early(&server, Some(1.0), 7));
        assert!(is_early(&server, None, 60) && is_early(&restart, None, 60), "no check at all");
    }

    #[test]
    fn address_and_epoch_of_the_node_are_shown() {
        let text = answer(Some("00000000000000ab"), Some(4)).text();
        let line = "node 00000000000000ab at n1.example:7450 (epoch 4): position 1.7, chain ab\n";
        assert!(text.contains(line), "{text}");
    }
}
