//! The words of a command and who sent it, as the readers of commands see them.

use std::time::Duration;

use bytes::Bytes;

use super::expiry::{Deadline, Expiry};
use super::mistake::Mistake;
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::principal::demand;
use crate::service::refusal::Refusal;

/// Maximum length of a key, in bytes.
pub(in crate::resp) use crate::model::token::NAME_LEN_MAX as KEY_LEN_MAX;

/// A command to be understood.
pub(super) struct Asked<'a> {
    pub(super) context: &'a Context<'a>,
    /// Its name, in upper case.
    pub(super) name: &'static str,
    /// The words after the name.
    pub(super) words: &'a [Bytes],
    /// Whether it is within a transaction.
    pub(super) is_queued: bool,
}

impl<'a> Asked<'a> {
    /// The word at `place`, which the arity of the command guarantees.
    pub(super) fn word(&self, place: usize) -> &'a [u8] {
        self.words.get(place).map_or(&[], |word| &word[..])
    }

    /// The digest of the key at `place`.
    pub(super) fn key(&self, place: usize) -> Result<Digest, Mistake> {
        digest(self.context, self.word(place))
    }

    /// The digests of all words.
    pub(super) fn keys(&self) -> Result<Vec<Digest>, Mistake> {
        self.keys_of(self.words)
    }

    pub(super) fn keys_of(&self, words: &[Bytes]) -> Result<Vec<Digest>, Mistake> {
        self.check_count(words.len())?;
        words.iter().map(|word| digest(self.context, word)).collect()
    }

    /// Refuses more keys in one command than a list may have.
    pub(super) fn check_count(&self, count: usize) -> Result<(), Mistake> {
        let max = self.context.service.limits.max_batch;
        match count > max {
            true => Err(Mistake::text(format!("at most {max} keys in one command (--max-batch)"))),
            false => Ok(()),
        }
    }

    /// A value, within its limit.
    pub(super) fn value(&self, place: usize) -> Result<Bytes, Mistake> {
        self.value_of(self.words.get(place).cloned().unwrap_or_default())
    }

    pub(super) fn value_of(&self, value: Bytes) -> Result<Bytes, Mistake> {
        let max = self.context.service.limits.max_payload;
        match value.len() > max {
            true => Err(Mistake::text(format!("a value has at most {max} bytes (--max-payload)"))),
            false => Ok(value),
        }
    }

    /// Current time, as it decides what has expired.
    pub(super) fn now(&self) -> UnixMillis {
        self.context.service.token_time()
    }

    /// Maximum lifetime of a token.
    pub(super) fn ttl_max(&self) -> Duration {
        self.context.service.ttl_max(&self.context.access.digester)
    }

    /// Lifetime of a token that has no other.
    pub(super) fn default_ttl(&self) -> Duration {
        self.context.service.limits.default_ttl.min(self.ttl_max())
    }

    /// The deadline of an expire time.
    pub(super) fn deadline(&self, expiry: &Expiry<'_>) -> Result<Deadline, Mistake> {
        expiry.deadline(self.name, self.now(), self.ttl_max())
    }

    /// The lifetime of an expire time that must be in the future.
    pub(super) fn ttl(&self, expiry: &Expiry<'_>) -> Result<Duration, Mistake> {
        match self.deadline(expiry)? {
            Deadline::In { ttl, .. } => Ok(ttl),
            Deadline::Passed | Deadline::TooFar => Err(Mistake::ExpireTime(self.name)),
        }
    }

    /// Whether references may be looked up at the moment.
    pub(super) fn may_refer(&self) -> Result<(), Refusal> {
        demand(self.context.access, Scope::Reference)?;
        self.context.look_by_reference()
    }
}

fn digest(context: &Context<'_>, key: &[u8]) -> Result<Digest, Mistake> {
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        return Err(Mistake::text(format!("a key has 1 to {KEY_LEN_MAX} bytes")));
    }
    Ok(context.access.digester.digest_of_key(key))
}
