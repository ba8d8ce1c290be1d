//! The results of one order: a row of the table, and below it each answer that was wrong.

use std::fmt::Write;

use crate::client::Answer;
use crate::orders::Order;
use crate::parties::RIVALS;

/// The checks of an order; each is a column of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Issued as new.
    Issued,
    /// Resolved byte for byte, by token and by reference.
    Resolved,
    /// Sent again: the same token.
    Again,
    /// Other content under the same reference: refused.
    Other,
    /// Paid by exactly one rival.
    Paid,
    /// Not found, paid or issued after that.
    Replay,
    /// A token of the order that was revoked: not found.
    Revoked,
    /// A token of the order that expires soon: found until then.
    ShortLived,
}

/// The results of one order.
#[derive(Default)]
pub struct Report {
    /// The number of rivals that have paid.
    pub winners: usize,
    done: Vec<Check>,
    differences: Vec<(Check, String)>,
}

impl Report {
    /// The table's first line.
    pub const HEADER: &str = "order                amount   bytes  resolved    again       other   \
                              paid      replay   revoked  result";

    /// Records that `check` was made, whatever its result.
    pub fn done(&mut self, check: Check) {
        self.done.push(check);
    }

    /// Records a difference from the expected result.
    pub fn differ(&mut self, check: Check, difference: String) {
        self.differences.push((check, difference));
    }

    /// The answer to `what` must have this status.
    pub fn expect(&mut self, check: Check, what: &str, answer: &Answer, status: u16) {
        if !answer.has_status(status) {
            self.differ(check, format!("{what}: {} instead of {status}", answer.status));
        }
    }

    /// The answer to `what` must be a 200 with exactly this body.
    pub fn compare(&mut self, check: Check, what: &str, answer: &Answer, body: &str) {
        self.expect(check, what, answer, 200);
        if answer.status == 200 && answer.body != body.as_bytes() {
            let (is, should_be) = (answer.body.len(), body.len());
            self.differ(check, format!("{what}: {is} bytes that are not the {should_be} expected"));
        }
    }

    /// The number of wrong answers.
    pub fn differences(&self) -> usize {
        self.differences.len()
    }

    pub fn is_right(&self) -> bool {
        self.differences.is_empty()
    }

    /// The order's line of the table, and one more for each difference.
    pub fn row(&self, order: &Order) -> String {
        let (number, amount) = (&order.identity.order_number, &order.identity.amount);
        let bytes = order.text.len();
        let resolved = self.cell(Check::Resolved, "same bytes");
        let again = self.cell(Check::Again, "same token");
        let other = self.cell(Check::Other, "409");
        let paid = match self.done.contains(&Check::Paid) {
            true => format!("{} of {RIVALS}", self.winners),
            false => "-".to_owned(),
        };
        let replay = self.cell(Check::Replay, "refused");
        let revoked = self.cell(Check::Revoked, "gone");
        let result = if self.is_right() { "right" } else { "DIFFERS" };
        let mut row = format!(
            "{number:<14} {amount:>12} {bytes:>7}  {resolved:<10}  {again:<10}  {other:<7} \
             {paid:<8}  {replay:<7}  {revoked:<7}  {result}"
        );
        for (_, difference) in &self.differences {
            // Writing to a string cannot fail.
            let _ = write!(row, "\n    {difference}");
        }
        row
    }

    fn cell<'a>(&self, check: Check, right: &'a str) -> &'a str {
        if self.differences.iter().any(|(differing, _)| *differing == check) {
            "DIFFERS"
        } else if self.done.contains(&check) {
            right
        } else {
            "-"
        }
    }
}
