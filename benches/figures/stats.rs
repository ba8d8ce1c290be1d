//! jeton's `/v1/stats`, read without a list of its names: numbers are found by the words in them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failure::{Failure, Result};

/// Every number in the document, under the path to it: `log.living_bytes`.
pub struct Stats(BTreeMap<String, f64>);

impl Stats {
    /// Reads the document.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| Failure::Wrong(format!("/v1/stats is not JSON: {error}")))?;
        let mut numbers = BTreeMap::new();
        flatten("", &document, &mut numbers);
        Ok(Self(numbers))
    }

    /// The shortest name that holds all of `words`, with its number.
    pub fn find(&self, words: &[&str]) -> Option<(&str, f64)> {
        let fits = |name: &&String| words.iter().all(|word| name.contains(word));
        let name = self.0.keys().filter(fits).min_by_key(|name| name.len())?;
        Some((name, self.0[name]))
    }

    /// The first of several wordings that is there.
    pub fn find_any(&self, wordings: &[&[&str]]) -> Option<(&str, f64)> {
        wordings.iter().find_map(|words| self.find(words))
    }

    /// The number of living tokens.
    pub fn tokens(&self) -> Result<u64> {
        let missing = || Failure::Wrong(format!("/v1/stats counts no tokens: {}", self.names()));
        let (_, count) = self.find(&["tokens"]).ok_or_else(missing)?;
        Ok(count as u64)
    }

    /// All names, for an error text.
    pub fn names(&self) -> String {
        self.0.keys().cloned().collect::<Vec<_>>().join(", ")
    }
}

fn flatten(path: &str, value: &Value, numbers: &mut BTreeMap<String, f64>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, numbers);
            }
        }
        Value::Number(number) => {
            numbers.extend(number.as_f64().map(|number| (path.to_owned(), number)));
        }
        _ => {}
    }
}
