//! SHA-256 compressions of several blocks side by side, with the SHA instructions of x86-64.
//!
//! One compression is a chain in which each instruction waits for the one before, so that a core does
//! nothing for more than half of the time. The chains of several blocks fill these gaps. The
//! instructions and the layout of their operands are described in Intel's "SHA Extensions" and in its
//! Software Developer's Manual; the rounds are those of FIPS 180-4, section 6.2.2.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::block::{BLOCK_LEN, Block, LANES, State};

/// The round constants (FIPS 180-4, section 4.2.2).
const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Compresses each block, all from the same state; `None` on a processor without SHA instructions.
pub(super) fn compress(initial: &State, blocks: &[Block; LANES]) -> Option<[State; LANES]> {
    let is_capable = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    // SAFETY: the processor has the instructions that this function is compiled for.
    is_capable.then(|| unsafe { compress_lanes(initial, blocks) })
}

#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn compress_lanes(initial: &State, blocks: &[Block; LANES]) -> [State; LANES] {
    let [a, b, c, d, e, f, g, h] = initial.map(u32::cast_signed);
    let (begin_abef, begin_cdgh) = (_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h));
    let (mut abef, mut cdgh) = ([begin_abef; LANES], [begin_cdgh; LANES]);
    let mut words = [[_mm_setzero_si128(); 4]; LANES];
    for (words, block) in words.iter_mut().zip(blocks) {
        *words = load(block);
    }
    for round in 0..16 {
        let constants = constants(round);
        for lane in 0..LANES {
            if round >= 4 {
                extend(&mut words[lane], round % 4);
            }
            let low = _mm_add_epi32(words[lane][round % 4], constants);
            let high = _mm_shuffle_epi32(low, 0x0E);
            cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], low);
            abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], high);
        }
    }
    let mut states = [[0; 8]; LANES];
    for lane in 0..LANES {
        let abef = _mm_add_epi32(abef[lane], begin_abef);
        let cdgh = _mm_add_epi32(cdgh[lane], begin_cdgh);
        states[lane] = store(abef, cdgh);
    }
    states
}

/// The words of a block.
#[target_feature(enable = "ssse3,sse2")]
fn load(block: &Block) -> [__m128i; 4] {
    let big_endian = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
    let eight = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&block[at..at + 8]);
        i64::from_le_bytes(bytes)
    };
    let mut words = [_mm_setzero_si128(); 4];
    for (words, at) in words.iter_mut().zip((0..BLOCK_LEN).step_by(16)) {
        *words = _mm_shuffle_epi8(_mm_set_epi64x(eight(at + 8), eight(at)), big_endian);
    }
    words
}

/// The constants of four rounds.
#[target_feature(enable = "sse2")]
fn constants(round: usize) -> __m128i {
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| K[4 * round + at].cast_signed());
    _mm_set_epi32(d, c, b, a)
}

/// Computes the next four words of the schedule, in the place of the oldest ones, which are at `at`.
#[target_feature(enable = "sha,ssse3,sse2")]
fn extend(words: &mut [__m128i; 4], at: usize) {
    let [oldest, second, third, newest] = [0, 1, 2, 3].map(|step| words[(at + step) % 4]);
    let sum =
        _mm_add_epi32(_mm_sha256msg1_epu32(oldest, second), _mm_alignr_epi8(newest, third, 4));
    words[at] = _mm_sha256msg2_epu32(sum, newest);
}

#[target_feature(enable = "sse4.1,sse2")]
fn store(abef: __m128i, cdgh: __m128i) -> State {
    [
        _mm_extract_epi32(abef, 3),
        _mm_extract_epi32(abef, 2),
        _mm_extract_epi32(cdgh, 3),
        _mm_extract_epi32(cdgh, 2),
        _mm_extract_epi32(abef, 1),
        _mm_extract_epi32(abef, 0),
        _mm_extract_epi32(cdgh, 1),
        _mm_extract_epi32(cdgh, 0),
    ]
    .map(i32::cast_unsigned)
}
