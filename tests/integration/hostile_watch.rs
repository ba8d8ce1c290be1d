//! What must hold while a server is attacked, and what its well-behaved clients notice of it.
//!
//! The attack runs beside a client that resolves one token over and over, on a connection it keeps
//! and on new ones. Each resolve must be answered (at the second try where this machine stood still
//! for longer than a server's limits, which then rightly closes); the memory and the descriptors of
//! the server process stay below a bound that is stated; afterwards the server is ready, and has
//! closed what the attack opened, while the attackers still hold their ends. How long the resolves
//! took is told and never judged: that depends on the machine.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::{Client, expect};
use crate::raw::{Conn, PATIENCE, request};
use crate::server::{BODY_TIMEOUT, HEADER_TIMEOUT, Server};
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

/// The time limits of [`impatient`] servers. No server closes sooner on a client that does nothing.
pub const SHORT: Duration = Duration::from_secs(1);

/// A server whose limits are so short that a test can wait for them.
pub fn impatient() -> Server {
    with_limits(SHORT)
}

/// A server that ends nothing because of the time it takes, however slow the machine is.
pub fn patient() -> Server {
    with_limits(Duration::from_secs(3600))
}

fn with_limits(limit: Duration) -> Server {
    let limit = format!("{}s", limit.as_secs());
    let names = [HEADER_TIMEOUT, BODY_TIMEOUT, "--idle-timeout", "--write-timeout"];
    Server::fresh_with(|launch| names.iter().fold(launch, |launch, name| launch.flag(name, &limit)))
}

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
    asked_again: u64,
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
    // The connection that is kept is there before the attack.
    let mut kept = Client::of(server);
    expect(&kept.resolve(&token), 200);
    let before = (server.resident_kib(), server.descriptors());
    let is_over = AtomicBool::new(false);
    let (kept, counts, seen) = std::thread::scope(|scope| {
        let witness = scope.spawn(|| witness(server, kept, &token, bounds, before, &is_over));
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
    resolve(&mut Client::of(server), &token, Instant::now());
    let mut told = counts;
    told.extend([
        ("grown_kib", seen.growth_kib_max),
        ("descriptors", seen.descriptors_max as u64),
        ("resolves", seen.latency_us.len()),
        ("asked_again", seen.asked_again),
        ("p50_us", seen.latency_us.value_at_quantile(0.5)),
        ("p99_us", seen.latency_us.value_at_quantile(0.99)),
        ("max_us", seen.latency_us.max()),
    ]);
    volume::tell(name, &told);
}

fn witness(
    server: &Server,
    mut kept: Client,
    token: &str,
    bounds: Bounds,
    (before_kib, before_descriptors): (u64, usize),
    is_over: &AtomicBool,
) -> Seen {
    let mut seen = Seen {
        latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds in order"),
        growth_kib_max: 0,
        descriptors_max: 0,
        asked_again: 0,
    };
    let (mut asked, mut kept_asked) = (0, Instant::now());
    while asked < RESOLVES_MIN || !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if asked % 10 == 9 && bounds.takes_new {
            seen.asked_again += resolve(&mut Client::of(server), token, begun);
        } else {
            seen.asked_again += resolve(&mut kept, token, kept_asked);
            kept_asked = begun;
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

/// Resolves, and returns how often it asked again, which is once at most: the server may have closed
/// the connection, or called the request too slow, if this side has done nothing for so long. It
/// last did something at `since`, or later.
fn resolve(client: &mut Client, token: &str, since: Instant) -> u64 {
    let path = format!("/v1/tokens/{token}");
    match client.try_send("GET", &path, &[], "") {
        Ok(response) if response.status == 408 && since.elapsed() >= SHORT => {}
        Ok(response) => {
            expect(&response, 200);
            return 0;
        }
        Err(error) => {
            let was_idle = is_end(&error) && since.elapsed() >= SHORT;
            assert!(was_idle, "no answer after {:?}: {error}", since.elapsed());
        }
    }
    expect(&client.resolve(token), 200);
    1
}

/// Whether the peer has ended the connection, and not just fallen silent.
pub fn is_end(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A connection on which something was asked, and answered if no limit was over before.
pub fn asked(server: &Server) -> Conn {
    let begun = Instant::now();
    let mut conn = Conn::open(server.data).expect("connects");
    let sent = conn.send(&request("GET", "/v1/nothing", &[], b""));
    match sent.and_then(|()| conn.response()) {
        Ok(response) if response.status == 404 => {}
        Ok(response) => assert!(begun.elapsed() >= SHORT, "{}", response.without_date()),
        Err(error) => assert!(begun.elapsed() >= SHORT, "{error}"),
    }
    conn
}

/// So many connections to the data listener, the n-th of which sends `bytes(n)` as soon as it is
/// open: the first must not be too slow while the last is opened. Of a connection that is already
/// too slow some bytes may be lost.
pub fn crowd_sending(server: &Server, count: usize, bytes: impl Fn(usize) -> Vec<u8>) -> Vec<Conn> {
    let opened = (0..count).map(|n| {
        let mut conn = Conn::open(server.data).expect("connects");
        let _ = conn.send(&bytes(n));
        conn
    });
    opened.collect()
}

/// So many connections to the data listener.
pub fn crowd(server: &Server, count: usize) -> Vec<Conn> {
    (0..count).map(|_| Conn::open(server.data).expect("connects")).collect()
}

/// What became of a flood.
pub struct Poured {
    /// How often the block went through.
    pub times: u64,
    /// Whether the server has ended the connection.
    pub is_ended: bool,
}

/// Writes `block` until the server takes no more of it, at most `times`.
pub fn pour(stream: &mut TcpStream, block: &[u8], times_max: u64) -> Poured {
    stream.set_write_timeout(Some(Duration::from_millis(1500))).expect("a time limit");
    for times in 0..times_max {
        if let Err(error) = stream.write_all(block) {
            return Poured { times, is_ended: is_end(&error) };
        }
    }
    Poured { times: times_max, is_ended: false }
}

/// The same, reading and throwing away what is answered.
pub fn pour_and_read(conn: &Conn, block: &[u8], times_max: u64) -> Poured {
    let mut writer = conn.writer().expect("a second handle");
    let mut reader = conn.writer().expect("a third handle");
    reader.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut answers = [0; 16 * 1024];
            while reader.read(&mut answers).is_ok_and(|read| read > 0) {}
        });
        let poured = pour(&mut writer, block, times_max);
        // The reader's end.
        let _ = writer.shutdown(Shutdown::Both);
        poured
    })
}
