//! A buffer between a socket and what serves its protocol.

/// A buffer that grew beyond this is given back once it is empty.
pub(crate) const KEPT_CAPACITY: usize = 16 * 1024;

/// Bytes in one direction, consumed from the front.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    at: usize,
}

impl Buffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // A peer that pipelines without end may never leave this empty: what was read must go.
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The end of the buffer, with room for `len` more bytes.
    pub(crate) fn tail(&mut self, len: usize) -> &mut Vec<u8> {
        self.bytes.reserve(len);
        &mut self.bytes
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes of memory it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets the first `len` unread bytes.
    pub(crate) fn advance(&mut self, len: usize) {
        self.at += len;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Gives memory back that is much more than what waits.
    pub(crate) fn give_back(&mut self) {
        if self.bytes.capacity() > KEPT_CAPACITY.max(4 * self.len()) {
            self.bytes.drain(..self.at);
            self.at = 0;
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    pub(crate) fn clear(&mut self) {
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
