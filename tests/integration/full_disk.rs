//! P6 on a real full disk, a small tmpfs: clients with an oracle continue while the disk fills and
//! is full, while the server is killed and started with a full disk, and when there is space again.
//! There is no false acknowledgement, resolves continue, `/readyz` reports it, and writes resume.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::client::{Client, expect, expect_naming};
use crate::crash_oracle::Witness;
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server};
use crate::support::{Over, Rng, eventually, not_run};
use crate::volume::{Round, seeds, tell, volume};

const WITNESSES: usize = 4;
const ACTS: usize = 60;
const PIECE_LEN: usize = 4096;

/// A small file system for this test, and a file that uses up its space.
pub struct SmallDisk<'a> {
    at: &'a Path,
    ballast: PathBuf,
}

impl SmallDisk<'_> {
    /// `None` if this process may not mount.
    pub fn mount(at: &Path) -> Option<SmallDisk<'_>> {
        Self::sized(at, "12m")
    }

    /// The same of another size.
    pub fn sized<'a>(at: &'a Path, size: &str) -> Option<SmallDisk<'a>> {
        let size = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        let ballast = at.join("ballast");
        mount.is_ok_and(|output| output.status.success()).then_some(SmallDisk { at, ballast })
    }

    pub fn fill_up(&self) {
        let mut file =
            File::options().create(true).append(true).open(&self.ballast).expect("a file");
        let full = (0..100_000).find(|_| file.write_all(&[1; PIECE_LEN]).is_err());
        full.expect("the disk is full");
    }

    pub fn give_back(&self) {
        std::fs::remove_file(&self.ballast).expect("space again");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at).output();
    }
}

fn readiness(server: &Server) -> Response {
    let mut conn = Conn::open(server.admin).expect("connects");
    conn.send(&request("GET", "/readyz", &[], b"")).expect("sends");
    conn.response().expect("an answer")
}

/// Witnesses act until `meanwhile` is done. A refusal is not an acknowledgement.
fn act_during(server: &Server, witnesses: &mut [Witness], meanwhile: impl FnOnce()) {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_done);
        for witness in witnesses {
            scope.spawn(|| {
                while !is_done.load(Ordering::SeqCst) {
                    let _ = witness.act(server, ACTS);
                }
            });
        }
        meanwhile();
    });
}

/// Fills the remaining space of the existing segments, to the last sector, so that the full disk
/// has an effect: where a long frame does not fit, a short one may.
fn press(server: &Server) -> u64 {
    [20_000, 1_000, 1].map(|payload_len| press_with(server, payload_len)).iter().sum()
}

fn press_with(server: &Server, payload_len: usize) -> u64 {
    let mut client = Client::of(server);
    let body = format!(r#"{{"payload":"{}","ttl":"1h"}}"#, "p".repeat(payload_len));
    for taken in 0..20_000 {
        let answer = client.issue(&body);
        if answer.status != 201 {
            expect(&answer, 507);
            return taken;
        }
        // Half of the tokens expire soon, so that there is something to clean; these issues may be
        // refused themselves.
        if taken % 2 == 0 {
            client.revoke(answer.json()["token"].as_str().expect("a token"));
        }
    }
    panic!("the disk never filled");
}

fn check(server: &Server, witnesses: &mut [Witness]) {
    for witness in witnesses {
        witness.check(server);
    }
}

/// Without writes: tokens that are certainly alive resolve while nothing can be written.
fn check_reads(server: &Server, witnesses: &[Witness]) {
    for witness in witnesses {
        witness.check_reads(server);
    }
}

#[test]
fn p6_a_disk_that_fills_under_clients_loses_nothing_and_comes_back() {
    let (rounds, seed) = (volume("full_disks", 3), seeds("full_disk_seeds", 1).start);
    let mut rng = Rng::new(seed);
    let mut pressed = 0;
    for round in 0..rounds {
        let _told =
            Round { test: "p6_a_disk_that_fills_under_clients", attack: "full_disks", seed, round };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let Some(disk) = SmallDisk::mount(dir.path()) else {
            return not_run("p6, a disk that fills under clients", "no tmpfs may be mounted here");
        };
        let launch = Launch::on(&dir.path().join("data"));
        let mut witnesses: Vec<_> =
            (0..WITNESSES).map(|id| Witness::new(id, seed + round)).collect();
        let server = launch.start();
        act_during(&server, &mut witnesses, || {
            disk.fill_up();
            pressed += press(&server);
        });
        // The cleaner may have freed space meanwhile.
        eventually("readiness reports the full disk", || {
            press(&server);
            readiness(&server).status == 503
        });
        check_reads(&server, &witnesses);

        // Killed and started while the disk is full: the server starts, and resolves.
        let server = if rng.below(2) == 0 {
            server.kill9();
            disk.fill_up();
            launch.start()
        } else {
            server
        };
        check_reads(&server, &witnesses);
        disk.give_back();
        let probe = r#"{"payload":"probe","ttl":"1h"}"#;
        eventually("writes come back", || Client::of(&server).issue(probe).status == 201);
        eventually("readiness comes back", || readiness(&server).status == 200);
        check(&server, &mut witnesses);
        act_during(&server, &mut witnesses, thread::yield_now);
        server.kill9();
        let server = launch.start();
        check(&server, &mut witnesses);
        server.stop_well();
    }
    tell("full_disks", &[("rounds", rounds), ("pressed", pressed)]);
}

/// Ends of the detail of a refused list.
const CHANGES_REFUSED: &str =
    "at least one token was not changed, and others may have been: repeat the request";
const USES_REFUSED: &str = "a repetition without an Idempotency-Key consumes further uses";
const KEYED_USES_REFUSED: &str =
    "others may have been: repeat the request with the same Idempotency-Key";
const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

/// Sends one list after the other until one is refused because of the disk, and returns its body.
/// The cleaner may free space after each.
fn refused_list(
    server: &Server,
    (path, headers): (&str, &[(&str, &str)]),
    bodies: &[String],
    detail: &str,
) -> String {
    let mut client = Client::of(server);
    for body in bodies {
        press(server);
        let answer = client.send("POST", path, headers, body);
        if answer.status == 507 {
            expect_naming(&answer, 507, detail);
            return body.clone();
        }
    }
    panic!("{path} found room each time")
}

#[test]
fn p2_a_disk_that_is_full_within_a_list_says_what_may_have_been_made() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        return not_run("p2, a full disk within a list", "no tmpfs may be mounted here");
    };
    let server = Launch::on(&dir.path().join("data")).start();
    let mut client = Client::of(&server);
    let mut lists = |beside: Value| -> [String; 4] {
        std::array::from_fn(|_| {
            let issued = |_| client.issued(r#"{"payload":1,"ttl":"1h"}"#).token;
            let mut body = beside.clone();
            body["tokens"] = (0..250).map(issued).collect();
            body.to_string()
        })
    };
    let later = lists(json!({ "ttl": "2h" }));
    let [gone, used, keyed] = [(); 3].map(|()| lists(json!({})));
    disk.fill_up();
    let extend = refused_list(&server, ("/v1/extend", &[]), &later, CHANGES_REFUSED);
    let revoke = refused_list(&server, ("/v1/revoke", &[]), &gone, CHANGES_REFUSED);
    refused_list(&server, ("/v1/consume", &[]), &used, USES_REFUSED);
    let consume = refused_list(&server, ("/v1/consume", &KEY), &keyed, KEYED_USES_REFUSED);
    disk.give_back();
    let has_all = |answer: &Response, is_such: fn(&Value) -> bool| {
        answer.status == 200 && answer.json().as_array().is_some_and(|all| all.iter().all(is_such))
    };
    eventually("the list is extended whole", || {
        has_all(&client.post("/v1/extend", &extend), Value::is_object)
    });
    expect(&client.post("/v1/revoke", &revoke), 204);
    assert!(has_all(&client.post("/v1/status", &revoke), Value::is_null));
    let consumed = client.send("POST", "/v1/consume", &KEY, &consume);
    assert!(has_all(&consumed, |payload| payload == 1), "the key returns what was taken before");
    server.stop_well();
}
