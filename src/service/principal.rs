//! Who asks, once that is known.

use std::rc::Rc;
use std::sync::Arc;

use super::refusal::Refusal;
use crate::keys::Access;
use crate::model::scope::Scope;

/// Who asks, and what they may do. Cloned with each request, without touching what other threads
/// touch.
pub(crate) type Principal = Rc<Arc<Access>>;

/// Whether it may do what needs `scope`.
///
/// # Errors
/// It may not.
pub(crate) fn demand(access: &Access, scope: Scope) -> Result<(), Refusal> {
    if access.may(scope) {
        return Ok(());
    }
    Err(match access.key {
        Some(_) => Refusal::MissingScope(scope),
        None => Refusal::KeyNeeded(scope),
    })
}
