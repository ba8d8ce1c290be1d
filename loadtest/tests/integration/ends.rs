//! Runs that end otherwise than planned: an interrupt, a second one, a server that dies. Nothing
//! hangs, nothing is left behind, and what was measured is not lost where that can be.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use loadtest::report::model::How;
use loadtest::report::verdict::Verdict;

use crate::fake::{Fake, HONEST};
use crate::harness::{
    BRIEF, Ended, Jeton, Out, Running, command, is_there, jeton_bin, run, wait_for,
};

/// Far longer than the test may take: it must end early.
const LONG: &str = "run resolve --warm-up 0s --duration 10m --population 200 -c 4";

/// What it says when the load begins.
const UNDER_WAY: &str = "for 10 min";

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

fn only_folder(folder: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).expect("a folder");
    let only = entries.next().expect("something is in it").expect("it can be listed").path();
    assert!(entries.next().is_none(), "there is more beside {}", only.display());
    only
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
    // Longer than a slice of the report: one that is cut short is not in it.
    wait_for("load on the server", || ticks() >= begin + 40);
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
    let requests = report.totals.requests;
    // A slice has the answers that came in it; each connection may have one to an earlier request.
    let most = requests + 4;
    assert!(counted > 0 && counted <= most, "{counted} answers to {requests} requests");
}

/// A server of a harness that is killed went on for ever.
#[test]
fn nothing_goes_on_when_the_harness_is_killed() {
    let scratch = Out::new();
    let mut running = Running::start(&mut long_run(&scratch, &["--not-durable"]));
    let server = running.child("jeton");
    running.wait_for_text(UNDER_WAY);
    kill_process(running.pid(), Signal::KILL).expect("it runs");
    wait_for("the harness to end", || running.is_over());
    wait_for("its server to end", || !is_there(server));
}

/// What a killed harness had started left its data for ever.
#[test]
fn the_next_harness_removes_the_data_of_one_that_was_killed_and_of_no_other() {
    let scratch = Out::new();
    let start = || {
        let running = Running::start(&mut long_run(&scratch, &["--not-durable"]));
        let server = running.child("jeton");
        running.wait_for_text(UNDER_WAY);
        (running, server)
    };
    let (mut killed, server) = start();
    let left = only_folder(scratch.path());
    let without_owner = scratch.path().join("loadtest-other");
    std::fs::create_dir(&without_owner).expect("a folder");
    kill_process(killed.pid(), Signal::KILL).expect("it runs");
    wait_for("the harness to end", || killed.is_over());
    wait_for("its server to end", || !is_there(server));
    assert!(left.exists(), "it was killed before it could remove anything");
    let (living, _) = start();
    assert!(!left.exists(), "the data of a killed harness stays");
    std::fs::remove_dir(&without_owner).expect("nobody knows whose it is, so that it is there");
    let kept = only_folder(scratch.path());
    let mut another = command("run resolve --not-durable");
    another.args(BRIEF).arg("--server-bin").arg(jeton_bin()).arg("--scratch").arg(scratch.path());
    let ended = run(&mut another);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert_eq!(only_folder(scratch.path()), kept, "the living one has lost its data");
    living.interrupt();
    assert_eq!(living.end().code, Some(3));
    assert_eq!(entries(scratch.path()), 0);
}

#[test]
fn a_signal_ends_a_harness_that_waits_for_a_server() {
    let (folder, scratch) = (Out::new(), Out::new());
    let program = stand_in_that(&folder, "while :; do sleep 0.05; done");
    let mut command = command(LONG);
    command.arg("--server-bin").arg(program).arg("--scratch").arg(scratch.path());
    let running = Running::start(&mut command);
    let server = running.child("jeton");
    kill_process(running.pid(), Signal::TERM).expect("it runs");
    running.end().refused(&["stopped by a signal before it was ready"]);
    assert!(!is_there(server), "the server is left behind");
    assert_eq!(entries(scratch.path()), 0, "its data is left behind");
}

#[test]
fn a_path_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let (fake, folder) = (Fake::start(HONEST), Out::new());
    let out = folder.path().join(std::ffi::OsStr::from_bytes(b"b\xff"));
    let mut command = command(&format!("run resolve -c 4 --target http://{}", fake.address));
    let ended = run(command.args(BRIEF).arg("--out").arg(&out));
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(out.join("report.json").exists());
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let fake = Fake::start(HONEST);
    let (folder, scratch) = (Out::new(), Out::new());
    // A server that does not end in order, so that the harness waits for it.
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let program = stand_in(&folder, &fake, script);
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
        let (scratch, out) = (Out::new(), Out::new());
        let mut command = long_run(&scratch, &["--not-durable", "--timeout", "1s"]);
        let running = Running::start(command.args(rate).arg("--out").arg(out.path()));
        let server = running.child("jeton");
        running.wait_for_text(UNDER_WAY);
        wait_for_load(server);
        kill_process(server, Signal::KILL).expect("it runs");
        failed(&running.end(), &out, How::ServerGone, &["went away", "signal: 9"]);
        assert!(out.report().totals.requests > 0, "what was measured is lost");
        assert_eq!(entries(scratch.path()), 0, "its data is left behind");
    }
}

#[test]
fn a_server_elsewhere_that_is_killed_ends_the_run_with_the_reason() {
    let jeton = Jeton::start();
    let out = Out::new();
    let words = format!("{LONG} --timeout 1s --target http://{}", jeton.data);
    let running = Running::start(command(&words).arg("--out").arg(out.path()));
    wait_for("the load to begin", || jeton.resolves() > 100);
    kill_process(jeton.pid(), Signal::KILL).expect("it runs");
    failed(&running.end(), &out, How::ServerGone, &[&jeton.data.to_string(), "went away"]);
}

/// The run ended with exit code 1, and table and report say why.
fn failed(ended: &Ended, out: &Out, how: How, said: &[&str]) {
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let report = out.report();
    assert_eq!(report.verdict(), Verdict::ServerFailed, "{}", ended.said());
    let reason = report.ended.expect("a reason");
    assert_eq!(reason.how, how, "{reason:?}");
    for part in said {
        assert!(reason.reason.contains(part), "no `{part}` in {reason:?}");
    }
    assert!(ended.stdout.contains("server failed"), "{}", ended.said());
}

/// A program that says it is the jeton that `fake` is, and does `script` afterwards.
fn stand_in(folder: &Out, fake: &Fake, script: &str) -> PathBuf {
    let ready = format!("jeton ready: data=http://{0} admin=http://{0} tokens=0", fake.address);
    stand_in_that(folder, &format!("echo '{ready}'\n{script}"))
}

/// A program in place of jeton that does `script`.
fn stand_in_that(folder: &Out, script: &str) -> PathBuf {
    let program = folder.path().join("jeton");
    let version = "[ $1 = --version ] && echo jeton 0.0.0 && exit";
    let text = format!("#!/bin/sh\n{version}\n{script}\n");
    std::fs::write(&program, text).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("a mode");
    program
}

#[test]
fn a_server_that_does_not_stop_in_order_costs_no_report() {
    let fake = Fake::start(HONEST);
    let (folder, out) = (Out::new(), Out::new());
    let script = "trap 'echo the log is damaged >&2; exit 9' TERM; while :; do sleep 0.02; done";
    let mut command = command("run resolve -c 4");
    command.args(BRIEF).arg("--server-bin").arg(stand_in(&folder, &fake, script));
    let ended = run(command.arg("--scratch").arg(folder.path()).arg("--out").arg(out.path()));
    failed(&ended, &out, How::ServerFailed, &["exit status: 9", "the log is damaged"]);
    assert!(out.report().totals.requests > 0);
}

#[test]
fn the_report_is_there_before_the_table_is_printed() {
    let (fake, out) = (Fake::start(HONEST), Out::new());
    let mut command = command(&format!("run resolve -c 4 --target http://{}", fake.address));
    command.args(BRIEF).arg("--out").arg(out.path());
    command.stdout(std::fs::File::options().write(true).open("/dev/full").expect("Linux"));
    let status = command.stderr(std::process::Stdio::null()).status().expect("it starts");
    assert_eq!(status.code(), Some(2));
    assert!(out.report().passed() && out.page().contains("</html>"));
}

#[test]
fn an_earlier_report_does_not_stay_as_if_it_were_this_ones() {
    let (fake, out) = (Fake::start(HONEST), Out::new());
    let target = format!("http://{}", fake.address);
    let mut first = command("run resolve -c 4 --target");
    let ended = run(first.arg(&target).args(BRIEF).arg("--out").arg(out.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let earlier = std::fs::read(out.path().join("report.json")).expect("a report");
    let mut second = command("run resolve -c 4 --target http://127.0.0.1:1");
    run(second.args(BRIEF).arg("--out").arg(out.path())).refused(&["127.0.0.1:1"]);
    assert!(!out.path().join("report.json").exists() && !out.path().join("report.html").exists());
    let kept = std::fs::read(out.path().join("report.previous.json")).expect("it is kept");
    assert!(kept == earlier);
}
