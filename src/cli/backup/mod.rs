//! `jeton backup`, `jeton backup verify`, `jeton restore`, `jeton secret export`, and
//! `jeton shift-time`, which makes a data directory of another as a restore does of a backup.
//!
//! A backup is a directory: the log's files as they were at one moment, and a manifest. It never
//! holds the secret, without which it tells nothing of any token; the two are kept apart, and a
//! restore asks for both.

mod manifest;
mod place;
mod receive;
mod restore;
mod secret;
mod shift;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use super::client::{ClientError, code_of};
use super::out::{self, OutputError};
use super::serve::bar;
use super::target::KeyArgs;
use super::wire::WireError;
use super::{FAILED, MISTAKEN, UNANSWERED};
use crate::engine::{Progress, SecretError, ShiftError};
use crate::model::time::UnixMillis;

use manifest::Manifest;

pub(super) use restore::RestoreArgs;
pub(super) use secret::SecretCommand;
pub(super) use shift::ShiftTimeArgs;

/// `jeton backup`
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,

    #[command(flatten)]
    take: TakeArgs,
}

#[derive(Args, Clone, Debug)]
struct TakeArgs {
    /// The server's admin listener
    #[arg(
        long,
        env = "JETON_ADMIN_SERVER",
        default_value = "http://127.0.0.1:7451",
        value_name = "URL"
    )]
    server: String,

    #[command(flatten)]
    key: KeyArgs,

    /// Where the backup goes; must be missing or empty
    #[arg(required = true)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum BackupCommand {
    /// Check a backup: its manifest, all checksums, every frame; exit 1 on damage
    Verify {
        /// The backup
        dir: PathBuf,
    },
}

/// Why a backup was not taken, not restored, or is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupFailure {
    #[error("give a directory for the backup")]
    NoDir,
    #[error("the directory needs a name of its own")]
    NoName,
    #[error("{} is not empty: nothing is written over", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} exists: nothing is written over", .0.display())]
    Exists(PathBuf),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the server refused ({status}): {reason}")]
    Refused { status: u16, reason: String },
    #[error(
        "the server has no such path ({0}): --server must name the admin listener of jeton \
         (--admin-listen, port 7451 unless it was given another one)"
    )]
    NoAdminListener(u16),
    #[error("the server's answer is not a backup: {0}")]
    Answer(&'static str),
    #[error("the backup broke off after {done} of {all} bytes: the server's log says why")]
    BrokeOff { done: u64, all: u64 },
    #[error("{} is damaged: {what}", file.display())]
    Damaged { file: PathBuf, what: String },
    #[error("the log in {} is not whole: {reason}", dir.display())]
    Log { dir: PathBuf, reason: String },
    #[error("the log in {} is not led back: {error}", dir.display())]
    Shift { dir: PathBuf, error: ShiftError },
    #[error("--to is {to}, which is before the build's date ({earliest}): is the clock right?")]
    TooEarly { to: UnixMillis, earliest: UnixMillis },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{} is not the secret of this log", .0.display())]
    WrongSecret(PathBuf),
    #[error("{}: can't {deed}: {source}", file.display())]
    Io { file: PathBuf, deed: &'static str, source: io::Error },
    #[error("the system gives no runtime: {0}")]
    Runtime(io::Error),
    #[error("{source}{lost}")]
    Output { source: OutputError, lost: &'static str },
}

impl BackupFailure {
    /// Turns what the system says into a failure that names file and deed.
    fn io(deed: &'static str, file: &Path) -> impl FnOnce(io::Error) -> BackupFailure {
        let file = file.to_owned();
        move |source| BackupFailure::Io { file, deed, source }
    }

    fn damaged(file: &Path, what: &str) -> BackupFailure {
        BackupFailure::Damaged { file: file.to_owned(), what: what.to_owned() }
    }

    /// How the command ends.
    fn code(&self) -> u8 {
        match self {
            BackupFailure::NoDir
            | BackupFailure::NoName
            | BackupFailure::NotEmpty(_)
            | BackupFailure::Exists(_)
            | BackupFailure::TooEarly { .. } => MISTAKEN,
            // The call names a directory that is none.
            BackupFailure::Io { deed: "list" | "find", .. } => MISTAKEN,
            BackupFailure::Io { deed: "read", .. } => FAILED,
            BackupFailure::Client(error) => error.code(),
            BackupFailure::Wire(error) => error.code(),
            BackupFailure::Refused { status, .. } | BackupFailure::NoAdminListener(status) => {
                code_of(*status)
            }
            BackupFailure::Damaged { .. }
            | BackupFailure::Log { .. }
            | BackupFailure::Shift { .. }
            | BackupFailure::Secret(_)
            | BackupFailure::WrongSecret(_) => FAILED,
            BackupFailure::Answer(_)
            | BackupFailure::BrokeOff { .. }
            | BackupFailure::Io { .. }
            | BackupFailure::Runtime(_)
            | BackupFailure::Output { .. } => UNANSWERED,
        }
    }
}

/// Shows how far something is, on a terminal.
struct Shown(Option<ProgressBar>);

impl Shown {
    fn new(what: &'static str) -> Shown {
        Shown(io::stderr().is_terminal().then(|| bar(what)))
    }
}

impl Progress for Shown {
    fn advance(&self, done: u64, all: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// `jeton backup`
pub(super) fn run(args: &BackupArgs) -> ExitCode {
    finish(match (&args.command, &args.take.dir) {
        (Some(BackupCommand::Verify { dir }), _) => verify(dir),
        (None, Some(dir)) => receive::take(&args.take, dir),
        (None, None) => Err(BackupFailure::NoDir),
    })
}

/// `jeton restore`
pub(super) fn run_restore(args: &RestoreArgs) -> ExitCode {
    finish(restore::restore(args))
}

/// `jeton shift-time`
pub(super) fn run_shift(args: &ShiftTimeArgs) -> ExitCode {
    finish(shift::shift(args))
}

/// `jeton secret`
pub(super) fn run_secret(command: &SecretCommand) -> ExitCode {
    finish(secret::run(command))
}

fn finish(done: Result<(), BackupFailure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(BackupFailure::Output { source, lost }) => out::unprinted(&source, lost),
        Err(failure) => out::failed(&failure, failure.code()),
    }
}

fn verify(dir: &Path) -> Result<(), BackupFailure> {
    let manifest = Manifest::read(dir)?;
    manifest.verify(dir, &Shown::new("verifying"))?;
    say(&manifest, "; the backup is whole")
}

/// Prints what a backup holds, for people. `done` says what was done although that cannot be
/// printed.
fn say(manifest: &Manifest, done: &'static str) -> Result<(), BackupFailure> {
    let text = format!(
        "moment    {}\nlsn       {}\ntokens    {}\nfiles     {}\nbytes     {}\n\
         secret    not included, needed to restore (jeton secret export)\n",
        manifest.time,
        manifest.lsn,
        manifest.tokens,
        manifest.files.len(),
        manifest.bytes()
    );
    out::print(text).map_err(|source| BackupFailure::Output { source, lost: done })
}
