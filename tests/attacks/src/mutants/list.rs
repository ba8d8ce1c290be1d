//! The list of mutants: `tests/attacks/mutants.toml`.

use std::path::Path;

use serde::Deserialize;

use crate::failure::{Failure, Result, io};

/// Path of the list, from the top of the project.
const PATH: &str = "tests/attacks/mutants.toml";

/// One way in which the code is broken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// A short name, of words joined by hyphens.
    pub name: String,
    /// The promise that it breaks: P1 to P10.
    pub promise: String,
    /// The effect of the mutant.
    pub breaks: String,
    /// The source, from the top of the project.
    pub file: String,
    /// A text that occurs in the source once …
    pub find: String,
    /// … and its replacement.
    pub replace: String,
    /// The tests that must fail, one `cargo test` each: a target, then filters.
    pub tests: Vec<Tests>,
}

/// Tests of one target.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Tests {
    /// Their target.
    pub target: Target,
    /// Parts of their names.
    pub filters: Vec<String>,
}

/// What `cargo test` builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The unit tests.
    Lib,
    /// The integration tests.
    Integration,
    /// The tests of the Rust client.
    RustClient,
}

impl Target {
    /// All targets, in the order of their runs: the fastest one first.
    pub const ALL: [Self; 3] = [Self::Lib, Self::Integration, Self::RustClient];

    /// The package of the target.
    pub fn package(self) -> &'static str {
        match self {
            Self::Lib | Self::Integration => "jeton",
            Self::RustClient => "jeton-client",
        }
    }

    /// The target of the package, as `cargo test` takes it.
    pub fn args(self) -> &'static [&'static str] {
        match self {
            Self::Lib => &["--lib"],
            Self::Integration => &["--test", "integration"],
            Self::RustClient => &["--test", "client"],
        }
    }
}

impl TryFrom<String> for Tests {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        for target in Target::ALL {
            if let Some(filters) = text.strip_prefix(&target.args().join(" ")) {
                let filters: Vec<_> = filters.split_whitespace().map(str::to_owned).collect();
                if !filters.is_empty() {
                    return Ok(Self { target, filters });
                }
            }
        }
        Err(format!(
            "{text:?} must be --lib, --test integration or --test client, and names of tests"
        ))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// Reads the list.
pub fn read(top: &Path) -> Result<Vec<Mutant>> {
    let text = std::fs::read_to_string(top.join(PATH)).map_err(io(PATH))?;
    let list: List =
        toml::from_str(&text).map_err(|error| Failure::Input(format!("{PATH}: {error}")))?;
    Ok(list.mutant)
}

/// The named mutants in the given order, or all if none is named.
pub fn select(mutants: Vec<Mutant>, only: &[String]) -> Result<Vec<Mutant>> {
    if only.is_empty() {
        return Ok(mutants);
    }
    let unknown = |name| Failure::Input(format!("there is no mutant {name:?}; see --list"));
    let find = |name: &String| mutants.iter().find(|mutant| mutant.name == *name).cloned();
    only.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect()
}

impl Mutant {
    /// The text of its file with the mutant applied.
    pub fn apply(&self, text: &str) -> Result<String> {
        let wrong = |what: &str| Failure::Input(format!("{}: {what} {}", self.name, self.file));
        match text.matches(&self.find).count() {
            1 if self.find != self.replace => Ok(text.replacen(&self.find, &self.replace, 1)),
            1 => Err(wrong("changes nothing in")),
            0 => Err(wrong("the text to replace is not in")),
            _ => Err(wrong("the text to replace occurs more than once in")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// All sources of tests, by the target that they belong to.
    fn sources(target: Target) -> String {
        let folder = match target {
            Target::Lib => "src",
            Target::Integration => "tests/integration",
            Target::RustClient => "clients/rust/tests",
        };
        let mut folders = vec![crate::top().join(folder)];
        let mut text = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    text.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        text
    }

    #[test]
    fn every_mutant_fits_the_sources_and_is_another() {
        let mutants = read(&crate::top()).unwrap();
        assert!(mutants.len() >= 40);
        let names: HashSet<_> = mutants.iter().map(|mutant| &mutant.name).collect();
        assert_eq!(names.len(), mutants.len(), "a name is there twice");
        let edits: HashSet<_> = mutants.iter().map(|m| (&m.file, &m.find, &m.replace)).collect();
        assert_eq!(edits.len(), mutants.len(), "one is there twice");
        for mutant in &mutants {
            let text = std::fs::read_to_string(crate::top().join(&mutant.file)).unwrap();
            if let Err(failure) = mutant.apply(&text) {
                panic!("{failure}");
            }
            let is_code = mutant.file.starts_with("src/")
                || mutant.file.starts_with("clients/") && mutant.file.contains("/src/");
            assert!(is_code, "{}: only the code is broken", mutant.name);
            let promise: u8 = mutant.promise.strip_prefix('P').unwrap().parse().unwrap();
            assert!((1..=10).contains(&promise), "{}", mutant.name);
        }
    }

    #[test]
    fn every_test_that_is_named_is_there() {
        let all = Target::ALL.map(sources);
        for mutant in read(&crate::top()).unwrap() {
            assert!(!mutant.tests.is_empty(), "{}", mutant.name);
            for Tests { target, filters } in &mutant.tests {
                for filter in filters {
                    let last = filter.rsplit("::").find(|part| !part.is_empty()).unwrap();
                    let is_there = ["fn ", "mod "]
                        .iter()
                        .any(|item| all[*target as usize].contains(&format!("{item}{last}")));
                    assert!(is_there, "{}: no test {filter}", mutant.name);
                }
            }
        }
    }

    #[test]
    fn tests_have_a_target_and_filters() {
        let read = |text: &str| Tests::try_from(text.to_owned());
        let tests = read("--test integration crash:: rivals").unwrap();
        assert_eq!(tests.target, Target::Integration);
        assert_eq!(tests.filters, ["crash::", "rivals"]);
        assert_eq!(read("--lib wal").unwrap().target, Target::Lib);
        assert!(read("--lib").is_err() && read("wal").is_err());
    }
}
