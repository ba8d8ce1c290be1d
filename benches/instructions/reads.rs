//! Resolves: from the token's text, from its digest, in batches, in the store alone, and from the
//! bytes of a request.

use jeton::model::entry::{Entry, JournalPart, Parts};
use jeton::model::time::UnixMillis;
use jeton::model::token::{Digest, Token};
use jeton::store::{Lookup, Store};
use jeton::testkit::connection::Loose;
use jeton::testkit::stepped::Stepped;

use crate::support::{self, BATCH_LEN};
use crate::{DEADLINE, Fixture, LIVING, NOW, engine, hasher};

/// Operations of a function.
const TIMES: usize = 1_000;
/// Requests that are sent before the first answer is read.
const PIPELINED: usize = 16;

/// Which tokens are asked for.
struct Picks {
    numbers: Vec<usize>,
    tokens: Vec<Token>,
    digests: Vec<Digest>,
    /// Whether they live.
    are_hits: bool,
}

impl Picks {
    /// Some of those that live, in no order.
    fn hits() -> Self {
        let mut random = support::Random(1);
        Self::of((0..TIMES).map(|_| random.below(LIVING)).collect(), true)
    }

    /// As many that nobody issued.
    fn misses() -> Self {
        Self::of((LIVING..LIVING + TIMES).collect(), false)
    }

    fn of(numbers: Vec<usize>, are_hits: bool) -> Self {
        let digester = support::digester();
        let tokens: Vec<Token> = numbers.iter().map(|n| support::token(&digester, *n)).collect();
        let digests = tokens.iter().map(|token| digester.digest(token)).collect();
        Self { numbers, tokens, digests, are_hits }
    }
}

/// What was found: the sum of the numbers tells whether it was the right ones.
#[derive(Debug, Default, PartialEq)]
struct Found {
    count: usize,
    sum: usize,
}

impl Found {
    fn add(&mut self, number: usize) {
        self.count += 1;
        self.sum += number;
    }

    fn check(&self, picks: &Picks) {
        let wanted = match picks.are_hits {
            true => Self { count: TIMES, sum: picks.numbers.iter().sum() },
            false => Self::default(),
        };
        assert_eq!(*self, wanted);
    }
}

/// Resolves by way of the engine.
pub struct Reads {
    stepped: Stepped,
    picks: Picks,
    texts: Vec<String>,
    found: Found,
    answer: Vec<u8>,
}

impl Reads {
    /// Asks for tokens that are there.
    pub fn hits() -> Self {
        Self::of(Picks::hits())
    }

    /// Asks for tokens that never were.
    pub fn misses() -> Self {
        Self::of(Picks::misses())
    }

    fn of(picks: Picks) -> Self {
        Self {
            stepped: engine(),
            texts: picks.tokens.iter().map(|token| token.text().as_str().to_owned()).collect(),
            picks,
            found: Found::default(),
            answer: Vec::with_capacity(BATCH_LEN * support::PAYLOAD_LEN),
        }
    }

    /// From the text of a token to its payload.
    pub fn text(&mut self) {
        let engine = self.stepped.engine();
        for text in &self.texts {
            let token = Token::parse(text.as_bytes()).expect("a token");
            let digest = engine.digest(&token);
            let number = engine.resolve(&digest, engine.now(), support::number_in);
            number.into_iter().for_each(|number| self.found.add(number));
        }
    }

    /// As [`Reads::text`], with the digest computed beforehand.
    pub fn digest(&mut self) {
        let engine = self.stepped.engine();
        for digest in &self.picks.digests {
            let number = engine.resolve(digest, engine.now(), support::number_in);
            number.into_iter().for_each(|number| self.found.add(number));
        }
    }

    /// A hundred digests at a time, the payloads copied one behind the other.
    pub fn batch_of_100(&mut self) {
        let (engine, found) = (self.stepped.engine(), &mut self.found);
        for digests in self.picks.digests.chunks(BATCH_LEN) {
            self.answer.clear();
            engine.resolve_many(digests, engine.now(), |payload| {
                if let Some(payload) = payload {
                    self.answer.extend_from_slice(payload);
                    found.add(support::number_in(payload));
                }
            });
        }
    }
}

impl Fixture for Reads {
    fn check(&mut self) {
        self.found.check(&self.picks);
    }
}

/// Look-ups in the store, with nothing around it.
pub struct Lookups {
    store: Store,
    picks: Picks,
    found: Found,
}

impl Lookups {
    /// Asks for tokens that are there.
    pub fn hits() -> Self {
        Self::of(Picks::hits())
    }

    /// Asks for tokens that never were.
    pub fn misses() -> Self {
        Self::of(Picks::misses())
    }

    fn of(picks: Picks) -> Self {
        let store = Store::with_hasher(&hasher());
        let pinned = store.pin();
        for (n, digest) in support::digests(0..LIVING).into_iter().enumerate() {
            assert!(pinned.insert(digest, entry(n)).is_none(), "tokens differ");
        }
        drop(pinned);
        Self { store, picks, found: Found::default() }
    }

    /// One after another.
    pub fn one(&mut self) {
        for digest in &self.picks.digests {
            if let Lookup::Found(number) = self.store.resolve(digest, NOW, support::number_in) {
                self.found.add(number);
            }
        }
    }

    /// A hundred at a time.
    pub fn batch_of_100(&mut self) {
        for digests in self.picks.digests.chunks(BATCH_LEN) {
            self.store.resolve_many(digests, NOW, |found| {
                if let Lookup::Found(payload) = found {
                    self.found.add(support::number_in(payload));
                }
            });
        }
    }
}

impl Fixture for Lookups {
    fn check(&mut self) {
        self.found.check(&self.picks);
    }
}

fn entry(n: usize) -> Entry {
    let parts = Parts {
        payload: &support::payload(n),
        deadline: DEADLINE,
        issued_at: UnixMillis(NOW.0 - 1),
        uses_left: 1,
        uses_total: 1,
        peek: true,
        derived: false,
        keys: &[],
    };
    Entry::new(&parts, JournalPart(0))
}

/// Requests of one connection through the hot path.
pub struct Gets {
    connection: Loose,
    picks: Picks,
    requests: Vec<String>,
    /// The same, as clients send them that do not wait, and as lists.
    pipelines: Vec<String>,
    lists: Vec<String>,
    answer: Vec<u8>,
    ok: usize,
    /// Kept for its store; the connection has a handle to it.
    _stepped: Stepped,
}

impl Gets {
    /// Asks for tokens that are there.
    pub fn hits() -> Self {
        Self::of(Picks::hits())
    }

    /// Asks for tokens that never were.
    pub fn misses() -> Self {
        Self::of(Picks::misses())
    }

    fn of(picks: Picks) -> Self {
        let stepped = engine();
        let request = |token: &Token| {
            let text = token.text();
            format!(
                "GET /v1/tokens/{} HTTP/1.1\r\nHost: 127.0.0.1:7450\r\n\
                 User-Agent: bench\r\nAccept: */*\r\n\r\n",
                text.as_str()
            )
        };
        let requests: Vec<String> = picks.tokens.iter().map(request).collect();
        Self {
            connection: Loose::new(stepped.engine()),
            pipelines: requests.chunks(PIPELINED).map(<[String]>::concat).collect(),
            lists: picks.tokens.chunks(BATCH_LEN).map(list).collect(),
            requests,
            picks,
            answer: Vec::with_capacity(4_096),
            ok: 0,
            _stepped: stepped,
        }
    }

    /// One request after another, each with its answer.
    pub fn get(&mut self) {
        for request in &self.requests {
            let is_served = self.connection.serve(request.as_bytes(), &mut self.answer);
            assert!(is_served, "the request is canonical");
            self.ok += usize::from(self.answer.starts_with(b"HTTP/1.1 200 "));
        }
    }

    /// Sixteen requests at a time.
    pub fn pipelined(&mut self) {
        for (requests, numbers) in self.pipelines.iter().zip(self.picks.numbers.chunks(PIPELINED)) {
            let is_served = self.connection.serve(requests.as_bytes(), &mut self.answer);
            assert!(is_served, "the requests are canonical");
            self.ok += if self.answer.starts_with(b"HTTP/1.1 200 ") { numbers.len() } else { 0 };
        }
    }
}

impl Fixture for Lists {
    fn check(&mut self) {
        assert_eq!(self.0.ok, TIMES);
        let last = *self.0.picks.numbers.last().expect("some are asked for");
        assert!(self.0.answer.ends_with(&[&support::payload(last)[..], b"]"].concat()));
    }
}

/// Lists of a hundred tokens of one connection through the hot path.
pub struct Lists(Gets);

impl Lists {
    /// Asks for tokens that are there.
    pub fn hits() -> Self {
        Self(Gets::hits())
    }

    /// One list after another, each with its answer.
    pub fn post(&mut self) {
        let Gets { connection, lists, answer, ok, .. } = &mut self.0;
        for list in lists {
            let is_served = connection.serve(list.as_bytes(), answer);
            assert!(is_served, "the list is plain");
            *ok += if answer.starts_with(b"HTTP/1.1 200 ") { BATCH_LEN } else { 0 };
        }
    }
}

fn list(tokens: &[Token]) -> String {
    let texts: Vec<_> =
        tokens.iter().map(|token| format!("\"{}\"", token.text().as_str())).collect();
    let body = format!("{{\"tokens\":[{}]}}", texts.join(","));
    let len = body.len();
    format!(
        "POST /v1/resolve HTTP/1.1\r\nHost: 127.0.0.1:7450\r\n\
         Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}

impl Fixture for Gets {
    fn check(&mut self) {
        assert_eq!(self.ok, if self.picks.are_hits { TIMES } else { 0 });
        let status = if self.picks.are_hits { "HTTP/1.1 200 OK\r\n" } else { "HTTP/1.1 404 " };
        assert!(self.answer.starts_with(status.as_bytes()), "the last answer's status");
        if let (true, Some(n)) = (self.picks.are_hits, self.picks.numbers.last()) {
            assert!(self.answer.ends_with(&support::payload(*n)), "the last answer's payload");
        }
    }
}
