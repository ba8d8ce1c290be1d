//! The table of operations that a wire may offer: how metrics, logs and the audit log name each, and
//! the scope that it needs.

use crate::model::scope::Scope;

/// Makes [`Operation`] and [`OPERATIONS`] of one line for each operation.
macro_rules! operations {
    ($($(#[$doc:meta])+ $operation:ident: $name:literal, $audited:literal, $scope:expr;)+) => {
        /// What a request asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[$doc])+ $operation,)+
        }

        /// All operations, in the order of their numbers.
        pub const OPERATIONS: &[Row] = &[$(Row {
            operation: Operation::$operation,
            name: $name,
            audited: $audited,
            scope: $scope,
        },)+];
    };
}

operations! {
    // operation: its name in metrics and logs, that of one of its tokens in the audit log, its scope
    /// A token for a payload.
    Issue: "issue", "issue", Some(Scope::Issue);
    /// A token for each of many payloads.
    IssueBatch: "issue_batch", "issue", Some(Scope::Issue);
    /// The payload of a token.
    Resolve: "resolve", "resolve", Some(Scope::Resolve);
    /// The payloads of many tokens.
    ResolveBatch: "resolve_batch", "resolve", Some(Scope::Resolve);
    /// One use of a token, for its payload.
    Consume: "consume", "consume", Some(Scope::Consume);
    /// One use of each of many tokens.
    ConsumeBatch: "consume_batch", "consume", Some(Scope::Consume);
    /// A later deadline for a token.
    Extend: "extend", "extend", Some(Scope::Issue);
    /// A later deadline for many tokens.
    ExtendBatch: "extend_batch", "extend", Some(Scope::Issue);
    /// A token ends before its deadline.
    Revoke: "revoke", "revoke", Some(Scope::Revoke);
    /// Many tokens end before their deadlines.
    RevokeBatch: "revoke_batch", "revoke", Some(Scope::Revoke);
    /// What is known of a token, without its payload.
    Status: "status", "status", Some(Scope::Resolve);
    /// What is known of many tokens.
    StatusBatch: "status_batch", "status", Some(Scope::Resolve);
    /// None of these.
    Unknown: "unknown", "unknown", None;
}

/// What is fixed about an operation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which it is.
    pub operation: Operation,
    /// How metrics and logs name it.
    pub name: &'static str,
    /// How the audit log names it: a list has one event for each of its tokens.
    pub(crate) audited: &'static str,
    /// `None` where it is none of the operations.
    scope: Option<Scope>,
}

impl Operation {
    fn row(self) -> &'static Row {
        &OPERATIONS[self as usize]
    }

    /// The scope that it needs; `None` where it is none of the operations.
    pub(crate) fn scope(self) -> Option<Scope> {
        self.row().scope
    }

    /// How the audit log names it.
    pub(crate) fn audited(self) -> &'static str {
        self.row().audited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_audited_as_what_is_done_to_each_of_its_tokens() {
        for row in OPERATIONS {
            assert_eq!(OPERATIONS[row.operation as usize].name, row.name);
            assert_eq!(row.audited, row.name.trim_end_matches("_batch"));
            assert_eq!(row.scope.is_none(), row.operation == Operation::Unknown);
        }
    }
}
