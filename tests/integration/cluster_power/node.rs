//! A node loses power; with `--sync 1s` it loses what it has landed last, and follows that again.

use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::cluster_kills::house::House;
use crate::cluster_kills::{chapter, judge};
use crate::cluster_serve::lab::{Lab, position, report};
use crate::volume::tell;

use super::disk::Disk;

const CUTS: u64 = 3;
/// The node on the disk that loses power.
const CUT: usize = 2;

#[test]
fn p1_p2_node_that_loses_power_follows_again_what_it_has_lost() {
    let check = "power cut of a node";
    let Some(disk) = Disk::new(check, 256) else { return };
    let Some(lab) = Lab::begun(check) else { return };
    let dir = disk.path().join("data");
    let data_dir = dir.to_str().expect("UTF-8");
    let launches = [lab.node("a"), lab.node("b"), lab.node("c").flag("--data-dir", data_dir)];
    let mut house = House::of(lab, launches.map(|launch| launch.flag("--sync", "1s")));
    let mut lost = 0;
    let done = chapter(&mut house, 1, |house| {
        for _ in 0..CUTS {
            thread::sleep(Duration::from_millis(2_700));
            let node = house.take(CUT);
            let seq = report(&node)["position"].as_str().expect("a position").to_owned();
            let seq: u64 = seq.split_once('.').expect("an era").1.parse().expect("a number");
            kill_process(node.pid(), Signal::STOP).expect("sent");
            disk.cut();
            node.kill9();
            disk.again();
            lost += seq.saturating_sub(position(&dir).1);
            house.start(CUT);
        }
    });
    let silence_ms = done.silence_ms;
    let histories = judge(&house, done, "of a node that lost power");
    house.stop();
    assert!(lost > 0, "nothing was lost, so nothing was shown");
    let figures = [("cuts", CUTS), ("lost_messages", lost), ("silence_ms", silence_ms)];
    tell("cluster-power-node", &[&figures[..], &[("tokens", histories.len() as u64)]].concat());
}
