//! Requests of a protocol that answers in the order in which it was asked.

use std::collections::VecDeque;

use super::{Fault, Garbage, Refusal, Ticket, excerpt};

/// What was asked and not answered yet, oldest first.
#[derive(Debug)]
pub(super) struct InOrder<A>(VecDeque<(Ticket, A)>);

impl<A> Default for InOrder<A> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<A> InOrder<A> {
    /// One more was asked.
    pub(super) fn push(&mut self, ticket: Ticket, asked: A) {
        self.0.push_back((ticket, asked));
    }

    /// Has `deliver` pass on whole answers from the begin of `input`, each to the oldest request;
    /// it gives what is behind the answer, or `None` where that is not whole yet. Gives the number
    /// of bytes that are done with. What comes unasked may be a refusal: `unasked` finds it.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        unasked: impl FnOnce(&[u8]) -> Option<Refusal>,
        mut deliver: impl for<'a> FnMut(Ticket, &A, &'a [u8]) -> Result<Option<&'a [u8]>, Garbage>,
    ) -> Result<usize, Fault> {
        let mut rest = input;
        while !rest.is_empty() {
            let Some((ticket, asked)) = self.0.front() else {
                if let Some(refusal) = unasked(rest) {
                    return Err(Fault::Refused(refusal));
                }
                let what = excerpt(rest);
                return Err(Garbage(format!("an answer to nothing that was asked: {what}")).into());
            };
            let Some(after) = deliver(*ticket, asked, rest)? else {
                break;
            };
            self.0.pop_front();
            rest = after;
        }
        Ok(input.len() - rest.len())
    }
}
