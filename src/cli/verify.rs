//! `jeton verify DIR`: reads a log offline and reports its content.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;

use super::audit::{self, Failure};
use super::exit::{FAILED, MISTAKEN};
use super::out;
use super::progress::Shown;
use super::settings::SecretArgs;
use crate::audit::verify::Since;
use crate::clock::SystemClock;
use crate::engine::{OpenError, Verified, tag_at, verify};
use crate::model::cluster::Chain;
use crate::model::time::UnixMillis;
use crate::model::token::Secret;
use crate::wal::DiskError;

/// What was checked, with the secret and without.
pub(super) const CHECKED_ALL: &str = "structure, checksums, every tag and every record";
pub(super) const CHECKED_PART: &str =
    "structure and checksums only: without the secret (--secret-file) no change is proved absent";
const NOT_COUNTED: &str = "not counted without the secret";

/// `jeton verify`
#[derive(Args, Clone, Debug)]
pub(super) struct VerifyArgs {
    /// The data directory
    dir: PathBuf,

    #[command(flatten)]
    secret: SecretArgs,

    /// Checkpoints of this server's audit log that were kept elsewhere (--audit-checkpoints): the log
    /// must not end before the newest of them
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,

    /// The public key of the audit log (PEM), as jeton audit public-key prints it
    #[arg(long, value_name = "FILE", requires = "since")]
    public_key: Option<PathBuf>,
}

pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    let given = match args.secret() {
        Ok(given) => given,
        Err(failure) => return failure.end(),
    };
    let given = given.as_ref().map(|(secret, name)| (secret, name.as_path()));
    let since = match args.since(given.map(|(secret, _)| secret)) {
        Ok(since) => since,
        Err(failure) => return failure.end(),
    };
    let shown = Shown::new("verifying");
    let verified = verify(&args.dir, given, &shown);
    drop(shown);
    let found = match verified {
        Ok(found) => found,
        Err(error) => return out::failed(&error, code_of(&error)),
    };
    let compared = since.map(|since| compare(&args.dir, &found, &since)).transpose();
    let compared = match compared {
        Ok(compared) => compared.flatten(),
        Err(error) => return out::failed(&error, code_of(&error)),
    };
    let since = match compared {
        Some(Compared::Later) => "since     the log has the frame of the given checkpoint\n",
        Some(Compared::Unknown) => {
            "since     nothing is known: the log no longer has a frame that the checkpoints name\n"
        }
        Some(Compared::Behind(_)) | None => "",
    };
    match out::print(text(&found) + since) {
        Ok(()) => match compared {
            Some(Compared::Behind(behind)) => out::failed(&behind, FAILED),
            _ => ExitCode::SUCCESS,
        },
        Err(error) => out::unprinted(&error, ""),
    }
}

impl VerifyArgs {
    /// The secret and its name in messages, if a flag says where it is.
    fn secret(&self) -> Result<Option<(Secret, PathBuf)>, Failure> {
        let Some(source) = self.secret.source().map_err(Failure::Mistake)? else { return Ok(None) };
        let secret = source.read(&SystemClock::new())?;
        Ok(Some((secret, source.to_string().into())))
    }

    fn since(&self, secret: Option<&Secret>) -> Result<Option<Since>, Failure> {
        let Some(since) = &self.since else { return Ok(None) };
        let key = match &self.public_key {
            Some(file) => audit::read_public_key(file)?,
            None => audit::public_key_of(&self.dir, secret)?,
        };
        audit::read_since(since, &key).map(Some)
    }
}

/// What the newest checkpoint says of the log.
enum Compared {
    /// The log is a later state of what it was then.
    Later,
    /// The part of the log that would tell was released, or no checkpoint names a frame.
    Unknown,
    /// Why it is not.
    Behind(String),
}

fn compare(dir: &Path, found: &Verified, since: &Since) -> Result<Option<Compared>, OpenError> {
    let Some(kept) = since.newest_log_end() else { return Ok(None) };
    let lsn = kept.lsn.unwrap_or_default();
    if lsn > found.lsn {
        return Ok(Some(Compared::Behind(format!(
            "the log ends at Lsn {}, before Lsn {lsn} of the given checkpoint ({}): it was rolled \
             back, or is another server's",
            found.lsn, kept.time
        ))));
    }
    // While a frame is being written, a checkpoint has no tag.
    let Some(kept) = since.newest_log_tag() else { return Ok(Some(Compared::Unknown)) };
    let lsn = kept.lsn.unwrap_or_default();
    let Some(tag) = tag_at(dir, lsn)? else { return Ok(Some(Compared::Unknown)) };
    if kept.tag.as_ref() == Some(&const_hex::encode(tag)) {
        return Ok(Some(Compared::Later));
    }
    Ok(Some(Compared::Behind(format!(
        "the log has another frame at Lsn {lsn} than at the given checkpoint ({}): it was rolled back \
         and written again, or is another server's",
        kept.time
    ))))
}

/// Damage exits with 1; a directory without a log, or one that can't be listed, is a mistake in the
/// call.
fn code_of(error: &OpenError) -> u8 {
    match error {
        OpenError::NoLog { .. } | OpenError::Disk(DiskError::Io { .. }) => MISTAKEN,
        _ => FAILED,
    }
}

fn text(found: &Verified) -> String {
    let bytes = HumanBytes(found.bytes);
    let counted = |count: Option<u64>| count.map_or(NOT_COUNTED.to_owned(), |n| n.to_string());
    let mut text = String::new();
    for (name, value) in [
        ("checked", if found.tokens.is_some() { CHECKED_ALL } else { CHECKED_PART }.to_owned()),
        ("segments", found.segments.to_string()),
        ("frames", found.frames.to_string()),
        ("records", counted(found.records)),
        ("tokens", counted(found.tokens)),
        ("bytes", format!("{} ({bytes})", found.bytes)),
        ("torn", format!("{} bytes at the end, which the next start truncates", found.torn_bytes)),
        ("lsn", found.lsn.to_string()),
        ("written", UnixMillis(found.last_time_ms).to_string()),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<9} {value}");
    }
    if let Some(node) = &found.replicated {
        let (position, chain) = (format!("{}.{}", node.era, node.seq), Chain(node.chain));
        let _ = writeln!(text, "{:<9} {position}, chain {chain}", "position");
        let _ = writeln!(text, "{:<9} {}", "members", node.members);
        let _ = writeln!(text, "{:<9} {}", "messages", node.messages);
    }
    text
}
