//! The servers of a client, and what makes them nodes of one cluster.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::core::lock;
use crate::error::{Error, Problem};

/// Requests that change nothing, each for a key with another scope. Only a node knows the read level.
pub(crate) const PROBES: [(&str, &str); 5] = [
    ("/v1/resolve", r#"{"tokens":[]}"#),
    ("/v1/consume", r#"{"tokens":[]}"#),
    ("/v1/revoke", r#"{"tokens":[]}"#),
    ("/v1/extend", r#"{"tokens":[],"ttl":1}"#),
    // Incomplete: nothing is put.
    ("/v1/names", "{}"),
];

const NOT_ALONE: Error = Error::NotOneCluster(
    "several URLs are nodes of one cluster, and a server here is none: servers that share nothing \
     would consume a token once each",
);
const NOT_STATED: Error = Error::NotOneCluster(
    "several URLs are nodes of one cluster, and one states no cluster: it is older than this client, \
     or something in between removes the header Jeton-Cluster",
);
const NOT_ONE: Error =
    Error::NotOneCluster("several URLs are nodes of one cluster, and these are of different ones");

/// What an answer to a probe says.
#[derive(Debug)]
pub(crate) enum Said {
    /// A node of the same cluster as the others.
    Node,
    /// The key lacks the scope of this probe; the next one may tell more.
    NoScope,
    /// It says nothing about clusters: the try has failed.
    Nothing,
}

/// The servers by their places, one of which is asked until it fails, and the clusters they are of.
pub(crate) struct Nodes {
    count: usize,
    at: AtomicUsize,
    /// Whether each was asked once; some may not have answered. One server alone need not be a node.
    has_asked_all: AtomicBool,
    met: Mutex<Met>,
}

#[derive(Default)]
struct Met {
    cluster_of: HashMap<usize, String>,
    /// How often servers were found that are not of one cluster.
    mistakes: u64,
}

impl Nodes {
    /// `count` servers, of which the one at `first` is asked first.
    pub(crate) fn new(count: usize, first: usize) -> Self {
        let (at, has_asked_all) = (AtomicUsize::new(first), AtomicBool::new(count == 1));
        Self { count, at, has_asked_all, met: Mutex::default() }
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        lock(&self.met)
    }

    pub(crate) fn current(&self) -> usize {
        self.at.load(Ordering::Relaxed)
    }

    /// Goes to the next server, unless another call already has.
    pub(crate) fn leave(&self, at: usize) {
        let next = (at + 1) % self.count;
        let _ = self.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the server has said that it is a node of the same cluster as the others.
    pub(crate) fn is_known(&self, at: usize) -> bool {
        self.count == 1 || self.met().cluster_of.contains_key(&at)
    }

    pub(crate) fn has_asked_all(&self) -> bool {
        self.has_asked_all.load(Ordering::SeqCst)
    }

    pub(crate) fn mistakes(&self) -> u64 {
        self.met().mistakes
    }

    /// Those that are to be asked beside the server at `at`.
    pub(crate) fn others(&self, at: usize) -> Vec<usize> {
        let met = self.met();
        if self.has_asked_all() {
            return Vec::new();
        }
        (0..self.count).filter(|it| *it != at && !met.cluster_of.contains_key(it)).collect()
    }

    /// Notes that all were asked. False if a mistake was found since there were `mistakes`.
    pub(crate) fn end(&self, mistakes: u64) -> bool {
        let met = self.met();
        let is_same = met.mistakes == mistakes;
        if is_same {
            self.has_asked_all.store(true, Ordering::SeqCst);
        }
        is_same
    }

    /// Reads the answer of the server at `at` to a probe: its cluster, and its problem or status.
    ///
    /// # Errors
    /// The servers are not nodes of one cluster. All of them are then asked again by the next call.
    pub(crate) fn judge(
        &self,
        at: usize,
        status: u16,
        problem: Option<&Problem>,
        cluster: Option<&str>,
    ) -> Result<Said, Error> {
        let field = problem.filter(|it| it.status == 400).and_then(|it| it.field.as_deref());
        let is_of = |name: &str| field.is_some_and(|field| field.eq_ignore_ascii_case(name));
        let said = match cluster {
            Some(cluster) if is_of("jeton-read") => self.learn(at, cluster),
            None if is_of("jeton-read") => Err(NOT_STATED),
            _ if (200..300).contains(&status) || is_of("name") => Err(NOT_ALONE),
            _ if status == 403 => Ok(Said::NoScope),
            _ => Ok(Said::Nothing),
        };
        said.inspect_err(|_| self.forget())
    }

    fn learn(&self, at: usize, cluster: &str) -> Result<Said, Error> {
        let mut met = self.met();
        met.cluster_of.insert(at, cluster.to_owned());
        let is_one = met.cluster_of.values().all(|other| other == cluster);
        if is_one { Ok(Said::Node) } else { Err(NOT_ONE) }
    }

    /// They are not of one cluster, and nobody knows which of them is right.
    fn forget(&self) {
        let mut met = self.met();
        met.mistakes += 1;
        met.cluster_of.clear();
        self.has_asked_all.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ProblemKind;

    fn refusal(field: &str) -> Problem {
        let (title, detail) = (String::new(), String::new());
        let (kind, field) = (ProblemKind::BadRequest, Some(field.to_owned()));
        Problem { kind, status: 400, title, detail, field, retry_after: None }
    }

    #[test]
    fn a_node_of_another_cluster_makes_the_client_forget_all() {
        let nodes = Nodes::new(2, 0);
        let problem = refusal("Jeton-Read");
        let mistakes = nodes.mistakes();
        assert!(matches!(nodes.judge(0, 400, Some(&problem), Some("a")), Ok(Said::Node)));
        assert!(nodes.is_known(0) && !nodes.has_asked_all());
        assert_eq!(nodes.others(0), [1]);
        assert!(nodes.judge(1, 400, Some(&problem), Some("b")).is_err());
        assert!(!nodes.is_known(0) && !nodes.is_known(1));
        assert!(!nodes.end(mistakes), "a mistake was found since");
        assert!(nodes.end(nodes.mistakes()) && nodes.has_asked_all());
    }

    #[test]
    fn a_server_that_is_no_node_is_refused() {
        let nodes = Nodes::new(2, 0);
        assert!(nodes.judge(0, 200, None, None).is_err());
        assert!(nodes.judge(0, 400, Some(&refusal("Jeton-Read")), None).is_err());
        assert!(nodes.judge(0, 400, Some(&refusal("name")), None).is_err());
        assert!(matches!(nodes.judge(0, 403, None, None), Ok(Said::NoScope)));
        assert!(matches!(nodes.judge(0, 503, None, None), Ok(Said::Nothing)));
        assert!(matches!(nodes.judge(0, 400, Some(&refusal("ttl")), None), Ok(Said::Nothing)));
    }

    #[test]
    fn one_call_goes_to_the_next_node() {
        let nodes = Nodes::new(3, 2);
        nodes.leave(2);
        nodes.leave(2);
        assert_eq!(nodes.current(), 0);
    }
}
