//! The table of operations that a protocol may offer: their names in metrics, logs and the audit
//! log, and the scopes that they need.

use crate::model::scope::Scope;

/// Makes [`Operation`] and [`OPERATIONS`] from one line for each operation.
macro_rules! operations {
    ($($(#[$doc:meta])+ $operation:ident: $name:literal, $audited:literal, $scope:expr;)+) => {
        /// The operation of a request.
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
    /// Issue a token for a payload.
    Issue: "issue", "issue", Some(Scope::Issue);
    /// Issue a token for each of many payloads.
    IssueBatch: "issue_batch", "issue", Some(Scope::Issue);
    /// Return the payload of a token.
    Resolve: "resolve", "resolve", Some(Scope::Resolve);
    /// Return the payloads of many tokens.
    ResolveBatch: "resolve_batch", "resolve", Some(Scope::Resolve);
    /// Consume a use of a token and return its payload.
    Consume: "consume", "consume", Some(Scope::Consume);
    /// Consume a use of each of many tokens.
    ConsumeBatch: "consume_batch", "consume", Some(Scope::Consume);
    /// Move the deadline of a token later.
    Extend: "extend", "extend", Some(Scope::Issue);
    /// Move the deadlines of many tokens later.
    ExtendBatch: "extend_batch", "extend", Some(Scope::Issue);
    /// Revoke a token before its deadline.
    Revoke: "revoke", "revoke", Some(Scope::Revoke);
    /// Revoke many tokens before their deadlines.
    RevokeBatch: "revoke_batch", "revoke", Some(Scope::Revoke);
    /// Return the status of a token, without its payload.
    Status: "status", "status", Some(Scope::Resolve);
    /// Return the status of many tokens.
    StatusBatch: "status_batch", "status", Some(Scope::Resolve);
    /// Tell whether a token is alive, with its payload and times, as RFC 7662 says.
    Introspect: "introspect", "introspect", Some(Scope::Resolve);
    /// Revoke a token as RFC 7009 says.
    OauthRevoke: "oauth_revoke", "revoke", Some(Scope::Revoke);
    /// Store a payload under a token or name that the client chose.
    Put: "put", "put", Some(Scope::Import);
    /// Set the deadline of a token, also to an earlier time.
    Deadline: "deadline", "deadline", Some(Scope::Issue);
    /// Perform several of these together: all or none.
    Together: "together", "together", None;
    /// Ask for something that concerns the connection alone.
    Session: "session", "session", None;
    /// Any other request.
    Unknown: "unknown", "unknown", None;
}

/// The row of an operation in the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// Its name in the audit log, where a list has one event for each of its tokens.
    pub(crate) audited: &'static str,
    /// `None` for [`Operation::Other`].
    scope: Option<Scope>,
}

impl Operation {
    fn row(self) -> &'static Row {
        &OPERATIONS[self as usize]
    }

    /// The scope that it needs; `None` for [`Operation::Other`].
    pub(crate) fn scope(self) -> Option<Scope> {
        self.row().scope
    }

    /// Whether it changes tokens.
    pub(crate) fn changes(self) -> bool {
        !matches!(self.scope(), Some(Scope::Resolve) | None)
    }

    /// Its name in metrics, logs and traces.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// Its name in the audit log.
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
            let name = row.name.trim_end_matches("_batch").trim_start_matches("oauth_");
            assert_eq!(row.audited, name);
            let is_beside = matches!(
                row.operation,
                Operation::Together | Operation::Session | Operation::Unknown
            );
            assert_eq!(row.scope.is_none(), is_beside);
        }
    }
}
