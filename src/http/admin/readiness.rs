//! Whether the server is ready, and what a node tells of its cluster.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::view::{TEXT, View, text};
use crate::cluster::node::Word;
use crate::engine::Engine;
use crate::http::server::gauges::Gauges;
use crate::keys::Keys;
use crate::model::text::size_text;
use crate::warning::Warning;

/// Whether the server is ready for reads, for changes or not at all, with the text of `/readyz`.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    /// For everything.
    Ready,
    /// For reads alone.
    Reads(String),
    /// For nothing.
    Nothing(String),
}

fn readiness(view: &View) -> Readiness {
    if let Some(node) = view.node.get() {
        let (word, sentence) = node.standing();
        let text = format!("{}: {sentence}", word.name());
        match word {
            Word::Ready => {}
            Word::Recovering => return Readiness::Nothing(recovering(view)),
            word if word.takes_reads() => return Readiness::Reads(text),
            _ => return Readiness::Nothing(text),
        }
    }
    if view.is_draining() {
        return Readiness::Nothing("draining: the server is shutting down".to_owned());
    }
    match view.engine.get().map(Engine::readiness) {
        None => Readiness::Nothing(recovering(view)),
        Some(Err(reason)) => Readiness::Nothing(reason.to_string()),
        Some(Ok(())) => Readiness::Ready,
    }
}

fn recovering(view: &View) -> String {
    format!("recovering: {}", view.recovery)
}

/// Why the server is not ready for everything.
pub(super) fn why(view: &View) -> Option<String> {
    match readiness(view) {
        Readiness::Ready => None,
        Readiness::Reads(why) | Readiness::Nothing(why) => Some(why),
    }
}

/// Whether the server accepts changes.
pub(super) fn takes_changes(view: &View) -> bool {
    readiness(view) == Readiness::Ready
}

/// Conditions that an operator should know about; none of them makes the server unready.
pub(super) fn warnings(view: &View) -> BTreeMap<Warning, String> {
    let mut standing = view.engine.get().map(Engine::warnings).unwrap_or_default();
    let table = view.keys.get().map(Keys::table);
    let refused: Vec<String> =
        table.iter().flat_map(|table| table.refused()).map(ToString::to_string).collect();
    if !refused.is_empty() {
        standing.insert(Warning::NamespaceTags, refused.join("; "));
    }
    let audited = view.gauges.get().and_then(Gauges::audited).unwrap_or_default();
    if audited.is_filling {
        let free = size_text(audited.free_bytes.unwrap_or_default());
        let text = format!(
            "only {free} are free on the disk of the audit log: free some space \
            (--audit)"
        );
        standing.insert(Warning::AuditDisk, text);
    }
    if audited.is_failing {
        let text = "the audit log cannot be written: see the server's log for the reason (--audit)";
        standing.insert(Warning::AuditFailing, text.to_owned());
    }
    standing
}

/// `ready` and a line for each warning, or the reason why the server is not ready. With
/// `for=changes` a node that only reads should get is not ready.
pub(super) fn ready(view: &View, query: Option<&str>) -> Response<Full<Bytes>> {
    // Probes add parameters of their own.
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("for="));
    let is_for_changes = match asked {
        None | Some("reads") => false,
        Some("changes") => true,
        Some(_) => {
            let detail = "for must be reads or changes\n";
            return text(StatusCode::BAD_REQUEST, TEXT, detail);
        }
    };
    let (status, mut body) = match readiness(view) {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::Reads(why) if is_for_changes => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
        }
        Readiness::Reads(why) => (StatusCode::OK, format!("{why}\n")),
        Readiness::Nothing(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    if status == StatusCode::OK {
        for (warning, sentence) in warnings(view) {
            body.push_str(&format!("warning: {}: {sentence}\n", warning.name()));
        }
    }
    text(status, TEXT, body)
}

/// What the node knows of its cluster.
pub(super) fn cluster(view: &View) -> Response<Full<Bytes>> {
    let Some(node) = view.node.get() else {
        return text(StatusCode::NOT_FOUND, TEXT, "this server is not a node of a cluster\n");
    };
    match serde_json::to_vec_pretty(&node.report()) {
        Ok(json) => text(StatusCode::OK, "application/json", json),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot be written\n"),
    }
}
