//! `loadtest compare`: one pair decides nothing, several do, errors come first, and what cannot be
//! compared is refused.

use std::path::Path;
use std::time::Duration;

use crate::fake::{Fake, Lie, Manner, Speed};
use crate::harness::{Ended, Out, command, run};

/// A run against a server whose answers take so long; the report lies in the folder.
///
/// The delay is so long that the machine's own moods are small beside it, and the answers are so
/// few that only throughput and the median are sure enough for a verdict.
fn measure(delay: Duration, lie: Lie) -> Out {
    measure_with(delay, lie, &[])
}

fn measure_with(delay: Duration, lie: Lie, flags: &[&str]) -> Out {
    let fake = Fake::start(Manner { speed: Speed::Delay(delay), lie, every: 5 });
    let out = Out::new();
    let mut command = command(&format!("run resolve --target http://{} -c 16", fake.address));
    // Connections that begin one after the other do not answer in one breath.
    command.args(["--warm-up", "400ms", "--ramp", "400ms", "--duration", "1500ms"]);
    command.args(["--population", "16"]).args(flags).arg("--out");
    run(command.arg(out.path()));
    out
}

fn compare(reports: &[&Path], flags: &[&str]) -> Ended {
    run(command("compare").args(reports).args(flags))
}

/// What is said of the throughput. The page must be whole in any case.
fn throughput(reports: &[&Path], code: i32, said: &str) -> bool {
    let page = reports[0].join("compared.html");
    let ended = compare(reports, &["--html", page.to_str().expect("UTF-8")]);
    let row = ended.stdout.lines().find(|line| line.trim_start().starts_with("requests/s"));
    let row = row.unwrap_or_else(|| panic!("no row: {}", ended.said()));
    let page = std::fs::read_to_string(&page).expect("a page");
    assert!(page.contains("<svg") && page.trim_end().ends_with("</html>"));
    ended.code == Some(code) && row.contains(said)
}

#[test]
fn one_pair_decides_nothing_and_several_do() {
    let delay = Duration::from_millis(50);
    let right = |_| {
        let all: Vec<Out> = (0..3).map(|_| measure(delay, Lie::None)).collect();
        let slow: Vec<Out> = (0..3).map(|_| measure(delay * 4, Lie::None)).collect();
        let all: Vec<&Path> = all.iter().chain(&slow).map(Out::path).collect();
        assert!(throughput(&[all[0], all[0]], 0, "noise"), "a report is like itself");
        let turned: Vec<&Path> = all[3..].iter().chain(&all[..3]).copied().collect();
        throughput(&[all[0], all[3]], 3, "undecided")
            && throughput(&all, 1, "worse")
            && throughput(&turned, 0, "better")
    };
    // A machine that stood still meanwhile is no fault of the comparison.
    assert!((0..3).any(right), "three times not what it must be");
}

#[test]
fn runs_that_asked_something_else_are_refused_by_name_unless_even_so() {
    let delay = Duration::from_millis(50);
    let a = measure(delay, Lie::None);
    for (flags, said) in [
        (&["--depth", "2"][..], "workload: load"),
        (&["--rate", "40"], "rate: A none (closed loop), B 40.0/s"),
        (&["--slo", "p50=9s"], "objectives: A none, B p50=9s"),
    ] {
        let b = measure_with(delay, Lie::None, flags);
        compare(&[a.path(), b.path()], &[]).refused(&[said, "--even-so"]);
        let even_so = compare(&[a.path(), b.path()], &["--even-so"]);
        assert_ne!(even_so.code, Some(2), "{}", even_so.said());
        assert!(even_so.stdout.contains("Compared even so."), "{}", even_so.said());
    }
    compare(&[a.path()], &[]).refused(&["2"]);
    compare(&[a.path(); 3], &[]).refused(&["3 reports"]);
}

#[test]
fn errors_where_there_were_none_are_worse() {
    let delay = Duration::from_millis(100);
    let (a, b) = (measure(delay, Lie::None), measure(delay, Lie::WrongPayload));
    for before in [&a, &b] {
        let ended = compare(&[before.path(), b.path()], &[]);
        assert_eq!(ended.code, Some(1), "{}", ended.said());
        assert!(ended.stdout.contains("B gave wrong answers"), "{}", ended.said());
    }
}

#[test]
fn what_is_no_report_is_refused_by_name() {
    let a = measure(Duration::from_millis(100), Lie::None);
    let whole = std::fs::read_to_string(a.path().join("report.json")).expect("a report");
    let other = a.path().join("other.json");
    let newer = whole.replacen("\"format\": 2", "\"format\": 3", 1);
    for (content, said) in [
        (&whole[..whole.len() / 2], "not a report"),
        (&newer, "format 3"),
        ("{}", "not a report"),
        ("", "not a report"),
    ] {
        std::fs::write(&other, content).expect("a file");
        for (a, b) in [(a.path(), other.as_path()), (&other, a.path())] {
            compare(&[a, b], &[]).refused(&["other.json", said]);
        }
    }
    std::fs::remove_file(&other).expect("it is there");
    compare(&[a.path(), &other], &[]).refused(&["other.json", "No such file"]);
    let page = a.path().join("no/such/page.html");
    let page = page.to_str().expect("UTF-8");
    compare(&[a.path(); 2], &["--html", page]).refused(&["no/such/page.html"]);
}
