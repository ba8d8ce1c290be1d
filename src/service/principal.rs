//! The authenticated caller.

use std::rc::Rc;
use std::sync::Arc;

use super::refusal::Refusal;
use crate::keys::Access;
use crate::model::scope::Scope;

/// The caller and its access. It is cloned for each request, without touching memory that other
/// threads write.
pub(crate) type Principal = Rc<Arc<Access>>;

/// Checks that the access includes `scope`.
///
/// # Errors
/// The access does not include `scope`.
pub(crate) fn demand(access: &Access, scope: Scope) -> Result<(), Refusal> {
    if access.may(scope) {
        return Ok(());
    }
    Err(match access.key {
        Some(_) => Refusal::MissingScope(scope),
        None => Refusal::KeyNeeded(scope),
    })
}
