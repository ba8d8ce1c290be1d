//! Several targets in one run, as the nodes of a cluster: three listeners of one server, three
//! servers that know nothing of each other, one that is silent for a while, and a real cluster.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loadtest::report::model::{Nodes, Report};

use crate::fake::{Fake, HONEST};
use crate::harness::{BRIEF, Out, command, error, jeton_bin, loadtest, not_checked, reported, run};

const MIX: &str = "issue=5,resolve=5,batch=2,consume=3,revoke=2,extend=2,miss=3,replay=2";
/// How long a node is silent.
const SILENCE: Duration = Duration::from_millis(900);

fn targets(addresses: &[SocketAddr]) -> String {
    let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    urls.join(",")
}

fn nodes(report: &Report) -> &Nodes {
    report.nodes.as_ref().expect("there are several")
}

#[test]
fn load_is_spread_over_the_nodes_and_their_answers_are_checked() {
    let first = Fake::start(HONEST);
    let addresses = [first.address, first.again().address, first.again().address];
    for words in ["-c 6", "-c 7 -t 2 --http 1.1", "-c 6 --depth 4"] {
        let words = format!("run resolve --mix {MIX} --target {} {words}", targets(&addresses));
        let (ended, report) = reported(command(&words).args(BRIEF));
        assert_eq!((ended.code, &report.errors[..]), (Some(0), &[][..]), "{}", ended.said());
        let all = nodes(&report);
        let names: Vec<&String> = all.nodes.iter().map(|one| &one.address).collect();
        let expected = addresses.map(|address| address.to_string());
        assert_eq!(names, expected.each_ref());
        assert_eq!(report.target.nodes, expected);
        let answers: Vec<u64> = all.nodes.iter().map(|one| one.answers).collect();
        let sum: u64 = answers.iter().sum();
        assert!(answers.iter().all(|of_one| *of_one > sum / 10), "{answers:?}");
        // The last ones may come after the end.
        assert!(sum + 50 > report.totals.requests, "{sum} of {}", report.totals.requests);
        let heading = ended.stdout.lines().find(|line| line.contains("longest silence"));
        assert!(heading.is_some_and(|line| line.contains("node")), "{}", ended.said());
    }
}

#[test]
fn tokens_that_only_one_node_knows_are_wrong_answers() {
    let fakes = [Fake::start(HONEST), Fake::start(HONEST), Fake::start(HONEST)];
    let addresses = fakes.each_ref().map(|fake| fake.address);
    let words = format!("run resolve -c 6 --target {}", targets(&addresses));
    let (ended, report) = reported(command(&words).args(BRIEF));
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    // Two of three resolves ask another node than the one that issued the token: it knows no such
    // token, or one of its own with the same text.
    let wrong = report.errors.iter().filter(|one| one.wrong).map(|one| one.count).sum::<u64>();
    assert!(wrong > report.totals.requests / 3, "{wrong} of {}", report.totals.requests);
    assert!(error(&report, "lost").count > 0 && error(&report, "wrong payload").count > 0);
    assert!(nodes(&report).nodes.iter().all(|node| node.errors > 0), "{:?}", report.nodes);
}

/// A way to a server that can be closed: nothing passes until it is opened again.
fn way(to: SocketAddr, is_closed: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let is_closed = Arc::clone(is_closed);
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect(to).expect("it listens");
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("set");
            }
            let copies = [(&near, &far), (&far, &near)]
                .map(|(from, to)| (from.try_clone().expect("one"), to.try_clone().expect("one")));
            for (from, to) in copies {
                let is_closed = Arc::clone(&is_closed);
                std::thread::spawn(move || pass(from, to, &is_closed));
            }
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_closed: &AtomicBool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while is_closed.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn silence_of_a_node_is_its_own() {
    let first = Fake::start(HONEST);
    let is_closed = Arc::new(AtomicBool::new(false));
    let third = way(first.address, &is_closed);
    let addresses = [first.address, first.again().address, third];
    let out = Out::new();
    let words = format!("run resolve -c 9 --target {}", targets(&addresses));
    let times = ["--warm-up", "0s", "--duration", "3s", "--population", "50"];
    let mut command = command(&words);
    command.args(times).arg("--out").arg(out.path());
    let running = crate::harness::Running::start(&mut command);
    crate::harness::wait_for("the load", || first.answers() > 2_000);
    is_closed.store(true, Ordering::SeqCst);
    std::thread::sleep(SILENCE);
    is_closed.store(false, Ordering::SeqCst);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let report = out.report();
    let all = nodes(&report);
    let silences: Vec<f64> = all.nodes.iter().map(|one| one.silence_s).collect();
    let least = SILENCE.as_secs_f64() * 0.9;
    assert!(silences[2] > least, "{silences:?}");
    // This machine may stand still for a while, but not for so long.
    assert!(silences[..2].iter().all(|one| *one < least), "{silences:?}");
    assert!(all.silence_s <= silences[0].min(silences[1]), "{} {silences:?}", all.silence_s);
    assert!(out.page().contains("longest silence"));
    // It is compared with itself, and not with a run of one server.
    let single = Out::new();
    let mut alone =
        crate::harness::command(&format!("run resolve -c 9 --target http://{}", first.address));
    let alone = run(alone.args(times).arg("--out").arg(single.path()));
    assert_eq!(alone.code, Some(0), "{}", alone.said());
    for what in ["compare", "merge"] {
        let mut both = crate::harness::command(what);
        both.arg(out.path()).arg(single.path());
        if what == "merge" {
            both.arg("--out").arg(single.path());
        }
        run(&mut both).refused(&["targets"]);
    }
}

#[test]
fn what_several_targets_cannot_be_is_refused_by_its_flag() {
    let fake = Fake::start(HONEST);
    let (one, two) = (fake.address, fake.again().address);
    let both = targets(&[one, two]);
    for (words, parts) in [
        (format!("--target {both},jeton"), ["--target jeton", "running servers"]),
        (format!("--target {both},redis://{one}"), ["--target redis://", "jeton cluster"]),
        (format!("--target {both},http://{one}"), ["--target http://", "given twice"]),
        (format!("--target {both} --server-pid 1"), ["--server-pid", "names 2"]),
        (format!("--target {both} --server-admin {one}"), ["--server-admin", "names 2"]),
        (format!("--target {both} -c 3 -t 2"), ["--connections", "must be 4 or more"]),
        (format!("--target {both},http://127.0.0.1:1"), ["http://127.0.0.1:1", "refused"]),
    ] {
        let more = if words.contains("-c ") { "" } else { "-c 8" };
        loadtest(&format!("run resolve {more} {words}")).refused(&parts);
    }
}

#[test]
fn real_cluster_answers_alike_on_all_nodes() {
    let folder = tempfile::tempdir().expect("a folder");
    let jeton = jeton_bin();
    let mut demo = Command::new(jeton);
    demo.args(["cluster", "demo", "--keep"]).env("TMPDIR", folder.path());
    let shown = demo.output().expect("jeton starts");
    let (text, said) =
        (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    if said.contains("nats-server is not on the PATH") || said.contains("is too old") {
        return not_checked("a run on a real cluster", "there is no nats-server");
    }
    assert!(shown.status.success(), "{text}\n{said}");
    let stop = text.lines().find(|line| line.trim_start().starts_with("kill ")).expect("its end");
    let urls = text.lines().filter(|line| line.contains(", for operators "));
    let urls = urls.filter_map(|line| {
        line.split_whitespace().find_map(|word| word.strip_suffix(',')).map(str::to_owned)
    });
    let urls = urls.collect::<Vec<_>>().join(",");
    let words = format!("run resolve --mix {MIX} -c 12 --target {urls}");
    let (ended, report) = reported(command(&words).args(BRIEF));
    let stopped = Command::new("sh").args(["-c", stop]).status().expect("a shell");
    assert!(stopped.success(), "{stop}");
    assert_eq!((ended.code, &report.errors[..]), (Some(0), &[][..]), "{}", ended.said());
    let all = nodes(&report);
    assert!(all.nodes.len() == 3 && all.nodes.iter().all(|node| node.answers > 0), "{all:?}");
}
