//! What a node can do at present, as one word.

use crate::engine::clustered::Stopped;

/// What a node can do at present. Each has one name, in `/readyz` and in `jeton cluster status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Everything.
    Ready,
    /// It connects, or checks the settings of the stream.
    Starting,
    /// It reads its log.
    Recovering,
    /// It follows the stream to its end.
    Joining,
    /// It has not heard of its cluster for longer than `--cluster-staleness`.
    Stale,
    /// Its clock differs from the stream's by more than 10 s.
    Clock,
    /// The stream is not the one that it has followed, or has forgotten what it has not landed.
    Lost,
    /// Its content differs from that of other nodes.
    Diverged,
    /// Another process runs as the same node.
    Superseded,
    /// A person has taken it out of its cluster.
    Left,
    /// It is shutting down.
    Draining,
    /// Its changes do not land.
    NoQuorum,
    /// Its log cannot be written: its disk is full, or the next segment cannot be made.
    Unwritable,
    /// The stream is full.
    StreamFull,
    /// The stream or a server has a setting with which an acknowledged change could be lost.
    WrongSettings,
    /// Most nodes have another keys file, and `--cluster-require-same-keys` is set.
    KeysDiffer,
}

impl Word {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Ready,
        Self::Starting,
        Self::Recovering,
        Self::Joining,
        Self::Stale,
        Self::Clock,
        Self::Lost,
        Self::Diverged,
        Self::Superseded,
        Self::Left,
        Self::Draining,
        Self::NoQuorum,
        Self::Unwritable,
        Self::StreamFull,
        Self::WrongSettings,
        Self::KeysDiffer,
    ];

    /// Lower-case words joined by `-`; never changed once released.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Joining => "joining",
            Self::Stale => "stale",
            Self::Clock => "clock",
            Self::Lost => "lost",
            Self::Diverged => "diverged",
            Self::Superseded => "superseded",
            Self::Left => "left",
            Self::Draining => "draining",
            Self::NoQuorum => "no-quorum",
            Self::Unwritable => "unwritable",
            Self::StreamFull => "stream-full",
            Self::WrongSettings => "wrong-settings",
            Self::KeysDiffer => "keys-differ",
        }
    }

    /// Whether the node should get changes.
    #[must_use]
    pub const fn takes_changes(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether the node should get reads.
    #[must_use]
    pub const fn takes_reads(self) -> bool {
        matches!(
            self,
            Self::Ready
                | Self::NoQuorum
                | Self::Unwritable
                | Self::StreamFull
                | Self::WrongSettings
                | Self::KeysDiffer
        )
    }
}

/// Why the process of a node must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// Another process has begun a life of the same node.
    #[error(
        "another process runs as this node of the cluster: stop one of the two; if this data \
         directory is a copy, run jeton cluster rejoin on it"
    )]
    Superseded,
    /// The content of this node differs from that of several others, which agree.
    #[error("{0}")]
    Diverged(String),
    /// The cluster goes on in another stream, which may or may not continue from this node's log.
    #[error("{0}: run jeton cluster rejoin DIR, then start this node; it follows the new stream")]
    NewerEra(String),
    /// The cluster goes on in another stream, which does not continue from this node's log.
    #[error("{0}")]
    LeftBehind(String),
    /// A person has taken the node out of its cluster.
    #[error(
        "this node was taken out of its cluster (jeton cluster leave or forget): stop starting it; \
         to bring it back as another node, run jeton cluster rejoin on its data directory"
    )]
    Retired,
    /// The node cannot go on, and a restart is no harm.
    #[error("{0}")]
    Other(String),
}

impl Ending {
    /// Whether a restart would do harm, so that only a person may decide on it.
    #[must_use]
    pub fn forbids_restart(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Whether the log of the node can never be continued.
    pub(super) fn spoils_log(&self) -> bool {
        matches!(self, Self::Diverged(_) | Self::LeftBehind(_))
    }

    /// Why a node that has stopped must end; `None` if it goes on to be there for a person.
    pub(super) fn of(stopped: &Stopped) -> Option<Self> {
        match stopped {
            Stopped::Superseded => Some(Self::Superseded),
            Stopped::Retired => Some(Self::Retired),
            Stopped::Lost { .. } => None,
            Stopped::NewerEra { .. } => Some(Self::NewerEra(stopped.to_string())),
            Stopped::Outdated { .. } => {
                Some(Self::Other(format!("{stopped}: start a later version here")))
            }
            Stopped::NoRoom | Stopped::Forgotten | Stopped::Failed(_) => {
                Some(Self::Other(stopped.to_string()))
            }
        }
    }

    pub(super) fn word(&self) -> Word {
        match self {
            Self::Superseded => Word::Superseded,
            Self::Diverged(_) => Word::Diverged,
            Self::NewerEra(_) | Self::LeftBehind(_) => Word::Lost,
            Self::Retired => Word::Left,
            Self::Other(_) => Word::Draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::Era;

    #[test]
    fn what_takes_changes_also_takes_reads_and_no_name_is_used_twice() {
        let names: std::collections::BTreeSet<_> = Word::ALL.map(Word::name).into();
        assert_eq!(names.len(), Word::ALL.len());
        for word in Word::ALL {
            assert!(word.takes_reads() || !word.takes_changes(), "{}", word.name());
        }
        let reads = Word::ALL.into_iter().filter(|word| word.takes_reads());
        let reads: Vec<_> = reads.map(Word::name).collect();
        assert_eq!(
            reads,
            ["ready", "no-quorum", "unwritable", "stream-full", "wrong-settings", "keys-differ"]
        );
    }

    #[test]
    fn a_restart_is_forbidden_where_two_processes_or_contents_would_compete() {
        for stopped in [Stopped::Superseded, Stopped::NewerEra { era: Era(2) }, Stopped::Retired] {
            let ending = Ending::of(&stopped).unwrap();
            assert!(ending.forbids_restart() && !ending.spoils_log(), "{stopped}");
        }
        for stopped in [Stopped::Forgotten, Stopped::NoRoom, Stopped::Failed("disk".to_owned())] {
            assert!(!Ending::of(&stopped).unwrap().forbids_restart(), "{stopped}");
        }
        assert_eq!(Ending::of(&Stopped::Lost { seq: 7 }), None);
    }
}
