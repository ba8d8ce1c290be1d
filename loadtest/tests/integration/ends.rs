//! Runs that end otherwise than planned: an interrupt, a second one, a server that dies. Nothing
//! hangs, nothing is left behind, and what was measured is not lost where that can be.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use loadtest::report::model::Verdict;

use crate::fake::{Fake, HONEST};
use crate::harness::{Jeton, Out, Running, command, is_there, jeton_bin, wait_for};

/// Far longer than the test may take: it must end early.
const LONG: &str = "run resolve --warm-up 0s --duration 10m --population 200 -c 4";

/// What it says when the load begins.
const UNDER_WAY: &str = "for 10 min";

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

/// Waits until a process has used CPU time.
fn wait_for_load(pid: rustix::process::Pid) {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let fields: Vec<&str> = fields.split(' ').collect();
        // User and system time, in hundredths of a second.
        fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks")
    };
    let begin = ticks();
    wait_for("load on the server", || ticks() >= begin + 5);
}

/// A long run on a jeton that it starts itself.
fn long_run(scratch: &Out, more: &[&str]) -> Command {
    let mut command = command(LONG);
    command.args(more).arg("--server-bin").arg(jeton_bin()).arg("--scratch").arg(scratch.path());
    command
}

#[test]
fn an_interrupt_reports_what_was_measured_and_leaves_nothing_behind() {
    let (scratch, out) = (Out::new(), Out::new());
    let mut command = long_run(&scratch, &["--not-durable"]);
    let running = Running::start(command.arg("--out").arg(out.path()));
    let server = running.child("jeton");
    assert_eq!(entries(scratch.path()), 1);
    running.wait_for_text(UNDER_WAY);
    wait_for_load(server);
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(3), "a part of a run is no pass: {}", ended.said());
    assert!(!is_there(server), "the server is left behind");
    assert_eq!(entries(scratch.path()), 0, "its data is left behind");
    let report = out.report();
    assert_eq!(report.verdict(), Verdict::Interrupted);
    assert!(report.totals.requests > 0 && report.errors.is_empty(), "{}", ended.said());
    assert!(report.totals.elapsed_s < 60.0, "it says that it went on to its end");
    let counted: u64 = report.slices.iter().map(|slice| slice.requests).sum();
    assert!(counted > 0 && counted <= report.totals.requests);
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let fake = Fake::start(HONEST);
    let (folder, scratch) = (Out::new(), Out::new());
    // A server that does not end in order, so that the harness waits for it.
    let program = folder.path().join("jeton");
    let ready = format!("jeton ready: data=http://{0} admin=http://{0} tokens=0", fake.address);
    let script = format!(
        "#!/bin/sh\n[ $1 = --version ] && echo jeton 0.0.0 && exit\ntrap '' TERM\n\
         echo '{ready}'\nwhile :; do sleep 0.05; done\n"
    );
    std::fs::write(&program, script).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("a mode");
    let mut command = command(LONG);
    command.arg("--server-bin").arg(&program).arg("--scratch").arg(scratch.path());
    let mut running = Running::start(&mut command);
    let server = running.child("jeton");
    wait_for("load", || fake.answers() > 300);
    running.interrupt();
    // Two at once would count as one; this goes on until the second is heard.
    wait_for("the program to end", || {
        std::thread::sleep(Duration::from_millis(300));
        let over = running.is_over();
        if !over {
            running.interrupt();
        }
        over
    });
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.said());
    assert!(!is_there(server), "the server is left behind");
    assert_eq!(entries(scratch.path()), 0, "its data is left behind");
}

#[test]
fn a_server_that_is_killed_ends_the_run_with_the_reason() {
    for rate in [&["--rate", "none"], &["--rate", "300"]] {
        let scratch = Out::new();
        let mut command = long_run(&scratch, &["--not-durable", "--timeout", "1s"]);
        let running = Running::start(command.args(rate));
        let server = running.child("jeton");
        running.wait_for_text(UNDER_WAY);
        kill_process(server, Signal::KILL).expect("it runs");
        running.end().refused(&["jeton: ", "went away"]);
        assert_eq!(entries(scratch.path()), 0, "its data is left behind");
    }
}

#[test]
fn a_server_elsewhere_that_is_killed_ends_the_run_with_the_reason() {
    let jeton = Jeton::start();
    let words = format!("{LONG} --timeout 1s --target http://{}", jeton.data);
    let running = Running::start(&mut command(&words));
    wait_for("the load to begin", || jeton.resolves() > 100);
    kill_process(jeton.pid(), Signal::KILL).expect("it runs");
    running.end().refused(&[&jeton.data.to_string(), "went away"]);
}
