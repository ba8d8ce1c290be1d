//! How connections end, and how many there may be.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::Signal;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::peer::{PATIENCE, Peer, command};
use crate::client::{Client, expect};
use crate::pki::{Ca, Files};
use crate::resp_data::redis::Jeton;
use crate::server::{Launch, Server};
use crate::support::eventually;

#[test]
fn a_pipeline_is_answered_to_a_client_that_has_ended_its_side() {
    let jeton = Jeton::start();
    let mut peer = Peer::open(jeton.address);
    let mut pipeline = Vec::new();
    for n in 0..500 {
        pipeline.extend(command(&["SET", &format!("k{n}"), &n.to_string()]));
        pipeline.extend(command(&["GET", &format!("k{n}")]));
    }
    peer.send(&pipeline);
    peer.finish();
    let answer = |n: i32| format!("+OK\r\n${}\r\n{n}\r\n", n.to_string().len());
    let expected: String = (0..500).map(answer).collect();
    assert_eq!(String::from_utf8(peer.rest()).expect("text"), expected);
}

#[test]
fn quit_is_the_last_command_of_a_pipeline() {
    let jeton = Jeton::start();
    let mut peer = Peer::open(jeton.address);
    let commands = [command(&["SET", "a", "1"]), command(&["QUIT"]), command(&["SET", "b", "1"])];
    peer.send(&commands.concat());
    assert_eq!(peer.rest(), b"+OK\r\n+OK\r\n");
    let mut wire = jeton.wire();
    assert_eq!(wire.say("EXISTS a b"), ":1\\r\\n");
}

#[test]
fn p1_a_stop_answers_what_has_arrived_and_keeps_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = Launch::on(dir.path()).flag("--resp-listen", "127.0.0.1:0");
    let jeton = Jeton::of(launch.start());
    let mut peer = Peer::open(jeton.address);
    let pipeline: Vec<u8> =
        (0..2_000).flat_map(|n| command(&["SET", &format!("k{n}"), "1"])).collect();
    let mut idle = Peer::open(jeton.address);
    idle.send(b"PING\r\n");
    assert_eq!(idle.until(b"+PONG\r\n"), b"+PONG\r\n");
    peer.send(&pipeline);
    let (status, said) = jeton.server.stop(Signal::TERM);
    assert!(status.success(), "{said}");
    let answers = String::from_utf8(peer.ends()).expect("text");
    let acknowledged = answers.matches("+OK\r\n").count();
    assert_eq!(answers.len(), 5 * acknowledged, "nothing but whole answers");
    idle.ends();
    let jeton = Jeton::of(launch.start());
    let mut wire = jeton.wire();
    for n in (0..acknowledged).step_by(97) {
        assert_eq!(wire.say(&format!("GET k{n}")), "$1\\r\\n1\\r\\n", "k{n} of {acknowledged}");
    }
}

#[test]
fn p8_places_for_connections_hold_over_both_protocols() {
    let jeton = Jeton::start_with(|launch| launch.flag("--max-connections", "3"));
    let (mut one, mut two) = (jeton.wire(), jeton.wire());
    assert_eq!((one.say("PING"), two.say("PING")), ("+PONG\\r\\n".into(), "+PONG\\r\\n".into()));
    let mut http = Client::of(&jeton.server);
    expect(&http.send("GET", "/v1/nothing", &[], ""), 404);
    let mut fourth = Peer::open(jeton.address);
    assert_eq!(fourth.ends(), b"-ERR max number of clients reached\r\n");
    drop(http);
    eventually("there is a place again", || {
        Peer::open(jeton.address).0.write_all(b"PING\r\n").is_ok() && {
            let mut peer = Peer::open(jeton.address);
            let _ = peer.0.write_all(b"PING\r\nQUIT\r\n");
            peer.ends().starts_with(b"+PONG")
        }
    });
    assert_eq!(one.say("PING"), "+PONG\\r\\n", "those that were there stay");
}

#[test]
fn the_protocol_is_spoken_on_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("resp.sock");
    let address = format!("unix:{}", path.display());
    let server = Server::fresh_with(|launch| launch.flag("--resp-listen", &address));
    assert!(server.stdout().contains(&format!(" resp={address}")), "{}", server.stdout());
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.write_all(b"SET a 1\r\nGET a\r\nCLIENT INFO\r\nQUIT\r\n").expect("sends");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("answers");
    assert!(answers.starts_with("+OK\r\n$1\r\n1\r\n$"), "{answers}");
    assert!(answers.contains(" laddr= ") && answers.ends_with("\r\n+OK\r\n"), "{answers}");
}

#[test]
fn the_protocol_is_spoken_over_tls() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = Ca::new("test authority");
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let launch = Launch::on(&dir.path().join("data"))
        .flag("--tls-cert", files.cert.to_str().expect("UTF-8"))
        .flag("--tls-key", files.key.to_str().expect("UTF-8"))
        .flag("--resp-listen", "127.0.0.1:0");
    let server = launch.start();
    let ready = server.stdout();
    let (_, after) = ready.split_once(" resp=rediss://").expect("the scheme says TLS");
    let address: SocketAddr = after.split(' ').next().expect("it").parse().expect("an address");
    let session = ClientConnection::new(ca.client().config(), ServerName::from(address.ip()));
    let mut stream = StreamOwned::new(session.expect("a session"), Peer::open(address).0);
    let value = "v".repeat(50_000);
    let set = command(&["SET", "a", &value]);
    let gets = command(&["GET", "a"]).repeat(20);
    stream.write_all(&[set, gets, command(&["QUIT"])].concat()).expect("sends");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("answers, and an end");
    let expected = format!("+OK\r\n{}+OK\r\n", format!("$50000\r\n{value}\r\n").repeat(20));
    assert!(answers == expected.as_bytes(), "{} bytes", answers.len());
    let mut plain = Peer::open(address);
    plain.send(b"PING\r\n");
    let told = String::from_utf8(plain.ends()).expect("text");
    assert!(told.starts_with('-') && told.contains("TLS"), "{told}");
}

#[test]
fn without_the_flag_nothing_listens() {
    let server = Server::fresh();
    assert!(!server.stdout().contains("resp="), "{}", server.stdout());
}

#[test]
fn p8_an_idle_connection_stays_until_its_own_limit() {
    let flags = [("--idle-timeout", "500ms"), ("--resp-idle-timeout", "3s")];
    let jeton = Jeton::start_with(|launch| {
        flags.iter().fold(launch, |launch, (name, value)| launch.flag(name, value))
    });
    let mut silent = Peer::open(jeton.address);
    let mut pooled = Peer::open(jeton.address);
    let mut ping = || {
        pooled.send(b"PING\r\n");
        assert_eq!(pooled.until(b"+PONG\r\n"), b"+PONG\r\n");
    };
    ping();
    assert!(silent.ends().is_empty(), "one that says nothing ends as over HTTP");
    std::thread::sleep(Duration::from_millis(500));
    ping();
    assert!(pooled.ends().is_empty());
}
