//! The state of an engine: entries in the store, and the accounting of all of them together. Only
//! `apply` makes changes that callers can see, in the order of the log; [`expire`] and [`forget`]
//! free entries that callers cannot see.

mod accounting;
mod applied;
mod apply;
mod trace;

pub(super) use accounting::put;
pub use accounting::{Accounting, Holding, Totals, Usage, must_be_relocated};
pub use applied::{Applied, Position};
pub use apply::{Content, apply, consume_refused, expire, is_irreplaceable, issue_refused};
pub use trace::forget;
pub(super) use trace::is_trace;
