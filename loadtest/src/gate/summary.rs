//! The results of a gate, for people: markdown for the summary of a CI job, and text for a terminal.

use super::counts::FunctionChange;
use super::findings::{Findings, Instructions};
use super::pairs::Comparison;
use super::revision::Revision;
use super::verdict::Verdict;
use crate::outcome::Outcome;

/// The first line of the markdown: by it a bot finds its comment of the last push, and replaces it.
const MARK: &str = "<!-- loadtest gate -->";

/// The whole of it as markdown.
pub fn markdown(findings: &Findings) -> String {
    let mut text = format!(
        "{MARK}\n## Regression gate: {}\n\nbase {}\nhead {}\n\n",
        verdict(findings),
        revision(&findings.base),
        revision(&findings.head)
    );
    for line in notable(findings) {
        text += &format!("- {line}\n");
    }
    text += &instructions(findings);
    text += &pairs(findings);
    text
}

/// What matters, for a terminal: failures first named, then the verdict.
pub fn text(findings: &Findings) -> String {
    let mut text = String::new();
    for line in notable(findings) {
        text += &format!("{}\n", plain(&line));
    }
    text + &format!("gate {}\n", verdict(findings))
}

/// The verdict, and on how much it rests.
fn verdict(findings: &Findings) -> String {
    let compared = findings.functions().iter().filter(|change| change.ratio.is_some()).count();
    let metrics = findings.comparisons.iter().filter(|comparison| comparison.verdict.is_some());
    let decided = metrics.clone().filter(|one| one.verdict.is_some_and(Verdict::decides)).count();
    let word = match findings.outcome() {
        Outcome::Passed => "passed",
        Outcome::Failed => "FAILED",
        Outcome::Undecided => "UNDECIDED, nothing was compared",
    };
    let metrics = metrics.count();
    format!("{word}: {compared} functions compared, {decided} of {metrics} metrics decided")
}

/// What failed so far, one line for each.
pub fn failures(findings: &Findings) -> Vec<String> {
    let lines = notable(findings).into_iter().filter(|line| line.starts_with("**FAIL**"));
    lines.map(|line| plain(&line)).collect()
}

/// Without the marks of markdown.
fn plain(line: &str) -> String {
    line.replace("**", "").replace('`', "")
}

/// Failures, then what was left undecided or not run, or is new; nothing where all is well.
fn notable(findings: &Findings) -> Vec<String> {
    let mut lines: Vec<String> =
        findings.faults.iter().map(|fault| format!("**FAIL** {}", one_line(fault))).collect();
    if let Instructions::HeadFails { reason } = &findings.instructions {
        lines.push(format!("**FAIL** instructions: {}", one_line(reason)));
    }
    if let Instructions::Compared { limit, functions, .. } = &findings.instructions {
        let of = |wanted| functions.iter().filter(move |change| change.verdict == wanted);
        for change in of(Verdict::Fail) {
            let line = function(change, Some(*limit));
            lines.push(format!("**FAIL** `{}`: {line}", change.function));
        }
        for change in of(Verdict::Gone) {
            lines.push(format!("**FAIL** `{}`: {}", change.function, function(change, None)));
        }
        for change in of(Verdict::New) {
            lines.push(format!("new `{}`: {}", change.function, function(change, None)));
        }
    }
    for wanted in [Verdict::Fail, Verdict::Undecided] {
        let is_it = |comparison: &&Comparison| comparison.verdict == Some(wanted);
        for comparison in findings.comparisons.iter().filter(is_it) {
            lines.push(format!(
                "**{}** {}, {}: {}",
                wanted.name(),
                comparison.workload,
                comparison.metric.name(),
                metric(comparison)
            ));
        }
    }
    if let Instructions::NotRun { reason } = &findings.instructions {
        lines.push(format!("instructions: not run: {reason}"));
    }
    lines.extend(findings.notes.iter().cloned());
    lines
}

/// The line of a function.
pub fn function(change: &FunctionChange, limit: Option<f64>) -> String {
    match change.verdict {
        Verdict::New => "nothing to compare with".to_owned(),
        Verdict::Gone | Verdict::Dropped => {
            format!("the base has it and the head does not (--allow-missing {})", change.function)
        }
        Verdict::Pass | Verdict::Fail | Verdict::Undecided => format!(
            "instructions {} → {} an operation, ratio {:.4}, allowed {:.4}",
            number(change.base),
            number(change.head),
            change.ratio.unwrap_or(f64::NAN),
            limit.unwrap_or(f64::NAN)
        ),
    }
}

/// The line of a metric that decides.
pub fn metric(comparison: &Comparison) -> String {
    format!(
        "ratio {}, allowed {}, after {} pairs",
        ratio(comparison),
        allowed(comparison),
        comparison.pairs
    )
}

/// What a program said, as a part of a line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '|', '<'], " ")
}

fn instructions(findings: &Findings) -> String {
    let Instructions::Compared { valgrind, limit, functions } = &findings.instructions else {
        return String::new();
    };
    let mut text = format!(
        "\n### Instructions an operation\n\nCounted under {valgrind}; a ratio above {limit:.4} \
         fails.\n\n| function | base | head | ratio | |\n|---|---:|---:|---:|---|\n"
    );
    for change in functions {
        let ratio = change.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.4}"));
        text += &format!(
            "| `{}` | {} | {} | {ratio} | {} |\n",
            change.function,
            number(change.base),
            number(change.head),
            change.verdict.name()
        );
    }
    text
}

fn pairs(findings: &Findings) -> String {
    let Some(confidence) = findings.confidence else { return String::new() };
    let mut text = format!(
        "\n### Load, in interleaved pairs\n\nHead / base with its interval of {:.2} % confidence; \
         above 1 is worse.\n\n| workload | metric | base | head | ratio | allowed | pairs | |\n\
         |---|---|---:|---:|---:|---:|---:|---|\n",
        confidence * 100.0
    );
    for comparison in &findings.comparisons {
        let limit = allowed(comparison);
        let verdict = comparison.verdict.map_or("for information", Verdict::name);
        text += &format!(
            "| {} | {} | {} | {} | {} | {limit} | {} | {verdict} |\n",
            comparison.workload,
            comparison.metric.name(),
            middle(&comparison.base_us),
            middle(&comparison.head_us),
            ratio(comparison),
            comparison.pairs,
        );
    }
    text
}

fn allowed(comparison: &Comparison) -> String {
    comparison.limit.map_or_else(|| "–".to_owned(), |band| band.to_string())
}

fn ratio(comparison: &Comparison) -> String {
    match &comparison.ratio {
        Some(ratio) if ratio.is_bounded() => {
            format!("{:.3} ({:.3} to {:.3})", ratio.estimate, ratio.low, ratio.high)
        }
        Some(ratio) => format!("{:.3} (too few pairs for bounds)", ratio.estimate),
        None => "–".to_owned(),
    }
}

/// The median, in microseconds.
fn middle(values_us: &[f64]) -> String {
    let median = crate::stats::median(values_us);
    median.map_or_else(|| "–".to_owned(), |median| format!("{median:.2} µs"))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

fn revision(revision: &Revision) -> String {
    let short = revision.commit.get(..12).unwrap_or(&revision.commit);
    let subject = revision.subject.replace(['|', '`', '<', '\n'], " ");
    format!("`{}` = `{short}` {subject}  ", revision.name.replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::pairs::Metric;
    use crate::stats::Interval;

    fn change(
        function: &str,
        base: Option<f64>,
        head: Option<f64>,
        verdict: Verdict,
    ) -> FunctionChange {
        let ratio = base.zip(head).map(|(base, head)| head / base);
        FunctionChange { function: function.to_owned(), base, head, ratio, verdict }
    }

    fn comparison(workload: &str, metric: Metric, verdict: Option<Verdict>) -> Comparison {
        Comparison {
            workload: workload.to_owned(),
            metric,
            ratio: Some(Interval { low: 1.08, estimate: 1.1, high: 1.12, confidence: 0.99 }),
            limit: verdict.map(|_| "1%..5%".parse().unwrap()),
            verdict,
            pairs: 12,
            base_us: vec![10.0, 11.0, 12.0],
            head_us: vec![11.0, 12.0, 13.0],
        }
    }

    fn findings() -> Findings {
        let revision = |name: &str| Revision {
            name: name.to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            subject: "a | b".to_owned(),
        };
        Findings {
            format: 2,
            base: revision("main"),
            head: revision("HEAD"),
            passed: true,
            instructions: Instructions::Compared {
                valgrind: "valgrind-3".to_owned(),
                limit: 1.01,
                functions: vec![
                    change("resolve::hit", Some(200.0), Some(220.0), Verdict::Fail),
                    change("wheel::turn", Some(10.0), Some(10.0), Verdict::Pass),
                    change("frame::new", None, Some(1.0), Verdict::New),
                ],
            },
            comparisons: vec![
                comparison("resolve", Metric::Cpu, Some(Verdict::Fail)),
                comparison("resolve", Metric::Time, Some(Verdict::Undecided)),
                comparison("resolve", Metric::P99, None),
            ],
            confidence: Some(0.99),
            faults: Vec::new(),
            notes: Vec::new(),
            undecided_fails: false,
        }
    }

    #[test]
    fn a_failure_names_what_how_much_and_how_sure() {
        let mut findings = findings();
        findings.conclude();
        assert_eq!(
            text(&findings),
            "FAIL resolve::hit: instructions 200.0 → 220.0 an operation, ratio 1.1000, allowed 1.0100\n\
             new frame::new: nothing to compare with\n\
             FAIL resolve, CPU per request: ratio 1.100 (1.080 to 1.120), allowed 1%..5%, after 12 pairs\n\
             undecided resolve, time per request: ratio 1.100 (1.080 to 1.120), allowed 1%..5%, \
             after 12 pairs\n\
             gate FAILED: 2 functions compared, 1 of 2 metrics decided\n"
        );
        assert_eq!(failures(&findings).len(), 2);
    }

    #[test]
    fn all_that_was_compared_is_in_the_tables() {
        let markdown = markdown(&findings());
        for row in [
            "| `resolve::hit` | 200.0 | 220.0 | 1.1000 | FAIL |",
            "| `wheel::turn` | 10.0 | 10.0 | 1.0000 | pass |",
            "| `frame::new` | – | 1.0 | – | new |",
            "| resolve | p99 latency | 11.00 µs | 12.00 µs | 1.100 (1.080 to 1.120) | – | 12 | for info",
        ] {
            assert!(markdown.contains(row), "{row}\n{markdown}");
        }
        assert!(!markdown.contains("a | b"), "a subject is no column");
    }

    #[test]
    fn it_fails_for_what_failed_and_for_the_undecided_only_where_told() {
        let mut open = findings();
        open.instructions = Instructions::NotRun { reason: "not asked for".to_owned() };
        open.comparisons[0].verdict = Some(Verdict::Pass);
        assert_eq!(open.outcome(), Outcome::Passed);
        assert!(text(&open).contains("undecided resolve") && text(&open).contains("not run"));
        open.undecided_fails = true;
        assert_eq!(open.outcome(), Outcome::Failed);
        let mut functions = findings();
        functions.comparisons.clear();
        assert_eq!(functions.outcome(), Outcome::Failed, "instructions alone can fail");
        assert!(functions.to_json().unwrap().contains("\"verdict\": \"fail\""));
    }

    #[test]
    fn junit_has_a_test_for_each_comparison() {
        let mut findings = findings();
        findings.faults.push("head: \u{1b}[1m<said> \"no\" & left".to_owned());
        let xml = crate::gate::junit::xml(&findings);
        assert!(xml.contains("tests=\"6\" failures=\"3\" errors=\"0\" skipped=\"2\""), "{xml}");
        assert_eq!(xml.matches("<testcase ").count(), 6);
        assert_eq!(xml.matches("</testcase>").count(), 6);
        assert!(!xml.contains("<said>") && !xml.contains('\u{1b}') && !xml.contains("& "), "{xml}");
        assert!(xml.contains("name=\"resolve, CPU per request\""), "{xml}");
        assert!(markdown(&findings).starts_with("<!-- loadtest gate -->\n## Regression gate"));
    }

    #[test]
    fn nothing_compared_is_no_pass() {
        let mut none = findings();
        none.instructions = Instructions::NotRun { reason: "not asked for".to_owned() };
        none.comparisons.remove(0);
        for comparisons in [none.comparisons.clone(), Vec::new()] {
            none.comparisons = comparisons;
            none.conclude();
            assert_eq!((none.outcome(), none.passed), (Outcome::Undecided, false));
            assert!(text(&none).contains("nothing was compared"), "{}", text(&none));
        }
    }

    #[test]
    fn a_head_cannot_switch_the_gate_off() {
        let all_well = || {
            let mut findings = findings();
            findings.comparisons.retain(|one| one.verdict.is_none());
            findings.comparisons.push(comparison("issue", Metric::Cpu, Some(Verdict::Pass)));
            findings.instructions = Instructions::NotRun { reason: String::new() };
            findings
        };
        assert_eq!(all_well().outcome(), Outcome::Passed);
        let mut lacks = all_well();
        lacks.instructions =
            Instructions::HeadFails { reason: "the head has no bench `instructions`".to_owned() };
        let mut gone = all_well();
        gone.instructions = Instructions::Compared {
            valgrind: String::new(),
            limit: 1.01,
            functions: vec![change("resolve::hit", Some(200.0), None, Verdict::Gone)],
        };
        let mut broken = all_well();
        broken.faults.push("the head does not build: cargo build: exit status 101".to_owned());
        for (findings, said) in [
            (lacks, "FAIL instructions: the head has no bench"),
            (gone, "FAIL resolve::hit: the base has it and the head does not"),
            (broken, "FAIL the head does not build"),
        ] {
            assert_eq!(findings.outcome(), Outcome::Failed);
            assert!(text(&findings).starts_with(said), "{}", text(&findings));
            assert!(markdown(&findings).contains("FAILED"));
        }
    }
}
