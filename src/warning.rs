//! Warnings: conditions that an operator must know of while the server stays ready.
//!
//! The code that finds such a condition raises its warning, and lowers it when the condition is over.
//! `/readyz` then answers 200 with one more line, and `/metrics` shows 1 for the warning's name.
//! The log line that says so is written where the condition is found.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The conditions. Each has one name, in `/readyz` and as a label in `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Warning {
    /// The wall clock went forward further than the other clock: the step is not followed yet.
    ClockHeld,
    /// Engine time is ahead of the wall clock: the log has seen a later time.
    LogTimeAhead,
    /// Namespaces of the keys file are not loaded: their tags collide with others'.
    NamespaceTags,
    /// Quotas are not in force: the tags of their namespaces collide with others'.
    QuotaTags,
    /// The log is several segments longer than it may be: cleaning does not keep up.
    LogOverLimit,
    /// Little of the disk that the audit log is on is free.
    AuditDisk,
    /// The audit log cannot be written.
    AuditFailing,
}

impl Warning {
    /// All of them, in the order of their declaration.
    pub const ALL: [Warning; 7] = [
        Warning::ClockHeld,
        Warning::LogTimeAhead,
        Warning::NamespaceTags,
        Warning::QuotaTags,
        Warning::LogOverLimit,
        Warning::AuditDisk,
        Warning::AuditFailing,
    ];

    /// Lower-case words joined by `_`; never changed once released.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Warning::ClockHeld => "clock_held",
            Warning::LogTimeAhead => "log_time_ahead",
            Warning::NamespaceTags => "namespace_tags",
            Warning::QuotaTags => "quota_tags",
            Warning::LogOverLimit => "log_over_limit",
            Warning::AuditDisk => "audit_disk",
            Warning::AuditFailing => "audit_failing",
        }
    }
}

/// The warnings that stand, each with a sentence. Raised by any thread, read by the admin listener;
/// no request waits for its lock.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<BTreeMap<Warning, String>>);

impl Warnings {
    /// `text` is one line without its end: what is wrong, and what helps. It takes the place of
    /// what the warning said before.
    pub fn raise(&self, warning: Warning, text: String) {
        debug_assert!(!text.contains('\n'), "one line: {text}");
        self.lock().insert(warning, text);
    }

    /// The condition is over. Does nothing where it was not raised.
    pub fn lower(&self, warning: Warning) {
        self.lock().remove(&warning);
    }

    /// What stands, in the order of [`Warning::ALL`].
    #[must_use]
    pub fn standing(&self) -> BTreeMap<Warning, String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Warning, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_stands_until_it_is_lowered() {
        let warnings = Warnings::default();
        warnings.raise(Warning::LogTimeAhead, "first".to_owned());
        warnings.raise(Warning::ClockHeld, "held".to_owned());
        warnings.raise(Warning::LogTimeAhead, "second".to_owned());
        let texts: Vec<_> = warnings.standing().into_values().collect();
        assert_eq!(texts, ["held", "second"]);
        warnings.lower(Warning::LogTimeAhead);
        warnings.lower(Warning::NamespaceTags);
        assert_eq!(warnings.standing().len(), 1);
    }

    #[test]
    fn names_are_different_and_fit_a_label() {
        let names = Warning::ALL.map(Warning::name);
        let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(names.iter().all(|name| is_plain(name)));
        let all: std::collections::BTreeSet<_> = names.into_iter().collect();
        assert_eq!(all.len(), Warning::ALL.len());
    }
}
