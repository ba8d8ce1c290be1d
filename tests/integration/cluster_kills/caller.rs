//! Callers: each issues tokens, and resolves, consumes, revokes and issues again those of all, on any
//! node, and repeats what had no answer.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use crate::cluster::servers::within;
use crate::linear::history::{Answer, Call, Moment, Op, Ticks};
use crate::raw::{Conn, Response, request};
use crate::support::{Rng, millis, now_ms};

/// Tokens that callers work on at the same time.
const OPEN_MAX: usize = 12;
/// Calls of one token, about; then another takes its place.
const CALLS_MAX: usize = 18;
/// Pause after a call that did not happen.
const PAUSE: Duration = Duration::from_millis(20);
const TTL_MS: u64 = 3_600_000;

/// Where each node answers; `None` while it does not run.
pub type Addresses = Arc<RwLock<[Option<SocketAddr>; 3]>>;

/// A token and its history.
pub struct Token {
    name: String,
    text: String,
    op: Op,
    pub calls: Vec<Call>,
}

type Shared = Arc<Mutex<Token>>;

/// What the callers of a chapter share.
pub struct Arena {
    addresses: Addresses,
    ticks: Arc<Ticks>,
    pub stops: AtomicBool,
    seed: u64,
    /// Tokens at work, and those that are done.
    open: Mutex<Vec<Shared>>,
    done: Mutex<Vec<Shared>>,
    /// When a change was last acknowledged, and the longest time without one.
    acknowledged_ms: AtomicU64,
    silence_ms: AtomicU64,
}

/// Ends the callers when it is dropped.
pub struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Arena {
    pub fn new(addresses: Addresses, ticks: Arc<Ticks>, seed: u64) -> Self {
        Self {
            addresses,
            ticks,
            stops: AtomicBool::new(false),
            seed,
            open: Mutex::default(),
            done: Mutex::default(),
            acknowledged_ms: AtomicU64::new(wall_ms()),
            silence_ms: AtomicU64::new(0),
        }
    }

    pub fn ends_with(&self) -> Ends<'_> {
        Ends(&self.stops)
    }

    /// The longest time without an acknowledged change.
    pub fn silence_ms(&self) -> u64 {
        self.silence_ms.load(Ordering::Relaxed)
    }

    pub fn into_tokens(self) -> Vec<Token> {
        let lists = [self.open, self.done];
        let shared = lists
            .into_iter()
            .flat_map(|list| list.into_inner().unwrap_or_else(PoisonError::into_inner));
        let token = |one: Shared| Arc::into_inner(one).expect("no caller has it any more");
        shared.map(token).map(|one| one.into_inner().expect("nobody panicked with it")).collect()
    }

    fn goes_on(&self) -> bool {
        !self.stops.load(Ordering::SeqCst)
    }

    fn acknowledge(&self) {
        let now = wall_ms();
        let before = self.acknowledged_ms.swap(now, Ordering::Relaxed);
        self.silence_ms.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }
}

/// One caller.
pub struct Caller<'a> {
    arena: &'a Arena,
    id: usize,
    rng: Rng,
    conns: [Option<Conn>; 3],
    made: u64,
}

/// What an answer says of a call.
enum Read {
    /// It happened, or it may have.
    Call(Answer, Option<String>),
    /// It did not happen.
    Refused,
}

impl<'a> Caller<'a> {
    pub fn new(arena: &'a Arena, id: usize, seed: u64) -> Self {
        let rng = Rng::new(seed.wrapping_mul(1_000) + id as u64);
        Self { arena, id, rng, conns: [None, None, None], made: 0 }
    }

    pub fn work(mut self) {
        while self.arena.goes_on() {
            let open = lock(&self.arena.open).clone();
            if open.len() < OPEN_MAX && self.rng.below(3) == 0 || open.is_empty() {
                self.make();
                continue;
            }
            let token = &open[self.rng.below(open.len())];
            self.use_one(token);
            if lock(token).calls.len() >= CALLS_MAX {
                self.retire(token);
            }
        }
    }

    fn retire(&self, token: &Shared) {
        let mut open = lock(&self.arena.open);
        let Some(at) = open.iter().position(|one| Arc::ptr_eq(one, token)) else { return };
        let token = open.swap_remove(at);
        lock(&self.arena.done).push(token);
    }

    /// Issues a token under a key, and repeats that until it has an answer.
    fn make(&mut self) {
        let name = format!("{}-{}-{}", self.arena.seed, self.id, self.made);
        self.made += 1;
        let payload = self.rng.below(200) as u8;
        let uses = 1 + self.rng.below(3) as u8;
        let op = Op::Issue { payload, ttl_ms: TTL_MS, uses, peek: true };
        let mut token = Token { name, text: String::new(), op, calls: Vec::new() };
        while self.arena.goes_on() {
            let node = self.rng.below(3);
            let Some(call) = self.call(node, &mut token, op) else { continue };
            token.calls.push(call);
            if !call.is_lost() {
                lock(&self.arena.open).push(Arc::new(Mutex::new(token)));
                return;
            }
        }
        // Without an answer nobody knows its text, so there is nothing to judge.
    }

    /// One operation on a token that others use at the same time.
    fn use_one(&mut self, token: &Shared) {
        let key = (self.rng.below(3) > 0).then(|| self.rng.below(6) as u8);
        let op = match self.rng.below(20) {
            0..=6 => Op::Resolve,
            7..=16 => Op::Consume { key },
            17 | 18 => lock(token).op,
            _ => Op::Revoke,
        };
        let (name, text, issue) = {
            let token = lock(token);
            (token.name.clone(), token.text.clone(), token.op)
        };
        let mut asked = Token { name, text, op: issue, calls: Vec::new() };
        // A keyed call is repeated on other nodes when it had no answer.
        let tries = if matches!(op, Op::Consume { key: None } | Op::Revoke) { 1 } else { 4 };
        for _ in 0..tries {
            let node = self.rng.below(3);
            let Some(call) = self.call(node, &mut asked, op) else { continue };
            lock(token).calls.push(call);
            if !call.is_lost() {
                break;
            }
        }
    }

    /// Makes one call. `None` if it did not happen, or only would have read.
    fn call(&mut self, node: usize, token: &mut Token, op: Op) -> Option<Call> {
        let Some(mut conn) = self.conn(node) else {
            thread::sleep(PAUSE);
            return None;
        };
        let began = self.arena.ticks.begin();
        let answered = ask(&mut conn, token, op);
        let ended = self.arena.ticks.end();
        let read = match answered {
            Ok(response) => {
                let read = read(op, &response);
                if !response.closes() {
                    self.conns[node] = Some(conn);
                }
                read
            }
            Err(_) => Read::Call(Answer::Lost, None),
        };
        let Read::Call(answer, text) = read else {
            thread::sleep(PAUSE);
            return None;
        };
        if let Some(text) = text {
            assert!(token.text.is_empty() || token.text == text, "a key has two tokens");
            token.text = text;
        }
        let is_lost = answer == Answer::Lost;
        if is_lost && op.only_reads() {
            return None;
        }
        if !is_lost && !op.only_reads() {
            self.arena.acknowledge();
        }
        // A message without an answer may still land, at any time.
        let ended = if is_lost { Moment::NEVER } else { ended };
        Some(Call { client: self.id, op, answer, began, ended })
    }

    fn conn(&mut self, node: usize) -> Option<Conn> {
        if let Some(conn) = self.conns[node].take() {
            return Some(conn);
        }
        let address = self.arena.addresses.read().unwrap_or_else(PoisonError::into_inner)[node];
        Conn::open(address?).ok()
    }
}

fn ask(conn: &mut Conn, token: &Token, op: Op) -> io::Result<Response> {
    let (name, text) = (&token.name, &token.text);
    let path = format!("/v1/tokens/{text}");
    let json = ("Content-Type", "application/json");
    let bytes = match op {
        Op::Issue { payload, ttl_ms, uses, .. } => {
            let body = format!(r#"{{"payload":{payload},"ttl":"{ttl_ms}ms","uses":{uses}}}"#);
            request("POST", "/v1/tokens", &[json, ("Idempotency-Key", name)], body.as_bytes())
        }
        // A hit without it may be as old as the fence allows.
        Op::Resolve => request("GET", &path, &[("Jeton-Read", "linear")], b""),
        Op::Consume { key } => {
            let key = key.map(|key| format!("use-{key}"));
            let headers: Vec<_> = key.iter().map(|key| ("Idempotency-Key", key.as_str())).collect();
            request("POST", &format!("{path}/consume"), &headers, b"")
        }
        Op::Revoke => request("DELETE", &path, &[], b""),
        _ => panic!("{op} is not asked here"),
    };
    conn.send(&bytes)?;
    conn.response()
}

fn read(op: Op, response: &Response) -> Read {
    let call = |answer| Read::Call(answer, None);
    match (op, response.status) {
        (Op::Issue { .. }, 200 | 201) => {
            let body = response.json();
            let expires_at = body["expires_at"].as_str().expect("a deadline");
            let deadline_ms = u64::try_from(millis(expires_at)).expect("after 1970");
            let text = body["token"].as_str().expect("a token").to_owned();
            let answer = match response.status {
                201 => Answer::Issued { deadline_ms },
                _ => Answer::Exists { deadline_ms },
            };
            Read::Call(answer, Some(text))
        }
        (Op::Issue { .. }, 409) => call(Answer::Refused),
        (Op::Resolve | Op::Consume { .. }, 200) => {
            let payload = response.json().as_u64().expect("a payload of ours");
            call(Answer::Payload(u8::try_from(payload).expect("a payload of ours")))
        }
        (Op::Resolve | Op::Consume { .. }, 404) => call(Answer::Missing),
        (Op::Revoke, 204) => call(Answer::Revoked),
        (_, 503) => {
            let said = response.json()["detail"].as_str().unwrap_or_default().to_owned();
            match said.split(':').next() {
                Some("unknown") => call(Answer::Lost),
                Some("no-quorum" | "stale") => Read::Refused,
                _ => panic!("{op} was answered with {}", response.without_date()),
            }
        }
        _ => panic!("{op} was answered with {}", response.without_date()),
    }
}

impl Token {
    /// Reads it on a node, as the last call of its history. Where nothing lands for a second, as on a
    /// loaded machine, the node confirms no miss and is asked again.
    pub fn finish(&mut self, conn: &mut Conn, ticks: &Ticks) {
        let (answer, began, ended) = within("the node answers", || {
            let began = ticks.begin();
            let response = ask(conn, self, Op::Resolve).expect("all nodes run");
            match read(Op::Resolve, &response) {
                Read::Call(answer, _) => Ok((answer, began, ticks.end())),
                Read::Refused => Err(response.without_date()),
            }
        });
        let client = usize::MAX;
        self.calls.push(Call { client, op: Op::Resolve, answer, began, ended });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wall_ms() -> u64 {
    u64::try_from(now_ms()).expect("after 1970")
}
