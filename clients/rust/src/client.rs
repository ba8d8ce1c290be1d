//! The client.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::answers;
use crate::batch::Shared;
use crate::call::Performed;
use crate::config::{Builder, Config};
use crate::core::{Core, now};
use crate::error::{Error, IdempotencyKey};
use crate::issue::{Issue, Issued, Ttl};
use crate::ops::{self, Operation};
use crate::types::{Payload, Read, Status, Target};

/// A client of a jeton server, or of the nodes of one cluster. Clones share everything.
///
/// Its `Debug` shows the addresses of its servers, and the one that it asks.
///
/// Every call ends within the deadline of the client, and returns [`Error`]. A dropped call ends its
/// request; others who share that request are not disturbed.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Core { config, nodes, .. } = &self.shared.core;
        let servers: Vec<_> =
            config.origins.iter().map(|origin| origin.address.to_string()).collect();
        let asks = &servers[nodes.current()];
        f.debug_struct("Client").field("servers", &servers).field("asks", asks).finish()
    }
}

impl Client {
    /// A client of the server at `url`: `http://HOST:PORT`, `https://HOST:PORT`, or on Unix `unix:PATH`, a
    /// socket.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the URL is none.
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder([url.into()]).build()
    }

    /// Settings of a client. Several URLs are nodes of one cluster: one is asked until it fails, then the
    /// next one.
    pub fn builder(urls: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        Builder::new(urls.into_iter().map(Into::into).collect())
    }

    pub(crate) fn of(config: Config) -> Result<Self, Error> {
        Ok(Self { shared: Arc::new(Shared::new(Core::new(config)?)) })
    }

    /// Closes all connections. Calls that are under way end with [`Error::Closed`], changes that were
    /// sent with [`Error::OutcomeUnknown`].
    pub fn close(&self) {
        self.shared.close();
    }

    /// In a cluster, where the last change of this client can be read: for [`Read::AtLeast`].
    #[must_use]
    pub fn position(&self) -> Option<String> {
        self.shared.core.position()
    }

    /// Issues a token.
    ///
    /// # Errors
    /// 409 if the reference or key was issued with other content, or its token was consumed.
    pub async fn issue(&self, issue: &Issue) -> Result<Issued, Error> {
        self.perform(ops::issue(issue)?, answers::issued).await
    }

    /// Issues many tokens, each by itself: a token or the error of each, in their order. The client makes
    /// an Idempotency-Key for all of them; with references there is none.
    ///
    /// # Errors
    /// Those of the whole batch.
    pub async fn issue_batch(&self, items: &[Issue]) -> Result<Vec<Result<Issued, Error>>, Error> {
        self.issue_all(items, None).await
    }

    /// [`Self::issue_batch`] with the Idempotency-Key of the caller.
    ///
    /// # Errors
    /// Those of the whole batch.
    pub async fn issue_batch_with(
        &self,
        items: &[Issue],
        key: &IdempotencyKey,
    ) -> Result<Vec<Result<Issued, Error>>, Error> {
        self.issue_all(items, Some(key)).await
    }

    /// Issues a token under a name that the caller chose, 1 to 512 bytes, in the place of what is there.
    /// Returns its deadline. Needs the scope `import`.
    ///
    /// It is not sent again after a lost answer, because what was consumed meanwhile would live again:
    /// the key of its [`Error::OutcomeUnknown`] is `None`, and [`Self::status`] shows what is there now.
    ///
    /// # Errors
    /// 409 if the token that is there was issued by a reference or key.
    pub async fn put(&self, name: impl Into<String>, issue: &Issue) -> Result<SystemTime, Error> {
        self.perform(ops::put(name.into(), issue, false)?, answers::deadline).await
    }

    /// [`Self::put`], but only where no token is.
    ///
    /// # Errors
    /// 412 if there is one.
    pub async fn put_if_absent(
        &self,
        name: impl Into<String>,
        issue: &Issue,
    ) -> Result<SystemTime, Error> {
        self.perform(ops::put(name.into(), issue, true)?, answers::deadline).await
    }

    /// The payload of a token; takes no use.
    ///
    /// # Errors
    /// [`Error::is_not_found`], also if the token can only be consumed.
    pub async fn resolve(&self, target: impl Into<Target>) -> Result<Payload, Error> {
        self.resolve_at(target, Read::Local).await
    }

    /// [`Self::resolve`] with a read level.
    ///
    /// # Errors
    /// [`Error::is_not_found`].
    pub async fn resolve_at(
        &self,
        target: impl Into<Target>,
        read: Read,
    ) -> Result<Payload, Error> {
        let target = target.into();
        let Core { config, pool, .. } = &self.shared.core;
        if !config.coalesce {
            return found(self.resolve_all(&[target], read).await?);
        }
        read.header()?;
        if pool.is_closed() {
            return Err(Error::Closed);
        }
        let payload = self.shared.resolve(&target, read, now() + config.deadline).await?;
        payload.ok_or_else(Error::not_found)
    }

    /// The payloads of many tokens in their order, `None` for one that is not found.
    ///
    /// # Errors
    /// Those of the whole list.
    pub async fn resolve_many(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
    ) -> Result<Vec<Option<Payload>>, Error> {
        self.resolve_all(&all(targets), Read::Local).await
    }

    /// [`Self::resolve_many`] with a read level.
    ///
    /// # Errors
    /// Those of the whole list.
    pub async fn resolve_many_at(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
        read: Read,
    ) -> Result<Vec<Option<Payload>>, Error> {
        self.resolve_all(&all(targets), read).await
    }

    /// Takes one use of a token, and returns its payload. The client makes an Idempotency-Key for the
    /// tries of this call.
    ///
    /// # Errors
    /// [`Error::is_not_found`]. With the key of [`Error::OutcomeUnknown`], [`Self::consume_with`] is safe.
    pub async fn consume(&self, target: impl Into<Target>) -> Result<Payload, Error> {
        found(self.consume_all(&[target.into()], None).await?)
    }

    /// [`Self::consume`] with the Idempotency-Key of the caller, or that of an unknown outcome: what the
    /// first call with this key has consumed is returned again, and no other use is taken.
    ///
    /// # Errors
    /// As [`Self::consume`]; 409 if the key was used for another token.
    pub async fn consume_with(
        &self,
        target: impl Into<Target>,
        key: &IdempotencyKey,
    ) -> Result<Payload, Error> {
        found(self.consume_all(&[target.into()], Some(key)).await?)
    }

    /// Takes one use of each token, each by itself: no transaction, and never coalesced. `None` for one
    /// that is not found.
    ///
    /// # Errors
    /// Those of the whole list. [`Error::OutcomeUnknown`] also holds the payloads that are known.
    pub async fn consume_many(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
    ) -> Result<Vec<Option<Payload>>, Error> {
        self.consume_all(&all(targets), None).await
    }

    /// [`Self::consume_many`] with the Idempotency-Key of the caller.
    ///
    /// # Errors
    /// As [`Self::consume_many`].
    pub async fn consume_many_with(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
        key: &IdempotencyKey,
    ) -> Result<Vec<Option<Payload>>, Error> {
        self.consume_all(&all(targets), Some(key)).await
    }

    /// Deadline, uses left and size of each token; `None` for one that is not found.
    ///
    /// # Errors
    /// Those of the whole list.
    pub async fn status(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
    ) -> Result<Vec<Option<Status>>, Error> {
        self.status_at(targets, Read::Local).await
    }

    /// [`Self::status`] with a read level.
    ///
    /// # Errors
    /// Those of the whole list.
    pub async fn status_at(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
        read: Read,
    ) -> Result<Vec<Option<Status>>, Error> {
        let targets = all(targets);
        let read_answer = |body: &Bytes| answers::statuses(body, targets.len());
        self.perform(ops::status(&targets, &read)?, read_answer).await
    }

    /// Moves the deadline of each token to now plus `ttl`, never earlier than it is. Returns the new
    /// deadlines, `None` for a token that is not found.
    ///
    /// # Errors
    /// Those of the whole list.
    pub async fn extend(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
        ttl: impl Into<Ttl>,
    ) -> Result<Vec<Option<SystemTime>>, Error> {
        let targets = all(targets);
        let read = |body: &Bytes| answers::deadlines(body, targets.len());
        self.perform(ops::extend(&targets, &ttl.into())?, read).await
    }

    /// Ends each token, known or unknown.
    ///
    /// # Errors
    /// Those of the whole list.
    pub async fn revoke(
        &self,
        targets: impl IntoIterator<Item = impl Into<Target>>,
    ) -> Result<(), Error> {
        self.perform(ops::revoke(&all(targets))?, answers::nothing).await
    }

    async fn issue_all(
        &self,
        items: &[Issue],
        key: Option<&IdempotencyKey>,
    ) -> Result<Vec<Result<Issued, Error>>, Error> {
        let read = |body: &Bytes| answers::issued_or_refused(body, items.len());
        let operation = ops::issue_batch(items, key)?;
        let (name, key) = (operation.name, operation.key.clone());
        let mut results = self.perform(operation, read).await?;
        let is_doubtful =
            |it: &Result<Issued, Error>| it.as_ref().is_err_and(Error::is_perhaps_done);
        match results.iter().position(is_doubtful).map(|at| results.swap_remove(at)) {
            Some(Err(error)) => Err(Error::unknown(name, key, error)),
            _ => Ok(results),
        }
    }

    async fn resolve_all(
        &self,
        targets: &[Target],
        read: Read,
    ) -> Result<Vec<Option<Payload>>, Error> {
        let items = ops::items(targets)?;
        let config = &self.shared.core.config;
        if !config.coalesce || items.is_empty() {
            let read_answer = |body: &Bytes| answers::payloads(body, items.len());
            return self.perform(ops::resolve(&items, &read)?, read_answer).await;
        }
        read.header()?;
        if self.shared.core.pool.is_closed() {
            return Err(Error::Closed);
        }
        self.shared.resolve_many(targets, items, &read, now() + config.deadline).await
    }

    async fn consume_all(
        &self,
        targets: &[Target],
        key: Option<&IdempotencyKey>,
    ) -> Result<Vec<Option<Payload>>, Error> {
        let operation = self.traced(ops::consume(targets, key)?);
        let read = |body: &Bytes| answers::payloads(body, targets.len());
        let core = &self.shared.core;
        let Performed { value: payloads, is_lost } =
            core.perform(&operation, now() + core.config.deadline, read).await?;
        // A later try did not find it, so nobody knows whether the first one has consumed it.
        if is_lost && payloads.iter().any(Option::is_none) {
            let Operation { name: operation, key, .. } = operation;
            let payloads = Some(payloads);
            return Err(Error::OutcomeUnknown { operation, key, payloads, cause: None });
        }
        Ok(payloads)
    }

    async fn perform<T>(
        &self,
        operation: Operation,
        read: impl Fn(&Bytes) -> Option<T>,
    ) -> Result<T, Error> {
        let core = &self.shared.core;
        let operation = self.traced(operation);
        Ok(core.perform(&operation, now() + core.config.deadline, read).await?.value)
    }

    /// The operation with the trace context of the caller.
    fn traced(&self, mut operation: Operation) -> Operation {
        if let Some(current) = &self.shared.core.config.traceparent
            && let Some(context) = current()
        {
            operation.headers.push(("traceparent", context));
        }
        operation
    }
}

fn all(targets: impl IntoIterator<Item = impl Into<Target>>) -> Vec<Target> {
    targets.into_iter().map(Into::into).collect()
}

/// The payload of the only target.
fn found(payloads: Vec<Option<Payload>>) -> Result<Payload, Error> {
    payloads.into_iter().flatten().next().ok_or_else(Error::not_found)
}
