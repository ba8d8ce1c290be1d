//! Streams of events for the page: so many, and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum streams at once.
pub(super) const STREAMS_MAX: usize = 8;

/// Streams that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<AtomicUsize>);

/// One of them.
pub(super) struct Place(Streams);

impl Streams {
    /// A place for one more; `None` where there are too many.
    pub(super) fn take(&self) -> Option<Place> {
        let more = |running| (running < STREAMS_MAX).then_some(running + 1);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_a_ninth_stream_has_no_place_until_another_ends() {
        let streams = Streams::default();
        let mut places: Vec<_> = (0..STREAMS_MAX).filter_map(|_| streams.take()).collect();
        assert!(places.len() == STREAMS_MAX && streams.take().is_none());
        places.pop();
        assert!(streams.take().is_some());
    }
}
