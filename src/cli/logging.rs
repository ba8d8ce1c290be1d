//! The log of the server, on standard error.
//!
//! A log line must never cost a request: if standard error is a full disk, or a pipe whose reader
//! has exited or has stopped reading, the line is dropped and counted
//! (`jeton_log_lines_dropped_total`). The next line that is written starts on a new line, even if
//! the last one was cut in the middle.
//!
//! The journal of systemd keeps a time and a priority of each line by itself. If standard error
//! leads there, a line has no time and begins with its priority, such as `<4>` for a warning.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry, reload};

use super::out;
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
    let (filter, handle) = reload::Layer::new(std::mem::take(&mut config.log_filter));
    let is_journal = out::is_journal();
    let lines = Lines { has_priority: is_journal, last: Mutex::default() };
    let layer = fmt::layer().log_internal_errors(false).with_writer(lines).with_ansi(false);
    let layer = match (config.log_format, is_journal) {
        (LogFormat::Text, false) => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        (LogFormat::Text, true) => layer.without_time().boxed(),
        (LogFormat::Json, false) => layer.json().boxed(),
        (LogFormat::Json, true) => layer.json().without_time().boxed(),
    };
    registry().with(filter).with(layer).init();
    Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
}

/// Writer of log lines to standard error.
struct Lines {
    /// Whether each line begins with its priority.
    has_priority: bool,
    last: Mutex<Last>,
}

/// The priority of a line as syslog has it (RFC 5424, 6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

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
        Line { lines: self, level: Level::INFO }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, level: *meta.level() }
    }
}

/// Writes one line, which the formatter passes as a whole.
struct Line<'a> {
    lines: &'a Lines,
    level: Level,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut last = self.lines.last.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match self.lines.has_priority {
            true => last.write(&prioritized(priority(self.level), line)),
            false => last.write(line),
        };
        if written.is_err() {
            LOG_LINES_DROPPED.increment();
        }
        // Reported as written: the caller can do nothing about a dropped line.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text with the priority before each of its lines: the journal takes each as a message.
fn prioritized(priority: u8, text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| [format!("<{priority}>").as_bytes(), line].concat()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_message_has_its_priority() {
        let text = |level, text: &str| {
            String::from_utf8(prioritized(priority(level), text.as_bytes())).unwrap()
        };
        assert_eq!(text(Level::WARN, "WARN one\n"), "<4>WARN one\n");
        assert_eq!(text(Level::ERROR, "one\ntwo\n"), "<3>one\n<3>two\n");
    }
}
