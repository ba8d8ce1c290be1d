//! Names of tokens where the caller chooses them.

use crate::protocol::{KEY_LEN, Key};

/// The name of the token with this number where the caller chooses it, and of tokens that never
/// were: 24 bytes as base64url, as jeton's own look.
pub fn own(number: u64) -> Key {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut key = [0; KEY_LEN];
    let mut state = number;
    for characters in key.chunks_mut(10) {
        state = scramble(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut bits = state;
        for character in characters {
            *character = ALPHABET[(bits & 63) as usize];
            bits >>= 6;
        }
    }
    // The first eleven characters are the number itself, so that no two are alike.
    let mut bits = number;
    for character in &mut key[..11] {
        *character = ALPHABET[(bits & 63) as usize];
        bits >>= 6;
    }
    key
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): equal numbers in, spread bits out.
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
