//! One call with its tries: what is tried again, when, and what an end means for a change.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::Full;
use tokio::time::{Instant, sleep, sleep_until};

use crate::core::{Core, Key, now, random};
use crate::error::Error;
use crate::nodes::{PROBES, Said};
use crate::ops::Operation;
use crate::pool::{Answer, End, Lost, Try};

const RETRIES_MAX: u32 = 2;
const RETRIED: [u16; 5] = [408, 429, 502, 503, 504];
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A result, and whether an earlier answer to the change was lost.
pub(crate) struct Performed<T> {
    pub(crate) value: T,
    pub(crate) is_lost: bool,
}

impl Core {
    /// Performs an operation, and reads its answer.
    pub(crate) async fn perform<T>(
        &self,
        operation: &Operation,
        ends_at: Instant,
        read: impl Fn(&Bytes) -> Option<T>,
    ) -> Result<Performed<T>, Error> {
        if self.pool.is_closed() {
            return Err(Error::Closed);
        }
        self.add_call();
        let mut call = Call { core: self, operation, ends_at, doubt: None };
        let answer = call.answer().await?;
        match read(&answer.body) {
            Some(value) => Ok(Performed { value, is_lost: call.doubt.is_some() }),
            None => {
                let error = Error::UnexpectedAnswer(operation.name);
                call.note(operation.is_change, &error);
                Err(call.failed(error))
            }
        }
    }
}

/// The state of a call between its tries.
struct Call<'a> {
    core: &'a Core,
    operation: &'a Operation,
    ends_at: Instant,
    /// The last error after which the change may have happened.
    doubt: Option<Error>,
}

/// A try's end, and whether it was the operation that was sent.
struct Tried {
    end: End,
    is_own: bool,
}

impl Call<'_> {
    /// The successful answer.
    async fn answer(&mut self) -> Result<Answer, Error> {
        let (mut retries, mut has_read_key) = (0, false);
        loop {
            let at = self.core.nodes.current();
            let key = self.core.key();
            let tried = match self.attempt(at, &key).await {
                Ok(tried) => tried,
                Err(error) => return Err(self.failed(error)),
            };
            let Tried { end, is_own } = tried;
            let end = match end {
                End::Answer(answer) if is_own => {
                    self.note_position(&answer);
                    if answer.is_success() {
                        return Ok(answer);
                    }
                    End::Answer(answer)
                }
                end => end,
            };
            let error = self.error(&end, is_own);
            if error.status() == Some(401) && !has_read_key {
                has_read_key = true;
                if self.finds_new_key(key.version).await {
                    continue;
                }
            }
            if is_of_node(&end, &error) {
                self.core.nodes.leave(at);
            }
            let wait = self.wait(&error, &end, retries);
            let Some(wait) = wait.filter(|_| self.core.take_retry()) else {
                return Err(self.failed(error));
            };
            retries += 1;
            self.rest(wait).await?;
        }
    }

    /// Reads the key file again, for as long as the call lasts. True for a closed client too: the next try
    /// says so.
    async fn finds_new_key(&self, refused: u64) -> bool {
        tokio::select! {
            is_new = self.core.has_new_key(refused) => is_new,
            () = sleep_until(self.ends_at) => false,
            () = self.core.pool.when_closed() => true,
        }
    }

    /// Of every answer to a change: a 404 or 409 is one of a position too.
    fn note_position(&self, answer: &Answer) {
        if self.operation.is_change
            && let Some(position) = answer.header("jeton-position")
        {
            self.core.note_position(position);
        }
    }

    async fn rest(&self, wait: Duration) -> Result<(), Error> {
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = self.core.pool.when_closed() => Err(self.failed(Error::Closed)),
        }
    }

    async fn attempt(&self, at: usize, key: &Key) -> Result<Tried, Error> {
        if let Some(end) = self.meet(at, key).await? {
            return Ok(Tried { end, is_own: false });
        }
        let Operation { path, body, headers, .. } = self.operation;
        let end = self.send(at, path, body.clone(), headers, key, self.ends_at).await?;
        Ok(Tried { end, is_own: true })
    }

    /// Finds out whether the servers are nodes of one cluster, before one is used. Returns the end of
    /// the try if the one at `at` has not answered.
    async fn meet(&self, at: usize, key: &Key) -> Result<Option<End>, Error> {
        let nodes = &self.core.nodes;
        while !nodes.has_asked_all() || !nodes.is_known(at) {
            let mistakes = nodes.mistakes();
            if !nodes.is_known(at)
                && let Some(end) = self.probe(at, key, self.ends_at).await?
            {
                return Ok(Some(end));
            }
            let others = nodes.others(at);
            // All of them together leave half of the time for the call itself.
            let left = self.ends_at.saturating_duration_since(now());
            let share = left / u32::try_from(2 * others.len()).unwrap_or(u32::MAX).max(1);
            for other in others {
                // One that is down is asked again before it is used.
                let end = self.probe(other, key, now() + share).await?;
                if let Some(End::Closed { .. }) = end {
                    return Err(Error::Closed);
                }
            }
            if nodes.end(mistakes) {
                break;
            }
        }
        Ok(None)
    }

    /// Asks a server for its cluster: only a node knows the header. Returns the end of the try if it
    /// failed.
    async fn probe(&self, at: usize, key: &Key, ends_at: Instant) -> Result<Option<End>, Error> {
        let headers = [("jeton-read", "probe".to_owned())];
        for (path, body) in PROBES {
            let body = Bytes::from_static(body.as_bytes());
            let answer = match self.send(at, path, body, &headers, key, ends_at).await? {
                End::Answer(answer) => answer,
                end => return Ok(Some(end)),
            };
            let problem = answer.problem();
            let cluster = answer.header("jeton-cluster");
            match self.core.nodes.judge(at, answer.status, problem.as_ref(), cluster)? {
                Said::Node => return Ok(None),
                Said::NoScope => {}
                Said::Nothing => return Ok(Some(End::Answer(answer))),
            }
        }
        // The key may do nothing, which the operation itself will say.
        Ok(None)
    }

    async fn send(
        &self,
        at: usize,
        path: &'static str,
        body: Bytes,
        headers: &[(&'static str, String)],
        key: &Key,
        ends_at: Instant,
    ) -> Result<End, Error> {
        let origin = &self.core.config.origins[at];
        let mut request = Request::post(path)
            .header(HOST, &origin.host)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT_ENCODING, "identity");
        if let Some(value) = &key.header {
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|_| Error::Malformed("a header cannot carry this value"))?;
        let bounds = Try { timeout: self.core.config.try_timeout, ends_at };
        Ok(self.core.pool.send(origin, request, bounds).await)
    }

    /// The error of a try, noting whether an answer to the change was lost.
    fn error(&mut self, end: &End, is_own: bool) -> Error {
        let (error, may_be_done) = match end {
            End::Answer(answer) => {
                let error = failure(answer);
                let may_be_done = error.is_perhaps_done();
                (error, may_be_done)
            }
            End::Closed { is_sent } => (Error::Closed, *is_sent),
            End::Lost(lost) => {
                let error = match lost {
                    Lost::TooLarge => Error::AnswerTooLarge,
                    _ if now() >= self.ends_at => Error::Deadline,
                    Lost::KeptDied => Error::NoAnswer("the connection ended before an answer"),
                    Lost::NoAnswer => {
                        Error::NoAnswer("the connection ended before the answer was complete")
                    }
                    Lost::NotHttp => Error::NoAnswer("what answered does not speak HTTP/1.1"),
                    Lost::Timeout => Error::NoAnswer("no answer came in time"),
                };
                (error, true)
            }
            End::NotSent { .. } if now() >= self.ends_at => (Error::Deadline, false),
            End::NotSent { why, .. } => (Error::NoConnection(Arc::clone(why)), false),
        };
        self.note(self.operation.is_change && is_own && may_be_done, &error);
        error
    }

    /// Notes after which error the change may have happened.
    fn note(&mut self, may_be_done: bool, error: &Error) {
        if may_be_done {
            self.doubt = Some(error.clone());
        }
    }

    /// Time until the next try; `None` if there is none.
    fn wait(&self, error: &Error, end: &End, retries: u32) -> Option<Duration> {
        let is_retried = match error {
            Error::NoConnection(_) | Error::NoAnswer(_) => true,
            error => error.status().is_some_and(|status| RETRIED.contains(&status)),
        };
        let may_be_sent = self.operation.is_repeatable || self.doubt.is_none();
        if !is_retried || !may_be_sent || retries >= RETRIES_MAX {
            return None;
        }
        let had_died =
            matches!(end, End::Lost(Lost::KeptDied) | End::NotSent { had_died: true, .. });
        let backoff = (BACKOFF_FIRST * 2_u32.pow(retries)).min(BACKOFF_MAX);
        let wait = if had_died { Duration::ZERO } else { jitter(backoff) };
        let wait = wait.max(error.retry_after().unwrap_or_default());
        (wait < self.ends_at.saturating_duration_since(now())).then_some(wait)
    }

    /// The error, or that the outcome is unknown.
    fn failed(&self, error: Error) -> Error {
        let Some(doubt) = &self.doubt else { return error };
        let Operation { name, key, .. } = self.operation;
        // A later refusal says only that it changed nothing itself.
        let cause = if error.status().is_some() { doubt.clone() } else { error };
        Error::unknown(name, key.clone(), cause)
    }
}

/// Whether another node may do better: the next call asks that one, whatever becomes of this call.
fn is_of_node(end: &End, error: &Error) -> bool {
    match (end, error.status()) {
        (_, Some(status)) => RETRIED.contains(&status),
        (End::NotSent { .. }, None) => true,
        (End::Lost(lost), None) => *lost != Lost::TooLarge,
        (End::Answer(_) | End::Closed { .. }, None) => false,
    }
}

/// A random part of a time.
fn jitter(time: Duration) -> Duration {
    // The upper 32 bits, of which an `f64` has each.
    let part = u32::try_from(random() >> 32).unwrap_or(u32::MAX);
    time.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// The error of an answer that is no success.
fn failure(answer: &Answer) -> Error {
    let gateway = || Error::Gateway { status: answer.status, retry_after: answer.retry_after() };
    answer.problem().map_or_else(gateway, Error::Problem)
}
