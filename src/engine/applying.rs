//! Applies the records of a frame.

use crate::model::entry::JournalPart;
use crate::model::record::Record;
use crate::store::Store;

use super::frame::Frame;
use super::groups::{Curtain, Groups};
use super::state::{Accounting, Applied, Position, apply};

/// Records applied under one guard of the store; the entries that they replace can be freed after
/// that.
const RECORDS_PER_PIN: usize = 64;

/// Applies the records of a frame in their order, first the relocated ones, and tells `answer` what each
/// came to, unless it has no waiter. Returns the number of records.
pub(super) fn apply_frame(
    frame: &Frame,
    groups: &Groups,
    store: &Store,
    accounting: &mut Accounting,
    segment: JournalPart,
    mut answer: impl FnMut(&Applied<'_>),
) -> u64 {
    let (body, at) = (frame.buffer.body(), Position { time: frame.log_time, segment });
    let (mut offset, mut count) = (0, 0);
    let mut curtain = Curtain::new(groups, frame.relocated_len);
    while offset < body.len() {
        let pinned = store.pin();
        for _ in 0..RECORDS_PER_PIN {
            if offset == body.len() {
                break;
            }
            let (record, next) = Record::decode(body, offset)
                .unwrap_or_else(|error| unreachable!("a record just encoded decodes: {error}"));
            curtain.before(offset, store);
            let applied = apply(&pinned, accounting, &record, at);
            curtain.after(next);
            (offset, count) = (next, count + 1);
            if applied != Applied::Silent {
                answer(&applied);
            }
        }
    }
    count
}
