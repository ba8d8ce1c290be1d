//! Instructions of the hot functions, counted under callgrind: exact where clocks are not.
//!
//! Every function does a number of operations, the last part of its name says how many, on inputs,
//! times, secrets and hash keys that never change, on one thread and without a socket. Setting up is
//! not counted. The regression gate of `loadtest` compares the counts of two revisions; alone:
//! `cargo bench --bench instructions`, with valgrind and gungraun-runner on the `PATH`.
//!
//! What it does not show: the kernel, waits, cache misses and clashes between threads, each of which
//! can cost more than instructions do. Callgrind knows no SHA instructions: a digest, which costs a
//! real processor about 50 ns, counts for thousands. So look-ups are counted both from the token's
//! text and with digests computed beforehand, where nothing hides them.
//!
//! In test mode nothing is counted: each function runs once and its results are checked.

#![expect(clippy::print_stdout, reason = "a program whose output is its purpose")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must stop")]

mod changes;
mod frames;
mod reads;
mod records;
#[path = "../support/mod.rs"]
mod support;
mod timers;

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use jeton::engine::Outcome;
use jeton::model::time::UnixMillis;
use jeton::testkit::clock::ManualClock;
use jeton::testkit::stepped::Stepped;

use changes::Changes;
use frames::Log;
use reads::{Gets, Lists, Lookups, Reads};
use records::Records;
use support::calls;
use timers::Timers;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// When everything happens.
const NOW: UnixMillis = UnixMillis(1_000_000_000_000);
/// How long a token lives.
const TTL: Duration = Duration::from_secs(900);
const DEADLINE: UnixMillis = UnixMillis(NOW.0 + 900_000);

/// Tokens that are there before anything is counted: enough that tables have grown, and few, because
/// each is issued under valgrind too.
const LIVING: usize = 2_000;

/// Hash keys that are the same in every run.
fn hasher() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

/// An engine that works only when it is told to, with [`LIVING`] tokens.
fn engine() -> Stepped {
    let clock = Arc::new(ManualClock::at(NOW));
    let digester = support::digester();
    let mut stepped = Stepped::new(support::digester(), &hasher(), clock);
    for first in (0..LIVING).step_by(1_000) {
        let issue = |n| calls::issue(support::digest(&digester, n), n, TTL);
        let ops = (first..first + 1_000).map(issue).collect();
        let outcomes = stepped.carry_out(ops).expect("the engine is open");
        let is_issued = |outcome: &Outcome| matches!(outcome, Outcome::Issued { .. });
        assert!(outcomes.iter().all(is_issued), "tokens differ");
    }
    stepped
}

/// What a function works on, and how its results are checked where nobody counts.
trait Fixture {
    /// Panics where the work was not done right.
    fn check(&mut self);
}

/// Declares the functions: the group and name of each, what makes its fixture, which of the
/// fixture's functions it is, and how many operations that does.
macro_rules! hot_functions {
    ($($group:ident {
        $($name:ident: $kind:ident::$new:ident, $work:ident, $times:ident;)*
    })*) => {
        $(mod $group {
            use crate::*;
            use gungraun::{library_benchmark, library_benchmark_group};

            $(#[library_benchmark]
            #[bench::$times(Box::new($kind::$new()))]
            fn $name(mut fixture: Box<$kind>) -> Box<$kind> {
                fixture.$work();
                fixture
            })*

            library_benchmark_group!(name = $group, benchmarks = [$($name),*]);
        })*

        /// Runs every function once and checks its results; gives how many there are.
        fn run_all() -> usize {
            let mut count = 0;
            $($({
                let mut fixture = $kind::$new();
                fixture.$work();
                fixture.check();
                count += 1;
            })*)*
            count
        }

        /// The harness of gungraun, which runs each function in a process of its own.
        mod harness {
            use gungraun::{Callgrind, LibraryBenchmarkConfig, main};

            $(use crate::$group::$group;)*

            // Instructions are all that decides; to simulate caches would take twice as long.
            main!(
                config = LibraryBenchmarkConfig::default()
                    .tool(Callgrind::with_args(["--cache-sim=no"])),
                library_benchmark_groups = [$($group),*]
            );

            pub fn run() {
                main();
            }
        }
    };
}

hot_functions! {
    resolve {
        text_hit: Reads::hits, text, times_1000;
        text_miss: Reads::misses, text, times_1000;
        digest_hit: Reads::hits, digest, times_1000;
        digest_miss: Reads::misses, digest, times_1000;
        batch_of_100: Reads::hits, batch_of_100, times_10;
        store_hit: Lookups::hits, one, times_1000;
        store_miss: Lookups::misses, one, times_1000;
        store_batch_of_100: Lookups::hits, batch_of_100, times_10;
        http_get_hit: Gets::hits, get, times_1000;
        http_get_miss: Gets::misses, get, times_1000;
        http_get_pipelined: Gets::hits, pipelined, times_1000;
        http_list_of_100: Lists::hits, post, times_10;
    }
    change {
        issue: Changes::issues, one_by_one, times_300;
        issue_in_batches_of_30: Changes::issues, batches_of_30, times_10;
        consume: Changes::consumes, one_by_one, times_300;
        extend: Changes::extends, one_by_one, times_300;
        revoke: Changes::revokes, one_by_one, times_300;
        consume_unknown: Changes::unknown, one_by_one, times_300;
    }
    apply {
        issue: Records::issues, apply, times_300;
        consume: Records::consumes, apply, times_300;
        consume_with_key: Records::consumes_with_key, apply, times_300;
        extend: Records::extends, apply, times_300;
        revoke: Records::revokes, apply, times_300;
        carry: Records::carries, apply, times_300;
    }
    record {
        encode: Records::mixed, encode, times_300;
        decode: Records::mixed, decode, times_300;
    }
    frame {
        append_30_records: Log::empty, append, times_100;
        read_30_records: Log::full, read, times_100;
    }
    wheel {
        schedule: Timers::new, schedule, times_10000;
        advance: Timers::scheduled, advance, times_10000;
    }
}

fn main() {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    if has("--bench") || has("--gungraun-run") {
        return harness::run();
    }
    let count = run_all();
    println!("{count} functions ran once, with right results; instructions were not counted");
}
