//! What a report says of TLS, and of connections that were made for one request each.

use crate::drive::connects::{self, Made as Counts};
use crate::drive::record::Record;
use crate::drive::session::{Measured, Reading};
use crate::report::model::{Connections, Latency, Made, Negotiated, Tls};
use crate::run::setting::Setting;
use crate::tls::Handshake;
use crate::workload::Connect;

const NS_PER_S: f64 = 1e9;

/// How TLS was spoken; none without it.
pub(super) fn tls(setting: &Setting<'_>, record: &Record) -> Option<Tls> {
    if !setting.subject.is_by_tls() {
        return None;
    }
    let all = setting.connects;
    let mut negotiated: Vec<Negotiated> = all
        .negotiated
        .iter()
        .map(|(one, connections)| Negotiated {
            version: one.version.clone(),
            cipher: one.cipher.clone(),
            key_exchange: one.key_exchange.clone(),
            alpn: one.alpn.clone(),
            connections: *connections,
        })
        .collect();
    negotiated.sort_by_key(|one| std::cmp::Reverse(one.connections));
    Some(Tls {
        negotiated,
        full: all.full,
        resumed: all.resumed,
        plain_bytes_sent: record.connects.plain_sent,
        plain_bytes_received: record.connects.plain_received,
    })
}

/// One element for each kind of connections that was made.
pub(super) fn kinds(setting: &Setting<'_>, measured: &Measured) -> Vec<Connections> {
    let made = &measured.record.connects.made;
    let kinds = [Handshake::Full, Handshake::Resumed].into_iter().zip(made);
    kinds
        .filter_map(|(kind, counts)| Some(one(setting, measured, kind, counts.as_ref()?)))
        .collect()
}

fn one(
    setting: &Setting<'_>,
    measured: &Measured,
    kind: Handshake,
    counts: &Counts,
) -> Connections {
    let made = match kind {
        _ if !setting.subject.is_by_tls() => Made::Plain,
        Handshake::Full => Made::Full,
        Handshake::Resumed => Made::Resumed,
    };
    let time_s = time_s(setting.job.workload.load.connect, measured, kind);
    Connections {
        made,
        count: counts.connections,
        resumed: counts.resumed,
        time_s,
        per_s: if time_s > 0.0 { counts.connections as f64 / time_s } else { 0.0 },
        server_cpu_us: server_cpu_us(setting.job.workload.load.connect, measured, kind),
        handshake: Latency::from_histogram(&counts.shaken_ns),
        own_handshake: Latency::from_histogram(&counts.queued_shaking_ns),
        own: Latency::from_histogram(&counts.queued_ns),
        latency: Latency::from_histogram(&counts.answered_ns),
    }
}

/// The readings at both ends of each slice in which connections of a kind were made, and whether
/// some of the other kind were still under way.
fn slices(
    connect: Connect,
    measured: &Measured,
    kind: Handshake,
) -> impl Iterator<Item = (bool, Reading, Reading)> {
    let slices = measured.record.window.slices();
    measured.readings.windows(2).enumerate().filter_map(move |(slice, ends)| {
        let turn = connects::turn(slice, slices);
        let is_its_own = connect != Connect::Both || turn.handshake == kind;
        is_its_own.then(|| (connect == Connect::Both && turn.is_mixed, ends[0], ends[1]))
    })
}

fn time_s(connect: Connect, measured: &Measured, kind: Handshake) -> f64 {
    let length_ns = |(_, from, to): (bool, Reading, Reading)| to.at_ns.saturating_sub(from.at_ns);
    slices(connect, measured, kind).map(length_ns).sum::<u64>() as f64 / NS_PER_S
}

/// CPU time of the server by answers, of the slices in which this kind alone was made.
fn server_cpu_us(connect: Connect, measured: &Measured, kind: Handshake) -> Option<f64> {
    let (mut cpu_s, mut answers) = (0.0, 0);
    for (_, from, to) in slices(connect, measured, kind).filter(|(is_mixed, ..)| !is_mixed) {
        cpu_s += to.server?.since(from.server?).total_s();
        answers += to.answers - from.answers;
    }
    (answers > 0).then(|| cpu_s * 1e6 / answers as f64)
}
