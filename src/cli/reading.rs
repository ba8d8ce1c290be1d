//! How fresh a read from a cluster must be, and the position of a change.

use std::str::FromStr;

use clap::Args;

use super::out::tell;
use super::target::Target;
use crate::model::cluster::Position;

/// `jeton resolve` and `jeton status`
#[derive(Args, Clone, Debug)]
pub(super) struct ReadArgs {
    #[command(flatten)]
    pub(super) target: Target,

    /// In a cluster, how fresh the answer must be: local, linear (it knows every change that was
    /// acknowledged before) or at-least=POSITION, that of a change [default: local]
    #[arg(long, value_name = "LEVEL")]
    pub(super) read: Option<Reading>,
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Local,
    Linear,
    AtLeast(Position),
}

impl FromStr for Reading {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at_least = text.strip_prefix("at-least=").map(str::parse);
        match (text, at_least) {
            ("local", _) => Ok(Self::Local),
            ("linear", _) => Ok(Self::Linear),
            (_, Some(Ok(position))) => Ok(Self::AtLeast(position)),
            _ => Err("local, linear or at-least=POSITION, such as at-least=1.4711"),
        }
    }
}

impl Reading {
    /// As the client has it.
    pub(super) fn level(self) -> jeton_client::Read {
        match self {
            Self::Local => jeton_client::Read::Local,
            Self::Linear => jeton_client::Read::Linear,
            Self::AtLeast(position) => jeton_client::Read::AtLeast(position.to_string()),
        }
    }
}

/// Whether the position of a change is printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct PositionArg {
    /// In a cluster, print the position of the change to standard error, for --read
    /// at-least=POSITION
    #[arg(long)]
    position: bool,
}

impl PositionArg {
    /// Prints the position of the last answer, if that is wanted.
    pub(super) fn print(self, position: Option<&str>) {
        match position {
            _ if !self.position => {}
            Some(position) => tell!("position: {position}"),
            None => tell!("position: none, the server is not a node of a cluster"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::Era;

    #[test]
    fn each_level_is_one_of_the_client() {
        use jeton_client::Read;
        let position = Position { era: Era(2), seq: 17 };
        for (text, reading, level) in [
            ("local", Reading::Local, Read::Local),
            ("linear", Reading::Linear, Read::Linear),
            ("at-least=2.17", Reading::AtLeast(position), Read::AtLeast("2.17".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(reading));
            assert_eq!(reading.level(), level);
        }
        for wrong in ["", "Linear", "at-least", "at-least=", "at-least=7", "2.17", "linear=2.17"] {
            assert!(wrong.parse::<Reading>().is_err(), "{wrong}");
        }
    }
}
