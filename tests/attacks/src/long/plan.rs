//! The attacks and their volumes.

use crate::failure::{Failure, Result};
use crate::table;

use super::counts::thousands;

/// Volume of the attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// As in `cargo test`.
    Small,
    /// The full volume.
    Full,
}

/// How an attack is run.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The integration tests whose names contain one of these texts.
    Tests(&'static [&'static str]),
    /// A program below the top of the project; its volume is its argument.
    Program(&'static str),
}

/// A variable for the volume, with its small and its full value.
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
        name: "fuzz-cases",
        promises: "P5 P8",
        step: Step::Tests(&["fuzz_cases::"]),
        volumes: &[],
    },
    Attack {
        name: "every-bit",
        promises: "P5",
        step: Step::Tests(&["every_bit::"]),
        volumes: &[
            // More than exist, so all of them.
            ("JETON_EVERY_BIT", 400, 10_000_000),
            ("JETON_EVERY_LENGTH", 400, 10_000_000),
            ("JETON_EVERY_BLOCK", 400, 10_000_000),
            ("JETON_EVERY_FILE", 400, 10_000_000),
            ("JETON_RANDOM_HITS", 100, 10_000),
        ],
    },
    Attack {
        name: "every-call",
        promises: "P1 P4 P6",
        step: Step::Tests(&["simulation::every_call"]),
        volumes: &[],
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
        volumes: &[
            ("JETON_PIPELINING", 60, 1_000),
            ("JETON_RESET_STREAMS", 100_000, 1_000_000),
            ("JETON_HTTP2_FLOOD_MIB", 4, 64),
            ("JETON_SLOWHTTPTEST_SECONDS", 5, 60),
            ("JETON_OVERSIZED_ROUNDS", 2, 20),
            ("JETON_QUEUE_CHANGES", 40, 400),
        ],
    },
    Attack {
        name: "clients",
        promises: "P2 P8 P9",
        step: Step::Tests(&["clients::"]),
        volumes: &[("JETON_CLIENTS", 1, 2)],
    },
    Attack {
        name: "clocks",
        promises: "P3",
        step: Step::Tests(&["clock::"]),
        volumes: &[("JETON_CLOCKS", 1, 20)],
    },
    Attack {
        name: "timing",
        promises: "P10",
        step: Step::Tests(&["guard::p10_what"]),
        volumes: &[("JETON_TIMING", 200, 20_000)],
    },
    Attack {
        name: "full-disks",
        promises: "P6",
        step: Step::Tests(&["full_disk::", "p6_"]),
        volumes: &[("JETON_FULL_DISKS", 3, 50)],
    },
    Attack {
        name: "failpoints",
        promises: "P1 P2 P4",
        step: Step::Tests(&["failpoints::"]),
        volumes: &[("JETON_FAILPOINTS", 1, 10)],
    },
    Attack {
        name: "linear",
        promises: "P2 P3",
        step: Step::Tests(&["linear::"]),
        volumes: &[
            ("JETON_LINEAR", 60, 3_000),
            ("JETON_LINEAR_MEMORY", 150, 1_500),
            ("JETON_LINEAR_LOG", 30, 300),
            ("JETON_LINEAR_NODES", 60, 5_000),
            ("JETON_LINEAR_VALID", 1_500, 100_000),
            ("JETON_LINEAR_CROSS", 4_000, 100_000),
        ],
    },
    Attack {
        name: "power-cuts",
        promises: "P1 P4 P5",
        step: Step::Tests(&["power::"]),
        volumes: &[("JETON_POWER_CUTS", 6, 200)],
    },
    Attack {
        name: "kills",
        promises: "P1 P2 P4",
        step: Step::Tests(&["crash::"]),
        volumes: &[("JETON_KILLS", 50, 1_000)],
    },
    Attack {
        name: "cluster-kills",
        promises: "P1 P2",
        step: Step::Tests(&["cluster_kills::"]),
        volumes: &[("JETON_CLUSTER_KILLS", 5, 1_000)],
    },
    Attack {
        name: "cluster-faults",
        promises: "P1 P2 P8",
        step: Step::Tests(&["cluster_faults::"]),
        volumes: &[("JETON_CLUSTER_FAULTS", 1, 25)],
    },
    Attack {
        name: "simulation",
        promises: "P1–P7",
        step: Step::Tests(&["simulation::p1_", "simulation::simulated"]),
        volumes: &[("JETON_SIMULATION", 2_000, 100_000)],
    },
    Attack {
        name: "nodes",
        promises: "P1–P7",
        step: Step::Tests(&["nodes::"]),
        volumes: &[("JETON_NODES", 500, 20_000)],
    },
    Attack {
        name: "guesses",
        promises: "P8",
        step: Step::Tests(&["cluster_serve::guesses"]),
        volumes: &[("JETON_GUESSES", 20_000, 1_000_000)],
    },
    Attack {
        name: "upgrade",
        promises: "P1 P2",
        // Needs JETON_EARLIER_BIN.
        step: Step::Tests(&["cluster_serve::upgrade"]),
        volumes: &[],
    },
    Attack {
        name: "orders",
        promises: "P3",
        step: Step::Program("tests/checkers/orders"),
        volumes: &[],
    },
    Attack {
        name: "miri",
        promises: "P8",
        step: Step::Program("tests/checkers/miri"),
        volumes: &[("cases", 8, 100)],
    },
    Attack {
        name: "fuzz",
        promises: "P5 P8",
        step: Step::Program("tests/fuzz/run"),
        volumes: &[("seconds", 10, 330)],
    },
];

impl Attack {
    /// The variables and their values at `scale`.
    pub fn volumes(&self, scale: Scale) -> impl Iterator<Item = (&'static str, String)> {
        self.volumes.iter().map(move |(variable, small, full)| {
            let volume = match scale {
                Scale::Small => small,
                Scale::Full => full,
            };
            (*variable, volume.to_string())
        })
    }
}

/// The named attacks, or all if none is named.
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
            Step::Program(program) => program.to_owned(),
        };
        [attack.name.to_owned(), attack.promises.to_owned(), run, volumes.join(" ")]
    };
    let rows: Vec<_> = attacks.iter().map(row).collect();
    table::markdown(["attack", "promises", "tests", "volume"], &rows)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

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

    /// A test reads `JETON_X` by the name "x". A variable that no test reads has no effect, and the
    /// claimed large volume would never run.
    #[test]
    fn every_variable_is_asked_for_by_a_test() {
        let mut sources = String::new();
        read_all(&crate::top().join("tests/integration"), &mut sources);
        let tests = ATTACKS.iter().filter(|attack| matches!(attack.step, Step::Tests(_)));
        for (variable, _, _) in tests.flat_map(|attack| attack.volumes) {
            let name = variable.strip_prefix("JETON_").unwrap().to_lowercase();
            assert!(sources.contains(&format!("(\"{name}\",")), "no test asks for {variable}");
        }
    }

    /// Without lines that only report an attack of the same name.
    fn read_all(dir: &Path, sources: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read_all(&path, sources);
            } else {
                let source = fs::read_to_string(path).unwrap();
                sources.extend(source.lines().filter(|line| !line.contains("tell(\"")));
            }
        }
    }
}
