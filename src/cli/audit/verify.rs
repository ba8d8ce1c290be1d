//! `jeton audit verify`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::given::{Failure, read_public_key, read_since};
use crate::audit::verify::{Report, verify};
use crate::cli::exit::FAILED;
use crate::cli::out;
use crate::model::text::{DURATION_FORM, parse_duration};

/// `jeton audit verify`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct VerifyArgs {
    /// The public key of the log (PEM), as jeton audit public-key prints it
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,

    /// Checkpoints that were kept elsewhere (--audit-checkpoints): the log must contain each, and not
    /// end before the newest
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,

    /// Time for which the files of the log are kept: what was removed must be older, by the newest
    /// checkpoint [default: nothing may be missing]
    #[arg(long, value_name = "DURATION", requires = "since")]
    retained: Option<String>,

    /// The files of the audit log, in any order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    let done = report(args).and_then(|report| {
        out::print(text(&report))?;
        Ok(report.findings().next().is_none())
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(failure) => failure.end(),
    }
}

fn report(args: &VerifyArgs) -> Result<Report, Failure> {
    let key = read_public_key(&args.public_key)?;
    let retained = args.retained.as_deref().map(parse_duration).transpose();
    let retained =
        retained.map_err(|_| Failure::Mistake(format!("--retained must be {DURATION_FORM}")))?;
    let since = args.since.as_deref().map(|file| read_since(file, &key)).transpose()?;
    let since = since.map(|since| since.retained(retained));
    Ok(verify(&args.files, &key, since.as_ref())?)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for log in &report.logs {
        let (files, lines, checkpoints) = (log.files, log.lines, log.checkpoints);
        let node = log.node.as_ref().map(|node| format!(", node {node}")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} (id {}{node}): {lines} lines in {files} files, {checkpoints} checkpoints, up to seq {}, \
             signed until {}",
            log.log, log.id, log.seq, log.signed_until
        );
        for finding in &log.findings {
            let _ = writeln!(text, "FOUND {finding}");
        }
        if log.more_findings > 0 {
            let _ = writeln!(text, "FOUND {} more", log.more_findings);
        }
        for note in &log.notes {
            let _ = writeln!(text, "note: {note}");
        }
        if log.findings.is_empty() {
            let _ = writeln!(text, "{}: nothing found", log.log);
        }
    }
    for finding in &report.findings {
        let _ = writeln!(text, "FOUND {finding}");
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
