//! The log of the server, on standard error.
//!
//! A log line must never cost a request: where standard error is a full disk, or a pipe whose
//! reader has gone or has stopped reading, the line is dropped and counted
//! (`jeton_log_lines_dropped_total`). The first line that is written again stands on a line of its
//! own, though the last one may have been cut in the middle.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

use super::reload::SetLogFilter;
use super::settings::{LogFormat, ServeConfig};
use crate::model::metrics::LOG_LINES_DROPPED;

/// How long a line waits for a pipe that is full, once; after a line that was dropped for it the
/// next ones do not wait.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NO_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// The most bytes that a writable pipe takes without waiting (`PIPE_BUF` of POSIX, as Linux has it).
const PIECE_LEN: usize = 4096;

/// Starts logging. Returns what exchanges the filter later.
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

/// Where lines go.
#[derive(Default)]
struct Lines(Mutex<Last>);

/// How the last line fared.
#[derive(Default)]
struct Last {
    /// It was dropped.
    is_dropped: bool,
    /// A part of it was written.
    is_cut: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Writes one line: what formats it hands it over as a whole.
struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut last = self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.write(line).is_err() {
            LOG_LINES_DROPPED.increment();
        }
        // Dropped or not, there is nothing to be done about it.
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

/// Writes as much as can be written within `patience`, at least one byte.
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
