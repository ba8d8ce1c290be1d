//! The table of the commands of a connection.

use bytes::Bytes;

use super::desk::Connect;
use super::{client, command as commands, config, hello, info, small, subcommand};

impl Connect {
    /// Checks the subcommand, as far as it can be without performing it: within a transaction a
    /// mistake is answered at once. `words` follow the name.
    ///
    /// # Errors
    /// The text of the error.
    pub(in crate::resp) fn check(&self, words: &[Bytes]) -> Result<(), String> {
        match (self.subcommands, words) {
            // `COMMAND` alone is a command too; the others need more words than one.
            ([], _) | (_, []) => Ok(()),
            (subcommands, _) => subcommand::find(self.name, subcommands, words).map(|_| ()),
        }
    }
}

/// One line for each command: its name, its arity, who may say it, what performs it, its subcommands.
macro_rules! connects {
    ($($name:literal, $arity:literal, $who:ident, $run:path, $subcommands:expr;)+) => {
        &[$(Connect {
            name: $name,
            arity: $arity,
            is_for_strangers: $who,
            run: $run,
            subcommands: $subcommands,
        },)+]
    };
}

const ANYONE: bool = true;
const ADMITTED: bool = false;

/// The commands, in the order of their names.
pub(in crate::resp) static CONNECTS: &[Connect] = connects! {
    "AUTH", -2, ANYONE, hello::auth, &[];
    "CLIENT", -2, ANYONE, client::run, client::SUBCOMMANDS;
    "COMMAND", -1, ADMITTED, commands::run, commands::SUBCOMMANDS;
    "CONFIG", -2, ADMITTED, config::run, config::SUBCOMMANDS;
    "DBSIZE", 1, ADMITTED, small::dbsize, &[];
    "ECHO", 2, ADMITTED, small::echo, &[];
    "HELLO", -1, ANYONE, hello::hello, &[];
    "INFO", -1, ADMITTED, info::run, &[];
    "PING", -1, ADMITTED, small::ping, &[];
    "QUIT", -1, ANYONE, small::quit, &[];
    "RESET", 1, ANYONE, small::reset, &[];
    "SELECT", 2, ADMITTED, small::select, &[];
    "TIME", 1, ADMITTED, small::time, &[];
    "UNWATCH", 1, ADMITTED, small::unwatch, &[];
};

/// The command of a name, in any case.
pub(in crate::resp) fn command(name: &[u8]) -> Option<&'static Connect> {
    let upper = |byte: &u8| byte.to_ascii_uppercase();
    let place = CONNECTS
        .binary_search_by(|connect| connect.name.bytes().cmp(name.iter().map(upper)))
        .ok()?;
    CONNECTS.get(place)
}
