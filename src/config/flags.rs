//! The flags of a command as clap defines them. They are exactly the keys of the configuration
//! file, so a new flag is a new key without further code.

use clap::builder::Resettable;
use clap::{Arg, ArgAction, Args, Command, ValueHint};

/// How often a flag may be given, and with which value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Without a value: `--huge-pages`; true or false in the file.
    Switch,
    /// Once, with a value; text in the file, or an integer if the value is a number.
    One,
    /// Repeatedly; an array of text in the file.
    Many,
}

/// A flag.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Its name without the dashes, which is its key in the file.
    pub key: String,
    /// Its environment variable.
    pub env: Option<String>,
    /// How it is given.
    pub kind: Kind,
    /// Whether its value names a file or a directory.
    pub is_path: bool,
    /// Its id in clap.
    pub(super) id: String,
}

impl Flag {
    fn of(arg: &Arg) -> Option<Self> {
        let kind = match arg.get_action() {
            ArgAction::SetTrue => Kind::Switch,
            ArgAction::Set => Kind::One,
            ArgAction::Append => Kind::Many,
            _ => return None,
        };
        Some(Self {
            key: arg.get_long()?.to_owned(),
            env: arg.get_env().map(|name| name.to_string_lossy().into_owned()),
            kind,
            is_path: arg.get_value_hint() == ValueHint::AnyPath,
            id: arg.get_id().to_string(),
        })
    }
}

/// The flags of `F`, in the order of the help.
#[must_use]
pub fn flags<F: Args>() -> Vec<Flag> {
    command::<F>().get_arguments().filter_map(Flag::of).collect()
}

/// The command with the flags of `F`, without its name: its arguments are the flags alone.
pub fn command<F: Args>() -> Command {
    F::augment_args(Command::new("jeton").no_binary_name(true))
}

/// The same command, without the environment variables.
pub(crate) fn command_without_environment<F: Args>() -> Command {
    command::<F>().mut_args(|arg| arg.env(Resettable::Reset))
}
