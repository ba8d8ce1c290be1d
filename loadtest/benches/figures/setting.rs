//! What the figures share: how large they are, how servers and sessions are begun, what must be
//! right before a figure counts, and their tables.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use loadtest::drive::clock::Clock;
use loadtest::drive::session::{Endpoint, Measured, Session};
use loadtest::failure::Result;
use loadtest::quantity::Span;
use loadtest::report::units;
use loadtest::stats::median;
use loadtest::target::{self, Kind, Options, Spawned};
use loadtest::traffic::payload::Payloads;
use loadtest::traffic::plan::Tokens;
use loadtest::workload::{Arrivals, Http, Ttl, Workload};

/// The stores that keep deadlines and can count, as jeton does.
pub const PEERS: [Kind; 2] = [Kind::Redis, Kind::Valkey];
/// A time to live that outlasts every measurement.
pub const LONG: Duration = Duration::from_secs(6 * 60 * 60);
/// Requests under way on a connection while a population is issued.
const LOAD_DEPTH: usize = 64;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Seconds: shows that the program works, its figures mean nothing.
    Smoke,
    /// Minutes.
    Quick,
    /// What the promises are about.
    Full,
}

impl Size {
    /// The value for this size.
    pub fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What holds for every figure of a run.
pub struct Setting {
    /// How much.
    pub size: Size,
    /// How often each server has its turn.
    pub rounds: usize,
    /// jeton's binary, where it is not to be built or looked for.
    pub server_bin: Option<PathBuf>,
}

impl Setting {
    /// A smoke test takes the jeton that cargo built beside it, where it did: optimised or not
    /// makes no difference to what is right.
    pub fn new(size: Size, rounds: usize) -> Self {
        let beside = std::env::current_exe().ok().and_then(|this| {
            let jeton = this.parent()?.parent()?.join("jeton");
            jeton.is_file().then_some(jeton)
        });
        let named = std::env::var_os("JETON_BIN").is_some();
        let server_bin = beside.filter(|_| size == Size::Smoke && !named);
        Self { size, rounds: size.pick(1, rounds.max(1), rounds.max(1)), server_bin }
    }

    /// Starts a server; jeton always writes its log.
    pub fn start(&self, kind: Kind, durable: bool, arguments: &[&str]) -> Result<Spawned> {
        let options = Options {
            server_bin: self.server_bin.clone(),
            arguments: arguments.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
            durable: durable || kind == Kind::Jeton,
            ..Options::default()
        };
        target::start(kind, &options)
    }
}

/// A workload of 128-byte payloads; its mix is still empty.
pub fn workload(population: usize, connections: usize, ttl: Duration) -> Workload {
    let mut workload = Workload::default();
    workload.keys.population = population as u64;
    workload.load.connections = connections;
    workload.load.arrivals = Arrivals::Uniform;
    // A slow answer is a figure here; only one that never comes is an error.
    workload.load.timeout = Span(Duration::from_secs(120));
    workload.ttl = Ttl::Fixed(Span(ttl));
    workload
}

/// Tokens from a number on that no other session has: sessions are told apart by a small number.
pub fn tokens_of(session: u64) -> Tokens {
    Tokens { first: session << 40, deadlines_ns: None, load_depth: Some(LOAD_DEPTH) }
}

/// Connects.
pub fn session(server: &Spawned, workload: &Workload, tokens: Tokens) -> Result<Session> {
    let protocol = server.kind().protocol(Http::One);
    let endpoint =
        Endpoint::new(protocol, server.address(), server.address().to_string().as_str().into());
    session_on(&[endpoint], workload, tokens)
}

/// The same with one or several servers that were started in another way.
pub fn session_on(endpoints: &[Endpoint], workload: &Workload, tokens: Tokens) -> Result<Session> {
    let payloads = Arc::new(Payloads::new(&workload.payload, workload.seed)?);
    let stop = Arc::new(AtomicBool::new(false));
    Session::open_with(workload, tokens, endpoints, &payloads, &stop)
}

/// Insists that every answer was right, and that no operation was done in place of another.
pub fn insist_on_right(server: &Spawned, measured: &Measured) -> Result<()> {
    if let Some((kind, count, example)) = measured.record.errors.iter().next() {
        return Err(server.failed(&format!("{count} times {}: {example}", kind.name())));
    }
    match measured.record.substituted {
        0 => Ok(()),
        issued => Err(server.failed(&format!("{issued} requests found no token to ask for"))),
    }
}

/// Insists on the number of tokens that the server says it holds. It may count the last of its
/// answers a moment after it gave them.
pub fn insist_on_count(server: &Spawned, expected: u64) -> Result<()> {
    const PATIENCE_NS: u64 = 2_000_000_000;
    let clock = Clock::start();
    loop {
        let found = server.tokens()?;
        if found == Some(expected) {
            return Ok(());
        }
        if clock.now_ns() > PATIENCE_NS {
            return Err(server.failed(&format!("holds {found:?} tokens instead of {expected}")));
        }
        clock.sleep_until(clock.now_ns() + 10_000_000);
    }
}

/// The median, and the least and the greatest where there are several.
pub fn spread(values: &[f64]) -> String {
    let middle = median(values).unwrap_or(f64::NAN);
    if values.len() < 2 {
        return format!("{middle:.2}");
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{middle:.2} ({least:.2}..{most:.2})")
}

/// Percentiles, as shares of one, of a histogram of nanoseconds.
pub fn percentiles(latency_ns: &hdrhistogram::Histogram<u64>, shares: &[f64]) -> Vec<String> {
    let text = |&share: &f64| units::latency(latency_ns.value_at_quantile(share) as f64 / 1e3);
    shares.iter().map(text).collect()
}

/// A table in markdown.
pub struct Table {
    title: &'static str,
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    note: String,
}

impl Table {
    /// An empty one; `note` says what was done.
    pub fn new(title: &'static str, headings: &[&'static str], note: String) -> Self {
        Self { title, headings: headings.to_vec(), rows: Vec::new(), note }
    }

    /// A row has a cell for each heading.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.headings.len(), "a cell for each heading");
        self.rows.push(cells);
    }

    /// A server that was not measured, and why.
    pub fn not_run(&mut self, what: &str, why: &str) {
        let _ = write!(self.note, " Not run: {what}, {why}.");
    }

    /// The whole of it.
    pub fn markdown(&self) -> String {
        let mut text = format!("\n**{}**\n\n| {} |\n", self.title, self.headings.join(" | "));
        // Writing to a String can't fail.
        let _ = writeln!(text, "|{}", "---|".repeat(self.headings.len()));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        let _ = write!(text, "\n{}", self.note);
        text
    }
}
