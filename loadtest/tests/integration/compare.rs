//! `loadtest compare`: like with like is noise, slower is worse, and what is no report is refused.

use std::path::Path;
use std::time::Duration;

use crate::fake::{Fake, Lie, Manner, Speed};
use crate::harness::{Ended, Out, command, run};

/// A run against a server whose answers take so long; the report lies in the folder.
///
/// The delay is so long that the machine's own moods are small beside it, and the answers are so
/// few that only throughput and the median are sure enough for a verdict.
fn measure(delay: Duration, lie: Lie) -> Out {
    let fake = Fake::start(Manner { speed: Speed::Delay(delay), lie, every: 5 });
    let out = Out::new();
    let mut command = command(&format!("run resolve --target http://{} -c 16", fake.address));
    // Connections that begin one after the other do not answer in one breath.
    command.args(["--warm-up", "400ms", "--ramp", "400ms", "--duration", "2500ms"]);
    command.args(["--population", "16", "--out"]);
    run(command.arg(out.path()));
    out
}

fn compare(a: &Path, b: &Path, page: Option<&Path>) -> Ended {
    let mut command = command("compare");
    command.arg(a).arg(b);
    if let Some(page) = page {
        command.arg("--html").arg(page);
    }
    run(&mut command)
}

/// Whether a comparison ends with this code and says this of the throughput. It must be whole in
/// any case.
fn compares(a: &Out, b: &Out, code: i32, said: &str) -> bool {
    let page = b.path().join("compared.html");
    let ended = compare(a.path(), &b.path().join("report.json"), Some(&page));
    let row = ended.stdout.lines().find(|line| line.trim_start().starts_with("requests/s"));
    let row = row.unwrap_or_else(|| panic!("no row: {}", ended.said()));
    let page = std::fs::read_to_string(&page).expect("a page");
    assert!(page.contains("<svg") && page.trim_end().ends_with("</html>"));
    ended.code == Some(code) && row.contains(said)
}

#[test]
fn like_with_like_is_noise_and_slower_is_worse() {
    let delay = Duration::from_millis(100);
    let right = |_| {
        let (a, again) = (measure(delay, Lie::None), measure(delay, Lie::None));
        let slow = measure(delay * 3, Lie::None);
        assert!(compares(&a, &a, 0, "noise"), "a report is like itself");
        compares(&a, &again, 0, "noise")
            && compares(&a, &slow, 1, "worse")
            && compares(&slow, &a, 0, "better")
    };
    // A machine that stood still meanwhile is no fault of the comparison.
    assert!((0..3).any(right), "three times not what it must be");
}

#[test]
fn errors_where_there_were_none_are_worse() {
    let delay = Duration::from_millis(100);
    let (a, b) = (measure(delay, Lie::None), measure(delay, Lie::WrongPayload));
    let ended = compare(a.path(), b.path(), None);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(ended.stdout.contains("failed where A passed"), "{}", ended.said());
}

#[test]
fn what_is_no_report_is_refused_by_name() {
    let a = measure(Duration::from_millis(100), Lie::None);
    let whole = std::fs::read_to_string(a.path().join("report.json")).expect("a report");
    let other = a.path().join("other.json");
    let newer = whole.replacen("\"format\": 1", "\"format\": 2", 1);
    for (content, said) in [
        (&whole[..whole.len() / 2], "not a report"),
        (&newer, "format 2"),
        ("{}", "not a report"),
        ("", "not a report"),
    ] {
        std::fs::write(&other, content).expect("a file");
        for (a, b) in [(a.path(), other.as_path()), (&other, a.path())] {
            compare(a, b, None).refused(&["other.json", said]);
        }
    }
    std::fs::remove_file(&other).expect("it is there");
    compare(a.path(), &other, None).refused(&["other.json", "No such file"]);
    let page = a.path().join("no/such/page.html");
    compare(a.path(), a.path(), Some(&page)).refused(&["no/such/page.html"]);
}
