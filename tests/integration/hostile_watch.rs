//! Conditions during an attack on a server, and its effect on well-behaved clients.
//!
//! The attack runs in parallel to a client that resolves one token repeatedly, on a kept connection
//! and on new ones. Each resolve must be answered (at the second attempt if this machine paused for
//! longer than the server's limits, so that the server rightly closed the connection); the memory
//! and the descriptors of the server process stay below a bound that is stated; afterwards the
//! server is ready, and has closed what the attack opened, while the attackers still hold their
//! ends. The duration of the resolves is printed and never judged, because it depends on the
//! machine.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::{Client, expect};
use crate::raw::{Conn, PATIENCE, request};
use crate::server::{BODY_TIMEOUT, HEADER_TIMEOUT, Server};
use crate::support::{Over, eventually};
use crate::volume;

/// Resolves between two checks of the process.
const LOOK_EVERY: u64 = 50;
/// Minimum number of resolves during an attack.
const RESOLVES_MIN: u64 = 200;
/// Longer resolves count as this long.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Descriptors that may be open besides the attack: those of the witness, of its new connections
/// whose end the server has not seen, and of log segments.
const DESCRIPTORS_BESIDE: usize = 24;

/// The time limits of [`impatient`] servers. No server closes an idle connection earlier.
pub const SHORT: Duration = Duration::from_secs(1);

/// A server with limits that are short enough for a test.
pub fn impatient() -> Server {
    with_limits(SHORT)
}

/// A server without effective time limits, for slow machines.
pub fn patient() -> Server {
    with_limits(Duration::from_secs(3600))
}

fn with_limits(limit: Duration) -> Server {
    let limit = format!("{}s", limit.as_secs());
    let names = [HEADER_TIMEOUT, BODY_TIMEOUT, "--idle-timeout", "--write-timeout"];
    Server::fresh_with(|launch| names.iter().fold(launch, |launch, name| launch.flag(name, &limit)))
}

/// Maximum growth of a server.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub growth_mib: u64,
    /// More than before the attack.
    pub descriptors: usize,
    /// Whether new connections must be served meanwhile, and not only the existing one.
    pub takes_new: bool,
}

impl Bounds {
    /// For this number of connections, with this total of memory.
    pub const fn of(connections: usize, growth_mib: u64) -> Self {
        Self { growth_mib, descriptors: connections, takes_new: true }
    }
}

/// Observations of the witness.
struct Seen {
    latency_us: Histogram<u64>,
    growth_kib_max: u64,
    descriptors_max: usize,
    asked_again: u64,
}

/// Runs `attack`, which returns its open connections and its counts.
pub fn under_attack<K>(
    name: &str,
    server: &Server,
    bounds: Bounds,
    attack: impl FnOnce() -> (K, Vec<(&'static str, u64)>),
) {
    let token = Client::of(server).issued(r#"{"payload":"witness"}"#).token;
    // The kept connection exists before the attack.
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

/// Resolves, and returns the number of retries, at most one: the server may have closed the
/// connection, or refused the request as too slow, if this side was inactive for that long. It was
/// last active at `since`, or later.
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

/// Whether the peer has closed the connection, and is not just silent.
pub fn is_end(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A connection with one request, which was answered unless a limit passed before.
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

/// The result of a flood.
pub struct Poured {
    /// How often the block was written.
    pub times: u64,
    /// Whether the server has closed the connection.
    pub is_ended: bool,
}

/// Writes `block` until the server accepts no more, at most `times`.
pub fn pour(stream: &mut TcpStream, block: &[u8], times_max: u64) -> Poured {
    stream.set_write_timeout(Some(Duration::from_millis(1500))).expect("a time limit");
    for times in 0..times_max {
        if let Err(error) = stream.write_all(block) {
            return Poured { times, is_ended: is_end(&error) };
        }
    }
    Poured { times: times_max, is_ended: false }
}

/// The same, reading and discarding the answers.
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
