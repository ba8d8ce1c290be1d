//! Changes that readers see together, though they are made one by one.
//!
//! A number counts them: it is odd while such changes are made. A reader of one entry waits until it
//! is even, and then looks. What it finds may be one of the next changes, but anyone who finds that has
//! also found the odd number, and its next read waits for the others. A reader of several entries
//! looks again if the number has changed meanwhile. While no such changes are made, both cost one
//! load of a word that is rarely written.

use std::sync::PoisonError;

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, fence, spin_loop};

/// How often a reader looks whether the changes are over before it sleeps: some ten microseconds. In a
/// model of all orders it sleeps at once.
const SPINS: u32 = if cfg!(jeton_loom) { 0 } else { 1_000 };
/// How often several entries are looked up before the next changes wait for that.
const LOOKS: u32 = if cfg!(jeton_loom) { 1 } else { 4 };

/// The moments at which changes that are made together take effect.
#[derive(Default)]
pub(super) struct Moments {
    /// How often such changes have begun or ended.
    number: AtomicU64,
    /// Locked while they are made.
    gate: Mutex<()>,
}

/// Changes that readers see together, until it is dropped.
pub struct Together<'s> {
    moments: &'s Moments,
    _locked: MutexGuard<'s, ()>,
}

impl Moments {
    /// Begins changes. One thread makes them all.
    pub(super) fn change_together(&self) -> Together<'_> {
        let locked = self.lock();
        self.number.store(self.number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // A reader that finds one of the changes finds this number too.
        fence(Ordering::Release);
        Together { moments: self, _locked: locked }
    }

    /// Returns when no changes are made, with the number.
    pub(super) fn settled(&self) -> u64 {
        let number = self.number.load(Ordering::Acquire);
        if number & 1 == 0 { number } else { self.wait() }
    }

    #[cold]
    fn wait(&self) -> u64 {
        for _ in 0..SPINS {
            let number = self.number.load(Ordering::Acquire);
            if number & 1 == 0 {
                return number;
            }
            spin_loop();
        }
        // The thread that makes them may have lost its core.
        drop(self.lock());
        // If the next ones have begun, they began after this read.
        self.number.load(Ordering::Acquire) & !1
    }

    /// Calls `look` until no changes came between its look-ups.
    pub(super) fn read_one(&self, mut look: impl FnMut()) {
        for _ in 0..LOOKS {
            let before = self.settled();
            look();
            fence(Ordering::Acquire);
            if self.number.load(Ordering::Relaxed) == before {
                return;
            }
        }
        // They come one after the other: the next ones wait.
        let _closed = self.lock();
        look();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Together<'_> {
    fn drop(&mut self) {
        let number = self.moments.number.load(Ordering::Relaxed);
        self.moments.number.store(number + 1, Ordering::Release);
    }
}

#[cfg(all(test, jeton_loom))]
mod orders;
