//! The command line: what each command is given, and what its exit code says.

mod server;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand};

use crate::console::{print, say};
use crate::failure::{Failure, Result};
use crate::gate::{self, GateArgs};
use crate::history::args::HistoryArgs;
use crate::history::{self, Entry, ShowArgs};
use crate::outcome::Outcome;
use crate::peers::{self, PeersArgs};
use crate::report::live::Live;
use crate::report::model::Report;
use crate::report::{file, table};
use crate::run::job::Job;
use crate::run::{self, search};
use crate::secret;
use crate::target::process::end_on_interrupt;
use crate::target::{Address, Kind, Options, bound, floor, probe};
use crate::workload::Workload;
use crate::workload::flags::WorkloadFlags;
use crate::workload::named;
use server::ServerArgs;

/// Load-tests token services and key-value stores, compares them, and gates on regressions.
///
/// Exit codes: 0 done; 1 a wrong answer, a missed objective, a server that failed or a regression; 2
/// it could not run; 3 interrupted, or too little was measured for a verdict.
#[derive(Parser)]
#[command(name = "loadtest", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts a workload on a server and reports
    Run(Box<RunArgs>),
    /// Sets reports side by side, and says where the difference is noise
    Compare(CompareArgs),
    /// Adds up the reports of generators that put load on one server at the same time
    Merge(MergeArgs),
    /// Measures jeton beside Redis, Valkey, memcached, pogocache and the floor, and writes the table of
    /// ratios
    Peers(PeersArgs),
    /// Builds two revisions of this repository and says whether the second is slower
    Gate(Box<GateArgs>),
    /// Draws what run and gate measured of each commit, and finds where it changed
    History(ShowArgs),
    /// The workloads that come with the harness
    List(ListArgs),
    /// Becomes another program, which ends with the harness
    #[command(hide = true)]
    Bound(BoundArgs),
    /// Serves fixed bytes: what the kernel and the harness cost
    #[command(hide = true)]
    Floor(FloorArgs),
}

#[derive(Args)]
struct RunArgs {
    /// A workload by name (see `loadtest list`), or a TOML file
    #[arg(value_name = "NAME|FILE.toml")]
    workload: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Where report.json and report.html go; without it nothing is written
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Searches the highest rate that keeps the objectives (see --slo)
    #[arg(long)]
    find_max: bool,
    /// When the load begins (its warm-up), such as 2026-11-26T15:00:00Z: for generators on several
    /// machines, whose reports `loadtest merge` adds up
    #[arg(long, value_name = "RFC 3339", conflicts_with = "find_max")]
    start_at: Option<jiff::Timestamp>,
    #[command(flatten)]
    history: HistoryArgs,
    /// The revision that is measured, for --history; else that of the repository that the harness
    /// was built in
    #[arg(long, value_name = "REV", requires = "history")]
    commit: Option<String>,
    #[command(flatten)]
    flags: WorkloadFlags,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Reports from before a change, then as many from after it: report.json or its directory. One of
    /// each shows errors alone; three or more of each, measured in turn, decide on figures
    #[arg(value_name = "REPORT", num_args = 2.., required = true)]
    reports: Vec<PathBuf>,
    /// Compares runs even where workloads or server settings differ
    #[arg(long)]
    even_so: bool,
    /// Writes a page as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct MergeArgs {
    /// The reports: report.json or the directory it is in
    #[arg(value_name = "REPORT", num_args = 2.., required = true)]
    reports: Vec<PathBuf>,
    /// Where report.json and report.html of all go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Prints the file of this workload, as a start for your own
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

#[derive(Args)]
struct BoundArgs {
    #[arg(long)]
    parent: i32,
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

#[derive(Debug, Args)]
struct FloorArgs {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, default_value_t = 128)]
    body_bytes: usize,
}

/// Runs the command that was given.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    bound::bind_children();
    match cli.run() {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => {
            say(&format!("loadtest: {failure}"));
            ExitCode::from(2)
        }
    }
}

impl Cli {
    /// Gives how it ended.
    fn run(self) -> Result<Outcome> {
        let passed = match self.command {
            Command::Compare(arguments) => return arguments.run(),
            Command::Run(arguments) => return arguments.run(),
            Command::Merge(arguments) => return arguments.run(),
            Command::Peers(arguments) => return compare_peers(&arguments),
            Command::Gate(arguments) => {
                end_on_interrupt(None)?;
                return gate::main(&arguments);
            }
            Command::History(arguments) => history::main(&arguments).map(|()| true),
            Command::List(arguments) => arguments.run(),
            Command::Bound(arguments) => {
                Err(bound::become_bound(arguments.parent, &arguments.words))
            }
            Command::Floor(arguments) => {
                floor::serve(arguments.listen, arguments.body_bytes).map(|()| true)
            }
        };
        passed.map(Outcome::of)
    }
}

impl RunArgs {
    fn run(self) -> Result<Outcome> {
        let mut workload = named::find_or_load(&self.workload)?;
        self.flags.apply(&mut workload)?;
        if let Some(directory) = &self.out {
            // A run of an hour is not lost for a mistyped directory.
            file::prepare(directory)?;
        }
        let address = Address::parse(&self.server.target)?;
        self.check_nodes(&address)?;
        if let (Address::Start(kind), Some(_)) = (&address, self.server.server_pid) {
            return Err(Failure::Input(format!(
                "--server-pid: is for a running server; with --target {} one is started and \
                 its process id known",
                kind.name()
            )));
        }
        let is_jeton = matches!(&address, Address::Remote(remote) if remote.kind == Kind::Jeton);
        if self.server.server_admin.is_some() && !is_jeton {
            let problem = "--server-admin: is for a running jeton (--target http://HOST:PORT)";
            return Err(Failure::Input(problem.to_owned()));
        }
        self.check_history(&address)?;
        let job = Job {
            workload,
            address,
            options: self.server.options(),
            server_pid: self.server.server_pid,
            command: command_line(),
            stop: stop_on_interrupt()?,
            start_at: self.start_at,
        };
        if let Some(directory) = &self.out {
            file::set_aside(directory, &file::FILES)?;
        }
        let mut live = Live::stderr();
        let report =
            if self.find_max { search::run(&job, &mut live)? } else { run::run(&job, &mut live)? };
        live.finish();
        // Before anything is printed too, and also where the report could not be written.
        let added = self
            .history
            .history
            .as_deref()
            .map(|path| Entry::of_run(&report, self.commit.as_deref())?.append(path));
        let outcome = hand_over(&report, self.out.as_deref())?;
        added.transpose()?;
        Ok(outcome)
    }

    /// Refuses flags that name something of one server, where several are asked.
    fn check_nodes(&self, address: &Address) -> Result<()> {
        let flags = [
            ("--server-pid", self.server.server_pid.is_some()),
            ("--server-admin", self.server.server_admin.is_some()),
        ];
        let given = flags.into_iter().find(|(_, is_given)| *is_given);
        match (address, given) {
            (Address::Nodes(nodes), Some((flag, _))) => Err(Failure::Input(format!(
                "{flag}: is of one server, and --target names {}",
                nodes.len()
            ))),
            _ => Ok(()),
        }
    }

    /// Before anything is measured: which revision it is, and whether the file can be written.
    fn check_history(&self, address: &Address) -> Result<()> {
        let Some(path) = &self.history.history else { return Ok(()) };
        let is_built_here =
            matches!(address, Address::Start(Kind::Jeton)) && self.server.server_bin.is_none();
        if self.commit.is_none() && !(is_built_here && probe::harness().commit.is_some()) {
            return Err(Failure::Input(
                "--history: --commit must say which revision of the server is measured".to_owned(),
            ));
        }
        history::prepare(path)
    }
}

/// Writes and prints a report.
fn hand_over(report: &Report, out: Option<&Path>) -> Result<Outcome> {
    // Before anything is printed: a terminal that is gone, or a full disk behind standard output,
    // must not cost the report.
    let written = out.map(|directory| file::write(directory, report));
    let printed = print(&table::render(report, table::colours()));
    if let Some((json, html)) = written.transpose()? {
        print(&format!("written: {} and {}\n", json.display(), html.display()))?;
    }
    printed?;
    Ok(Outcome::from(report.verdict()))
}

impl MergeArgs {
    fn run(self) -> Result<Outcome> {
        let reports = self.reports.iter().map(|path| file::read(path));
        let merged = crate::merge::merge(&reports.collect::<Result<Vec<_>>>()?)?;
        hand_over(&merged, Some(&self.out))
    }
}

fn compare_peers(arguments: &PeersArgs) -> Result<Outcome> {
    let job = Job {
        workload: Workload::default(),
        address: Address::Start(Kind::Jeton),
        options: Options::default(),
        server_pid: None,
        command: command_line(),
        stop: stop_on_interrupt()?,
        start_at: None,
    };
    let mut live = Live::stderr();
    let peers = peers::run(arguments, &job, &mut live)?;
    live.finish();
    print(&peers::markdown(&peers))?;
    if let Some(directory) = &arguments.out {
        print(&format!("written: peers.md, peers.html, peers.json in {}\n", directory.display()))?;
    }
    Ok(peers.outcome())
}

impl CompareArgs {
    fn run(self) -> Result<Outcome> {
        if !self.reports.len().is_multiple_of(2) {
            return Err(Failure::Input(format!(
                "compare: {} reports: as many of before as of after are needed, first all of before",
                self.reports.len()
            )));
        }
        let reports = self.reports.iter().map(|path| file::read(path));
        let mut a = reports.collect::<Result<Vec<_>>>()?;
        let b = a.split_off(a.len() / 2);
        let obstacles = self.obstacles(&a, &b);
        if !obstacles.is_empty() && !self.even_so {
            return Err(Failure::Input(format!(
                "these runs cannot be compared:\n  {}\n--even-so compares them all the same",
                obstacles.join("\n  ")
            )));
        }
        let mut comparison = crate::compare::compare(&a, &b);
        let despite =
            obstacles.into_iter().map(|obstacle| format!("Compared even so. {obstacle}."));
        comparison.warnings.splice(0..0, despite);
        print(&comparison.render(table::colours()))?;
        if let Some(path) = &self.html {
            file::replace(path, comparison.html(&a[0], &b[0]).as_bytes())?;
            print(&format!("written: {}\n", path.display()))?;
        }
        Ok(comparison.outcome())
    }

    /// All runs are held against the first one, which also finds runs of one side that differ.
    fn obstacles(&self, a: &[Report], b: &[Report]) -> Vec<String> {
        let others = a.iter().chain(b).zip(&self.reports).skip(1);
        let found = others.flat_map(|(other, path)| {
            let found = crate::compare::obstacles(&a[0], other).into_iter();
            found.map(move |obstacle| format!("{obstacle} (in {})", path.display()))
        });
        found.collect()
    }
}

impl ListArgs {
    fn run(self) -> Result<bool> {
        if let Some(name) = &self.name {
            named::find(name)?;
            print(named::text(name).unwrap_or_default())?;
            return Ok(true);
        }
        for workload in named::all() {
            print(&format!("{:<14} {}\n", workload.name, workload.description))?;
        }
        Ok(true)
    }
}

fn command_line() -> Vec<String> {
    // A path may be any bytes; the report has the nearest text.
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    secret::hidden(std::iter::once("loadtest".to_owned()).chain(words).collect())
}

/// The first Ctrl-C ends a run early and reports what was measured; the second ends it at once.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    end_on_interrupt(Some(Arc::clone(&stop)))?;
    Ok(stop)
}
