//! Warnings: conditions that an operator should know about while the server stays ready.
//!
//! The code that finds such a condition raises its warning, and lowers it when the condition is over.
//! `/readyz` then answers 200 with one more line, and `/metrics` shows 1 for the warning's name.
//! The code that finds the condition also logs it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The conditions. Each has one name, in `/readyz` and as a label in `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Warning {
    /// The wall clock stepped further ahead than the forward clock: the step is held.
    ClockHeld,
    /// Engine time is ahead of the wall clock, because the log contains a later time.
    LogTimeAhead,
    /// Namespaces of the keys file are not loaded, because their tags collide with those of others.
    NamespaceTags,
    /// Quotas are not in force, because the tags of their namespaces collide with those of others.
    QuotaTags,
    /// The log exceeds its limit by several segments: cleaning does not keep up.
    LogOverLimit,
    /// The oldest segment of the log cannot be read, so that it cannot be cleaned.
    LogUnreadable,
    /// The disk of the audit log is nearly full.
    AuditDisk,
    /// The audit log cannot be written.
    AuditFailing,
}

impl Warning {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::ClockHeld,
        Self::LogTimeAhead,
        Self::NamespaceTags,
        Self::QuotaTags,
        Self::LogOverLimit,
        Self::LogUnreadable,
        Self::AuditDisk,
        Self::AuditFailing,
    ];

    /// Lower-case words joined by `_`; never changed once released.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClockHeld => "clock_held",
            Self::LogTimeAhead => "log_time_ahead",
            Self::NamespaceTags => "namespace_tags",
            Self::QuotaTags => "quota_tags",
            Self::LogOverLimit => "log_over_limit",
            Self::LogUnreadable => "log_unreadable",
            Self::AuditDisk => "audit_disk",
            Self::AuditFailing => "audit_failing",
        }
    }
}

/// The standing warnings, each with a sentence. Any thread raises them, the admin listener reads
/// them, and no request waits for the lock.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<BTreeMap<Warning, String>>);

impl Warnings {
    /// Raises a warning, or replaces its text. `text` is one line without a line break: the
    /// problem, and what to do.
    pub fn raise(&self, warning: Warning, text: String) {
        debug_assert!(!text.contains('\n'), "one line: {text}");
        self.lock().insert(warning, text);
    }

    /// Lowers a warning, because its condition is over. Does nothing if it was not raised.
    pub fn lower(&self, warning: Warning) {
        self.lock().remove(&warning);
    }

    /// Whether a warning was raised and not lowered.
    #[must_use]
    pub fn stands(&self, warning: Warning) -> bool {
        self.lock().contains_key(&warning)
    }

    /// The standing warnings, in the order of [`Warning::ALL`].
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
        assert!(warnings.stands(Warning::ClockHeld) && !warnings.stands(Warning::LogTimeAhead));
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
