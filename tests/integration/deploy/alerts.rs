//! The alert rules, their runbooks and their tests.

use std::collections::BTreeSet;
use std::process::Command;

use jeton::cluster::node::Word;
use jeton::model::metrics::BUCKETS_US;

use super::{file, known_metrics, metrics, path};
use crate::documentation::page;
use crate::support::not_run;

const RULES: &str = "prometheus/jeton.rules.yml";
const TESTS: &str = "prometheus/jeton.test.yml";

/// One rule: its name, its expression in one line, and all of its text.
struct Alert {
    name: String,
    expression: String,
    text: String,
}

fn alerts() -> Vec<Alert> {
    let rules = file(RULES);
    let alert = |text: &str| {
        let (name, rest) = text.split_once('\n').expect("more than a name");
        let (_, rest) = rest.split_once("        expr: ").expect("an expression");
        // It ends where the next key of the rule begins.
        let lines = rest.lines().enumerate();
        let is_key = |line: &str| {
            line.strip_prefix("        ").is_some_and(|rest| !rest.starts_with([' ', '>']))
        };
        let lines = lines.take_while(|(n, line)| *n == 0 || !is_key(line));
        let lines = lines.map(|(_, line)| line.trim()).filter(|line| *line != "|-");
        let expression = lines.collect::<Vec<_>>().join(" ");
        Alert { name: name.to_owned(), expression, text: text.to_owned() }
    };
    rules.split("      - alert: ").skip(1).map(alert).collect()
}

#[test]
fn each_alert_has_metrics_that_exist_a_severity_and_a_runbook() {
    let known = known_metrics();
    let runbooks = page("operations/alerts.md");
    let (mut names, mut words) = (BTreeSet::new(), 0);
    for Alert { name, expression, text } in alerts() {
        assert!(names.insert(name.clone()), "{name} stands twice");
        let used = metrics(&expression);
        assert!(!used.is_empty() || name == "JetonDown", "{name}: {expression}");
        for metric in used {
            assert!(known.contains(metric), "{name}: no metric {metric}");
        }
        let severities = ["severity: critical\n", "severity: warning\n"];
        assert!(severities.iter().any(|severity| text.contains(severity)), "{name}");
        assert!(text.contains("          summary: \""), "{name}");
        let runbook = format!("runbook: operations/alerts.md#{}\n", name.to_lowercase());
        assert!(text.contains(&runbook), "{name}: {runbook}");
        let section = runbooks.split_once(&format!("\n## {name}\n\n"));
        let section = section.unwrap_or_else(|| panic!("{name} has no runbook")).1;
        assert!(!section.starts_with('#'), "{name} has an empty runbook");
        let Some((_, states)) = expression.split_once("state=~\"") else { continue };
        for state in states.split('"').next().unwrap_or_default().split('|') {
            assert!(Word::ALL.iter().any(|word| word.name() == state), "{name}: no state {state}");
            words += 1;
        }
    }
    assert!(names.len() > 20 && words > 0, "{names:?}");
    for section in runbooks.lines().filter_map(|line| line.strip_prefix("## ")) {
        assert!(names.contains(section), "{section} is no alert");
    }
}

/// Between two bounds a quantile is interpolated, so a threshold there means little.
#[test]
fn thresholds_of_latencies_are_bounds_of_buckets() {
    let mut found = 0;
    for Alert { name, expression, .. } in alerts() {
        if !expression.contains("histogram_quantile") {
            continue;
        }
        let (_, threshold) = expression.rsplit_once("> ").expect("a threshold");
        let seconds: f64 = threshold.parse().expect("a number of seconds");
        let is_bound = |bound_us: &u64| (*bound_us as f64 / 1e6 - seconds).abs() < 1e-9;
        assert!(BUCKETS_US.iter().any(is_bound), "{name}: {seconds} s is no bound");
        found += 1;
    }
    assert!(found >= 3, "{found} thresholds");
}

#[test]
fn each_alert_is_tested_to_fire_and_to_stay_silent() {
    let tests = file(TESTS);
    let (fire, silent) =
        tests.split_once("  - name: none fires over a restart and a lost scrape\n").expect("both");
    for Alert { name, .. } in alerts() {
        let test = fire.split("  - name: ").find(|test| test.starts_with(&format!("{name} fires")));
        let test = test.unwrap_or_else(|| panic!("{name} is not tested to fire"));
        assert!(test.contains("exp_alerts: []\n"), "{name}: it was silent before");
        assert!(test.contains("          - exp_labels:\n"), "{name} fires");
        // The scrape that is lost, the server that is down, its recovery, and afterwards.
        let checks = silent.matches(&format!("{{ alertname: {name}, ")).count();
        assert!(checks >= 4, "{name} has {checks} checks that it is silent");
    }
    assert!(!silent.contains("exp_labels"), "nothing fires");
}

#[test]
fn prometheus_accepts_the_alerts_and_passes_their_tests() {
    for (what, name) in [("check", RULES), ("test", TESTS)] {
        match Command::new("promtool").args([what, "rules"]).arg(path(name)).output() {
            Err(error) => return not_run("alert rules", &format!("promtool: {error}")),
            Ok(checked) => {
                let said = [checked.stdout, checked.stderr].concat();
                assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
            }
        }
    }
}
