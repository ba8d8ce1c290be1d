//! The traces of one worker: decides which requests are sampled.

use std::cell::Cell;
use std::time::Duration;

use ahash::RandomState;

use crate::trace::{Begun, Chosen, Draw, Span, Tracer};

/// The traces of one worker.
pub(crate) struct Traced {
    tracer: Tracer,
    random: RandomState,
    draws: Cell<u64>,
}

impl Traced {
    pub(super) fn new(tracer: &Tracer) -> Self {
        Self { tracer: tracer.clone(), random: RandomState::new(), draws: Cell::new(0) }
    }

    /// As [`Tracer::chooses`].
    pub(crate) fn chooses(&self, headers: &[u8], has_key: bool) -> Option<Chosen> {
        self.tracer.chooses(headers, has_key, || self.draw())
    }

    /// The next request of a connection goes to the service and counts as not sampled. One behind it that
    /// was chosen already will be drawn again, so its place is freed.
    pub(crate) fn pass(&self, draw: &Cell<Draw>) {
        if draw.replace(Draw::Passed) == Draw::Taken {
            self.tracer.give_back();
        }
    }

    pub(super) fn begin(&self) -> Begun {
        self.tracer.begin()
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.tracer.monotonic()
    }

    /// As [`Tracer::end`].
    pub(super) fn end(&self, span: Span, has_key: bool, drawn: Draw) {
        self.tracer.end(span, has_key, drawn, || self.draw());
    }

    /// A random number of 63 bits.
    fn draw(&self) -> u64 {
        let number = self.draws.get();
        self.draws.set(number.wrapping_add(1));
        self.random.hash_one(number) >> 1
    }
}
