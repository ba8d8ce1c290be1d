//! Processes that end, fail, come late or stand still.

use super::*;

fn shell(script: &str) -> (tempfile::TempDir, Process) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let process = Process::start("shell", &command, folder.path()).expect("a shell");
    (folder, process)
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn it_is_waited_for_and_stopped() {
    let (_folder, mut process) = shell("echo other; echo ready: x=1; exec sleep 60");
    assert_eq!(process.wait_for_line("ready: ", PATIENCE).expect("a line"), "x=1");
    process.stop().expect("it ends");
}

#[test]
fn one_that_ends_first_is_quoted() {
    let (_folder, mut process) = shell("seq 1 20 >&2; exit 3");
    let error = process.wait_for_line("ready: ", PATIENCE).expect_err("no line").to_string();
    assert!(error.contains("exit status: 3"), "{error}");
    assert!(error.ends_with("  19\n  20") && error.contains("  11\n"), "{error}");
    assert!(!error.contains("  10\n"), "{error}");
}

#[test]
fn one_that_is_late_is_named() {
    let (_folder, mut process) = shell("echo waiting >&2; exec sleep 60");
    let patience = Duration::from_millis(300);
    let error = process.wait_for_line("ready: ", patience).expect_err("no line").to_string();
    assert!(error.contains("shell: was not ready within 0.3 s"), "{error}");
    let error = process.wait_until(patience, || false).expect_err("never").to_string();
    assert!(error.contains("not ready"), "{error}");
}

#[test]
fn a_failure_at_its_end_is_told() {
    let (_folder, mut process) =
        shell("trap 'echo damaged >&2; exit 9' TERM; echo ready; while :; do sleep 0.01; done");
    process.wait_for_line("ready", PATIENCE).expect("a line");
    let error = process.stop().expect_err("it fails").to_string();
    assert!(error.contains("exit status: 9") && error.contains("damaged"), "{error}");
}

#[test]
fn dropping_kills_even_one_that_stands_still() {
    let (_folder, mut process) = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    process.wait_for_line("ready", PATIENCE).expect("a line");
    let pid = process.pid();
    kill_process(Pid::from_child(&process.child), Signal::STOP).expect("it is there");
    drop(process);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_program_that_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = Command::new("/no/such/program");
    let error = Process::start("x", &command, folder.path());
    let error = error.expect_err("it is missing").to_string();
    assert!(error.contains("/no/such/program"), "{error}");
}
