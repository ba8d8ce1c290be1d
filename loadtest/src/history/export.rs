//! Figures for other tools that keep histories: Bencher and github-action-benchmark.

use serde_json::{Map, Value, json};

use super::entry::Entry;

/// Bencher Metric Format: by benchmark and measure, such as `{"resolve": {"p99-latency": …}}`.
pub fn bencher(entry: &Entry) -> Value {
    let mut benchmarks = Map::new();
    for (name, figure) in &entry.figures {
        let (benchmark, measure) = name.split_once(": ").unwrap_or(("loadtest", name));
        let measures = benchmarks.entry(benchmark).or_insert_with(|| json!({}));
        measures[slug(measure)] = json!({ "value": figure.value });
    }
    Value::Object(benchmarks)
}

/// What github-action-benchmark calls `customSmallerIsBetter`.
pub fn smaller_is_better(entry: &Entry) -> Value {
    let figures = entry.figures.iter();
    let figures = figures.map(|(name, figure)| {
        json!({ "name": name, "unit": figure.unit, "value": figure.value, "extra": entry.commit })
    });
    figures.collect()
}

/// Lower case, with a dash for all that is no letter or digit.
fn slug(text: &str) -> String {
    let dashed = text.to_lowercase().replace(|char: char| !char.is_ascii_alphanumeric(), "-");
    let words = dashed.split('-').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}
