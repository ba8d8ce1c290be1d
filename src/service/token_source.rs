//! New tokens of one worker: random bytes from the operating system's generator, taken many at a
//! time.
//!
//! A call of the generator costs as much as several digests, so one call fills a buffer for
//! [`TOKENS_PER_FILL`] tokens. A token's bytes are wiped from the buffer when it is made, the rest
//! when the worker ends. The server never forks after its workers start, so no other process has a
//! copy of the buffer; a program that embeds the engine uses
//! [`Token::random`](crate::model::token::Token::random), which has no buffer.

use std::cell::RefCell;

use zeroize::{Zeroize, Zeroizing};

use crate::model::token::{RandomError, TOKEN_LEN, Token};

/// Tokens that one call of the generator is enough for.
const TOKENS_PER_FILL: usize = 64;

/// Makes new tokens.
#[derive(Debug)]
pub(crate) struct TokenSource(RefCell<Buffer>);

struct Buffer {
    bytes: Zeroizing<[u8; TOKENS_PER_FILL * TOKEN_LEN]>,
    /// Bytes that no token has been made of; they are the last ones.
    left: usize,
}

impl TokenSource {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(Buffer {
            bytes: Zeroizing::new([0; TOKENS_PER_FILL * TOKEN_LEN]),
            left: 0,
        }))
    }

    /// A new token.
    ///
    /// # Errors
    /// The operating system's generator failed.
    pub(crate) fn token(&self) -> Result<Token, RandomError> {
        self.0.borrow_mut().take(|bytes| getrandom::fill(bytes).map_err(RandomError::from))
    }
}

impl Buffer {
    /// The next token. `fill` is called if no bytes are left.
    fn take(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<(), RandomError>,
    ) -> Result<Token, RandomError> {
        if self.left == 0 {
            fill(&mut self.bytes[..])?;
            self.left = self.bytes.len();
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

    #[test]
    fn no_token_is_made_twice() {
        let source = TokenSource::new();
        let count = 3 * TOKENS_PER_FILL + 1;
        let tokens: HashSet<_> =
            (0..count).map(|_| source.token().unwrap().text().as_str().to_owned()).collect();
        assert_eq!(tokens.len(), count);
    }

    #[test]
    fn each_byte_of_the_generator_is_in_one_token() {
        let mut buffer = TokenSource::new().0.into_inner();
        let mut fills = 0;
        for place in 0..2 * TOKENS_PER_FILL {
            let token = buffer.take(|bytes| {
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
            buffer.take(sevens).unwrap();
            let (used, rest) = buffer.bytes.split_at(made * TOKEN_LEN);
            assert!(used.iter().all(|byte| *byte == 0), "after {made} tokens");
            assert!(rest.iter().all(|byte| *byte == 7), "after {made} tokens");
        }
    }

    #[test]
    fn a_generator_that_fails_makes_no_token_and_is_asked_again() {
        let mut buffer = TokenSource::new().0.into_inner();
        let failed = RandomError::from(getrandom::Error::UNSUPPORTED);
        assert_eq!(buffer.take(|_| Err(failed)), Err(failed));
        assert!(buffer.take(sevens).is_ok());
    }

    #[test]
    fn p9_debug_shows_no_bytes() {
        let source = TokenSource::new();
        source.token().unwrap();
        let shown = format!("{source:?}");
        assert_eq!(shown, "TokenSource(RefCell { value: Buffer { left: 1512, .. } })");
    }
}
