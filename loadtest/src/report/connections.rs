//! Sentences and rows about TLS, and about connections that are made for one request each: the table
//! and the page share them.

use super::model::{Connections, Latency, Made, Tls, Totals};
use super::units;

/// TLS: version, cipher, key exchange and protocol, with how many connections began how.
pub fn tls(tls: &Tls) -> String {
    let agreed = tls.negotiated.iter().map(|one| {
        let parts = [Some(&one.cipher), one.key_exchange.as_ref(), one.alpn.as_ref()];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        let on = match tls.negotiated.len() {
            1 => String::new(),
            _ => format!(" on {} connections", units::count(one.connections)),
        };
        format!("{} with {}{on}", one.version, parts.join(", "))
    });
    let agreed: Vec<String> = agreed.collect();
    format!(
        "{}; {} full handshakes, {} resumed",
        agreed.join("; "),
        units::count(tls.full),
        units::count(tls.resumed)
    )
}

/// Bytes as they went over the network, and without TLS.
pub fn bytes(totals: &Totals, tls: &Tls) -> String {
    format!(
        "on the wire {} sent, {} received; without TLS {} and {}",
        units::bytes(totals.bytes_sent),
        units::bytes(totals.bytes_received),
        units::bytes(tls.plain_bytes_sent),
        units::bytes(tls.plain_bytes_received)
    )
}

/// Share of the connections that were to resume a session and did, below which a reader must know.
const RESUMED_SHARE: f64 = 0.99;

/// What a reader must know of connections that were made for one request.
pub fn unresumed(connections: &[Connections]) -> Option<String> {
    let one = connections.iter().find(|one| one.made == Made::Resumed && one.count > 0)?;
    let (resumed, count) = (units::count(one.resumed), units::count(one.count));
    if one.resumed == 0 {
        return Some(
            "The server resumed no session: the row of resumed ones shows full handshakes too."
                .to_owned(),
        );
    }
    ((one.resumed as f64) < one.count as f64 * RESUMED_SHARE).then(|| {
        format!(
            "Of {count} connections that were to resume a session {resumed} did; the others, which \
             the server made do a full handshake, are in the row of resumed ones."
        )
    })
}

/// Of a time, more than this that the harness caused is marked.
const OWN_SHARE: f64 = 0.1;
/// The mark: the server's part is less.
const AT_MOST: &str = "≤ ";

/// Whether much of these times was the harness's own.
fn is_own(own: &Latency, times: &Latency) -> bool {
    own.p50_us > times.p50_us * OWN_SHARE
}

/// What of the times was the harness's own, where that is much.
pub fn own(connections: &[Connections]) -> Option<String> {
    let worst = connections
        .iter()
        .filter(|one| is_own(&one.own, &one.latency) || is_own(&one.own_handshake, &one.handshake))
        .max_by(|a, b| f64::total_cmp(&a.own.p50_us, &b.own.p50_us))?;
    let kind = match worst.made {
        Made::Plain => "connections without TLS",
        Made::Full => "full handshakes",
        Made::Resumed => "resumed handshakes",
    };
    Some(format!(
        "The harness was busy with other connections for {} of the {} until an answer came (medians, \
         {kind}): times with ≤ contain that, and no objective is missed by \
         such answers. More --threads or fewer --connections show the server's own times.",
        units::latency(worst.own.p50_us),
        units::latency(worst.latency.p50_us)
    ))
}

/// Columns of the table of connections.
pub const HEADINGS: [&str; 8] = [
    "handshake",
    "connections",
    "per second",
    "server CPU",
    "open p50",
    "open p99",
    "answered p50",
    "answered p99",
];
/// What the columns mean.
pub const EXPLAINED: &str = "Each connection is made for one request. Server CPU is that of one \
     connection with its request; open is the time until a request could be sent, answered until \
     the answer was there, both from the begin of the connection. Times with ≤ hold more than a tenth \
     in which the harness was busy with other connections.";

/// The row of one kind.
pub fn row(one: &Connections) -> [String; 8] {
    let us = |latency: &Latency, own: &Latency, share, us| match latency.supports(share) {
        true if is_own(own, latency) => format!("{AT_MOST}{}", units::latency(us)),
        true => units::latency(us),
        false => "–".to_owned(),
    };
    let (open, own_open) = (&one.handshake, &one.own_handshake);
    let (answered, own) = (&one.latency, &one.own);
    [
        one.made.text().to_owned(),
        units::count(one.count),
        format!("{}/s", units::rate(one.per_s)),
        one.server_cpu_us.map_or("unknown".to_owned(), units::latency),
        us(open, own_open, 0.5, open.p50_us),
        us(open, own_open, 0.99, open.p99_us),
        us(answered, own, 0.5, answered.p50_us),
        us(answered, own, 0.99, answered.p99_us),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_the_harness_caused_are_marked_and_told() {
        let times =
            |us: f64| Latency { count: 1_000, p50_us: us, p99_us: 2.0 * us, ..Latency::default() };
        let of = |own_open, own_all| Connections {
            made: Made::Full,
            handshake: times(1_000.0),
            latency: times(1_500.0),
            own_handshake: times(own_open),
            own: times(own_all),
            ..Connections::default()
        };
        assert_eq!(own(&[of(50.0, 100.0)]), None);
        assert!(row(&of(50.0, 100.0)).iter().all(|cell| !cell.contains(AT_MOST)));
        let queued = [of(50.0, 100.0), of(600.0, 800.0)];
        let told = own(&queued).unwrap();
        assert!(told.contains("800 µs of the 1.50 ms") && told.contains("full"), "{told}");
        let cells = row(&queued[1]);
        assert_eq!(cells[4..], ["≤ 1.00 ms", "≤ 2.00 ms", "≤ 1.50 ms", "≤ 3.00 ms"]);
    }

    #[test]
    fn a_server_that_resumes_nothing_or_little_is_named() {
        let of = |count, resumed| {
            unresumed(&[Connections {
                made: Made::Resumed,
                count,
                resumed,
                ..Connections::default()
            }])
        };
        assert_eq!(of(0, 0), None);
        assert_eq!(of(1_000, 995), None);
        assert!(of(1_000, 0).unwrap().contains("resumed no session"));
        assert!(
            of(1_000, 400).unwrap().contains("1,000 connections that were to resume a session 400")
        );
    }
}
