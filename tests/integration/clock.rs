//! P3 on the real binary: the wall clock jumps and freezes under it, by Debian's faketime.
//!
//! The server reads its clock through the preloaded library, which looks into a file at each call;
//! the monotonic clock is left alone. Nothing expired may resolve again, engine time never runs
//! backwards, and what lives keeps its deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, expect};
use crate::server::Launch;
use crate::support::{eventually, millis, not_run, now_ms};
use crate::volume::tell;

/// What has expired is in the log within a second, and some more for a busy machine.
const LOG_KNOWS: Duration = Duration::from_millis(1_500);
const HOUR_S: i64 = 3_600;
const YEAR_S: i64 = 365 * 24 * HOUR_S;

/// The clock of a server, in the hands of the test.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// None where the package is missing.
    fn of(dir: &Path) -> Option<Clock> {
        let library = std::fs::read_dir("/usr/lib").ok()?.flatten().find_map(|entry| {
            let library = entry.path().join("faketime/libfaketimeMT.so.1");
            library.exists().then_some(library)
        })?;
        let clock = Clock { library, file: dir.join("clock") };
        clock.shift(0);
        Some(clock)
    }

    fn launch(&self, dir: &Path) -> Launch {
        Launch::on(&dir.join("data"))
            .env("LD_PRELOAD", self.library.to_str().expect("UTF-8"))
            .env("FAKETIME_TIMESTAMP_FILE", self.file.to_str().expect("UTF-8"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("TZ", "UTC")
    }

    /// The clock shows so many seconds more (or less) than the true time.
    fn shift(&self, seconds: i64) {
        self.set(&format!("{seconds:+}"));
    }

    /// The clock stands still, at this time in UTC.
    fn freeze(&self, at: &str) {
        self.set(at);
    }

    /// Never seen half written.
    fn set(&self, text: &str) {
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, text).expect("a file");
        std::fs::rename(&draft, &self.file).expect("a file");
    }
}

/// Engine time as an issue shows it; never before what it was at any earlier one.
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

fn all_gone(client: &mut Client, tokens: &[String]) {
    for token in tokens {
        expect(&client.resolve(token), 404);
        expect(&client.status(token), 404);
        expect(&client.consume(token), 404);
    }
}

#[test]
fn p3_clock_jumps_revive_nothing_and_lose_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("clock jumps of the real binary", "the package faketime is missing");
    };
    let launch = clock.launch(dir.path());
    let server = launch.start();
    let mut client = Client::of(&server);
    let mut time = EngineTime { latest_ms: now_ms() - 1_000 };
    let short = client.issued(r#"{"payload":1,"ttl":"10m"}"#).token;
    let long = client.issued(r#"{"payload":2,"ttl":"30d","uses":9}"#);
    time.look(&mut client);

    // Forward by an hour: the short one has expired, and stays so whatever the clock says then.
    clock.shift(HOUR_S);
    eventually("the clock jumps", || client.resolve(&short).status == 404);
    let mut gone = vec![short];
    let mut jumps = 1;
    for seconds in [0, -HOUR_S, -10 * YEAR_S, HOUR_S, -30 * YEAR_S, 2 * HOUR_S, 0] {
        clock.shift(seconds);
        jumps += 1;
        let before = time.look(&mut client);
        all_gone(&mut client, &gone);
        expect(&client.resolve(&long.token), 200);
        std::thread::sleep(Duration::from_millis(40));
        assert!(time.look(&mut client) >= before + 40, "time stands still after {seconds:+} s");
        // It expires at the pace of the monotonic clock, however far back the wall clock is.
        let next = client.issued(r#"{"payload":3,"ttl":"60ms"}"#).token;
        eventually("a new token expires", || client.resolve(&next).status == 404);
        gone.push(next);
    }

    // Across restarts with other clocks, after a kill as well as after a good end. The log knows
    // within a second what has expired, also where nobody writes: that much is waited for.
    std::thread::sleep(LOG_KNOWS);
    let mut server = server;
    for (round, seconds) in [-YEAR_S, 0, -20 * YEAR_S, HOUR_S].into_iter().enumerate() {
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

    // Five years on everything has expired, and the way back does not revive it.
    clock.shift(5 * YEAR_S);
    let mut client = Client::of(&server);
    eventually("the clock jumps by years", || client.resolve(&long.token).status == 404);
    gone.push(long.token);
    clock.shift(0);
    all_gone(&mut client, &gone);
    assert!(time.look(&mut client) > now_ms() + 4 * YEAR_S * 1_000, "time went back by years");
    std::thread::sleep(LOG_KNOWS);
    server.kill9();
    let server = launch.start();
    let mut client = Client::of(&server);
    all_gone(&mut client, &gone);
    time.look(&mut client);
    tell("clock_jumps", &[("jumps", jumps + 2), ("expired", gone.len() as u64)]);
}

/// A clock that stands still where time has not been yet stops the engine's time; one that stands
/// in the past does not, and neither revives anything.
#[test]
fn p3_a_frozen_clock_revives_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("a frozen clock of the real binary", "the package faketime is missing");
    };
    let server = clock.launch(dir.path()).start();
    let mut client = Client::of(&server);
    let living = client.issued(r#"{"payload":1,"ttl":"30d"}"#).token;
    clock.freeze("2010-01-01 00:00:00");
    let mut time = EngineTime { latest_ms: 0 };
    for _ in 0..5 {
        time.look(&mut client);
        let next = client.issued(r#"{"payload":2,"ttl":"60ms"}"#).token;
        eventually("a new token expires", || client.resolve(&next).status == 404);
        clock.shift(-HOUR_S);
        expect(&client.resolve(&next), 404);
        clock.freeze("2011-01-01 00:00:00");
        expect(&client.resolve(&next), 404);
        expect(&client.resolve(&living), 200);
    }
}

/// The clock is put right while many ask: no reader may run ahead and end what still lives.
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
