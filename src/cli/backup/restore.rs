//! `jeton restore`: makes a data directory from a backup and its secret.
//!
//! The log keeps its old id, which is derived from the secret, so that the same tokens are found
//! again. Two servers that continue from one backup, or a restored server beside the old one, do
//! not damage each other's files: each locks its own directory, and they share nothing else. But a
//! token could be consumed once on each of them: promise P2 (a token is consumed at most as often
//! as it has uses) holds for one history, and there would be two.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::BackupFailure;
use super::manifest::Manifest;
use super::place::{Place, check_free};
use crate::cli::log_id::is_secret_of;
use crate::cli::out::tell;
use crate::cli::progress::Shown;
use crate::cli::settings::{SecretArgs, SecretSource};
use crate::clock::SystemClock;
use crate::engine::{Progress, SECRET_FILE_NAME};
use crate::model::token::Secret;

/// `jeton restore`
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreArgs {
    /// The backup
    backup: PathBuf,

    /// The new data directory; must be missing or empty
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    data: PathBuf,

    /// The secret of the log, as jeton secret export wrote it; the data directory gets a copy
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,

    #[command(flatten)]
    source: SecretArgs,
}

impl RestoreArgs {
    fn secret_source(&self) -> Result<SecretSource, BackupFailure> {
        // A variable for the server may name another secret: the flag of this command wins.
        if let Some(file) = &self.secret {
            return Ok(SecretSource::File(file.clone()));
        }
        let source = self.source.source().map_err(BackupFailure::Mistake)?;
        source.ok_or_else(|| {
            let text = "the secret is needed: --secret FILE, or --secret-file or --secret-command \
                        to keep it elsewhere";
            BackupFailure::Mistake(text.to_owned())
        })
    }
}

pub(super) fn restore(args: &RestoreArgs) -> Result<(), BackupFailure> {
    check_free(&args.data)?;
    let manifest = Manifest::read(&args.backup)?;
    let source = args.secret_source()?;
    let secret = secret_of(&manifest.log_id, &source)?;
    let counted = manifest.verify(&args.backup, Some(&secret), &Shown::new("verifying"))?;
    let place = Place::new(&args.data)?;
    let shown = Shown::new("restoring");
    let (mut done, all) = (0, manifest.bytes());
    for file in &manifest.files {
        let mut out = place.create(&file.name)?;
        // The copy is read once more, because the copy is what the server will use.
        file.check(&args.backup, &mut out)?;
        out.sync_all().map_err(BackupFailure::io("write", &place.path().join(&file.name)))?;
        done += file.length;
        shown.advance(done, all);
    }
    drop(shown);
    // One that is kept elsewhere stays there.
    match &args.secret {
        Some(_) => place.write(SECRET_FILE_NAME, secret.as_bytes())?,
        None => tell!("the data directory has no secret: start the server with {}", source.flag()),
    }
    place.finish()?;
    // The warning is printed first: it matters even if the rest cannot be printed.
    warn(&manifest, &args.data);
    manifest.print(counted, "; the data directory is complete")
}

/// Reads a secret that must belong to the log with this id.
pub(super) fn secret_of(log_id: &str, source: &SecretSource) -> Result<Secret, BackupFailure> {
    let secret = source.read(&SystemClock::new())?;
    check_secret(log_id, &secret, &source.to_string())?;
    Ok(secret)
}

/// Checks that a secret, which messages name so, belongs to the log with this id.
pub(super) fn check_secret(log_id: &str, secret: &Secret, name: &str) -> Result<(), BackupFailure> {
    match is_secret_of(log_id, secret) {
        true => Ok(()),
        false => Err(BackupFailure::WrongSecret(name.to_owned())),
    }
}

/// Prints which changes a restore forgets.
fn warn(manifest: &Manifest, data: &Path) {
    tell!(
        "{} now holds the tokens as they were at {}.\n\
         WARNING: what was consumed, revoked or issued after that moment is forgotten. A token \
         that was consumed after it can be CONSUMED AGAIN until its deadline; one that was issued \
         after it is unknown. Before you let clients in: stop the old server for good, and revoke \
         what your own records say was consumed or revoked since (jeton revoke). If you have no \
         such records, start with an empty data directory, and a new secret, instead.",
        data.display(),
        manifest.time
    );
}
