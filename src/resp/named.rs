//! What the names of commands stand for.

use bytes::Bytes;

use crate::resp::connect::{self, Connect};
use crate::resp::data::table::{self, Command};

/// A command about transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resp) enum Verb {
    Multi,
    Exec,
    Discard,
    Watch,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Multi, Self::Exec, Self::Discard, Self::Watch];

    pub(in crate::resp) fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| name.eq_ignore_ascii_case(verb.name().as_bytes()))
    }

    pub(in crate::resp) fn name(self) -> &'static str {
        match self {
            Self::Multi => "MULTI",
            Self::Exec => "EXEC",
            Self::Discard => "DISCARD",
            Self::Watch => "WATCH",
        }
    }

    /// Number of its words with the name; at least that many if negative.
    pub(in crate::resp) fn arity(self) -> i32 {
        if self == Self::Watch { -2 } else { 1 }
    }
}

/// Maximum words behind the name of a command about the connection, and their length in bytes: their
/// answers and their patterns grow with them.
const WORDS_MAX: usize = 1_000;
const WORD_LEN_MAX: usize = 512;

fn is_bounded(command: &Connect, words: &[Bytes]) -> bool {
    let repeats_once = matches!(command.name, "PING" | "ECHO");
    let is_short = |word: &Bytes| repeats_once || word.len() <= WORD_LEN_MAX;
    words.len() <= WORDS_MAX && words.iter().all(is_short)
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(in crate::resp) enum Named {
    Data(&'static Command),
    Connect(&'static Connect),
    Transaction(Verb),
}

impl Named {
    pub(in crate::resp) fn find(name: &[u8]) -> Option<Self> {
        let transaction = || Verb::find(name).map(Self::Transaction);
        let connect = || connect::command(name).map(Self::Connect);
        table::command(name).map(Self::Data).or_else(transaction).or_else(connect)
    }

    pub(in crate::resp) fn name(self) -> &'static str {
        match self {
            Self::Data(command) => command.name,
            Self::Connect(command) => command.name,
            Self::Transaction(verb) => verb.name(),
        }
    }

    /// Whether it may have `count` words with its name.
    pub(in crate::resp) fn accepts(self, count: usize) -> bool {
        let arity = match self {
            Self::Data(command) => command.arity,
            Self::Connect(command) => command.arity,
            Self::Transaction(verb) => verb.arity(),
        };
        let least = usize::try_from(arity.unsigned_abs()).unwrap_or(usize::MAX);
        if arity < 0 { count >= least } else { count == least }
    }

    /// Checks the number of words, and the subcommand: within a transaction too, a mistake in these is
    /// answered at once.
    pub(in crate::resp) fn check(self, words: &[Bytes]) -> Result<(), String> {
        if !self.accepts(words.len() + 1) {
            let name = self.name().to_ascii_lowercase();
            let mistake = format!("wrong number of arguments for '{name}' command");
            return Err(match self.is_exec() {
                true => format!("EXECABORT Transaction discarded because of: {mistake}"),
                false => format!("ERR {mistake}"),
            });
        }
        match self {
            Self::Connect(command) if !is_bounded(command, words) => Err(format!(
                "ERR at most {WORDS_MAX} arguments, of {WORD_LEN_MAX} bytes each, for '{}' command",
                self.name().to_ascii_lowercase()
            )),
            Self::Connect(command) => command.check(words),
            Self::Data(_) | Self::Transaction(_) => Ok(()),
        }
    }

    pub(in crate::resp) fn is_exec(self) -> bool {
        matches!(self, Self::Transaction(Verb::Exec))
    }

    /// Whether it is performed at once within a transaction.
    pub(in crate::resp) fn is_never_queued(self) -> bool {
        matches!(self, Self::Transaction(_)) || matches!(self.name(), "QUIT" | "RESET")
    }
}
