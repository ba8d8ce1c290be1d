//! P8: requests that a proxy in front may read differently from jeton.
//!
//! One rule: an ambiguous request gets 400, the connection closes, and nothing after it is served.
//! Two canaries, tokens with one use, prove it: a request inside some cases would consume the
//! first, and a second request after each case would consume the second. Legal neighbours and the
//! requests after them must be served, because a server that refuses everything is useless.

mod cases;
mod proxies;

use std::io::{self, Write};
use std::net::SocketAddr;

use cases::{Case, Expected};

use crate::client::Client;
use crate::raw::Conn;
use crate::server::Server;
use crate::support::Rng;
use crate::volume;

/// The most failures that are reported: each case in which the server does not answer costs a
/// timeout.
const COMPLAINTS_MAX: usize = 4;

/// The way in which the bytes of a case are sent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    Whole,
    ByteByByte,
    /// Cut in three at random.
    InThree,
    /// Directly after an ordinary request, in the same write.
    Behind,
}

const ARRIVALS: [Arrival; 4] =
    [Arrival::Whole, Arrival::ByteByByte, Arrival::InThree, Arrival::Behind];

/// The tokens of one case.
struct Canaries {
    /// Consumed by the request inside some cases.
    inside: String,
    /// Consumed by the request after the case.
    behind: String,
}

impl Canaries {
    fn issued(client: &mut Client) -> Self {
        let [inside, behind] = [(); 2].map(|()| client.issued(r#"{"payload":"canary"}"#).token);
        Self { inside, behind }
    }
}

/// A request that consumes a canary.
fn canary_request(token: &str) -> String {
    format!("POST /v1/tokens/{token}/consume HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
}

fn canonical_miss() -> String {
    format!("GET /v1/tokens/{} HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(32))
}

/// The places at which the bytes are cut before they are sent.
fn pieces<'a>(arrival: Arrival, bytes: &'a [u8], rng: &mut Rng) -> Vec<&'a [u8]> {
    match arrival {
        // Sending long cases byte by byte finds no more.
        Arrival::ByteByByte if bytes.len() < 4096 => bytes.chunks(1).collect(),
        Arrival::InThree => {
            let (one, rest) = bytes.split_at(rng.below(bytes.len()));
            let (two, three) = rest.split_at(rng.below(rest.len()));
            vec![one, two, three]
        }
        Arrival::Whole | Arrival::Behind | Arrival::ByteByByte => vec![bytes],
    }
}

/// Sends the pieces from a thread of its own: a server may answer and close before it has read all.
/// Statuses of at most `answers_max` answers, and whether the server closed after fewer.
fn exchange(address: SocketAddr, pieces: &[&[u8]], answers_max: usize) -> (Vec<u16>, bool) {
    let mut conn = Conn::open(address).expect("connects");
    let mut writer = conn.writer().expect("a second handle");
    let is_cut = pieces.len() == 3;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in pieces {
                if writer.write_all(piece).is_err() {
                    return;
                }
                if is_cut {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            }
        });
        let mut statuses = Vec::new();
        while statuses.len() < answers_max {
            match conn.response() {
                Ok(response) => {
                    crate::client::assert_contract(&response);
                    statuses.push(response.status);
                }
                Err(error) => return (statuses, !is_silence(&error)),
            }
        }
        (statuses, false)
    })
}

/// No byte arrived within the timeout.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The fault in the server's handling of a case; `None` if it is right. `lives`: whether the canary
/// inside and the one after the case live.
fn judge(
    case: &Case,
    arrival: Arrival,
    statuses: &[u16],
    closed: bool,
    lives: [bool; 2],
) -> Option<String> {
    let own = if arrival == Arrival::Behind { statuses.get(1..).unwrap_or(&[]) } else { statuses };
    let is_well = match case.expected {
        Expected::Refuse => {
            closed && lives == [true; 2] && !own.is_empty() && own.iter().all(|it| *it == 400)
        }
        Expected::Close(status) => closed && lives == [true; 2] && own == [status],
        Expected::Serve(status) => lives == [true, false] && own == [status, 200],
    };
    let Case { name, expected, why, .. } = case;
    (!is_well).then(|| {
        format!(
            "{name} ({arrival:?}): expected {expected:?} ({why}), got {statuses:?}, closed {closed}, \
             canaries live {lives:?}"
        )
    })
}

fn run(
    server: &Server,
    client: &mut Client,
    case: &Case,
    arrival: Arrival,
    rng: &mut Rng,
) -> Option<String> {
    let canaries = Canaries::issued(client);
    let behind = canary_request(&canaries.behind);
    let mut bytes = Vec::new();
    if arrival == Arrival::Behind {
        bytes.extend_from_slice(canonical_miss().as_bytes());
    }
    bytes.extend_from_slice(&case.expand(&canary_request(&canaries.inside)));
    if arrival != Arrival::ByteByByte {
        bytes.extend_from_slice(behind.as_bytes());
    }
    let answers_max = match case.expected {
        // One more than expected, so that an extra answer is seen.
        Expected::Refuse | Expected::Close(_) => 8,
        Expected::Serve(_) if arrival == Arrival::Behind => 3,
        Expected::Serve(_) => 2,
    };
    let mut pieces = pieces(arrival, &bytes, rng);
    if arrival == Arrival::ByteByByte {
        pieces.push(behind.as_bytes());
    }
    let (statuses, closed) = exchange(server.data, &pieces, answers_max);
    let lives =
        [canaries.inside, canaries.behind].map(|token| client.resolve(&token).status == 200);
    judge(case, arrival, &statuses, closed, lives)
}

#[test]
fn p8_what_is_ambiguous_is_refused_and_nothing_behind_it_is_served() {
    let server = &Server::fresh();
    let rounds = volume::volume("smuggling", 1);
    let all_of = move |arrival| {
        let mut client = Client::of(server);
        let (mut count, mut complaints) = (0, Vec::new());
        for seed in 1..=rounds {
            let mut rng = Rng::new(seed);
            for case in cases::all() {
                if complaints.len() == COMPLAINTS_MAX {
                    break;
                }
                complaints.extend(run(server, &mut client, case, arrival, &mut rng));
                count += 1;
            }
        }
        (count, complaints)
    };
    let (mut count, mut complaints) = (0, Vec::new());
    std::thread::scope(|scope| {
        let arrivals = ARRIVALS.map(|arrival| scope.spawn(move || all_of(arrival)));
        for arrival in arrivals {
            let (more, worse) = arrival.join().expect("all cases end");
            count += more;
            complaints.extend(worse);
        }
    });
    assert!(complaints.is_empty(), "{} of {count}:\n{}", complaints.len(), complaints.join("\n"));
    let cases = cases::all().count() as u64;
    volume::tell("smuggling", &[("cases", cases), ("requests", count), ("wrong", 0)]);
}
