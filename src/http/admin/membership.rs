//! `POST /cluster/leave`, `/cluster/forget?node=ID` and `/cluster/finish-upgrade` on the admin
//! listener: what a person decides about the cluster. The answer waits until the decision has landed.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::time::timeout;

use super::view::{TEXT, View, text};
use crate::cluster::message::FORMAT;
use crate::cluster::node::{NodeView, Unfulfilled, Wish};

/// Time for a decision to land.
const LIMIT: Duration = Duration::from_secs(10);

/// What a path asks for, if it is one of these.
pub(super) fn wish(path: &str, query: Option<&str>) -> Option<Result<Wish, &'static str>> {
    match path {
        "/cluster/leave" => Some(Ok(Wish::Leave)),
        "/cluster/finish-upgrade" => Some(Ok(Wish::FinishUpgrade(FORMAT))),
        "/cluster/forget" => {
            let pairs = query.unwrap_or_default().split('&');
            let node = pairs.filter_map(|pair| pair.strip_prefix("node=")).next();
            let node = node.and_then(|node| node.parse().ok());
            Some(node.map(Wish::Forget).ok_or("node must be the id of a node: ?node=ID\n"))
        }
        _ => None,
    }
}

/// Proposes the decision, and says what became of it.
pub(super) async fn answer(view: &View, wish: Result<Wish, &'static str>) -> Response<Full<Bytes>> {
    let wish = match wish {
        Ok(wish) => wish,
        Err(mistake) => return text(StatusCode::BAD_REQUEST, TEXT, mistake),
    };
    let Some(node) = view.node.get() else {
        return text(StatusCode::NOT_FOUND, TEXT, "this server is not a node of a cluster\n");
    };
    match fulfil(node, wish).await {
        Ok(sentence) => {
            tracing::warn!(%sentence, "a person has decided about the cluster");
            text(StatusCode::OK, TEXT, format!("{sentence}\n"))
        }
        Err(why) => text(status_of(&why), TEXT, format!("{why}\n")),
    }
}

async fn fulfil(node: &NodeView, wish: Wish) -> Result<String, Unfulfilled> {
    let landed = node.wish(wish)?;
    match timeout(LIMIT, landed).await {
        Ok(Ok(_)) => node.fulfilled(wish),
        Ok(Err(_)) | Err(_) => Err(Unfulfilled::Unanswered),
    }
}

fn status_of(why: &Unfulfilled) -> StatusCode {
    match why {
        Unfulfilled::Unknown(_) => StatusCode::NOT_FOUND,
        Unfulfilled::Itself
        | Unfulfilled::Alone
        | Unfulfilled::Unfinished(_)
        | Unfulfilled::Unchanged => StatusCode::CONFLICT,
        Unfulfilled::NotServing(_) | Unfulfilled::Unanswered => StatusCode::SERVICE_UNAVAILABLE,
    }
}
