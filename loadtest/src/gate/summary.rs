//! What a gate came to, for people: markdown for the summary of a CI job, and text for a terminal.

use super::findings::{Findings, Instructions};
use super::pairs::Comparison;
use super::revision::Revision;
use super::verdict::Verdict;

/// The whole of it as markdown.
pub fn markdown(findings: &Findings) -> String {
    let heading = if findings.passed { "passed" } else { "failed" };
    let mut text = format!(
        "## Regression gate: {heading}\n\nbase {}\nhead {}\n\n",
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
        text += &format!("{}\n", line.replace("**", "").replace('`', ""));
    }
    let (functions, pairs) = (findings.functions().len(), findings.comparisons.len());
    let verdict = if findings.passed { "passed" } else { "FAILED" };
    text + &format!("gate {verdict}: {functions} functions and {pairs} metrics were compared\n")
}

/// Failures, then what was left undecided or not run; nothing where all is well.
fn notable(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    if let Instructions::Compared { limit, functions, .. } = &findings.instructions {
        for change in functions.iter().filter(|change| change.verdict == Verdict::Fail) {
            lines.push(format!(
                "**FAIL** `{}`: instructions {} → {} an operation, ratio {:.4}, allowed {limit:.4}",
                change.function,
                number(change.base),
                number(change.head),
                change.ratio.unwrap_or(f64::NAN),
            ));
        }
    }
    for wanted in [Verdict::Fail, Verdict::Undecided] {
        let is_it = |comparison: &&Comparison| comparison.verdict == Some(wanted);
        for comparison in findings.comparisons.iter().filter(is_it) {
            lines.push(format!(
                "**{}** {}, {}: ratio {}, allowed {:.4}, after {} pairs",
                wanted.name(),
                comparison.workload,
                comparison.metric.name(),
                ratio(comparison),
                comparison.limit.unwrap_or(f64::NAN),
                comparison.pairs,
            ));
        }
    }
    if let Instructions::NotRun { reason } = &findings.instructions {
        lines.push(format!("instructions: not run: {reason}"));
    }
    if findings.confidence.is_none() {
        lines.push("pairs: not run: not asked for".to_owned());
    }
    lines
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
        let limit = comparison.limit.map_or_else(|| "–".to_owned(), |limit| format!("{limit:.3}"));
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
