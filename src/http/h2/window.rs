//! The flow-control window of an HTTP/2 connection, as granted by its peer (RFC 9113, 6.9).
//!
//! A stream that cannot send may wait for its own window or for that of the whole connection, and
//! hyper does not report which. The connection's window can be computed: the peer enlarges it by
//! WINDOW_UPDATE frames for stream 0, which are found here by reading the frame heads of the input,
//! and `outgoing` counts the bytes that were sent. If the connection's window is open, a stream
//! that sends nothing has used up its own window.

/// The connection preface, which precedes the first frame of a client.
const PREFACE_LEN: usize = 24;
const FRAME_HEAD_LEN: usize = 9;
const UPDATE_LEN: usize = 4;
const WINDOW_UPDATE: u8 = 8;
/// Bytes that each side may send before the first WINDOW_UPDATE.
const INITIAL: i64 = 65_535;

/// The window of one connection.
#[derive(Debug)]
pub(in crate::http) struct Window {
    /// Bytes until the next frame begins.
    skip: usize,
    /// The head of a frame, and the increment of a WINDOW_UPDATE.
    head: [u8; FRAME_HEAD_LEN + UPDATE_LEN],
    /// Bytes of it received so far.
    have: usize,
    /// Bytes that may be sent; below 0 only where something was counted twice.
    open: i64,
}

impl Default for Window {
    fn default() -> Self {
        Self { skip: PREFACE_LEN, head: [0; FRAME_HEAD_LEN + UPDATE_LEN], have: 0, open: INITIAL }
    }
}

impl Window {
    /// Whether the connection may send.
    pub(in crate::http) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Subtracts bytes of DATA that were sent.
    pub(in crate::http) fn sent(&mut self, len: usize) {
        self.open = self.open.saturating_sub_unsigned(len as u64);
    }

    /// Processes the bytes of the peer, in the order in which they arrive.
    pub(in crate::http) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let wanted = if self.is_update() { self.head.len() } else { FRAME_HEAD_LEN };
            let taken = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.head.len() {
                self.update();
            } else if self.have == FRAME_HEAD_LEN && !self.is_update() {
                (self.skip, self.have) = (self.len(), 0);
            }
        }
    }

    fn len(&self) -> usize {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize
    }

    /// Whether the head is complete and that of a WINDOW_UPDATE. Another length is an error of the
    /// peer.
    fn is_update(&self) -> bool {
        self.have >= FRAME_HEAD_LEN && self.head[3] == WINDOW_UPDATE && self.len() == UPDATE_LEN
    }

    fn update(&mut self) {
        self.have = 0;
        let [.., a, b, c, d, e, f, g, h] = self.head;
        let is_connection = u32::from_be_bytes([a & 0x7f, b, c, d]) == 0;
        if is_connection {
            self.open = self.open.saturating_add(u32::from_be_bytes([e & 0x7f, f, g, h]).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn only_what_is_granted_to_the_connection_opens_it() {
        let update = |stream, more: u32| frame(WINDOW_UPDATE, stream, &more.to_be_bytes());
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, &[0, 4, 0, 0, 0, 0]),
            update(0, 100),
            frame(0, 1, &update(0, 1_000_000)),
            update(1, 5_000),
            frame(WINDOW_UPDATE, 0, b"12345"),
            frame(6, 0, b""),
            update(0, 0x8000_0007),
        ]
        .concat();
        for piece in [1, 2, 7, 1_000] {
            let mut window = Window::default();
            bytes.chunks(piece).for_each(|piece| window.follow(piece));
            assert_eq!(window.open, INITIAL + 107, "in pieces of {piece}");
            window.sent(65_535 + 106);
            assert!(window.is_open());
            window.sent(1);
            assert!(!window.is_open());
        }
    }
}
