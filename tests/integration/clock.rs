//! P3 on the real binary: the wall clock jumps and freezes under it, by Debian's faketime.
//!
//! The server reads its clock through the preloaded library, which looks into a file at each call;
//! the monotonic clock is left alone. No expired token may resolve again, engine time never runs
//! backwards, and live tokens keep their deadlines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, Issued, expect};
use crate::server::{Launch, Server, jeton, output};
use crate::support::{Rng, eventually, files_under, millis, not_run, now_ms};
use crate::volume::{Round, seeds, tell};

/// Changes of a clock by a seed.
const STEPS: u64 = 12;
const HOUR_S: i64 = 3_600;
const YEAR_S: i64 = 365 * 24 * HOUR_S;
/// The server's clock starts this far ahead, so that it can go back for years and still be after
/// the day of the build.
const BASE_S: i64 = 12 * YEAR_S;
/// Time for which a step forward must last in these tests.
const HOLD_MS: u64 = 150;

/// The clock of a server, controlled by the test.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// `None` if the package is missing.
    pub fn of(dir: &Path) -> Option<Self> {
        let library = std::fs::read_dir("/usr/lib").ok()?.flatten().find_map(|entry| {
            let library = entry.path().join("faketime/libfaketimeMT.so.1");
            library.exists().then_some(library)
        })?;
        let clock = Self { library, file: dir.join("clock") };
        clock.shift(0);
        Some(clock)
    }

    /// Steps of the clock of any size are followed soon, because `--max-ttl` is longer.
    fn launch(&self, dir: &Path) -> Launch {
        let hold = format!("{HOLD_MS}ms");
        self.launch_plainly(dir).flag("--clock-hold", &hold).flag("--max-ttl", "3650d")
    }

    pub fn launch_plainly(&self, dir: &Path) -> Launch {
        self.launch_plainly_on(&dir.join("data"))
    }

    pub fn launch_plainly_on(&self, data: &Path) -> Launch {
        Launch::on(data)
            .env("LD_PRELOAD", self.library.to_str().expect("UTF-8"))
            .env("FAKETIME_TIMESTAMP_FILE", self.file.to_str().expect("UTF-8"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("TZ", "UTC")
    }

    /// Shifts the clock by this number of seconds from its start.
    pub fn shift(&self, seconds: i64) {
        self.set(&format!("{:+}", BASE_S + seconds));
    }

    /// Like [`Clock::shift`], and waits until the server follows the clock.
    fn shift_and_wait(&self, seconds: i64) {
        self.shift(seconds);
        self.wait();
    }

    fn wait(&self) {
        std::thread::sleep(Duration::from_millis(HOLD_MS + 250));
    }

    /// Stops the clock at this time in UTC.
    pub fn freeze(&self, at: &str) {
        self.set(at);
    }

    /// Replaced atomically.
    fn set(&self, text: &str) {
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, text).expect("a file");
        std::fs::rename(&draft, &self.file).expect("a file");
    }
}

/// Engine time according to an issue; asserts that it has not run backwards.
struct EngineTime {
    latest_ms: i64,
}

impl EngineTime {
    fn look(&mut self, client: &mut Client) -> i64 {
        let issued = client.issued(r#"{"payload":"look","ttl":"10s"}"#);
        let now_ms = millis(&issued.expires_at) - 10_000;
        assert!(now_ms >= self.latest_ms, "{} ms backwards", self.latest_ms - now_ms);
        self.latest_ms = now_ms;
        now_ms
    }
}

fn all_gone(client: &mut Client, gone: &[Issued]) {
    for Issued { token, .. } in gone {
        expect(&client.resolve(token), 404);
        expect(&client.status(token), 404);
        expect(&client.consume(token), 404);
    }
}

/// Waits until the log contains a time after these deadlines, which an idle server ensures.
fn wait_for_log(data: &Path, gone: &[Issued]) {
    let latest_ms = gone.iter().map(|issued| millis(&issued.expires_at)).max();
    eventually("the log knows what has expired", || log_time_ms(data) >= latest_ms);
}

/// The time of the last frame, read from a copy of the log; `None` if the log changed meanwhile.
fn log_time_ms(data: &Path) -> Option<i64> {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for file in files_under(data) {
        std::fs::copy(&file, copy.path().join(file.file_name()?)).ok()?;
    }
    let verified = output(jeton().arg("verify").arg(copy.path()));
    let told = String::from_utf8(verified.stdout).expect("UTF-8");
    let written = told.lines().find_map(|line| line.strip_prefix("written"))?;
    Some(millis(written.trim()))
}

#[test]
fn p3_clock_jumps_revive_nothing_and_lose_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("clock jumps of the real binary", "the package faketime is missing");
    };
    let launch = clock.launch(dir.path());
    let mut server = launch.start();
    let mut client = Client::of(&server);
    let mut time = EngineTime { latest_ms: now_ms() - 1_000 };
    let short = client.issued(r#"{"payload":1,"ttl":"10m"}"#);
    let long = client.issued(r#"{"payload":2,"ttl":"30d","uses":9}"#);
    time.look(&mut client);

    // Forward by an hour: the short-lived token has expired, and stays so whatever the clock shows
    // later.
    clock.shift(HOUR_S);
    eventually("the clock jumps", || client.resolve(&short.token).status == 404);
    let (mut gone, mut jumps) = (vec![short], 1);
    for seconds in [0, -HOUR_S, -10 * YEAR_S, HOUR_S, -11 * YEAR_S, 2 * HOUR_S, 0] {
        clock.shift(seconds);
        jumps += 1;
        let before = time.look(&mut client);
        all_gone(&mut client, &gone);
        expect(&client.resolve(&long.token), 200);
        std::thread::sleep(Duration::from_millis(40));
        assert!(time.look(&mut client) >= before + 40, "time stands still after {seconds:+} s");
        // It expires at the pace of the forward clock, even if the wall clock is far back.
        let next = client.issued(r#"{"payload":3,"ttl":"60ms"}"#);
        eventually("a new token expires", || client.resolve(&next.token).status == 404);
        gone.push(next);
    }

    // Across restarts with other clocks, after a kill as well as after a clean stop. The log
    // contains the time of an expiry within a second, even without writes; the test waits for that.
    let data = dir.path().join("data");
    wait_for_log(&data, &gone);
    for (round, seconds) in [-YEAR_S, 0, -11 * YEAR_S, HOUR_S].into_iter().enumerate() {
        if round % 2 == 0 {
            server.kill9();
        } else {
            server.stop_well();
        }
        clock.shift(seconds);
        jumps += 1;
        server = launch.start();
        let mut client = Client::of(&server);
        all_gone(&mut client, &gone);
        assert_eq!(client.status(&long.token).json()["expires_at"], json!(long.expires_at));
        assert_eq!(client.uses_left(&long.token), 9);
        time.look(&mut client);
    }

    // After five years all tokens have expired, and going back does not revive them.
    clock.shift(5 * YEAR_S);
    let mut client = Client::of(&server);
    eventually("the clock jumps by years", || client.resolve(&long.token).status == 404);
    gone.push(long);
    clock.shift(0);
    all_gone(&mut client, &gone);
    assert!(time.look(&mut client) > now_ms() + 4 * YEAR_S * 1_000, "time went back by years");
    wait_for_log(&data, &gone);
    server.kill9();
    let server = launch.start();
    let mut client = Client::of(&server);
    all_gone(&mut client, &gone);
    time.look(&mut client);
    tell("clock_jumps", &[("jumps", jumps + 2), ("expired", gone.len() as u64)]);
}

/// A clock that stops at a new time stops engine time; one that stops in the past does not. Neither
/// revives a token.
#[test]
fn p3_a_frozen_clock_revives_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("a frozen clock of the real binary", "the package faketime is missing");
    };
    let server = clock.launch(dir.path()).start();
    let mut client = Client::of(&server);
    let living = client.issued(r#"{"payload":1,"ttl":"30d"}"#).token;
    clock.freeze("2030-01-01 00:00:00");
    let mut time = EngineTime { latest_ms: 0 };
    for _ in 0..5 {
        time.look(&mut client);
        let next = client.issued(r#"{"payload":2,"ttl":"60ms"}"#).token;
        eventually("a new token expires", || client.resolve(&next).status == 404);
        clock.shift(-HOUR_S);
        expect(&client.resolve(&next), 404);
        clock.freeze("2031-01-01 00:00:00");
        expect(&client.resolve(&next), 404);
        expect(&client.resolve(&living), 200);
    }
}

/// The clock is corrected during many reads: no reader may run ahead and expire live tokens.
#[test]
fn p3_a_clock_that_is_put_right_ends_nothing_early() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("a clock that is put right", "the package faketime is missing");
    };
    let server = clock.launch(dir.path()).start();
    let mut client = Client::of(&server);
    let living = client.issued(r#"{"payload":1,"ttl":"10m"}"#).token;
    for _ in 0..20 {
        clock.shift(-HOUR_S);
        for _ in 0..20 {
            expect(&client.resolve(&living), 200);
        }
        clock.shift(0);
        for _ in 0..20 {
            expect(&client.resolve(&living), 200);
        }
    }
}

/// A server with a clock that is changed by a seed.
struct Storm {
    rng: Rng,
    clock: Clock,
    data: PathBuf,
    launch: Launch,
    time: EngineTime,
    living: Issued,
    gone: Vec<Issued>,
    /// The clock stops at a new time, so engine time stops too.
    stands: bool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    jumps: u64,
    freezes: u64,
    restarts: u64,
}

impl Storm {
    fn step(&mut self, server: Server) -> Server {
        let number = |rng: &mut Rng, below| i64::try_from(rng.below(below)).expect("small");
        let unit_s = [1, HOUR_S, YEAR_S][self.rng.below(3)];
        let far_s = unit_s * (1 + number(&mut self.rng, 5));
        match self.rng.below(6) {
            0 => self.jump(0),
            1 => self.jump(far_s),
            2 => self.jump(-far_s),
            3 => {
                let year = 2028 + number(&mut self.rng, 10);
                self.freeze(year, false);
            }
            4 => {
                let year = 1970 + self.time.latest_ms / 1_000 / YEAR_S;
                self.freeze(year + 2, true);
            }
            _ => {
                wait_for_log(&self.data, &self.gone);
                if self.rng.below(2) == 0 {
                    server.kill9();
                } else {
                    server.stop_well();
                }
                // With another clock, in half of the cases.
                if self.rng.below(2) == 0 {
                    self.jump(-far_s);
                }
                self.counts.restarts += 1;
                return self.launch.start();
            }
        }
        server
    }

    fn jump(&mut self, seconds: i64) {
        self.clock.shift_and_wait(seconds);
        self.stands = false;
        self.counts.jumps += 1;
    }

    fn freeze(&mut self, year: i64, is_ahead: bool) {
        self.clock.freeze(&format!("{year}-01-01 00:00:00"));
        self.clock.wait();
        self.stands = is_ahead;
        self.counts.freezes += 1;
    }

    /// No token is revived, none expires early, and time continues unless it must stop.
    fn check(&mut self, client: &mut Client) {
        let before_ms = self.time.look(client);
        all_gone(client, &self.gone);
        let is_there = client.resolve(&self.living.token).status == 200;
        let after_ms = self.time.look(client);
        let deadline_ms = millis(&self.living.expires_at);
        assert!(is_there || after_ms >= deadline_ms, "ended early");
        assert!(!is_there || before_ms < deadline_ms, "lives too long");
        if !is_there {
            let next = client.issued(r#"{"payload":1,"ttl":"30d"}"#);
            self.gone.push(std::mem::replace(&mut self.living, next));
        }
        if self.stands {
            assert_eq!(before_ms, after_ms, "time goes on under a clock that stands");
            return;
        }
        let next = client.issued(r#"{"payload":2,"ttl":"60ms"}"#);
        eventually("a new token expires", || client.resolve(&next.token).status == 404);
        self.gone.push(next);
    }
}

/// `JETON_CLOCKS` seeds: jumps, freezes and restarts in any order.
#[test]
fn p3_any_order_of_jumps_and_freezes_revives_nothing() {
    let seeds = seeds("clocks", 1);
    let (mut total, mut expired) = (Counts::default(), 0);
    for seed in seeds.clone() {
        let test = "p3_any_order_of_jumps_and_freezes";
        let _told = Round { test, attack: "clocks", seed, round: 0 };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let Some(clock) = Clock::of(dir.path()) else {
            return not_run("any order of clock jumps", "the package faketime is missing");
        };
        let launch = clock.launch(dir.path());
        let mut server = launch.start();
        let mut client = Client::of(&server);
        let mut storm = Storm {
            rng: Rng::new(seed),
            clock,
            data: dir.path().join("data"),
            launch,
            time: EngineTime { latest_ms: now_ms() - 1_000 },
            living: client.issued(r#"{"payload":1,"ttl":"30d"}"#),
            gone: Vec::new(),
            stands: false,
            counts: Counts::default(),
        };
        storm.check(&mut client);
        for _ in 0..STEPS {
            server = storm.step(server);
            storm.check(&mut Client::of(&server));
        }
        server.stop_well();
        total.jumps += storm.counts.jumps;
        total.freezes += storm.counts.freezes;
        total.restarts += storm.counts.restarts;
        expired += storm.gone.len() as u64;
    }
    tell(
        "clocks",
        &[
            ("seeds", seeds.end - seeds.start),
            ("jumps", total.jumps),
            ("freezes", total.freezes),
            ("restarts", total.restarts),
            ("expired", expired),
        ],
    );
}
