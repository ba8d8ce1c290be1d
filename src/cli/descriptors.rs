//! The limit of file descriptors, and how many connections it allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http;

/// File descriptors besides those of clients: the log, the admin listener and its connections, and
/// for each worker its listeners (two with `localhost`) and runtime.
const DESCRIPTORS_BESIDE: u64 = 32;
const DESCRIPTORS_A_WORKER: u64 = 5;

/// Maximum client connections: `--max-connections`, or fewer if the limit of file descriptors does
/// not allow that many. Without descriptors in reserve the log could not open its next segment and
/// would refuse writes, and a client over the limit would wait instead of getting its 503.
pub(super) fn places(http: &http::Config, is_resp: bool) -> usize {
    let workers = http.workers as u64 * if is_resp { 2 } else { 1 };
    let beside = DESCRIPTORS_BESIDE + workers * DESCRIPTORS_A_WORKER;
    let wanted = http.max_connections as u64 + beside;
    let allowed = allow_descriptors(wanted);
    if allowed >= wanted {
        return http.max_connections;
    }
    let places = allowed.saturating_sub(beside).max(1);
    tracing::warn!(
        allowed,
        wanted,
        connections = places,
        "fewer file descriptors than --max-connections needs, so fewer connections: raise ulimit -n"
    );
    usize::try_from(places).unwrap_or(http.max_connections)
}

/// Raises the limit of file descriptors to `wanted`, as far as the system allows. Returns the
/// limit.
fn allow_descriptors(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = Rlimit { current: Some(allowed), maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { allowed } else { current }
}
