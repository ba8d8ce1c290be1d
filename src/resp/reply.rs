//! Writes answers of either version of the protocol.

/// Where an answer is written.
pub(in crate::resp) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    is_3: bool,
}

impl<'a> Reply<'a> {
    pub(in crate::resp) fn new(out: &'a mut Vec<u8>, is_3: bool) -> Self {
        Self { out, is_3 }
    }

    pub(in crate::resp) fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// An error; `text` begins with its code.
    pub(in crate::resp) fn error(&mut self, text: &str) {
        self.line(b'-', text);
    }

    pub(in crate::resp) fn integer(&mut self, value: i64) {
        self.line(b':', itoa::Buffer::new().format(value));
    }

    pub(in crate::resp) fn bulk(&mut self, bytes: &[u8]) {
        self.line(b'$', itoa::Buffer::new().format(bytes.len()));
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    pub(in crate::resp) fn null(&mut self) {
        self.out.extend_from_slice(if self.is_3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    pub(in crate::resp) fn array(&mut self, len: usize) {
        self.line(b'*', itoa::Buffer::new().format(len));
    }

    /// A map of `len` pairs; an array of twice as many in RESP2.
    pub(in crate::resp) fn map(&mut self, len: usize) {
        match self.is_3 {
            true => self.line(b'%', itoa::Buffer::new().format(len)),
            false => self.array(2 * len),
        }
    }

    /// A set; an array in RESP2.
    pub(in crate::resp) fn set(&mut self, len: usize) {
        match self.is_3 {
            true => self.line(b'~', itoa::Buffer::new().format(len)),
            false => self.array(len),
        }
    }

    /// A text for people; a bulk string in RESP2.
    pub(in crate::resp) fn text(&mut self, text: &str) {
        if !self.is_3 {
            return self.bulk(text.as_bytes());
        }
        const FORMAT: &[u8] = b"txt:";
        self.line(b'=', itoa::Buffer::new().format(FORMAT.len() + text.len()));
        self.out.extend_from_slice(FORMAT);
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// A whole answer that was written elsewhere.
    pub(in crate::resp) fn raw(&mut self, answer: &[u8]) {
        self.out.extend_from_slice(answer);
    }

    /// From now on the answers are of this version.
    pub(in crate::resp) fn speak(&mut self, is_3: bool) {
        self.is_3 = is_3;
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.out.push(kind);
        let shown =
            text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
        self.out.extend(shown);
        self.out.extend_from_slice(b"\r\n");
    }
}
