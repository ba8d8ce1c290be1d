//! The thread that sends spans: one message at a time, and one more try for it.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::endpoint::Endpoint;
use super::message;
use super::sending::{Failure, Sending};
use super::settings::{Settings, Unusable};
use super::shared::Shared;
use super::span::Span;
use crate::clock::Clock;

/// Maximum spans in a message.
const BATCH_MAX: usize = 512;
/// A message is sent this long after its first span.
const GATHER: Duration = Duration::from_secs(1);
/// Least time before the second try, and the longest that a collector may ask for.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Maximum time for what is queued when the server stops.
const STOP: Duration = Duration::from_secs(1);
/// The log has at most one line about failures in this time.
const COMPLAIN: Duration = Duration::from_secs(60);

/// The running thread.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<()>,
    stopped: std_mpsc::Receiver<()>,
}

impl Exporter {
    pub(super) fn start(
        endpoint: &Endpoint,
        settings: Settings,
        inbox: mpsc::Receiver<Span>,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unusable> {
        let sending = Sending::new(endpoint, &settings)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, is_stopping) = oneshot::channel();
        let (tell_stopped, stopped) = std_mpsc::channel();
        let (resource, endpoint) = (settings.resource, endpoint.clone());
        let (complaint, is_failing) = (None, false);
        let work =
            Work { inbox, shared, sending, endpoint, resource, complaint, is_failing, clock };
        std::thread::Builder::new().name("jeton-otlp".to_owned()).spawn(move || {
            runtime.block_on(work.run(is_stopping));
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
            // The server may have stopped without waiting.
            let _ = tell_stopped.send(());
        })?;
        Ok(Self { stop, stopped })
    }

    /// Sends what is queued, for 1 s at most.
    pub fn stop(self) {
        // An error means that the thread has ended.
        let _ = self.stop.send(());
        if self.stopped.recv_timeout(2 * STOP).is_err() {
            tracing::warn!("the thread that sends spans has not ended: it is left");
        }
    }
}

struct Work {
    inbox: mpsc::Receiver<Span>,
    shared: Arc<Shared>,
    sending: Sending,
    endpoint: Endpoint,
    resource: Vec<(String, String)>,
    /// When failures were last logged.
    complaint: Option<Duration>,
    /// Whether a failure was logged, and no success after it.
    is_failing: bool,
    clock: Arc<dyn Clock>,
}

impl Work {
    /// Sends until the server stops; what is left then gets one more message.
    async fn run(mut self, mut is_stopping: oneshot::Receiver<()>) {
        let (mut batch, mut sending) = (Vec::with_capacity(BATCH_MAX), None);
        loop {
            let is_over = tokio::select! {
                biased;
                _ = &mut is_stopping => true,
                () = self.gather(&mut batch) => false,
            };
            if is_over {
                break;
            }
            let message = Bytes::from(message::request(&self.resource, &batch));
            let sent = tokio::select! {
                biased;
                _ = &mut is_stopping => None,
                sent = self.send(message.clone()) => Some(sent),
            };
            let Some(sent) = sent else {
                sending = Some((batch.len() as u64, message));
                batch.clear();
                break;
            };
            self.settle(batch.len() as u64, sent);
            batch.clear();
        }
        self.finish(sending, batch).await;
    }

    /// Waits for a span, and then for others that follow it soon. Keeps all in `batch`, also where it
    /// is not awaited to its end.
    async fn gather(&mut self, batch: &mut Vec<Span>) {
        if batch.is_empty() && self.inbox.recv_many(batch, 1).await == 0 {
            // All workers have ended; the stop is near.
            std::future::pending::<()>().await;
        }
        let more = async {
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                if self.inbox.recv_many(batch, room).await == 0 {
                    break;
                }
            }
        };
        // At the end of this time the message is sent, however short it is.
        let _ = timeout(GATHER, more).await;
    }

    async fn send(&self, message: Bytes) -> Result<u64, Failure> {
        let failure = match self.sending.send(message.clone()).await {
            Ok(rejected) => return Ok(rejected),
            Err(failure) => failure,
        };
        let Some(after) = failure.retry_after().filter(|after| *after <= RETRY.1) else {
            return Err(failure);
        };
        sleep(after.max(RETRY.0)).await;
        self.sending.send(message).await
    }

    fn settle(&mut self, spans: u64, sent: Result<u64, Failure>) {
        match sent {
            Ok(rejected) => {
                let rejected = rejected.min(spans);
                self.shared.sent(spans - rejected);
                self.shared.dropped_refused(rejected);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("spans are sent to {} again", self.endpoint);
                }
                if rejected > 0 {
                    tracing::debug!(rejected, "the collector has refused some spans of a message");
                }
            }
            Err(failure) => {
                match &failure {
                    Failure::Status { .. } => self.shared.dropped_refused(spans),
                    _ => self.shared.dropped_unanswered(spans),
                }
                self.complain(spans, &failure);
            }
        }
    }

    fn complain(&mut self, spans: u64, failure: &Failure) {
        let now = self.clock.monotonic();
        if self.complaint.is_some_and(|since| now.saturating_sub(since) < COMPLAIN) {
            return;
        }
        (self.complaint, self.is_failing) = (Some(now), true);
        let hint = match self.endpoint.has_grpc_port() || failure.may_be_grpc() {
            true => {
                ". If this is the collector's port for gRPC, name its port for HTTP: usually 4318"
            }
            false => "",
        };
        tracing::warn!(spans, "spans were dropped: {}: {failure}{hint}", self.endpoint);
    }

    /// Sends again the message that was being sent, with the same spans, and what was gathered and is
    /// queued; for a second at most.
    async fn finish(mut self, sending: Option<(u64, Bytes)>, mut batch: Vec<Span>) {
        self.inbox.close();
        while let Ok(span) = self.inbox.try_recv() {
            batch.push(span);
        }
        let messages = batch.chunks(BATCH_MAX).map(|spans| {
            (spans.len() as u64, Bytes::from(message::request(&self.resource, spans)))
        });
        let messages: Vec<_> = sending.into_iter().chain(messages).collect();
        let mut left: u64 = messages.iter().map(|(spans, _)| spans).sum();
        let all = async {
            for (spans, message) in messages {
                let sent = self.sending.send(message).await;
                left -= spans;
                self.settle(spans, sent);
            }
        };
        if timeout(STOP, all).await.is_err() {
            self.shared.dropped_stopped(left);
            tracing::warn!(
                spans = left,
                "spans were dropped at the stop: {} is slow",
                self.endpoint
            );
        }
    }
}
