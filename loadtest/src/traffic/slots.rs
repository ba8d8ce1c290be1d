//! The tokens a thread knows of: what each stands for, and what the server must say of it now.
//!
//! Time is nanoseconds since the session began and always an argument. A server decides when it
//! handles a request, somewhere between sending and answer; so each token has two deadlines: before
//! the early one it must live, after the late one it must be gone, between them both are right.

use crate::protocol::Key;

/// Where a slot stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Free for an issue.
    Empty,
    /// An issue is under way.
    Issuing,
    /// Issued, and nothing that would end it was sent.
    Living,
    /// A consume or a revoke was sent.
    Ending,
}

/// A place for one token at a time.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The token, or the key elsewhere.
    pub key: Key,
    /// Which payload it stands for; it also distinguishes successive tokens of the slot.
    pub number: u64,
    /// Before it the token must live.
    pub early_ns: u64,
    /// After it the token must be gone.
    pub late_ns: u64,
    /// Where it stands.
    pub state: State,
    /// Consumes without an answer yet.
    pub rivals: u16,
    /// Consumes that were answered with the payload.
    pub wins: u16,
    /// A consume went without an answer: it may have won.
    pub uncertain: bool,
    /// An extend is under way; a second one would make the deadline ambiguous.
    pub extending: bool,
}

/// How far a server's idea of a deadline may lie from what was asked, beside what clocks drift.
#[derive(Clone, Copy, Debug)]
pub struct Slack {
    /// It may expire earlier by this.
    pub early_ns: u64,
    /// And later by this.
    pub late_ns: u64,
}

/// All tokens of one thread.
pub struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// In order of issue, oldest first, with the number each had; stale ones are passed over.
    order: std::collections::VecDeque<(u32, u64)>,
    living: usize,
}

/// How often a slot is drawn anew when the one drawn holds nothing that lives.
const DRAWS_MAX: usize = 64;

impl Slots {
    /// Room for `population` tokens, at least one.
    pub fn new(population: u32) -> Self {
        let empty = Slot {
            key: [0; crate::protocol::KEY_LEN],
            number: u64::MAX,
            early_ns: 0,
            late_ns: 0,
            state: State::Empty,
            rivals: 0,
            wins: 0,
            uncertain: false,
            extending: false,
        };
        Self {
            slots: vec![empty; population as usize],
            free: (0..population).rev().collect(),
            order: std::collections::VecDeque::new(),
            living: 0,
        }
    }

    /// How many are known to be issued.
    pub fn living(&self) -> usize {
        self.living
    }

    /// How many there is room for.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no room at all.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slot, if it still holds the tenant with this number.
    pub fn tenant(&mut self, index: u32, number: u64) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize).filter(|slot| slot.number == number)
    }

    /// The slot.
    pub fn get(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }

    /// Whether [`Slots::begin`] finds one.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty() || self.living > 0
    }

    /// Takes a slot for a new token: a free one, or the oldest that lives, which the harness then
    /// forgets.
    pub fn begin(&mut self, number: u64) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.forget_oldest()?,
        };
        let slot = &mut self.slots[index as usize];
        slot.number = number;
        slot.state = State::Issuing;
        slot.rivals = 0;
        slot.wins = 0;
        slot.uncertain = false;
        slot.extending = false;
        Some(index)
    }

    fn forget_oldest(&mut self) -> Option<u32> {
        while let Some((index, number)) = self.order.pop_front() {
            let slot = &self.slots[index as usize];
            if slot.number == number && slot.state == State::Living {
                self.living -= 1;
                return Some(index);
            }
        }
        None
    }

    /// The issue was done: the token lives.
    pub fn live(&mut self, index: u32, key: Key, early_ns: u64, late_ns: u64) {
        let slot = &mut self.slots[index as usize];
        slot.key = key;
        slot.early_ns = early_ns;
        slot.late_ns = late_ns;
        slot.state = State::Living;
        self.order.push_back((index, slot.number));
        self.living += 1;
        self.trim_order();
    }

    /// Stale entries never outnumber the slots by more than a constant.
    fn trim_order(&mut self) {
        if self.order.len() > 2 * self.slots.len() + 16 {
            let slots = &self.slots;
            self.order.retain(|&(index, number)| {
                let slot = &slots[index as usize];
                slot.number == number && slot.state == State::Living
            });
        }
    }

    /// Something that ends the token was sent.
    pub fn end(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.state == State::Living {
            slot.state = State::Ending;
            self.living -= 1;
        }
    }

    /// The slot is free again.
    pub fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.state == State::Living {
            self.living -= 1;
        }
        if slot.state != State::Empty {
            slot.state = State::Empty;
            slot.number = u64::MAX;
            self.free.push(index);
        }
    }

    /// Draws until a slot holds a token that lives at `now_ns`; `None` where none was found.
    /// Tokens found past their late deadline are handed to `expired` and their slots are freed.
    pub fn draw(
        &mut self,
        now_ns: u64,
        mut draw: impl FnMut(&Self) -> Option<u32>,
        mut expired: impl FnMut(Key),
    ) -> Option<u32> {
        if self.living == 0 {
            return None;
        }
        for _ in 0..DRAWS_MAX {
            let index = draw(self)?;
            let slot = &self.slots[index as usize];
            if slot.state != State::Living {
                continue;
            }
            if now_ns < slot.early_ns {
                return Some(index);
            }
            // An extend that is under way may have been done already.
            if now_ns > slot.late_ns && !slot.extending {
                expired(slot.key);
                self.release(index);
            }
        }
        None
    }

    /// The slot of the `rank`-th youngest token, 0 the youngest of all, as far as is known.
    pub fn youngest(&self, rank: u64) -> Option<u32> {
        let back = usize::try_from(rank).ok()? % self.order.len().max(1);
        let at = self.order.len().checked_sub(1 + back)?;
        self.order.get(at).map(|&(index, _)| index)
    }
}
