//! The commands about the connection and the server: what clients say when they connect.
//!
//! | file | what |
//! |---|---|
//! | `hello` | `HELLO`, `AUTH` |
//! | `small` | `PING`, `ECHO`, `SELECT`, `DBSIZE`, `TIME`, `UNWATCH`, `QUIT`, `RESET` |
//! | `client`, `command`, `config` | the commands that have subcommands |
//! | `info` | `INFO` |
//! | `table` | the commands |
//! | `desk` | what they are about, and what a command is |
//! | `subcommand`, `words` | finds subcommands, and words the errors about them |
//! | `docs` | a sentence on each command, for `COMMAND DOCS` |
//! | `glob` | patterns of names |

mod client;
mod command;
mod config;
mod desk;
mod docs;
mod glob;
mod hello;
mod info;
mod small;
mod subcommand;
mod table;
mod words;

pub(in crate::resp) use desk::{Connect, Desk};
pub(in crate::resp) use table::{CONNECTS, command};

#[cfg(test)]
mod tests;
