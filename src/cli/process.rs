//! Operations that only the program can provide, and the end of the process.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::engine::Engine;

/// Operations that only the program can provide.
#[derive(Clone, Copy)]
pub struct Process {
    /// Returns freed memory to the system, for [`crate::engine::Config::give_memory_back`].
    pub give_memory_back: fn(),
    /// Ends the process at once with an exit code: it frees nothing and runs no exit handlers.
    /// `None` if exit handlers have something to report.
    pub leave: Option<fn(u8) -> !>,
}

impl Process {
    /// Keeps the memory of `engine` until the process ends: freeing it entry by entry takes half a
    /// second per million entries, while the system frees all of it at once.
    pub(super) fn keep(self, engine: &Engine) {
        if self.leave.is_some() {
            std::mem::forget(engine.clone());
        }
    }

    /// Ends the process. No code runs after it, so every buffer must be flushed before. The log and
    /// the audit trail are closed by then and the server's log is unbuffered, which leaves standard
    /// output.
    pub(super) fn end(self, code: u8) -> ExitCode {
        // An error cannot be reported: standard output itself may be broken.
        let _ = io::stdout().flush();
        match self.leave {
            Some(leave) => leave(code),
            None => ExitCode::from(code),
        }
    }

    /// The same from any thread, whatever the others do.
    pub(super) fn leave_at_once(self, code: u8) -> ! {
        // As in `end`.
        let _ = io::stdout().flush();
        match self.leave {
            Some(leave) => leave(code),
            None => std::process::exit(code.into()),
        }
    }
}
