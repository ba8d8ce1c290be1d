//! One of several operations that are performed together.

use crate::engine::Op;

use super::operation::Operation;

/// One of the operations.
pub(crate) struct Step {
    /// Its name in the audit log, and its scope.
    pub(crate) operation: Operation,
    pub(crate) op: Op,
}
