//! Exit codes: 0 success; 1 not found, refused or damaged; 2 a mistake in the call; 3 no answer, or
//! an output that cannot be written (tested in `output`). A server that cannot start: 2 for its
//! configuration, otherwise 1.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::client::Client;
use crate::server::{Launch, Server, jeton, output};
use crate::support::{files_under, not_run};

#[track_caller]
fn ends(code: i32, arguments: &[&str]) -> String {
    let output = output(jeton().args(arguments));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// A server that answers every request with this status and no more.
fn answering(status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let _ = socket.read(&mut [0; 4096]);
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        let _ = socket.write_all(answer.as_bytes());
    });
    url
}

#[test]
fn a_refusal_ends_by_its_status() {
    for (status, code) in [
        (401, 1),
        (403, 1),
        (404, 1),
        (409, 1),
        (400, 2),
        (413, 2),
        (415, 2),
        (422, 2),
        (408, 3),
        (429, 3),
        (500, 3),
        (503, 3),
        (507, 3),
    ] {
        let token = "A".repeat(32);
        ends(code, &["issue", "1", "--server", &answering(status)]);
        ends(code, &["consume", &token, "--server", &answering(status)]);
        ends(code, &["status", &token, "--server", &answering(status)]);
    }
}

#[test]
fn a_status_of_a_cluster_ends_by_what_the_node_said() {
    for (status, code) in [(401, 1), (403, 1), (404, 2), (503, 3)] {
        ends(code, &["cluster", "status", "--server", &answering(status)]);
    }
    ends(2, &["cluster", "status", "--node", "n1"]);
    ends(2, &["cluster", "status", "--after-epoch", "1"]);
}

#[test]
fn no_answer_is_3() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", taken.local_addr().expect("its address"));
    drop(taken);
    let token = "A".repeat(32);
    let dir = tempfile::tempdir().expect("a folder");
    let backup = dir.path().join("backup");
    let backup = backup.to_str().expect("UTF-8");
    for command in [
        &["issue", "1"][..],
        &["resolve", &token],
        &["consume", &token],
        &["revoke", &token],
        &["status", &token],
        &["backup", backup],
    ] {
        ends(3, &[command, &["--server", &url]].concat());
    }
    ends(3, &["issue", "1", "--server", "http://no-such-host.invalid:1"]);
}

#[test]
fn lists_are_1_where_any_place_is_empty() {
    let server = Server::shared();
    let url = format!("http://{}", server.data);
    let one = Client::of(&server).issued(r#"{"payload":1,"uses":9}"#).token;
    let (one, unknown) = (one.as_str(), &*"A".repeat(32));
    for command in ["resolve", "consume", "status"] {
        ends(0, &[command, one, one, "--server", &url]);
        ends(1, &[command, one, unknown, "--server", &url]);
        ends(1, &[command, unknown, "--server", &url]);
    }
    ends(0, &["revoke", one, unknown, "--server", &url]);
}

#[test]
fn mistakes_in_the_call_are_2() {
    let server = Server::shared();
    let url = format!("http://{}", server.data);
    let token = "A".repeat(32);
    for arguments in [
        &["issue", "{"][..],
        &["issue", "1", "--ttl", "31d"],
        &["issue", "1", "--uses", "0"],
        &["issue", "1", "--key-file", "/no/such/file"],
        &["issue", "1", "--idempotency-key", "a\nb"],
        &["resolve"],
        &["resolve", "short"],
        &["status", "short"],
        &["status", &token, "--ca", "/no/such/file"],
    ] {
        ends(2, &[arguments, &["--server", &url]].concat());
    }
    for arguments in [
        &["issue", "1", "--server", "ftp://x"][..],
        &["no-such-command"],
        &["resolve", "--no-such-flag"],
        &["keys", "list", "--keys", "/no/such/file"],
        &["keys", "add", "--keys", "/no/such/folder/keys", "--scope", "issue"],
        &["config", "check", "/no/such/file"],
        &["backup", "verify", "/no/such/folder"],
        &["verify", "/no/such/folder"],
        &["verify", "/dev/null"],
    ] {
        ends(2, arguments);
    }
}

#[test]
fn verify_makes_no_file_and_an_empty_folder_is_no_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let (empty, log) = (dir.path().join("empty"), dir.path().join("log"));
    std::fs::create_dir(&empty).expect("a folder");
    let said = ends(2, &["verify", empty.to_str().expect("UTF-8")]);
    assert!(said.contains("contains no log"), "{said}");
    assert_eq!(files_under(&empty), [""; 0].map(Path::new), "nothing is made");
    let server = Launch::on(&log).start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    let path = log.to_str().expect("UTF-8");
    let said = ends(1, &["verify", path]);
    assert!(said.contains("in use"), "{said}");
    server.stop_well();
    // Like a copy on a read-only medium, without its lock.
    std::fs::remove_file(log.join("lock")).expect("removed");
    std::fs::remove_file(log.join("secret.key")).expect("removed");
    let files = files_under(&log);
    ends(0, &["verify", path]);
    assert_eq!(files_under(&log), files, "nothing is made");
}

#[test]
fn verify_reads_a_folder_that_cannot_be_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    Launch::on(&log).start().stop_well();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours");
    };
    // Another user, who may read everything and write nothing.
    for file in files_under(&log) {
        mode(&file, 0o444);
    }
    mode(&log, 0o555);
    mode(dir.path(), 0o755);
    let mut verify = std::process::Command::new("setpriv");
    verify.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    verify.arg(env!("CARGO_BIN_EXE_jeton")).arg("verify").arg(&log);
    let output = verify.output();
    mode(&log, 0o755);
    match output {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("setpriv: ") => {
            not_run("verify by another user", "this process may not become another user");
        }
        Ok(output) => assert_eq!(output.status.code(), Some(0), "{output:?}"),
        Err(_) => not_run("verify by another user", "there is no setpriv"),
    }
}

#[test]
fn a_server_that_cannot_start_is_2_for_its_configuration_and_1_for_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let code = |launch: &Launch| {
        let refused = launch.try_start().err().expect("it does not start");
        assert!(refused.stderr.starts_with("error: ") || refused.stderr.contains("\nerror: "));
        (refused.status.code().expect("it ended by itself"), refused.stderr)
    };
    let launch = || Launch::on(&data);
    for wrong in [
        launch().flag("--max-ttl", "soon"),
        launch().flag("--config", "/no/such/file"),
        launch().flag("--keys", "/no/such/file"),
        launch().flag("--secret-file", "/no/such/file"),
        launch().flag("--tls-cert", "/no/such/file").flag("--tls-key", "/no/such/file"),
        launch().flag("--audit", "/no/such/folder/audit.log"),
        launch().flag("--audit", "/dev/null"),
        launch().flag("--data-dir", "/dev/null"),
    ] {
        let (code, said) = code(&wrong);
        assert_eq!(code, 2, "{said}");
    }
    let server = launch().start();
    let busy = server.data.to_string();
    for busy in [launch(), Launch::on(&dir.path().join("other")).flag("--listen", &busy)] {
        let (code, said) = code(&busy);
        assert_eq!(code, 1, "{said}");
    }
    server.stop_well();
    let segment = files_under(&data).into_iter().find(|file| file.ends_with("secret.key"));
    std::fs::remove_file(segment.expect("a secret")).expect("removed");
    let (code, said) = code(&launch());
    assert_eq!(code, 1, "{said}");
}
