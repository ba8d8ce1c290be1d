//! The log of the server, on standard error.
//!
//! A log line must never cost a request: if standard error is a full disk, or a pipe whose reader
//! has exited or has stopped reading, the line is dropped and counted
//! (`jeton_log_lines_dropped_total`). The next line that is written starts on a new line, even if
//! the last one was cut in the middle.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

use super::reload::SetLogFilter;
use super::settings::{LogFormat, ServeConfig};
use crate::model::metrics::LOG_LINES_DROPPED;

/// Maximum wait for a full pipe. After a line was dropped, the next lines do not wait.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NO_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Bytes that a writable pipe accepts without waiting (`PIPE_BUF` of POSIX, its value on Linux).
const PIECE_LEN: usize = 4096;

/// Starts logging. Returns a function that replaces the filter later.
pub(super) fn start(config: &mut ServeConfig) -> SetLogFilter {
    let filter = std::mem::take(&mut config.log_filter);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(Lines::default());
    match config.log_format {
        LogFormat::Text => {
            let subscriber =
                subscriber.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let subscriber = subscriber.json().with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    }
}

/// Writer of log lines to standard error.
#[derive(Default)]
struct Lines(Mutex<Last>);

/// Outcome of the last line.
#[derive(Default)]
struct Last {
    /// The line was dropped.
    is_dropped: bool,
    /// Only a part of the line was written.
    is_cut: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Writes one line, which the formatter passes as a whole.
struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut last = self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.write(line).is_err() {
            LOG_LINES_DROPPED.increment();
        }
        // Reported as written: the caller can do nothing about a dropped line.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Last {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let mut stderr = io::stderr().lock();
        let was_dropped = std::mem::replace(&mut self.is_dropped, true);
        let patience = if was_dropped { NO_PATIENCE } else { PATIENCE };
        if self.is_cut {
            write_piece(&mut stderr, b"\n", &patience)?;
            self.is_cut = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(PIECE_LEN)];
            let written = write_piece(&mut stderr, piece, &patience)?;
            rest = &rest[written..];
            self.is_cut = !rest.is_empty();
        }
        self.is_dropped = false;
        Ok(())
    }
}

/// Waits up to `patience` and writes as much as it can, at least one byte.
fn write_piece(
    stderr: &mut io::StderrLock<'_>,
    piece: &[u8],
    patience: &Timespec,
) -> io::Result<usize> {
    loop {
        let mut ready = [PollFd::new(stderr, PollFlags::OUT)];
        if poll(&mut ready, Some(patience))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stderr.write(piece) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}
