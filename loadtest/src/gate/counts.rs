//! Instructions by function, as the bench of a revision writes them, and their comparison.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::failure::{Failure, Result, at};
use crate::quantity::Percent;

/// What one function took: instructions for all its operations together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Count {
    /// Executed on behalf of the function, what it calls included.
    pub instructions: u64,
    /// How many operations that were; 1 where the bench does not say.
    pub operations: u64,
}

/// By the function's name, such as `resolve::digest_hit`.
pub type Counts = BTreeMap<String, Count>;

/// One function of two revisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionChange {
    /// Its name.
    pub function: String,
    /// Instructions per operation; none where the function is missing.
    pub base: Option<f64>,
    /// Instructions per operation; none where the function is missing.
    pub head: Option<f64>,
    /// Head / base.
    pub ratio: Option<f64>,
    /// Whether that is allowed.
    pub verdict: Verdict,
}

/// The part of a summary that is needed; gungraun writes much more.
#[derive(Deserialize)]
struct Summary {
    module_path: String,
    id: Option<String>,
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    tool: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    metrics: BTreeMap<String, Metric>,
}

#[derive(Deserialize)]
struct Metric {
    values: Values,
}

#[derive(Deserialize)]
struct Values {
    new: Option<serde_json::Number>,
}

impl Count {
    fn by_operation(self) -> f64 {
        self.instructions as f64 / self.operations as f64
    }
}

/// Reads all summaries below a folder.
///
/// # Errors
/// There is none, one is not readable, or one is not a summary with instructions.
pub fn read(folder: &Path) -> Result<Counts> {
    let (mut counts, mut folders) = (Counts::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "summary.json") {
                let text = std::fs::read_to_string(&path).map_err(at(&path))?;
                let (name, count) = parse(&text)
                    .map_err(|problem| Failure::Input(format!("{}: {problem}", path.display())))?;
                counts.insert(name, count);
            }
        }
    }
    if counts.is_empty() {
        let problem = format!("{}: the bench has written no counts", folder.display());
        return Err(Failure::Input(problem));
    }
    Ok(counts)
}

/// Reads one summary: the name of a function, and what it took.
///
/// # Errors
/// It is no summary, or has no count of instructions; says which.
pub fn parse(text: &str) -> std::result::Result<(String, Count), String> {
    let summary: Summary = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let callgrind = summary.profiles.iter().find(|profile| profile.tool == "Callgrind");
    let metrics = &callgrind.ok_or("nothing was counted by callgrind")?.data.total.metrics;
    let ir = metrics.get("Ir").and_then(|metric| metric.values.new.as_ref()?.as_u64());
    let instructions = ir.filter(|count| *count > 0).ok_or("it has no instructions (Ir)")?;
    // `bench::harness::group::function`: the last two say which it is.
    let parts: Vec<&str> = summary.module_path.split("::").collect();
    let name = parts[parts.len().saturating_sub(2)..].join("::");
    let id = summary.id.as_deref().unwrap_or_default();
    let times = id.strip_prefix("times_").and_then(|times| times.parse().ok());
    let operations = times.filter(|times| *times > 0);
    let name = match operations {
        None if !id.is_empty() => format!("{name}::{id}"),
        _ => name,
    };
    Ok((name, Count { instructions, operations: operations.unwrap_or(1) }))
}

/// Compares all functions of two revisions, in the order of their names. `allowed` are those that
/// the head may lack; `*` stands for all.
pub fn compare(
    base: &Counts,
    head: &Counts,
    max: Percent,
    allowed: &[String],
) -> Vec<FunctionChange> {
    let names: std::collections::BTreeSet<&String> = base.keys().chain(head.keys()).collect();
    let change = |function: &String| {
        let of = |counts: &Counts| counts.get(function).copied().map(Count::by_operation);
        let (base, head) = (of(base), of(head));
        let ratio = base.zip(head).map(|(base, head)| head / base);
        let verdict = match (base, head, ratio) {
            (_, _, Some(ratio)) if ratio > max.limit() => Verdict::Fail,
            (_, _, Some(_)) => Verdict::Pass,
            (None, _, None) => Verdict::New,
            (Some(_), _, None) if allowed.iter().any(|name| name == "*" || name == function) => {
                Verdict::Dropped
            }
            (Some(_), _, None) => Verdict::Gone,
        };
        FunctionChange { function: function.clone(), base, head, ratio, verdict }
    };
    names.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = r#"{"module_path": "instructions::harness::wheel::schedule",
        "id": "times_10000", "kind": "LibraryBenchmark", "profiles": [{"tool": "Callgrind",
        "data": {"parts": [], "total": {"metrics": {"Ir": {"values": {"new": 761425}},
        "L1HitRate": {"values": {"new": 99.5}}}, "regressions": []}}}], "version": "7"}"#;

    fn counts(all: &[(&str, u64)]) -> Counts {
        let count = |instructions| Count { instructions, operations: 10 };
        all.iter().map(|(name, n)| ((*name).to_owned(), count(*n))).collect()
    }

    #[test]
    fn a_summary_gives_a_function_and_its_count() {
        let (name, count) = parse(SUMMARY).unwrap();
        assert_eq!(name, "wheel::schedule");
        assert_eq!(count, Count { instructions: 761_425, operations: 10_000 });
        let (name, count) = parse(&SUMMARY.replace("times_10000", "small")).unwrap();
        assert_eq!((name.as_str(), count.operations), ("wheel::schedule::small", 1));
    }

    #[test]
    fn what_is_not_a_summary_is_an_error() {
        for len in 0..SUMMARY.len() {
            assert!(parse(&SUMMARY[..len]).is_err(), "{len} bytes of it");
        }
        for (from, to) in [("\"Ir\"", "\"Dr\""), ("Callgrind", "DHAT"), ("761425", "0")] {
            assert!(parse(&SUMMARY.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn a_folder_is_read_as_a_whole_and_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("no counts"));
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("summary.json"), SUMMARY).unwrap();
        std::fs::write(deep.join("callgrind.out"), "else").unwrap();
        assert_eq!(read(folder.path()).unwrap().len(), 1);
        std::fs::write(folder.path().join("summary.json"), "{").unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("summary.json"));
    }

    #[test]
    fn more_than_allowed_fails_and_so_does_what_the_head_lacks() {
        let base = counts(&[("a", 10_000), ("b", 10_000), ("c", 10_000), ("gone", 1)]);
        let head = counts(&[("a", 10_100), ("b", 10_101), ("c", 5_000), ("new", 1)]);
        let changes = compare(&base, &head, "1%".parse().unwrap(), &[]);
        let verdicts: Vec<_> = changes.iter().map(|c| (c.function.as_str(), c.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("a", Verdict::Pass),
                ("b", Verdict::Fail),
                ("c", Verdict::Pass),
                ("gone", Verdict::Gone),
                ("new", Verdict::New),
            ]
        );
        assert_eq!(changes[1].head, Some(1_010.1), "by operation");
        for allowed in ["gone", "*"] {
            let allowed = [allowed.to_owned()];
            let changes = compare(&base, &head, "1%".parse().unwrap(), &allowed);
            assert_eq!(changes[3].verdict, Verdict::Dropped);
        }
    }
}
