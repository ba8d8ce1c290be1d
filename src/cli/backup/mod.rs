//! `jeton backup`, `jeton backup verify`, `jeton restore`, `jeton secret export`, and `jeton
//! shift-time`, which makes a new data directory from another one as `restore` does from a backup.
//!
//! A backup is a directory: the log's files as they were at one moment, and a manifest. It never
//! includes the secret, without which no token can be found out from it. The two are kept apart,
//! and a restore needs both.

mod content;
mod copy;
mod failure;
mod manifest;
mod place;
mod receive;
mod restore;
mod secret;
mod shift;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::out;
use super::progress::Shown;
use super::settings::SecretArgs;

use manifest::Manifest;
use receive::TakeArgs;
use restore::secret_of;

pub(super) use copy::{Copied, copy_log};
pub(super) use failure::BackupFailure;
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

#[derive(Clone, Debug, Subcommand)]
enum BackupCommand {
    /// Check a backup: its manifest, all checksums, every frame; exit 1 on damage
    Verify {
        /// The backup
        dir: PathBuf,

        #[command(flatten)]
        secret: SecretArgs,
    },
}

/// `jeton backup`
pub(super) fn run(args: &BackupArgs) -> ExitCode {
    finish(match (&args.command, &args.take.dir) {
        (Some(BackupCommand::Verify { dir, secret }), _) => verify(dir, secret),
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

fn verify(dir: &Path, secret: &SecretArgs) -> Result<(), BackupFailure> {
    let source = secret.source().map_err(BackupFailure::Mistake)?;
    let manifest = Manifest::read(dir)?;
    let secret = source.map(|source| secret_of(&manifest.log_id, &source)).transpose()?;
    let counted = manifest.verify(dir, secret.as_ref(), &Shown::new("verifying"))?;
    manifest.print(counted, "; the backup is complete")
}
