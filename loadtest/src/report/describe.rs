//! Sentences that the table and the page share: the server, the load, and notes on the figures.

use super::model::{ErrorReport, Kept, Report, Search, Step, Totals};
use super::{connections, units};
use crate::workload::{Arrivals, Connect, Http, Workload};

/// The server: `jeton 0.1.0 at 127.0.0.1:7450`.
pub fn target(report: &Report) -> String {
    let target = &report.target;
    let version = target.version.as_deref().map(|version| format!(" {version}"));
    format!("{}{} at {}", target.kind, version.unwrap_or_default(), target.address)
}

/// Said where a server did not state its configuration.
pub const CONFIG_UNKNOWN: &str = "The server's configuration is unknown: the harness did not start it, \
     or it does not state it. --server-admin names the admin listener of a running jeton.";

/// Whether the server has a configuration that it did not state.
pub fn is_config_unknown(report: &Report) -> bool {
    report.target.config.is_none() && report.target.kind != "floor"
}

/// Cores, memory and system of the harness.
pub fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let others = match report.parts.len() {
        0 | 1 => String::new(),
        parts => format!("{parts} generators, the first on "),
    };
    others
        + &format!(
            "{} × {}, {}, {}",
            machine.cores,
            machine.cpu,
            units::bytes(machine.memory_bytes),
            machine.system
        )
}

/// How it was asked: `64 connections, HTTP/1.1, as fast as answers come, 10s after 2s of warm-up`.
pub fn load(workload: &Workload) -> String {
    let load = &workload.load;
    let depth = if load.depth > 1 { format!(" × {} deep", load.depth) } else { String::new() };
    let http = match load.http {
        Http::One => "",
        Http::Two => ", HTTP/2",
    };
    let pace = match (load.rate, load.arrivals) {
        (None, _) => "closed loop".to_owned(),
        (Some(rate), Arrivals::Uniform) => format!("open loop of {}/s, uniform", units::rate(rate)),
        (Some(rate), Arrivals::Poisson) => format!("open loop of {}/s, Poisson", units::rate(rate)),
    };
    let anew = match load.connect {
        Connect::Once => "",
        Connect::Full | Connect::Resumed | Connect::Both => ", made anew for each request",
    };
    format!(
        "{} connections{depth}{http}{anew}, {pace}; {} after {} of warm-up; {} tokens",
        load.connections,
        workload.time.duration,
        workload.time.warm_up,
        units::count(workload.keys.population)
    )
}

/// How much of the rate that was asked for was reached, of an open loop.
pub fn of_rate(totals: &Totals) -> Option<String> {
    let rate = totals.rate.filter(|rate| *rate > 0.0)?;
    let Some(due) = totals.due_per_s.filter(|due| *due > 0.0) else {
        let share = units::percent(totals.requests_per_s / rate);
        return Some(format!("{share} of the {}/s asked for", units::rate(rate)));
    };
    let share = units::percent(totals.requests_per_s / due);
    let (asked, due) = (units::rate(rate), units::rate(due));
    // Chance makes Poisson arrivals more or fewer.
    let drawn = if asked == due { String::new() } else { format!(" (arrivals of {asked}/s)") };
    Some(format!("{share} of the {due}/s asked for{drawn}"))
}

/// Kinds of errors that are a request without an answer.
const UNANSWERED: [&str; 4] = ["timeout", "connection closed", "unsent", "TLS"];

/// Notes that a reader needs before trusting the figures.
pub fn doubts(report: &Report) -> Vec<String> {
    let mut doubts = Vec::new();
    let totals = &report.totals;
    let busy = (report.client.user_s + report.client.system_s)
        / totals.elapsed_s.max(f64::MIN_POSITIVE)
        / report.workload.load.threads.max(1) as f64;
    if totals.elapsed_s > 0.0 && busy > 0.9 {
        doubts.push(format!(
            "The harness itself was busy {} of the time: more threads, or a machine of its \
             own, may show a faster server.",
            units::percent(busy)
        ));
    }
    if let Some(rate) = totals.rate.filter(|rate| falls_short(totals, *rate)) {
        let why = if totals.queue_grew {
            "these are the latencies of an overloaded server"
        } else {
            "no queue certainly grew at the server, so its capacity is unknown"
        };
        doubts.push(format!(
            "{}/s were asked for and {}/s answered: {why}.",
            units::rate(rate),
            units::rate(totals.requests_per_s)
        ));
    }
    doubts.extend(disturbances(report));
    doubts.extend(connections::unresumed(&report.connections));
    doubts.extend(connections::own(&report.connections));
    if let Some(ended) = &report.ended {
        doubts.push(ended.reason.clone());
    }
    let unanswered = |error: &&ErrorReport| UNANSWERED.contains(&error.kind.as_str());
    let lost: u64 = report.errors.iter().filter(unanswered).map(|error| error.count).sum();
    if lost > 0 {
        doubts.push(format!(
            "{} requests got no answer; the latencies cover the others only.",
            units::count(lost)
        ));
    }
    if totals.reconnects > 0 {
        let where_it_is = match totals.rate {
            None => "no latency includes that time",
            Some(_) => "requests that were due meanwhile waited, and their latencies show it",
        };
        doubts.push(format!(
            "Connections ended and were made again {} times; {where_it_is}.",
            units::count(totals.reconnects)
        ));
    }
    if totals.substituted > 0 {
        doubts.push(format!(
            "{} requests found no living token to ask for and issued one instead.",
            units::count(totals.substituted)
        ));
    }
    doubts
}

/// Share of the time above which a disturbed harness is worth a note.
const DISTURBED_SHARE: f64 = 0.05;
/// A pause of the harness that is worth a note, in seconds.
const STALL_S: f64 = 0.1;
/// Share of all cores above which other programs are worth a note.
const OTHERS_SHARE: f64 = 0.1;

/// What disturbed the harness.
fn disturbances(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    let (generator, elapsed_s) = (&report.generator, report.totals.elapsed_s);
    if elapsed_s <= 0.0 {
        return notes;
    }
    if generator.disturbed_s > elapsed_s * DISTURBED_SHARE || generator.stall_max_s > STALL_S {
        notes.push(format!(
            "The harness itself was disturbed for {} (longest pause {}, {} without a CPU). The {} \
             answers of that time are in the latencies and in the marked slices, but no objective \
             is missed by them.",
            units::seconds(generator.disturbed_s),
            units::seconds(generator.stall_max_s),
            units::seconds(generator.waited_s),
            units::count(generator.disturbed_requests)
        ));
    }
    let cores = report.machine.cores.max(1) as f64;
    if let Some(others_s) = report.others_cpu_s
        && others_s > elapsed_s * cores * OTHERS_SHARE
    {
        notes.push(format!(
            "Other programs on the machine used {} cores during the measurement.",
            units::rate(others_s / elapsed_s)
        ));
    }
    notes
}

/// Whether so much less was answered than asked for that chance does not explain it: the number of
/// Poisson arrivals scatters by its root.
fn falls_short(totals: &Totals, rate: f64) -> bool {
    let due = totals.due_per_s.unwrap_or(rate) * totals.elapsed_s;
    let missing = due - totals.requests_per_s * totals.elapsed_s;
    missing > 0.05 * due && missing > 4.0 * due.sqrt()
}

/// A search's result, as its table shows it.
pub fn found(search: &Search) -> String {
    let kept = |step: &&Step| step.kept == Kept::Yes;
    let best = search.steps.iter().filter(kept).map(|step| step.rate).max_by(f64::total_cmp);
    let mut text = match (search.rate, best) {
        (Some(rate), _) => format!("highest kept: {}/s for the whole time", units::rate(rate)),
        (None, Some(best)) => format!(
            "no rate was kept for the whole time; the highest that was kept for a short time is {}/s",
            units::rate(best)
        ),
        (None, None) => "no rate that was tried kept the objectives".to_owned(),
    };
    if let Some(doubt) = &search.doubt {
        text.push_str(&format!(". In doubt: {doubt}"));
    }
    text
}

/// A command line that a shell reads as it was given.
pub fn shell(command: &[String]) -> String {
    let quoted = command.iter().map(|word| {
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=,%@+".contains(char);
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The workload as a file that `loadtest run` takes.
pub fn toml(workload: &Workload) -> String {
    toml::to_string_pretty(workload)
        .unwrap_or_else(|error| format!("# cannot be written as TOML: {error}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;

    #[test]
    fn the_workload_comes_back_from_its_file() {
        let workload = Sample { slices: 8, requests: 10, ..Sample::default() }.report().workload;
        assert_eq!(toml::from_str::<Workload>(&toml(&workload)).unwrap(), workload);
        let default = Workload::default();
        assert_eq!(toml::from_str::<Workload>(&toml(&default)).unwrap(), default);
    }

    #[test]
    fn a_shell_reads_the_command_as_it_was_given() {
        let words = ["a b", "it's", "", "$HOME", "--x=1", "`id`", "\\", "*"].map(str::to_owned);
        let script = format!("printf '%s\\n' {}", shell(&words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), words.join("\n") + "\n");
    }

    #[test]
    fn the_rate_is_compared_with_what_was_asked_for() {
        let mut totals = Totals { requests_per_s: 970.0, ..Totals::default() };
        assert_eq!(of_rate(&totals), None);
        totals.rate = Some(1_000.0);
        assert_eq!(of_rate(&totals).unwrap(), "97.0 % of the 1,000/s asked for");
        totals.due_per_s = Some(1_000.0);
        assert_eq!(of_rate(&totals).unwrap(), "97.0 % of the 1,000/s asked for");
        // Ten a second were to come, and eight did.
        let few = Totals { requests_per_s: 8.0, rate: Some(10.0), ..totals };
        let few = Totals { due_per_s: Some(8.0), ..few };
        assert_eq!(of_rate(&few).unwrap(), "100 % of the 8.00/s asked for (arrivals of 10.0/s)");
    }

    #[test]
    fn chance_is_not_called_an_overload() {
        let totals =
            |requests_per_s: f64| Totals { requests_per_s, elapsed_s: 10.0, ..Totals::default() };
        // 100 are due: 85 may be chance. 100,000 are due: 94,000 are not.
        assert!(!falls_short(&totals(8.5), 10.0));
        assert!(falls_short(&totals(9_400.0), 10_000.0));
        assert!(!falls_short(&totals(9_600.0), 10_000.0));
    }
}
