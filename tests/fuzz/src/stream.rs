//! Origins in the log of a cluster's node: a second reader of how one follows the other, and a maker
//! of such records, written from the documentation of the formats alone.

use sha2::{Digest as _, Sha256};

use super::input::Input;

/// Length of an Origin.
pub const ORIGIN_LEN: usize = 112;

const RESTATED: u8 = 0;
const COUNTED: u8 = 1;
const GENESIS: u8 = 5;

/// An Origin in its bytes.
pub type Origin = [u8; ORIGIN_LEN];

fn number(origin: &Origin, at: usize) -> u64 {
    origin[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The chain of messages after `last`, at the position and with the hash that `next` has.
fn chain(last: &[u8], next: &Origin) -> [u8; 16] {
    let hash = Sha256::new().chain_update(last).chain_update(&next[16..24]);
    let hash = hash.chain_update(&next[64..80]).finalize();
    std::array::from_fn(|at| hash[at])
}

/// Whether the frame with `next` may follow the one with `last` in a log.
pub fn goes_on(last: &Origin, next: &Origin) -> bool {
    let (same_era, same_cluster) = (last[8..16] == next[8..16], last[48..64] == next[48..64]);
    let is_chained = next[80..96] == chain(&last[80..96], next);
    match next[1] {
        RESTATED => same_era && last[16..24] == next[16..24] && last[48..96] == next[48..96],
        GENESIS => number(next, 8) > number(last, 8) && is_chained,
        _ => {
            let is_next = number(next, 16).checked_sub(1) == Some(number(last, 16));
            is_next && same_era && same_cluster && is_chained
        }
    }
}

/// An Origin behind `last`: most often of the next message of the stream.
pub fn origin(input: &mut Input<'_>, last: Option<&Origin>) -> Origin {
    let choice = input.u8();
    let mut next = last.copied().unwrap_or([0; ORIGIN_LEN]);
    (next[0], next[1]) = (7, if choice == 0 { GENESIS } else { COUNTED });
    if choice == 1 && last.is_some() {
        next[1] = RESTATED;
        next[24..48].fill(0);
        return next;
    }
    let seq = number(&next, 16).wrapping_add(1 + u64::from(choice == 2)).max(1);
    let era = number(&next, 8).wrapping_add(u64::from(choice == 0)).max(1);
    // Its node and the node's life are 1, its batch anything.
    for (at, value) in [(8, era), (16, seq), (24, 1), (32, 1), (40, seq)] {
        next[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    next[64..80].fill(seq as u8);
    let chain = chain(last.map_or(&[0; 16], |last| &last[80..96]), &next);
    next[80..96].copy_from_slice(&chain);
    if choice == 3 {
        next[48 + usize::from(input.u8() % 48)] ^= 1;
    }
    next
}
