//! Tokens of requests that were read together, to be looked up together: their digests are computed
//! side by side, and their cache misses overlap.

use crate::model::token::{Digest, Digester, Token};

/// Requests that are looked up together at most.
const GROUP_LEN_MAX: usize = 16;

/// How many requests of one connection are looked up together: at most [`GROUP_LEN_MAX`]. After a group
/// of which one was left to the service only one, and after each group that was answered whole twice
/// as many. So for a client of which each request is refused, each digest is computed once or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupLen(usize);

impl Default for GroupLen {
    fn default() -> Self {
        Self(GROUP_LEN_MAX)
    }
}

impl GroupLen {
    /// The most requests of the next group.
    pub(crate) fn get(self) -> usize {
        self.0
    }

    /// The same after a group that was answered whole, or not.
    #[must_use]
    pub(crate) fn after(self, is_whole: bool) -> Self {
        if is_whole { Self((2 * self.0).min(GROUP_LEN_MAX)) } else { Self(1) }
    }
}

/// The tokens of some requests of one caller, in their order. Kept for the next ones, for its memory.
#[derive(Default)]
pub(crate) struct Gathered {
    tokens: Vec<Token>,
    digests: Vec<Digest>,
    /// Where each request ends in the input.
    ends: Vec<usize>,
}

impl Gathered {
    /// Begins with nothing.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.digests.clear();
        self.ends.clear();
    }

    /// Adds a request for `token`, which ends at `end`.
    pub(crate) fn push(&mut self, token: Token, end: usize) {
        self.tokens.push(token);
        self.ends.push(end);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The end of the last request; 0 where there is none.
    pub(crate) fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The end of the first `count` requests.
    pub(crate) fn end_of(&self, count: usize) -> usize {
        count.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0)
    }

    /// Room for the tokens of a list, which is empty.
    pub(crate) fn tokens_of_list(&mut self) -> &mut Vec<Token> {
        self.clear();
        &mut self.tokens
    }

    /// Adds a request for what is no token, but has this digest.
    pub(crate) fn push_digest(&mut self, digest: Digest, end: usize, digester: &Digester) {
        self.digest(digester);
        self.digests.push(digest);
        self.ends.push(end);
    }

    /// The digests of all, in their order.
    pub(crate) fn digest(&mut self, digester: &Digester) -> &[Digest] {
        digester.append_digests(&self.tokens, &mut self.digests);
        self.tokens.clear();
        &self.digests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_behind_a_refused_request_few_are_looked_up_together() {
        let mut len = GroupLen::default();
        let mut after = |is_whole| {
            len = len.after(is_whole);
            len.get()
        };
        assert_eq!([after(true), after(false), after(false)], [16, 1, 1]);
        assert_eq!([(); 5].map(|()| after(true)), [2, 4, 8, 16, 16]);
    }

    use crate::model::token::{SECRET_LEN, Secret};

    #[test]
    fn digests_come_in_the_order_of_the_requests() {
        let digester = Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default");
        let token = |n: u8| Token::parse(&[b'A' + n; 32]).unwrap();
        let name = digester.digest_of_name(b"cart:7");
        let mut gathered = Gathered::default();
        for _ in 0..2 {
            gathered.clear();
            gathered.push(token(0), 10);
            gathered.push(token(1), 20);
            gathered.push_digest(name, 30, &digester);
            gathered.push(token(2), 40);
            let [a, b, c] = [0, 1, 2].map(|n| digester.digest(&token(n)));
            assert_eq!(gathered.digest(&digester), [a, b, name, c]);
            assert_eq!((gathered.len(), gathered.end()), (4, 40));
            assert_eq!((gathered.end_of(0), gathered.end_of(3)), (0, 30));
        }
    }
}
