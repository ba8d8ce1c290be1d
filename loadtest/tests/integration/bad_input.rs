//! What can't be run: exit code 2, and an error that names the field or the place.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fake::{Fake, HONEST};
use crate::harness::{BRIEF, Ended, Out, command, loadtest, not_checked, run, secret_file};

/// Somebody else's server: says the same whatever it is asked, and hangs up.
fn stranger(says: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(says);
        }
    });
    address
}

fn brief(words: &str) -> Ended {
    run(command(words).args(BRIEF))
}

#[test]
fn where_no_server_is_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    for scheme in ["http", "redis", "memcached"] {
        let target = format!("{scheme}://{address}");
        let ended = brief(&format!("run resolve --mix resolve=1 --target {target}"));
        ended.refused(&[&target, "is a server running there?"]);
    }
    brief("run resolve --target http://no-such-host.invalid:1").refused(&["no-such-host.invalid"]);
}

#[test]
fn a_server_of_another_kind_is_not_measured() {
    let banner = stranger(b"220 mail.example ESMTP ready\r\n");
    let silent = stranger(b"");
    let web = stranger(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    for (address, said) in
        [(banner, "220 mail.example"), (silent, "the server closed it"), (web, "404")]
    {
        let ended = brief(&format!("run resolve --timeout 1s --target http://{address}"));
        ended.refused(&[&address.to_string(), "could be issued", said]);
    }
}

#[test]
fn an_unknown_workload_is_met_with_the_nearest() {
    loadtest("run chekout").refused(&["`chekout`", "did you mean `checkout`?"]);
    loadtest("run xyzzyxyzzy").refused(&["there are checkout, flash-sale"]);
    loadtest("list chekout").refused(&["did you mean `checkout`?"]);
    loadtest("run no-such-file.toml").refused(&["no-such-file.toml", "No such file"]);
}

#[test]
fn a_mistake_in_a_workload_file_is_named_with_its_place() {
    let folder = Out::new();
    let file = folder.path().join("mine.toml");
    let check = |text: &str, said: &[&str]| {
        std::fs::write(&file, text).expect("a file");
        let said: Vec<String> =
            said.iter().map(|part| format!("{}:{part}", file.display())).collect();
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        run(command("run").arg(&file)).refused(&said);
    };
    check(
        "[mix]\nresolve = 1\n[load]\nconections = 4\n",
        &["4:1: load.conections: no such field; did"],
    );
    check("[mix]\nresolve = 1\n[keys]\npopulation = 0\n", &["4:14: keys.population: "]);
    check("[mix]\nresolve = \"much\"\n", &["2:11: mix.resolve: "]);
    check("[mix]\nresolve = 1\nresolve = 2\n", &["3:1: syntax: "]);
    check("[mix\n", &["1:5: syntax: "]);
    check("name = \"x\"\n", &["1:1: mix: "]);
    // All of them at once.
    check(
        "[mix]\nresolve = -1\n[time]\nduration = \"0s\"\nlength = 3\n",
        &["2:11: mix.resolve: ", "4:12: time.duration: ", "5:1: time.length: "],
    );
    let mut orders = String::new();
    for number in 0..3 {
        let _ = writeln!(orders, "{{\"order\":{number}}}");
    }
    std::fs::write(folder.path().join("orders.jsonl"), orders + "{\"order\":\n").expect("a file");
    let mine = "payload.file = \"orders.jsonl\"\nmix.resolve = 1\n";
    std::fs::write(&file, mine).expect("a file");
    let fake = Fake::start(HONEST);
    let mut command = command("run");
    command.arg(&file).args(["--target", &format!("http://{}", fake.address)]);
    run(&mut command).refused(&["orders.jsonl:4:"]);
}

#[test]
fn flags_that_make_no_sense_are_named() {
    for (words, said) in [
        ("run resolve --conections 3", "--conections"),
        ("run resolve --connections 0", "--connections (load.connections)"),
        ("run resolve --connections many", "--connections"),
        ("run resolve --mix resolve=1,resolv=2", "did you mean `resolve`?"),
        ("run resolve --mix resolve=0", "mix"),
        ("run resolve --slo p99:2ms", "p99:2ms"),
        ("run resolve --slo p101=2ms", "101"),
        ("run resolve --ttl 15 --ttl 16", "--ttl"),
        ("run resolve --duration soon", "--duration"),
        ("run resolve --rate -5", "-5"),
        ("run resolve --payload-file /no/such/file --target floor", "/no/such/file"),
        ("run resolve --find-max", "--slo"),
        ("run resolve --target memcacheds://127.0.0.1:1", "scheme"),
        (
            "run resolve --target redis://me:hunter2@127.0.0.1:1",
            "redis://…@127.0.0.1:1: other users",
        ),
        ("run resolve --ca ca.pem --target http://127.0.0.1:1", "is https://127.0.0.1:1 meant?"),
        ("run resolve --ca ca.pem --tls", "makes the certificate"),
        ("run resolve --ca ca.pem", "--target https://HOST:PORT"),
        (
            "run resolve --ca /no/such.pem --target https://127.0.0.1:1",
            "--ca /no/such.pem: No such",
        ),
        ("run resolve --ca /dev/null --target https://127.0.0.1:1", "holds no certificate"),
        ("run resolve --cert c.pem --target https://127.0.0.1:1", "--key"),
        ("run resolve --cert c.pem --key k.pem", "give --tls too"),
        ("run resolve --tls --target https://127.0.0.1:1", "give --target https://127.0.0.1:1"),
        ("run resolve --tls --target memcached", "starts memcached without TLS"),
        ("run resolve --with-key --target floor", "--with-key: floor"),
        ("run resolve --with-key --target redis://127.0.0.1:1", "give --auth-file"),
        ("run resolve --with-key --key-file k", "cannot be used with"),
        ("run resolve --key-file /no/such/key", "--key-file /no/such/key: No such file"),
        ("run resolve --key-file k --target redis", "--auth-file"),
        ("run resolve --auth-file k", "--key-file"),
        ("run handshakes", "give --tls"),
        ("run handshakes --tls --find-max --slo p99=1s", "--connect once"),
        ("run handshakes --tls --rate 5", "--rate none"),
        ("run resolve --connect twice", "there are once, full"),
        ("run resolve --target ftp://127.0.0.1:1", "scheme"),
        ("run resolve --target jetn", "neither jeton, jeton-resp, floor"),
        ("run resolve --target floor --http 2", "load.http"),
        ("run resolve --server-bin /no/such/jeton", "/no/such/jeton"),
        ("run resolve --server-bin /bin/false", "exit status: 1"),
        ("run resolve --scratch /no/such/folder --target floor", "/no/such/folder"),
        ("run checkout --target memcached", "mix.consume: memcached"),
        ("run checkout --target memcached://127.0.0.1:1", "mix.consume: memcached"),
        ("run", "NAME|FILE.toml"),
        ("walk", "walk"),
        ("", "Usage"),
    ] {
        loadtest(words).refused(&[said]);
    }
}

#[test]
fn too_few_descriptors_are_noticed_before_anything_is_started() {
    let program = env!("CARGO_BIN_EXE_loadtest");
    let script =
        format!("ulimit -n 100; exec {program} run resolve --connections 90 --target floor");
    run(Command::new("sh").args(["-c", &script])).refused(&["--connections 90", "ulimit -n"]);
}

#[test]
fn a_secret_file_that_is_empty_or_open_to_all_is_refused() {
    let folder = Out::new();
    let file = folder.path().join("secret");
    for (target, flag) in [("http", "--key-file"), ("redis", "--auth-file")] {
        let check = |said: &str| {
            let mut command = command(&format!("run resolve --target {target}://127.0.0.1:1"));
            run(command.arg(flag).arg(&file)).refused(&[flag, &file.display().to_string(), said]);
        };
        secret_file(&file, "\n");
        check("is empty");
        secret_file(&file, "one\ntwo\nthree hunter2\n");
        check("blanks");
        secret_file(&file, "hunter2\n");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&file, mode).expect("a mode");
        check("mode 644): restrict it");
    }
}

/// A run that must not get as far as to start a server: there is none of this name.
fn report_into(folder: &Path) -> Ended {
    let mut command = command("run resolve --server-bin /no/such/jeton --out");
    run(command.arg(folder))
}

#[test]
fn a_report_that_has_no_place_is_refused_before_the_run() {
    let folder = Out::new();
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").expect("a file");
    for path in [file.clone(), file.join("below")] {
        report_into(&path).refused(&["cannot write the report into", &path.display().to_string()]);
    }
    assert_eq!(std::fs::read(&file).expect("still there"), b"mine");
    // Nobody, not even root, makes a folder there.
    let path = PathBuf::from("/proc/loadtest-report");
    report_into(&path).refused(&["cannot write the report into /proc/loadtest-report"]);
}

#[test]
fn a_folder_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Out::new();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).expect("a folder");
    let program = folder.path().join("loadtest");
    std::fs::copy(env!("CARGO_BIN_EXE_loadtest"), &program).expect("a copy");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    mode(folder.path(), 0o755);
    mode(&closed, 0o555);
    let mut command = Command::new(&program);
    command.args(["run", "resolve", "--target", "floor", "--out"]).arg(&closed);
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere; nobody may not.
        command.uid(65_534).gid(65_534).current_dir("/");
    }
    match command.output() {
        Err(error) => not_checked("a folder without permission", &error.to_string()),
        Ok(_) => run(&mut command).refused(&[
            "cannot write the report into",
            "closed",
            "Permission denied",
        ]),
    }
}

/// A file system of a few kilobytes; goes with the test.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Result<Self, String> {
        std::fs::create_dir(&path).expect("a folder");
        let mount = ["-t", "tmpfs", "-o", "size=8k", "loadtest-small"];
        let mounted = Command::new("mount").args(mount).arg(&path).output();
        let mounted = mounted.map_err(|error| format!("mount: {error}"))?;
        let said = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
        if mounted.status.success() { Ok(Self(path)) } else { Err(said) }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_at_the_report_is_named_and_the_table_is_there() {
    let folder = Out::new();
    let small = match Small::mount(folder.path().join("small")) {
        Ok(small) => small,
        Err(why) => return not_checked("a full disk at the report", &why),
    };
    let mut command = command("run resolve --target floor --connections 4");
    let ended = run(command.args(BRIEF).arg("--out").arg(&small.0));
    let path = small.0.join("report.json").display().to_string();
    ended.refused(&["cannot write", &path, "No space left on device"]);
    assert!(ended.stdout.contains("Throughput"), "what was measured is lost: {}", ended.said());
    let left = std::fs::read_dir(&small.0).expect("a folder").count();
    assert_eq!(left, 0, "half a report is left behind");
}
