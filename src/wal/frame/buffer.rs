//! The body of a frame under construction.

/// The body of a frame under construction: the caller appends records, the log encrypts them into a
/// buffer of its own and writes the whole frame at once. One buffer serves many frames.
#[derive(Default)]
pub struct FrameBuffer(Vec<u8>);

impl FrameBuffer {
    /// An empty frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the body and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The buffer to append records to. To undo an append, truncate to an earlier length.
    pub fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The body so far.
    pub fn body(&self) -> &[u8] {
        &self.0
    }

    /// Removes the first `len` bytes of the body.
    pub fn drop_front(&mut self, len: usize) {
        self.0.drain(..len);
    }

    /// Length of the body so far, in bytes.
    pub fn body_len(&self) -> usize {
        self.0.len()
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
