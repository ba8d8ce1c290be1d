//! `jeton verify DIR`: reads a log offline and reports its content.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;

use super::audit::{self, Failure};
use super::exit::{FAILED, MISTAKEN};
use super::out;
use super::progress::Shown;
use crate::audit::verify::Since;
use crate::engine::{OpenError, Verified, verify};
use crate::model::cluster::Chain;
use crate::model::time::UnixMillis;
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

    /// The secret of the log, to verify and decrypt every frame [default: secret.key in the data
    /// directory; without it only structure and checksums are checked]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Checkpoints of this server's audit log that were kept elsewhere (--audit-checkpoints): the log
    /// must not end before the newest of them
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,

    /// The public key of the audit log (PEM), as jeton audit public-key prints it
    #[arg(long, value_name = "FILE", requires = "since")]
    public_key: Option<PathBuf>,
}

pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    let since = match args.since() {
        Ok(since) => since,
        Err(failure) => return failure.end(),
    };
    let shown = Shown::new("verifying");
    let verified = verify(&args.dir, args.secret_file.as_deref(), &shown);
    drop(shown);
    let found = match verified {
        Ok(found) => found,
        Err(error) => return out::failed(&error, code_of(&error)),
    };
    let behind = since.as_ref().and_then(|since| behind(&found, since));
    match out::print(text(&found)) {
        Ok(()) => behind.map_or(ExitCode::SUCCESS, |behind| out::failed(&behind, FAILED)),
        Err(error) => out::unprinted(&error, ""),
    }
}

impl VerifyArgs {
    fn since(&self) -> Result<Option<Since>, Failure> {
        let Some(since) = &self.since else { return Ok(None) };
        let key = match &self.public_key {
            Some(file) => audit::read_public_key(file)?,
            None => audit::public_key_of(&self.dir, self.secret_file.as_deref())?,
        };
        audit::read_since(since, &key).map(Some)
    }
}

/// Why the log is not a later state of what it was at the newest checkpoint.
fn behind(found: &Verified, since: &Since) -> Option<String> {
    let kept = since.newest_log_end()?;
    let lsn = kept.lsn?;
    if lsn > found.lsn {
        return Some(format!(
            "the log ends at Lsn {}, before Lsn {lsn} of the given checkpoint ({}): it was rolled \
             back, or is another server's",
            found.lsn, kept.time
        ));
    }
    // Of an earlier frame the tag is no longer known here.
    let tag = kept.tag.as_ref().filter(|_| lsn == found.lsn)?;
    let is_other = *tag != const_hex::encode(found.last_tag);
    is_other.then(|| {
        format!(
            "the log has another last frame than at the given checkpoint ({}), at the same Lsn \
             {lsn}: it was rolled back and written again, or is another server's",
            kept.time
        )
    })
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
