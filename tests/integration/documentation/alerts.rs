//! The alert rules of the book.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;

use jeton::cluster::node::Word;

use super::{metrics_of_a_node, page, rows};

/// The file of rules on the page.
fn rules() -> String {
    let text = page("operations/monitoring.md");
    let (_, rest) = text.split_once("```yaml\n").expect("a file of rules");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// The names in an expression that begin as those of metrics.
fn metrics(expression: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression.split(|c| !is_part(c)).filter(|word| word.starts_with("jeton_")).collect()
}

#[test]
fn each_alert_has_an_expression_of_metrics_that_exist() {
    let text = page("operations/monitoring.md");
    let listed = rows(&text).map(|row| row[0].trim_matches('`').to_owned());
    let known: BTreeSet<String> = listed.chain(metrics_of_a_node()).collect();
    let rules = rules();
    let (mut alerts, mut words) = (BTreeSet::new(), 0);
    for rule in rules.split("      - alert: ").skip(1) {
        let mut lines = rule.lines();
        let name = lines.next().expect("a name");
        assert!(alerts.insert(name), "{name} stands twice");
        let expression = lines.next().and_then(|line| line.strip_prefix("        expr: "));
        let expression = expression.unwrap_or_else(|| panic!("{name} has no expression"));
        let used = metrics(expression);
        assert!(!used.is_empty(), "{name}: {expression}");
        for metric in used {
            assert!(known.contains(metric), "{name}: no metric {metric}");
        }
        assert!(rule.contains("        annotations:\n          summary: "), "{name}");
        let Some((_, states)) = expression.split_once("state=~\"") else { continue };
        for state in states.split('"').next().unwrap_or_default().split('|') {
            assert!(Word::ALL.iter().any(|word| word.name() == state), "{name}: no state {state}");
            words += 1;
        }
    }
    assert!(alerts.len() > 10 && words > 0, "{alerts:?}");
}

#[test]
fn prometheus_accepts_the_alerts() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(rules().as_bytes()).expect("written");
    match Command::new("promtool").arg("check").arg("rules").arg(file.path()).output() {
        Err(error) => crate::support::not_run("alert rules", &format!("promtool: {error}")),
        Ok(checked) => {
            let told = String::from_utf8_lossy(&checked.stdout).into_owned();
            assert!(checked.status.success(), "{told}");
        }
    }
}
