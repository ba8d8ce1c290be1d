//! Imports that are killed while both sides are written to and consumed, from a server that is
//! started again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use super::source::{Source, begun_unread, count, import, said};
use crate::resp_data::redis::Jeton;
use crate::resp_data::wire::{Wire, encode, show};
use crate::server::output;
use crate::support::{Over, Rng, comes_true};
use crate::volume::{tell, volume};

/// How long a key that was not confirmed lives at most, and some time to notice.
const PROBATION: Duration = Duration::from_secs(31);

/// What the clients do and know.
struct Shop<'a> {
    source: &'a RwLock<Source>,
    jeton: &'a Jeton,
    keys: AtomicU64,
    consumed: Mutex<HashSet<u64>>,
    is_over: AtomicBool,
}

fn key(number: u64) -> String {
    format!("session:{number}")
}

fn is_some(answer: &str) -> bool {
    assert!(answer.starts_with('$'), "{answer}");
    !answer.starts_with("$-1")
}

impl Shop<'_> {
    /// Sells, until it is over: issues in the source, and consumes there first and then in jeton, or
    /// in jeton alone.
    fn run(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut there = self.jeton.wire();
        while !self.is_over.load(Ordering::Relaxed) {
            // Held while the source is asked, so that it is not stopped with a question open.
            let source = self.source.read().expect("no panic");
            let mut here = source.wire();
            for _ in 0..50 {
                let keys = self.keys.load(Ordering::Relaxed);
                let number = rng.below(usize::try_from(keys).expect("small")) as u64;
                match rng.below(4) {
                    0 => self.issue(&mut here),
                    1 => self.consume_in_jeton(&mut there, number),
                    _ => self.consume_in_both(&mut here, &mut there, number),
                }
            }
            drop(source);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn issue(&self, here: &mut Wire) {
        let number = self.keys.fetch_add(1, Ordering::Relaxed);
        here.say(&format!("SET {} {{\"order\":{number}}} PX {}", key(number), 600_000 + number));
    }

    fn consume_in_both(&self, here: &mut Wire, there: &mut Wire, number: u64) {
        if is_some(&here.say(&format!("GETDEL {}", key(number)))) {
            there.say(&format!("DEL {}", key(number)));
            self.consumed.lock().expect("no panic").insert(number);
        }
    }

    fn consume_in_jeton(&self, there: &mut Wire, number: u64) {
        if is_some(&there.say(&format!("GETDEL {}", key(number)))) {
            self.consumed.lock().expect("no panic").insert(number);
        }
    }
}

fn fill(source: &Source, keys: u64) {
    let mut wire = source.wire();
    for begin in (0..keys).step_by(1_000) {
        let end = keys.min(begin + 1_000);
        let mut bytes = Vec::new();
        for number in begin..end {
            let (key, value) = (key(number), format!("{{\"order\":{number}}}"));
            let ttl = (600_000 + number).to_string();
            bytes.extend(encode(&[
                b"SET",
                key.as_bytes(),
                value.as_bytes(),
                b"PX",
                ttl.as_bytes(),
            ]));
        }
        wire.send(&bytes);
        (begin..end).for_each(|_| assert_eq!(show(&wire.answer()), "+OK\\r\\n"));
    }
}

#[test]
fn p2_nothing_consumed_lives_again_through_kills_and_a_restart_of_the_source() {
    let Some(source) = Source::start("import: kills") else { return };
    let keys = volume("import_keys", 20_000);
    fill(&source, keys);
    let large = |launch: crate::server::Launch| launch.flag("--log-min-size", "64MiB");
    let jeton = Jeton::start_with(|it| large(it).flag("--sync", "never"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = RwLock::new(source);
    let shop = Shop {
        source: &source,
        jeton: &jeton,
        keys: AtomicU64::new(keys),
        consumed: Mutex::default(),
        is_over: AtomicBool::new(false),
    };
    let url = source.read().expect("no panic").url();
    let rate = (keys / 5).to_string();
    let shop = &shop;
    let text = std::thread::scope(|scope| {
        let _over = Over(&shop.is_over);
        let clients: Vec<_> = [1, 2].map(|seed| scope.spawn(move || shop.run(seed))).into();
        let mut rng = Rng::new(7);
        for round in 0..6 {
            let mut child = begun_unread(import(&url, &jeton, &dir).args(["--rate", &rate]));
            std::thread::sleep(Duration::from_millis(200 + rng.below(500) as u64));
            if round == 3 {
                source.write().expect("no panic").restart();
                std::thread::sleep(Duration::from_millis(300));
            }
            child.kill().expect("a child of ours");
            child.wait().expect("it has ended");
        }
        let (_, first) = said(&output(&mut import(&url, &jeton, &dir)));
        shop.is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("no panic"));
        first
    });
    let (_, second) = said(&output(&mut import(&url, &jeton, &dir)));
    let unknown = count(&second, "unknown");
    check(shop, unknown, &format!("{text}{second}"));
}

fn check(shop: &Shop<'_>, unknown: u64, text: &str) {
    let consumed = shop.consumed.lock().expect("no panic");
    let (source, jeton) = (shop.source.read().expect("no panic"), shop.jeton);
    let (mut here, mut there) = (source.wire(), jeton.wire());
    let mut alive: Vec<u64> = consumed
        .iter()
        .copied()
        .filter(|number| is_some(&there.say(&format!("GET {}", key(*number)))))
        .collect();
    // Only what an import that was killed had not confirmed, and only for a moment.
    if !alive.is_empty() {
        std::thread::sleep(PROBATION);
        alive.retain(|number| is_some(&there.say(&format!("GET {}", key(*number)))));
    }
    assert!(alive.is_empty(), "{} consumed keys live: {text}", alive.len());
    let number = |answer: String| -> i64 {
        answer.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("a number")
    };
    let (mut both, mut missing, mut furthest) = (0, 0, 0);
    for at in 0..shop.keys.load(Ordering::Relaxed) {
        let asked = format!("PEXPIRETIME {}", key(at));
        let here = number(here.say(&asked));
        if here < 0 || consumed.contains(&at) {
            continue;
        }
        match number(there.say(&asked)) {
            -2 => missing += 1,
            there => {
                both += 1;
                furthest = furthest.max((there - here).abs());
            }
        }
    }
    assert!(missing <= unknown, "{missing} keys are missing, {unknown} are told: {text}");
    assert!(both > 0 && !consumed.is_empty(), "{text}");
    tell(
        "import",
        &[
            ("both", both),
            ("consumed", consumed.len() as u64),
            ("unknown", unknown),
            ("furthest_ms", furthest.unsigned_abs()),
        ],
    );
}

#[test]
fn p3_deadlines_are_those_of_the_source_within_100_ms() {
    let Some(source) = Source::start("import: deadlines") else { return };
    let jeton = Jeton::start();
    let dir = tempfile::tempdir().expect("a temporary folder");
    for number in 0..100 {
        source.say(&format!("SET k{number} 1 PX {}", 2_000 + 1_000 * number));
    }
    let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
    assert_eq!((code, count(&text, "copied")), (0, 100), "{text}");
    // On a loaded machine an answer may take longer than that; the next pass sees it.
    let is_near = || {
        let furthest = furthest(&source, &jeton);
        furthest <= 100 || {
            output(&mut import(&source.url(), &jeton, &dir));
            false
        }
    };
    assert!(comes_true(is_near), "{} ms", furthest(&source, &jeton));
}

/// The largest difference between deadlines of the two sides, in milliseconds.
fn furthest(source: &Source, jeton: &Jeton) -> u64 {
    let (mut here, mut there) = (source.wire(), jeton.wire());
    let mut furthest = 0;
    for number in 0..100 {
        let deadline = |wire: &mut Wire| -> i64 {
            let answer = wire.say(&format!("PEXPIRETIME k{number}"));
            answer.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("a number")
        };
        let (here, there) = (deadline(&mut here), deadline(&mut there));
        // The first ones may have ended meanwhile.
        if here >= 0 && there >= 0 {
            furthest = furthest.max(here.abs_diff(there));
        }
    }
    furthest
}
