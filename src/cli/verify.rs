//! `jeton verify DIR`: reads a log offline and reports its content.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;

use super::audit::{self, Failure};
use super::exit::{FAILED, MISTAKEN};
use super::progress::Shown;
use super::settings::SecretArgs;
use super::{explain, out};
use crate::audit::verify::Since;
use crate::clock::SystemClock;
use crate::engine::{OpenError, Verified, tags_at, verify};
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
    /// must be a later state of what it was at each of them
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
        Err(error) => return out::failed(&explain::open(&args.dir, &error), code_of(&error)),
    };
    let compared = since.map(|since| compare(&args.dir, &found, &since)).transpose();
    let compared = match compared {
        Ok(compared) => compared,
        Err(error) => return out::failed(&explain::open(&args.dir, &error), code_of(&error)),
    };
    let since = match &compared {
        Some(Ok(since)) => since,
        Some(Err(_)) | None => "",
    };
    match out::print(text(&found) + since) {
        Ok(()) => match compared {
            Some(Err(behind)) => out::failed(&behind, FAILED),
            Some(Ok(_)) | None => ExitCode::SUCCESS,
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
        let read = audit::read_since(since, &key)?;
        let nodes: Vec<_> = read.nodes().into_iter().collect();
        if nodes.len() > 1 {
            let (file, nodes) = (since.display(), nodes.join(", "));
            return Err(Failure::Mistake(format!(
                "--since {file} has checkpoints of several nodes ({nodes}), and each node has its own \
                 log: give those of one node"
            )));
        }
        Ok(Some(read))
    }
}

/// Compares the log with all checkpoints whose frames it still has: a server may have written new
/// ones after it was rolled back. Returns lines of the report, or why the log is no later state of
/// what it was at one of them.
fn compare(
    dir: &Path,
    found: &Verified,
    since: &Since,
) -> Result<Result<String, String>, OpenError> {
    let newest = since.newest_log_end().map(|kept| (kept.lsn.unwrap_or_default(), &kept.time));
    if let Some((lsn, time)) = newest.filter(|(lsn, _)| *lsn > found.lsn) {
        return Ok(Err(format!(
            "the log ends at Lsn {}, before Lsn {lsn} of the given checkpoint ({time}): it was rolled \
             back, or is another server's",
            found.lsn
        )));
    }
    let kept = since.log_tags();
    let lsns: Vec<_> = kept.iter().map(|kept| kept.lsn.unwrap_or_default()).collect();
    let tags = tags_at(dir, &lsns)?;
    let compared = kept.iter().zip(&lsns).zip(&tags).filter_map(|((kept, lsn), tag)| {
        let is_same = tag.map(|tag| kept.tag.as_ref() == Some(&const_hex::encode(tag)))?;
        Some((*lsn, &kept.time, is_same))
    });
    let compared: Vec<_> = compared.collect();
    if let Some((lsn, time, _)) = compared.iter().find(|(.., is_same)| !is_same) {
        return Ok(Err(format!(
            "the log has another frame at Lsn {lsn} than at the given checkpoint ({time}): it was \
             rolled back and written again, or is another server's"
        )));
    }
    let unknown = match (compared.last(), newest) {
        (_, None) => {
            "since     nothing is known: no checkpoint names the end of a log\n".to_owned()
        }
        (None, Some(_)) => {
            "since     nothing is known: the log no longer has a frame that the checkpoints name\n"
                .to_owned()
        }
        (Some((lsn, ..)), Some((end, time))) if end > *lsn => {
            format!(
                "since     nothing is known after that: the checkpoint of {time} names no frame\n"
            )
        }
        (Some(_), Some(_)) => String::new(),
    };
    let same = compared.last().map_or_else(String::new, |(lsn, time, _)| {
        let count = compared.len();
        format!(
            "since     the log has the frames of {count} checkpoints, up to Lsn {lsn} ({time})\n"
        )
    });
    Ok(Ok(same + &unknown))
}

/// Damage exits with 1; a directory without a log, or one that can't be listed, is a mistake in the
/// call.
fn code_of(error: &OpenError) -> u8 {
    match error {
        OpenError::NoLog { .. } | OpenError::Disk(DiskError::Io { .. }) => MISTAKEN,
        _ => FAILED,
    }
}

fn torn(bytes: u64) -> String {
    let note = match bytes {
        0 => "",
        _ => {
            "; a change of frames that were not proved durable looks the same, and --since can tell"
        }
    };
    format!("{bytes} bytes at the end, which the next start truncates{note}")
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
        ("torn", torn(found.torn_bytes)),
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
