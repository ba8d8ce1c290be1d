//! What a compression works on.

/// Values whose MACs are computed side by side.
pub const LANES: usize = 4;
/// Length of a block of SHA-256 in bytes.
pub(super) const BLOCK_LEN: usize = 64;

/// The state of SHA-256.
pub(super) type State = [u32; 8];
/// A block of the message.
pub(super) type Block = [u8; BLOCK_LEN];
