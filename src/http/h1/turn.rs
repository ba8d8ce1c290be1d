//! Whose requests the hot path answers, and when.

use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::model::time::UnixMillis;
use crate::service::principal::Principal;

/// A caller who may resolve, and when it asks.
pub(super) struct Turn<'a> {
    pub(super) worker: &'a Worker,
    pub(super) state: &'a ConnState,
    pub(super) access: &'a Principal,
    pub(super) now: UnixMillis,
}
