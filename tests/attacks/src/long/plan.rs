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
        name: "every-bit",
        promises: "P5",
        step: Step::Tests(&["every_bit::"]),
        volumes: &[("JETON_EVERY_BIT", 200, 10_000)],
    },
    Attack {
        name: "every-call",
        promises: "P1 P4 P6",
        step: Step::Tests(&["every_call::"]),
        volumes: &[("JETON_EVERY_CALL", 1, 20)],
    },
    Attack {
        name: "linear",
        promises: "P2 P3",
        step: Step::Tests(&["linear::"]),
        volumes: &[("JETON_LINEAR", 200, 10_000)],
    },
    Attack {
        name: "clocks",
        promises: "P3",
        step: Step::Tests(&["clocks::"]),
        volumes: &[("JETON_CLOCKS", 3, 100)],
    },
    Attack {
        name: "smuggling",
        promises: "P8",
        step: Step::Tests(&["smuggling::"]),
        volumes: &[("JETON_SMUGGLING", 1, 20)],
    },
    Attack {
        name: "hostile",
        promises: "P8",
        step: Step::Tests(&["hostile"]),
        volumes: &[("JETON_HOSTILE", 1, 10)],
    },
    Attack {
        name: "power-cuts",
        promises: "P1 P4 P5",
        step: Step::Tests(&["power::"]),
        volumes: &[("JETON_POWER_CUTS", 5, 200)],
    },
    Attack {
        name: "kills",
        promises: "P1 P2 P4",
        step: Step::Tests(&["crash::"]),
        volumes: &[("JETON_KILLS", 20, 1_000)],
    },
    Attack {
        name: "simulation",
        promises: "P1–P7",
        step: Step::Tests(&["simulation::"]),
        volumes: &[("JETON_SIMULATION", 2_000, 100_000)],
    },
    Attack {
        name: "fuzz",
        promises: "P5 P8",
        step: Step::Program("tests/fuzz/run", &[]),
        volumes: &[("JETON_FUZZ", 10, 3_600)],
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
