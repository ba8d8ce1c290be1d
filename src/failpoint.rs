//! Named places at which a test can kill the process, as a power cut would.
//!
//! `JETON_FAILPOINT=name:n` makes the process send itself SIGKILL when it passes the place called
//! `name` for the n-th time: nothing is unwound, flushed or answered. It works in builds with debug
//! assertions or the feature `failpoints`; other builds contain no trace of it. The names are in
//! [`NAMES`], so that a test can try each of them.

/// All places, in the order in which a server first passes them.
pub const NAMES: &[&str] = &[
    "secret-written",
    "secret-synced",
    "secret-renamed",
    "prepare-created",
    "prepare-half-filled",
    "prepare-filled",
    "prepare-before-rename",
    "prepare-renamed",
    "prepare-done",
    "recovery-surveyed",
    "recovery-mid-replay",
    "recovery-replayed",
    "recovery-swept",
    "tail-before-wipe",
    "tail-wiped",
    "frame-before-write",
    "frame-half-written",
    "frame-written",
    "sync-done",
    "commit-before-apply",
    "commit-before-answers",
    "mark-before",
    "mark-written",
    "seal-before-write",
    "seal-written",
    "seal-synced",
    "relocation-committed",
    "segment-released",
    "release-before-declared",
    "release-declared",
    "retire-before",
    "retire-renamed",
    "retire-done",
    "close-before",
    "close-done",
];

/// Whether this build supports the variable.
pub const IS_BUILT: bool = cfg!(any(debug_assertions, feature = "failpoints"));

/// Marks the place `name`: the process ends here if the variable names it.
#[inline(always)]
pub fn pass(name: &'static str) {
    if is_due(name) {
        die();
    }
}

/// Counts a pass of the place `name`. If it returns true, the caller does half of its work and then
/// calls [`die`].
#[inline(always)]
pub fn is_due(name: &'static str) -> bool {
    #[cfg(any(debug_assertions, feature = "failpoints"))]
    return armed::is_due(name);
    #[cfg(not(any(debug_assertions, feature = "failpoints")))]
    {
        let _ = name;
        false
    }
}

/// Ends the process at once, from any thread.
#[cold]
pub fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        // The signal ends every thread; this one waits for it.
        std::thread::park();
    }
}

#[cfg(any(debug_assertions, feature = "failpoints"))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: &'static str,
        left: AtomicU64,
    }

    pub(super) fn is_due(name: &'static str) -> bool {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        debug_assert!(super::NAMES.contains(&name), "{name} is not in the list");
        let armed = ARMED.get_or_init(|| parse(&std::env::var("JETON_FAILPOINT").ok()?));
        armed.as_ref().is_some_and(|armed| {
            armed.name == name && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        })
    }

    /// An unknown name would make a test wait without end, so it panics here.
    fn parse(text: &str) -> Option<Armed> {
        let (name, pass) = text.split_once(':').unwrap_or((text, "1"));
        let known = super::NAMES.iter().copied().find(|known| *known == name);
        match (known, pass.parse()) {
            (Some(name), Ok(pass)) => Some(Armed { name, left: AtomicU64::new(pass) }),
            _ => panic!("JETON_FAILPOINT={text} names no failpoint"),
        }
    }
}
