//! The dashboard for Grafana.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{file, known_metrics, metrics};

fn dashboard() -> Value {
    serde_json::from_str(&file("grafana/jeton.json")).expect("JSON")
}

/// Every value of the key `name`, anywhere.
fn every<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(name));
            fields.values().for_each(|inner| every(inner, name, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| every(inner, name, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    let (dashboard, known) = (dashboard(), known_metrics());
    let mut expressions = Vec::new();
    every(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 30, "{} expressions", expressions.len());
    for expression in expressions {
        let expression = expression.as_str().expect("text");
        let used = metrics(expression);
        assert!(!used.is_empty(), "{expression}");
        for metric in &used {
            assert!(known.contains(*metric), "no metric {metric}: {expression}");
            // Of the servers that were chosen, and no others.
            assert!(expression.contains("{instance=~\"$instance\"}"), "{expression}");
        }
        let rates = expression.matches("rate(").count();
        assert_eq!(expression.matches("[$__rate_interval]").count(), rates, "{expression}");
    }
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard = dashboard();
    assert!(dashboard.get("__inputs").is_none() && dashboard.get("id").is_none());
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "instance"]);
    let mut sources = Vec::new();
    every(&dashboard, "datasource", &mut sources);
    let sources: BTreeSet<_> = sources.iter().map(ToString::to_string).collect();
    let expected = r#"{"type":"prometheus","uid":"${datasource}"}"#.to_owned();
    assert_eq!(sources, BTreeSet::from([expected]));
}

#[test]
fn no_panel_covers_another() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let at = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{} covers another", panel["title"]);
            }
        }
    }
}
