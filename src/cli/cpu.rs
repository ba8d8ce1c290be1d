//! Whether the CPU has the instructions that this build uses.
//!
//! A build for newer CPUs would end with an illegal instruction at some request. The macro of the
//! standard library cannot tell: for what the build may use anyway it is constant.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// What a CPU says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Registers {
    /// Leaf 1, register ECX.
    first: u32,
    /// Leaf 7, register EBX. It is 0 on a CPU without leaf 7.
    seventh: u32,
}

/// An extension: its name, whether this build uses it, and its bit.
struct Extension {
    name: &'static str,
    is_used: bool,
    is_in: fn(&Registers) -> u32,
    bit: u32,
}

macro_rules! extension {
    ($name:tt, $register:ident, $bit:literal) => {
        Extension {
            name: $name,
            is_used: cfg!(target_feature = $name),
            is_in: |registers| registers.$register,
            bit: $bit,
        }
    };
}

/// Those that builds of jeton are usually given (Intel's manual, volume 2, CPUID).
const EXTENSIONS: [Extension; 12] = [
    extension!("sse3", first, 0),
    extension!("pclmulqdq", first, 1),
    extension!("ssse3", first, 9),
    extension!("fma", first, 12),
    extension!("sse4.1", first, 19),
    extension!("sse4.2", first, 20),
    extension!("popcnt", first, 23),
    extension!("aes", first, 25),
    extension!("avx", first, 28),
    extension!("avx2", seventh, 5),
    extension!("bmi2", seventh, 8),
    extension!("avx512f", seventh, 16),
];

/// What this build uses and this CPU lacks; `None` if it has everything.
pub(super) fn mistake() -> Option<String> {
    mistake_of(&registers()?)
}

#[cfg(target_arch = "x86_64")]
fn registers() -> Option<Registers> {
    let seventh = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
    Some(Registers { first: __cpuid(1).ecx, seventh })
}

#[cfg(not(target_arch = "x86_64"))]
fn registers() -> Option<Registers> {
    None
}

fn mistake_of(cpu: &Registers) -> Option<String> {
    let has = |one: &Extension| (one.is_in)(cpu) >> one.bit & 1 == 1;
    let missing = EXTENSIONS.iter().filter(|one| one.is_used && !has(one)).map(|one| one.name);
    let missing: Vec<_> = missing.collect();
    (!missing.is_empty()).then(|| {
        format!(
            "this build uses instructions that this CPU lacks: {}; build jeton for it, with \
             RUSTFLAGS=\"-C target-cpu=x86-64\"",
            missing.join(", ")
        )
    })
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(mistake(), None, "this test runs");
        let all = Registers { first: u32::MAX, seventh: u32::MAX };
        assert_eq!(mistake_of(&all), None);
        // What a build with the flags of this project uses.
        if cfg!(target_feature = "aes") {
            let text = mistake_of(&Registers { first: !(1 << 25), ..all }).unwrap();
            assert!(text.contains("lacks: aes;"), "{text}");
            let text = mistake_of(&Registers::default()).unwrap();
            assert!(text.contains("ssse3, sse4.1, sse4.2, aes"), "{text}");
        }
    }
}
