//! The process kills itself at each named failpoint, and the next process is compared with the
//! outside oracle: P1, P2, P4 and P5 at the most critical places for a crash.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jeton::failpoint;
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::client::Client;
use crate::crash::check_all;
use crate::crash_oracle::Witness;
use crate::server::{Launch, Server};
use crate::support::{Rng, not_run};
use crate::volume::{Round, seeds, tell, volume};

const WITNESSES: usize = 3;
/// Number of places that are tested in parallel: most of the time is spent waiting for an end.
const PARALLEL: usize = 3;
/// Actions of the witnesses before the server may become idle.
const ACTS: usize = 25;

/// When a server passes a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// At the very first start.
    FirstStart,
    /// In a start that finds a log.
    Restart,
    /// In a start that finds a torn frame.
    TornRestart,
    /// During writes, while the ring turns.
    Busy,
    /// After the last write.
    Idle,
    /// After SIGTERM.
    Closing,
}

/// The phase, and the highest useful pass for dying at the place.
fn plan(name: &str) -> (When, u64) {
    match name.split('-').next().expect("a name has a first word") {
        "secret" => (When::FirstStart, 1),
        "recovery" => (When::Restart, 1),
        "tail" => (When::TornRestart, 1),
        "mark" => (When::Idle, 2),
        "close" => (When::Closing, 1),
        "prepare" => (When::Busy, 3),
        "seal" | "retire" => (When::Busy, 3),
        "relocation" | "segment" => (When::Busy, 2),
        _ => (When::Busy, 60),
    }
}

struct Scene {
    launch: Launch,
    witnesses: Vec<Witness>,
}

impl Scene {
    fn on(dir: &Path, seed: u64) -> Self {
        let witnesses = (0..WITNESSES).map(|id| Witness::new(id, seed)).collect();
        Self { launch: Launch::on(dir), witnesses }
    }

    fn armed(&self, name: &str, pass: u64) -> Launch {
        self.launch.clone().env("JETON_FAILPOINT", &format!("{name}:{pass}"))
    }

    /// Passes the place for the n-th time. Returns false if it was not reached.
    fn die_at(&mut self, name: &str, pass: u64) -> bool {
        let (when, _) = plan(name);
        match when {
            When::Restart => self.leave_a_log(),
            When::TornRestart => assert!(self.die_at("frame-half-written", 5), "a torn frame"),
            When::FirstStart | When::Busy | When::Idle | When::Closing => {}
        }
        let server = match self.armed(name, pass).try_start() {
            Ok(server) => server,
            Err(refused) => return was_killed(refused.status, &refused.stderr),
        };
        let status = match when {
            When::Busy => self.work(server),
            When::Idle => self.fall_idle(server),
            When::Closing => {
                self.act(&server);
                kill_process(server.pid(), Signal::TERM).expect("it runs");
                Some(server.ended())
            }
            When::FirstStart | When::Restart | When::TornRestart => None,
        };
        status.is_some_and(|status| was_killed(status, "after it was ready"))
    }

    fn leave_a_log(&mut self) {
        let server = self.launch.start();
        check_all(&server, &mut self.witnesses);
        self.act(&server);
        server.kill9();
    }

    /// Some operations of each witness, one after the other; the server may end meanwhile.
    fn act(&mut self, server: &Server) {
        for witness in &mut self.witnesses {
            let _ = witness.act(server, ACTS);
        }
    }

    /// All witnesses at once, and a client that fills the log, until the server has ended.
    fn work(&mut self, server: Server) -> Option<ExitStatus> {
        let is_gone = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| fill(&server, &is_gone));
            let acting: Vec<_> = (self.witnesses.iter_mut())
                .map(|witness| scope.spawn(|| witness.act(&server, 20_000)))
                .collect();
            for acted in acting {
                let _ = acted.join().expect("a witness does not panic");
            }
            is_gone.store(true, Ordering::SeqCst);
        });
        settle_end(server)
    }

    fn fall_idle(&mut self, server: Server) -> Option<ExitStatus> {
        let mut server = server;
        for _ in 0..40 {
            let _ = self.witnesses[0].act(&server, 1);
            thread::sleep(Duration::from_millis(100));
            if !server.is_running() {
                break;
            }
        }
        settle_end(server)
    }
}

/// How it ended, if it did.
fn settle_end(mut server: Server) -> Option<ExitStatus> {
    for _ in 0..40 {
        if !server.is_running() {
            return Some(server.ended());
        }
        thread::sleep(Duration::from_millis(25));
    }
    None
}

fn was_killed(status: ExitStatus, stderr: &str) -> bool {
    assert!(status.signal() == Some(9) || status.success(), "ended with {status}: {stderr}");
    status.signal() == Some(9)
}

/// Writes many short-lived entries, so that segments fill and are cleaned.
fn fill(server: &Server, is_gone: &AtomicBool) {
    let mut client = Client::of(server);
    let items: Vec<_> = (0..20).map(|_| json!({ "payload": "f".repeat(8_000) })).collect();
    let issue = json!({ "tokens": items }).to_string();
    let headers = &[];
    while !is_gone.load(Ordering::SeqCst) {
        let Ok(issued) = client.try_send("POST", "/v1/tokens/batch", headers, &issue) else {
            return;
        };
        let issued = issued.json();
        let results = issued["results"].as_array().expect("results");
        let tokens: Vec<_> = results.iter().map(|result| result["token"].clone()).collect();
        let consume = json!({ "tokens": tokens }).to_string();
        if client.try_send("POST", "/v1/consume", headers, &consume).is_err() {
            return;
        }
    }
}

#[test]
fn p1_p2_p4_p5_every_failpoint_is_survived() {
    if !failpoint::IS_BUILT {
        return not_run("failpoints", "a release build without the feature failpoints");
    }
    let (passes, seed) = (volume("failpoints", 1), seeds("failpoint_seeds", 1).start);
    let names = failpoint::NAMES;
    thread::scope(|scope| {
        for names in names.chunks(names.len().div_ceil(PARALLEL)) {
            scope.spawn(move || {
                for (name, round) in
                    names.iter().flat_map(|name| (0..passes).map(move |n| (name, n)))
                {
                    let test = "every_failpoint_is_survived";
                    let _told = Round { test, attack: "failpoints", seed, round };
                    survive(name, seed + round);
                }
            });
        }
    });
    let names = names.len() as u64;
    tell("failpoints", &[("names", names), ("deaths", names * passes)]);
}

/// Dies at the place, which must be reached, and compares the next two starts with the oracle.
fn survive(name: &str, seed: u64) {
    let (_, pass_max) = plan(name);
    // Depends only on seed and name, so that a round is the same whatever the number of rounds.
    let salt: u64 = name.bytes().map(u64::from).sum();
    let pass =
        1 + Rng::new(seed + (salt << 16)).below(usize::try_from(pass_max).expect("small")) as u64;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut scene = Scene::on(dir.path(), seed);
    assert!(scene.die_at(name, pass), "{name}:{pass} was not reached");
    let server = scene.launch.start();
    // The oracle does not track the filler's tokens, so only those of the witnesses are checked.
    check_known(&server, &mut scene.witnesses, name, pass);
    scene.act(&server);
    server.kill9();
    let server = scene.launch.start();
    check_known(&server, &mut scene.witnesses, name, pass);
}

fn check_known(server: &Server, witnesses: &mut [Witness], name: &str, pass: u64) {
    thread::scope(|scope| {
        for witness in witnesses {
            let checked = scope.spawn(|| witness.check(server)).join();
            assert!(checked.is_ok(), "after {name}:{pass}");
        }
    });
}
