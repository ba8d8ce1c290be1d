//! One of several operations that are performed together.

use crate::engine::Op;
use crate::model::token::Digest;

use super::operation::Operation;

/// One of the operations.
pub(crate) struct Step {
    /// Its name in the audit log, and its scope.
    pub(crate) operation: Operation,
    pub(crate) op: Op,
    /// Whether the answer tells if a token was known that is revoked. The audit log then says so too.
    pub(crate) shows_misses: bool,
}

impl Step {
    /// A step whose answer does not tell whether a token was known that it revokes.
    pub(crate) fn new(operation: Operation, op: Op) -> Self {
        Self { operation, op, shows_misses: false }
    }

    /// The revocation of a token, whose answer tells whether it was known.
    pub(crate) fn delete(digest: Digest) -> Self {
        let (operation, op) = (Operation::RevokeBatch, Op::Revoke { digest });
        Self { operation, op, shows_misses: true }
    }
}
