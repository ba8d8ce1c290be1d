//! The stream is kept for a node while it copies another one's log, and never fills for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jeton::cluster::node::Node;
use jeton::engine::Outcome;
use jeton::http::admin::{Admin, Guard};
use jeton::http::{self, Limits};
use jeton::net::listen;

use crate::client::Client;
use crate::cluster::servers::within;
use crate::raw::{Conn, PATIENCE, request};
use crate::server::Server;
use crate::support::{Over, copy_folder};

use super::full::{BYTES_MAX, bytes, long_issue};
use super::lab::{Lab, await_equal, await_ready, position, report, setup};
use super::members::{join, said};
use super::simulated::{World, issue, knows, stop};

/// Callers at the same time.
const CALLERS: usize = 8;

/// Issues until the stream is filled to this percentage.
fn fill(world: &World, node: &Node, percent: usize) {
    while bytes(world) * 100 / BYTES_MAX < percent {
        let outcomes = node.engine().submit(vec![long_issue(node)]).expect("queued").wait();
        assert!(matches!(outcomes.as_deref(), Ok([Outcome::Issued { .. }])), "{outcomes:?}");
    }
}

fn first(world: &World) -> u64 {
    world.stream.messages()[0].seq
}

#[test]
fn p8_the_stream_keeps_what_a_node_needs_that_copies_another_ones_log() {
    let world = World::begun();
    world.stream.limit(Some(BYTES_MAX));
    let [one, two] = ["a", "b"].map(|name| world.start(name).expect("it starts"));
    let token = issue(&one);
    fill(&world, &one, 10);
    let hold = one.view().hold_for_join().expect("it has landed something");
    copy_folder(&world.path("a"), &world.path("new"));
    std::fs::remove_file(world.path("new").join("node.id")).expect("it has an id");
    // Above half of what it may hold the stream forgets: this much is a fifth of it.
    fill(&world, &one, 70);
    let id = one.view().node().expect("it has started");
    let held = within("the other node hears of it", || {
        let state = two.view().state().expect("open");
        let known = state.reports.get(&id).filter(|report| report.durable + 20 < report.seq);
        known.map(|report| report.durable).ok_or_else(|| format!("{:?}", state.reports))
    });
    within("it is trimmed up to there", || match first(&world) {
        found if found == held => Ok(()),
        found => Err(format!("{found}, not {held}")),
    });
    hold.copied();
    let joined = world.start("new").expect("the stream has what it needs");
    assert!(knows(&joined, &token));
    within("nothing is kept any more", || match first(&world) {
        found if found > held => Ok(()),
        found => Err(found.to_string()),
    });
    [one, two, joined].into_iter().for_each(stop);
}

#[test]
fn p8_joiners_that_fail_again_and_again_never_fill_the_stream() {
    let world = World::begun();
    world.stream.limit(Some(BYTES_MAX));
    let [one, two] = ["a", "b"].map(|name| world.start(name).expect("it starts"));
    let token = issue(&one);
    // One that reads for ever, and those that come and go, with their copies or without.
    let _reading = one.view().hold_for_join().expect("it has landed something");
    let is_over = AtomicBool::new(false);
    let come_and_go = || {
        for number in 0_u64.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let hold = two.view().hold_for_join().expect("it has landed something");
            if number.is_multiple_of(2) {
                hold.copied();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(come_and_go);
        // Twice what the stream may hold.
        for _ in 0..2 * BYTES_MAX / (60 << 10) {
            within("there is room", || {
                match one.engine().submit(vec![long_issue(&one)]).expect("queued").wait() {
                    Ok(outcomes) if matches!(outcomes[..], [Outcome::Issued { .. }]) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
        }
    });
    assert!(knows(&two, &token));
    [one, two].into_iter().for_each(stop);
}

/// The listeners of a node that runs in this process.
struct Listening {
    server: http::Server,
    admin: Admin,
    address: SocketAddr,
}

impl Listening {
    fn of(node: &Node) -> Self {
        let bind = || listen::bind(&"127.0.0.1:0".parse().expect("an address"), 1).expect("a port");
        let [data] = bind().try_into().expect("one listener");
        let [admin] = bind().try_into().expect("one listener");
        let address = admin.address().socket().expect("of TCP");
        let config = http::Config { workers: 1, ..http::Config::default() };
        let guard =
            Guard { is_guarded: false, web: config.web.clone(), proxies: config.proxies.clone() };
        let copy = data.try_clone().expect("a copy");
        let admin = Admin::start(admin, copy, guard, None, Limits::default()).expect("started");
        let server = http::Server::start(node.engine(), &config, vec![data]).expect("started");
        admin.of_cluster(node.view().clone());
        admin.serving(node.engine().clone(), server.gauges(), None);
        Self { server, admin, address }
    }

    /// Asks for the copy of a joining node, and reads so many bytes of the answer, slowly.
    fn copy(&self, len: usize) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("a connection");
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 8 << 10).expect("smaller");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        (&socket).write_all(&request("POST", "/v1/backup?for=join", &[], b"")).expect("sent");
        (&socket).read_exact(&mut vec![0; len]).expect("an answer");
        socket
    }

    fn stop(self) {
        self.server.stop().expect("stopped");
        self.admin.stop().expect("stopped");
    }
}

/// Its last pieces wait in the server when the client goes, so the node has not got all of it.
#[test]
fn p8_a_short_copy_that_breaks_off_keeps_nothing_of_the_stream() {
    let world = World::begun();
    let [one, two] = ["a", "b"].map(|name| world.start(name).expect("it starts"));
    let long_issues = |count| {
        for _ in 0..count {
            let outcomes = one.engine().submit(vec![long_issue(&one)]).expect("queued").wait();
            assert!(matches!(outcomes.as_deref(), Ok([Outcome::Issued { .. }])), "{outcomes:?}");
        }
    };
    // Shorter than the buffers of the sockets, so the server has handed over all of it at once.
    long_issues(2);
    let listening = Listening::of(&one);
    let id = one.view().node().expect("it has started");
    let says = |what, is_right: fn(u64, u64) -> bool| {
        within(what, || {
            let state = two.view().state().expect("open");
            let report = state.reports.get(&id).ok_or("no report")?;
            match is_right(report.durable, report.seq) {
                true => Ok(()),
                false => Err(format!("{report:?}")),
            }
        });
    };
    let copying = listening.copy(100);
    long_issues(40);
    says("the stream is kept", |durable, seq| durable + 20 < seq);
    drop(copying);
    says("nothing is kept any more", |durable, seq| durable + 5 > seq);
    // A whole copy keeps it after its end too.
    let mut copying = Conn::over(listening.copy(0));
    assert_eq!(copying.response().expect("the whole copy").status, 200);
    drop(copying);
    long_issues(40);
    says("the stream is kept", |durable, seq| durable + 20 < seq);
    std::thread::sleep(Duration::from_secs(2));
    says("it is still kept", |durable, seq| durable + 20 < seq);
    listening.stop();
    [one, two].into_iter().for_each(stop);
}

/// Issues this many tokens of 60 KiB from several callers, also while the stream is full for a moment.
fn write(server: &Server, count: usize) {
    let body = format!(r#"{{"payload":"{}","ttl":"1h"}}"#, "x".repeat(60 << 10));
    let write = || {
        let mut client = Client::of(server);
        for _ in 0..count / CALLERS {
            within("there is room", || match client.issue(&body) {
                issued if issued.status == 201 => Ok(()),
                other => Err(other.text().to_owned()),
            });
        }
    };
    std::thread::scope(|scope| {
        (0..CALLERS).for_each(|_| drop(scope.spawn(write)));
    });
}

#[test]
fn p8_a_node_joins_although_the_stream_has_forgotten_meanwhile() {
    let check = "join while the stream forgets";
    let dir = tempfile::tempdir().expect("a folder");
    let Some(lab) = Lab::begun_of(check, dir, setup(), "128MiB") else { return };
    let nodes = lab.start(["a", "b"]);
    nodes.iter().for_each(await_ready);
    let token = Client::of(&nodes[0]).issued(r#"{"payload":17,"ttl":"1h"}"#).token;
    write(&nodes[0], 160);
    let first = || report(&nodes[0])["stream"]["first"].as_u64().expect("a number");
    // A copy holds the stream from where its node's log is durable, so that is not to be its begin.
    within("what was written is durable", || match report(&nodes[0])["durable"].as_u64() {
        Some(20..) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Copies that no node comes from, and one that a node comes from.
    for name in ["vain", "vain as well", "new"] {
        let copied = join(&lab, &nodes[0], name, None);
        assert_eq!(copied.status.code(), Some(0), "{}", said(&copied));
    }
    let (_, has) = position(&lab.path("new"));
    // From 10 to 90 MiB: without the copies, what is before 26 MiB would be forgotten.
    write(&nodes[1], 1_360);
    within("the stream has forgotten something", || match first() {
        1 => Err(format!("{} and {}", report(&nodes[0]), report(&nodes[1]))),
        _ => Ok(()),
    });
    assert!(first() <= has + 1, "{}, and the copy ends at {has}", first());
    let [joined] = lab.start(["new"]);
    assert_eq!(Client::of(&joined).resolve(&token).status, 200);
    // From three quarters on the other copies hold nothing.
    write(&nodes[1], 480);
    within("nothing is kept any more", || match first() {
        found if found > has + 1 => Ok(()),
        found => Err(format!("{found}, and the copy ended at {has}")),
    });
    let chains = await_equal(&[&nodes[0], &nodes[1], &joined]);
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
    nodes.into_iter().chain([joined]).for_each(Server::stop_well);
}
