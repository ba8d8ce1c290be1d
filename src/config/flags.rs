//! What clap knows of the flags of `jeton serve`: the keys of the configuration file are these and
//! no others, so a new flag is a new key without another line.

use clap::builder::Resettable;
use clap::{Arg, ArgAction, Args, Command, ValueHint};

use super::ServeArgs;

/// How often a flag may be given, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alone: `--huge-pages`; true or false in the file.
    Switch,
    /// Once, with a value; text, an integer where the value is a number.
    One,
    /// Repeatedly; an array of text.
    Many,
}

/// A flag of `jeton serve`.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Its name without the dashes, which is its key in the file.
    pub key: String,
    /// Its environment variable.
    pub env: Option<String>,
    /// How it is given.
    pub kind: Kind,
    /// Its value names a file or a directory.
    pub is_path: bool,
    /// What clap calls it.
    pub(super) id: String,
}

impl Flag {
    fn of(arg: &Arg) -> Option<Flag> {
        let kind = match arg.get_action() {
            ArgAction::SetTrue => Kind::Switch,
            ArgAction::Set => Kind::One,
            ArgAction::Append => Kind::Many,
            _ => return None,
        };
        Some(Flag {
            key: arg.get_long()?.to_owned(),
            env: arg.get_env().map(|name| name.to_string_lossy().into_owned()),
            kind,
            is_path: arg.get_value_hint() == ValueHint::AnyPath,
            id: arg.get_id().to_string(),
        })
    }
}

/// The flags, in the order of the help.
#[must_use]
pub fn flags() -> Vec<Flag> {
    command().get_arguments().filter_map(Flag::of).collect()
}

/// The command without its name; what it is given is the flags alone.
pub(super) fn command() -> Command {
    ServeArgs::augment_args(Command::new("jeton serve").no_binary_name(true))
}

/// The same, deaf to the environment.
pub(super) fn command_without_environment() -> Command {
    command().mut_args(|arg| arg.env(Resettable::Reset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_serve_has_a_kind_and_so_a_key_in_the_file() {
        let command = command();
        let known = flags();
        let names: Vec<_> = command.get_arguments().map(|arg| arg.get_long().unwrap()).collect();
        let keys: Vec<_> = known.iter().map(|flag| flag.key.as_str()).collect();
        assert_eq!(names, keys, "a flag of another kind: teach Flag::of");
        assert!(known.len() >= 26, "{keys:?}");
        let kind = |key| known.iter().find(|flag| flag.key == key).map(|flag| flag.kind);
        assert_eq!(kind("huge-pages"), Some(Kind::Switch));
        assert_eq!(kind("listen"), Some(Kind::One));
        let paths = ["config", "data-dir", "keys", "secret-file"];
        for flag in known.iter().filter(|flag| paths.contains(&flag.key.as_str())) {
            assert!(flag.is_path, "{}", flag.key);
        }
        assert!(!known.iter().any(|flag| flag.key == "listen" && flag.is_path));
    }
}
