//! The load of the demo: callers that issue a token on one node, resolve it on the next, consume it
//! on the third and try that again, and the tokens that several callers want at the same time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use tokio::join;
use tokio::task::{JoinHandle, spawn_local};

use super::failure::DemoFailure;
use super::stage::{COUNT, Stage};
use super::wires::{Call, Lines};
use crate::cli::wire::Answer;
use crate::clock::{Clock, SystemClock};

/// Callers on each node.
const CALLERS: usize = 4;
/// One of so many tokens is not consumed: it must be there at the end.
const KEPT: u64 = 4;

/// What the callers know.
#[derive(Default)]
pub(super) struct Tally {
    /// Changes that were acknowledged.
    pub(super) acknowledged: Cell<u64>,
    /// Changes that were acknowledged and then not found.
    pub(super) lost: Cell<u64>,
    /// Tokens that were consumed by more than one caller.
    pub(super) twice: Cell<u64>,
    /// Tokens that several callers tried to consume at once.
    pub(super) contested: Cell<u64>,
    /// The longest time without an acknowledged change.
    pub(super) silence: Cell<Duration>,
    /// When a change was last acknowledged.
    last: Cell<Duration>,
    /// Tokens that were not consumed, with their payloads.
    pub(super) kept: RefCell<Vec<(String, String)>>,
    /// Tokens that were consumed.
    pub(super) consumed: RefCell<Vec<String>>,
}

impl Tally {
    fn acknowledge(&self, now: Duration) {
        self.acknowledged.set(self.acknowledged.get() + 1);
        let silence = now.saturating_sub(self.last.replace(now));
        self.silence.set(self.silence.get().max(silence));
    }

    /// How long nothing has been acknowledged.
    pub(super) fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last.get())
    }

    fn count(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }
}

/// Callers at work.
pub(super) struct Callers {
    crew: Rc<Crew>,
    tasks: Vec<JoinHandle<Result<(), DemoFailure>>>,
}

struct Crew {
    clock: SystemClock,
    urls: Vec<String>,
    tally: Rc<Tally>,
    stops: Cell<bool>,
}

impl Callers {
    pub(super) fn begin(stage: &Stage, tally: &Rc<Tally>) -> Self {
        let crew = Rc::new(Crew::new(stage, tally));
        tally.last.set(crew.clock.monotonic());
        let work = |id| spawn_local(Rc::clone(&crew).work(id));
        let tasks = (0..COUNT * CALLERS).map(work).collect();
        Self { crew, tasks }
    }

    /// The time on the callers' clock.
    pub(super) fn now(&self) -> Duration {
        self.crew.clock.monotonic()
    }

    /// Ends the load; each caller finishes what it has begun.
    pub(super) async fn finish(self) -> Result<(), DemoFailure> {
        self.crew.stops.set(true);
        for task in self.tasks {
            match task.await {
                Ok(done) => done?,
                Err(error) => {
                    let failed = std::io::Error::other(error.to_string());
                    return Err(DemoFailure::io("go on calling")(failed));
                }
            }
        }
        Ok(())
    }
}

/// Issues tokens, and lets callers on all nodes consume each of them at the same time.
pub(super) async fn rivals(
    stage: &Stage,
    tally: &Rc<Tally>,
    tokens: u64,
) -> Result<(), DemoFailure> {
    let crew = Crew::new(stage, tally);
    let [mut one, mut two, mut three] = [(); COUNT].map(|()| Lines::to(&crew.urls));
    tally.last.set(crew.clock.monotonic());
    for n in 0..tokens {
        let payload = format!(r#"{{"order":"rival-{n}"}}"#);
        let token = crew.issue(&mut one, 0, &format!("rival-{n}"), &payload).await?;
        let consume = |id: usize| Call::consume(format!("rival-{n}-{id}"), &token);
        let (calls, clock) = ([consume(0), consume(1), consume(2)], &crew.clock);
        let (first, second, third) = join!(
            one.certain(clock, 0, &calls[0]),
            two.certain(clock, 1, &calls[1]),
            three.certain(clock, 2, &calls[2])
        );
        let mut winners = 0;
        for answer in [first?, second?, third?] {
            winners += u64::from(crew.consumed(&answer, &calls[0], &payload)?);
        }
        Tally::count(&tally.contested);
        match winners {
            0 => Tally::count(&tally.lost),
            1 => {}
            _ => Tally::count(&tally.twice),
        }
        tally.consumed.borrow_mut().push(token);
    }
    Ok(())
}

impl Crew {
    fn new(stage: &Stage, tally: &Rc<Tally>) -> Self {
        let urls = (0..COUNT).map(|n| stage.data(n)).collect();
        Self { clock: SystemClock::new(), urls, tally: Rc::clone(tally), stops: Cell::new(false) }
    }

    async fn work(self: Rc<Self>, id: usize) -> Result<(), DemoFailure> {
        let mut lines = Lines::to(&self.urls);
        for n in 0.. {
            if self.stops.get() {
                break;
            }
            let (name, home) = (format!("{id}-{n}"), id % COUNT);
            let payload = format!(r#"{{"order":"{name}"}}"#);
            let token = self.issue(&mut lines, home, &name, &payload).await?;
            let call = Call::resolve(&token);
            let found = lines.certain(&self.clock, home + 1, &call).await?;
            match found.status {
                StatusCode::OK if found.body == payload => {}
                StatusCode::NOT_FOUND => Tally::count(&self.tally.lost),
                _ => return Err(unexpected(&call, &found)),
            }
            if n % KEPT == 0 {
                self.tally.kept.borrow_mut().push((token, payload));
                continue;
            }
            let call = Call::consume(format!("consume-{name}"), &token);
            let answer = lines.certain(&self.clock, home + 2, &call).await?;
            if !self.consumed(&answer, &call, &payload)? {
                Tally::count(&self.tally.lost);
            }
            let call = Call::consume(format!("again-{name}"), &token);
            let again = lines.certain(&self.clock, home, &call).await?;
            if self.consumed(&again, &call, &payload)? {
                Tally::count(&self.tally.twice);
            }
            self.tally.consumed.borrow_mut().push(token);
        }
        Ok(())
    }

    /// Issues under a key, so that a repeated call makes one token.
    async fn issue(
        &self,
        lines: &mut Lines,
        home: usize,
        name: &str,
        payload: &str,
    ) -> Result<String, DemoFailure> {
        let call = Call::issue(format!("issue-{name}"), payload);
        let answer = lines.certain(&self.clock, home, &call).await?;
        let token = token_of(&call, &answer)?;
        self.tally.acknowledge(self.clock.monotonic());
        Ok(token)
    }

    /// Whether a consume was given the payload.
    fn consumed(&self, answer: &Answer, call: &Call, payload: &str) -> Result<bool, DemoFailure> {
        match answer.status {
            StatusCode::OK if answer.body == *payload => {
                self.tally.acknowledge(self.clock.monotonic());
                Ok(true)
            }
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(unexpected(call, answer)),
        }
    }
}

/// The token of an issue.
pub(super) fn token_of(call: &Call, answer: &Answer) -> Result<String, DemoFailure> {
    #[derive(serde::Deserialize)]
    struct Issued {
        token: String,
    }
    let issued = serde_json::from_slice::<Issued>(&answer.body);
    match (answer.status, issued) {
        (StatusCode::CREATED | StatusCode::OK, Ok(issued)) => Ok(issued.token),
        _ => Err(unexpected(call, answer)),
    }
}

/// An answer that no call of the demo should get.
pub(super) fn unexpected(call: &Call, answer: &Answer) -> DemoFailure {
    DemoFailure::Answer {
        call: format!("{} {}", call.method, super::wires::without_token(&call.path)),
        status: answer.status.as_u16(),
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    }
}
