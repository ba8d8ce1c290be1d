//! `--secret-command` as a user meets it: a server whose secret comes from a program, and programs that
//! misbehave.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::access::run_jeton;
use crate::client::Client;
use crate::raw::{Conn, request};
use crate::server::{Launch, Server};

mod samples;

const FLAG: &str = "--secret-command";
const WAIT: &str = "--secret-wait";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A folder with programs.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A shell script with this text.
    fn script(&self, name: &str, script: &str) -> PathBuf {
        let file = self.path(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("set");
        file
    }

    /// A program that prints a new secret, the same at each run.
    fn secret(&self, name: &str) -> PathBuf {
        let made = run_jeton(&["secret", "new"]);
        assert!(made.status.success());
        let secret = String::from_utf8(made.stdout).expect("base64");
        assert_eq!(secret.trim_end().len(), 44, "32 bytes as base64, on a line");
        self.script(name, &format!("echo {}", secret.trim_end()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// With an equals sign: what follows are flags again.
    fn launch(&self, program: &Path) -> Launch {
        let command = format!("{FLAG}={}", text(program));
        Launch::on(&self.path("data")).switch(&command).flag(WAIT, "0s")
    }
}

fn origin(server: &Server) -> String {
    let mut conn = Conn::open(server.admin).expect("connects");
    conn.send(&request("GET", "/v1/stats", &[], b"")).expect("sent");
    let stats = conn.response().expect("an answer").json();
    stats["secret_origin"].as_str().expect("a word").to_owned()
}

#[test]
fn a_program_serves_in_place_of_a_file() {
    let programs = Programs::new();
    let (one, other) = (programs.secret("one"), programs.secret("other"));
    let server = programs.launch(&one).start();
    let token = Client::of(&server).issued(r#"{"payload":7}"#).token;
    assert_eq!(origin(&server), "command");
    let log = server.stderr();
    assert!(log.contains("origin=\"command\"") && !log.contains("beside"), "{log}");
    server.stop_well();
    assert!(!programs.path("data").join("secret.key").exists(), "nothing is beside the data");
    let serves = |launch: &Launch| {
        let server = launch.start();
        assert_eq!(Client::of(&server).resolve(&token).text(), "7");
        server.stop_well();
    };
    serves(&programs.launch(&one));
    let refused = programs.launch(&other).try_start().err().expect("refused");
    let said = "what --secret-command printed is not the secret that the log in";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let file = programs.path("other.key");
    assert!(run_jeton(&["secret", "new", "--out", text(&file)]).status.success());
    let data = programs.path("data");
    let refused = run_jeton(&["verify", text(&data), "--secret-file", text(&file)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let name = format!("{} is not the secret that the log in", text(&file));
    assert!(said.contains(&name), "{said}");
    // A variable may be that of another server.
    let key = ["audit", "public-key", "--data", text(&data)];
    let refused = run_jeton(&[&key[..], &["--secret-file", text(&file)]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(refused.stdout.is_empty() && said.contains(&name), "{said}");
    assert!(run_jeton(&[&key[..], &[FLAG, text(&one)]].concat()).status.success());
    // By the variable, with an argument, and by the file.
    let words = format!("sh {}", text(&one));
    serves(&Launch::on(&programs.path("data")).env("JETON_SECRET_COMMAND", &words));
    let config = programs.path("jeton.toml");
    let line = format!("secret-command = [\"sh\", \"-e\", {:?}]\n", text(&one));
    fs::write(&config, line).expect("written");
    serves(&Launch::on(&programs.path("data")).flag("--config", text(&config)));
}

/// The arguments end with a semicolon: what follows are flags of jeton again.
#[test]
fn the_arguments_of_the_program_end_with_the_line_or_a_semicolon() {
    let programs = Programs::new();
    let data = programs.path("data");
    let begin = ["serve", "--data-dir", text(&data), FLAG, "no-such-program", "-e", "x", ";"];
    let refused = run_jeton(&[&begin[..], &["--workers", "0"]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--workers must be 1 to"), "{said}");
    let refused = run_jeton(&begin[..7]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--secret-command no-such-program: can't be started"), "{said}");
    // A server must not run without its keys because a program got the flag.
    let refused = run_jeton(&[&begin[..7], &["--keys=keys.toml"]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--secret-command has --keys among its arguments"), "{said}");
}

/// A check that silently does without its flag passes where it would fail.
#[test]
fn p8_no_command_loses_a_flag_to_the_program() {
    let lost: [(&[&str], &str); 7] = [
        (&["verify", "data", FLAG, "cat", "x", WAIT, "1s"], "--secret-wait"),
        (&["verify", "data", FLAG, "cat", "x", "--since", "kept.log"], "--since"),
        (&["backup", "copy", FLAG, "cat", "--server=http://127.0.0.1:1"], "--server"),
        (&["audit", "digest", FLAG, "cat", "--namespace", "shop"], "--namespace"),
        (&["audit", "public-key", FLAG, "cat", "--data", "data"], "--data"),
        (&["audit", "public-key", FLAG, "cat", "--data-dir=data"], "--data-dir"),
        (&["restore", "copy", "--data", "data", FLAG, "cat", "x", "--secret=x"], "--secret"),
    ];
    for (args, flag) in lost {
        let refused = run_jeton(args);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("--secret-command has {flag} among its")), "{said}");
    }
}

/// A server's environment is often that of the shell in which its commands are called, too.
#[test]
fn a_flag_wins_over_the_variables_of_other_sources() {
    let programs = Programs::new();
    let (secret, data) = (programs.path("secret.key"), programs.path("none"));
    assert!(run_jeton(&["secret", "new", "--out", text(&secret)]).status.success());
    let (file, wait) = ("JETON_SECRET_FILE", "JETON_SECRET_WAIT");
    let program = "JETON_SECRET_COMMAND";
    let by_file = ["verify", text(&data), "--secret-file", text(&secret)];
    let by_program = ["verify", text(&data), FLAG, "cat", text(&secret)];
    let neither = ["verify", text(&data)];
    let said = |args: &[&str], variables: &[(&str, &str)]| {
        let mut called = Command::new(env!("CARGO_BIN_EXE_jeton"));
        let ended = called.args(args).envs(variables.iter().copied()).output().expect("runs");
        String::from_utf8(ended.stderr).expect("text")
    };
    for (args, variables) in [
        (&by_file[..], &[(program, "cat x"), (wait, "2m")][..]),
        (&by_program[..], &[(file, "no-such-file"), (wait, "2m")][..]),
        (&neither[..], &[(wait, "2m")][..]),
        (&by_file[..], &[(program, "")][..]),
        (&by_program[..], &[(file, "")][..]),
    ] {
        let said = said(args, variables);
        assert!(said.contains("No such file or directory") && !said.contains("secret"), "{said}");
    }
    let both = said(&neither, &[(program, "cat x"), (file, text(&secret))]);
    assert!(both.contains("(JETON_SECRET_COMMAND) cannot be used with"), "{both}");
}

#[test]
fn where_the_secret_is_from_is_stated() {
    let programs = Programs::new();
    let beside = Launch::on(&programs.path("beside")).start();
    assert_eq!(origin(&beside), "data-dir");
    assert!(beside.stderr().contains("the secret lies beside the data"));
    let secret = programs.path("secret.key");
    let made = run_jeton(&["secret", "new", "--out", text(&secret)]);
    assert!(made.status.success() && made.stdout.is_empty());
    let found = fs::metadata(&secret).expect("made");
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (32, 0o600));
    assert!(!run_jeton(&["secret", "new", "--out", text(&secret)]).status.success(), "it exists");
    let file = Launch::on(&programs.path("file")).flag("--secret-file", text(&secret)).start();
    assert_eq!(origin(&file), "file");
    assert!(!file.stderr().contains("beside the data"));
    let memory = Launch::on(&programs.path("none")).switch("--memory-only").start();
    assert_eq!(origin(&memory), "memory");
}

/// A program that is missing, slow, chatty, killed or wrong: the server does not start, says why,
/// and leaves nothing of it running. A mistake has the exit code 2, so that nobody tries again.
#[test]
fn p8_a_program_that_misbehaves_stops_the_start() {
    let programs = Programs::new();
    let pid = programs.path("pid");
    for (name, script, code, said) in [
        ("short", "printf 0123456789", 2, "printed 10 bytes"),
        ("chatty", "yes", 2, "printed more than 128 bytes"),
        ("fails", "exit 2", 1, "it failed: exit status: 2 (tries=1, --secret-wait 0s)"),
        ("killed", "kill -9 $$", 1, "signal: 9"),
        // Its child is what takes long.
        ("slow", "sleep 600 & echo $! > PID; wait", 1, "did not end within 10 s, and was killed"),
    ] {
        let program = programs.script(name, &script.replace("PID", text(&pid)));
        let refused = programs.launch(&program).try_start().err().expect("refused");
        assert_eq!(refused.status.code(), Some(code), "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains(said), "{name}: {}", refused.stderr);
        assert!(!programs.path("data").exists(), "{name}: nothing was made");
    }
    let left = fs::read_to_string(&pid).expect("it was started");
    crate::support::eventually("the child of the program is gone", || is_gone(&left));
    let refused = programs.launch(&programs.path("missing")).try_start().err().expect("refused");
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("can't be started: No such file"), "{}", refused.stderr);
    let both = programs.launch(&programs.secret("good")).flag("--secret-file", "secret.key");
    let refused = both.try_start().err().expect("refused");
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("--secret-command cannot be used with --secret-file"));
}

/// A signal during the start ends the program as well.
#[test]
fn p8_a_stopped_start_leaves_no_program_running() {
    let programs = Programs::new();
    let pid = programs.path("pid");
    let slow = programs
        .script("slow", &format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 600", text(&pid)));
    let mut server = programs.launch(&slow).spawn();
    crate::support::eventually("the program runs", || pid.exists());
    let program = fs::read_to_string(&pid).expect("its id");
    let kill = Command::new("kill").arg(server.id().to_string()).status();
    assert!(kill.expect("kill").success());
    assert_eq!(server.wait().expect("it ends").code(), Some(0), "a stop is no failure");
    assert!(is_gone(&program));
}

/// A signal to another command as well.
#[test]
fn p8_a_stopped_command_leaves_no_program_running() {
    let programs = Programs::new();
    let pid = programs.path("pid");
    let slow = programs
        .script("slow", &format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 600", text(&pid)));
    for signal in ["INT", "TERM"] {
        let _ = fs::remove_file(&pid);
        let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
        command.args(["audit", "public-key", FLAG, text(&slow)]);
        let mut command =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
        crate::support::eventually("the program runs", || pid.exists());
        let kill = Command::new("kill").args(["-s", signal, &command.id().to_string()]).status();
        assert!(kill.expect("kill").success());
        assert_eq!(command.wait().expect("it ends").code(), Some(1), "SIG{signal}");
        assert!(is_gone(&fs::read_to_string(&pid).expect("its id")));
    }
}

/// It would be ignored silently.
#[test]
fn a_wait_needs_a_program() {
    let programs = Programs::new();
    let data = programs.path("data");
    for command in [&["serve", "--data-dir"][..], &["verify"]] {
        let refused = run_jeton(&[command, &[text(&data), WAIT, "1s"]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("--secret-wait needs --secret-command"), "{said}");
    }
}

/// Whether a process has ended.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// A program of somebody else gets no variable of jeton, and nothing to read.
#[test]
fn p9_the_program_gets_no_variable_of_jeton() {
    let programs = Programs::new();
    let seen = programs.path("seen");
    let script = "{ env | grep ^JETON_; cat; } > SEEN; printf 01234567890123456789012345678901";
    let program = programs.script("curious", &script.replace("SEEN", text(&seen)));
    let server = programs.launch(&program).env("JETON_MAX_TTL", "7d").start();
    server.stop_well();
    assert_eq!(fs::read_to_string(&seen).expect("it ran"), "");
}

/// Every command that needs the secret takes a program.
#[test]
fn export_and_restore_take_a_program_too() {
    let programs = Programs::new();
    let program = programs.secret("good");
    let server = programs.launch(&program).start();
    let token = Client::of(&server).issued(r#"{"payload":7}"#).token;
    let backup = programs.path("backup");
    let admin = format!("http://{}", server.admin);
    assert!(run_jeton(&["backup", text(&backup), "--server", &admin]).status.success());
    server.stop_well();
    let (copy, data) = (programs.path("copy.key"), programs.path("data"));
    let export = ["secret", "export", "--data", text(&data), "--out", text(&copy)];
    assert!(!run_jeton(&export).status.success(), "it is not beside the data");
    assert!(run_jeton(&[&export[..], &[FLAG, text(&program)]].concat()).status.success());
    assert_eq!(fs::read(&copy).expect("exported").len(), 32);
    let restored = programs.path("restored");
    let restore = ["restore", text(&backup), "--data", text(&restored)];
    let without = run_jeton(&restore);
    assert_eq!(without.status.code(), Some(2), "{}", String::from_utf8_lossy(&without.stderr));
    let done = run_jeton(&[&restore[..], &[FLAG, text(&program)]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!restored.join("secret.key").exists());
    let with_file = ["--secret-file", text(&copy)];
    let again = programs.path("again");
    let done =
        run_jeton(&[&["restore", text(&backup), "--data", text(&again)], &with_file[..]].concat());
    assert!(done.status.success() && !again.join("secret.key").exists(), "it stays elsewhere");
    // All the others that read the log or the audit log.
    for words in [
        &["verify", text(&data)][..],
        &["backup", "verify", text(&backup)],
        &["audit", "public-key"],
    ] {
        let done = run_jeton(&[words, &[FLAG, text(&program)]].concat());
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words:?}: {said}");
    }
    // It has read the log.
    let shifted = programs.path("shifted");
    let shift = ["shift-time", text(&data), "--data", text(&shifted)];
    let done = run_jeton(&[&shift[..], &[FLAG, text(&program)]].concat());
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("times can only be shifted back"), "{said}");
    let server = Launch::on(&restored).flag("--secret-file", text(&copy)).start();
    assert_eq!(Client::of(&server).resolve(&token).text(), "7");
}
