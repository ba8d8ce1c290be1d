//! TLS, keys and passwords, against a small server that counts its handshakes and against real ones.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loadtest::report::model::{Made, Report};
use loadtest::target::{self, Kind, Options, missing};
use loadtest::workload::Operation;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::fake::{Fake, HONEST};
use crate::harness::{
    BRIEF, Jeton, Out, command, jeton_bin, not_checked, reported, run, secret_file, wait_for,
};
use crate::runs::{passed, started};

/// A CA whose certificate is in a file.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    file: PathBuf,
}

impl Ca {
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two of one name would not be told apart by name.
        let name = format!("the CA in {}", folder.display());
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        let file = folder.join("ca.pem");
        std::fs::write(&file, made.pem()).expect("a file");
        Self { issuer: Issuer::new(params, key), der: made.der().clone(), file }
    }

    /// A certificate for this name, as files too.
    pub fn issue(
        &self,
        name: &str,
        is_expired: bool,
    ) -> (CertificateDer<'static>, KeyPair, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        if is_expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = self.file.with_file_name(format!("{name}.pem"));
        std::fs::write(&file, made.pem()).expect("a file");
        secret_file(&file.with_extension("key"), key.serialize_pem());
        (made.der().clone(), key, file)
    }

    /// A server with such a certificate, which resumes where it has `tickets`.
    pub fn server(&self, wanted: &Wanted) -> ServerConfig {
        let (certificate, key, _) = self.issue(wanted.name, wanted.is_expired);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(wanted.versions)
            .expect("versions");
        let builder = if wanted.asks_clients {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(vec![certificate], key).expect("a certificate");
        if wanted.tickets {
            config.ticketer = aws_lc_rs::Ticketer::new().expect("a ticketer");
        } else {
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config
    }
}

pub struct Wanted {
    pub name: &'static str,
    pub is_expired: bool,
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub tickets: bool,
    pub asks_clients: bool,
}

pub const ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
pub const ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

pub const GOOD: Wanted = Wanted {
    name: "localhost",
    is_expired: false,
    versions: &[&TLS13, &TLS12],
    tickets: true,
    asks_clients: false,
};

/// Words behind which a run goes to this server and believes this CA.
pub fn towards(words: &str, fake: &Fake, ca: &Ca) -> std::process::Command {
    let target = format!("https://localhost:{}", fake.address.port());
    let mut command = brief(words);
    command.args(["--target", &target, "--ca"]).arg(&ca.file);
    command
}

/// These words, and of the brief flags those that are not among them.
fn brief(words: &str) -> std::process::Command {
    let mut command = command(words);
    let flags = BRIEF.chunks(2).filter(|flag| !words.contains(flag[0]));
    command.args(flags.flatten());
    command
}

pub fn counts(report: &Report) -> (u64, u64) {
    let tls = report.tls.as_ref().expect("TLS was spoken");
    assert_eq!(
        tls.negotiated.iter().map(|one| one.connections).sum::<u64>(),
        tls.full + tls.resumed
    );
    (tls.full, tls.resumed)
}

#[test]
fn every_handshake_is_counted_as_the_server_counts_it() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    for (versions, version) in [(ONLY_13, "1.3"), (ONLY_12, "1.2")] {
        let fake = Fake::by_tls(HONEST, ca.server(&Wanted { versions, ..GOOD }));
        let words = "run handshakes -c 4 -t 2 --duration 1200ms";
        let (ended, report) = reported(&mut towards(words, &fake, &ca));
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        wait_for("the server's count", || fake.handshakes() == counts(&report));
        assert_eq!(report.tls.as_ref().expect("TLS").negotiated[0].version, version);
        let [full, resumed] = &report.connections[..] else {
            panic!("two kinds: {:?}", report.connections)
        };
        assert_eq!((full.made, full.resumed), (Made::Full, 0));
        assert_eq!((resumed.made, resumed.resumed), (Made::Resumed, resumed.count));
        assert!(full.count > 0 && resumed.count > 0, "{}", ended.said());
        assert_eq!(full.count + resumed.count, report.totals.requests);
        assert_eq!(full.latency.count, full.count);
        assert!(full.handshake.p50_us <= full.latency.p50_us);
        assert!((full.time_s + resumed.time_s - report.totals.elapsed_s).abs() < 0.01);
        assert_eq!(report.totals.reconnects, 0, "what is meant is no fault");
        assert!(ended.stdout.contains("answered"), "{}", ended.said());
        // A ClientHello goes to the server.
        let hellos = 200 * report.totals.requests;
        let plain = report.tls.as_ref().expect("TLS").plain_bytes_sent;
        assert!(report.totals.bytes_sent > plain + hellos, "{}", ended.said());
    }
}

#[test]
fn one_kind_of_handshake_alone_is_all_there_is() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    for (connect, made) in [("full", Made::Full), ("resumed", Made::Resumed)] {
        let fake = Fake::by_tls(HONEST, ca.server(&GOOD));
        let words = format!("run handshakes -c 3 --connect {connect}");
        let (ended, report) = reported(&mut towards(&words, &fake, &ca));
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        wait_for("the server's count", || fake.handshakes() == counts(&report));
        assert_eq!(report.connections.len(), 1);
        assert_eq!((report.connections[0].made, report.connections[0].count), {
            (made, report.totals.requests)
        });
    }
    // Without TLS each request has a connection of its own all the same.
    let fake = Fake::start(HONEST);
    let mut plain = command("run handshakes -c 3 --connect full");
    let plain = plain.args(BRIEF).args(["--target", &format!("http://{}", fake.address)]);
    let (ended, report) = reported(plain);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(report.tls.is_none());
    assert_eq!(report.connections[0].made, Made::Plain);
    let asked = fake.answers() - report.workload.keys.population;
    // Those of the population, one to find the server, one for each request; at the end each may have
    // made one more that found its time over.
    let least = 3 + 1 + asked;
    wait_for("the server's count", || (least..=least + 3).contains(&fake.connections()));
}

#[test]
fn answers_of_many_records_are_read_whole_and_bytes_are_counted_twice() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let fake = Fake::by_tls(HONEST, ca.server(&GOOD));
    let words = "run batch -c 2 --batch-size 10 --payload-size 50000 --population 20";
    let (ended, report) = reported(&mut towards(words, &fake, &ca));
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert_eq!(report.errors, []);
    let tls = report.tls.as_ref().expect("TLS");
    assert!(tls.plain_bytes_received > report.totals.requests * 500_000 - 2_000_000);
    // Each record of at most 16 KiB has 22 bytes more.
    let more = report.totals.bytes_received as f64 / tls.plain_bytes_received as f64;
    assert!(more > 1.001 && more < 1.1, "{more}");
    assert!(report.totals.bytes_sent > tls.plain_bytes_sent);
}

#[test]
fn a_server_that_cannot_be_believed_is_refused_with_what_to_do() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let other = Out::new();
    let stranger = Ca::new(other.path());
    let check = |wanted: &Wanted, believed: &Ca, words: &str, said: &[&str]| {
        let fake = Fake::by_tls(HONEST, ca.server(wanted));
        run(&mut towards(&format!("run resolve {words}"), &fake, believed)).refused(said);
        assert_eq!(fake.answers(), 0, "nothing is asked of such a server");
    };
    check(
        &GOOD,
        &stranger,
        "",
        &["https://localhost", "a CA that is not trusted here", "--ca FILE"],
    );
    let expired = Wanted { is_expired: true, ..GOOD };
    check(&expired, &ca, "", &["has expired", "renewed"]);
    let elsewhere = Wanted { name: "shop.example", ..GOOD };
    check(&elsewhere, &ca, "", &["for another name", "shop.example"]);
    check(&GOOD, &ca, "--http 2", &["does not speak HTTP/2"]);
    let asks = Wanted { asks_clients: true, ..GOOD };
    check(&asks, &ca, "", &["asks for a client's certificate", "--cert FILE and --key FILE"]);
    let asks12 = Wanted { versions: ONLY_12, ..asks };
    check(&asks12, &ca, "", &["asks for a client's certificate"]);
    // A port that speaks no TLS.
    let plain = Fake::start(HONEST);
    run(&mut towards("run resolve", &plain, &ca)).refused(&["TLS", "http"]);
}

#[test]
fn a_clients_certificate_is_shown_where_it_is_asked_for() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let asks = Wanted { asks_clients: true, ..GOOD };
    let other = Out::new();
    let stranger = Ca::new(other.path());
    for (signer, is_let_in) in [(&ca, true), (&stranger, false)] {
        let (_, _, cert) = signer.issue("me", false);
        let fake = Fake::by_tls(HONEST, ca.server(&asks));
        let mut command = towards("run resolve -c 2", &fake, &ca);
        command.arg("--cert").arg(&cert).arg("--key").arg(cert.with_extension("key"));
        if is_let_in {
            let (ended, report) = reported(&mut command);
            assert_eq!((ended.code, counts(&report)), (Some(0), (2, 0)), "{}", ended.said());
        } else {
            run(&mut command).refused(&["does not accept the certificate of --cert"]);
        }
    }
    let (_, _, cert) = ca.issue("me", false);
    let fake = Fake::by_tls(HONEST, ca.server(&asks));
    // The two in each other's place.
    let mut command = towards("run resolve", &fake, &ca);
    command.arg("--key").arg(&cert).arg("--cert").arg(cert.with_extension("key"));
    run(&mut command).refused(&["--cert"]);
}

#[test]
fn a_port_that_speaks_tls_is_named_where_http_is_asked() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let fake = Fake::by_tls(HONEST, ca.server(&GOOD));
    let target = format!("http://{}", fake.address);
    let ended = run(brief("run resolve -c 2 --timeout 1s").args(["--target", &target]));
    ended.refused(&[&target, "this port speaks TLS"]);
}

/// A jeton with TLS and keys is made for the run; what it costs to shake hands is in the report.
#[test]
fn a_jeton_with_tls_and_keys_is_started_asked_and_gone() {
    for http in ["1.1", "2"] {
        let out = Out::new();
        let words = format!("run handshakes --tls --with-key --http {http} -c 4");
        let mut command = started(&words, &out);
        let ended = run(&mut command);
        let report = out.report();
        passed(&ended, &report);
        let tls = report.tls.as_ref().expect("TLS");
        let agreed = &tls.negotiated[0];
        let alpn = if http == "2" { "h2" } else { "http/1.1" };
        assert_eq!((agreed.version.as_str(), agreed.alpn.as_deref()), ("1.3", Some(alpn)));
        assert!(report.connections.iter().all(|one| one.server_cpu_us.is_some()));
        assert_eq!(report.connections[1].resumed, report.connections[1].count);
        assert!(report.target.config.is_some(), "it is asked by TLS and with a key too");
        assert!(out.page().contains(&agreed.cipher) && out.page().contains("answered p50"));
        assert!(ended.stdout.contains(&agreed.cipher), "{}", ended.said());
    }
}

/// A new key of a keys file, in a file of its own and as text.
fn add_key(keys: &Path, words: &str, file: &Path) -> String {
    let mut add = std::process::Command::new(jeton_bin());
    add.args(["keys", "add"]).args(words.split(' ')).arg("--keys").arg(keys);
    let key = add.output().expect("jeton starts").stdout;
    secret_file(file, &key);
    String::from_utf8(key).expect("a key is ASCII").trim().to_owned()
}

/// Its admin listener asks for TLS too, and for another key than tokens do.
#[test]
fn p9_the_configuration_is_asked_by_tls_with_a_key_that_is_nowhere() {
    let folder = Out::new();
    let at = |name: &str| folder.path().join(name);
    let ca = Ca::new(folder.path());
    let (_, _, cert) = ca.issue("127.0.0.1", false);
    let data_key = add_key(&at("keys.toml"), "--scope issue,resolve,revoke", &at("data"));
    let admin_key = add_key(&at("keys.toml"), "--namespace * --scope admin", &at("admin"));
    let (keys, private) = (at("keys.toml"), cert.with_extension("key"));
    let more = [
        OsStr::new("--tls-cert"),
        cert.as_os_str(),
        OsStr::new("--tls-key"),
        private.as_os_str(),
        OsStr::new("--keys"),
        keys.as_os_str(),
    ];
    let jeton = Jeton::start_with(&more, "https://");
    let asked = || {
        let mut asked = brief(&format!("run resolve -c 2 --target https://{}", jeton.data));
        asked.args(["--server-admin", &jeton.admin.to_string(), "--ca"]).arg(&ca.file);
        asked.arg("--key-file").arg(at("data"));
        asked
    };
    run(&mut asked()).refused(&["--server-admin-key-file", "the scope admin (401)", "https://"]);
    let out = Out::new();
    let mut with_key = asked();
    with_key.arg("--server-admin-key-file").arg(at("admin"));
    let ended = run(with_key.arg("--out").arg(out.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let config = out.report().target.config.expect("it states it");
    assert_eq!(config.get("memory-only").map(String::as_str), Some("true"), "{config:?}");
    let json = std::fs::read_to_string(out.path().join("report.json")).expect("a report");
    for key in [data_key, admin_key] {
        assert!(
            key.len() > 20
                && ![ended.said(), out.page(), json.clone()].iter().any(|text| text.contains(&key))
        );
    }
}

#[test]
fn a_key_without_the_scope_is_named_and_not_shown() {
    let folder = Out::new();
    let (keys, key_file) = (folder.path().join("keys.toml"), folder.path().join("key"));
    let key = add_key(&keys, "--scope resolve", &key_file);
    let out = Out::new();
    let mut command = started("run resolve", &out);
    command.args(["--server-arg", "--keys", "--server-arg"]).arg(&keys);
    let ended = run(command.arg("--key-file").arg(&key_file));
    ended.refused(&["(403)", "needs the scopes"]);
    assert!(!key.is_empty() && !ended.said().contains(&key), "P9");
}

#[test]
fn p9_a_redis_with_tls_and_a_password_is_asked_and_the_password_is_nowhere() {
    for kind in [Kind::Redis, Kind::Valkey] {
        if let Some(why) = missing(kind) {
            not_checked("TLS and AUTH", &why);
            continue;
        }
        for tls in [false, true] {
            check_store(kind, tls);
        }
    }
}

fn check_store(kind: Kind, tls: bool) {
    let scratch = Out::new();
    let options = Options {
        with_key: true,
        tls,
        durable: false,
        scratch: Some(scratch.path().to_owned()),
        ..Options::default()
    };
    let server = match target::start(kind, &options) {
        Ok(server) => server,
        Err(failure) if tls && failure.to_string().contains("tls") => {
            return not_checked("a store with TLS", "it was built without");
        }
        Err(failure) => panic!("{failure}"),
    };
    assert!(server.report().config.is_some(), "it says how it is configured");
    let password = server.access().credentials.as_ref().expect("a password").password.text();
    let folder = Out::new();
    let file = folder.path().join("auth");
    let scheme = if tls { "rediss" } else { "redis" };
    let target = format!("{scheme}://{}", server.address());
    let made = std::fs::read_dir(scratch.path()).expect("a folder").flatten().next();
    let certificate = made.expect("its folder").path().join("cert.pem");
    let words = |words: &str| {
        let mut command = command(words);
        command.args(BRIEF).args(["--target", &target, "-c", "2"]);
        if tls {
            command.arg("--ca").arg(&certificate);
        }
        command
    };
    run(&mut words("run resolve")).refused(&[&target, "NOAUTH", "--auth-file FILE"]);
    for text in [format!("{password}x"), format!("nobody\n{password}")] {
        secret_file(&file, &text);
        let ended = run(words("run resolve").arg("--auth-file").arg(&file));
        ended.refused(&[&target, "WRONGPASS"]);
        assert!(!ended.said().contains(password), "P9");
    }
    for text in [password.to_owned(), format!("default\n{password}\n")] {
        secret_file(&file, &text);
        let out = Out::new();
        let mut command = words("run checkout --ramp 0s --rate none");
        command.arg("--auth-file").arg(&file).arg("--out").arg(out.path());
        let ended = run(&mut command);
        let report = out.report();
        passed(&ended, &report);
        assert!(report.operations.iter().any(|one| one.operation == Operation::Consume));
        assert_eq!(report.tls.is_some(), tls);
        assert!(report.target.config.is_some() && report.target.version.is_some());
        let json = std::fs::read_to_string(out.path().join("report.json")).expect("a report");
        for text in [&json, &out.page(), &ended.stdout, &ended.stderr] {
            assert!(!text.contains(password), "P9: the password is shown");
        }
    }
    if tls {
        // The same port without TLS, and connections for each request by TLS.
        let plain = target.replace("rediss", "redis");
        let mut command = command("run resolve");
        let ended = run(command.args(BRIEF).args(["--target", &plain]));
        ended.refused(&[&plain, &format!("give --target {target}")]);
        let (ended, report) = reported(words("run handshakes").arg("--auth-file").arg(&file));
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        assert_eq!(report.connections.len(), 2, "{}", ended.said());
    }
    server.stop().expect("it ends in order");
}

#[test]
fn a_redis_without_a_password_says_that_none_is_needed() {
    let kind = Kind::Redis;
    if let Some(why) = missing(kind) {
        return not_checked("AUTH", &why);
    }
    let folder = Out::new();
    let file = folder.path().join("auth");
    let options = Options { durable: false, ..Options::default() };
    let open = target::start(kind, &options).expect("it starts");
    // With a user Redis takes any password where it has none.
    secret_file(&file, "hunter2");
    let target = format!("redis://{}", open.address());
    let mut command = command("run resolve");
    command.args(BRIEF).args(["--target", &target, "--auth-file"]).arg(&file);
    run(&mut command).refused(&["has no password", "leave it out"]);
}
