//! A line of the audit log: one event as a JSON object. The book (`docs/`) lists its fields.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::outcome::EventOutcome;
use crate::keys::Access;
use crate::model::cluster::{NodeId, Position};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;

/// How a request named a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The token itself.
    Token,
    /// The reference of the order.
    Reference,
    /// An issue's `Idempotency-Key`.
    IdempotencyKey,
}

/// Something that was done or refused.
#[derive(Clone, Debug)]
pub struct Event {
    /// When the request was answered, in engine time.
    pub time: UnixMillis,
    /// The operation of the request.
    pub operation: &'static str,
    /// The outcome.
    pub outcome: EventOutcome,
    /// Status of the answer; `None` if there was no answer.
    pub status: Option<u16>,
    /// How the token was named.
    pub by: Option<By>,
    /// The key of the client, if it has one.
    pub access: Option<Arc<Access>>,
    /// Whether the client had no key although the server has keys.
    pub is_anonymous: bool,
    /// Address of the client; `None` for an event of the server itself.
    pub address: Option<SocketAddr>,
    /// What an event of the server is about.
    pub detail: Option<Box<str>>,
    /// Digest of the token.
    pub digest: Option<Digest>,
    /// Whether the token was presented again after it was consumed.
    pub is_replay: bool,
    /// Whether the answer repeats that to an earlier request with the same key.
    pub is_retry: bool,
    /// In a cluster, the position that the node had reached when the request was answered.
    pub position: Position,
    /// Number of events before this one that have no line.
    pub missing: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "shown")]
    time: UnixMillis,
    seq: u64,
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
    operation: &'static str,
    outcome: EventOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    anonymous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_if_any")]
    address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    replay: bool,
    #[serde(skip_serializing_if = "is_false")]
    retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

fn shown_if_any<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

fn shown<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A digest as 32 hexadecimal digits.
pub(super) fn hex(digest: Digest) -> String {
    const_hex::encode(digest.to_bytes())
}

/// Appends the line of `event`, which is the `seq`th, on this node of a cluster, without a line break.
pub(super) fn write(buffer: &mut Vec<u8>, event: &Event, seq: u64, node: Option<NodeId>) {
    let access = event.access.as_deref();
    let has_position = event.position != Position::default();
    let line = Line {
        time: event.time,
        seq,
        missing: event.missing,
        operation: event.operation,
        outcome: event.outcome,
        status: event.status,
        by: event.by,
        key: access.and_then(|access| access.key).map(|key| key.to_string()),
        anonymous: event.is_anonymous,
        namespace: access.map(|access| access.namespace.as_str()),
        address: event.address,
        detail: event.detail.as_deref(),
        digest: event.digest.map(hex),
        replay: event.is_replay,
        retry: event.is_retry,
        node: node.map(|node| node.to_string()),
        position: has_position.then(|| event.position.to_string()),
    };
    // Strings, numbers and flags always serialize, and memory takes them.
    let begin = buffer.len();
    if serde_json::to_writer(&mut *buffer, &line).is_err() {
        buffer.truncate(begin);
        buffer.extend_from_slice(b"{}");
    }
}
