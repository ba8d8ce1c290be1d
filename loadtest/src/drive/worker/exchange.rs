//! Requests and answers: writes what is due to free connections, and judges what comes back.

use super::desk::Desk;
use super::{Run, Worker};
use crate::drive::link::Outstanding;
use crate::drive::pace::Pace;
use crate::protocol::Ticket;
use crate::traffic::verdict::{Kind, Wrong};

impl Worker {
    /// Sends on free connections what is due. Each is written to at once, so that no request waits
    /// for others to be made.
    pub(super) fn send_due(&mut self, run: &mut Run) {
        while let Some(&index) = run.ready.front() {
            let now_ns = self.clock.now_ns();
            let since_ns = run.phase.pace.due_ns().unwrap_or(now_ns);
            if since_ns > now_ns || since_ns >= run.phase.end_ns || run.exhausted {
                return;
            }
            if !self.links[index].has_room(run.phase.depth) {
                run.ready.pop_front();
                self.links[index].queued = false;
                continue;
            }
            match self.fill(run, index, now_ns) {
                Filled::Full => {
                    run.ready.pop_front();
                    self.links[index].queued = false;
                }
                Filled::NotDue => run.ready.rotate_left(1),
                // Tokens are all under way: an answer must come first.
                Filled::NothingToAsk => return,
            }
        }
    }

    /// Writes requests to one connection: in a closed loop until it is full, in an open one the one
    /// that is due.
    pub(super) fn fill(&mut self, run: &mut Run, index: usize, now_ns: u64) -> Filled {
        let depth = run.phase.depth;
        let mut filled = Filled::Full;
        while self.links[index].has_room(depth) {
            let since_ns = run.phase.pace.due_ns().unwrap_or(now_ns);
            if since_ns > now_ns || since_ns >= run.phase.end_ns {
                filled = Filled::NotDue;
                break;
            }
            // The time of a connection that is made for one request counts as the request's.
            let since_ns = self.links[index].anew.map_or(since_ns, |anew| anew.since_ns);
            let next = match run.phase.pace {
                Pace::Load => self.plan.next_load(now_ns),
                Pace::Times { left: 0, .. } => None,
                Pace::Times { operation, .. } => self.plan.next_of(operation, now_ns),
                Pace::Closed | Pace::Open { .. } => self.plan.next(now_ns),
            };
            let Some((ask, call)) = next else {
                run.exhausted = matches!(run.phase.pace, Pace::Load | Pace::Times { left: 0, .. });
                filled = Filled::NothingToAsk;
                break;
            };
            let (codec, output, outstanding) = self.links[index].codec_and_output();
            if matches!(run.phase.pace, Pace::Open { .. }) {
                run.record.open_loop(since_ns, run.free_since_ns, now_ns);
            }
            let one = Outstanding { ask, since_ns, sent_ns: now_ns, is_late: false };
            let ticket = outstanding.insert(one);
            self.in_flight += 1;
            self.limits.push(now_ns, index, ticket);
            if let Err(fault) = codec.request(ticket as Ticket, call, output) {
                self.drop_link(run, index, &fault.into());
                return Filled::Full;
            }
            run.phase.pace.advance();
            if matches!(run.phase.pace, Pace::Open { .. }) {
                // The next one goes to another connection.
                filled =
                    if self.links[index].has_room(depth) { Filled::NotDue } else { Filled::Full };
                break;
            }
        }
        self.flush(run, index);
        filled
    }

    pub(super) fn take_answers(&mut self, run: &mut Run, index: usize, received: &[u8]) {
        let now_ns = self.clock.now_ns();
        let node = self.reach.node(index);
        let (plan, record, shared) = (&mut self.plan, &mut run.record, &self.shared);
        let (recent, admission) = (&mut self.recent, &mut run.admission);
        let own_ns = self.links[index].anew.map_or(0, |anew| anew.queued_ns);
        let (mut answers, mut tokens, mut late) = (0, 0, 0);
        let decoded = self.links[index].decode(received, |codec, input, output, outstanding| {
            let mut desk = Desk {
                plan,
                record,
                shared,
                recent,
                outstanding,
                admission,
                own_ns,
                node,
                now_ns,
                answers: 0,
                tokens: 0,
                late: 0,
            };
            let done = codec.receive(input, output, &mut desk);
            (answers, tokens, late) = (desk.answers, desk.tokens, desk.late);
            done
        });
        self.in_flight -= answers;
        self.shared.answered(answers as u64, tokens);
        let link = &mut self.links[index];
        link.late -= late;
        if answers > 0 {
            run.answered_ns = now_ns;
            link.has_answered = true;
            link.fruitless = 0;
        }
        if let Err(fault) = decoded {
            return self.drop_link(run, index, &fault.into());
        }
        if answers > 0 && self.use_once(run, index, now_ns) {
            return;
        }
        let link = &mut self.links[index];
        if link.codec.closing() && link.outstanding.is_empty() {
            let why = Wrong::new(Kind::Closed, "the server announced the end of the connection");
            return self.drop_link(run, index, &why);
        }
        if answers > 0
            && !matches!(run.phase.pace, Pace::Open { .. })
            && !link.queued
            && !run.exhausted
            && index < run.joined
            && now_ns < run.phase.end_ns
        {
            // A closed loop: the free place is taken at once.
            let now_ns = self.clock.now_ns();
            if matches!(self.fill(run, index, now_ns), Filled::NothingToAsk) {
                self.enqueue(run, index);
            }
            return;
        }
        if link.has_output() {
            self.flush(run, index);
        }
        self.enqueue(run, index);
    }

    pub(super) fn enqueue(&mut self, run: &mut Run, index: usize) {
        let link = &mut self.links[index];
        if !link.queued && index < run.joined && link.has_room(run.phase.depth) {
            link.queued = true;
            if run.ready.is_empty() {
                run.free_since_ns = self.clock.now_ns();
            }
            run.ready.push_back(index);
        }
    }
}

pub(super) enum Filled {
    /// The connection takes no more.
    Full,
    /// It would take more, but nothing more is due.
    NotDue,
    /// It would take more, but the plan has nothing to ask now.
    NothingToAsk,
}
