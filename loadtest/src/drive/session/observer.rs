//! Observers of a run: the events that each phase sends them, and their interval.

use std::time::Duration;

use hdrhistogram::Histogram;

/// How far a phase goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    /// For a time.
    Time(Duration),
    /// For a number of requests.
    Requests(u64),
    /// Until something else ends it.
    Open,
}

/// How a run goes, while it does.
pub trait Observer {
    /// A phase begins.
    fn phase(&mut self, name: &str, length: Length);
    /// Several times a second.
    fn tick(&mut self, news: &News);
}

/// Progress, for an [`Observer`].
pub struct News {
    /// Since the phase began.
    pub elapsed: Duration,
    /// Answers since the phase began.
    pub answers: u64,
    /// Errors since the phase began.
    pub errors: u64,
    /// Nanoseconds, of the answers since the last news.
    pub recent_ns: Histogram<u64>,
}

/// Says nothing.
pub struct Silent;

impl Observer for Silent {
    fn phase(&mut self, _name: &str, _length: Length) {}
    fn tick(&mut self, _news: &News) {}
}
