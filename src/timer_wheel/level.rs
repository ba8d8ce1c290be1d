//! One level of the wheel: its slots, a bitmap of those with timers, and the timers being moved
//! ahead of time.

use super::chain::{Chain, Queue};

/// Length of a tick in milliseconds. A timer is due within two ticks of its deadline, if the
/// budget allows.
pub const TICK_MS: u64 = 1 << TICK_SHIFT;

pub(super) const TICK_SHIFT: u32 = 4;
/// Logarithm to base 2 of a slot's length in slots of the finer level.
pub(super) const SLOT_BITS: u32 = 6;
pub(super) const SLOTS: u64 = 2 << SLOT_BITS;
pub(super) const LEVELS: usize = 6;
/// The level whose slots are the spans in which coming timers are counted.
pub(super) const SPAN_LEVEL: usize = 2;
/// Length of such a span in milliseconds: about a minute.
pub const COMING_MS: u64 = 1 << (TICK_SHIFT + SPAN_LEVEL as u32 * SLOT_BITS);

// A slot bitmap has one bit per slot.
const _: () = assert!(SLOTS == u128::BITS as u64);
// The range of the wheel exceeds the maximum lifetime of a token: 69 years against ten.
const _: () =
    assert!((SLOTS - 1) << (SLOT_BITS * (LEVELS as u32 - 1) + TICK_SHIFT) > 3_650 * 24 * 3_600_000);

pub(super) struct Level {
    pub(super) slots: [Chain; SLOTS as usize],
    pub(super) occupied: u128,
    /// Timers of the next slot, which are being moved to finer levels. Unused in the finest level.
    pub(super) ahead: Queue,
    /// The number of these that should have been moved by now.
    pub(super) owed: usize,
}

impl Default for Level {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| Chain::default()),
            occupied: 0,
            ahead: Queue::default(),
            owed: 0,
        }
    }
}

impl Level {
    /// Takes the timers of the slot with this number, counted from time 0.
    pub(super) fn take(&mut self, number: u64) -> Chain {
        let slot = number % SLOTS;
        self.occupied &= !(1 << slot);
        std::mem::take(&mut self.slots[slot as usize])
    }

    /// Numbers of the occupied slots after `number`, the next one first.
    pub(super) fn occupied_after(&self, number: u64) -> impl Iterator<Item = u64> + use<> {
        let first = number + 1;
        let mut ahead = self.occupied.rotate_right((first % SLOTS) as u32);
        std::iter::from_fn(move || {
            let distance = (ahead != 0).then(|| ahead.trailing_zeros())?;
            ahead &= ahead - 1;
            Some(first + u64::from(distance))
        })
    }
}
