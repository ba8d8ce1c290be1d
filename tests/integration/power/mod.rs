//! Power cuts under the real binary: its data directory is a test file system that loses unsynced
//! data. P1, P2, P4, and P5: a power cut alone never causes a start to be refused.

mod disk;
mod mount;

use std::time::Duration;

use crate::client::Client;
use crate::crash::{check_all, work_until_crash};
use crate::crash_oracle::Witness;
use crate::server::Launch;
use crate::support::{Rng, eventually, not_run};
use crate::volume::{Round, replay, seeds, tell, volume};

use disk::{Cut, ForgetfulDisk};
use mount::Mounted;

const WITNESSES: usize = 4;

/// A mounted disk, or NOT RUN if it cannot be mounted here.
fn mounted(disk: &ForgetfulDisk, at: &std::path::Path) -> Option<Mounted> {
    match Mounted::new(disk.clone(), at) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            not_run("power cuts of the real binary", &format!("no FUSE mount here: {error}"));
            None
        }
    }
}

#[test]
fn p1_p2_p4_p5_power_cuts_lose_nothing_acknowledged() {
    let (rounds, seed) = (volume("power_cuts", 6), seeds("power_seeds", 1).start);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::on(dir.path());
    let mut witnesses: Vec<_> = (0..WITNESSES).map(|id| Witness::new(id, seed)).collect();
    let mut rng = Rng::new(seed);
    let mut disk = ForgetfulDisk::default();
    let mut total = Cut::default();
    let mut during_starts = 0;
    for round in 0..rounds {
        let _told = Round { test: "p1_p2_p4_p5_power_cuts", attack: "power_cuts", seed, round };
        // Sometimes the power is cut during a start: recovery must be safe as well.
        if rng.below(4) == 0 {
            let Some(mount) = mounted(&disk, dir.path()) else { return };
            // A first start alone makes some 300 changes, most of them zeros.
            let operations_max = [20, 600][rng.below(2)];
            disk.freeze_after(rng.below(operations_max));
            launch.start_and_do(Duration::from_millis(200), || {
                disk = ForgetfulDisk::holding(disk.cut(&mut rng).0);
            });
            drop(mount);
            during_starts += 1;
        }
        let Some(mount) = mounted(&disk, dir.path()) else { return };
        let server = launch.start();
        check_all(&server, &mut witnesses);
        let delay = Duration::from_millis(50 + rng.below(400) as u64);
        let mut survived = None;
        work_until_crash(server, &mut witnesses, delay, || {
            // At any operation of the disk, not at any time, because it is idle most of the time.
            disk.freeze_after(rng.below(50));
            for _ in 0..500 {
                if disk.is_frozen() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            survived = Some(disk.cut(&mut rng));
        });
        drop(mount);
        let (image, cut) = survived.expect("the power was cut");
        disk = ForgetfulDisk::holding(image);
        total.unsynced += cut.unsynced;
        total.forgotten += cut.forgotten;
        total.file_syncs += cut.file_syncs;
        total.folder_syncs += cut.folder_syncs;
    }
    let Some(_mount) = mounted(&disk, dir.path()) else { return };
    let server = launch.start();
    check_all(&server, &mut witnesses);
    server.stop_well();
    let acknowledged = witnesses.iter().map(|witness| witness.acknowledged).sum();
    assert!(total.file_syncs > rounds, "the server synced its files");
    assert!(rounds < 6 || total.unsynced > 0, "no cut found anything unsynced");
    tell(
        "power_cuts",
        &[
            ("rounds", rounds),
            ("during_starts", during_starts),
            ("acknowledged", acknowledged),
            ("file_syncs", total.file_syncs),
            ("folder_syncs", total.folder_syncs),
            ("unsynced", total.unsynced),
            ("forgotten", total.forgotten),
        ],
    );
}

/// The attack can succeed: without syncs, acknowledged tokens are lost.
#[test]
fn p1_without_syncs_a_power_cut_does_lose_what_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let disk = ForgetfulDisk::default();
    let Some(mount) = mounted(&disk, dir.path()) else { return };
    let launch = Launch::on(dir.path()).flag("--sync", "never");
    let server = launch.start();
    let mut client = Client::of(&server);
    let tokens: Vec<_> = (0..100).map(|n| client.issued(&body(n)).token).collect();
    let (image, cut) = disk.cut_without_mercy();
    server.kill9();
    drop(mount);
    assert!(cut.forgotten > 0, "nothing was unsynced: {cut:?}");
    let disk = ForgetfulDisk::holding(image);
    let Some(_mount) = mounted(&disk, dir.path()) else { return };
    let server = launch.start();
    let found = survivors(&mut Client::of(&server), &tokens);
    assert_eq!(found, 0, "none of them was ever synced");
}

/// With a sync period, synced changes exist, and the others form a prefix: no change exists without
/// all changes acknowledged before it.
#[test]
fn p1_with_a_sync_period_a_power_cut_takes_no_more_than_the_unsynced_end() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let rounds = seeds("power_period_cuts", 3);
    let mut lost = 0;
    for seed in rounds.clone() {
        let mut disk = ForgetfulDisk::default();
        let Some(mount) = mounted(&disk, dir.path()) else { return };
        let launch = Launch::on(dir.path()).flag("--sync", "100ms");
        let server = launch.start();
        let mut client = Client::of(&server);
        let mut tokens: Vec<_> = (0..50).map(|n| client.issued(&body(n)).token).collect();
        let head = stat(&server, "lsn");
        eventually("what was written is synced", || stat(&server, "durable_lsn") >= head);
        let synced = tokens.len();
        tokens.extend((50..100).map(|n| client.issued(&body(n)).token));
        let (image, _) = disk.cut(&mut Rng::new(seed));
        server.kill9();
        drop(mount);
        disk = ForgetfulDisk::holding(image);
        let Some(_mount) = mounted(&disk, dir.path()) else { return };
        let server = launch.start();
        let found = survivors(&mut Client::of(&server), &tokens);
        let told = replay("p1_with_a_sync_period", seed);
        assert!(found >= synced, "{found} of {synced} synced tokens are there; {told}");
        lost += tokens.len() - found;
        server.kill9();
    }
    let lost = u64::try_from(lost).expect("few");
    tell("power_period_cuts", &[("rounds", rounds.end - rounds.start), ("lost", lost)]);
}

fn body(n: usize) -> String {
    format!(r#"{{"payload":{n},"ttl":"1h"}}"#)
}

/// How many of the tokens, issued one after the other, exist; only the last ones may be missing.
fn survivors(client: &mut Client, tokens: &[String]) -> usize {
    let asked: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let found = client.resolve_many(&asked).json();
    let found = found.as_array().expect("an array");
    let count = found.iter().take_while(|payload| !payload.is_null()).count();
    assert!(found[count..].iter().all(serde_json::Value::is_null), "a gap: {found:?}");
    count
}

fn stat(server: &crate::server::Server, name: &str) -> u64 {
    let mut conn = crate::raw::Conn::open(server.admin).expect("connects");
    conn.send(&crate::raw::request("GET", "/v1/stats", &[], b"")).expect("sends");
    let stats = conn.response().expect("an answer").json();
    stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
}
