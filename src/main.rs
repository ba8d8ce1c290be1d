//! The `jeton` program; all of it is in the library but the allocator and the way out.

use std::process::ExitCode;

use jeton::cli::Process;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that this thread has freed, or that others have freed for it, back to the system.
/// The allocator does so only while it allocates: after a million expiries nobody might.
#[expect(unsafe_code, reason = "the allocator has no safe way to say so")]
fn give_memory_back() {
    // For a thread that never allocated the allocator does nothing.
    drop(std::hint::black_box(Box::new(0_u64)));
    // SAFETY: may be called at any time from any thread; it touches free memory alone.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Ends the process without the C library's exit handlers: the allocator's would collect the whole
/// heap, in seconds where there are millions of tokens, before the system takes it back anyway.
#[expect(unsafe_code, reason = "the standard library has no way out past the exit handlers")]
fn leave(code: u8) -> ! {
    // SAFETY: takes no pointer and does not return.
    unsafe { libc::_exit(code.into()) }
}

fn main() -> ExitCode {
    jeton::cli::main(Process {
        give_memory_back,
        // Coverage, profiles and sanitizers report in an exit handler.
        leave: if cfg!(jeton_reports_at_exit) { None } else { Some(leave) },
    })
}
