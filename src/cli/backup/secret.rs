//! `jeton secret new` makes a secret; `jeton secret export` copies that of a log to a file, apart from
//! backups of the data.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::failure::BackupFailure;
use super::restore::secret_of;
use crate::cli::log_id::log_id_of;
use crate::cli::out::{self, tell};
use crate::cli::settings::SecretArgs;
use crate::engine::SecretError;
use crate::model::token::Secret;

/// The subcommands of `jeton secret`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Make a new secret, for --secret-file or for a program that keeps it
    New(NewArgs),
    /// Copy the secret of a data directory to a file; no backup can be restored without it
    Export(ExportArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// The data directory; its server may run
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    data: PathBuf,

    #[command(flatten)]
    source: SecretArgs,

    /// File for the copy; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NewArgs {
    /// File for the secret; must not exist [default: standard output, as base64]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(command: &SecretCommand) -> Result<(), BackupFailure> {
    match command {
        SecretCommand::New(args) => new(args),
        SecretCommand::Export(args) => export(args),
    }
}

/// Writes 32 random bytes to a file, or their base64 to standard output, which
/// `--secret-command` takes.
fn new(args: &NewArgs) -> Result<(), BackupFailure> {
    let secret = Secret::random().map_err(SecretError::from)?;
    if let Some(out) = &args.out {
        write(out, &secret)?;
        tell!(
            "{} is a new secret for jeton serve --secret-file. Keep a copy elsewhere: without it \
             no log that is written with it can be read.",
            out.display()
        );
        return Ok(());
    }
    let text = Zeroizing::new(BASE64_STANDARD.encode(secret.as_bytes()));
    out::print_line(&*text).map_err(|source| BackupFailure::Output { source, lost: "" })
}

fn write(out: &Path, secret: &Secret) -> Result<(), BackupFailure> {
    out::write_new(out, secret.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupFailure::Exists(out.to_owned()),
        _ => BackupFailure::io("write", out)(error),
    })
}

fn export(args: &ExportArgs) -> Result<(), BackupFailure> {
    let source = args.source.source_or_in(&args.data).map_err(BackupFailure::Mistake)?;
    let log_id = log_id_of(&args.data)?.ok_or_else(|| BackupFailure::Log {
        dir: args.data.clone(),
        reason: "there is no log".to_owned(),
    })?;
    let secret = secret_of(&log_id, &source)?;
    write(&args.out, &secret)?;
    tell!(
        "{} is the secret of the log in {}. Anyone who has it and a backup can read every \
         payload, find out the tokens of references, and test guessed tokens; without it no backup \
         can be restored. Keep it secret, and apart from the backups.",
        args.out.display(),
        args.data.display()
    );
    Ok(())
}
