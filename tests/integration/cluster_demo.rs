//! `jeton cluster demo`, as a person runs it: a whole run, one that is interrupted, and one without
//! a nats-server.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::cluster::servers;
use crate::server::{jeton, output, wait};
use crate::support::{eventually, not_run};

/// The promise is 60 s on a machine of its own.
const TIME_MAX: Duration = Duration::from_secs(100);

/// The demo, with all that it makes in a folder of the test.
fn demo(dir: &Path, args: &[&str]) -> Command {
    let mut command = jeton();
    command.args(["cluster", "demo"]).args(args).env("TMPDIR", dir);
    command
}

/// A folder; `None` where there is no nats-server, which is told.
fn folder(check: &str) -> Option<tempfile::TempDir> {
    match servers::program() {
        Ok(()) => Some(tempfile::tempdir().expect("a folder")),
        Err(why) => {
            not_run(check, &why);
            None
        }
    }
}

/// Processes whose arguments name something in `dir`.
fn processes_in(dir: &Path) -> Vec<Pid> {
    let dir = dir.to_str().expect("UTF-8").as_bytes();
    let processes = std::fs::read_dir("/proc").expect("a folder").flatten();
    let pids = processes.filter_map(|one| one.file_name().to_str()?.parse::<i32>().ok());
    let names = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(dir.len()).any(|part| part == dir)
    };
    pids.filter(names).filter_map(Pid::from_raw).collect()
}

fn assert_nothing_left(dir: &Path) {
    let left: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("a folder")
        .map(|file| file.expect("a file").path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    eventually("no process is left", || processes_in(dir).is_empty());
}

/// Starts a demo, and reads what it prints until a line has this text.
fn begun(dir: &Path, args: &[&str], text: &str) -> Child {
    let (mut errors, given) = std::io::pipe().expect("a pipe");
    let mut child = demo(dir, args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(given)
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    let mut printed = Vec::new();
    while !printed.last().is_some_and(|line: &String| line.contains(text)) {
        let Some(line) = lines.next() else {
            let mut said = String::new();
            errors.read_to_string(&mut said).expect("UTF-8");
            panic!("it ended before {text:?}: {printed:#?}\n{said}");
        };
        printed.push(line);
    }
    // It prints more: a closed pipe would end it.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn p1_p2_demo_loses_nothing_and_leaves_nothing() {
    let Some(dir) = folder("a whole demo") else { return };
    let begin = Instant::now();
    let shown = demo(dir.path(), &[]).stdin(Stdio::null()).output().expect("it runs");
    let (text, said) =
        (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert_eq!(shown.status.code(), Some(0), "{text}\n{said}");
    assert!(begin.elapsed() < TIME_MAX, "{:?}", begin.elapsed());
    for part in [
        "jeton cluster nats-config",
        "curl -s --json '{\"payload\":",
        "   404 ",
        "kill -9 of n",
        "kill -9 of node b",
        "Node b starts again",
        "lost             0\n",
        "consumed twice   0 (60 tokens had rivals)\n",
        "longest silence  ",
        "position         1.",
        "Nothing was lost, and nothing was consumed twice.\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(text.matches(" on all nodes\n").count(), 3, "{text}");
    assert_nothing_left(dir.path());
}

#[test]
fn p8_interrupted_demo_leaves_nothing() {
    let Some(dir) = folder("an interrupted demo") else { return };
    for (signal, text) in [
        (Signal::INT, "Callers issue"),
        (Signal::TERM, "Three nodes start"),
        (Signal::HUP, "n1 at "),
    ] {
        let mut child = begun(dir.path(), &[], text);
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        assert_eq!(wait(&mut child).code(), Some(130), "{signal:?}");
        assert_nothing_left(dir.path());
    }
}

#[test]
fn p8_killed_demo_leaves_no_process() {
    let Some(dir) = folder("a killed demo") else { return };
    let mut child = begun(dir.path(), &[], "Callers issue");
    assert!(processes_in(dir.path()).len() >= 6);
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    eventually("no process is left", || processes_in(dir.path()).is_empty());
}

#[test]
fn kept_demo_says_how_to_use_and_stop_it() {
    let Some(dir) = folder("a kept demo") else { return };
    let shown = demo(dir.path(), &["--keep"]).stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(0), "{text}");
    let pids = processes_in(dir.path());
    assert_eq!(pids.len(), 6, "{text}");
    let status = text.lines().find(|line| line.contains("jeton cluster status --server "));
    let server = status.and_then(|line| line.split_whitespace().last()).expect("an address");
    let status = output(jeton().args(["cluster", "status", "--server", server, "--wait", "30s"]));
    let stop = text.lines().find(|line| line.trim_start().starts_with("kill ")).expect("a command");
    let stopped = Command::new("sh").args(["-c", stop]).status().expect("a shell");
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    assert!(stopped.success(), "{stop}");
    eventually("they have ended", || pids.iter().all(|pid| test_kill_process(*pid).is_err()));
    assert_nothing_left(dir.path());
}

#[test]
fn demo_without_a_nats_server_names_the_command_that_installs_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let none = output(demo(dir.path(), &[]).env("PATH", dir.path()));
    let missing = dir.path().join("missing");
    let missing = missing.to_str().expect("UTF-8");
    let cases = [
        (none, "nats-server is not on the PATH"),
        (output(&mut demo(dir.path(), &["--nats-server", missing])), missing),
        (output(&mut demo(dir.path(), &["--nats-server", "/bin/true"])), "/bin/true: this is not"),
    ];
    for (refused, why) in cases {
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && said.contains("go install "), "{said}");
        assert!(refused.stdout.is_empty(), "nothing has begun");
    }
    assert_nothing_left(dir.path());
}
