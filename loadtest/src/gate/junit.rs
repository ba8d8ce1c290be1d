//! The results of a gate as JUnit XML, which CI systems show as tests.

use askama::Template;

use super::findings::{Findings, Instructions};
use super::summary;
use super::verdict::Verdict;

#[derive(Template)]
#[template(path = "junit.xml", escape = "html")]
struct Suite {
    tests: usize,
    failures: usize,
    skipped: usize,
    cases: Vec<Case>,
}

struct Case {
    class: &'static str,
    name: String,
    /// Empty where it did not fail.
    failure: String,
    /// Empty where it was compared.
    skipped: String,
}

/// One test for each function and metric, and one for each thing that was wrong beside them.
pub fn xml(findings: &Findings) -> String {
    let mut cases = others(findings);
    for change in findings.functions() {
        let line = summary::function(change, findings.limit());
        cases.push(case("instructions", &change.function, change.verdict, line, false));
    }
    for comparison in &findings.comparisons {
        let name = format!("{}, {}", comparison.workload, comparison.metric.name());
        if let Some(verdict) = comparison.verdict {
            let line = summary::metric(comparison);
            cases.push(case("load", &name, verdict, line, findings.undecided_fails));
        }
    }
    let suite = Suite {
        tests: cases.len(),
        failures: cases.iter().filter(|case| !case.failure.is_empty()).count(),
        skipped: cases.iter().filter(|case| !case.skipped.is_empty()).count(),
        cases,
    };
    // Nothing in the template can fail but writing, and that goes to memory.
    suite.render().unwrap_or_default()
}

/// Failures beside functions and metrics: a broken head, and a gate that compared nothing.
fn others(findings: &Findings) -> Vec<Case> {
    let mut faults = findings.faults.clone();
    if let Instructions::HeadFails { reason } = &findings.instructions {
        faults.push(reason.clone());
    }
    if findings.decided() == 0 {
        faults.push("nothing was compared".to_owned());
    }
    let name = "the head can be measured".to_owned();
    vec![Case {
        class: "gate",
        name,
        failure: harmless(&faults.join("; ")),
        skipped: String::new(),
    }]
}

fn case(
    class: &'static str,
    name: &str,
    verdict: Verdict,
    line: String,
    undecided_fails: bool,
) -> Case {
    let (mut failure, mut skipped) = (String::new(), String::new());
    match verdict {
        Verdict::Pass => {}
        Verdict::Fail | Verdict::Gone => failure = line,
        Verdict::Undecided if undecided_fails => failure = line,
        Verdict::Undecided | Verdict::New | Verdict::Dropped => skipped = line,
    }
    Case { class, name: harmless(name), failure: harmless(&failure), skipped: harmless(&skipped) }
}

/// Without the characters that XML cannot hold in any way.
fn harmless(text: &str) -> String {
    let is_held = |char: &char| {
        matches!(char, '\t' | '\n')
            || !char.is_control() && !matches!(char, '\u{fffe}' | '\u{ffff}')
    };
    text.chars().filter(is_held).collect()
}
