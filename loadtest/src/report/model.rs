//! What a run came to, as `report.json` holds it: everything that is needed to read it, to compare
//! it with another, and to make the same run again.

use serde::{Deserialize, Serialize};

use crate::workload::{Operation, Workload};

/// The version of this format; a report of another is refused.
pub const FORMAT: u32 = 1;

/// One run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// What made it.
    pub harness: Harness,
    /// RFC 3339.
    pub started_at: String,
    /// The command line, as it was given.
    pub command: Vec<String>,
    /// What it ran on.
    pub machine: Machine,
    /// Whom it asked.
    pub target: Target,
    /// What it asked.
    pub workload: Workload,
    /// What came of it.
    pub totals: Totals,
    /// Of all requests.
    pub latency: Latency,
    /// Of each operation that occurred.
    pub operations: Vec<OperationReport>,
    /// Nothing, where all went well.
    pub errors: Vec<ErrorReport>,
    /// Over time, in slices of equal length but for the last.
    pub slices: Vec<Slice>,
    /// Of the server process, where it was started here or its process id was given.
    pub server: Option<Usage>,
    /// Of the harness itself.
    pub client: Usage,
    /// One for each objective of the workload.
    pub objectives: Vec<ObjectiveReport>,
    /// The search for the highest rate, where there was one; the rest of the report is of the
    /// highest rate that kept the objectives.
    pub search: Option<Search>,
}

/// The program that made the report.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Harness {
    /// Of this crate.
    pub version: String,
    /// Of the repository, where it was built in one; with `+` behind it where files were changed.
    pub commit: Option<String>,
}

/// The machine the harness ran on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// As the system names it.
    pub cpu: String,
    /// Logical cores.
    pub cores: usize,
    /// Bytes.
    pub memory_bytes: u64,
    /// Operating system and version.
    pub system: String,
}

/// The server that was asked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Target {
    /// `jeton`, `redis`, `valkey`, `memcached` or `floor`.
    pub kind: String,
    /// Host and port.
    pub address: String,
    /// What it says of itself.
    pub version: Option<String>,
    /// The command that started it, where the harness did.
    pub command: Option<Vec<String>>,
}

/// Counts of the measured part.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Totals {
    /// Seconds that were measured.
    pub elapsed_s: f64,
    /// Answers, right ones and others, to the requests that were due in this time.
    pub requests: u64,
    /// Tokens: a batch of 100 is 100 of them.
    pub tokens: u64,
    /// Answers that came in this time, a second.
    pub requests_per_s: f64,
    /// The tokens they were about, a second.
    pub tokens_per_s: f64,
    /// The rate that was asked for, of an open loop.
    pub rate: Option<f64>,
    /// Connections that ended and were made again; the time this took is in no latency.
    #[serde(default)]
    pub reconnects: u64,
    /// Whether it was ended before its time, by a signal.
    #[serde(default)]
    pub stopped_early: bool,
    /// Requests that found no living token to ask for and issued one in its place.
    pub substituted: u64,
    /// Bytes sent and received.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Seconds it took to issue the population.
    pub load_s: f64,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    /// Answers measured.
    pub count: u64,
    /// The least.
    pub min_us: f64,
    /// The arithmetic mean.
    pub mean_us: f64,
    /// Half were faster.
    pub p50_us: f64,
    /// 90 of 100.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p999_us: f64,
    /// 9,999 of 10,000.
    pub p9999_us: f64,
    /// The greatest.
    pub max_us: f64,
    /// The whole distribution in nanoseconds: HdrHistogram V2, deflated where that is built in,
    /// base64.
    pub histogram: String,
}

/// One operation's part.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OperationReport {
    /// Which.
    pub operation: Operation,
    /// Its latencies.
    pub latency: Latency,
}

/// One kind of error.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ErrorReport {
    /// What went wrong, such as `wrong payload`, `lost`, `consumed twice`, `timeout`, `status 503`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// Whether the server gave a false answer, rather than none or a refusal.
    pub wrong: bool,
    /// One of them, for a person to read.
    pub example: String,
}

/// A part of the run's time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Slice {
    /// Seconds from the begin of the measured part.
    pub at_s: f64,
    /// Seconds.
    pub length_s: f64,
    /// Answers.
    pub requests: u64,
    /// Errors.
    pub errors: u64,
    /// Half were faster.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// The greatest.
    pub max_us: f64,
    /// CPU of the server in this slice, in seconds, where it is known.
    pub server_cpu_s: Option<f64>,
    /// As [`Latency::histogram`], of two significant digits; empty where it was not kept. With it
    /// a comparison has intervals for the high percentiles too.
    #[serde(default)]
    pub histogram: String,
}

/// What a process used during the measured part.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Usage {
    /// User time in seconds.
    pub user_s: f64,
    /// System time in seconds.
    pub system_s: f64,
    /// CPU time by requests, in microseconds.
    pub cpu_us_per_request: f64,
    /// CPU time by tokens, in microseconds.
    pub cpu_us_per_token: f64,
    /// Resident memory at the end.
    pub memory_bytes: u64,
    /// The most it ever was.
    pub memory_peak_bytes: u64,
}

/// Whether an objective was kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ObjectiveReport {
    /// As it was written, such as `p99=2ms`.
    pub objective: String,
    /// Microseconds.
    pub measured_us: f64,
    /// Whether it was kept.
    pub met: bool,
}

/// The search for the highest rate that keeps the objectives.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Search {
    /// Requests a second; none where even the lowest rate tried missed them.
    pub rate: Option<f64>,
    /// Every rate that was tried, in order.
    pub steps: Vec<Step>,
}

/// One rate of the search.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Step {
    /// Requests a second that were offered.
    pub rate: f64,
    /// That were answered.
    pub achieved: f64,
    /// The worst of the objectives' percentiles relative to its limit: 1.0 is just kept.
    pub worst: f64,
    /// Whether all were kept, the rate was reached and nothing went wrong.
    pub kept: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// All answers were right and all objectives kept.
    Passed,
    /// The server gave false answers.
    WrongAnswers,
    /// It refused, or gave no answer.
    Errors,
    /// All answers were right, but too slow.
    ObjectiveMissed,
}

impl Verdict {
    /// For a heading.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::WrongAnswers => "wrong answers",
            Verdict::Errors => "errors",
            Verdict::ObjectiveMissed => "objective missed",
        }
    }
}

impl Report {
    /// The worst that can be said of it.
    pub fn verdict(&self) -> Verdict {
        if self.errors.iter().any(|error| error.wrong) {
            Verdict::WrongAnswers
        } else if !self.errors.is_empty() {
            Verdict::Errors
        } else if self.passed() {
            Verdict::Passed
        } else {
            Verdict::ObjectiveMissed
        }
    }

    /// Whether the server gave false answers, lost some, or missed an objective.
    pub fn passed(&self) -> bool {
        self.errors.is_empty() && self.objectives.iter().all(|objective| objective.met)
    }
}
