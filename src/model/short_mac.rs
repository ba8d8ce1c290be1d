//! HMAC-SHA-256 of messages that fit in one block, for the resolve path.
//!
//! The digest of a token is two compressions of SHA-256 once the key's own two blocks are computed
//! beforehand (RFC 2104, section 4). A general implementation copies and finishes two hashers
//! around them, which costs twice as much as the compressions. Here the one block is laid out
//! beforehand too: prefix, room for the value, padding and length. [`ShortMac::macs`] computes the
//! MACs of several values side by side, which takes half of the time. Tests compare both with the
//! general implementation.

use std::fmt;

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

mod block;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "compressions side by side take half of a batch's time for digests")]
mod sha_ni;

pub use block::LANES;
use block::{BLOCK_LEN, Block, State};

/// The initial hash value of SHA-256 (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const HASH_LEN: usize = 32;
/// Minimum padding of a block: one byte, and the length in bits.
const PADDING_LEN_MIN: usize = 1 + size_of::<u64>();

/// HMAC-SHA-256 under one key of `prefix ‖ value`, where the value always has the same length.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ShortMac<const VALUE_LEN: usize> {
    inner: State,
    outer: State,
    /// The message's block with room for the value.
    block: Block,
    value_at: usize,
}

impl<const VALUE_LEN: usize> ShortMac<VALUE_LEN> {
    /// A MAC under `key`, which must not be longer than a block. `None`: prefix and value do not
    /// fit in one block.
    #[must_use]
    pub fn new(key: &[u8; HASH_LEN], prefix: &[u8]) -> Option<Self> {
        let len = prefix.len() + VALUE_LEN;
        if len + PADDING_LEN_MIN > BLOCK_LEN {
            return None;
        }
        let mut block = padded(len, BLOCK_LEN + len);
        block[..prefix.len()].copy_from_slice(prefix);
        let keyed = |pad: u8| {
            let mut key_block = [pad; BLOCK_LEN];
            for (byte, key) in key_block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = INITIAL;
            compress256(&mut state, &[key_block]);
            key_block.zeroize();
            state
        };
        let (inner, outer) = (keyed(0x36), keyed(0x5C));
        Some(Self { inner, outer, block, value_at: prefix.len() })
    }

    /// The MAC of a value.
    #[must_use]
    pub fn mac(&self, value: &[u8; VALUE_LEN]) -> [u8; HASH_LEN] {
        let mut state = self.inner;
        compress256(&mut state, &[self.block_of(value)]);
        let block = outer_block(state);
        let mut state = self.outer;
        compress256(&mut state, &[block]);
        bytes(state)
    }

    /// The MACs of several values, in their order.
    #[must_use]
    pub fn macs(&self, values: [&[u8; VALUE_LEN]; LANES]) -> [[u8; HASH_LEN]; LANES] {
        let inner = compress(&self.inner, &values.map(|value| self.block_of(value)));
        compress(&self.outer, &inner.map(outer_block)).map(bytes)
    }

    fn block_of(&self, value: &[u8; VALUE_LEN]) -> Block {
        let mut block = self.block;
        block[self.value_at..self.value_at + VALUE_LEN].copy_from_slice(value);
        block
    }
}

/// Compresses each block, all from the same state.
fn compress(initial: &State, blocks: &[Block; LANES]) -> [State; LANES] {
    #[cfg(target_arch = "x86_64")]
    if let Some(states) = sha_ni::compress(initial, blocks) {
        return states;
    }
    blocks.map(|block| {
        let mut state = *initial;
        compress256(&mut state, &[block]);
        state
    })
}

/// The block of the outer hash, whose message is the inner hash behind the key.
fn outer_block(inner: State) -> Block {
    let mut block = padded(HASH_LEN, BLOCK_LEN + HASH_LEN);
    block[..HASH_LEN].copy_from_slice(&bytes(inner));
    block
}

impl<const VALUE_LEN: usize> fmt::Debug for ShortMac<VALUE_LEN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShortMac(…)")
    }
}

/// A last block with `used` bytes still to be filled in, of a message of `total` bytes.
fn padded(used: usize, total: usize) -> Block {
    let mut block = [0; BLOCK_LEN];
    block[used] = 0x80;
    block[BLOCK_LEN - 8..].copy_from_slice(&(total as u64 * 8).to_be_bytes());
    block
}

fn bytes(state: State) -> [u8; HASH_LEN] {
    let mut bytes = [0; HASH_LEN];
    for (four, word) in bytes.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    proptest! {
        #[test]
        fn is_what_the_general_implementation_says(
            key: [u8; HASH_LEN],
            prefix in prop::collection::vec(any::<u8>(), 0..40),
            values: [[u8; 24]; LANES],
        ) {
            let expected = values.map(|value| -> [u8; HASH_LEN] {
                let mut general = Hmac::<Sha256>::new_from_slice(&key).unwrap();
                general.update(&prefix);
                general.update(&value);
                general.finalize().into_bytes().into()
            });
            match ShortMac::<24>::new(&key, &prefix) {
                Some(short) => {
                    prop_assert_eq!(values.map(|value| short.mac(&value)), expected);
                    prop_assert_eq!(short.macs(values.each_ref()), expected);
                }
                None => prop_assert!(prefix.len() + 24 > 55),
            }
        }

        #[test]
        fn lanes_compress_as_the_library_does(
            initial: State,
            blocks in prop::array::uniform4(prop::array::uniform32(any::<[u8; 2]>())),
        ) {
            let blocks = blocks.map(|pairs| -> Block { pairs.concat().try_into().unwrap() });
            let expected = blocks.map(|block| {
                let mut state = initial;
                compress256(&mut state, &[block]);
                state
            });
            prop_assert_eq!(compress(&initial, &blocks), expected);
        }
    }
}
