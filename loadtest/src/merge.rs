//! One report of several generators that put load on one server at the same time. Histograms and
//! counts add up exactly; percentiles are those of the sum, never of other percentiles.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::failure::{Failure, Result};
use crate::report::model::{
    ErrorReport, Generator, Latency, Negotiated, Nodes, OperationReport, Part, Report, Slice, Tls,
    Totals, Usage,
};
use crate::run::judge;
use crate::workload::Workload;

/// Seconds that the begins of runs may lie apart; `--start-at` keeps them closer.
const APART_MAX_S: f64 = 1.0;

/// Adds up the reports.
///
/// # Errors
/// They are fewer than two, of a search, of other work or times, of other servers, or a histogram
/// is damaged; what differs is named.
pub fn merge(reports: &[Report]) -> Result<Report> {
    let [first, others @ ..] = reports else { return Err(refuse("no report is given")) };
    if others.is_empty() {
        return Err(refuse("one report is a whole already: two or more are needed"));
    }
    let obstacles: Vec<String> = others.iter().flat_map(|other| differ(first, other)).collect();
    if !obstacles.is_empty() {
        return Err(refuse(&obstacles.join("; ")));
    }
    let all = added(reports.iter().map(|report| &report.latency.histogram))?;
    let disturbed = added(reports.iter().map(|report| &report.generator.disturbed_histogram))?;
    let mut clean = all.clone();
    clean.subtract(&disturbed).map_err(|_| refuse("more answers are disturbed than there are"))?;
    let mut merged = first.clone();
    merged.workload = workload(reports);
    merged.totals = totals(reports);
    merged.latency = Latency::from_histogram(&all);
    merged.operations = operations(reports)?;
    merged.slices = slices(reports)?;
    merged.errors = errors(reports);
    merged.generator = generator(reports, &disturbed);
    merged.server = first_of(reports, |report| report.server.clone());
    merged.client = client(reports);
    merged.target.config = first_of(reports, |report| report.target.config.clone());
    merged.ended = first_of(reports, |report| report.ended.clone());
    merged.others_cpu_s = None;
    merged.started_at =
        reports.iter().map(|report| &report.started_at).min().cloned().unwrap_or_default();
    let answers = merged.totals.requests_per_s * merged.totals.elapsed_s;
    let tokens = merged.totals.tokens_per_s * merged.totals.elapsed_s;
    merged.server.iter_mut().for_each(|usage| by_requests(usage, answers, tokens));
    by_requests(&mut merged.client, answers, tokens);
    let objectives = &first.workload.objectives;
    merged.objectives = objectives.iter().map(|one| judge::objective(one, &all, &clean)).collect();
    merged.nodes = nodes(reports);
    merged.tls = tls(reports);
    merged.parts = reports.iter().map(part).collect();
    Ok(merged)
}

fn refuse(problem: &str) -> Failure {
    Failure::Input(format!("these reports cannot be merged: {problem}"))
}

fn first_of<T>(reports: &[Report], of: impl Fn(&Report) -> Option<T>) -> Option<T> {
    reports.iter().find_map(of)
}

/// What makes two runs more than parts of one.
fn differ(a: &Report, b: &Report) -> Vec<String> {
    let alike = |workload: &Workload| {
        let mut workload = workload.clone();
        // Each generator has its own share and its own seed.
        (workload.seed, workload.load.connections, workload.load.threads) = (1, 1, 1);
        workload.load.rate = workload.load.rate.map(|_| 1.0);
        workload
    };
    let mut obstacles = Vec::new();
    let mut note = |differs: bool, what: &str| {
        if differs {
            obstacles.push(what.to_owned());
        }
    };
    note(
        alike(&a.workload) != alike(&b.workload),
        "the workloads differ in more than their shares",
    );
    note(a.target.kind != b.target.kind, "the servers are of different kinds");
    note(a.target.nodes.len() != b.target.nodes.len(), "they asked different numbers of targets");
    note(a.tls.is_some() != b.tls.is_some(), "one is with TLS, the other without");
    note(!a.connections.is_empty(), "one makes a connection for each request, in turns of its own");
    note(a.target.version != b.target.version, "the servers are of different versions");
    note(a.slices.len() != b.slices.len(), "one has more slices than the other");
    note(a.search.is_some() || b.search.is_some(), "one is of --find-max");
    note(a.workload.seed == b.workload.seed, "the seeds are the same: each needs its own (--seed)");
    let begin_s = |report: &Report| {
        let at = report.started_at.parse::<jiff::Timestamp>().ok();
        at.map(|at| at.as_microsecond() as f64 / 1e6)
    };
    let apart_s = begin_s(a).zip(begin_s(b)).map(|(a, b)| (a - b).abs());
    note(
        apart_s.is_none_or(|apart| apart > APART_MAX_S),
        "they began at different times (--start-at)",
    );
    obstacles
}

/// The sum of histograms, each as a report keeps it; one that is empty is nothing.
fn added<'a>(texts: impl Iterator<Item = &'a String>) -> Result<Histogram<u64>> {
    let mut sum = crate::drive::histogram::latencies();
    for text in texts.filter(|text| !text.is_empty()) {
        let latency = Latency { histogram: text.clone(), ..Latency::default() };
        let one = latency.to_histogram().map_err(|problem| refuse(&problem))?;
        sum.add(&one).map_err(|error| refuse(&error.to_string()))?;
    }
    Ok(sum)
}

fn workload(reports: &[Report]) -> Workload {
    let mut workload = reports[0].workload.clone();
    let loads = || reports.iter().map(|report| &report.workload.load);
    workload.load.connections = loads().map(|load| load.connections).sum();
    workload.load.threads = loads().map(|load| load.threads).sum();
    workload.load.rate = loads().map(|load| load.rate).sum();
    workload
}

fn totals(reports: &[Report]) -> Totals {
    let all = || reports.iter().map(|report| &report.totals);
    Totals {
        elapsed_s: all().map(|one| one.elapsed_s).fold(0.0, f64::max),
        requests: all().map(|one| one.requests).sum(),
        tokens: all().map(|one| one.tokens).sum(),
        requests_per_s: all().map(|one| one.requests_per_s).sum(),
        tokens_per_s: all().map(|one| one.tokens_per_s).sum(),
        rate: all().map(|one| one.rate).sum(),
        due_per_s: all().map(|one| one.due_per_s).sum(),
        reconnects: all().map(|one| one.reconnects).sum(),
        stopped_early: all().any(|one| one.stopped_early),
        queue_grew: all().any(|one| one.queue_grew),
        substituted: all().map(|one| one.substituted).sum(),
        bytes_sent: all().map(|one| one.bytes_sent).sum(),
        bytes_received: all().map(|one| one.bytes_received).sum(),
        load_s: all().map(|one| one.load_s).fold(0.0, f64::max),
    }
}

/// Counts add up. A server that answered one generator was not silent, so of the silences the
/// shortest is the most that the sum can have.
fn nodes(reports: &[Report]) -> Option<Nodes> {
    let all = || reports.iter().filter_map(|report| report.nodes.as_ref());
    let mut merged = all().next()?.clone();
    for other in all().skip(1) {
        merged.silence_s = merged.silence_s.min(other.silence_s);
        for (mine, theirs) in merged.nodes.iter_mut().zip(&other.nodes) {
            mine.answers += theirs.answers;
            mine.errors += theirs.errors;
            mine.reconnects += theirs.reconnects;
            mine.silence_s = mine.silence_s.min(theirs.silence_s);
        }
    }
    Some(merged)
}

fn tls(reports: &[Report]) -> Option<Tls> {
    let all = || reports.iter().filter_map(|report| report.tls.as_ref());
    let mut negotiated: Vec<Negotiated> = Vec::new();
    for one in all().flat_map(|tls| &tls.negotiated) {
        let is_same = |known: &&mut Negotiated| {
            Negotiated { connections: one.connections, ..Negotiated::clone(known) } == *one
        };
        match negotiated.iter_mut().find(is_same) {
            Some(known) => known.connections += one.connections,
            None => negotiated.push(one.clone()),
        }
    }
    all().next()?;
    Some(Tls {
        negotiated,
        full: all().map(|one| one.full).sum(),
        resumed: all().map(|one| one.resumed).sum(),
        plain_bytes_sent: all().map(|one| one.plain_bytes_sent).sum(),
        plain_bytes_received: all().map(|one| one.plain_bytes_received).sum(),
    })
}

fn operations(reports: &[Report]) -> Result<Vec<OperationReport>> {
    let mut merged = Vec::new();
    for operation in crate::workload::Operation::ALL {
        let parts = reports.iter().flat_map(|report| &report.operations);
        let mut parts = parts.filter(|part| part.operation == operation).peekable();
        if parts.peek().is_some() {
            let sum = added(parts.map(|part| &part.latency.histogram))?;
            merged.push(OperationReport { operation, latency: Latency::from_histogram(&sum) });
        }
    }
    Ok(merged)
}

fn slices(reports: &[Report]) -> Result<Vec<Slice>> {
    let merge = |index: usize| {
        let of = || reports.iter().filter_map(|report| report.slices.get(index));
        let first = &reports[0].slices[index];
        let sum = added(of().map(|slice| &slice.histogram))?;
        let errors = of().map(|slice| slice.errors).sum();
        let mut slice = Slice::from_histogram(first.at_s, first.length_s, errors, &sum);
        slice.requests = of().map(|slice| slice.requests).sum();
        slice.server_cpu_s = of().find_map(|slice| slice.server_cpu_s);
        slice.disturbed_s = of().map(|slice| slice.disturbed_s).fold(0.0, f64::max);
        Ok(slice)
    };
    (0..reports[0].slices.len()).map(merge).collect()
}

fn errors(reports: &[Report]) -> Vec<ErrorReport> {
    let mut by_kind: BTreeMap<String, ErrorReport> = BTreeMap::new();
    for error in reports.iter().flat_map(|report| &report.errors) {
        match by_kind.get_mut(&error.kind) {
            Some(sum) => {
                sum.count += error.count;
                sum.while_issuing += error.while_issuing;
            }
            None => drop(by_kind.insert(error.kind.clone(), error.clone())),
        }
    }
    by_kind.into_values().collect()
}

/// How late requests were is the worst of the parts; all else adds up.
fn generator(reports: &[Report], disturbed: &Histogram<u64>) -> Generator {
    let all = || reports.iter().map(|report| &report.generator);
    let worst = |of: fn(&Generator) -> f64| all().map(of).fold(0.0, f64::max);
    Generator {
        late_p50_us: worst(|one| one.late_p50_us),
        late_p99_us: worst(|one| one.late_p99_us),
        late_max_us: worst(|one| one.late_max_us),
        stall_max_s: worst(|one| one.stall_max_s),
        waited_s: all().map(|one| one.waited_s).sum(),
        disturbed_s: worst(|one| one.disturbed_s),
        disturbed_requests: disturbed.len(),
        disturbed_histogram: Latency::from_histogram(disturbed).histogram,
    }
}

fn client(reports: &[Report]) -> Usage {
    let all = || reports.iter().map(|report| &report.client);
    Usage {
        user_s: all().map(|one| one.user_s).sum(),
        system_s: all().map(|one| one.system_s).sum(),
        memory_bytes: all().map(|one| one.memory_bytes).sum(),
        memory_peak_bytes: all().map(|one| one.memory_peak_bytes).sum(),
        ..Usage::default()
    }
}

/// CPU time by all requests, and not by those of one part.
fn by_requests(usage: &mut Usage, answers: f64, tokens: f64) {
    let per = |count: f64, cpu_s: f64| if count > 0.0 { cpu_s * 1e6 / count } else { 0.0 };
    let cpu_s = usage.user_s + usage.system_s;
    usage.cpu_us_per_request = per(answers, cpu_s);
    usage.cpu_us_per_token = per(tokens, cpu_s);
}

fn part(report: &Report) -> Part {
    Part {
        started_at: report.started_at.clone(),
        machine: report.machine.clone(),
        command: report.command.clone(),
        requests: report.totals.requests,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Kept;
    use crate::report::sample::Sample;

    fn sample(seed: u64, median_us: f64) -> Report {
        let mut report =
            Sample { seed, median_us, slices: 9, requests: 400, ..Sample::default() }.report();
        report.workload.seed = seed;
        report
    }

    #[test]
    fn what_two_generators_measured_adds_up() {
        let (a, b) = (sample(1, 180.0), sample(2, 9_000.0));
        let merged = merge(&[a.clone(), b.clone()]).unwrap();
        let histogram = |report: &Report| report.latency.to_histogram().unwrap();
        let mut sum = crate::drive::histogram::latencies();
        sum.add(histogram(&a)).unwrap();
        sum.add(histogram(&b)).unwrap();
        assert_eq!(histogram(&merged), sum, "exactly");
        assert_eq!(merged.latency.count, a.latency.count + b.latency.count);
        // Half of the answers are fast: no mean of the two percentiles would say so.
        assert!(merged.latency.p50_us < b.latency.p50_us / 2.0);
        assert!((merged.latency.p99_us / b.latency.p99_us - 1.0).abs() < 0.5);
        assert_eq!(merged.totals.rate, Some(800.0));
        assert_eq!(merged.workload.load.connections, 2 * a.workload.load.connections);
        assert_eq!(merged.slices.len(), 9);
        assert_eq!(merged.slices[3].requests, a.slices[3].requests + b.slices[3].requests);
        assert_eq!(merged.parts.len(), 2);
        // The server is one, and was measured once: half of the CPU for each request.
        let cpu = |report: &Report| report.server.as_ref().unwrap().cpu_us_per_request;
        assert!((cpu(&merged) / cpu(&a) - 1.0).abs() < 0.1, "{} {}", cpu(&merged), cpu(&a));
    }

    #[test]
    fn objectives_are_judged_of_the_sum() {
        let (mut a, mut b) = (sample(1, 180.0), sample(2, 180.0));
        for report in [&mut a, &mut b] {
            report.workload.objectives = vec!["p99.98=1h".parse().unwrap()];
        }
        // Each has 3,600 answers: too few alone, enough together.
        let merged = merge(&[a, b]).unwrap();
        assert_eq!(merged.objectives[0].kept, Kept::Yes, "{}", merged.latency.count);
    }

    #[test]
    fn what_are_no_parts_of_one_run_is_refused_by_name() {
        type Change = fn(&mut Report);
        let cases: [(&str, Change); 7] = [
            ("different numbers of targets", |report| report.target.nodes = vec![String::new(); 3]),
            ("differ in more than their shares", |report| report.workload.mix.miss = 7.0),
            ("different kinds", |report| report.target.kind = "redis".to_owned()),
            ("more slices", |report| drop(report.slices.pop())),
            ("seeds are the same", |report| report.workload.seed = 1),
            ("different times", |report| {
                report.started_at = "2026-11-22T21:00:05Z".to_owned();
            }),
            ("not an HdrHistogram", |report| report.latency.histogram = "AAAA".to_owned()),
        ];
        for (said, change) in cases {
            let mut b = sample(2, 180.0);
            change(&mut b);
            let error = merge(&[sample(1, 180.0), b]).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(merge(&[sample(1, 180.0)]).is_err() && merge(&[]).is_err());
    }
}
