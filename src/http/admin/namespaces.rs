//! Metrics of namespaces. Their number is bounded: the largest namespaces have metrics of their
//! own, and all others share one set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::engine::Engine;
use crate::http::server::gauges::Gauges;
use crate::keys::Keys;
use crate::model::namespace::Namespace;

/// Maximum namespaces with metrics of their own.
pub(in crate::http) const TOLD_MAX: usize = 100;

/// Label for all other namespaces together; no namespace can have this name.
const OTHERS: &str = "(others)";

/// The metrics of one namespace, or of all others together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct Told<N = String> {
    pub(in crate::http) namespace: N,
    pub(in crate::http) tokens: u64,
    pub(in crate::http) bytes: u64,
    /// Issues refused because of the rate limit.
    pub(in crate::http) refused: u64,
}

impl Told<Namespace> {
    /// The same with the name as text.
    pub(in crate::http) fn named(self) -> Told {
        let Self { namespace, tokens, bytes, refused } = self;
        Told { namespace: namespace.to_string(), tokens, bytes, refused }
    }
}

/// Metrics of the namespaces that have a key or a quota and of the default one; or of `only` one of
/// them.
pub(in crate::http) fn all(
    engine: &Engine,
    gauges: Option<&Gauges>,
    keys: Option<&Keys>,
    only: Option<&Namespace>,
) -> Vec<Told<Namespace>> {
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
        Told { namespace, tokens: holding.tokens, bytes: holding.bytes, refused }
    });
    told.collect()
}

/// The namespaces that have metrics of their own. One that has them keeps them, so that no counter
/// goes back when another namespace becomes larger: neither its own nor that of the others.
#[derive(Debug, Default)]
pub(in crate::http) struct Few(Mutex<Own>);

#[derive(Debug, Default)]
struct Own {
    namespaces: BTreeSet<Namespace>,
    /// Whether metrics have been reported before.
    has_told: bool,
    /// Whether there have been others: their counter must not fall, nor end and begin again lower.
    has_others: bool,
}

impl Few {
    /// The metrics of the namespaces that have some of their own, and of all others together.
    /// Free places go to the largest.
    pub(in crate::http) fn few(&self, mut all: Vec<Told<Namespace>>) -> Vec<Told> {
        all.sort_by_key(|one| std::cmp::Reverse(one.tokens));
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Own { namespaces: own, has_told, has_others } = &mut *held;
        let is_first = !std::mem::replace(has_told, true);
        let known: BTreeSet<_> = all.iter().map(|one| &one.namespace).collect();
        own.retain(|namespace| known.contains(namespace));
        // What has been counted among the others stays there: their counter must not fall. And an
        // empty namespace takes no place that a larger one may need.
        *has_others |= all.len() > TOLD_MAX;
        for one in &all {
            let may = !*has_others || (one.tokens > 0 && (is_first || one.refused == 0));
            if own.len() < TOLD_MAX && may {
                own.insert(one.namespace.clone());
            }
        }
        let mut told = Vec::with_capacity(TOLD_MAX + 1);
        let mut others: Option<Told> = None;
        for one in all {
            if own.contains(&one.namespace) {
                told.push(one.named());
                continue;
            }
            let nothing = Told { namespace: OTHERS.to_owned(), tokens: 0, bytes: 0, refused: 0 };
            let others = others.get_or_insert(nothing);
            others.tokens += one.tokens;
            others.bytes += one.bytes;
            others.refused += one.refused;
        }
        told.extend(others);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many namespaces, each with its number as its tokens, and 1 refused issue.
    fn all(count: u64) -> Vec<Told<Namespace>> {
        let one = |n: u64| {
            let namespace = format!("n{n}").parse().unwrap();
            Told { namespace, tokens: n, bytes: 2 * n, refused: 1 }
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn p8_of_many_namespaces_few_are_told_of() {
        assert_eq!(Few::default().few(all(100)).len(), 100);
        let many = Few::default().few(all(1_000));
        assert_eq!(many.len(), TOLD_MAX + 1);
        assert_eq!(many[0].tokens, 999, "the largest ones");
        let tokens: u64 = many.iter().map(|one| one.tokens).sum();
        assert_eq!(tokens, 999 * 1_000 / 2, "nothing is left out");
        let others = &many[TOLD_MAX];
        assert_eq!((others.namespace.as_str(), others.refused), (OTHERS, 900));
    }

    #[test]
    fn no_counter_falls_when_all_that_had_metrics_of_their_own_are_gone() {
        let few = Few::default();
        let namespaces = all(250);
        assert_eq!(few.few(namespaces.clone())[TOLD_MAX].refused, 150);
        // The largest had them.
        let after = few.few(namespaces[..150].to_vec());
        let others = after.last().unwrap();
        assert_eq!((after.len(), others.namespace.as_str(), others.refused), (1, OTHERS, 150));
        // So few that each could have its own.
        let after = few.few(namespaces[..50].to_vec());
        assert_eq!((after.len(), after[0].namespace.as_str(), after[0].refused), (1, OTHERS, 50));
    }

    /// Prometheus takes a counter that falls for a restart.
    #[test]
    fn no_counter_falls_when_a_namespace_becomes_one_of_the_largest() {
        let few = Few::default();
        let mut namespaces = all(130);
        let before = few.few(namespaces.clone());
        assert_eq!(before[TOLD_MAX].refused, 30);
        // The smallest becomes the largest, and a new one comes.
        namespaces[0].tokens = 10_000;
        namespaces.extend(all(131).pop());
        let after = few.few(namespaces);
        assert_eq!(after.len(), TOLD_MAX + 1);
        for one in before {
            let same = after.iter().find(|told| told.namespace == one.namespace);
            assert!(same.is_some_and(|same| same.refused >= one.refused), "{one:?}: {same:?}");
        }
    }

    #[test]
    fn places_are_for_namespaces_that_exist_and_hold_something() {
        let few = Few::default();
        let mut empty = all(1_000);
        empty.iter_mut().for_each(|one| (one.tokens, one.refused) = (0, 0));
        assert_eq!(few.few(empty.clone()).len(), 1, "nobody takes a place for nothing");
        empty[999].tokens = 7;
        assert_eq!(few.few(empty)[0].namespace, "n999");
        // Others come in the place of the hundred that were known.
        let few = Few::default();
        assert_eq!(few.few(all(100)).len(), 100);
        let next: Vec<_> = all(200).into_iter().skip(100).collect();
        let told = few.few(next);
        assert_eq!((told.len(), told[0].namespace.as_str()), (100, "n199"));
    }
}
