//! `jeton secret export`: the secret, apart from the data and on purpose.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::failure::BackupFailure;
use super::restore::secret_of;
use crate::cli::out::{self, tell};
use crate::engine::SECRET_FILE_NAME;
use crate::wal::log_id_in;

/// What to do with the secret.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Copy the secret of a data directory to a file, which backups need to be worth anything
    Export(ExportArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// The data directory; its server may run
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    data: PathBuf,

    /// Where the secret is, if not in the data directory
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Where the copy goes; must not exist
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
        "{} is the secret of the log in {}. Whoever has it and a backup can find out the tokens of \
         references and try tokens against the log; without it no backup can be restored. Keep it \
         away from the backups, and from everybody.",
        args.out.display(),
        args.data.display()
    );
    Ok(())
}

/// Which secret the log belongs to: any segment says so. No lock is needed: a file has the name of
/// a segment only while its header is whole.
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
            // Released and taken away meanwhile.
            Err(error) => reason = error.to_string(),
            Ok(_) => match log_id_in(&header) {
                Some(id) => return Ok(const_hex::encode(id.0)),
                None => reason = "a segment's header is damaged".to_owned(),
            },
        }
    }
    Err(BackupFailure::Log { dir: data.to_owned(), reason })
}
