//! What must hold while a server is attacked, and what its well-behaved clients notice of it.
//!
//! The attack runs beside a client that resolves one token over and over, on a connection it keeps
//! and on new ones. Each resolve must be answered; the memory and the descriptors of the server
//! process stay below a bound that is stated; afterwards the server is ready, and has closed what
//! the attack opened, while the attackers still hold their ends. How long the resolves took is told
//! and never judged: that depends on the machine.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::{Client, expect};
use crate::raw::{Conn, PATIENCE, request};
use crate::server::Server;
use crate::support::eventually;
use crate::volume;

/// Resolves in between two looks at the process.
const LOOK_EVERY: u64 = 50;
/// No attack is so short that fewer resolves were asked meanwhile.
const RESOLVES_MIN: u64 = 200;
/// Longer resolves count as this long.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Descriptors that others may have open beside the attack: the witness, its new connections that
/// the server has not seen end, segments of the log.
const DESCRIPTORS_BESIDE: usize = 24;

/// How far a server may grow.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub growth_mib: u64,
    /// More than before the attack.
    pub descriptors: usize,
    /// Whether new connections must be served meanwhile, not only the one that was there before.
    pub takes_new: bool,
}

impl Bounds {
    /// For so many connections, each allowed to cost memory up to so much in all.
    pub const fn of(connections: usize, growth_mib: u64) -> Bounds {
        Bounds { growth_mib, descriptors: connections, takes_new: true }
    }
}

/// What the witness saw.
struct Seen {
    latency_us: Histogram<u64>,
    growth_kib_max: u64,
    descriptors_max: usize,
}

/// Tells the witness that the attack is over, also where it ends in a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `attack`, which returns what it keeps open and what it counted.
pub fn under_attack<K>(
    name: &str,
    server: &Server,
    bounds: Bounds,
    attack: impl FnOnce() -> (K, Vec<(&'static str, u64)>),
) {
    let token = Client::of(server).issued(r#"{"payload":"witness"}"#).token;
    let before = (server.resident_kib(), server.descriptors());
    let is_over = AtomicBool::new(false);
    let (kept, counts, seen) = std::thread::scope(|scope| {
        let witness = scope.spawn(|| witness(server, &token, bounds, before, &is_over));
        let (kept, counts) = {
            let _over = Over(&is_over);
            attack()
        };
        (kept, counts, witness.join().expect("others are served, within the bounds"))
    });
    let descriptors_max = before.1 + DESCRIPTORS_BESIDE;
    eventually("the server has closed what was attacked", || {
        server.descriptors() <= descriptors_max
    });
    drop(kept);
    let mut admin = Conn::open(server.admin).expect("the admin listener is there");
    admin.send(&request("GET", "/readyz", &[], b"")).expect("sends");
    expect(&admin.response().expect("an answer"), 200);
    expect(&Client::of(server).resolve(&token), 200);
    let mut told = counts;
    told.extend([
        ("grown_kib", seen.growth_kib_max),
        ("descriptors", seen.descriptors_max as u64),
        ("resolves", seen.latency_us.len()),
        ("p50_us", seen.latency_us.value_at_quantile(0.5)),
        ("p99_us", seen.latency_us.value_at_quantile(0.99)),
        ("max_us", seen.latency_us.max()),
    ]);
    volume::tell(name, &told);
}

fn witness(
    server: &Server,
    token: &str,
    bounds: Bounds,
    (before_kib, before_descriptors): (u64, usize),
    is_over: &AtomicBool,
) -> Seen {
    let mut kept = Client::of(server);
    let mut seen = Seen {
        latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds in order"),
        growth_kib_max: 0,
        descriptors_max: 0,
    };
    // The connection that is kept was there before the attack.
    expect(&kept.resolve(token), 200);
    let mut asked = 0;
    while asked < RESOLVES_MIN || !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if asked % 10 == 9 && bounds.takes_new {
            expect(&Client::of(server).resolve(token), 200);
        } else {
            expect(&kept.resolve(token), 200);
        }
        seen.latency_us.saturating_record(begun.elapsed().as_micros().try_into().expect("fits"));
        asked += 1;
        if asked % LOOK_EVERY == 0 {
            let growth_kib = server.resident_kib().saturating_sub(before_kib);
            assert!(growth_kib <= bounds.growth_mib * 1024, "the server grew by {growth_kib} KiB");
            let descriptors = server.descriptors().saturating_sub(before_descriptors);
            let descriptors_max = bounds.descriptors + DESCRIPTORS_BESIDE;
            assert!(descriptors <= descriptors_max, "{descriptors} more descriptors");
            seen.growth_kib_max = seen.growth_kib_max.max(growth_kib);
            seen.descriptors_max = seen.descriptors_max.max(descriptors);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    seen
}

/// So many connections to the data listener.
pub fn crowd(server: &Server, count: usize) -> Vec<Conn> {
    (0..count).map(|_| Conn::open(server.data).expect("connects")).collect()
}

/// Writes `block` until the server takes no more of it, at most `times`. How often it went through.
pub fn pour(stream: &mut TcpStream, block: &[u8], times: u64) -> u64 {
    stream.set_write_timeout(Some(Duration::from_millis(1500))).expect("a time limit");
    (0..times).find(|_| stream.write_all(block).is_err()).unwrap_or(times)
}

/// The same, reading and throwing away what is answered.
pub fn pour_and_read(conn: &Conn, block: &[u8], times: u64) -> u64 {
    let mut writer = conn.writer().expect("a second handle");
    let mut reader = conn.writer().expect("a third handle");
    reader.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut answers = [0; 16 * 1024];
            while reader.read(&mut answers).is_ok_and(|read| read > 0) {}
        });
        let sent = pour(&mut writer, block, times);
        // The reader's end.
        let _ = writer.shutdown(Shutdown::Both);
        sent
    })
}
