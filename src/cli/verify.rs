//! `jeton verify DIR`: reads a log offline and says what is there.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use indicatif::{HumanBytes, ProgressBar};

use super::FAILED;
use super::serve::bar;
use crate::engine::{Progress, verify};
use crate::time::UnixMillis;

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
    match verified {
        Ok(found) => {
            println!("segments  {}", found.segments);
            println!("frames    {}", found.frames);
            println!("records   {}", found.records);
            println!("tokens    {}", found.tokens);
            println!("bytes     {} ({})", found.bytes, HumanBytes(found.bytes));
            println!("torn      {} bytes at the end, which the next start cuts", found.torn_bytes);
            println!("lsn       {}", found.lsn);
            println!("written   {}", UnixMillis(found.last_time_ms));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
    }
}
