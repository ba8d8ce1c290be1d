//! The tokens of a list, and the count of those that were not found.

use crate::model::token::Digest;
use crate::service::networks::Misses;

/// The tokens of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Digests, in the order of the request.
    pub(crate) digests: Vec<Digest>,
    /// Positions of the tokens that are named by a reference, in ascending order.
    pub(crate) by_reference: Vec<usize>,
}

/// Counts the misses of a list.
pub(crate) struct MissCount<'a> {
    by_reference: &'a [usize],
    place: usize,
    pub(crate) misses: Misses,
}

impl<'a> MissCount<'a> {
    pub(crate) fn new(by_reference: &'a [usize]) -> Self {
        MissCount { by_reference, place: 0, misses: Misses::default() }
    }

    /// Records whether the next token was found. Returns its position.
    pub(crate) fn next(&mut self, is_found: bool) -> usize {
        let place = self.place;
        self.place += 1;
        if !is_found {
            self.misses.all += 1;
            self.misses.by_reference +=
                usize::from(self.by_reference.binary_search(&place).is_ok());
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_misses_by_reference_are_counted_apart() {
        let mut count = MissCount::new(&[1, 3]);
        let places: Vec<_> = [true, false, false, true].map(|found| count.next(found)).into();
        assert_eq!(places, [0, 1, 2, 3]);
        assert_eq!(count.misses, Misses { all: 2, by_reference: 1 });
    }
}
