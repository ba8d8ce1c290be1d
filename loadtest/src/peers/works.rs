//! The works that servers are compared on.

use serde::Serialize;

use super::args::PeersArgs;
use crate::failure::{Failure, Result};
use crate::report::model::Report;
use crate::target::{self, Kind};
use crate::workload::flags::check;
use crate::workload::{Workload, named};

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// CPU time of the server, in microseconds; less is better.
    CpuUsPerToken,
    /// Tokens a second; more is better.
    TokensPerS,
    /// Resident memory of the whole process by tokens; less is better.
    BytesPerToken,
}

impl Metric {
    /// Heads its column.
    pub fn title(self) -> &'static str {
        match self {
            Self::CpuUsPerToken => "CPU µs per token",
            Self::TokensPerS => "tokens/s",
            Self::BytesPerToken => "bytes per token",
        }
    }

    /// Below a drawing of ratios: how it is read.
    pub fn better(self) -> &'static str {
        match self {
            Self::CpuUsPerToken | Self::BytesPerToken => {
                "jeton by each peer, with the 95 % interval. Left of the line at 1 jeton takes less."
            }
            Self::TokensPerS => {
                "jeton by each peer, with the 95 % interval. Right of the line at 1 jeton does more."
            }
        }
    }

    /// The figure of a report.
    pub fn of(self, report: &Report) -> f64 {
        let server = report.server.as_ref();
        match self {
            Self::CpuUsPerToken => server.map_or(0.0, |server| server.cpu_us_per_token),
            Self::TokensPerS => report.totals.tokens_per_s,
            Self::BytesPerToken => server.map_or(0.0, |server| {
                server.memory_bytes as f64 / report.workload.keys.population as f64
            }),
        }
    }
}

/// One server in a comparison.
#[derive(Clone, Debug)]
pub struct Side {
    /// As tables name it.
    pub name: String,
    /// Which program.
    pub kind: Kind,
    /// Additional arguments.
    pub arguments: Vec<String>,
    /// Whether others are set in relation to it.
    pub is_peer: bool,
}

impl Side {
    fn peer(kind: Kind) -> Self {
        Self { name: kind.name().to_owned(), kind, arguments: Vec::new(), is_peer: true }
    }

    fn jeton(workers: usize) -> Self {
        Self {
            name: format!("jeton, {workers} worker{}", if workers == 1 { "" } else { "s" }),
            kind: Kind::Jeton,
            arguments: vec!["--workers".to_owned(), workers.to_string()],
            is_peer: false,
        }
    }

    fn jeton_resp() -> Self {
        Self { name: "jeton, 1 worker, RESP".to_owned(), kind: Kind::JetonResp, ..Self::jeton(1) }
    }

    /// Whether its program is there.
    pub fn is_here(&self) -> bool {
        target::missing(self.kind).is_none()
    }
}

/// One kind of work.
#[derive(Clone, Debug)]
pub struct Work {
    /// As `--work` names it.
    pub name: &'static str,
    /// For the heading of its table.
    pub description: &'static str,
    /// What is asked.
    pub workload: Workload,
    /// What is compared.
    pub metric: Metric,
    /// Whether changes are on disk before they are acknowledged.
    pub durable: bool,
    /// Who takes part.
    pub sides: Vec<Side>,
    /// Who does not, and why.
    pub left_out: Vec<&'static str>,
}

const NO_FLOOR: &str = "the floor, which holds nothing";
const NOT_DURABLE: &str = "memcached and pogocache, which write nothing to disk before they answer";

/// The works that were asked for.
pub fn chosen(arguments: &PeersArgs) -> Result<Vec<Work>> {
    let population = arguments.memory_population;
    if !(1..=100_000_000).contains(&population) {
        let problem = format!("--memory-population: is {population}, must be 1 to 100,000,000");
        return Err(Failure::Input(problem));
    }
    let mut works = all(arguments)?;
    works.iter().try_for_each(|work| check(&work.workload))?;
    let names: Vec<&str> = works.iter().map(|work| work.name).collect();
    if let Some(unknown) = arguments.work.iter().find(|name| !names.contains(&name.as_str())) {
        let names = names.join(", ");
        return Err(Failure::Input(format!("--work {unknown}: is none of {names}")));
    }
    if !arguments.work.is_empty() {
        works.retain(|work| arguments.work.iter().any(|name| name == work.name));
    }
    Ok(works)
}

fn all(arguments: &PeersArgs) -> Result<Vec<Work>> {
    let with = |name: &str, change: fn(&mut Workload)| -> Result<Workload> {
        let mut workload = named::find(name)?;
        workload.keys.population = arguments.population;
        workload.time.duration = arguments.duration;
        change(&mut workload);
        Ok(workload)
    };
    let mut memory = with("resolve", |workload| workload.load.depth = 16)?;
    memory.keys.population = arguments.memory_population;
    let read = |name, description, workload, floor: bool| Work {
        name,
        description,
        workload,
        metric: Metric::CpuUsPerToken,
        durable: false,
        sides: sides(floor, true),
        left_out: if floor { Vec::new() } else { vec![NO_FLOOR] },
    };
    let write = |name, description, workload| Work {
        name,
        description,
        workload,
        metric: Metric::TokensPerS,
        durable: true,
        sides: sides(false, false),
        left_out: vec![NO_FLOOR, NOT_DURABLE],
    };
    Ok(vec![
        read(
            "resolve",
            "one token a request, 64 connections, no pipelining",
            with("resolve", |_| {})?,
            true,
        ),
        read(
            "pipelined",
            "one token a request, 16 deep on 64 connections",
            with("pipelined", |_| {})?,
            true,
        ),
        read("batch", "100 tokens a request, 16 connections", with("batch", |_| {})?, false),
        write("issue", "on disk before the answer, 64 connections", with("issue", |_| {})?),
        write(
            "issue-1",
            "on disk before the answer, one connection",
            with("issue", |workload| {
                workload.load.connections = 1;
                workload.keys.population = workload.keys.population.min(1_000);
            })?,
        ),
        Work {
            metric: Metric::BytesPerToken,
            ..read("memory", "128-byte payloads with a deadline, the whole process", memory, false)
        },
    ])
}

/// `caches` are the stores that hold everything in memory alone.
fn sides(floor: bool, caches: bool) -> Vec<Side> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sides = Vec::new();
    if floor {
        sides.push(Side::peer(Kind::Floor));
    }
    sides.extend([Side::jeton(1), Side::jeton_resp()]);
    if cores > 1 {
        sides.push(Side::jeton(cores));
    }
    sides.extend([Side::peer(Kind::Redis), Side::peer(Kind::Valkey)]);
    if caches {
        sides.extend([Side::peer(Kind::Memcached), Side::peer(Kind::Pogocache)]);
    }
    sides
}
