//! Places for connections: a number over all workers, whatever protocol they speak.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places. Clones count together.
#[derive(Clone, Debug)]
pub struct Places {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// The place of one connection, until dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Places {
    /// So many places, all free.
    #[must_use]
    pub(crate) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// A place; `None` where all are taken.
    pub(crate) fn take(&self) -> Option<Place> {
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.max {
            return Some(Place(self.taken.clone()));
        }
        self.taken.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Connections open at the moment.
    #[must_use]
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_there_are_no_more_connections_than_places() {
        let places = Places::new(2);
        let first = places.take();
        let second = places.clone().take();
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        assert_eq!(places.taken(), 2);
        drop(first);
        assert!(places.take().is_some());
    }
}
