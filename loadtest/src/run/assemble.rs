//! From counts to a report.

use crate::drive::nodes::NodeCounts;
use crate::drive::record::Record;
use crate::drive::session::{Measured, Reading};
use crate::drive::window::Window;
use crate::report::build::micros;
use crate::report::model::{
    ErrorReport, FORMAT, Generator, How, Latency, NodeReport, Nodes, OperationReport, Report,
    Slice, Totals, Usage,
};
use crate::run::setting::Setting;
use crate::run::subject::Subject;
use crate::run::{connections, judge};
use crate::target::usage::Watched;
use crate::target::{probe, usage};
use crate::workload::Operation;

const NS_PER_S: f64 = 1e9;

/// The report of a measured phase.
pub fn report(setting: &Setting<'_>, measured: &Measured) -> Report {
    let record = &measured.record;
    let all = record.all_latencies();
    let mut workload = setting.job.workload.clone();
    workload.load.rate = setting.rate;
    let mut errors = setting.load.record.errors.clone();
    errors.merge(&record.errors);
    let clean = record.clean_latencies();
    let server = server_usage(measured, setting.subject.process);
    Report {
        format: FORMAT,
        harness: probe::harness(),
        started_at: setting.started_at.clone(),
        command: setting.job.command.clone(),
        machine: usage::machine(),
        target: setting.subject.target.clone(),
        ended: setting.ended.clone(),
        totals: totals(setting, measured),
        latency: Latency::from_histogram(&all),
        operations: operations(record),
        errors: errors
            .iter()
            .map(|(kind, count, example)| ErrorReport {
                kind: kind.name(),
                count,
                while_issuing: setting.load.record.errors.count(kind),
                wrong: kind.is_wrong(),
                example: example.to_owned(),
            })
            .collect(),
        tls: connections::tls(setting, record),
        connections: connections::kinds(setting, measured),
        nodes: nodes(setting, record),
        slices: slices(measured),
        server_unknown: server.as_ref().err().cloned(),
        server: server.ok(),
        client: client_usage(measured),
        generator: generator(record),
        others_cpu_s: others_cpu_s(measured, setting.subject),
        objectives: workload
            .objectives
            .iter()
            .map(|one| judge::objective(one, &all, &clean))
            .collect(),
        parts: Vec::new(),
        search: None,
        workload,
    }
}

fn totals(setting: &Setting<'_>, measured: &Measured) -> Totals {
    let record = &measured.record;
    let (from, to) = ends(measured);
    let elapsed_s = to.at_ns.saturating_sub(from.at_ns) as f64 / NS_PER_S;
    let per_s = |count: u64| if elapsed_s > 0.0 { count as f64 / elapsed_s } else { 0.0 };
    let load = &setting.load.record;
    Totals {
        elapsed_s,
        requests: record.requests,
        tokens: record.tokens,
        requests_per_s: per_s(to.answers - from.answers),
        tokens_per_s: per_s(to.tokens - from.tokens),
        rate: setting.rate,
        due_per_s: setting.rate.map(|_| per_s(record.due)),
        reconnects: record.reconnects,
        stopped_early: setting.ended.as_ref().is_some_and(|ended| ended.how == How::Interrupted),
        queue_grew: queue_grew(record),
        substituted: record.substituted,
        bytes_sent: record.bytes_sent,
        bytes_received: record.bytes_received,
        load_s: load.ended_ns.saturating_sub(load.window.from_ns) as f64 / NS_PER_S,
    }
}

/// Part of the requests that must be left at the end for a queue to have grown.
const QUEUE_SHARE: f64 = 0.01;

/// Whether requests were left at the end because no connection was free, and not because the
/// harness was late: it must have been undisturbed for more than half of the time, or what is left
/// was due over a longer time than it was busy itself.
fn queue_grew(record: &Record) -> bool {
    let whole_ns = record.window.to_ns - record.window.from_ns;
    let disturbed_ns: u64 = record.slices.iter().map(|slice| slice.disturbed_ns).sum();
    let due = record.requests + record.queued;
    let behind_ns = record.queued as f64 / record.due.max(1) as f64 * whole_ns as f64;
    record.queued > record.delayed
        && record.queued as f64 > due as f64 * QUEUE_SHARE
        && (disturbed_ns < whole_ns / 2 || behind_ns > record.own_ns as f64)
}

fn generator(record: &Record) -> Generator {
    let late = &record.late_ns;
    let us = |share| if late.is_empty() { 0.0 } else { micros(late, share) };
    let disturbed_ns: u64 = record.slices.iter().map(|slice| slice.disturbed_ns).sum();
    Generator {
        late_p50_us: us(0.5),
        late_p99_us: us(0.99),
        late_max_us: us(1.0),
        stall_max_s: record.stall_max_ns as f64 / NS_PER_S,
        waited_s: record.waited_ns as f64 / NS_PER_S,
        disturbed_s: disturbed_ns as f64 / NS_PER_S,
        disturbed_requests: record.disturbed_ns.len(),
        disturbed_histogram: match record.disturbed_ns.is_empty() {
            true => String::new(),
            false => Latency::from_histogram(&record.disturbed_ns).histogram,
        },
    }
}

/// Each server's part, where several were asked.
fn nodes(setting: &Setting<'_>, record: &Record) -> Option<Nodes> {
    let seconds = |ns: u64| ns as f64 / NS_PER_S;
    let names = setting.subject.target.nodes.iter();
    let node = |(address, counts): (&String, &NodeCounts)| NodeReport {
        address: address.clone(),
        answers: counts.answers,
        errors: counts.errors,
        reconnects: counts.reconnects,
        silence_s: seconds(counts.timeline.silence_ns(record.ended_ns)),
    };
    Some(Nodes {
        silence_s: seconds(record.nodes.silence_ns(record.ended_ns)?),
        nodes: names.zip(record.nodes.iter()).map(node).collect(),
    })
}

/// What neither the harness nor a server on this machine used.
fn others_cpu_s(measured: &Measured, subject: &Subject) -> Option<f64> {
    let (from, to) = ends(measured);
    let all_s = to.machine_s? - from.machine_s?;
    let server_s = match (from.server.zip(to.server), subject.is_elsewhere()) {
        (Some((from, to)), _) => to.since(from).total_s(),
        (None, true) => 0.0,
        (None, false) => return None,
    };
    Some((all_s - server_s - to.client.since(from.client).total_s()).max(0.0))
}

fn operations(record: &Record) -> Vec<OperationReport> {
    Operation::ALL
        .iter()
        .zip(&record.latency_ns)
        .filter_map(|(&operation, latency_ns)| {
            let latency = Latency::from_histogram(latency_ns.as_ref()?);
            Some(OperationReport { operation, latency })
        })
        .collect()
}

fn slices(measured: &Measured) -> Vec<Slice> {
    let record = &measured.record;
    let window = record.window;
    let length_s = window.slice_ns() as f64 / NS_PER_S;
    let whole_s = (window.to_ns - window.from_ns) as f64 / NS_PER_S;
    let mut slices = Vec::with_capacity(record.slices.len());
    for (index, counts) in record.slices.iter().enumerate() {
        let at_s = index as f64 * length_s;
        let length_s = length_s.min(whole_s - at_s);
        let mut slice = Slice::from_histogram(at_s, length_s, counts.errors, &counts.latency_ns);
        slice.requests = counts.requests;
        slice.disturbed_s = counts.disturbed_ns as f64 / NS_PER_S;
        slice.server_cpu_s = match measured.readings.get(index..=index + 1) {
            Some([from, to]) => from.server.zip(to.server).map(|(a, b)| b.since(a).total_s()),
            _ => None,
        };
        slices.push(slice);
        // Of a run that was ended early there is nothing behind its last reading.
        if measured
            .readings
            .last()
            .is_some_and(|last| last.at_ns <= window.from_ns + end_ns(index, window))
        {
            break;
        }
    }
    slices
}

/// When a slice ends, from the begin of the window.
fn end_ns(slice: usize, window: Window) -> u64 {
    (slice as u64 + 1).saturating_mul(window.slice_ns())
}

/// The first and the last reading.
fn ends(measured: &Measured) -> (Reading, Reading) {
    let first = measured.readings.first().copied().unwrap_or_default();
    (first, measured.readings.last().copied().unwrap_or(first))
}

fn usage_of(cpu: usage::Cpu, from: &Reading, to: &Reading, memory: usage::Memory) -> Usage {
    let per = |count: u64| if count > 0 { cpu.total_s() * 1e6 / count as f64 } else { 0.0 };
    Usage {
        user_s: cpu.user_s,
        system_s: cpu.system_s,
        cpu_us_per_request: per(to.answers - from.answers),
        cpu_us_per_token: per(to.tokens - from.tokens),
        memory_bytes: memory.resident_bytes,
        memory_peak_bytes: memory.peak_bytes,
    }
}

/// Of the server; where it is not known, why.
fn server_usage(measured: &Measured, process: Option<Watched>) -> Result<Usage, String> {
    let Some(process) = process else {
        return Err("not started here, no process id".to_owned());
    };
    let (from, to) = ends(measured);
    let cpu = from.server.zip(to.server).map(|(from, to)| to.since(from));
    match (cpu, process.memory()) {
        (Some(cpu), Ok(memory)) => Ok(usage_of(cpu, &from, &to, memory)),
        _ => Err(format!("process {} ended before the measurement did", process.pid())),
    }
}

fn client_usage(measured: &Measured) -> Usage {
    let (from, to) = ends(measured);
    let memory = usage::memory(std::process::id()).unwrap_or_default();
    usage_of(to.client.since(from.client), &from, &to, memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// 400 requests were due in a second, and this many were left at its end.
    fn record(queued: u64, disturbed_ms: u64, own_ms: u64) -> Record {
        let mut record = Record::new(Window { from_ns: 0, to_ns: 1_000 * MS });
        (record.requests, record.queued, record.due) = (400 - queued, queued, 400);
        record.slices[0].disturbed_ns = disturbed_ms * MS;
        record.own_ns = own_ms * MS;
        record
    }

    #[test]
    fn a_queue_is_the_servers_where_the_harness_cannot_have_caused_it() {
        for (queued, disturbed_ms, own_ms, grew) in [
            (300, 0, 0, true),
            (4, 0, 0, false),
            // The harness was disturbed all the time, and busy for half of it.
            (300, 1_000, 500, true),
            (100, 1_000, 500, false),
            // A harness that was starved is behind by what it waited.
            (300, 1_000, 900, false),
        ] {
            let record = record(queued, disturbed_ms, own_ms);
            assert_eq!(queue_grew(&record), grew, "{queued} {disturbed_ms} {own_ms}");
        }
        let mut late = record(300, 0, 0);
        late.delayed = 301;
        assert!(!queue_grew(&late), "more were late than were queued");
    }
}
