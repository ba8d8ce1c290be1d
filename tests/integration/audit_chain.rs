//! The chain of the audit log, with the real server and the real command: kill -9, a full disk, files
//! that other programs move, and what `jeton audit verify` says of changes.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::access::{Keys, run_jeton};
use crate::audit::{events, launch, lines, refused};
use crate::client::{Client, expect};
use crate::full_disk::SmallDisk;
use crate::server::{Launch, jeton};
use crate::support::{copy_folder, eventually, not_run};
use crate::volume::volume;

/// A folder with a data directory, an audit log, its checkpoints kept elsewhere, and its public key.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_str().expect("UTF-8").to_owned()
    }

    fn launch(&self) -> Launch {
        launch(self.dir.path()).flag("--audit-checkpoints", &self.text("checkpoints"))
    }

    /// Runs a command; returns its exit code, and all that it printed.
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let done = run_jeton(args);
        let text = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(text).expect("UTF-8"))
    }

    /// Verifies files of the log.
    fn verify(&self, files: &[&str], with_since: bool) -> (Option<i32>, String) {
        let (key, since) = (self.text("key.pem"), self.text("checkpoints"));
        if !self.at("key.pem").exists() {
            let (code, pem) = self.run(&["audit", "public-key", "--data", &self.text("data")]);
            assert_eq!(code, Some(0), "{pem}");
            fs::write(&key, pem).expect("written");
        }
        let files: Vec<_> = files.iter().map(|file| self.text(file)).collect();
        let mut args = vec!["audit", "verify", "--public-key", &key];
        args.extend(with_since.then_some(["--since", &*since]).into_iter().flatten());
        args.extend(files.iter().map(String::as_str));
        self.run(&args)
    }

    /// All files of the log of completed operations.
    fn logs(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).expect("a folder");
        let names =
            names.map(|entry| entry.expect("one").file_name().into_string().expect("UTF-8"));
        let is_log = |name: &String| {
            name.starts_with("audit.log") && !name.contains("refused") && !name.contains("chain")
        };
        names.filter(is_log).collect()
    }
}

#[test]
fn p5_a_log_is_verified_and_a_change_is_named_with_exit_codes() {
    let folder = Folder::new();
    let server = folder.launch().start();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"uses":9}"#).token;
    for _ in 0..5 {
        expect(&client.consume(&token), 200);
    }
    expect(&client.resolve(crate::audit::UNKNOWN), 404);
    server.stop_well();
    for files in [&["audit.log"][..], &["audit.log.refused"], &["audit.log", "audit.log.refused"]] {
        let (code, said) = folder.verify(files, true);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("nothing found"), "{said}");
        // Both logs have checkpoints.
        assert_eq!(said.contains("no file of that log was given"), files.len() == 1, "{said}");
        assert!(!said.contains("without --since"), "{said}");
    }
    let (code, said) = folder.verify(&["audit.log"], false);
    assert!(code == Some(0) && said.contains("note: without --since"), "{said}");
    // One digit of one line.
    let (log, kept) = (folder.at("audit.log"), fs::read_to_string(folder.at("audit.log")));
    let kept = kept.expect("text");
    fs::write(&log, kept.replacen("\"status\":200", "\"status\":404", 1)).expect("written");
    let (code, said) = folder.verify(&["audit.log"], true);
    assert!(code == Some(1) && said.contains("audit.log:4: this line was changed"), "{said}");
    // The end of the log.
    let lines: Vec<_> = kept.lines().collect();
    fs::write(&log, lines[..5].join("\n") + "\n").expect("written");
    let (code, said) = folder.verify(&["audit.log"], true);
    assert!(code == Some(1) && said.contains("its end was removed"), "{said}");
    // Mistakes in the call.
    let (code, said) = folder.verify(&["nowhere"], false);
    assert!(code == Some(2) && said.contains("nowhere"), "{said}");
    fs::write(folder.at("key.pem"), "no key").expect("written");
    let (code, said) = folder.verify(&["audit.log"], false);
    assert!(code == Some(2) && said.contains("--public-key"), "{said}");
}

/// Killed again and again under load: the numbers go on, and the only lines that nobody signed are
/// those that each start names.
#[test]
fn p5_killed_again_and_again_it_goes_on_with_one_chain() {
    let folder = Folder::new();
    for _ in 0..volume("audit_chain_kills", 4) {
        let server = folder.launch().start();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = Client::of(&server);
                    while client.try_send("POST", "/v1/tokens", &[], r#"{"payload":1}"#).is_ok() {}
                });
            }
            thread::sleep(Duration::from_millis(1_300));
            rustix::process::kill_process(server.pid(), Signal::KILL).expect("it runs");
        });
    }
    folder.launch().start().stop_well();
    let (code, said) = folder.verify(&["audit.log"], true);
    let found: Vec<_> = said.lines().filter(|line| line.contains("FOUND")).collect();
    assert!(found.iter().all(|line| line.contains("unsigned lines")), "{said}");
    assert_eq!(code, Some(i32::from(!found.is_empty())), "{said}");
    let text = fs::read_to_string(folder.at("audit.log")).expect("text");
    let numbers = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["operation"] != "checkpoint").then(|| line["seq"].as_u64().expect("a number"))
    });
    let numbers: Vec<_> = numbers.collect();
    assert!(numbers.is_sorted() && numbers[0] == 1, "numbers go on over restarts");
}

#[test]
fn p5_a_full_disk_breaks_no_chain() {
    let folder = Folder::new();
    let disk_dir = folder.at("disk");
    fs::create_dir(&disk_dir).expect("a folder");
    let Some(disk) = SmallDisk::mount(&disk_dir) else {
        return not_run("the chain of an audit log on a full disk", "no tmpfs may be mounted here");
    };
    let log = folder.text("disk/audit.log");
    let server = folder.launch().flag("--audit", &log).start();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"uses":10000}"#).token;
    for _ in 0..2 {
        disk.fill_up();
        eventually("the disk's end is felt", || {
            expect(&client.consume(&token), 200);
            crate::admin::metrics(&server).contains("jeton_audit_failing 1\n")
        });
        disk.give_back();
        eventually("lines are written again", || {
            expect(&client.consume(&token), 200);
            crate::admin::metrics(&server).contains("jeton_audit_failing 0\n")
        });
    }
    server.stop_well();
    let (code, said) = folder.verify(&["disk/audit.log"], true);
    assert_eq!(code, Some(0), "{said}");
}

/// Rotation by size under load, and a file that logrotate renames meanwhile.
#[test]
fn rotated_and_renamed_files_are_one_chain() {
    let folder = Folder::new();
    let server = folder.launch().flag("--audit-max-size", "1MiB").start();
    let mut client = Client::of(&server);
    let tokens = vec![client.issued(r#"{"payload":1}"#).token; 1000];
    let list = json!({ "tokens": tokens }).to_string();
    for round in 0..12 {
        expect(&client.post("/v1/resolve", &list), 200);
        if round == 5 {
            fs::rename(folder.at("audit.log"), folder.at("audit.log.1")).expect("it is renamed");
        }
    }
    eventually("it is begun again", || folder.at("audit.log").exists());
    server.stop_well();
    let names = folder.logs();
    assert!(names.len() >= 3, "{names:?}");
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    let (code, said) = folder.verify(&names, true);
    assert_eq!(code, Some(0), "{said}");
    // Without the second file of the chain, whichever program has named it.
    names.retain(|name| {
        let text = fs::read_to_string(folder.at(name)).expect("text");
        !text.lines().next().is_some_and(|line| line.contains(r#""file":2,"#))
    });
    let (code, said) = folder.verify(&names, true);
    assert!(code == Some(1) && said.contains("file number 2 of the log is missing"), "{said}");
}

/// The server notices within a second, says so, and goes on in the chain.
#[test]
fn p5_a_log_that_is_emptied_or_removed_while_the_server_runs_is_told_and_found() {
    for is_removed in [false, true] {
        let folder = Folder::new();
        let server = folder.launch().start();
        let log = folder.at("audit.log");
        let has = |text: &str| fs::read_to_string(&log).is_ok_and(|found| found.contains(text));
        Client::of(&server).issued(r#"{"payload":1}"#);
        eventually("a checkpoint", || has(r#""at":"second""#));
        match is_removed {
            true => fs::remove_file(&log).expect("removed"),
            false => fs::write(&log, "").expect("emptied"),
        }
        eventually("the next file", || has(r#""file":2"#));
        Client::of(&server).issued(r#"{"payload":1}"#);
        let done = if is_removed { "removed the audit log" } else { "made the audit log shorter" };
        assert!(server.stderr().contains(&format!("another program has {done}")), "{done}");
        server.stop_well();
        let (code, said) = folder.verify(&["audit.log"], true);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("file number 1 of the log was not given"), "{said}");
        let (code, said) = folder.verify(&["audit.log"], false);
        assert!(code == Some(0) && said.contains("begins with file number 2"), "{said}");
    }
}

#[test]
fn p5_a_rolled_back_data_directory_is_refused_with_a_checkpoint_kept_elsewhere() {
    let folder = Folder::new();
    let server = folder.launch().start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    server.stop_well();
    copy_folder(&folder.at("data"), &folder.at("old"));
    let server = folder.launch().start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    server.stop_well();
    let since = folder.text("checkpoints");
    let (code, said) = folder.run(&["verify", "--since", &since, &folder.text("data")]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = folder.run(&["verify", "--since", &since, &folder.text("old")]);
    assert!(code == Some(1) && said.contains("rolled back"), "{said}");
    // A server has written on in the older one, beyond the end of the log, and has checkpoints too.
    let own = folder.text("checkpoints-of-old");
    let launch = Launch::on(&folder.at("old")).flag("--audit", &folder.text("audit.of-old"));
    let server = launch.flag("--audit-checkpoints", &own).start();
    for _ in 0..50 {
        Client::of(&server).issued(r#"{"payload":2}"#);
    }
    server.stop_well();
    let both = [fs::read(&since).expect("kept"), fs::read(&own).expect("kept")].concat();
    fs::write(folder.at("both"), both).expect("written");
    for (kept, is_found) in [(&since, true), (&folder.text("both"), true), (&own, false)] {
        let (code, said) = folder.run(&["verify", "--since", kept, &folder.text("old")]);
        assert_eq!(code, Some(i32::from(is_found)), "{said}");
        assert_eq!(said.contains("rolled back and written again"), is_found, "{said}");
        assert_eq!(said.contains("the log has the frames of"), !is_found, "{said}");
    }
    let (code, said) = folder.run(&["verify", &folder.text("old")]);
    assert_eq!(code, Some(0), "without it the older state is whole: {said}");
}

#[test]
fn start_stop_reload_and_changes_of_keys_are_lines() {
    let folder = Folder::new();
    let keys = Keys::in_dir(folder.dir.path());
    let first = keys.add("shop-a", "issue", &[]);
    let config = folder.text("jeton.toml");
    fs::write(&config, "log-level = \"info\"\n").expect("written");
    let server = folder.launch().flag("--keys", keys.path()).flag("--config", &config).start();
    let second = keys.add("shop-b", "resolve", &[]);
    let log = folder.at("audit.log");
    let has = |operation: &str| events(&log).iter().any(|line| line["operation"] == operation);
    eventually("the new key is a line", || has("key_added"));
    keys.revoke(&first);
    eventually("the revoked key is a line", || has("key_removed"));
    rustix::process::kill_process(server.pid(), Signal::HUP).expect("it runs");
    eventually("the reload is a line", || has("reload"));
    fs::write(&config, "log-level = [\n").expect("written");
    rustix::process::kill_process(server.pid(), Signal::HUP).expect("it runs");
    let not_loaded = || {
        events(&refused(&log))
            .iter()
            .any(|line| line["operation"] == "reload" && line["detail"] == "configuration")
    };
    eventually("the mistake is a line", not_loaded);
    server.stop_well();
    let events = events(&log);
    let id = |key: &str| json!(key["Bearer jeton_".len()..][..8]);
    let of = |operation: &str| events.iter().find(|line| line["operation"] == operation);
    let of = |operation: &str| of(operation).expect("a line");
    assert_eq!((&of("key_added")["key"], &of("key_removed")["key"]), (&id(&second), &id(&first)));
    assert_eq!(of("key_added")["namespace"], "shop-b");
    assert_eq!((&events[0]["operation"], &events[0]["seq"]), (&json!("start"), &json!(1)));
    let last = events.last().expect("a line");
    assert_eq!((&last["operation"], &last["detail"]), (&json!("stop"), &json!("SIGTERM")));
    assert!(lines(&log).is_empty(), "no request was made");
    let (code, said) = folder.verify(&["audit.log", "audit.log.refused"], true);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_digest_of_a_line_is_found_from_a_token_a_name_and_a_reference() {
    let folder = Folder::new();
    let server = folder.launch().start();
    let mut client = Client::of(&server);
    let order = json!({"payload": 2, "reference": {"order_number": "7"}}).to_string();
    let token = client.issued(&order).token;
    server.stop_well();
    let issued = lines(&folder.at("audit.log"));
    let expected = issued[0]["digest"].as_str().expect("a digest");
    let mut child = jeton()
        .args(["audit", "digest", "--data", &folder.text("data")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("jeton runs");
    let said = format!("{token}\n{{\"reference\":{{\"order_number\":\"7\"}}}}\nsome name\n");
    let mut input = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, said.as_bytes()).expect("written");
    drop(input);
    let done = child.wait_with_output().expect("ends");
    let printed = String::from_utf8(done.stdout).expect("UTF-8");
    let printed: Vec<_> = printed.lines().collect();
    assert_eq!((printed[0], printed[1], printed.len()), (expected, expected, 3));
}

#[test]
fn checkpoints_do_not_go_to_a_file_of_the_log_itself() {
    let folder = Folder::new();
    for name in ["audit.log", "audit.log.chain", "audit.log.refused", "audit.log.refused.chain"] {
        let launch = launch(folder.dir.path()).flag("--audit-checkpoints", &folder.text(name));
        let refused = launch.try_start().err().expect("refused");
        assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
        let said = "--audit-checkpoints must not be a file of --audit";
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}

#[test]
fn checkpoints_to_standard_output_verify_the_log() {
    let folder = Folder::new();
    let server = launch(folder.dir.path()).flag("--audit-checkpoints", "-").start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    let has_some = || server.stdout().contains(r#""at":"second""#);
    eventually("a checkpoint of the line is there", has_some);
    let printed = server.stdout();
    server.stop_well();
    // The line of the start is among them.
    fs::write(folder.at("checkpoints"), printed).expect("written");
    let (code, said) = folder.verify(&["audit.log"], true);
    assert_eq!(code, Some(0), "{said}");
    let refused = Launch::on(&folder.at("data")).flag("--audit-checkpoints", "-").try_start();
    let refused = refused.err().expect("it cannot start").stderr;
    assert!(refused.contains("--audit-checkpoints needs --audit"), "{refused}");
}
