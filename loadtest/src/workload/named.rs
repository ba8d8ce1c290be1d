//! The workloads that ship with the harness.

use std::path::Path;

use super::{Workload, file, suggest};
use crate::failure::{Failure, Result};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../workloads/", $name, ".toml")))),*]
    };
}

/// Situations first, then the plain ones that figures are made of; a test reads them all.
const FILES: &[(&str, &str)] = files![
    "checkout",
    "flash-sale",
    "expiry-storm",
    "read-heavy",
    "write-heavy",
    "replay-attack",
    "resolve",
    "pipelined",
    "batch",
    "issue",
    "handshakes",
];

/// All of them, in the order they are to be listed.
#[expect(clippy::expect_used, reason = "each embedded file is read by a test")]
pub fn all() -> Vec<Workload> {
    FILES.iter().map(|(name, text)| read(name, text).expect("an embedded workload")).collect()
}

/// The one of this name.
///
/// # Errors
/// There is none; the nearest name or all of them are given.
pub fn find(name: &str) -> Result<Workload> {
    if let Some((name, text)) = FILES.iter().find(|(known, _)| *known == name) {
        return read(name, text);
    }
    let names = || FILES.iter().map(|(name, _)| *name);
    let hint = match suggest::nearest(name, names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}.", names().collect::<Vec<_>>().join(", ")),
    };
    Err(Failure::Input(format!(
        "no workload is called `{name}`; {hint} A file is given by its path, which ends in .toml"
    )))
}

/// The one of this name, or of this file, whose path ends in `.toml`.
///
/// # Errors
/// As [`find`] and [`file::load`].
pub fn find_or_load(name: &str) -> Result<Workload> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") {
        file::load(path)
    } else {
        find(name)
    }
}

/// The text of an embedded workload, for people to begin their own with.
pub fn text(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

fn read(name: &str, text: &str) -> Result<Workload> {
    file::parse(Path::new(&format!("{name}.toml")), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_workload_is_sound_named_and_described() {
        for ((name, text), workload) in FILES.iter().zip(all()) {
            assert_eq!(workload.name, *name);
            assert!(!workload.description.is_empty(), "{name}");
            assert!(text.starts_with("# "), "{name} says what it stands for");
            assert_eq!(find(name).unwrap(), workload);
        }
    }

    #[test]
    fn every_file_beside_them_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(text(name).is_some(), "{name}");
            assert_eq!(file::load(&path).unwrap(), find(name).unwrap());
        }
    }

    #[test]
    fn an_unknown_name_is_guessed() {
        let failure = find("chekout").unwrap_err().to_string();
        assert!(failure.contains("did you mean `checkout`?"), "{failure}");
        let failure = find("flash_sale").unwrap_err().to_string();
        assert!(failure.contains("did you mean `flash-sale`?"), "{failure}");
        let failure = find("nothing").unwrap_err().to_string();
        assert!(failure.contains("there are checkout, flash-sale"), "{failure}");
    }

    #[test]
    fn a_path_is_a_file_and_a_word_is_a_name() {
        assert_eq!(find_or_load("resolve").unwrap().name, "resolve");
        let failure = find_or_load("resolve.toml").unwrap_err().to_string();
        assert!(failure.starts_with("resolve.toml: "), "{failure}");
    }
}
