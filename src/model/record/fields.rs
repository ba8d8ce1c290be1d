//! Fields of fixed lengths, one after the other: how the records of a cluster are written and read.

/// A record that is being written.
pub(super) struct Writer<const N: usize> {
    pub(super) bytes: [u8; N],
    pub(super) at: usize,
}

impl<const N: usize> Writer<N> {
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

/// A record that is being read.
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        array
    }

    pub(super) fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(super) fn zero<const N: usize>(&mut self) -> Result<(), &'static str> {
        match self.array::<N>() == [0; N] {
            true => Ok(()),
            false => Err("unused bytes are not zero"),
        }
    }
}
