//! Output and exit of a command.
//!
//! Standard output and standard error may be a full disk, or a pipe whose reader has exited.
//! `print!` and the like panic then, so the command line does not use them. A line for people that
//! cannot be written to standard error is dropped. A result that cannot be written to standard
//! output is an [`OutputError`], with exit code 3. If the reader of a pipe has exited, the command
//! ends silently, as if by `SIGPIPE`, like every other command in a pipe.

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
    /// Whether the reader of a pipe has exited.
    pub(super) fn is_closed_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes all of `bytes` to standard output, unbuffered.
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

/// Writes a line to standard error. A line that cannot be written is dropped: there is nowhere else
/// to report it.
pub(super) fn tell_line(line: fmt::Arguments<'_>) {
    let line = line.to_string();
    let is_error = line.starts_with("error: ");
    let priority = if is_error && is_journal() { "<3>" } else { "" };
    // One call, so that lines of several threads do not mix.
    let _ = io::stderr().lock().write_all(format!("{priority}{line}\n").as_bytes());
}

/// Whether standard error leads to the journal of systemd: then a line may begin with its priority.
/// systemd names the device and the inode of what it gave the service as standard error, because the
/// variable alone is inherited by processes whose standard error was redirected.
pub(super) fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let numbers = named.split_once(':').and_then(|(device, inode)| {
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let found = rustix::fs::fstat(io::stderr()).map(|stat| (stat.st_dev, stat.st_ino));
    numbers.is_some() && numbers == found.ok()
}

/// Writes a formatted line to standard error.
macro_rules! tell {
    ($($arg:tt)*) => { $crate::cli::out::tell_line(format_args!($($arg)*)) };
}
pub(super) use tell;

/// Writes a new file with mode 0600 and makes it durable. The file is complete or does not exist.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if anything has that name, even a dangling link; or the
/// operating system's error.
pub(super) fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut made = options.write(true).create_new(true).mode(FILE_MODE).open(file)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let written = made
        .write_all(bytes)
        .and_then(|()| made.sync_all())
        .and_then(|()| File::open(dir.unwrap_or(Path::new(".")))?.sync_all());
    if written.is_err() {
        // An incomplete file is removed. If that fails too, the first error still counts.
        let _ = fs::remove_file(file);
    }
    written
}

/// Reports a failure and returns `code` as the exit code.
pub(super) fn failed(error: &dyn fmt::Display, code: u8) -> ExitCode {
    tell!("error: {error}");
    ExitCode::from(code)
}

/// Ends a command whose result could not be written. `lost` says what happened to the result.
pub(super) fn unprinted(error: &OutputError, lost: &str) -> ExitCode {
    if error.is_closed_pipe() {
        // Rust ignores SIGPIPE, so that a write fails instead. This restores the default action and
        // raises the signal, so it does not return. If the system refuses, the exit code is the one
        // that a shell shows for the signal.
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
        return ExitCode::from(128 + 13);
    }
    failed(&format_args!("{error}{lost}"), UNANSWERED)
}

/// Prints clap's message. Help and version go to standard output, a mistake in the call to standard
/// error.
pub(super) fn clap(error: &clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(MISTAKEN);
    match error.print() {
        Err(refused) if !error.use_stderr() => unprinted(&refused.into(), ""),
        _ => ExitCode::from(code),
    }
}
