//! The part of a node in its cluster, and why it has none.

use crate::model::cluster::Era;

/// The part of a node in its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It follows the stream, and has not begun its life in the cluster yet.
    #[default]
    Following,
    /// Its Hello has been proposed.
    Introducing,
    /// Its batches count.
    Serving,
    /// It has left the cluster.
    Stopped(Stopped),
}

/// Why a node has left its cluster. A restart would do harm, except after a failed log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Another process has begun a life of the same node.
    #[error("another process runs as the same node of the cluster")]
    Superseded,
    /// The cluster does not accept this node.
    #[error("the cluster has no room for this node")]
    NoRoom,
    /// The cluster has not heard of this node for so long that another has taken its place.
    #[error("the cluster has forgotten this node; start it again")]
    Forgotten,
    /// A person has taken this node out of the cluster.
    #[error("this node was taken out of its cluster (jeton cluster leave or forget)")]
    Retired,
    /// The nodes have agreed on a format that this version does not know.
    #[error("the nodes have agreed on format {format}, which this version of jeton does not know")]
    Outdated {
        /// The format.
        format: u32,
    },
    /// The stream is not the one that this node has followed.
    #[error("the stream differs from what this node has landed at position {seq}")]
    Lost {
        /// The position.
        seq: u64,
    },
    /// The cluster goes on in another stream.
    #[error(
        "the cluster goes on in another stream, of era {}, and this one has ended", .era.0
    )]
    NewerEra {
        /// The era of that stream.
        era: Era,
    },
    /// The log has failed.
    #[error("the log has failed: {0}")]
    Failed(String),
}
