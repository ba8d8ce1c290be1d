//! Three nodes of a cluster on one simulated stream, with simulated disks and clocks; one seed
//! decides every event.
//!
//! `lab` holds the nodes, `chance` makes a run of a seed. `wire` is between a node and
//! the stream. `truth` works out a second time what the
//! messages of the stream mean, `oracle` judges the histories of the callers without looking into a
//! node. `losses` has the streams that must not be followed,
//! `threads` nodes on real disks and clocks.

mod chance;
mod lab;
mod losses;
mod oracle;
mod threads;
mod truth;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::volume;
use chance::{Counts, run};

const SEEDS: u64 = 500;

/// Runs a seed; a panic of a node is a failure like any other.
fn run_caught(seed: u64) -> Result<Counts, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

#[test]
fn p1_to_p7_hold_on_three_nodes_in_every_simulated_run() {
    let seeds = volume::seeds("nodes", SEEDS);
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new((Counts::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let done = run_caught(seed);
                    let mut all = all.lock().expect("nobody panics with it");
                    match done {
                        Ok(counts) => all.0.add(&counts),
                        Err(broken) => all.1.push((seed, broken)),
                    }
                }
            });
        }
    });
    let (counts, mut broken) = all.into_inner().expect("nobody panics with it");
    volume::tell("nodes", &counts.list());
    broken.sort();
    if let Some((seed, why)) = broken.first() {
        let replay = volume::replay("p1_to_p7_hold_on_three_nodes_in_every_simulated_run", *seed);
        let all: Vec<u64> = broken.iter().map(|(seed, _)| *seed).collect();
        panic!("{} seeds failed: {all:?}; the first, {seed}: {why}\n{replay}", broken.len());
    }
    if seeds.end - seeds.start >= SEEDS {
        let never: Vec<_> = counts.list().into_iter().filter(|(_, count)| *count == 0).collect();
        assert!(never.is_empty(), "never reached: {never:?}");
    }
}
