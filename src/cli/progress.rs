//! Progress on a terminal, for commands that read a whole log.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::Progress;

/// A progress bar, if standard error is a terminal.
pub(super) struct Shown(Option<ProgressBar>);

impl Shown {
    pub(super) fn new(what: &'static str) -> Self {
        Self(io::stderr().is_terminal().then(|| bar(what)))
    }
}

impl Progress for Shown {
    fn advance(&self, done: u64, all: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A number that grows, if standard error is a terminal.
pub(super) struct Counted(Option<ProgressBar>);

impl Counted {
    pub(super) fn new(what: &'static str) -> Self {
        let style = ProgressStyle::with_template("{msg} {human_pos} keys, {per_sec}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = || ProgressBar::new_spinner().with_style(style).with_message(what);
        Self(io::stderr().is_terminal().then(bar))
    }

    pub(super) fn show(&self, count: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(count);
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A progress bar in bytes, on standard error.
pub(super) fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    );
    ProgressBar::new(0)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
