//! What the program says: results on standard output, everything else on standard error.

use std::io::{ErrorKind, Write};

use crate::failure::{Result, io};

/// Writes to standard output; a reader that has gone away is no failure.
///
/// # Errors
/// What the system says, such as a full disk.
pub fn print(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(io("standard output")(error)),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. A failure of that cannot be reported anywhere.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
