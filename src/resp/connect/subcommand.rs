//! Finds subcommands, and words the errors about them as Redis does.

use bytes::Bytes;

use super::desk::{Desk, Subcommand};
use super::words::{is, is_accepted, shown, wrong_count};
use crate::resp::reply::Reply;
use crate::resp::session::Session;

/// The subcommand that `words` begin with.
///
/// # Errors
/// The text of the error.
pub(super) fn find(
    command: &str,
    subcommands: &'static [Subcommand],
    words: &[Bytes],
) -> Result<&'static Subcommand, String> {
    let Some(name) = words.first() else { return Err(wrong_count(command)) };
    let found = subcommands.iter().find(|subcommand| is(name, subcommand.name));
    let found = found.ok_or_else(|| {
        let name = shown(name);
        format!("ERR unknown subcommand '{name}'. Try {command} HELP.")
    })?;
    match is_accepted(found.arity, words.len() + 1) {
        true => Ok(found),
        false => Err(wrong_count(&format!("{command}|{}", found.name))),
    }
}

/// Performs the subcommand that `words` begin with.
pub(super) fn run(
    command: &str,
    subcommands: &'static [Subcommand],
    desk: &Desk<'_>,
    session: &mut Session,
    words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    match find(command, subcommands, words) {
        Ok(found) => (found.run)(desk, session, &words[1..], reply),
        Err(error) => reply.error(&error),
    }
}

/// Answers `HELP`, a line for each subcommand.
pub(super) fn help(command: &str, lines: &[&str], reply: &mut Reply<'_>) {
    reply.array(lines.len() + 3);
    let head = "<subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
    reply.simple(&format!("{command} {head}"));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Print this help.");
}
