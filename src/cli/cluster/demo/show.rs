//! What the demo prints: numbered sentences, the commands to paste, and one live line.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::failure::DemoFailure;
use crate::cli::out;

/// Interval between live lines that are not on a terminal.
const PLAIN_PERIOD: Duration = Duration::from_secs(2);

/// The output of the demo.
pub(super) struct Show {
    steps: Cell<usize>,
    is_terminal: bool,
    line: RefCell<Option<ProgressBar>>,
    /// When the last plain line was printed.
    printed: Cell<Duration>,
}

impl Show {
    pub(super) fn new() -> Self {
        Self {
            steps: Cell::new(0),
            is_terminal: io::stderr().is_terminal(),
            line: RefCell::new(None),
            printed: Cell::new(Duration::ZERO),
        }
    }

    /// A numbered step, as a sentence.
    pub(super) fn step(&self, sentence: &str) -> Result<(), DemoFailure> {
        self.steps.set(self.steps.get() + 1);
        self.print(&format!("\n{}. {sentence}", self.steps.get()))
    }

    /// What belongs to the step.
    pub(super) fn detail(&self, text: &str) -> Result<(), DemoFailure> {
        let lines: Vec<String> = text.lines().map(|line| format!("   {line}")).collect();
        self.print(&lines.join("\n"))
    }

    /// Text as it is.
    pub(super) fn print(&self, text: &str) -> Result<(), DemoFailure> {
        let print = || out::print_line(text);
        match &*self.line.borrow() {
            Some(line) => line.suspend(print)?,
            None => print()?,
        }
        Ok(())
    }

    /// Shows the live line as of `now`: in place on a terminal, elsewhere one line every 2 s.
    pub(super) fn live(&self, text: &str, now: Duration) -> Result<(), DemoFailure> {
        if self.is_terminal {
            let mut line = self.line.borrow_mut();
            line.get_or_insert_with(bar).set_message(text.to_owned());
            return Ok(());
        }
        if now < self.printed.get() + PLAIN_PERIOD {
            return Ok(());
        }
        self.printed.set(now);
        self.detail(text)
    }

    /// Removes the live line.
    pub(super) fn end_live(&self) {
        if let Some(line) = self.line.borrow_mut().take() {
            line.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("   {spinner} {msg}");
    let bar = ProgressBar::new_spinner();
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
