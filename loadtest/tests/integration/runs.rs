//! Runs as people make them: what they end with, and whether their reports are complete, agree with
//! themselves, and can be made again.

use std::path::Path;
use std::process::Command;

use loadtest::report::model::{Kept, Latency, Report};
use loadtest::target::{Kind, missing};
use loadtest::workload::Connect;

use crate::harness::{
    BRIEF, Ended, Jeton, Out, command, jeton_bin, loadtest, not_checked, reported, run, secret_file,
};

/// A run whose server the harness starts, in memory alone.
pub fn started(words: &str, out: &Out) -> Command {
    let mut command = command(words);
    command.args(BRIEF).arg("--not-durable").arg("--server-bin").arg(jeton_bin());
    command.arg("--out").arg(out.path());
    command
}

pub fn passed(ended: &Ended, report: &Report) {
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert_eq!(report.errors, [], "{}", ended.said());
    assert!(report.totals.requests > 0, "{}", ended.said());
    assert!(ended.stdout.contains("Throughput") && ended.stdout.contains("p99.9"));
    consistent(report);
}

/// A report says one thing in several ways: they must agree.
pub fn consistent(report: &Report) {
    let requests = report.totals.requests;
    let of_operations: u64 = report.operations.iter().map(|one| one.latency.count).sum();
    let of_slices: u64 = report.slices.iter().map(|slice| slice.requests).sum();
    assert_eq!([of_operations, report.latency.count], [requests; 2]);
    // Without a warm-up they miss only the answers that came after the end, in a closed loop at most
    // one for each request that can be under way.
    let load = &report.workload.load;
    // And a connection that was begun just before the measurement is none of it, but its answer is.
    let early = u64::from(load.connect != Connect::Once);
    let late =
        (requests + early).checked_sub(of_slices).expect("an answer to nothing that was due");
    assert!(
        load.rate.is_some() || late <= (load.connections * load.depth) as u64 + early,
        "{late}"
    );
    assert!(report.totals.tokens >= requests && report.totals.requests_per_s > 0.0);
    let operations = report.operations.iter().map(|one| &one.latency);
    operations.chain([&report.latency]).for_each(ordered);
    let mut end_s = 0.0;
    for slice in &report.slices {
        assert!((slice.at_s - end_s).abs() < 1e-6, "a gap before {}", slice.at_s);
        end_s = slice.at_s + slice.length_s;
    }
    let duration_s = report.workload.time.duration.0.as_secs_f64();
    assert!((end_s - duration_s).abs() < 1e-6, "slices end at {end_s}, not {duration_s}");
    assert!(report.machine.cores > 0 && report.machine.memory_bytes > 0);
    assert!(!report.machine.cpu.is_empty() && !report.machine.system.is_empty());
    assert!(report.started_at.parse::<jiff::Timestamp>().is_ok(), "{}", report.started_at);
    assert!(report.client.user_s + report.client.system_s > 0.0 && report.client.memory_bytes > 0);
    assert_eq!(report.command[..2], ["loadtest", "run"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    match &report.harness.commit {
        Some(commit) => assert!(commit.len() >= 40, "{commit}"),
        None if root.join(".git").exists() => panic!("the commit is not in the report"),
        None => not_checked("the commit in a report", "no repository"),
    }
}

fn ordered(latency: &Latency) {
    let histogram = latency.to_histogram().expect("a histogram");
    assert_eq!(histogram.len(), latency.count);
    let percentiles = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us];
    let rising = [&[latency.min_us], &percentiles[..], &[latency.p9999_us, latency.max_us]];
    assert!(rising.concat().is_sorted(), "{latency:?}");
    assert!((latency.min_us..=latency.max_us).contains(&latency.mean_us), "{latency:?}");
}

/// A page that can be sent by mail: nothing in it is fetched from anywhere.
fn self_contained(page: &str) {
    assert!(page.contains("<svg") && page.trim_end().ends_with("</html>"));
    for outside in ["<script src", "<link", "<img", "<iframe", "@import", "url("] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    // The name of SVG is an address that nobody fetches.
    let rest = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!rest.contains("http://") && !rest.contains("https://"), "the page names an address");
}

#[test]
fn a_run_starts_jeton_reports_and_stops_it() {
    for name in ["resolve", "checkout"] {
        let (out, scratch) = (Out::new(), Out::new());
        let mut command = started(&format!("run {name} --connections 8"), &out);
        let ended = run(command.arg("--ramp").arg("0s").arg("--scratch").arg(scratch.path()));
        let report = out.report();
        passed(&ended, &report);
        self_contained(&out.page());
        assert_eq!((report.workload.name.as_str(), report.workload.keys.population), (name, 200));
        assert_eq!((report.target.kind.as_str(), report.workload.load.connections), ("jeton", 8));
        assert!(report.target.version.is_some());
        let words = report.target.command.as_ref().expect("what started the server");
        assert!(words.iter().any(|word| word == "--memory-only"), "{words:?}");
        let server = report.server.as_ref().expect("it was started here");
        assert!(server.user_s + server.system_s > 0.0 && server.memory_bytes > 0);
        let left = std::fs::read_dir(scratch.path()).expect("a folder").count();
        assert_eq!(left, 0, "the server's data is left behind");
    }
}

/// Over both versions of HTTP; the key itself is in no report.
#[test]
fn a_server_with_keys_is_asked_with_one() {
    let folder = Out::new();
    let (keys, key_file) = (folder.path().join("keys.toml"), folder.path().join("key"));
    let mut add = Command::new(jeton_bin());
    add.args(["keys", "add", "--namespace", "shop", "--scope", "issue,resolve,consume", "--keys"]);
    let key = add.arg(&keys).output().expect("jeton starts").stdout;
    secret_file(&key_file, &key);
    for (http, tls) in [("1.1", None), ("2", None), ("1.1", Some("--tls")), ("2", Some("--tls"))] {
        let out = Out::new();
        let words =
            format!("run checkout --ramp 0s --http {http} --mix issue=1,resolve=5,consume=1");
        let mut command = started(&words, &out);
        command.args(["--server-arg", "--keys", "--server-arg"]).arg(&keys).args(tls);
        let refused = run(&mut command);
        assert_ne!(refused.code, Some(0), "without a key: {}", refused.said());
        refused.refused(&["the server wants a valid key (401): give --key-file FILE"]);
        let ended = run(command.arg("--key-file").arg(&key_file));
        passed(&ended, &out.report());
        let json = std::fs::read_to_string(out.path().join("report.json")).expect("a report");
        let key = String::from_utf8_lossy(&key);
        for text in [&json, &out.page(), &ended.stdout, &ended.stderr] {
            assert!(!text.contains(key.trim()), "P9: the key is told");
        }
        assert_eq!(out.report().tls.is_some(), tls.is_some());
    }
}

#[test]
fn a_report_holds_the_workload_that_makes_it_again() {
    let jeton = Jeton::start();
    let mix = "issue=2,resolve=5,batch=1,consume=1,revoke=1,extend=1,miss=1,replay=1";
    let first = format!(
        "run flash-sale --target http://{} --server-pid {} --mix {mix} --rate 400 --seed 7 \
         --connections 6 --depth 2 --http 2 --ttl 5s..9s --payload-size 300 --rivals 2 \
         --popularity zipf --slo p99=30s",
        jeton.data,
        jeton.pid().as_raw_nonzero()
    );
    let (ended, report) = reported(command(&first).args(BRIEF).args(["--ramp", "0s"]));
    passed(&ended, &report);
    assert!(report.server.is_some(), "its process id was given");
    assert!(report.objectives.len() == 1 && report.objectives[0].kept == Kept::Yes);
    let folder = Out::new();
    let file = folder.path().join("again.toml");
    let text = toml::to_string(&report.workload).expect("a workload file");
    std::fs::write(&file, text).expect("a file");
    let mut again = command("run");
    again.arg(&file).args(["--target", &format!("http://{}", jeton.data)]);
    let (ended, second) = reported(&mut again);
    passed(&ended, &second);
    assert_eq!(second.workload, report.workload);
}

#[test]
fn an_objective_that_is_missed_ends_with_1() {
    let jeton = Jeton::start();
    let words = format!("run resolve --target http://{} --slo p50=1us --slo max=1h", jeton.data);
    let (ended, report) = reported(command(&words).args(BRIEF));
    assert_eq!((ended.code, &report.errors[..]), (Some(1), &[][..]), "{}", ended.said());
    let kept: Vec<Kept> = report.objectives.iter().map(|objective| objective.kept).collect();
    assert_eq!(kept, [Kept::No, Kept::Yes]);
    assert!(ended.stdout.contains("objective missed"), "{}", ended.said());
}

#[test]
fn the_floor_answers_all_that_can_be_asked() {
    for name in ["resolve", "checkout", "batch"] {
        let words = format!("run {name} --target floor --connections 4 --ramp 0s");
        let (ended, report) = reported(command(&words).args(BRIEF));
        passed(&ended, &report);
        assert_eq!(report.target.kind, "floor");
        assert!(report.server.is_some(), "it was started here");
    }
}

#[test]
fn stores_do_the_same_work() {
    let all = "issue=2,resolve=5,batch=1,consume=1,revoke=1,extend=1,miss=1,replay=1";
    let without_consume = "issue=2,resolve=5,batch=1,revoke=1,extend=1,miss=1";
    for (kind, mix) in [(Kind::Redis, all), (Kind::Valkey, all), (Kind::Memcached, without_consume)]
    {
        if let Some(why) = missing(kind) {
            not_checked(kind.name(), &why);
            continue;
        }
        let name = kind.name();
        let words = format!("run resolve --target {name} --mix {mix} -c 4 --batch-size 5");
        let (ended, report) = reported(command(&words).args(BRIEF));
        passed(&ended, &report);
        assert_eq!(report.target.kind, name);
        assert_eq!(report.operations.len(), mix.split(',').count());
    }
}

#[test]
fn every_workload_that_is_listed_can_be_begun_with() {
    let listed = loadtest("list");
    assert_eq!(listed.code, Some(0), "{}", listed.said());
    let names: Vec<_> =
        listed.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in ["checkout", "flash-sale", "expiry-storm", "read-heavy", "write-heavy"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let folder = Out::new();
    for name in names {
        let file = folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, loadtest(&format!("list {name}")).stdout).expect("a file");
        let mut command = command("run");
        command.arg(file).args(["--target", "floor", "--ramp", "0s", "--connections", "32"]);
        // The floor has no TLS to shake hands in.
        command.args((name == "handshakes").then_some("--connect=full"));
        let ended = run(command.args(BRIEF).args(["--duration", "20ms"].iter().skip(2)));
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.said());
    }
}

/// How a server that is there was configured stood in no report, and nothing said so.
#[test]
fn the_configuration_of_a_server_that_is_there_is_reported_or_unknown() {
    let jeton = Jeton::start();
    let words = format!("run resolve -c 2 --target http://{}", jeton.data);
    let out = Out::new();
    let mut asked = command(&words);
    asked.args(BRIEF).args(["--server-admin", &jeton.admin.to_string()]);
    let ended = run(asked.arg("--out").arg(out.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let config = out.report().target.config.expect("it states it");
    assert_eq!(config.get("memory-only").map(String::as_str), Some("true"), "{config:?}");
    let out = Out::new();
    let unknown = run(command(&words).args(BRIEF).arg("--out").arg(out.path()));
    assert_eq!(out.report().target.config, None);
    assert!(out.page().contains("configuration is unknown"));
    assert!(unknown.stdout.contains("configuration is unknown"));
    assert!(!ended.stdout.contains("configuration is unknown"), "{}", ended.said());
    let wrong = format!("{words} --server-admin {}", jeton.data);
    loadtest(&wrong).refused(&["--server-admin", "no statistics came"]);
    loadtest("run resolve --server-admin 127.0.0.1:1").refused(&["--server-admin", "--target"]);
}
