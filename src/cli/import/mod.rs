//! `jeton import`: the living string keys of a Redis or Valkey become names.

mod compare;
mod copy;
mod counts;
mod failure;
mod found;
mod link;
mod login;
mod page;
mod patience;
mod place;
mod source;
mod state;
mod target;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use zeroize::Zeroizing;

use super::out::{self, tell};
use super::progress::Counted;
use crate::model::text::parse_duration;
use crate::permissions;
use copy::{Copier, Options};
use counts::Counts;
use failure::ImportError;
use patience::Patience;
use place::{Place, Url};
use source::{Primary, Source};
use state::{Progress, State};
use target::Target;

/// The variable with the source's password, as `redis-cli` has it.
const PASSWORD_VARIABLE: &str = "REDISCLI_AUTH";
const REDIS_PORT: u16 = 6379;
const RESP_PORT: u16 = 7452;
const RATE_MAX: u32 = 1_000_000;
/// Times that a cluster is asked for its slots: one more than it is scanned.
const LOOKS_MAX: usize = 5;

/// `jeton import`
#[derive(Args, Clone, Debug)]
pub(super) struct ImportArgs {
    /// The source: redis[s]://[USER@]HOST[:PORT][/DATABASE], percent-encoded. Its password is in
    /// --password-file, or in the variable REDISCLI_AUTH
    #[arg(value_name = "URL")]
    source: String,

    /// The Redis protocol of jeton (--resp-listen); several are nodes of one cluster
    #[arg(
        long,
        env = "JETON_RESP_SERVER",
        default_value = "redis://127.0.0.1:7452",
        value_delimiter = ',',
        value_name = "URL"
    )]
    server: Vec<String>,

    /// Only keys that match this pattern, as SCAN has it
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,

    /// Cut this off the beginning of each key that has it; what is left is the name
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    strip: String,

    /// Keys a second, 1 to 1000000
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    rate: u32,

    /// What was copied is noted here, so that no key is put twice: one file for each import
    #[arg(long, default_value = "jeton-import.state", value_name = "FILE")]
    state: PathBuf,

    /// The lifetime of keys that live for ever; without it they are not copied
    #[arg(long, value_name = "DURATION")]
    persistent_ttl: Option<String>,

    /// Keys that live longer than the server's --max-ttl live that long; without it they are not
    /// copied
    #[arg(long)]
    cap_ttl: bool,

    /// File that contains the source's password and nothing else
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// File that contains the API key of jeton and nothing else
    #[arg(long, env = "JETON_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// CA certificates to trust for both sides, instead of the system's roots (PEM)
    #[arg(long, env = "JETON_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &ImportArgs) -> ExitCode {
    match import(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ImportError::Output(error)) => out::unprinted(&error, ""),
        Err(error) => out::failed(&error, error.code()),
    }
}

fn import(args: &ImportArgs) -> Result<(), ImportError> {
    if !(1..=RATE_MAX).contains(&args.rate) {
        return Err(ImportError::Range { flag: "--rate", range: "1 to 1000000 keys a second" });
    }
    let options = options(args)?;
    let patience = Patience::new(stopped()?);
    let (from, to) = (source_of(args)?, servers_of(args)?);
    let database = from.database;
    let mut source = Source::new(from, options.strip.len(), patience.clone());
    let mut target = Target::open(to, patience.clone())?;
    if options.persistent_ttl.is_some_and(|ttl| ttl > target.limits.ttl_max) {
        let range = "at most the server's --max-ttl";
        return Err(ImportError::Range { flag: "--persistent-ttl", range });
    }
    let scope = [&database.to_le_bytes()[..], &options.strip].concat();
    let state = State::open(&args.state, &scope);
    let failed = |source| ImportError::State { file: args.state.clone(), source };
    let mut state = state.map_err(failed)?;
    let copier = Copier {
        source: &mut source,
        target: &mut target,
        state: &mut state,
        options: &options,
        patience,
        counts: Counts::default(),
        passed: HashSet::new(),
    };
    Pass { copier, args, done: Counts::default(), shown: Counted::new("copying") }.run()
}

/// One pass over the source.
struct Pass<'a> {
    copier: Copier<'a>,
    args: &'a ImportArgs,
    /// Of the servers whose scan has ended.
    done: Counts,
    shown: Counted,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), ImportError> {
        let ended = self.scan_all();
        let written = self.copier.state.sync().map_err(ImportError::Write);
        self.shown.end();
        let mut counts = self.done;
        counts.add_all(&self.copier.counts);
        out::print(counts.lines())?;
        ended?;
        written?;
        self.copier.state.end_pass().map_err(ImportError::Write)?;
        match counts.not_copied() {
            0 => Ok(()),
            keys => Err(ImportError::NotCopied(keys)),
        }
    }

    /// Scans each primary, and those again that have got other slots of a cluster meanwhile.
    fn scan_all(&mut self) -> Result<(), ImportError> {
        let mut scanned: Vec<Primary> = Vec::new();
        for _ in 0..LOOKS_MAX {
            let mut left = self.copier.source.primaries()?;
            left.retain(|now| !scanned.iter().any(|before| before.has_all_of(now)));
            if left.is_empty() {
                return Ok(());
            }
            for primary in &left {
                self.scan(primary)?;
            }
            scanned.append(&mut left);
        }
        Err(ImportError::Moving)
    }

    fn scan(&mut self, primary: &Primary) -> Result<(), ImportError> {
        let Primary { address: node, slots } = primary;
        let pattern = self.args.pattern.as_deref();
        let mut run_id = self.copier.source.run_id(node)?;
        let mut scan = self.copier.state.scan(&run_id, slots, pattern);
        let mut progress = self.copier.state.progress(&scan);
        self.copier.counts = progress.counts;
        while !progress.is_over {
            if self.copier.patience.is_stopping() {
                return Err(ImportError::Stopped);
            }
            let begun = self.copier.patience.now();
            let page = self.copier.source.scan(node, &run_id, progress.cursor, pattern)?;
            let Some(page) = page else {
                tell!("the source was started again: its scan begins anew");
                run_id = self.copier.source.run_id(node)?;
                scan = self.copier.state.scan(&run_id, slots, pattern);
                progress = self.copier.state.progress(&scan);
                self.copier.counts = progress.counts;
                continue;
            };
            let (cursor, keys) = (page.cursor, page.keys.len());
            page::copy(&mut self.copier, node, page)?;
            progress = Progress { cursor, is_over: cursor == 0, counts: self.copier.counts };
            self.copier.state.advance(&scan, progress).map_err(ImportError::Write)?;
            self.shown.show(self.done.all() + progress.counts.all());
            self.pace(begun, keys)?;
        }
        self.done.add_all(&progress.counts);
        self.copier.counts = Counts::default();
        Ok(())
    }

    /// Waits until as much time has passed as so many keys may take.
    fn pace(&self, begun: Duration, keys: usize) -> Result<(), ImportError> {
        let patience = &self.copier.patience;
        let at_least = Duration::from_secs_f64(keys as f64 / f64::from(self.args.rate));
        patience.sleep(at_least.saturating_sub(patience.now().saturating_sub(begun)))
    }
}

/// A flag that SIGINT and SIGTERM set. The second one ends the process.
fn stopped() -> Result<Arc<AtomicBool>, ImportError> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(ImportError::Write)?;
    }
    Ok(flag)
}

fn options(args: &ImportArgs) -> Result<Options, ImportError> {
    let range = "a duration of at least 1 ms, such as 30d";
    let wrong = || ImportError::Range { flag: "--persistent-ttl", range };
    let ttl = args.persistent_ttl.as_deref().map(parse_duration).transpose();
    let persistent_ttl = ttl.map_err(|_| wrong())?;
    if persistent_ttl.is_some_and(|ttl| ttl.is_zero()) {
        return Err(wrong());
    }
    let strip = args.strip.clone().into_bytes();
    Ok(Options { strip, persistent_ttl, cap_ttl: args.cap_ttl })
}

fn source_of(args: &ImportArgs) -> Result<Place, ImportError> {
    let url = Url::parse(&args.source).ok_or(ImportError::Url { what: "the source" })?;
    if url.password.is_some() {
        tell!(
            "warning: other users of this machine can see the password in the URL: give it in \
             --password-file or {PASSWORD_VARIABLE}"
        );
    }
    let mut place = url.place(REDIS_PORT, args.ca.as_deref(), None)?;
    if let Some(file) = &args.password_file {
        place.password = Some(line_of("--password-file", file)?);
    } else if place.password.is_none()
        && let Ok(password) = std::env::var(PASSWORD_VARIABLE)
    {
        place.password = (!password.is_empty()).then(|| Zeroizing::new(password));
    }
    Ok(place)
}

fn servers_of(args: &ImportArgs) -> Result<Vec<Place>, ImportError> {
    let key = args.key_file.as_deref().map(|file| line_of("--key-file", file)).transpose()?;
    let place = |server: &String| {
        let url = Url::parse(server).ok_or(ImportError::Url { what: "--server" })?;
        let mut place = url.place(RESP_PORT, args.ca.as_deref(), None)?;
        place.password = key.clone().or(place.password);
        Ok(place)
    };
    args.server.iter().map(place).collect()
}

/// The content of a file with one line.
fn line_of(what: &'static str, file: &Path) -> Result<Zeroizing<String>, ImportError> {
    let failed = |source| ImportError::File { what, file: file.to_owned(), source };
    if let Some(wide) =
        std::fs::metadata(file).ok().and_then(|found| permissions::look(file, &found))
    {
        tell!("warning: {wide}");
    }
    let bytes = Zeroizing::new(std::fs::read(file).map_err(failed)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| ImportError::Password)?.trim_end();
    if text.contains('\n') {
        return Err(ImportError::Password);
    }
    Ok(Zeroizing::new(text.to_owned()))
}
