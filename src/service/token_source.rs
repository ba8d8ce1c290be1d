//! New tokens of one worker: random bytes from the operating system's generator, taken many at a
//! time.
//!
//! A call of the generator costs as much as several digests, so one call fills a buffer for
//! [`TOKENS_PER_FILL`] tokens. Each worker has its own. A token's bytes are wiped from the buffer when it
//! is made, the rest when the worker ends. A program that embeds the engine uses
//! [`Token::random`](crate::model::token::Token::random), which has no buffer.
//!
//! A process that forks has the buffer twice too. The server does not fork after its workers start, and
//! the buffer does not rely on that: it keeps the id of the process that filled it, and bytes of another
//! process are wiped unused.
//!
//! A virtual machine that is resumed twice from one snapshot has the buffer twice, and would issue the
//! same tokens. So bytes older than [`KEPT_MS_MAX`] are wiped unused: a snapshot of an idle server holds
//! none. One call for each token would take 0.3 µs more, some 3 % of an issue.

use std::cell::RefCell;

use zeroize::{Zeroize, Zeroizing};

use crate::model::time::UnixMillis;
use crate::model::token::{RandomError, TOKEN_LEN, Token};

/// Tokens that one call of the generator is enough for.
const TOKENS_PER_FILL: usize = 64;

/// Maximum age of random bytes, in milliseconds.
const KEPT_MS_MAX: u64 = 64;

/// Makes new tokens.
#[derive(Debug)]
pub(crate) struct TokenSource(RefCell<Buffer>);

struct Buffer {
    bytes: Zeroizing<[u8; TOKENS_PER_FILL * TOKEN_LEN]>,
    /// Bytes that no token has been made of; they are the last ones.
    left: usize,
    filled_at: UnixMillis,
    /// Id of the process that filled it.
    filled_by: u32,
}

impl TokenSource {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(Buffer {
            bytes: Zeroizing::new([0; TOKENS_PER_FILL * TOKEN_LEN]),
            left: 0,
            filled_at: UnixMillis(0),
            filled_by: 0,
        }))
    }

    /// A new token, at `now`.
    ///
    /// # Errors
    /// The operating system's generator failed.
    pub(crate) fn token(&self, now: UnixMillis) -> Result<Token, RandomError> {
        let fill = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(RandomError::from);
        self.0.borrow_mut().take(now, std::process::id(), fill)
    }
}

impl Buffer {
    /// The next token, in this `process`. `fill` is called if no bytes are left, or only old ones or
    /// those of another process.
    fn take(
        &mut self,
        now: UnixMillis,
        process: u32,
        fill: impl FnOnce(&mut [u8]) -> Result<(), RandomError>,
    ) -> Result<Token, RandomError> {
        let is_old = now.0.abs_diff(self.filled_at.0) > KEPT_MS_MAX;
        if self.left > 0 && (is_old || process != self.filled_by) {
            self.bytes.zeroize();
            self.left = 0;
        }
        if self.left == 0 {
            fill(&mut self.bytes[..])?;
            self.left = self.bytes.len();
            (self.filled_at, self.filled_by) = (now, process);
        }
        let begin = self.bytes.len() - self.left;
        let taken = &mut self.bytes[begin..begin + TOKEN_LEN];
        let mut random = Zeroizing::new([0; TOKEN_LEN]);
        random.copy_from_slice(taken);
        taken.zeroize();
        self.left -= TOKEN_LEN;
        Ok(Token::from_random(&random))
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_769_860_800_000);

    #[test]
    fn no_token_is_made_twice() {
        let source = TokenSource::new();
        let count = 3 * TOKENS_PER_FILL + 1;
        let tokens: HashSet<_> =
            (0..count).map(|_| source.token(NOW).unwrap().text().as_str().to_owned()).collect();
        assert_eq!(tokens.len(), count);
    }

    #[test]
    fn each_byte_of_the_generator_is_in_one_token() {
        let mut buffer = TokenSource::new().0.into_inner();
        let mut fills = 0;
        for place in 0..2 * TOKENS_PER_FILL {
            let token = buffer.take(NOW, 1, |bytes| {
                fills += 1;
                bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i / TOKEN_LEN) as u8);
                Ok(())
            });
            let expected = Token::from_random(&[(place % TOKENS_PER_FILL) as u8; TOKEN_LEN]);
            assert_eq!(token, Ok(expected));
        }
        assert_eq!(fills, 2);
    }

    fn sevens(bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill(7);
        Ok(())
    }

    #[test]
    fn p9_bytes_of_a_token_are_wiped_from_the_buffer() {
        let mut buffer = TokenSource::new().0.into_inner();
        for made in 1..=TOKENS_PER_FILL {
            buffer.take(NOW, 1, sevens).unwrap();
            let (used, rest) = buffer.bytes.split_at(made * TOKEN_LEN);
            assert!(used.iter().all(|byte| *byte == 0), "after {made} tokens");
            assert!(rest.iter().all(|byte| *byte == 7), "after {made} tokens");
        }
    }

    /// A snapshot of an idle machine that is resumed twice must not issue the same tokens twice.
    #[test]
    fn p9_random_bytes_are_not_kept_longer_than_a_tick() {
        let (mut one, mut fills) = (TokenSource::new().0.into_inner(), 0);
        let mut take = |at_ms| {
            let fill = |bytes: &mut [u8]| {
                fills += 1;
                sevens(bytes)
            };
            one.take(UnixMillis(at_ms), 1, fill).unwrap();
            fills
        };
        assert_eq!([take(NOW.0), take(NOW.0 + KEPT_MS_MAX)], [1, 1]);
        assert_eq!(take(NOW.0 + KEPT_MS_MAX + 1), 2);
        assert_eq!(take(NOW.0 + 2), 2, "within a tick, in either direction");
        assert_eq!(take(NOW.0 - 2 * KEPT_MS_MAX), 3, "the clock was set back");
    }

    /// Two processes after a fork must not issue the same tokens.
    #[test]
    fn p9_random_bytes_of_another_process_are_wiped_unused() {
        let mut parent = TokenSource::new().0.into_inner();
        parent.take(NOW, 1, sevens).unwrap();
        let mut child = Buffer { bytes: parent.bytes.clone(), ..parent };
        let other = |bytes: &mut [u8]| {
            assert!(bytes.iter().all(|byte| *byte == 0), "they were wiped");
            bytes.fill(8);
            Ok(())
        };
        let token = child.take(NOW, 2, other).unwrap();
        assert_eq!(token, Token::from_random(&[8; TOKEN_LEN]));
    }

    #[test]
    fn p9_workers_make_no_token_twice_across_their_refills() {
        let count = 3 * TOKENS_PER_FILL + 1;
        let make = move || {
            let source = TokenSource::new();
            let text = || source.token(NOW).unwrap().text().as_str().to_owned();
            (0..count).map(|_| text()).collect::<Vec<_>>()
        };
        let workers = [(); 2].map(|()| std::thread::spawn(make));
        let tokens: HashSet<_> =
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        assert_eq!(tokens.len(), 2 * count);
    }

    #[test]
    fn a_generator_that_fails_makes_no_token_and_is_asked_again() {
        let mut buffer = TokenSource::new().0.into_inner();
        let failed = RandomError::from(getrandom::Error::UNSUPPORTED);
        assert_eq!(buffer.take(NOW, 1, |_| Err(failed)), Err(failed));
        assert!(buffer.take(NOW, 1, sevens).is_ok());
    }

    #[test]
    fn p9_debug_shows_no_bytes() {
        let source = TokenSource::new();
        source.token(NOW).unwrap();
        let shown = format!("{source:?}");
        assert_eq!(shown, "TokenSource(RefCell { value: Buffer { left: 1512, .. } })");
    }
}
