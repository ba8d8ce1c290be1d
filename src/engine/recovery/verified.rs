//! The result of reading a log offline.

/// The content of a log, read offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Segments in use.
    pub segments: u64,
    /// Frames in them.
    pub frames: u64,
    /// Records in the frames; `None` without the secret.
    pub records: Option<u64>,
    /// Tokens with a use left at the log's last time; `None` without the secret.
    pub tokens: Option<u64>,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// Bytes of a torn tail, which the next start would truncate.
    pub torn_bytes: u64,
    /// The end of the log.
    pub lsn: u64,
    /// Log time of the last frame, Unix milliseconds.
    pub last_time_ms: u64,
    /// Tag of the last frame, which stands for the whole log up to it; zeros for an empty log.
    pub last_tag: [u8; 16],
    /// The position in the cluster's stream, if this is the log of a node and was read with the
    /// secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicated: Option<VerifiedNode>,
}

/// The part of a log that only a cluster's node writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct VerifiedNode {
    /// Number of the stream.
    pub era: u64,
    /// Sequence number of the last message in it.
    pub seq: u64,
    /// The chain of messages up to it.
    pub chain: [u8; 16],
    /// Nodes that the log knows.
    pub members: u64,
    /// Messages in the log.
    pub messages: u64,
}
