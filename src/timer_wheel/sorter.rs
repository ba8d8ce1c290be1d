//! Puts the timers of a slot under review into an order in which those of one entry are neighbours,
//! so that all but one of them end in one turn.
//!
//! An entry has several timers when its deadline was moved earlier, or when its digest was issued
//! again. Each asks the same question, and moves to the same slot; only there they can be found. A
//! slot may have millions of timers, so it is sorted in slices: a list is split by four bits of the
//! names at a time, until it is short enough to be sorted at once, or has one name only.

use crate::model::token::Prefix;

use super::chain::{Chain, TURN_LEN};

/// Lists that are sorted at once.
const SORTED_MAX: usize = 2_048;
const DIGIT_BITS: u32 = 4;
const DIGITS: usize = 1 << DIGIT_BITS;
/// After so many digits the names differ in their last one at most.
const DEPTH_MAX: u32 = u64::BITS / DIGIT_BITS - 1;

/// A number for a name that is evenly distributed even if the names are not; different for different
/// names.
fn spread(timer: &Prefix) -> u64 {
    timer.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The timers of a slot, in parts.
#[derive(Default)]
pub(super) struct Sorter {
    /// Lists that are not sorted yet, the next one last, with the number of digits that they have in
    /// common.
    lists: Vec<(List, u32)>,
    /// The list that is being split.
    split: Option<Split>,
    /// The next timers: sorted, or of one name.
    sorted: Vec<Prefix>,
    equal: Chain,
    len: usize,
}

struct Split {
    from: Chain,
    depth: u32,
    into: [List; DIGITS],
}

/// A list that knows whether all its timers have one name.
#[derive(Default)]
struct List {
    timers: Chain,
    first: Option<Prefix>,
    is_mixed: bool,
}

impl List {
    fn push(&mut self, timer: Prefix) {
        self.is_mixed |= *self.first.get_or_insert(timer) != timer;
        self.timers.push(timer);
    }
}

impl Sorter {
    /// Takes the timers of a slot, when there are none left of the one before.
    pub(super) fn begin(&mut self, timers: Chain) {
        debug_assert!(self.is_empty(), "one slot after the other");
        self.len = timers.len();
        self.lists.push((List { timers, first: None, is_mixed: true }, 0));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next timers, at most [`TURN_LEN`]. None may be ready yet: then some of them were
    /// moved, whose number is returned.
    pub(super) fn next_turn(&mut self, turn: &mut Vec<Prefix>) -> usize {
        loop {
            if !self.equal.is_empty() || !self.sorted.is_empty() {
                self.equal.pop_into(turn);
                let room = TURN_LEN.saturating_sub(turn.len());
                turn.extend(self.sorted.drain(self.sorted.len().saturating_sub(room)..).rev());
                self.len -= turn.len();
                return 0;
            }
            if let Some(split) = &mut self.split {
                let moved = split.step();
                if split.from.is_empty()
                    && let Some(Split { depth, into, .. }) = self.split.take()
                {
                    let lists = into.into_iter().filter(|list| !list.timers.is_empty());
                    self.lists.extend(lists.map(|list| (list, depth + 1)));
                }
                return moved;
            }
            let Some((list, depth)) = self.lists.pop() else { return 0 };
            self.take(list, depth);
        }
    }

    /// Makes a list ready, or begins to split it.
    fn take(&mut self, list: List, depth: u32) {
        let List { timers: mut from, is_mixed, .. } = list;
        if !is_mixed {
            self.equal = from;
        } else if from.len() <= SORTED_MAX || depth > DEPTH_MAX {
            let mut some = Vec::with_capacity(TURN_LEN);
            while !from.is_empty() {
                from.pop_into(&mut some);
                self.sorted.append(&mut some);
            }
            self.sorted.sort_unstable_by_key(spread);
        } else {
            self.split = Some(Split { from, depth, into: Default::default() });
        }
    }

    /// Takes all that is left, in no particular order.
    pub(super) fn take_all(&mut self) -> Chain {
        let Self { lists, split, sorted, equal, .. } = std::mem::take(self);
        let mut all = equal;
        sorted.into_iter().for_each(|timer| all.push(timer));
        lists.into_iter().for_each(|(list, _)| all.append(list.timers));
        if let Some(Split { from, into, .. }) = split {
            all.append(from);
            into.into_iter().for_each(|list| all.append(list.timers));
        }
        all
    }
}

impl Split {
    /// Moves some timers; returns how many.
    fn step(&mut self) -> usize {
        let mut some = Vec::with_capacity(TURN_LEN);
        self.from.pop_into(&mut some);
        let shift = u64::BITS - DIGIT_BITS * (self.depth + 1);
        for timer in &some {
            self.into[(spread(timer) >> shift) as usize % DIGITS].push(*timer);
        }
        some.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: impl Iterator<Item = u64>) -> Vec<Prefix> {
        let (mut chain, mut sorter) = (Chain::default(), Sorter::default());
        names.for_each(|name| chain.push(Prefix(name)));
        sorter.begin(chain);
        let (mut all, mut turn) = (Vec::new(), Vec::new());
        while !sorter.is_empty() {
            sorter.next_turn(&mut turn);
            assert!(turn.len() <= TURN_LEN);
            all.append(&mut turn);
        }
        all
    }

    #[test]
    fn p8_timers_of_one_name_become_neighbours() {
        const NAMES: u64 = 3_000;
        let name = |n: u64| (n % NAMES + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let all = sorted((0..NAMES * 20).map(name));
        assert_eq!(all.len() as u64, NAMES * 20);
        let changes = all.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
        assert_eq!(changes, NAMES - 1);
    }

    #[test]
    fn p8_numbers_that_differ_in_their_last_bits_end() {
        // The spread of these is 0 and 1.
        const INVERSE: u64 = 0xF1DE_83E1_9937_733D;
        assert_eq!([0, INVERSE].map(|name| spread(&Prefix(name))), [0, 1]);
        let all = sorted((0..10_000).map(|n| n % 2 * INVERSE));
        assert_eq!(all.len(), 10_000);
        assert_eq!(all.windows(2).filter(|pair| pair[0] != pair[1]).count(), 1);
    }

    #[test]
    fn nothing_is_lost_while_a_list_is_split() {
        let (mut chain, mut sorter) = (Chain::default(), Sorter::default());
        (0..50_000u64).for_each(|n| chain.push(Prefix(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        sorter.begin(chain);
        let mut turn = Vec::new();
        for _ in 0..1_500 {
            sorter.next_turn(&mut turn);
        }
        assert_eq!(turn.len() + sorter.take_all().len(), 50_000);
        assert!(sorter.is_empty());
    }
}
