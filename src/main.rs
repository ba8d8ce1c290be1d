//! The `jeton` program. Everything but the allocator and the end of the process is in the library.

use std::process::ExitCode;

use jeton::cli::Process;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns memory to the system that was freed by this thread or by others on its behalf. The
/// allocator does so only during an allocation, and after a million expiries there may be none.
#[expect(unsafe_code, reason = "the allocator has no safe way to say so")]
fn give_memory_back() {
    // For a thread that never allocated this does nothing.
    drop(std::hint::black_box(Box::new(0_u64)));
    // SAFETY: may be called at any time from any thread; it touches only free memory.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Ends the process without the C library's exit handlers: the allocator's handler would collect
/// the whole heap, which takes seconds with millions of tokens, just before the system frees it
/// anyway.
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
