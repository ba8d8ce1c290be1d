//! The samples of the documentation, as far as their programs are here.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Programs, WAIT, origin, text};
use crate::access::run_jeton;
use crate::client::Client;
use crate::server::Launch;
use crate::support::not_run;

const PAGE: &str = include_str!("../../../docs/src/security/secret.md");

fn has(program: &str) -> bool {
    let find = format!("command -v {program} > /dev/null");
    Command::new("sh").args(["-c", &find]).status().is_ok_and(|status| status.success())
}

/// A line of the page, with the paths of this test.
fn sample(line: &str, paths: &[(&str, &Path)]) -> String {
    assert!(PAGE.contains(line), "the page has another command than: {line}");
    paths.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, text(to)))
}

fn shell(line: &str) -> bool {
    shell_with(line, &[])
}

fn shell_with(line: &str, variables: &[(&str, String)]) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).envs(variables.iter().map(|(name, value)| (name, value)));
    let done = shell.stdin(Stdio::null()).output().expect("it runs");
    if !done.status.success() {
        let _ = write!(std::io::stderr(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    done.status.success()
}

#[test]
fn the_sample_with_age_works() {
    if !has("age") {
        return not_run("the sample with age", "age is not on the PATH");
    }
    let programs = Programs::new();
    let (key, sealed) = (programs.path("age.key"), programs.path("secret.age"));
    let paths = [("/etc/jeton/age.key", &*key), ("/etc/jeton/secret.age", &*sealed)];
    assert!(shell(&sample("age-keygen -o /etc/jeton/age.key", &paths)));
    let seal = "age -r \"$(age-keygen -y /etc/jeton/age.key)\" -o /etc/jeton/secret.age";
    let jeton = env!("CARGO_BIN_EXE_jeton");
    assert!(shell(&format!("{jeton} secret new | {}", sample(seal, &paths))));
    let open = sample("age --decrypt -i /etc/jeton/age.key /etc/jeton/secret.age", &paths);
    let server = Launch::on(&programs.path("data")).env("JETON_SECRET_COMMAND", &open).start();
    assert_eq!(origin(&server), "command");
}

#[test]
fn the_sample_with_a_systemd_credential_works() {
    let programs = Programs::new();
    let (secret, sealed) = (programs.path("secret.key"), programs.path("jeton.cred"));
    assert!(run_jeton(&["secret", "new", "--out", text(&secret)]).status.success());
    let paths = [("secret.key", &*secret), ("/etc/jeton/jeton.cred", &*sealed)];
    let seal = "systemd-creds encrypt --name=jeton secret.key /etc/jeton/jeton.cred";
    let seal = sample(seal, &paths);
    if !has("systemd-creds") || !shell(&seal) {
        return not_run("the sample with a systemd credential", "systemd-creds makes none here");
    }
    let open = "systemd-creds decrypt --name=jeton /etc/jeton/jeton.cred -";
    let open = sample(open, &paths[1..]);
    let server = Launch::on(&programs.path("data")).env("JETON_SECRET_COMMAND", &open).start();
    assert_eq!(origin(&server), "command");
}

const SEAL_BAO: &str =
    "bao write -field=ciphertext transit/encrypt/jeton plaintext=- > /etc/jeton/secret.transit";
const OPEN_BAO: &str =
    "bao write -field=plaintext transit/decrypt/jeton ciphertext=@/etc/jeton/secret.transit";
const REWRAP_BAO: &str =
    "bao write -field=ciphertext transit/rewrap/jeton ciphertext=@/etc/jeton/secret.transit";

/// An OpenBao that keeps all in memory, with a key to wrap with.
struct Bao(Child);

impl Drop for Bao {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bao {
    /// The program and the variables of its clients.
    fn start(home: &Path) -> (Self, Vec<(&'static str, String)>) {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.expect("a free port");
        let flags = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"];
        let mut server = Command::new("bao");
        server.args(flags).arg(format!("-dev-listen-address={address}")).env("HOME", home);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        let clients = vec![
            ("BAO_ADDR", format!("http://{address}")),
            ("BAO_TOKEN", "root".to_owned()),
            ("HOME", text(home).to_owned()),
        ];
        (Self(server), clients)
    }
}

#[test]
fn the_sample_with_openbao_works() {
    if !has("bao") {
        return not_run("the sample with OpenBao", "bao is not on the PATH");
    }
    let programs = Programs::new();
    let (_bao, clients) = Bao::start(programs.0.path());
    let run = |line: &str| shell_with(line, &clients);
    crate::support::eventually("OpenBao answers", || run("bao secrets enable transit"));
    assert!(run("bao write -f transit/keys/jeton"));
    let sealed = programs.path("secret.transit");
    let paths = [("/etc/jeton/secret.transit", &*sealed)];
    let jeton = env!("CARGO_BIN_EXE_jeton");
    assert!(run(&format!("{jeton} secret new | {}", sample(SEAL_BAO, &paths))));
    let serve = || {
        let launch = Launch::on(&programs.path("data"));
        let launch = launch.env("JETON_SECRET_COMMAND", &sample(OPEN_BAO, &paths));
        let launch = clients.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        launch.flag(WAIT, "0s").start()
    };
    let server = serve();
    assert_eq!(origin(&server), "command");
    let token = Client::of(&server).issued(r#"{"payload":7}"#).token;
    server.stop_well();
    // Another outer key: no log changes.
    assert!(run("bao write -f transit/keys/jeton/rotate"));
    let new = text(&programs.path("new")).to_owned();
    let rewrap = sample(REWRAP_BAO, &paths);
    assert!(run(&format!("{rewrap} > {new} && mv {new} {}", text(&sealed))));
    assert!(run("bao write transit/keys/jeton/config min_decryption_version=2"));
    let server = serve();
    assert_eq!(Client::of(&server).resolve(&token).text(), "7");
}
