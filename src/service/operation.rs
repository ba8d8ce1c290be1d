//! The operations that a wire may offer, and the scope that each needs.

use crate::model::scope::Scope;

/// What a request asked for, as metrics and logs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A token for a payload.
    Issue,
    /// A token for each of many payloads.
    IssueBatch,
    /// The payload of a token.
    Resolve,
    /// The payloads of many tokens.
    ResolveBatch,
    /// One use of a token, for its payload.
    Consume,
    /// One use of each of many tokens.
    ConsumeBatch,
    /// A later deadline for a token.
    Extend,
    /// A later deadline for many tokens.
    ExtendBatch,
    /// A token ends before its deadline.
    Revoke,
    /// Many tokens end before their deadlines.
    RevokeBatch,
    /// What is known of a token, without its payload.
    Status,
    /// What is known of many tokens.
    StatusBatch,
    /// None of these.
    Unknown,
}

/// All operations, in the order of their numbers.
pub const OPERATIONS: [(Operation, &str); 13] = [
    (Operation::Issue, "issue"),
    (Operation::IssueBatch, "issue_batch"),
    (Operation::Resolve, "resolve"),
    (Operation::ResolveBatch, "resolve_batch"),
    (Operation::Consume, "consume"),
    (Operation::ConsumeBatch, "consume_batch"),
    (Operation::Extend, "extend"),
    (Operation::ExtendBatch, "extend_batch"),
    (Operation::Revoke, "revoke"),
    (Operation::RevokeBatch, "revoke_batch"),
    (Operation::Status, "status"),
    (Operation::StatusBatch, "status_batch"),
    (Operation::Unknown, "unknown"),
];

impl Operation {
    /// The scope that it needs; `None` where it is none of the operations.
    pub(crate) fn scope(self) -> Option<Scope> {
        match self {
            Operation::Issue
            | Operation::IssueBatch
            | Operation::Extend
            | Operation::ExtendBatch => Some(Scope::Issue),
            Operation::Resolve
            | Operation::ResolveBatch
            | Operation::Status
            | Operation::StatusBatch => Some(Scope::Resolve),
            Operation::Consume | Operation::ConsumeBatch => Some(Scope::Consume),
            Operation::Revoke | Operation::RevokeBatch => Some(Scope::Revoke),
            Operation::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_listed_in_the_order_of_their_numbers() {
        for (number, (operation, _)) in OPERATIONS.iter().enumerate() {
            assert_eq!(*operation as usize, number);
        }
    }
}
