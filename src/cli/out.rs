//! What a command prints, and how it ends.
//!
//! Standard output and standard error may be a full disk, or a pipe whose reader has gone: `print!`
//! and its kin panic then, so nothing of the command line uses them. A line for people on standard
//! error that cannot be written is dropped. A result on standard output that cannot be written is
//! an error of its own ([`OutputError`]): exit code 3, but where the reader has gone the command
//! ends as `SIGPIPE` would end it, without a word, as every other command in a pipe does.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use super::exit::{MISTAKEN, UNANSWERED};
use crate::permissions::FILE_MODE;

/// A result could not be written to standard output.
#[derive(Debug, thiserror::Error)]
#[error("standard output can't be written: {0}")]
pub(super) struct OutputError(#[from] io::Error);

impl OutputError {
    /// Whether the reader of a pipe has gone.
    pub(super) fn is_closed_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes `bytes` to standard output, all of them and now.
pub(super) fn print(bytes: impl AsRef<[u8]>) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes.as_ref())?;
    Ok(stdout.flush()?)
}

/// Writes a line to standard output.
pub(super) fn print_line(line: impl AsRef<[u8]>) -> Result<(), OutputError> {
    let mut whole = line.as_ref().to_vec();
    whole.push(b'\n');
    print(whole)
}

/// Writes a line to standard error. One that cannot be written is dropped: there is no other place
/// to say so.
pub(super) fn tell_line(line: fmt::Arguments<'_>) {
    // One call, so that lines of several threads do not mix.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Writes a formatted line to standard error.
macro_rules! tell {
    ($($arg:tt)*) => { $crate::cli::out::tell_line(format_args!($($arg)*)) };
}
pub(super) use tell;

/// Writes a new file that only its owner may read, and makes it durable. It is whole or not there.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where something has that name, be it a link that leads nowhere;
/// or what the system said.
pub(super) fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut made = options.write(true).create_new(true).mode(FILE_MODE).open(file)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let written = made
        .write_all(bytes)
        .and_then(|()| made.sync_all())
        .and_then(|()| File::open(dir.unwrap_or(Path::new(".")))?.sync_all());
    if written.is_err() {
        // Half of it is none. That it can't be removed changes nothing.
        let _ = fs::remove_file(file);
    }
    written
}

/// Reports a failure; `code` is how the command ends.
pub(super) fn failed(error: &dyn fmt::Display, code: u8) -> ExitCode {
    tell!("error: {error}");
    ExitCode::from(code)
}

/// Ends a command whose result could not be written. `lost` says what became of the result.
pub(super) fn unprinted(error: &OutputError, lost: &str) -> ExitCode {
    if error.is_closed_pipe() {
        // Rust ignores SIGPIPE, so that a write fails instead. This takes it back, and does not
        // return; should the system refuse, the code is what a shell shows for the signal.
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
        return ExitCode::from(128 + 13);
    }
    failed(&format_args!("{error}{lost}"), UNANSWERED)
}

/// Prints what clap has to say: help and version are results, a mistake in the call is not.
pub(super) fn clap(error: &clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(MISTAKEN);
    match error.print() {
        Err(refused) if !error.use_stderr() => unprinted(&refused.into(), ""),
        _ => ExitCode::from(code),
    }
}
