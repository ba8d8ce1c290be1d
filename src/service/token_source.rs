//! New tokens of one worker: random bytes from the operating system's generator, taken many at a
//! time.
//!
//! A call of the generator costs as much as several digests, so one call fills a buffer for
//! [`TOKENS_PER_FILL`] tokens. A token's bytes are wiped from the buffer when it is made, the rest
//! when the worker ends. The server never forks after its workers start, so no other process has a
//! copy of the buffer; a program that embeds the engine uses
//! [`Token::random`](crate::model::token::Token::random), which has no buffer.
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
}

impl TokenSource {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(Buffer {
            bytes: Zeroizing::new([0; TOKENS_PER_FILL * TOKEN_LEN]),
            left: 0,
            filled_at: UnixMillis(0),
        }))
    }

    /// A new token, at `now`.
    ///
    /// # Errors
    /// The operating system's generator failed.
    pub(crate) fn token(&self, now: UnixMillis) -> Result<Token, RandomError> {
        self.0.borrow_mut().take(now, |bytes| getrandom::fill(bytes).map_err(RandomError::from))
    }
}

impl Buffer {
    /// The next token. `fill` is called if no bytes are left, or only old ones.
    fn take(
        &mut self,
        now: UnixMillis,
        fill: impl FnOnce(&mut [u8]) -> Result<(), RandomError>,
    ) -> Result<Token, RandomError> {
        if self.left > 0 && now.0.abs_diff(self.filled_at.0) > KEPT_MS_MAX {
            self.bytes.zeroize();
            self.left = 0;
        }
        if self.left == 0 {
            fill(&mut self.bytes[..])?;
            (self.left, self.filled_at) = (self.bytes.len(), now);
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
            let token = buffer.take(NOW, |bytes| {
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
            buffer.take(NOW, sevens).unwrap();
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
            one.take(UnixMillis(at_ms), fill).unwrap();
            fills
        };
        assert_eq!([take(NOW.0), take(NOW.0 + KEPT_MS_MAX)], [1, 1]);
        assert_eq!(take(NOW.0 + KEPT_MS_MAX + 1), 2);
        assert_eq!(take(NOW.0 + 2), 2, "within a tick, in either direction");
        assert_eq!(take(NOW.0 - 2 * KEPT_MS_MAX), 3, "the clock was set back");
    }

    #[test]
    fn a_generator_that_fails_makes_no_token_and_is_asked_again() {
        let mut buffer = TokenSource::new().0.into_inner();
        let failed = RandomError::from(getrandom::Error::UNSUPPORTED);
        assert_eq!(buffer.take(NOW, |_| Err(failed)), Err(failed));
        assert!(buffer.take(NOW, sevens).is_ok());
    }

    #[test]
    fn p9_debug_shows_no_bytes() {
        let source = TokenSource::new();
        source.token(NOW).unwrap();
        let shown = format!("{source:?}");
        assert_eq!(shown, "TokenSource(RefCell { value: Buffer { left: 1512, .. } })");
    }
}
