//! Exit codes of all commands.

/// Not found, refused or damaged; a server that could not start or did not end well.
pub(super) const FAILED: u8 = 1;
/// A mistake in the call or in the configuration: repeating the same call cannot succeed.
pub(super) const MISTAKEN: u8 = 2;
/// A restart would do harm: for supervisors, which must leave it to a person.
pub(super) const NO_RESTART: u8 = 4;
/// No answer from a server, or an output that cannot be written: the same call may succeed later.
pub(super) const UNANSWERED: u8 = 3;
