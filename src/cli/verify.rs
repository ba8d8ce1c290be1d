//! `jeton verify DIR`: reads a log offline and says what is there.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use indicatif::{HumanBytes, ProgressBar};

use super::serve::bar;
use super::{FAILED, MISTAKEN, out};
use crate::engine::{OpenError, Progress, Verified, verify};
use crate::model::time::UnixMillis;
use crate::wal::DiskError;

struct Reading(Option<ProgressBar>);

impl Progress for Reading {
    fn advance(&self, done: u64, all: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}

pub(super) fn run(dir: &Path) -> ExitCode {
    let reading = Reading(std::io::stderr().is_terminal().then(|| bar("verifying")));
    let verified = verify(dir, &reading);
    if let Some(bar) = &reading.0 {
        bar.finish_and_clear();
    }
    let found = match verified {
        Ok(found) => found,
        Err(error) => return out::failed(&error, code_of(&error)),
    };
    match out::print(text(&found)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::unprinted(&error, ""),
    }
}

/// Damage is 1; a directory that holds no log, or can't be listed, is a mistake in the call.
fn code_of(error: &OpenError) -> u8 {
    match error {
        OpenError::NoLog { .. } | OpenError::Disk(DiskError::Io { .. }) => MISTAKEN,
        _ => FAILED,
    }
}

fn text(found: &Verified) -> String {
    let bytes = HumanBytes(found.bytes);
    let mut text = String::new();
    for (name, value) in [
        ("segments", found.segments.to_string()),
        ("frames", found.frames.to_string()),
        ("records", found.records.to_string()),
        ("tokens", found.tokens.to_string()),
        ("bytes", format!("{} ({bytes})", found.bytes)),
        ("torn", format!("{} bytes at the end, which the next start cuts", found.torn_bytes)),
        ("lsn", found.lsn.to_string()),
        ("written", UnixMillis(found.last_time_ms).to_string()),
    ] {
        // A string takes everything.
        let _ = writeln!(text, "{name:<9} {value}");
    }
    text
}
