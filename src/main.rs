//! The `jeton` program; all of it is in the library but the allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that this thread has freed, or that others have freed for it, back to the system.
/// The allocator does so only while it allocates: after a million expiries nobody might.
#[expect(unsafe_code, reason = "the allocator has no safe way to say so")]
fn give_memory_back() {
    // SAFETY: may be called at any time from any thread; it touches free memory alone.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

fn main() -> ExitCode {
    jeton::cli::main(give_memory_back)
}
