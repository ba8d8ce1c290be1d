//! Rivals and kill -9 against `EXEC`: half of one is never seen, by readers or after a restart; and a
//! deadline that was set earlier holds.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::redis::Jeton;
use super::wire::{Wire, encode, show};
use crate::server::Launch;
use crate::support::{Over, Rng};
use crate::volume::{Round, seeds, tell, volume};

const WRITERS: usize = 4;
/// Keys that every transaction of a writer sets to the same number.
const KEYS: usize = 3;

/// The whole of a transaction in one piece.
fn transaction(commands: &[Vec<&[u8]>]) -> Vec<u8> {
    let mut pipeline = encode(&[b"MULTI"]);
    commands.iter().for_each(|command| pipeline.extend(encode(command)));
    pipeline.extend(encode(&[b"EXEC"]));
    pipeline
}

/// Sends a transaction of `count` commands, and returns the answer to its `EXEC`.
fn execute(wire: &mut Wire, transaction: &[u8], count: usize) -> io::Result<Vec<u8>> {
    wire.try_send(transaction)?;
    for _ in 0..=count {
        wire.try_answer()?;
    }
    wire.try_answer()
}

/// One that counts up, in several keys at once.
struct Writer {
    keys: Vec<Vec<u8>>,
    acknowledged: u64,
    sent: u64,
}

impl Writer {
    fn new(id: usize) -> Self {
        let keys = (0..KEYS).map(|n| format!("writer:{id}:{n}").into_bytes()).collect();
        Self { keys, acknowledged: 0, sent: 0 }
    }

    /// Counts until the server is gone. Each third transaction removes the keys before it sets them.
    fn count(&mut self, address: SocketAddr) -> io::Result<()> {
        let mut wire = Wire::try_open(address)?;
        loop {
            self.sent += 1;
            let number = self.sent.to_string().into_bytes();
            let mut commands: Vec<Vec<&[u8]>> = Vec::new();
            if self.sent.is_multiple_of(3) {
                commands.extend(self.keys.iter().map(|key| vec![&b"DEL"[..], key]));
            }
            for key in &self.keys {
                commands.push(vec![b"SET", key, &number, b"EX", b"1000"]);
            }
            let answer = execute(&mut wire, &transaction(&commands), commands.len())?;
            assert!(answer.starts_with(b"*"), "{}", show(&answer));
            self.acknowledged = self.sent;
        }
    }

    /// What the keys hold: one number, the same in all of them.
    fn seen(&self, wire: &mut Wire) -> io::Result<u64> {
        let mut command: Vec<&[u8]> = vec![b"MGET"];
        command.extend(self.keys.iter().map(Vec::as_slice));
        wire.try_send(&encode(&command))?;
        Ok(self.number_in(&wire.try_answer()?))
    }

    fn number_in(&self, answer: &[u8]) -> u64 {
        let text = show(answer);
        let parts: Vec<&str> = text.split("\\r\\n").collect();
        let values: Vec<&str> = match parts[0] {
            "*3" if text.contains("$-1") => {
                assert_eq!(text.matches("$-1").count(), KEYS, "half of a transaction: {text}");
                return 0;
            }
            "*3" => parts[1..].iter().skip(1).step_by(2).copied().collect(),
            _ => panic!("no array of three: {text}"),
        };
        assert!(values.iter().all(|value| *value == values[0]), "half of a transaction: {text}");
        values[0].parse().unwrap_or_else(|_| panic!("no number: {text}"))
    }
}

fn work_until_killed(jeton: Jeton, writers: &mut [Writer], delay: Duration) -> u64 {
    let is_killed = AtomicBool::new(false);
    let address = jeton.address;
    let watched: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    thread::scope(|scope| {
        let is_killed = &is_killed;
        for writer in writers {
            scope.spawn(move || {
                let ended = writer.count(address);
                assert!(is_killed.load(Ordering::SeqCst), "the server failed by itself: {ended:?}");
            });
        }
        let readers: Vec<_> = watched
            .iter()
            .map(|writer| {
                scope.spawn(move || {
                    // The server may be gone before this thread has its turn.
                    let Ok(mut wire) = Wire::try_open(address) else { return 0 };
                    let (mut last, mut looks) = (0, 0);
                    while let Ok(seen) = writer.seen(&mut wire) {
                        assert!(seen >= last, "{seen} after {last}");
                        (last, looks) = (seen, looks + 1);
                    }
                    looks
                })
            })
            .collect();
        thread::sleep(delay);
        is_killed.store(true, Ordering::SeqCst);
        jeton.server.kill9();
        readers.into_iter().map(|reader| reader.join().expect("it ends well")).sum()
    })
}

fn launch(dir: &Path) -> Launch {
    Launch::on(dir).flag("--resp-listen", "127.0.0.1:0")
}

#[test]
fn p1_p4_half_a_transaction_is_never_seen_live_or_after_a_kill() {
    let (rounds, seed) = (volume("resp_kills", 8), seeds("resp_kill_seeds", 1).start);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let (mut rng, mut looks) = (Rng::new(seed), 0);
    for round in 0..rounds {
        let _told = Round { test: "p1_p4_half_a_transaction", attack: "resp_kills", seed, round };
        let jeton = Jeton::of(launch(dir.path()).start());
        let mut wire = jeton.wire();
        for writer in &mut writers {
            let seen = writer.seen(&mut wire).expect("it answers");
            let possible = writer.acknowledged..=writer.sent;
            assert!(possible.contains(&seen), "{seen} is not in {possible:?}");
            (writer.acknowledged, writer.sent) = (seen, seen);
        }
        let delay = Duration::from_millis(50 + rng.below(300) as u64);
        looks += work_until_killed(jeton, &mut writers, delay);
    }
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    assert!(acknowledged > 0 && looks > 0, "{acknowledged} transactions, {looks} looks");
    tell("resp_kills", &[("rounds", rounds), ("acknowledged", acknowledged), ("looks", looks)]);
}

/// `MSET`, `DEL` and `UNLINK` of several keys are transactions too. So many that they are looked up in
/// several steps.
#[test]
fn p4_half_of_a_list_is_never_seen() {
    const KEYS: usize = 40;
    let jeton = Jeton::start();
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|n| format!("list:{n}").into_bytes()).collect();
    let of = |name: &'static [u8], keys: &[Vec<u8>], value: Option<&'static [u8]>| {
        let mut words = vec![name.to_vec()];
        for key in keys {
            words.push(key.clone());
            words.extend(value.map(<[u8]>::to_vec));
        }
        words
    };
    let ask = |wire: &mut Wire, words: &[Vec<u8>]| {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        wire.ask(&words)
    };
    let rounds = volume("resp_lists", 300);
    let (is_over, address) = (AtomicBool::new(false), jeton.address);
    let looks: [u64; 2] = thread::scope(|scope| {
        let _over = Over(&is_over);
        let (is_over, keys, of, ask) = (&is_over, &keys, &of, &ask);
        let readers = [&b"EXISTS"[..], b"MGET"].map(|name| {
            scope.spawn(move || {
                let (mut wire, mut looks) = (Wire::open(address), 0);
                while !is_over.load(Ordering::Relaxed) {
                    let answer = show(&ask(&mut wire, &of(name, keys, None)));
                    let count = match name {
                        b"EXISTS" => answer[1..answer.len() - 4].parse().expect("a number"),
                        _ => answer.matches("\\r\\nv\\r\\n").count(),
                    };
                    assert!(count == 0 || count == KEYS, "half of a list: {answer}");
                    looks += 1;
                }
                looks
            })
        });
        let mut wire = Wire::open(address);
        for round in 0..rounds {
            assert_eq!(ask(&mut wire, &of(b"MSET", keys, Some(b"v"))), b"+OK\r\n");
            let name: &[u8] = if round % 2 == 0 { b"DEL" } else { b"UNLINK" };
            assert_eq!(ask(&mut wire, &of(name, keys, None)), format!(":{KEYS}\r\n").as_bytes());
        }
        is_over.store(true, Ordering::Relaxed);
        readers.map(|reader| reader.join().expect("it ends well"))
    });
    assert!(looks.iter().all(|looks| *looks > 0), "{looks:?}");
    tell("resp_lists", &[("rounds", rounds), ("looks", looks.iter().sum())]);
}

#[test]
fn p2_rivals_in_transactions_have_one_winner() {
    const RIVALS: usize = 16;
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    for round in 0..10 {
        let (ticket, winner) = (format!("ticket:{round}"), format!("winner:{round}"));
        let (ticket, winner) = (ticket.as_bytes(), winner.as_bytes());
        assert_eq!(wire.ask(&[b"SET", ticket, b"v", b"EX", b"100"]), b"+OK\r\n");
        let barrier = Barrier::new(RIVALS);
        let won: Vec<usize> = thread::scope(|scope| {
            let rivals: Vec<_> = (0..RIVALS)
                .map(|n| {
                    let (barrier, address) = (&barrier, jeton.address);
                    scope.spawn(move || {
                        let (mut wire, name) = (Wire::open(address), n.to_string().into_bytes());
                        let set = vec![&b"SET"[..], winner, &name, b"NX", b"EX", b"100"];
                        let commands = [vec![&b"GETDEL"[..], ticket], set];
                        barrier.wait();
                        let answer = execute(&mut wire, &transaction(&commands), 2);
                        match &answer.expect("an answer")[..] {
                            b"*2\r\n$1\r\nv\r\n+OK\r\n" => true,
                            b"*2\r\n$-1\r\n$-1\r\n" => false,
                            other => panic!("half of a transaction: {}", show(other)),
                        }
                    })
                })
                .collect();
            let ended = rivals.into_iter().map(|rival| rival.join().expect("it ends well"));
            ended.enumerate().filter(|(_, has_won)| *has_won).map(|(n, _)| n).collect()
        });
        let [won] = won[..] else { panic!("{won:?} have won") };
        let name = won.to_string();
        let expected = format!("${}\r\n{name}\r\n", name.len());
        assert_eq!(wire.ask(&[b"GET", winner]), expected.as_bytes());
    }
}

#[test]
fn p3_a_deadline_that_was_set_earlier_holds_after_a_kill() {
    const LEFT_MS: u64 = 1_500;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let jeton = Jeton::of(launch(dir.path()).start());
    let mut wire = jeton.wire();
    let keys = ["alone", "queued", "getex", "kept", "past"];
    for key in keys {
        assert_eq!(wire.say(&format!("SET {key} v EX 1000")), "+OK\\r\\n");
    }
    let set_at = Instant::now();
    assert_eq!(wire.say(&format!("PEXPIRE alone {LEFT_MS}")), ":1\\r\\n");
    assert_eq!(wire.say(&format!("GETEX getex PX {LEFT_MS}")), "$1\\r\\nv\\r\\n");
    assert_eq!(wire.say("EXPIRE past -1"), ":1\\r\\n");
    let left = LEFT_MS.to_string();
    let commands = [vec![&b"PEXPIRE"[..], b"queued", left.as_bytes()]];
    let answer = execute(&mut wire, &transaction(&commands), 1).expect("an answer");
    assert_eq!(answer, b"*1\r\n:1\r\n");
    jeton.server.kill9();
    let jeton = Jeton::of(launch(dir.path()).start());
    let mut wire = jeton.wire();
    assert_eq!(wire.say("GET past"), "$-1\\r\\n");
    for key in ["alone", "queued", "getex"] {
        let ttl = wire.say(&format!("PTTL {key}"));
        let left: i64 = ttl[1..ttl.len() - 4].parse().expect("a number");
        assert!(left <= LEFT_MS as i64, "{key}: {left}");
    }
    thread::sleep(Duration::from_millis(LEFT_MS + 50).saturating_sub(set_at.elapsed()));
    for key in ["alone", "queued", "getex"] {
        assert_eq!(wire.say(&format!("GET {key}")), "$-1\\r\\n", "{key}");
    }
    assert_eq!(wire.say("GET kept"), "$1\\r\\nv\\r\\n");
}
