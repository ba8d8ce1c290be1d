//! Metrics of namespaces. Their number is bounded: the largest namespaces have metrics of their
//! own, and all others share one set.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::http::server::gauges::Gauges;
use crate::keys::Keys;
use crate::model::namespace::Namespace;

/// Maximum namespaces with metrics of their own.
pub(in crate::http) const TOLD_MAX: usize = 100;

/// Label for all other namespaces together; no namespace can have this name.
const OTHERS: &str = "(others)";

/// The metrics of one namespace, or of all others together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Told {
    pub(in crate::http) namespace: String,
    pub(in crate::http) tokens: u64,
    pub(in crate::http) bytes: u64,
    /// Issues refused because of the rate limit.
    pub(in crate::http) refused: u64,
}

/// Metrics of the namespaces that have a key or a quota and of the default one; or of one namespace
/// only.
pub(in crate::http) fn tell(
    engine: &Engine,
    gauges: Option<&Gauges>,
    keys: Option<&Keys>,
    only: Option<&Namespace>,
) -> Vec<Told> {
    let mut refused: BTreeMap<Namespace, u64> = BTreeMap::new();
    refused.insert(Namespace::default(), 0);
    let table = keys.map(Keys::table);
    for namespace in table.iter().flat_map(|table| table.namespaces()) {
        refused.entry(namespace.clone()).or_default();
    }
    for (namespace, count) in gauges.into_iter().flat_map(Gauges::issues_refused) {
        refused.insert(namespace.clone(), count);
    }
    if let Some(only) = only {
        refused.retain(|namespace, _| namespace == only);
    }
    let told = refused.into_iter().map(|(namespace, refused)| {
        let holding = engine.holding(engine.digester().of(&namespace).tag());
        let namespace = namespace.to_string();
        Told { namespace, tokens: holding.tokens, bytes: holding.bytes, refused }
    });
    few(told.collect())
}

fn few(mut told: Vec<Told>) -> Vec<Told> {
    if told.len() > TOLD_MAX {
        told.sort_by_key(|one| std::cmp::Reverse(one.tokens));
        let mut others = Told { namespace: OTHERS.to_owned(), ..Told::default() };
        for one in told.drain(TOLD_MAX..) {
            others.tokens += one.tokens;
            others.bytes += one.bytes;
            others.refused += one.refused;
        }
        told.push(others);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_of_many_namespaces_few_are_told_of() {
        let told = |count: u64| {
            let one =
                |n: u64| Told { namespace: n.to_string(), tokens: n, bytes: 2 * n, refused: 1 };
            few((0..count).map(one).collect())
        };
        assert_eq!(told(100).len(), 100);
        let many = told(1_000);
        assert_eq!(many.len(), TOLD_MAX + 1);
        assert_eq!(many[0].tokens, 999, "the largest ones");
        let tokens: u64 = many.iter().map(|one| one.tokens).sum();
        assert_eq!(tokens, 999 * 1_000 / 2, "nothing is left out");
        let others = &many[TOLD_MAX];
        assert_eq!((others.namespace.as_str(), others.refused), (OTHERS, 900));
    }
}
