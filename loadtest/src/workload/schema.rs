//! Every field of a workload by its dotted name, with its limits and its flag: what a message
//! about a mistake needs to know. A test holds it against the structs.

/// One field.
pub(super) struct Field {
    /// Dotted, as in a file.
    pub(super) path: &'static str,
    /// Without the dashes; none where no flag sets it.
    pub(super) flag: Option<&'static str>,
    /// What it may be.
    pub(super) limits: &'static str,
}

const fn field(path: &'static str, flag: &'static str, limits: &'static str) -> Field {
    Field { path, flag: Some(flag), limits }
}

const fn unflagged(path: &'static str, limits: &'static str) -> Field {
    Field { path, flag: None, limits }
}

const WEIGHT: &str = "a weight, 0 to 1e12";

/// All, in the order of a file. A section stands before its fields.
pub(super) const FIELDS: &[Field] = &[
    unflagged("name", "1 to 64 characters"),
    unflagged("description", "one line of at most 200 characters"),
    field("seed", "seed", "a whole number from 0"),
    unflagged("load", "a table"),
    field("load.connections", "connections", "1 to 100,000"),
    field("load.depth", "depth", "1 to 1,000"),
    field("load.threads", "threads", "1 to 64"),
    field("load.http", "http", "\"1.1\" or \"2\", in quotes"),
    field("load.connect", "connect", "\"once\", \"full\", \"resumed\" or \"both\""),
    field(
        "load.rate",
        "rate",
        "0.1 to 10,000,000, in requests a second; left out for a closed loop",
    ),
    field("load.arrivals", "arrivals", "\"uniform\" or \"poisson\""),
    field("load.timeout", "timeout", "1ms to 10m"),
    unflagged("time", "a table"),
    field("time.warm_up", "warm-up", "0s to 1day, at least time.ramp"),
    field("time.duration", "duration", "1ms to 30days"),
    field("time.ramp", "ramp", "0s to time.warm_up"),
    unflagged("keys", "a table"),
    field("keys.population", "population", "1 to 100,000,000"),
    field("keys.popularity", "popularity", "\"uniform\", \"zipf\" or \"latest\""),
    field("keys.exponent", "exponent", "above 0, at most 5"),
    unflagged("payload", "a table"),
    field("payload.size", "payload-size", "32 to 1MiB"),
    field("payload.file", "payload-file", "the path of a file with a JSON value on each line"),
    field(
        "ttl",
        "ttl",
        "{ fixed = \"15m\" }, { uniform = { min = \"1m\", max = \"1h\" } } or \
         { exponential = { mean = \"10m\" } }",
    ),
    field("ttl.fixed", "ttl", "1ms to 30days"),
    field("ttl.uniform", "ttl", "{ min = \"1m\", max = \"1h\" }"),
    field("ttl.uniform.min", "ttl", "1ms to 30days"),
    field("ttl.uniform.max", "ttl", "ttl.uniform.min to 30days"),
    field("ttl.exponential", "ttl", "{ mean = \"10m\" }"),
    field("ttl.exponential.mean", "ttl", "1ms to 30days"),
    field("mix", "mix", "a table of weights, at least one above 0"),
    field("mix.issue", "mix", WEIGHT),
    field("mix.resolve", "mix", WEIGHT),
    field("mix.batch", "mix", WEIGHT),
    field("mix.consume", "mix", WEIGHT),
    field("mix.revoke", "mix", WEIGHT),
    field("mix.extend", "mix", WEIGHT),
    field("mix.miss", "mix", WEIGHT),
    field("mix.replay", "mix", WEIGHT),
    field("mix.batch_size", "batch-size", "1 to 1,000"),
    field("mix.rivals", "rivals", "1 to 64"),
    field("objectives", "slo", "a list such as [\"p99=2ms\", \"max=1s\"], limits of 1us to 1h"),
];

/// The field of this name; an element of a list counts as the list.
pub(super) fn find(path: &str) -> Option<&'static Field> {
    let path = path.split('[').next().unwrap_or(path);
    FIELDS.iter().find(|field| field.path == path)
}

/// The names directly below a section, or of the whole file for the empty one.
pub(super) fn children(section: &str) -> impl Iterator<Item = &'static str> {
    FIELDS.iter().filter_map(move |field| match section {
        "" => Some(field.path).filter(|path| !path.contains('.')),
        _ => field.path.strip_prefix(section)?.strip_prefix('.').filter(|name| !name.contains('.')),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::quantity::Span;
    use crate::workload::{Ttl, Workload};

    /// The dotted names of all fields that are written of a workload.
    fn names(workload: &Workload) -> BTreeSet<String> {
        fn walk(prefix: &str, value: &serde_json::Value, names: &mut BTreeSet<String>) {
            let Some(object) = value.as_object() else { return };
            for (name, value) in object {
                let path =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                walk(&path, value, names);
                names.insert(path);
            }
        }
        let mut found = BTreeSet::new();
        walk("", &serde_json::to_value(workload).unwrap(), &mut found);
        found
    }

    #[test]
    fn it_lists_every_field_there_is_and_no_other() {
        let second = Span(std::time::Duration::from_secs(1));
        let mut found = BTreeSet::new();
        for ttl in [
            Ttl::Fixed(second),
            Ttl::Uniform { min: second, max: second },
            Ttl::Exponential { mean: second },
        ] {
            found.extend(names(&Workload { ttl, ..Workload::default() }));
        }
        let listed: BTreeSet<String> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
        assert_eq!(found, listed);
        assert_eq!(listed.len(), FIELDS.len());
    }

    #[test]
    fn children_of_sections() {
        assert_eq!(children("time").collect::<Vec<_>>(), ["warm_up", "duration", "ramp"]);
        assert!(children("").any(|name| name == "ttl"));
        assert!(children("").all(|name| !name.contains('.')));
        assert_eq!(children("tim").count(), 0);
    }
}
