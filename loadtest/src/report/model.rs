//! The results of a run, as `report.json` holds them: everything that is needed to read it, to compare
//! it with another, and to make the same run again.

mod nodes;
mod search;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::workload::{Operation, Workload};

pub use nodes::{NodeReport, Nodes};
pub use search::{Kept, ObjectiveReport, Search, Step};

/// The version of this format; a report of another is refused.
///
/// 2: objectives and steps of a search are kept, missed or undecided; a run says how it ended, what
/// the harness itself was late with, and how the server says it is configured.
pub const FORMAT: u32 = 2;

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
    /// The server that was asked.
    pub target: Target,
    /// What it asked.
    pub workload: Workload,
    /// Why it ended before its time, or was not whole; none where all went as planned.
    pub ended: Option<Ended>,
    /// The totals.
    pub totals: Totals,
    /// Of all requests.
    pub latency: Latency,
    /// Of each operation that occurred.
    pub operations: Vec<OperationReport>,
    /// Nothing, where all went well.
    pub errors: Vec<ErrorReport>,
    /// TLS below the protocol; none without it.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Connections that were made for one request each, by kind; empty where each was used for many.
    #[serde(default)]
    pub connections: Vec<Connections>,
    /// Of each server, where several were asked.
    #[serde(default)]
    pub nodes: Option<Nodes>,
    /// Over time, in slices of equal length but for the last.
    pub slices: Vec<Slice>,
    /// Of the server process, where it was started here or its process id was given.
    pub server: Option<Usage>,
    /// Why there is no `server`, if there is none.
    pub server_unknown: Option<String>,
    /// Of the harness itself.
    pub client: Usage,
    /// What the harness itself was late with.
    pub generator: Generator,
    /// CPU seconds of everything else on the harness's machine; none where the server's part in it
    /// is not known.
    pub others_cpu_s: Option<f64>,
    /// One for each objective of the workload.
    pub objectives: Vec<ObjectiveReport>,
    /// The generators that it is merged of; none where one made it.
    #[serde(default)]
    pub parts: Vec<Part>,
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
    /// `jeton`, `redis`, `valkey`, `memcached`, `pogocache` or `floor`.
    pub kind: String,
    /// Host and port.
    pub address: String,
    /// What it says of itself.
    pub version: Option<String>,
    /// The command that started it, where the harness did.
    pub command: Option<Vec<String>>,
    /// How it says it is configured, by setting; none where it does not say.
    pub config: Option<BTreeMap<String, String>>,
    /// Host and port of each, where several were asked.
    #[serde(default)]
    pub nodes: Vec<String>,
}

/// One generator of several.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Part {
    /// RFC 3339.
    pub started_at: String,
    /// What it ran on.
    pub machine: Machine,
    /// Its command line.
    pub command: Vec<String>,
    /// Its answers.
    pub requests: u64,
}

/// How a run ended that did not go as planned.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Ended {
    /// What happened.
    pub how: How,
    /// In a sentence, with what the server logged where it was started here.
    pub reason: String,
}

/// What ended a run, or spoilt its end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// A signal.
    Interrupted,
    /// The server could not be reached any more.
    ServerGone,
    /// All was measured, and then the server did not stop in order.
    ServerFailed,
}

/// What the harness itself was late with: what it adds to latencies is not the server's.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Generator {
    /// Half of the requests were sent no later than this after they were due and a connection was
    /// free. 0 in a closed loop, as are the next two.
    pub late_p50_us: f64,
    /// 99 of 100.
    pub late_p99_us: f64,
    /// The greatest.
    pub late_max_us: f64,
    /// The longest time in which a thread of the harness did nothing though it had to, in seconds.
    pub stall_max_s: f64,
    /// Seconds that threads of the harness waited for a CPU, all together.
    pub waited_s: f64,
    /// Seconds in which the harness was disturbed, on any of its threads.
    pub disturbed_s: f64,
    /// Answers of that time; no objective is missed by them.
    pub disturbed_requests: u64,
    /// As [`Latency::histogram`], of these answers; empty where there were none.
    #[serde(default)]
    pub disturbed_histogram: String,
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
    /// Requests that were due in this time, a second, of an open loop: what was really asked. Poisson
    /// arrivals are now more, now fewer than `rate`.
    #[serde(default)]
    pub due_per_s: Option<f64>,
    /// Connections that ended while measuring and were made again. In a closed loop the time this
    /// took is in no latency.
    pub reconnects: u64,
    /// Whether it was ended before its time, by a signal.
    pub stopped_early: bool,
    /// Whether requests waited longer and longer for a free connection, of an open loop: more came
    /// than the server took.
    pub queue_grew: bool,
    /// Requests that found no living token to ask for and issued one in its place.
    pub substituted: u64,
    /// Bytes sent while measuring, as they went over the network: with TLS its records and
    /// handshakes; without it what was asked alone. [`Tls`] has the plain text.
    pub bytes_sent: u64,
    /// Bytes received while measuring, likewise.
    pub bytes_received: u64,
    /// Seconds it took to issue the population.
    pub load_s: f64,
}

/// TLS, as it was spoken.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Tls {
    /// What both sides agreed on, the most frequent first.
    pub negotiated: Vec<Negotiated>,
    /// Full handshakes of the whole run, while tokens were issued and in the warm-up too.
    pub full: u64,
    /// Handshakes of the whole run that resumed a session.
    pub resumed: u64,
    /// Bytes of requests while measuring, before they were encrypted.
    pub plain_bytes_sent: u64,
    /// Bytes of answers while measuring, after they were decrypted.
    pub plain_bytes_received: u64,
}

/// What two sides of TLS agreed on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Negotiated {
    /// `1.3` or `1.2`.
    pub version: String,
    /// Such as `AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Such as `X25519MLKEM768`.
    pub key_exchange: Option<String>,
    /// The protocol inside (ALPN), such as `h2`.
    pub alpn: Option<String>,
    /// Connections on which it was agreed.
    pub connections: u64,
}

/// What a connection is made with.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// TCP alone.
    #[default]
    Plain,
    /// A full handshake of TLS.
    Full,
    /// A session of TLS that is resumed.
    Resumed,
}

impl Made {
    /// For a column.
    pub fn text(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Full => "full",
            Self::Resumed => "resumed",
        }
    }
}

/// Connections of one kind, each made for one request and closed behind its answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Connections {
    /// What they were to be made with.
    pub made: Made,
    /// How many were answered while measuring.
    pub count: u64,
    /// How many of them really resumed a session: the server decides.
    pub resumed: u64,
    /// Seconds in which this kind was made.
    pub time_s: f64,
    /// A second of that time.
    pub per_s: f64,
    /// CPU time of the server for one of them with its request, in microseconds, where it is known.
    pub server_cpu_us: Option<f64>,
    /// From its begin until a request could be sent: TCP's handshake and TLS's.
    pub handshake: Latency,
    /// From its begin until the answer was there.
    pub latency: Latency,
    /// Of `handshake` the time in which the connection was ready to go on and the harness was busy
    /// with others: it is not the server's. Estimated.
    #[serde(default)]
    pub own_handshake: Latency,
    /// Of `latency`, likewise.
    #[serde(default)]
    pub own: Latency,
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
    /// How often of these while the population was issued.
    pub while_issuing: u64,
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
    /// Seconds in which the harness was disturbed; more than 0 marks the slice: its latencies are
    /// not the server's alone.
    pub disturbed_s: f64,
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
