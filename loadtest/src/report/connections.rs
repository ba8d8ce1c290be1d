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
     the answer was there, both from the begin of the connection.";

/// The row of one kind.
pub fn row(one: &Connections) -> [String; 8] {
    let us = |latency: &Latency, share, us| match latency.supports(share) {
        true => units::latency(us),
        false => "–".to_owned(),
    };
    [
        one.made.text().to_owned(),
        units::count(one.count),
        format!("{}/s", units::rate(one.per_s)),
        one.server_cpu_us.map_or("unknown".to_owned(), units::latency),
        us(&one.handshake, 0.5, one.handshake.p50_us),
        us(&one.handshake, 0.99, one.handshake.p99_us),
        us(&one.latency, 0.5, one.latency.p50_us),
        us(&one.latency, 0.99, one.latency.p99_us),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

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
