//! Output of the program: results on standard output, everything else on standard error.

use std::io::Write;

/// Writes to standard output; a reader that has exited is not a failure.
pub fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Writes a line to standard error. If that fails too, there is nowhere else to report it.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
