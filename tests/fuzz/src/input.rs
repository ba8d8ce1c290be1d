//! Numbers from bytes: any bytes make an input, and a short input ends in zeros.

/// The remaining bytes.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes, or the remaining ones.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number that is often small and sometimes of any size: one byte is the number of bits, up
    /// to `bits_max`, and eight bytes contain them.
    pub fn scaled(&mut self, bits_max: u32) -> u64 {
        let bits = u32::from(self.u8()) % (bits_max + 1);
        let len = bits.div_ceil(8) as usize;
        let mut bytes = [0; 8];
        let taken = self.take(len);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes) & (1u64.checked_shl(bits).unwrap_or(0)).wrapping_sub(1)
    }
}
