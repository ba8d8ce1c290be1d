//! What the calls of a client share: settings, connections, nodes, key, position, and the budget of
//! retries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use tokio::time::Instant;

use crate::config::{Config, bearer};
use crate::error::Error;
use crate::nodes::Nodes;
use crate::pool::Pool;

/// Retries are at most a fifth of the calls: in fifths of a retry.
const BUDGET_FIRST: u32 = 50;
const BUDGET_RETRY: u32 = 5;
const BUDGET_MAX: u32 = 5_000;

/// The lock, whatever became of another holder: no code panics while it holds one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, as the timers of tokio count.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A random number, not for secrets: without a system call, which costs more than the rest of a resolve.
pub(crate) fn random() -> u64 {
    // Each thread draws random keys once, and every `RandomState` that it makes has other ones.
    RandomState::new().build_hasher().finish()
}

/// The API key as a header, with the number of its version.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) version: u64,
    pub(crate) header: Option<HeaderValue>,
}

/// What the calls of a client share.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) pool: Pool,
    pub(crate) nodes: Nodes,
    budget: Mutex<u32>,
    key: Mutex<Key>,
    /// Held while the key file is read: once for all calls that ask meanwhile.
    reading: Arc<tokio::sync::Mutex<()>>,
    position: Mutex<Option<((u64, u64), String)>>,
}

impl Core {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let header = match &config.key_file {
            None => config.key.clone(),
            Some(file) => Some(read_key(file)?),
        };
        let count = config.origins.len();
        // The remainder is less than the number of URLs, so it fits in a `usize`.
        let first = usize::try_from(random() % count as u64).unwrap_or_default();
        let config = Arc::new(config);
        Ok(Self {
            pool: Pool::new(config.clone()),
            config,
            nodes: Nodes::new(count, first),
            budget: Mutex::new(BUDGET_FIRST),
            key: Mutex::new(Key { version: 0, header }),
            reading: Arc::default(),
            position: Mutex::new(None),
        })
    }

    pub(crate) fn key(&self) -> Key {
        lock(&self.key).clone()
    }

    pub(crate) fn key_version(&self) -> u64 {
        lock(&self.key).version
    }

    /// After a 401 for the key of version `refused`: whether there is another one now.
    pub(crate) async fn has_new_key(&self, refused: u64) -> bool {
        let Some(file) = self.config.key_file.clone() else { return false };
        let is_reading = self.reading.clone().lock_owned().await;
        if self.key_version() == refused {
            // The read goes on if the call ends.
            let read = move || (read_key(&file), is_reading).0;
            let read = tokio::task::spawn_blocking(read).await;
            let mut key = lock(&self.key);
            // Unreadable: somebody is about to write it. The old key was refused, and that is the error.
            if let Ok(Ok(read)) = read
                && key.version == refused
                && key.header.as_ref() != Some(&read)
            {
                *key = Key { version: refused + 1, header: Some(read) };
            }
        }
        self.key_version() != refused
    }

    pub(crate) fn position(&self) -> Option<String> {
        lock(&self.position).as_ref().map(|(_, text)| text.clone())
    }

    /// Answers come in any order: the furthest position is kept.
    pub(crate) fn note_position(&self, text: &str) {
        let Some((era, seq)) = text.split_once('.') else { return };
        let (Ok(era), Ok(seq)) = (era.parse(), seq.parse()) else { return };
        let mut position = lock(&self.position);
        if position.as_ref().is_none_or(|(known, _)| *known <= (era, seq)) {
            *position = Some(((era, seq), text.to_owned()));
        }
    }

    pub(crate) fn add_call(&self) {
        let mut budget = lock(&self.budget);
        *budget = (*budget + 1).min(BUDGET_MAX);
    }

    /// Whether a retry is allowed; it is then counted.
    pub(crate) fn take_retry(&self) -> bool {
        let mut budget = lock(&self.budget);
        let left = budget.checked_sub(BUDGET_RETRY);
        *budget = left.unwrap_or(*budget);
        left.is_some()
    }
}

fn read_key(file: &Path) -> Result<HeaderValue, Error> {
    let text = std::fs::read_to_string(file);
    bearer(text.map_err(|_| Error::Malformed("key_file: cannot be read"))?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Builder;

    fn core() -> Core {
        Core::new(Builder::new(vec!["http://127.0.0.1:1".to_owned()]).checked().unwrap()).unwrap()
    }

    #[test]
    fn retries_are_at_most_a_fifth_of_the_calls() {
        let core = core();
        let first = (0..100).filter(|_| core.take_retry()).count();
        assert_eq!(first, 10);
        (0..100).for_each(|_| core.add_call());
        assert_eq!((0..100).filter(|_| core.take_retry()).count(), 20);
        (0..100_000).for_each(|_| core.add_call());
        assert_eq!((0..10_000).filter(|_| core.take_retry()).count(), 1_000);
    }

    #[test]
    fn random_numbers_differ() {
        let mut numbers: Vec<_> = (0..1_000).map(|_| random()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1_000);
        let high = numbers.iter().filter(|it| **it >> 63 == 1).count();
        assert!((300..700).contains(&high), "{high} of 1,000 begin with a one");
    }

    #[test]
    fn the_furthest_position_is_kept() {
        let core = core();
        for text in ["2.9", "1.70", "2.10", "", "3", "x.1", "99999999999999999999.1", "2.9"] {
            core.note_position(text);
        }
        assert_eq!(core.position().as_deref(), Some("2.10"));
    }
}
