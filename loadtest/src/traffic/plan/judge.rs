//! Whether an answer is right, and what it means for the token.

use super::{Ask, Dead, Plan, What, bury, key};
use crate::protocol::{Answer, Fault, Key, Protocol, Refusal};
use crate::traffic::slots::State;
use crate::traffic::verdict::{Kind, Wrong};
use crate::workload::Operation;

type Judgement = Result<(), Wrong>;

impl Plan {
    /// Judges an answer and takes note of what it means for the token.
    ///
    /// # Errors
    /// The answer is wrong, or the server declined.
    pub fn answer(&mut self, ask: &Ask, answer: &Answer<'_>, now_ns: u64) -> Judgement {
        if let Answer::Refused(refusal) = answer {
            self.forfeit(ask);
            let wrong = Wrong::from(Fault::Refused(Refusal::clone(refusal)));
            return Err(wrong.of(ask.operation.name()));
        }
        if self.protocol == Protocol::Floor {
            return self.answer_of_the_floor(ask, answer, now_ns);
        }
        match &ask.what {
            &What::Gone { may_be_stale } => match answer {
                Answer::Absent => Ok(()),
                Answer::Found(_) if may_be_stale => Ok(()),
                Answer::Found(_) => Err(Wrong::new(
                    Kind::Resurrected,
                    format!("{}: a token that is gone gave a payload", ask.operation.name()),
                )),
                _ => Err(unexpected(ask, answer)),
            },
            What::Many(slots) => self.answer_to_many(ask, slots, answer, now_ns),
            &What::One { slot, number, sent_ns, ttl_ns } => match ask.operation {
                Operation::Issue => match answer {
                    Answer::Issued(key) => {
                        let key = key.unwrap_or_else(|| key::own(number));
                        self.live(slot, key, sent_ns, ttl_ns, now_ns);
                        Ok(())
                    }
                    _ => {
                        self.forfeit(ask);
                        Err(unexpected(ask, answer))
                    }
                },
                Operation::Consume => self.answer_to_consume(ask, slot, number, answer, now_ns),
                Operation::Revoke => self.answer_to_revoke(ask, slot, number, answer, now_ns),
                Operation::Extend => {
                    self.answer_to_extend(ask, (slot, number), (sent_ns, ttl_ns), answer, now_ns)
                }
                _ => match answer {
                    Answer::Found(payload) => self.same(number, payload),
                    Answer::Absent => self.may_be_gone(slot, number, now_ns),
                    _ => Err(unexpected(ask, answer)),
                },
            },
        }
    }

    fn live(&mut self, slot: u32, key: Key, sent_ns: u64, ttl_ns: u64, now_ns: u64) {
        let (early_ns, late_ns) = (self.early(sent_ns, ttl_ns), self.late(now_ns, ttl_ns));
        self.slots.live(slot, key, early_ns, late_ns);
    }

    fn same(&self, number: u64, payload: &[u8]) -> Judgement {
        if self.payloads.matches(number, payload) {
            return Ok(());
        }
        let what = format!(
            "payload number {number}: {} bytes came that are not the ones issued",
            payload.len()
        );
        Err(Wrong::new(Kind::WrongPayload, what))
    }

    /// Whether "unknown" can be right for a tenant that lived when it was asked for.
    fn may_be_gone(&mut self, slot: u32, number: u64, now_ns: u64) -> Judgement {
        let Some(tenant) = self.slots.tenant(slot, number) else { return Ok(()) };
        if tenant.state != State::Living || now_ns >= tenant.early_ns {
            return Ok(());
        }
        let left_ms = (tenant.early_ns - now_ns) / super::NANOS_PER_MS;
        let what = format!("payload number {number}: unknown, {left_ms} ms before its deadline");
        // Once is enough: what is lost is not asked for again.
        self.slots.release(slot);
        Err(Wrong::new(Kind::Lost, what))
    }

    fn answer_to_many(
        &mut self,
        ask: &Ask,
        asked: &[(u32, u64)],
        answer: &Answer<'_>,
        now_ns: u64,
    ) -> Judgement {
        let Answer::Many(values) = answer else { return Err(unexpected(ask, answer)) };
        if values.len() != asked.len() {
            let what = format!("batch: {} answers to {} tokens", values.len(), asked.len());
            return Err(Wrong::new(Kind::Unexpected, what));
        }
        for (&(slot, number), value) in asked.iter().zip(values.iter()) {
            match value {
                Some(payload) => self.same(number, payload)?,
                None => self.may_be_gone(slot, number, now_ns)?,
            }
        }
        Ok(())
    }

    fn answer_to_consume(
        &mut self,
        ask: &Ask,
        slot: u32,
        number: u64,
        answer: &Answer<'_>,
        now_ns: u64,
    ) -> Judgement {
        let Some(tenant) = self.slots.tenant(slot, number) else { return Ok(()) };
        tenant.rivals = tenant.rivals.saturating_sub(1);
        let found = match answer {
            Answer::Found(payload) => {
                tenant.wins += 1;
                Some(*payload)
            }
            Answer::Absent => None,
            _ => {
                tenant.uncertain = true;
                self.settle(slot, number, now_ns);
                return Err(unexpected(ask, answer));
            }
        };
        let (wins, rivals) = (tenant.wins, tenant.rivals);
        let overdue = now_ns >= tenant.early_ns || tenant.uncertain;
        self.settle(slot, number, now_ns);
        match found {
            Some(_) if wins > 1 => {
                let what = format!("payload number {number} was given to {wins} consumers");
                Err(Wrong::new(Kind::ConsumedTwice, what))
            }
            Some(payload) => self.same(number, payload),
            None if rivals == 0 && wins == 0 && !overdue => {
                let what = format!("payload number {number}: no consumer was given it");
                Err(Wrong::new(Kind::Lost, what))
            }
            None => Ok(()),
        }
    }

    /// Frees the slot when its last consume is through.
    fn settle(&mut self, slot: u32, number: u64, now_ns: u64) {
        let Some(tenant) = self.slots.tenant(slot, number) else { return };
        if tenant.rivals > 0 {
            return;
        }
        let (key, certain) = (tenant.key, tenant.wins > 0 && !tenant.uncertain);
        if certain {
            bury(
                &mut self.dead,
                &mut self.dead_next,
                Dead { key, consumed: true, since_ns: now_ns },
            );
        }
        self.slots.release(slot);
    }

    fn answer_to_revoke(
        &mut self,
        ask: &Ask,
        slot: u32,
        number: u64,
        answer: &Answer<'_>,
        now_ns: u64,
    ) -> Judgement {
        let Some(tenant) = self.slots.tenant(slot, number) else { return Ok(()) };
        let (key, overdue) = (tenant.key, now_ns >= tenant.early_ns);
        self.slots.release(slot);
        match answer {
            Answer::Done => {
                bury(
                    &mut self.dead,
                    &mut self.dead_next,
                    Dead { key, consumed: false, since_ns: now_ns },
                );
                Ok(())
            }
            Answer::Absent if overdue => Ok(()),
            Answer::Absent => {
                let what = format!("payload number {number}: unknown when it was revoked");
                Err(Wrong::new(Kind::Lost, what))
            }
            _ => Err(unexpected(ask, answer)),
        }
    }

    fn answer_to_extend(
        &mut self,
        ask: &Ask,
        (slot, number): (u32, u64),
        (sent_ns, ttl_ns): (u64, u64),
        answer: &Answer<'_>,
        now_ns: u64,
    ) -> Judgement {
        let (early_ns, late_ns) = (self.early(sent_ns, ttl_ns), self.late(now_ns, ttl_ns));
        let Some(tenant) = self.slots.tenant(slot, number) else { return Ok(()) };
        tenant.extending = false;
        match answer {
            Answer::Done => {
                // jeton never shortens a life, Redis may: early is safe for both.
                tenant.early_ns = early_ns;
                tenant.late_ns = tenant.late_ns.max(late_ns);
                Ok(())
            }
            Answer::Absent => self.may_be_gone(slot, number, now_ns),
            _ => Err(unexpected(ask, answer)),
        }
    }

    /// The floor knows no tokens: every request gets the same bytes.
    fn answer_of_the_floor(&mut self, ask: &Ask, answer: &Answer<'_>, now_ns: u64) -> Judgement {
        if let &What::One { slot, number, sent_ns, ttl_ns } = &ask.what {
            match ask.operation {
                Operation::Issue => self.live(slot, key::own(number), sent_ns, ttl_ns, now_ns),
                Operation::Consume => {
                    if let Some(tenant) = self.slots.tenant(slot, number) {
                        tenant.rivals = tenant.rivals.saturating_sub(1);
                        tenant.wins = 1;
                    }
                    self.settle(slot, number, now_ns);
                }
                Operation::Revoke => self.slots.release(slot),
                Operation::Extend => {
                    if let Some(tenant) = self.slots.tenant(slot, number) {
                        tenant.extending = false;
                    }
                }
                _ => {}
            }
        }
        match answer {
            Answer::Found(bytes) if *bytes == self.floor_body => Ok(()),
            Answer::Found(_) => Err(Wrong::new(Kind::WrongPayload, "the floor's bytes differ")),
            _ => Err(unexpected(ask, answer)),
        }
    }

    /// The answer will never come: what it would have said is unknown from now on.
    pub fn forfeit(&mut self, ask: &Ask) {
        let &What::One { slot, number, .. } = &ask.what else { return };
        let Some(tenant) = self.slots.tenant(slot, number) else { return };
        match ask.operation {
            Operation::Issue | Operation::Revoke => self.slots.release(slot),
            Operation::Consume => {
                tenant.rivals = tenant.rivals.saturating_sub(1);
                tenant.uncertain = true;
                // One that is uncertain is not remembered.
                self.settle(slot, number, 0);
            }
            // Its deadline is not known any more.
            Operation::Extend => {
                self.slots.end(slot);
                self.slots.release(slot);
            }
            _ => {}
        }
    }
}

fn unexpected(ask: &Ask, answer: &Answer<'_>) -> Wrong {
    let came = match answer {
        Answer::Found(_) => "a payload",
        Answer::Issued(_) => "a new token",
        Answer::Done => "a confirmation",
        Answer::Absent => "unknown",
        Answer::Many(_) => "several payloads",
        Answer::Refused(..) => "a refusal",
    };
    Wrong::new(Kind::Unexpected, format!("{}: {came} came", ask.operation.name()))
}
