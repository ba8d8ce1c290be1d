//! `jeton shift-time`: shifts the times of a stopped server's log back, when the log's time lies
//! ahead of the clock.

use std::path::PathBuf;

use clap::Args;

use super::failure::BackupFailure;
use super::place::{Place, check_free};
use crate::cli::out::{self, tell};
use crate::cli::progress::Shown;
use crate::cli::settings::{SecretArgs, SecretSource};
use crate::clock::{Clock, SystemClock};
use crate::engine::{SECRET_FILE_NAME, ShiftError, shift_time};
use crate::model::time::UnixMillis;

/// `jeton shift-time`
#[derive(Args, Clone, Debug)]
pub(crate) struct ShiftTimeArgs {
    /// The data directory of a stopped server; it is only read
    dir: PathBuf,

    /// The new data directory; must be missing or empty
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    data: PathBuf,

    #[command(flatten)]
    secret: SecretArgs,

    /// New value of the log's last time, RFC 3339 [default: the wall clock]
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<UnixMillis>,
}

fn time(text: &str) -> Result<UnixMillis, String> {
    UnixMillis::parse(text)
        .ok_or_else(|| "must be an RFC 3339 time between 1970 and 2248, with an offset".to_owned())
}

pub(super) fn shift(args: &ShiftTimeArgs) -> Result<(), BackupFailure> {
    let clock = SystemClock::new();
    let to = args.to.unwrap_or_else(|| clock.wall());
    if to < clock.earliest() {
        return Err(BackupFailure::TooEarly { to, earliest: clock.earliest() });
    }
    check_free(&args.data)?;
    let elsewhere = args.secret.source().map_err(BackupFailure::Mistake)?;
    let is_elsewhere = elsewhere.is_some();
    let beside = || SecretSource::File(args.dir.join(SECRET_FILE_NAME));
    let source = elsewhere.unwrap_or_else(beside);
    let secret = source.read(&clock)?;
    let place = Place::new(&args.data)?;
    let shown = Shown::new("shifting");
    let shifted =
        shift_time(&args.dir, place.path(), &secret, to, &shown).map_err(|error| match error {
            ShiftError::WrongSecret => BackupFailure::WrongSecret(source.to_string()),
            error => BackupFailure::Shift { dir: args.dir.clone(), error },
        })?;
    drop(shown);
    // One that is kept elsewhere stays there.
    if !is_elsewhere {
        place.write(SECRET_FILE_NAME, secret.as_bytes())?;
    }
    place.finish()?;
    tell!(
        "{} now holds the live tokens of {}, with all deadlines shifted by the same amount. Start \
         the server on the new directory only: on two directories a token could be consumed \
         twice. Remove the old directory when the server runs on the new one.",
        args.data.display(),
        args.dir.display()
    );
    let text = format!(
        "tokens    {}\nwas       {}\nis        {}\n",
        shifted.tokens, shifted.from, shifted.to
    );
    let lost = "; the new directory is complete";
    out::print(text).map_err(|source| BackupFailure::Output { source, lost })
}
