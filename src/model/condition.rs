//! The conditions under which a change happens.

/// The condition of a put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// None.
    #[default]
    Always,
    /// No entry is alive.
    Absent,
    /// An entry is alive.
    Present,
}

/// The condition of a new deadline, besides a live entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadlineWhen {
    /// None.
    #[default]
    Always,
    /// The new deadline is later.
    Later,
    /// The new deadline is earlier.
    Earlier,
}
