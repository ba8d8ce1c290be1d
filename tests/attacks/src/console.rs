//! What the program says: results on standard output, everything else on standard error.

use std::io::Write;

/// Writes to standard output; a reader that has gone away is no failure.
pub fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Writes a line to standard error. Where even that fails there is nobody to tell.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
