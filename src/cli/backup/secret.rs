//! `jeton secret export`: copies the secret to a file, apart from backups of the data.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::failure::BackupFailure;
use super::restore::secret_of;
use crate::cli::out::{self, tell};
use crate::engine::SECRET_FILE_NAME;
use crate::wal::log_id_in;

/// The subcommands of `jeton secret`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Copy the secret of a data directory to a file; no backup can be restored without it
    Export(ExportArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// The data directory; its server may run
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    data: PathBuf,

    /// The file of the secret, if it is not in the data directory
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// File for the copy; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(SecretCommand::Export(args): &SecretCommand) -> Result<(), BackupFailure> {
    let file = args.secret_file.clone().unwrap_or_else(|| args.data.join(SECRET_FILE_NAME));
    let log_id = read_log_id(&args.data)?;
    let secret = secret_of(&log_id, &file)?;
    out::write_new(&args.out, secret.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupFailure::Exists(args.out.clone()),
        _ => BackupFailure::io("write", &args.out)(error),
    })?;
    tell!(
        "{} is the secret of the log in {}. Anyone who has it and a backup can find out the \
         tokens of references and test guessed tokens against the log; without it no backup can \
         be restored. Keep it secret, and apart from the backups.",
        args.out.display(),
        args.data.display()
    );
    Ok(())
}

/// Reads the log's id, which names its secret, from any segment. No lock is needed: a file has the
/// name of a segment only while its header is complete.
fn read_log_id(data: &Path) -> Result<String, BackupFailure> {
    let listed = fs::read_dir(data).map_err(BackupFailure::io("list", data))?;
    let mut reason = "there is no log".to_owned();
    for entry in listed {
        let entry = entry.map_err(BackupFailure::io("list", data))?;
        if !entry.file_name().to_string_lossy().starts_with("segment-") {
            continue;
        }
        let mut header = Vec::new();
        let read = fs::File::open(entry.path()).and_then(|file| {
            file.take(crate::wal::segment::HEADER_BLOCK_LEN).read_to_end(&mut header)
        });
        match read {
            // The segment was released and removed meanwhile.
            Err(error) => reason = error.to_string(),
            Ok(_) => match log_id_in(&header) {
                Some(id) => return Ok(const_hex::encode(id.0)),
                None => reason = "a segment's header is damaged".to_owned(),
            },
        }
    }
    Err(BackupFailure::Log { dir: data.to_owned(), reason })
}
