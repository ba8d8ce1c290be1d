//! One client among rivals. From a seed it sends requests about the tokens of its round, one by
//! one, in batches and pipelined. It loses answers on purpose and by crashes, and retries under its
//! keys.

use std::io;
use std::net::SocketAddr;
use std::sync::{OnceLock, RwLock};
use std::thread;
use std::time::Duration;

use super::asked::{Asked, Name, Named, batch, issue_batch, one};
use super::history::{Answer, Call, Moment, Op, Ticks};
use super::simulated::{Ttls, any_op};
use crate::raw::Conn;
use crate::support::Rng;

/// A token of a round, and its text once an answer contained it.
pub struct Slot {
    pub name: Name,
    pub text: OnceLock<String>,
}

/// The state that all rivals of a round share.
pub struct Arena {
    pub slots: Vec<Slot>,
    pub ticks: Ticks,
    pub ttls: Ttls,
    /// The server's address, if it runs, and the number of servers before it.
    pub server: RwLock<(Option<SocketAddr>, usize)>,
}

/// A call as a rival saw it.
pub struct Seen {
    pub token: usize,
    pub call: Call,
    /// The server that received it: a lost call cannot happen after the end of that server.
    pub server: usize,
}

pub struct Rival<'a> {
    arena: &'a Arena,
    id: usize,
    rng: Rng,
    conn: Option<(Conn, usize)>,
    /// The call to retry, because its answer was lost.
    again: Option<(usize, Op)>,
    seen: Vec<Seen>,
}

impl<'a> Rival<'a> {
    pub fn new(arena: &'a Arena, id: usize, seed: u64) -> Self {
        let rng = Rng::new(seed.wrapping_mul(1_000) + id as u64);
        Rival { arena, id, rng, conn: None, again: None, seen: Vec::new() }
    }

    pub fn work(mut self, steps: usize) -> Vec<Seen> {
        for _ in 0..steps {
            let asked = match self.again.take() {
                Some((token, op)) => self.single(token, op).into_iter().collect(),
                None => self.next(),
            };
            if !asked.is_empty() {
                self.ask(&asked);
            }
        }
        self.seen
    }

    /// The next request, or several that are pipelined.
    fn next(&mut self) -> Vec<Asked> {
        let count = if self.rng.below(8) == 0 { 3 } else { 1 };
        (0..count).filter_map(|_| self.request()).collect()
    }

    fn request(&mut self) -> Option<Asked> {
        let (token, op) = self.any();
        if self.rng.below(4) > 0 {
            return self.single(token, op);
        }
        let others: Vec<usize> =
            (0..self.arena.slots.len()).filter(|_| self.rng.below(2) == 0).collect();
        match op {
            Op::Resolve | Op::Consume { .. } => {
                let named =
                    others.into_iter().filter_map(|at| Some((at, self.named(at).in_body()?)));
                let named: Vec<_> = named.collect();
                (!named.is_empty()).then(|| batch(&named, op))
            }
            Op::Issue { .. } => {
                let named = others.into_iter().map(|at| (at, &self.arena.slots[at].name, op));
                let named: Vec<_> =
                    named.filter(|(_, name, _)| matches!(name, Name::Order(_))).collect();
                (!named.is_empty()).then(|| issue_batch(&named))
            }
            _ => self.single(token, op),
        }
    }

    fn any(&mut self) -> (usize, Op) {
        let token = self.rng.below(self.arena.slots.len());
        let op = any_op(&mut self.rng, self.arena.ttls);
        match (&self.arena.slots[token].name, op) {
            // It was issued before the round, and no other issue makes it again.
            (Name::Random, Op::Issue { .. }) => (token, Op::Consume { key: Some(3) }),
            _ => (token, op),
        }
    }

    fn named(&self, token: usize) -> Named<'a> {
        let slot = &self.arena.slots[token];
        Named { name: &slot.name, text: slot.text.get().map(String::as_str) }
    }

    fn single(&self, token: usize, op: Op) -> Option<Asked> {
        one(token, &self.named(token), op)
    }

    /// Sends the requests and records the answers.
    fn ask(&mut self, asked: &[Asked]) {
        let Some((mut conn, server)) = self.connected() else { return };
        let bytes: Vec<u8> = asked.iter().flat_map(|asked| asked.bytes.clone()).collect();
        let began = self.arena.ticks.begin();
        let mut unanswered = asked.iter();
        let result = self.exchange(&mut conn, server, began, &bytes, &mut unanswered);
        match result {
            Ok(()) => self.conn = Some((conn, server)),
            Err(_) => unanswered.for_each(|asked| self.lose(asked, server, began)),
        }
    }

    fn exchange<'q>(
        &mut self,
        conn: &mut Conn,
        server: usize,
        began: Moment,
        bytes: &[u8],
        unanswered: &mut (impl Iterator<Item = &'q Asked> + Clone),
    ) -> io::Result<()> {
        conn.send(bytes)?;
        match self.rng.below(80) {
            // The connection is closed before the answer arrives.
            0 => return Err(io::ErrorKind::ConnectionAborted.into()),
            // The wait for the answer is short.
            1 => conn.writer()?.set_read_timeout(Some(Duration::from_micros(700)))?,
            _ => {}
        }
        loop {
            // The request stays in the iterator until its answer is read.
            let Some(asked) = unanswered.clone().next() else { break };
            let response = conn.response()?;
            let ended = self.arena.ticks.end();
            unanswered.next();
            for ((token, op), (answer, text)) in asked.parts.iter().zip(asked.read(&response)) {
                if let Some(text) = text {
                    let known = self.arena.slots[*token].text.get_or_init(|| text.clone());
                    assert_eq!(*known, text, "a reference or key has two tokens");
                }
                self.saw(*token, *op, answer, server, began, ended);
            }
        }
        conn.writer()?.set_read_timeout(Some(crate::raw::PATIENCE))
    }

    fn lose(&mut self, asked: &Asked, server: usize, began: Moment) {
        for &(token, op) in &asked.parts {
            if !op.only_reads() {
                self.saw(token, op, Answer::Lost, server, began, Moment::NEVER);
            }
            let has_key = matches!(op, Op::Issue { .. } | Op::Consume { key: Some(_) });
            if has_key && self.rng.below(4) > 0 {
                self.again = Some((token, op));
            }
        }
    }

    fn saw(
        &mut self,
        token: usize,
        op: Op,
        answer: Answer,
        server: usize,
        began: Moment,
        ended: Moment,
    ) {
        let call = Call { client: self.id, op, answer, began, ended };
        self.seen.push(Seen { token, call, server });
    }

    /// A connection to the server that runs now; waits until one runs.
    fn connected(&mut self) -> Option<(Conn, usize)> {
        if let Some(conn) = self.conn.take() {
            return Some(conn);
        }
        for _ in 0..20_000 {
            let (address, server) = *self.arena.server.read().expect("nobody panics with it");
            if let Some(conn) = address.and_then(|address| Conn::open(address).ok()) {
                return Some((conn, server));
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("no server came back");
    }
}
