//! What is asked of a server, how often, and of which tokens: a value that a TOML file, a name or
//! flags make, and that the report repeats.

pub mod check;
pub mod file;
pub mod flags;
pub mod named;
mod objective;
mod schema;
mod suggest;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quantity::{ByteSize, Span};

/// As long as jeton lets a token live unless its configuration says otherwise.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(30 * 86_400);

/// What the harness can ask.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A new token.
    Issue,
    /// One living token.
    Resolve,
    /// `batch_size` living tokens in one request.
    Batch,
    /// A living token, for the last time.
    Consume,
    /// Takes a living token back.
    Revoke,
    /// Lets a living token live longer.
    Extend,
    /// Resolves a token that never was.
    Miss,
    /// Consumes a token that was consumed before.
    Replay,
}

impl Operation {
    /// All, in the order of the reports.
    pub const ALL: [Self; 8] = [
        Self::Issue,
        Self::Resolve,
        Self::Batch,
        Self::Consume,
        Self::Revoke,
        Self::Extend,
        Self::Miss,
        Self::Replay,
    ];

    /// As it is written in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Resolve => "resolve",
            Self::Batch => "batch",
            Self::Consume => "consume",
            Self::Revoke => "revoke",
            Self::Extend => "extend",
            Self::Miss => "miss",
            Self::Replay => "replay",
        }
    }
}

/// A whole workload. Every field has a default; see the book (load tests) for a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Names it in reports; 1 to 64 characters.
    pub name: String,
    /// One line of at most 200 characters.
    pub description: String,
    /// Of the generator of keys, payloads, arrivals and choices: the same seed asks the same.
    pub seed: u64,
    /// How requests are sent.
    pub load: Load,
    /// How long.
    pub time: Time,
    /// Which tokens.
    pub keys: Keys,
    /// What they stand for.
    pub payload: Payload,
    /// How long they live.
    pub ttl: Ttl,
    /// How often which operation.
    pub mix: Mix,
    /// What must be kept; a missed one ends the run with exit code 1.
    pub objectives: Vec<Objective>,
}

/// How requests are sent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// 1 to 100,000, over all threads, at least one for each.
    pub connections: usize,
    /// Requests under way on one connection, 1 to 1,000: pipelined, or streams of HTTP/2. At most
    /// 1,000,000 over all connections.
    pub depth: usize,
    /// Threads of the harness, 1 to 64.
    pub threads: usize,
    /// HTTP version towards jeton.
    pub http: Http,
    /// How often connections are made.
    pub connect: Connect,
    /// Requests a second over all connections, whatever the server does, 0.1 to 10,000,000; none:
    /// as soon as a connection is free.
    pub rate: Option<f64>,
    /// How the requests of a rate are spread.
    pub arrivals: Arrivals,
    /// Without an answer for so long a request counts as lost and its connection is closed; 1 ms
    /// to 10 min.
    pub timeout: Span,
}

/// HTTP version.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Http {
    /// HTTP/1.1, kept alive.
    #[default]
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2 with prior knowledge.
    #[serde(rename = "2")]
    Two,
}

/// How often connections are made. Other than `once` needs a closed loop of depth 1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connect {
    /// Once; each is used for all its requests.
    #[default]
    Once,
    /// For each request, with a full handshake where TLS is spoken.
    Full,
    /// For each request, with a session of TLS that is resumed.
    Resumed,
    /// For each request, by turns with a full and a resumed one.
    Both,
}

/// How the requests of an open loop are spread in time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At equal distances.
    Uniform,
    /// Independent of each other, as many callers make them.
    #[default]
    Poisson,
}

/// How long a run takes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// Load that is not measured, before; 0 to 1 d, at least `ramp`.
    pub warm_up: Span,
    /// Load that is measured, 1 ms to 30 d.
    pub duration: Span,
    /// Over which the rate of an open loop, or the number of connections of a closed one, grows to
    /// its full height; part of the warm-up, which is at least as long.
    pub ramp: Span,
}

/// Which tokens are asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Tokens issued before the load begins and kept at this number, 1 to 100,000,000.
    pub population: u64,
    /// Which of them is asked for.
    pub popularity: Popularity,
    /// Exponent of `zipf`, above 0, at most 5.
    pub exponent: f64,
}

/// Which of the living tokens is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Popularity {
    /// Each as likely as any other.
    #[default]
    Uniform,
    /// A few again and again: the r-th most popular in proportion to 1 / r^exponent.
    Zipf,
    /// The younger the likelier: the r-th youngest in proportion to 1 / r^exponent.
    Latest,
}

/// What a token stands for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Payload {
    /// Bytes of the JSON value, 32 B to 1 MiB; each is different.
    pub size: ByteSize,
    /// Instead: the lines of this file, each a JSON value but null. A path in a workload file is
    /// relative to that file.
    pub file: Option<PathBuf>,
}

/// How long a token lives: a fixed time, or from a distribution, in whole milliseconds from 1 ms
/// to 30 d, the longest that jeton grants by default.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Ttl {
    /// All alike.
    Fixed(Span),
    /// Any time between the two.
    Uniform {
        /// At least 1 ms.
        min: Span,
        /// At least `min`.
        max: Span,
    },
    /// Many short ones, few long ones; cut at the limits.
    Exponential {
        /// Their mean.
        mean: Span,
    },
}

/// How often which operation: weights from 0 up, of which only the proportions count and at least
/// one is above 0. A `replay` needs a `consume`, which makes what can be replayed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Weight of [`Operation::Issue`].
    pub issue: f64,
    /// Weight of [`Operation::Resolve`].
    pub resolve: f64,
    /// Weight of [`Operation::Batch`].
    pub batch: f64,
    /// Weight of [`Operation::Consume`].
    pub consume: f64,
    /// Weight of [`Operation::Revoke`].
    pub revoke: f64,
    /// Weight of [`Operation::Extend`].
    pub extend: f64,
    /// Weight of [`Operation::Miss`].
    pub miss: f64,
    /// Weight of [`Operation::Replay`].
    pub replay: f64,
    /// Tokens in one batch, 1 to 1,000.
    pub batch_size: usize,
    /// How many requests try to consume one and the same token at once, 1 to 64 and at most the
    /// requests under way; one may win. A consume is this number of requests.
    pub rivals: usize,
}

/// An upper limit for a latency, such as `p99=2ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// 0 to 100; 100 is the greatest latency of all.
    pub percentile: f64,
    /// The latency that must not be exceeded, 1 us to 1 h.
    pub limit: Span,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            name: "unnamed".to_owned(),
            description: String::new(),
            seed: 1,
            load: Load::default(),
            time: Time::default(),
            keys: Keys::default(),
            payload: Payload::default(),
            ttl: Ttl::Fixed(Span(Duration::from_secs(900))),
            mix: Mix::default(),
            objectives: Vec::new(),
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            connections: 64,
            depth: 1,
            threads: 1,
            http: Http::One,
            connect: Connect::Once,
            rate: None,
            arrivals: Arrivals::Poisson,
            timeout: Span(Duration::from_secs(10)),
        }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self {
            warm_up: Span(Duration::from_secs(2)),
            duration: Span(Duration::from_secs(10)),
            ramp: Span(Duration::ZERO),
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self { population: 100_000, popularity: Popularity::Uniform, exponent: 0.99 }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self { size: ByteSize(128), file: None }
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            issue: 0.0,
            resolve: 0.0,
            batch: 0.0,
            consume: 0.0,
            revoke: 0.0,
            extend: 0.0,
            miss: 0.0,
            replay: 0.0,
            batch_size: 100,
            rivals: 1,
        }
    }
}

impl Mix {
    /// The weight of an operation.
    pub fn weight(&self, operation: Operation) -> f64 {
        match operation {
            Operation::Issue => self.issue,
            Operation::Resolve => self.resolve,
            Operation::Batch => self.batch,
            Operation::Consume => self.consume,
            Operation::Revoke => self.revoke,
            Operation::Extend => self.extend,
            Operation::Miss => self.miss,
            Operation::Replay => self.replay,
        }
    }

    /// The same, to be changed.
    pub fn weight_mut(&mut self, operation: Operation) -> &mut f64 {
        match operation {
            Operation::Issue => &mut self.issue,
            Operation::Resolve => &mut self.resolve,
            Operation::Batch => &mut self.batch,
            Operation::Consume => &mut self.consume,
            Operation::Revoke => &mut self.revoke,
            Operation::Extend => &mut self.extend,
            Operation::Miss => &mut self.miss,
            Operation::Replay => &mut self.replay,
        }
    }
}
