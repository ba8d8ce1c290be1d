//! What only the program itself can do, and the way out of it.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::engine::Engine;

/// What only the program itself can do.
#[derive(Clone, Copy)]
pub struct Process {
    /// For the engine ([`crate::engine::Config::give_memory_back`]).
    pub give_memory_back: fn(),
    /// Ends the process at once with an exit code: nothing is freed, no exit handler runs. `None`
    /// where exit handlers have something to report.
    pub leave: Option<fn(u8) -> !>,
}

impl Process {
    /// Keeps the memory of `engine` until the process ends: freeing it entry by entry takes half a
    /// second a million, and the system takes all of it back at once.
    pub(super) fn keep(self, engine: &Engine) {
        if self.leave.is_some() {
            std::mem::forget(engine.clone());
        }
    }

    /// The way out. Nothing runs behind it: all that is buffered must be finished by name before.
    /// The log and the audit trail were closed, the server's log is not buffered; what is left is
    /// standard output.
    pub(super) fn end(self, code: u8) -> ExitCode {
        // Nobody to tell: it may be that this is what is broken.
        let _ = io::stdout().flush();
        match self.leave {
            Some(leave) => leave(code),
            None => ExitCode::from(code),
        }
    }
}
