//! Three nodes of a cluster on one simulated stream, with simulated disks and clocks; one seed
//! decides every event.
//!
//! `lab` holds the nodes, `chance` makes a run of a seed. `wire` is between a node and the stream.
//! `truth` works out a second time what the messages of the stream mean, `oracle` judges the
//! histories of the callers without looking into a node, `names` those of names. `decided` has
//! nodes that leave, are forgotten and join, `clocks` nodes whose clocks are a little off, `losses`
//! the streams that must not be followed, `eras` new streams after lost ones, `threads` nodes on
//! real disks and clocks.

mod chance;
mod clocks;
mod decided;
mod eras;
pub mod lab;
mod losses;
mod names;
mod oracle;
mod threads;
mod truth;
mod wire;

use crate::{seeds, volume};
use chance::{Counts, run};

const SEEDS: u64 = 500;

#[test]
fn p1_to_p7_hold_on_three_nodes_in_every_simulated_run() {
    let runs = seeds::run_all("nodes", SEEDS, run, Counts::add);
    let counts = runs.counts.list();
    volume::tell("nodes", &counts);
    runs.assert_none_broken("p1_to_p7_hold_on_three_nodes_in_every_simulated_run");
    runs.assert_all_reached(&counts, SEEDS);
}
