//! `jeton verify DIR`: reads a log offline and reports its content.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use indicatif::HumanBytes;

use super::exit::{FAILED, MISTAKEN};
use super::out;
use super::progress::Shown;
use crate::engine::{OpenError, Verified, verify};
use crate::model::cluster::Chain;
use crate::model::time::UnixMillis;
use crate::wal::DiskError;

/// What was checked, with the secret and without.
pub(super) const CHECKED_ALL: &str = "structure, checksums, every tag and every record";
pub(super) const CHECKED_PART: &str =
    "structure and checksums only: without the secret (--secret-file) no change is proved absent";
const NOT_COUNTED: &str = "not counted without the secret";

pub(super) fn run(dir: &Path, secret_file: Option<&Path>) -> ExitCode {
    let shown = Shown::new("verifying");
    let verified = verify(dir, secret_file, &shown);
    drop(shown);
    let found = match verified {
        Ok(found) => found,
        Err(error) => return out::failed(&error, code_of(&error)),
    };
    match out::print(text(&found)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::unprinted(&error, ""),
    }
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
