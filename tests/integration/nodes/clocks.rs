//! Clocks that are off by less than harms: each node knows it of its own clock.

use jeton::engine::{Config, SyncMode};
use jeton::wal::{self, Preparing};

use super::lab::Lab;

fn config() -> Config {
    let wal = wal::Config {
        segment_size: 8 << 10,
        log_min_size: 32 << 10,
        max_age: None,
        preparing: Preparing::Inline,
    };
    Config { recovery_threads: 1, sync: SyncMode::Always, wal, ..Config::default() }
}

#[test]
fn p3_a_clock_that_is_off_is_measured_on_its_node_alone_before_it_does_harm() {
    let mut lab = Lab::new(7, vec![config(); 3]);
    (lab.nodes[1].ahead_ms, lab.nodes[2].ahead_ms) = (3_000, -4_000);
    (0..3).for_each(|at| assert!(lab.open(at)));
    lab.run(5_000).expect("it runs");
    let measured = |lab: &Lab| {
        let of = |at| {
            let state = lab.state(at).expect("it runs");
            assert!(state.is_clock_right, "node {at}");
            state.clock_difference_ms.expect("a message has landed")
        };
        [0, 1, 2].map(of)
    };
    // A message takes up to 100 ms here, and that much is not known.
    let [right, ahead, behind] = measured(&lab);
    assert!(right == 0 && (2_800..=3_000).contains(&ahead), "{right} {ahead}");
    assert!((-4_000..=-3_800).contains(&behind), "{behind}");
    (lab.nodes[1].ahead_ms, lab.nodes[2].ahead_ms) = (0, 0);
    lab.run(5_000).expect("it runs");
    assert_eq!(measured(&lab), [0; 3]);
    // The clock of the stream's leader is off: all nodes see it.
    lab.set_leader_ahead(2_000);
    lab.run(5_000).expect("it runs");
    assert!(measured(&lab).iter().all(|ms| (-2_000..=-1_800).contains(ms)), "{:?}", measured(&lab));
}
