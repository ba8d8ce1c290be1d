//! Traces: sampled requests are sent as spans to a collector, by OTLP over HTTP with protobuf.
//!
//! A worker that has answered a request asks the [`Tracer`] whether it is sampled (`sampler`), and
//! puts its [`Span`] into a queue without a wait. One thread, `exporter`, makes messages of the queue
//! (`message`) and sends them (`sending`). At most [`SPANS_MAX`] spans are queued; what finds no place
//! is dropped and counted. So a collector that hangs costs neither memory nor latency (promise P8).
//!
//! A span has the operation, the outcome, the wait for the log and the number of tokens. It holds no
//! token, key, name, payload or path (promise P9), and the trace context of a client is 24 bytes of
//! its `traceparent` and nothing of its `tracestate`.
//!
//! Nothing here runs without `--otlp`, whatever the variables of OpenTelemetry say.

mod endpoint;
mod exporter;
mod message;
mod parent;
mod sampler;
mod sending;
mod settings;
mod shared;
mod span;

pub use endpoint::Endpoint;
pub use exporter::Exporter;
pub use parent::Parent;
pub use settings::{Settings, Unusable};
pub use shared::Stats;
pub use span::{Begun, Span};

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::clock::Clock;
use sampler::Sampler;
use shared::Shared;

/// Maximum spans that are queued for the exporter.
pub const SPANS_MAX: usize = 2048;
/// Range of `--otlp-max`, in spans a second.
pub const RATE_LIMITS: (u32, u32) = (1, 10_000);

/// Whose `traceparent` is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// That of a request with a valid key.
    #[default]
    Keys,
    /// That of any request: for a server behind a proxy that sets it.
    All,
}

/// Configuration of the traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The collector.
    pub endpoint: Endpoint,
    /// Whose `traceparent` is believed.
    pub trust: Trust,
    /// Maximum spans in each second; within [`RATE_LIMITS`].
    pub spans_a_second: u32,
}

/// Decides which requests are sampled, and queues their spans.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    trust: Trust,
    sampler: Sampler,
    shared: Arc<Shared>,
    queue: mpsc::Sender<Span>,
}

impl Tracer {
    /// Starts the exporter, with what the variables of OpenTelemetry say.
    ///
    /// # Errors
    /// The thread can't be started, or the system's root certificates can't be read.
    pub fn start(
        config: &Config,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Exporter), Unusable> {
        let (queue, inbox) = mpsc::channel(SPANS_MAX);
        let shared = Arc::new(Shared::new(config.spans_a_second));
        let sampler = settings.sampler;
        let exporter =
            Exporter::start(&config.endpoint, settings, inbox, shared.clone(), clock.clone())?;
        let inner = Inner { clock, trust: config.trust, sampler, shared, queue };
        Ok((Self(Arc::new(inner)), exporter))
    }

    /// The beginning of a request.
    pub(crate) fn begin(&self) -> Begun {
        let Inner { clock, .. } = &*self.0;
        Begun { wall_nanos: clock.wall_nanos(), monotonic: clock.monotonic() }
    }

    /// Time since an arbitrary start.
    pub(crate) fn monotonic(&self) -> std::time::Duration {
        self.0.clock.monotonic()
    }

    /// Whether a request that would be answered on a short way has to go the ordinary way, where its
    /// span is made. `headers` are those of the request, `has_key`: it presents a key, which may be
    /// wrong; `draw` gives a random number of 63 bits.
    pub(crate) fn chooses(
        &self,
        headers: &[u8],
        has_key: bool,
        draw: impl FnOnce() -> u64,
    ) -> Option<Chosen> {
        let is_believed = has_key || self.0.trust == Trust::All;
        let parent = if is_believed { Parent::find(headers) } else { None };
        if !self.0.sampler.takes(parent.as_ref(), draw) {
            return None;
        }
        let (shared, now) = (&self.0.shared, self.monotonic());
        // A place is taken only where nothing is left to be checked.
        let (chosen, has_place) = match parent {
            Some(_) => (Chosen::ByParent, shared.has_place(now)),
            None => (Chosen::ByDraw, shared.take_place(now)),
        };
        if !has_place {
            shared.dropped_over_limit(1);
        }
        has_place.then_some(chosen)
    }

    /// Frees the place of a chosen request that will be drawn again.
    pub(crate) fn give_back(&self) {
        self.0.shared.give_place_back(self.monotonic());
    }

    /// Queues the span of an answered request, if it is sampled. `drawn` is what a short way that has
    /// left it has decided.
    pub(crate) fn end(
        &self,
        mut span: Span,
        has_key: bool,
        drawn: Draw,
        draw: impl FnOnce() -> u64,
    ) {
        if !has_key && self.0.trust == Trust::Keys {
            span.parent = None;
        }
        let Inner { shared, queue, sampler, .. } = &*self.0;
        match drawn {
            Draw::Passed => return,
            Draw::Taken if span.parent.is_none() => {}
            Draw::Taken | Draw::Undecided => {
                if !sampler.takes(span.parent.as_ref(), draw) {
                    return;
                }
                if !shared.take_place(self.monotonic()) {
                    shared.dropped_over_limit(1);
                    return;
                }
            }
        }
        if queue.try_send(span).is_err() {
            shared.dropped_from_queue(1);
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.shared.stats()
    }
}

/// What a short way has decided about the next request, which it leaves to the ordinary way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Draw {
    /// Nothing.
    #[default]
    Undecided,
    /// It is sampled, and has its place among the spans of this second.
    Taken,
    /// It is not sampled. It goes the ordinary way for another reason, and is not drawn again.
    Passed,
}

/// Why a request of a short way goes the ordinary way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// The sampler has chosen it, and it has its place among the spans of this second.
    ByDraw,
    /// Its trace context asks for it, if its key is valid.
    ByParent,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.stats()).finish()
    }
}

#[cfg(test)]
mod tests;
