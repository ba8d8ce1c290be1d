//! Which attacks there are, and how much each does.

use crate::failure::{Failure, Result};
use crate::table;

use super::counts::thousands;

/// How much each attack does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// As in `cargo test`.
    Small,
    /// As much as was promised.
    Full,
}

/// How an attack is run.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The integration tests whose names hold one of these texts.
    Tests(&'static [&'static str]),
    /// A program below the top of the project, with its arguments.
    Program(&'static str, &'static [&'static str]),
}

/// A variable that says how much is done: small and full.
type Volume = (&'static str, u64, u64);

/// One attack.
#[derive(Debug)]
pub struct Attack {
    /// A short name.
    pub name: &'static str,
    /// What it tries to break.
    pub promises: &'static str,
    /// How it is run.
    pub step: Step,
    volumes: &'static [Volume],
}

/// All attacks, the quick ones first.
const ATTACKS: &[Attack] = &[
    Attack {
        name: "simulation",
        promises: "P1–P7",
        step: Step::Tests(&["simulation"]),
        volumes: &[("JETON_SIMULATION", 2_000, 100_000)],
    },
    Attack {
        name: "kills",
        promises: "P1 P2 P4",
        step: Step::Tests(&["crash::"]),
        volumes: &[("JETON_KILLS", 50, 1_000)],
    },
];

impl Attack {
    /// The variables to set for `scale`.
    pub fn variables(&self, scale: Scale) -> impl Iterator<Item = (&'static str, String)> {
        self.volumes.iter().map(move |(variable, small, full)| {
            let volume = match scale {
                Scale::Small => small,
                Scale::Full => full,
            };
            (*variable, volume.to_string())
        })
    }
}

/// Those that are named, or all of them where none is.
pub fn select(only: &[String]) -> Result<Vec<&'static Attack>> {
    if let Some(unknown) = only.iter().find(|name| ATTACKS.iter().all(|a| a.name != **name)) {
        return Err(Failure::Input(format!("there is no attack {unknown:?}; see --list")));
    }
    let is_wanted = |attack: &&Attack| only.is_empty() || only.iter().any(|n| n == attack.name);
    Ok(ATTACKS.iter().filter(is_wanted).collect())
}

/// The attacks as a table.
pub fn list(attacks: &[&Attack], scale: Scale) -> String {
    let row = |attack: &&Attack| {
        let volumes: Vec<_> = attack
            .volumes
            .iter()
            .map(|(variable, small, full)| {
                let volume = if scale == Scale::Small { small } else { full };
                format!("{variable}={}", thousands(*volume).replace(',', ""))
            })
            .collect();
        let run = match attack.step {
            Step::Tests(filters) => filters.join(" "),
            Step::Program(program, args) => format!("{program} {}", args.join(" ")),
        };
        [attack.name.to_owned(), attack.promises.to_owned(), run, volumes.join(" ")]
    };
    let rows: Vec<_> = attacks.iter().map(row).collect();
    table::markdown(["attack", "promises", "tests", "volume"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_have_names_of_their_own_and_full_is_more_than_small() {
        for (at, attack) in ATTACKS.iter().enumerate() {
            assert!(ATTACKS[..at].iter().all(|other| other.name != attack.name));
            assert!(attack.volumes.iter().all(|(_, small, full)| small <= full), "{attack:?}");
            assert_eq!(select(&[attack.name.to_owned()]).unwrap().len(), 1);
        }
        assert!(select(&["nothing".to_owned()]).is_err());
        assert_eq!(select(&[]).unwrap().len(), ATTACKS.len());
    }
}
