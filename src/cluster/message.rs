//! A message of the stream: its bytes, and how they are sealed.
//!
//! All numbers are little-endian.
//!
//! ```text
//! offset  length  what
//!      0       4  magic "JTNM"
//!      4       2  format, 1 or 2
//!      6       2  kind: 1 Genesis, 2 Hello, 3 Batch
//!      8      16  cluster id
//!     24       8  era
//!     32       8  node, not 0
//!     40       8  epoch, not 0
//!     48      16  boot nonce
//!     64       8  batch, 1 and up; 0 for another kind
//!     72       4  attempt
//!     76       4  length of the body in bytes
//!     80       8  the node's clock when it sent this, Unix milliseconds below 2^43
//!     88      12  nonce of the cipher, random
//!    100       4  zero
//!    104       …  body, encrypted
//!              16 tag
//! ```
//!
//! The body of a Batch is a sequence of records ([`crate::model::record`]) whose deadlines are
//! relative to the time at which the message lands. That of a Genesis is empty, or says where the
//! stream before this one has ended; that of a Hello is empty.
//!
//! Body and head are sealed with AES-256-GCM, the head as associated data. The key is derived from
//! the cluster's secret with HKDF-SHA-256; salt "jeton message", info bytes 8 to 63 of the head. A
//! node has a new key for each of its starts, and each try has a new random nonce: a counter would
//! repeat if the image of a machine were resumed twice. A client that may publish to the stream but
//! does not have the secret can neither read a message nor make one.
//!
//! A message is valid if and only if it opens, its format and kind are known, and each field is
//! within its limits. The first 104 bytes and the seal stay the same in later formats, so that only
//! a message of the cluster can be of an unknown format; such a message stops a node before it
//! lands, because nodes of the later version take it otherwise. A node sends messages of the format on
//! which all nodes have agreed; only the first message of a cluster says so by itself, and the nodes
//! have agreed with it. Format 2 has more records in the body of a Batch
//! ([`crate::model::record::asked`]).

use std::collections::VecDeque;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};

use crate::engine::clustered::Proposal;
use crate::engine::replicated::{FORMAT_FIRST, Landed, MessageHead, MessageKind, Sender, hash_of};
use crate::model::cluster::{BootNonce, ClusterId, Epoch, Era, NodeId};
use crate::model::time::UnixMillis;
use crate::model::token::Secret;

const MAGIC: [u8; 4] = *b"JTNM";
/// The latest format of messages that are read and made.
pub use crate::engine::replicated::FORMAT;

const FORMAT_AT: usize = MAGIC.len();
const KIND_AT: usize = FORMAT_AT + 2;
const CLUSTER_AT: usize = KIND_AT + 2;
const ERA_AT: usize = CLUSTER_AT + 16;
const NODE_AT: usize = ERA_AT + 8;
const EPOCH_AT: usize = NODE_AT + 8;
const BOOT_AT: usize = EPOCH_AT + 8;
const BATCH_AT: usize = BOOT_AT + 16;
const ATTEMPT_AT: usize = BATCH_AT + 8;
const LENGTH_AT: usize = ATTEMPT_AT + 4;
const TIME_AT: usize = LENGTH_AT + 4;
const NONCE_AT: usize = TIME_AT + 8;
const ZERO_AT: usize = NONCE_AT + NONCE_LEN;
/// Length of the head, in bytes.
pub const HEAD_LEN: usize = ZERO_AT + 4;
/// Length of the tag, in bytes.
pub const TAG_LEN: usize = 16;
const _: () = assert!(HEAD_LEN == 104);

/// Keys that are kept: those of each node's present start, and of some before.
const KEYS_MAX: usize = 128;

/// A message of the cluster that this version does not know. The node must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this version of jeton does not know messages of format {0}")]
pub struct UnknownFormat(pub u16);

/// A message could not be sealed: the system gave no random bytes, or the body is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message can't be sealed: {0}")]
pub struct SealError(&'static str);

/// Seals and opens the messages of a cluster.
pub struct Sealer {
    root: Prk,
    /// The keys used last, newest first, by bytes 8 to 63 of the head.
    keys: VecDeque<([u8; BATCH_AT - CLUSTER_AT], LessSafeKey)>,
}

impl Sealer {
    /// The sealer of the cluster with this secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let root = Salt::new(HKDF_SHA256, b"jeton message").extract(secret.as_bytes());
        Self { root, keys: VecDeque::new() }
    }

    /// The bytes of a message, with a new nonce.
    ///
    /// # Errors
    /// The body is longer than 4 GiB, or the operating system returned no random bytes.
    pub fn seal(&mut self, message: &Proposal<'_>) -> Result<Vec<u8>, SealError> {
        let Ok(length) = u32::try_from(message.body.len()) else {
            return Err(SealError("its body is too long"));
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError("no random bytes"))?;
        let mut bytes = Vec::with_capacity(HEAD_LEN + message.body.len() + TAG_LEN);
        bytes.extend_from_slice(&encode_head(message, length, nonce));
        bytes.extend_from_slice(message.body);
        let (head, body) = bytes.split_at_mut(HEAD_LEN);
        let key = self.key(head).map_err(|_| SealError("no key"))?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(&*head), body)
            .map_err(|_| SealError("the cipher refused it"))?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(bytes)
    }

    /// The message that the stream stored under `seq`. If it does not open, or is not valid, it
    /// has no content, on every node alike.
    ///
    /// # Errors
    /// It is a message of the cluster in an unknown format.
    pub fn open(
        &mut self,
        seq: u64,
        stored_at: UnixMillis,
        message: &[u8],
    ) -> Result<Landed, UnknownFormat> {
        let hash = hash_of(message);
        let content = self.open_content(message)?;
        Ok(Landed { seq, stream_time: stored_at, hash, content })
    }

    fn open_content(
        &mut self,
        message: &[u8],
    ) -> Result<Option<(MessageHead, Vec<u8>)>, UnknownFormat> {
        if message.len() < HEAD_LEN + TAG_LEN || message[..FORMAT_AT] != MAGIC {
            return Ok(None);
        }
        let (head, sealed) = message.split_at(HEAD_LEN);
        let nonce = Nonce::assume_unique_for_key(array(head, NONCE_AT));
        let mut body = sealed.to_vec();
        let opened = self
            .key(head)
            .and_then(|key| key.open_in_place(nonce, Aad::from(head), &mut body).map(|b| b.len()));
        let Ok(length) = opened else { return Ok(None) };
        body.truncate(length);
        match u16::from_le_bytes(array(head, FORMAT_AT)) {
            FORMAT_FIRST..=FORMAT => Ok(decode_head(head, &body).map(|head| (head, body))),
            other => Err(UnknownFormat(other)),
        }
    }

    /// The key of the sender in this head.
    fn key(&mut self, head: &[u8]) -> Result<&LessSafeKey, Unspecified> {
        let sender: [u8; BATCH_AT - CLUSTER_AT] = array(head, CLUSTER_AT);
        let known = self.keys.iter().position(|(known, _)| *known == sender);
        if let Some(known) = known.and_then(|at| self.keys.remove(at)) {
            self.keys.push_front(known);
        } else {
            let info = [&sender[..]];
            let key = self.root.expand(&info, &AES_256_GCM)?;
            self.keys.truncate(KEYS_MAX - 1);
            self.keys.push_front((sender, LessSafeKey::new(UnboundKey::from(key))));
        }
        self.keys.front().map(|(_, key)| key).ok_or(Unspecified)
    }
}

fn encode_head(message: &Proposal<'_>, length: u32, nonce: [u8; NONCE_LEN]) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    let kind: u16 = match message.kind {
        MessageKind::Genesis => 1,
        MessageKind::Hello => 2,
        MessageKind::Batch => 3,
    };
    put(0, &MAGIC);
    put(FORMAT_AT, &message.format.to_le_bytes());
    put(KIND_AT, &kind.to_le_bytes());
    put(CLUSTER_AT, &message.cluster.0);
    put(ERA_AT, &message.era.0.to_le_bytes());
    put(NODE_AT, &message.sender.node.0.to_le_bytes());
    put(EPOCH_AT, &message.sender.epoch.0.to_le_bytes());
    put(BOOT_AT, &message.sender.nonce.0);
    put(BATCH_AT, &message.batch.to_le_bytes());
    put(ATTEMPT_AT, &message.attempt.to_le_bytes());
    put(LENGTH_AT, &length.to_le_bytes());
    put(TIME_AT, &message.proposed_at.0.to_le_bytes());
    put(NONCE_AT, &nonce);
    head
}

/// The head of a message that opened; `None` if a field is out of its limits.
fn decode_head(head: &[u8], body: &[u8]) -> Option<MessageHead> {
    let number = |at| u64::from_le_bytes(array(head, at));
    let kind = match u16::from_le_bytes(array(head, KIND_AT)) {
        1 => MessageKind::Genesis,
        2 => MessageKind::Hello,
        3 => MessageKind::Batch,
        _ => return None,
    };
    let node = NodeId(number(NODE_AT));
    let sender =
        Sender { node, epoch: Epoch(number(EPOCH_AT)), nonce: BootNonce(array(head, BOOT_AT)) };
    let (batch, proposed_at) = (number(BATCH_AT), UnixMillis(number(TIME_AT)));
    let is_batch = kind == MessageKind::Batch;
    let is_valid = sender.node.0 != 0
        && sender.epoch.0 != 0
        && (batch != 0) == is_batch
        && (kind != MessageKind::Hello || body.is_empty())
        && u32::from_le_bytes(array(head, LENGTH_AT)) as usize == body.len()
        && proposed_at <= UnixMillis::MAX
        && array::<4>(head, ZERO_AT) == [0; 4];
    is_valid.then_some(MessageHead {
        format: u16::from_le_bytes(array(head, FORMAT_AT)),
        kind,
        cluster: ClusterId(array(head, CLUSTER_AT)),
        era: Era(number(ERA_AT)),
        sender,
        batch,
        attempt: u32::from_le_bytes(array(head, ATTEMPT_AT)),
        proposed_at,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests;
