//! What became of the keys, counted by kind.

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Copied,
    Present,
    Unchanged,
    Replaced,
    Moved,
    Vanished,
    Gone,
    Persistent,
    BeyondMax,
    TooBig,
    OtherType,
    NameLength,
    SameName,
    OtherValue,
    Reference,
    Unknown,
}

/// Every kind: its name, whether the key is in order, and what it means.
pub(super) const KINDS: [(Kind, &str, bool, &str); 16] = [
    (Kind::Copied, "copied", true, ""),
    (Kind::Present, "present", true, "jeton had the same value already"),
    (Kind::Unchanged, "unchanged", true, "copied before, and the same on both sides"),
    (Kind::Replaced, "replaced", true, "the source had another value than before"),
    (Kind::Moved, "deadline-set", true, "the source had another deadline than before"),
    (Kind::Vanished, "vanished", true, "the source had it no longer when it was to be copied"),
    (Kind::Gone, "gone", true, "copied before, and used up or removed in jeton: it stays gone"),
    (Kind::Persistent, "no-deadline", false, "it lives for ever: --persistent-ttl"),
    (Kind::BeyondMax, "beyond-max-ttl", false, "beyond the server's --max-ttl: --cap-ttl"),
    (Kind::TooBig, "too-big", false, "longer than the server's --max-payload"),
    (Kind::OtherType, "other-type", false, "no string"),
    (Kind::NameLength, "name-length", false, "its name has not 1 to 512 bytes"),
    (Kind::SameName, "same-name", false, "another key has the same name after --strip"),
    (Kind::OtherValue, "other-value", false, "jeton has another value that import did not put"),
    (Kind::Reference, "reference", false, "its name is the token of a reference or key in jeton"),
    (
        Kind::Unknown,
        "unknown",
        false,
        "an import was cut off before it knew that it had copied it, and jeton does not have it",
    ),
];

/// Keys of each kind, in the order of [`KINDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(pub(super) [u64; KINDS.len()]);

impl Counts {
    pub(super) fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        for (count, other) in self.0.iter_mut().zip(others.0) {
            *count += other;
        }
    }

    #[cfg(test)]
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Keys that are not in jeton as they are in the source, and should be.
    pub(super) fn not_copied(&self) -> u64 {
        KINDS.iter().zip(self.0).filter(|((_, _, is_fine, _), _)| !is_fine).map(|(_, n)| n).sum()
    }

    /// All keys.
    pub(super) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// One line for each kind that occurs, and always for the first.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for ((kind, name, is_fine, meaning), count) in KINDS.iter().zip(self.0) {
            if count == 0 && *kind != Kind::Copied {
                continue;
            }
            let prefix = if *is_fine { "" } else { "not copied: " };
            let meaning = match meaning.is_empty() {
                true => String::new(),
                false => format!(" ({meaning})"),
            };
            lines.push_str(&format!("{prefix}{name} {count}{meaning}\n"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_place_and_what_is_not_copied_is_counted() {
        for (place, (kind, ..)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, place, "{kind:?}");
        }
        let mut counts = Counts::default();
        counts.add(Kind::Copied);
        counts.add(Kind::Gone);
        assert_eq!(counts.not_copied(), 0);
        counts.add(Kind::TooBig);
        counts.add(Kind::Persistent);
        assert_eq!((counts.not_copied(), counts.all()), (2, 4));
        let lines = counts.lines();
        assert!(lines.starts_with("copied 1\ngone 1 ("), "{lines}");
        assert!(lines.contains("not copied: too-big 1 (longer than"), "{lines}");
        assert_eq!(Counts::default().lines(), "copied 0\n");
    }
}
