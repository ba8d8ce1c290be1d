//! Verifies the files of audit logs with the public key.
//!
//! Files are put into order by the numbers in their checkpoints, whatever their names are, and each
//! chain is walked once (`walk`). Checkpoints that were kept elsewhere (`since`) must be among the
//! lines.

mod lines;
mod report;
mod since;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::chain::{Chain, LogKind};
use super::checkpoint::{self, Found};
use super::signing::PublicKey;

pub use report::{Finding, LogReport, Place, Report, What};
pub use since::{Since, SinceError};

use lines::{Line, Lines};
use walk::Walk;

/// A file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", file.display())]
pub struct ReadError {
    /// The file.
    pub file: PathBuf,
    /// The operating system's error.
    pub source: io::Error,
}

/// A file and where it stands in its chain.
struct Member {
    file: PathBuf,
    /// At its first checkpoint.
    begin: Chain,
}

/// Verifies `files`, which may belong to several logs. `since` are checkpoints that were kept
/// elsewhere.
///
/// # Errors
/// A file cannot be read.
pub fn verify(
    files: &[PathBuf],
    key: &PublicKey,
    since: Option<&Since>,
) -> Result<Report, ReadError> {
    let mut report = Report::default();
    // A file whose log is not known.
    let mut nameless: Option<PathBuf> = None;
    let mut chains: BTreeMap<(LogKind, [u8; 8]), Vec<Member>> = BTreeMap::new();
    for file in files {
        if file.extension().is_some_and(|end| end == "chain") {
            report.notes.push(format!("{}: not a log, skipped", file.display()));
            continue;
        }
        match begin(file, key).map_err(|source| ReadError { file: file.clone(), source })? {
            Begin::Empty => {
                report.notes.push(format!("{}: is empty", file.display()));
                nameless.get_or_insert_with(|| file.clone());
            }
            Begin::Unsigned(line) => {
                nameless.get_or_insert_with(|| file.clone());
                report
                    .findings
                    .push(Finding { place: Place::new(file, line), what: What::NoChain });
            }
            Begin::At(begin) => {
                let member = Member { file: file.clone(), begin };
                chains.entry((member.begin.log, member.begin.id)).or_default().push(member);
            }
        }
    }
    for ((log, id), mut members) in chains {
        members.sort_by_key(|member| (member.begin.file, member.begin.seq));
        let mut walk = Walk::new(key, log, id, since);
        for (number, member) in members.iter().enumerate() {
            let (path, is_last) = (&member.file, number + 1 == members.len());
            walk.file(path, is_last).map_err(|source| ReadError { file: path.clone(), source })?;
        }
        report.logs.push(walk.end());
    }
    second_chains(&mut report);
    since.iter().for_each(|since| missing_chains(&mut report, since));
    since.iter().for_each(|since| missing_logs(&mut report, since, files, nameless.as_deref()));
    Ok(report)
}

/// Logs with checkpoints that were kept elsewhere, and without a line in the files. They are a
/// finding if a file has no checkpoint, or no file has one.
fn missing_logs(report: &mut Report, since: &Since, files: &[PathBuf], nameless: Option<&Path>) {
    let is_nothing_found = report.logs.is_empty();
    for (log, seq) in since.logs() {
        if report.logs.iter().any(|found| found.log == log) {
            continue;
        }
        let first = files.first().map(PathBuf::as_path).filter(|_| is_nothing_found);
        match nameless.or(first) {
            Some(file) => {
                let place = Place::new(file, 0);
                report.findings.push(Finding { place, what: What::LogMissing { log, seq } });
            }
            None => report.notes.push(format!(
                "--since: the {log} have checkpoints up to seq {seq}, and no file of that log was \
                 given: if there is none, the log was removed"
            )),
        }
    }
}

/// Chains with checkpoints that were kept elsewhere, and without a line in the files, where another
/// chain of that log was given. Those of another node of a cluster are not missed.
fn missing_chains(report: &mut Report, since: &Since) {
    for ((log, id), newest) in since.chains() {
        let of_log = || report.logs.iter().filter(|found| found.log == log);
        let is_given = of_log().any(|found| found.id == id);
        let is_of_node = |found: &&LogReport| found.node.is_none() || found.node == newest.node;
        let Some(given) = of_log().find(is_of_node).filter(|_| !is_given) else { continue };
        let (id, seq, time) = (id.to_owned(), newest.seq, newest.time.clone());
        let place = given.begin.clone();
        report.findings.push(Finding { place, what: What::OtherChain { id, seq, time } });
    }
}

/// Two chains of one log: a log that was begun anew is not continuous.
fn second_chains(report: &mut Report) {
    let mut seen: BTreeMap<LogKind, String> = BTreeMap::new();
    for log in &report.logs {
        let Some(first) = seen.insert(log.log, log.id.clone()) else { continue };
        let what = What::SecondChain { log: log.log, ids: [first, log.id.clone()] };
        report.findings.push(Finding { place: log.begin.clone(), what });
    }
}

enum Begin {
    Empty,
    /// The number of its last line.
    Unsigned(u64),
    At(Chain),
}

/// Finds the first checkpoint of a file.
fn begin(file: &Path, key: &PublicKey) -> io::Result<Begin> {
    let mut lines = Lines::open(file)?;
    let mut number = 0;
    while let Some(Line { bytes, .. }) = lines.next()? {
        number += 1;
        if let Found::Checkpoint(found) = checkpoint::read(bytes, key)
            && let Some(chain) = found.chain_before()
        {
            return Ok(Begin::At(chain));
        }
    }
    Ok(if number == 0 { Begin::Empty } else { Begin::Unsigned(number) })
}

#[cfg(test)]
mod tests;
