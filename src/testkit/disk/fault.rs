//! Faults of the simulated disk.

use std::io;

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// An input/output error of any call. A part of a write may have taken effect; for a sync, see
    /// [`Fault::FailedSync`].
    Io,
    /// No space, for every call that needs some. Nothing is written.
    NoSpace,
    /// A write that ends early because the disk is full.
    ShortWrite,
    /// A failed sync of a file or of the directory. It makes some of the changes durable; the other
    /// bytes of a file are lost, so that the next sync succeeds without them.
    FailedSync,
    /// A power cut: this call may have half of its effect, and every later one fails.
    PowerCut,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 5] =
        [Self::Io, Self::NoSpace, Self::ShortWrite, Self::FailedSync, Self::PowerCut];

    /// Whether a call can fail in this way.
    pub fn hits(self, call: Call) -> bool {
        match self {
            Self::Io | Self::PowerCut => true,
            Self::NoSpace => matches!(
                call,
                Call::Create
                    | Call::Write
                    | Call::Rename
                    | Call::Remove
                    | Call::Sync
                    | Call::SetLen
            ),
            Self::ShortWrite => call == Call::Write,
            Self::FailedSync => matches!(call, Call::Sync | Call::SyncDir),
        }
    }

    /// The error for the caller.
    pub fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::other("input/output error"),
            Self::NoSpace | Self::ShortWrite => io::ErrorKind::StorageFull.into(),
            Self::FailedSync => io::Error::other("sync failed"),
            Self::PowerCut => io::Error::other("switched off"),
        }
    }
}

/// A call to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Make a file.
    Create,
    /// Open a file.
    Open,
    /// List all files.
    List,
    /// Rename a file.
    Rename,
    /// Remove a file.
    Remove,
    /// Make names durable.
    SyncDir,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Make a file durable.
    Sync,
    /// Drop the cache.
    Forget,
    /// Truncate or extend a file.
    SetLen,
}

impl Call {
    /// Whether it changes something, or makes it durable.
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Read | Self::Forget)
    }
}

/// A planned fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The fault.
    pub fault: Fault,
    /// The call that fails, counted as by `Memory::asked`, …
    pub at: u64,
    /// … and every one after it that can fail in this way, until `Memory::mend`.
    pub is_lasting: bool,
}

impl Planned {
    /// Whether the call with this number fails.
    pub fn strikes(self, call: Call, number: u64) -> bool {
        let is_time = if self.is_lasting { number >= self.at } else { number == self.at };
        is_time && self.fault.hits(call)
    }
}
