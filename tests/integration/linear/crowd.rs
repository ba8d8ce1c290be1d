//! The attack on the real binary: rivals over HTTP, with `kill -9` and a restart in every third
//! round, while they work.

use std::sync::{OnceLock, RwLock};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::asked::Name;
use super::checker::assert_linearizable;
use super::history::{Answer, Call, Moment, Op, Ticks};
use super::model::Rules;
use super::rival::{Arena, Rival, Seen, Slot};
use super::simulated::Ttls;
use crate::client::{Client, Issued};
use crate::server::{Launch, Server};
use crate::support::{Rng, millis};
use crate::volume::{replay, seeds, tell};

const RULES: Rules = Rules { max_ttl_ms: 1_000, extends_late: true };
const TTLS: Ttls = Ttls { issue: [15, 50, 150, 900], extend: [10, 100, 800] };
const RIVALS: usize = 6;
const STEPS: usize = 25;
const TEST: &str = "p1_p2_p3_p4_rivals_crashes_and_lost_answers_are_linearizable";

/// The server of all rounds, and how it is started again.
struct House {
    launch: Launch,
    server: Option<Server>,
    _dir: TempDir,
}

#[derive(Default)]
struct Counts {
    histories: u64,
    calls: u64,
    longest: u64,
    lost: u64,
    crashes: u64,
    issued_again: u64,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let launch = Launch::on(dir.path()).flag("--max-ttl", "1s").flag("--default-ttl", "1s");
        let server = Some(launch.start());
        Self { launch, server, _dir: dir }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// Kills the server under its clients and starts another. Returns the moment by which the first
    /// was gone. The address is withdrawn first, so that no client looks for the dead server.
    fn crash(&mut self, arena: &Arena) -> Moment {
        arena.server.write().expect("nobody panics with it").0 = None;
        self.server.take().expect("it runs").kill9();
        let gone = arena.ticks.end();
        self.server = Some(self.launch.start());
        let mut place = arena.server.write().expect("nobody panics with it");
        *place = (Some(self.server().data), place.1 + 1);
        gone
    }
}

/// Two references, a token under an issue's key, and two random ones that are issued here.
fn arena(house: &House, seed: u64) -> (Arena, Vec<Seen>) {
    let ticks = Ticks::default();
    let names = [
        Name::Order(format!("linear-{seed}-a")),
        Name::Order(format!("linear-{seed}-b")),
        Name::IssueKey(format!("linear-{seed}")),
        Name::Random,
        Name::Random,
    ];
    let slot = |name| Slot { name, text: OnceLock::new() };
    let slots: Vec<_> = names.into_iter().map(slot).collect();
    let mut client = Client::of(house.server());
    let mut seen = Vec::new();
    for (token, ttl_ms, uses) in [(3, 60, 2), (4, 700, 3)] {
        let began = ticks.begin();
        let body = format!(r#"{{"payload":{token},"ttl":"{ttl_ms}ms","uses":{uses}}}"#);
        let issued: Issued = client.issued(&body);
        let ended = ticks.end();
        let deadline_ms = u64::try_from(millis(&issued.expires_at)).expect("after 1970");
        let answer = Answer::Issued { deadline_ms };
        let op = Op::Issue { payload: token as u8, ttl_ms, uses, peek: true };
        let call = Call { client: RIVALS, op, answer, began, ended };
        seen.push(Seen { token, call, server: 0 });
        slots[token].text.set(issued.token).expect("nobody else has it");
    }
    let server = RwLock::new((Some(house.server().data), 0));
    (Arena { slots, ticks, ttls: TTLS, server }, seen)
}

/// One round: the history of each token, and the number of kills of the server.
fn race(house: &mut House, seed: u64) -> (Vec<Vec<Call>>, u64) {
    let (arena, mut seen) = arena(house, seed);
    let mut rng = Rng::new(seed);
    let crashes = [0, 0, 1, 0, 0, 2][seed as usize % 6];
    let mut ends = Vec::new();
    thread::scope(|scope| {
        let arena = &arena;
        let rivals: Vec<_> = (0..RIVALS)
            .map(|id| scope.spawn(move || Rival::new(arena, id, seed).work(STEPS)))
            .collect();
        for _ in 0..crashes {
            thread::sleep(Duration::from_millis(5 + rng.below(60) as u64));
            ends.push(house.crash(arena));
        }
        for rival in rivals {
            seen.extend(rival.join().expect("a rival ends well"));
        }
    });
    let mut histories = vec![Vec::new(); arena.slots.len()];
    for Seen { token, mut call, server } in seen {
        if call.is_lost() {
            call.ended = ends.get(server).copied().unwrap_or(Moment::NEVER);
        }
        histories[token].push(call);
    }
    histories.iter_mut().for_each(|calls| calls.sort_by_key(|call| call.began.tick));
    (histories, crashes)
}

impl Counts {
    fn add(&mut self, history: &[Call]) {
        self.histories += 1;
        self.calls += history.len() as u64;
        self.longest = self.longest.max(history.len() as u64);
        self.lost += history.iter().filter(|call| call.is_lost()).count() as u64;
        let issues = history.iter().filter(|call| matches!(call.answer, Answer::Issued { .. }));
        self.issued_again += (issues.count() as u64).saturating_sub(1);
    }
}

#[test]
fn p1_p2_p3_p4_rivals_crashes_and_lost_answers_are_linearizable() {
    let mut house = House::new();
    let mut counts = Counts::default();
    for seed in seeds("linear", 60) {
        let (histories, crashes) = race(&mut house, seed);
        counts.crashes += crashes;
        for history in &histories {
            assert_linearizable(history, RULES, &replay(TEST, seed));
            counts.add(history);
        }
    }
    house.server.take().expect("it runs").stop_well();
    let counts = [
        ("histories", counts.histories),
        ("calls", counts.calls),
        ("longest", counts.longest),
        ("lost", counts.lost),
        ("crashes", counts.crashes),
        ("issued_again", counts.issued_again),
    ];
    tell("linear", &counts);
}
