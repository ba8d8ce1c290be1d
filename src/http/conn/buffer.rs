//! A buffer between a socket and hyper.

/// From this many bytes of unsent output on, hyper is told to wait.
pub(in crate::http) const OUTPUT_LEN_MAX: usize = 256 * 1024;
/// A buffer that grew beyond this is given back once it is empty.
pub(super) const KEPT_CAPACITY: usize = 16 * 1024;

/// Bytes in one direction, consumed from the front.
#[derive(Default)]
pub(in crate::http) struct Buffer {
    bytes: Vec<u8>,
    at: usize,
}

impl Buffer {
    pub(in crate::http) fn push(&mut self, bytes: &[u8]) {
        // A peer that pipelines without end may never leave this empty: what was read must go.
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The end of the buffer, with room for `len` more bytes.
    pub(in crate::http) fn tail(&mut self, len: usize) -> &mut Vec<u8> {
        self.bytes.reserve(len);
        &mut self.bytes
    }

    pub(in crate::http) fn unread(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(in crate::http) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(in crate::http) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes of memory it takes.
    pub(in crate::http) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets the first `len` unread bytes.
    pub(in crate::http) fn advance(&mut self, len: usize) {
        self.at += len;
        if self.is_empty() {
            self.clear();
        }
    }

    pub(in crate::http) fn clear(&mut self) {
        self.at = 0;
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_input_that_is_never_empty_does_not_grow() {
        let mut buffer = Buffer::default();
        buffer.push(b"rest");
        for _ in 0..10_000 {
            buffer.push(b"more");
            buffer.advance(4);
        }
        assert_eq!(buffer.unread(), b"more");
        assert!(buffer.bytes.capacity() <= 64, "{} bytes", buffer.bytes.capacity());
    }
}
