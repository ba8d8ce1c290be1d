//! `jeton cluster status`: what a node knows of its cluster, as a person or a script reads it.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::cli::client::reason;
use crate::cli::exit::{FAILED, MISTAKEN, UNANSWERED};
use crate::cli::failure::ClientError;
use crate::cli::out;
use crate::cli::settings::ADMIN_LISTEN;
use crate::cli::target::KeyArgs;
use crate::clock::{Clock, SystemClock};
use crate::model::text::parse_duration;

const PATH: &str = "/cluster";
/// Pause before the node is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Time for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// `jeton cluster status`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct StatusArgs {
    /// The admin listener of a node
    #[arg(
        long,
        env = "JETON_ADMIN_SERVER",
        default_value_t = format!("http://{ADMIN_LISTEN}"),
        value_name = "URL"
    )]
    server: String,

    #[command(flatten)]
    key: KeyArgs,

    /// Print the node's answer as it is
    #[arg(long)]
    json: bool,

    /// Wait for this time until all is well, such as 60s
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
}

/// The parts of the answer that are printed.
#[derive(Deserialize)]
struct Answer {
    name: String,
    state: String,
    sentence: String,
    degraded: Vec<String>,
    node: Option<String>,
    position: Option<String>,
    chain: Option<String>,
    nodes: Vec<Member>,
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
    Refused { code: u8, why: String },
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
        Asked::Refused { code, why } => out::failed(&why, code),
        Asked::Unanswered(why) => out::failed(&why, UNANSWERED),
    }
}

/// Asks until all is well, or the time is over; the last answer counts.
async fn ask_until_well(args: &StatusArgs, wait: Duration) -> Asked {
    let clock = SystemClock::new();
    let begin = clock.monotonic();
    loop {
        let asked = match timeout(ANSWER_LIMIT, ask(args)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(error)) if error.code() == MISTAKEN => {
                return Asked::Refused { code: MISTAKEN, why: error.to_string() };
            }
            Ok(Err(error)) => Asked::Unanswered(error.to_string()),
            Err(_) => Asked::Unanswered("the node did not answer in time".to_owned()),
        };
        let is_final = match asked {
            Asked::Answered { is_well, .. } => is_well,
            Asked::Refused { code, .. } => code != UNANSWERED,
            Asked::Unanswered(_) => false,
        };
        if is_final || clock.monotonic().saturating_sub(begin) >= wait {
            return asked;
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn ask(args: &StatusArgs) -> Result<Asked, ClientError> {
    let mut wire = args.key.connect(&args.server).await?;
    let answer = wire.send(Method::GET, PATH, None, None).await?;
    let code = match answer.status {
        StatusCode::OK => {
            let parsed = serde_json::from_slice(&answer.body).map_err(|_| ClientError::Answer)?;
            let is_well = Answer::is_well(&parsed);
            let text = match args.json {
                true => format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end()),
                false => parsed.text(),
            };
            return Ok(Asked::Answered { is_well, text });
        }
        // During the start of a node with keys, nobody is known yet.
        StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => UNANSWERED,
        StatusCode::FORBIDDEN => FAILED,
        _ => MISTAKEN,
    };
    let (status, said) = (answer.status, reason(&answer.body));
    let why = format!("{status}: {said} (--server must name the admin listener of a node)");
    Ok(Asked::Refused { code, why })
}

impl Answer {
    fn is_well(&self) -> bool {
        self.degraded.is_empty()
    }

    fn text(&self) -> String {
        let unknown = "not known yet";
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| unknown.to_owned());
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "cluster {}: {} ({})", self.name, self.state, self.sentence);
        let (node, position) = (or_unknown(&self.node), or_unknown(&self.position));
        let _ =
            writeln!(text, "node {node}: position {position}, chain {}", or_unknown(&self.chain));
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
