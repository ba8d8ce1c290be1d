//! The kinds of load: look-ups, issues, consumes.

use crate::load::Work;
use crate::requests::{KEY_BYTES, Key, Target, derived_key, mix};
use crate::wire::{self, Protocol};

/// Look-ups of random keys, singly or in batches, without end.
pub struct Reads<'a> {
    target: Target,
    keys: &'a [Key],
    /// Payload number `i * stride` belongs to key number `i`.
    stride: usize,
    batch: Option<usize>,
    /// Set where the server always answers the same payload.
    fixed_payload: Option<usize>,
    next: u64,
}

impl<'a> Reads<'a> {
    /// Key number `i` must carry payload number `i`. `batch` is the number of keys in a request,
    /// `None` the plain look-up of one.
    pub fn new(target: &Target, keys: &'a [Key], batch: Option<usize>) -> Self {
        Self { target: target.clone(), keys, stride: 1, batch, fixed_payload: None, next: 0 }
    }

    /// Key number `i` must carry payload number `i * stride`: for a sample of what was issued.
    pub fn every(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Expects payload number `index` whatever is asked.
    pub fn always(mut self, index: usize) -> Self {
        self.fixed_payload = Some(index);
        self
    }

    fn chosen(&self, ticket: u64) -> impl Iterator<Item = (&'a Key, usize)> + use<'a> {
        let (keys, stride, fixed) = (self.keys, self.stride, self.fixed_payload);
        (0..self.batch.unwrap_or(1) as u64).map(move |offset| {
            let index = (mix(ticket + offset) % keys.len() as u64) as usize;
            (&keys[index], fixed.unwrap_or(index * stride))
        })
    }
}

impl Work for Reads<'_> {
    fn request(&mut self, output: &mut Vec<u8>) -> Option<u64> {
        let ticket = self.next;
        self.next += self.batch.unwrap_or(1) as u64;
        let keys: Vec<&Key> = self.chosen(ticket).map(|(key, _)| key).collect();
        self.target.encode_get(&keys, self.batch.is_some(), output);
        Some(ticket)
    }

    fn answer(&mut self, ticket: u64, answer: &[u8]) -> Result<u64, String> {
        let asked: Vec<(&Key, usize)> = self.chosen(ticket).collect();
        self.target.check_payloads(answer, &asked, self.batch.is_some())?;
        Ok(asked.len() as u64)
    }
}

/// Time to live, in milliseconds, of token number `index`.
pub type TtlMs<'a> = Box<dyn Fn(usize) -> u64 + Send + 'a>;

/// Issues of tokens number 0, 1, 2, …; elsewhere sets of keys of the same length.
pub struct Issues<'a> {
    target: Target,
    batch: Option<usize>,
    ttl_ms: TtlMs<'a>,
    base: usize,
    limit: usize,
    next: usize,
    keys: Vec<Key>,
    answered: Vec<Key>,
}

impl<'a> Issues<'a> {
    /// Issues until `limit` tokens exist; `batch` is the number of tokens in a request where the
    /// server takes several.
    pub fn new(target: &Target, batch: Option<usize>, limit: usize, ttl_ms: TtlMs<'a>) -> Self {
        Self {
            target: target.clone(),
            batch: batch.filter(|_| target.protocol == Protocol::Http),
            ttl_ms,
            base: 0,
            limit,
            next: 0,
            keys: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// Begins with another number, so that payloads and keys differ from those already there.
    pub fn starting_at(mut self, index: usize) -> Self {
        self.base = index;
        self.next = index;
        self.limit = self.limit.saturating_add(index);
        self
    }

    /// The keys in the order of their numbers: tokens as the server named them, or the keys it
    /// was given.
    pub fn into_keys(self) -> Vec<Key> {
        self.keys
    }

    fn items(&self, first: usize) -> usize {
        self.batch.unwrap_or(1).min(self.limit - first)
    }
}

impl Work for Issues<'_> {
    fn request(&mut self, output: &mut Vec<u8>) -> Option<u64> {
        if self.next >= self.limit {
            return None;
        }
        let first = self.next;
        self.next += self.items(first);
        let items: Vec<(usize, u64)> =
            (first..self.next).map(|index| (index, (self.ttl_ms)(index))).collect();
        let named = self.target.protocol != Protocol::Http;
        self.keys.resize(self.next - self.base, [0; KEY_BYTES]);
        if named {
            self.keys[first - self.base] = derived_key(first);
        }
        let key = named.then_some(&self.keys[first - self.base]);
        self.target.encode_issue(&items, key, self.batch.is_some(), output);
        Some(first as u64)
    }

    fn answer(&mut self, ticket: u64, answer: &[u8]) -> Result<u64, String> {
        let first = ticket as usize;
        let items = self.items(first);
        self.answered.clear();
        self.target.check_issue(answer, items, self.batch.is_some(), &mut self.answered)?;
        let place = first - self.base;
        self.keys[place..place + self.answered.len()].copy_from_slice(&self.answered);
        Ok(items as u64)
    }
}

/// Consumes of some tokens, in batches, each once.
pub struct Consumes<'a> {
    target: Target,
    tokens: &'a [(Key, usize)],
    batch: usize,
    next: usize,
}

impl<'a> Consumes<'a> {
    /// `tokens` are tokens with the numbers of their payloads.
    pub fn new(target: &Target, tokens: &'a [(Key, usize)], batch: usize) -> Self {
        Self { target: target.clone(), tokens, batch, next: 0 }
    }

    fn chosen(&self, first: usize) -> &'a [(Key, usize)] {
        &self.tokens[first..self.tokens.len().min(first + self.batch)]
    }
}

impl Work for Consumes<'_> {
    fn request(&mut self, output: &mut Vec<u8>) -> Option<u64> {
        let first = self.next;
        let chosen = self.chosen(first.min(self.tokens.len()));
        if chosen.is_empty() {
            return None;
        }
        self.next += chosen.len();
        let keys: Vec<&Key> = chosen.iter().map(|(key, _)| key).collect();
        self.target.encode_consume(&keys, output);
        Some(first as u64)
    }

    fn answer(&mut self, ticket: u64, answer: &[u8]) -> Result<u64, String> {
        let asked: Vec<(&Key, usize)> =
            self.chosen(ticket as usize).iter().map(|(key, index)| (key, *index)).collect();
        self.target.check_payloads(answer, &asked, true)?;
        Ok(asked.len() as u64)
    }
}

/// Proves that a wrong payload does not pass: the generator is only as good as its comparison.
pub fn self_check() -> Result<(), String> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let target = Target::new(Protocol::Http, address);
    let keys = [derived_key(0)];
    let mut reads = Reads::new(&target, &keys, None);
    let ticket = reads.request(&mut Vec::new()).ok_or("reads must not end")?;
    let right = http_ok(&crate::requests::payload(0));
    let wrong = http_ok(&crate::requests::payload(1));
    reads.answer(ticket, &right)?;
    match reads.answer(ticket, &wrong) {
        Err(_) => Ok(()),
        Ok(_) => Err(format!("a wrong payload passed: {}", wire::excerpt(&wrong))),
    }
}

/// An HTTP answer as jeton gives it, for the places where jeton itself cannot be asked.
pub fn http_ok(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         content-length: {}\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
