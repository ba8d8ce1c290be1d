//! Judges, times and counts answers.

use hdrhistogram::Histogram;
use slab::Slab;

use super::admission::Admission;
use crate::drive::link::Outstanding;
use crate::drive::record::Record;
use crate::drive::shared::Shared;
use crate::protocol::{Answer, Answers, Ticket};
use crate::traffic::plan::Plan;
use crate::traffic::verdict::{Kind, Wrong};

/// Judges, times and counts answers.
pub(super) struct Desk<'a> {
    pub(super) plan: &'a mut Plan,
    pub(super) record: &'a mut Record,
    pub(super) shared: &'a Shared,
    pub(super) recent: &'a mut Histogram<u64>,
    pub(super) outstanding: &'a mut Slab<Outstanding>,
    pub(super) admission: &'a mut Admission,
    /// How long a connection that was made for this request waited for the harness.
    pub(super) own_ns: u64,
    /// The server that answers.
    pub(super) node: usize,
    pub(super) now_ns: u64,
    pub(super) answers: usize,
    pub(super) tokens: u64,
    /// Answers to requests whose time was up before.
    pub(super) late: usize,
}

impl Answers for Desk<'_> {
    fn answer(&mut self, ticket: Ticket, answer: Answer<'_>) {
        let Some(one) = self.outstanding.try_remove(ticket as usize) else {
            let what = "an answer to no request";
            self.record.error(self.node, Wrong::new(Kind::Unexpected, what), self.now_ns);
            return self.shared.erred();
        };
        if one.is_late {
            self.late += 1;
            return;
        }
        self.answers += 1;
        self.tokens += one.ask.tokens();
        let (operation, tokens) = (one.ask.operation, one.ask.tokens());
        self.record.answer(operation, tokens, one.since_ns, self.now_ns, self.own_ns);
        self.recent.saturating_record(self.now_ns.saturating_sub(one.since_ns));
        match self.plan.answer(&one.ask, &answer, self.now_ns) {
            Ok(()) => {
                self.admission.grant(self.now_ns);
                if let Some(node) = self.record.nodes.of(self.node) {
                    node.answered(self.now_ns);
                }
            }
            Err(wrong) => {
                if wrong.denial.is_some() {
                    self.admission.note(&wrong);
                }
                self.record.error(self.node, wrong, self.now_ns);
                self.shared.erred();
            }
        }
    }
}
