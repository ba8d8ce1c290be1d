//! The checkout with servers that fail: each test puts some in front of one that works.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::check_out;
use crate::client::{Client, Request};
use crate::orders::{self, Order};
use crate::platform::Platform;

fn orders() -> Vec<Order> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/orders.jsonl");
    orders::read(&path).unwrap()
}

/// A server that treats each request as `answer` says, until the connection ends.
fn fake(answer: impl Fn(&[u8], &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            thread::spawn(move || {
                let mut bytes = [0; 64 << 10];
                while let Ok(len @ 1..) = stream.read(&mut bytes) {
                    answer(&bytes[..len], &mut stream);
                }
            });
        }
    });
    address
}

/// A node that does not reach the majority of its cluster.
fn without_quorum() -> String {
    fake(|_, stream| {
        let body = r#"{"title":"Service Unavailable","detail":"no-quorum: …"}"#;
        let length = body.len();
        let head = format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    })
}

/// A node that does what it is asked, and dies before each answer.
fn dies_before_the_answer(server: &str, requests: Arc<AtomicUsize>) -> String {
    let server = server.to_owned();
    fake(move |request, stream| {
        requests.fetch_add(1, Ordering::SeqCst);
        let mut behind = TcpStream::connect(&server).unwrap();
        behind.write_all(request).unwrap();
        let _ = behind.read(&mut [0; 64 << 10]).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    })
}

fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn p2_checkout_is_right_although_servers_fail() {
    let platform = Platform::start().unwrap();
    let alive = platform.servers()[0].clone();
    let requests = Arc::new(AtomicUsize::new(0));
    let lying = dies_before_the_answer(&alive, Arc::clone(&requests));
    let servers = [dead(), without_quorum(), lying, alive];
    assert!(check_out(&orders()[..3], &servers).unwrap(), "an answer differs");
    assert!(requests.load(Ordering::SeqCst) > 10, "the failing server was hardly asked");
    platform.stop().unwrap();
}

#[test]
fn p2_consume_whose_answer_was_lost_is_repeated_under_its_key() {
    let platform = Platform::start().unwrap();
    let alive = platform.servers()[0].clone();
    let mut direct = Client::connect(std::slice::from_ref(&alive), 0).unwrap();
    let body = r#"{"payload":17}"#;
    let issue = Request { method: "POST", path: "/v1/tokens", body, key: None };
    let token = direct.send(issue).unwrap().token().unwrap();
    let path = format!("/v1/tokens/{token}/consume");
    let requests = Arc::new(AtomicUsize::new(0));
    let lying = dies_before_the_answer(&alive, Arc::clone(&requests));
    let mut client = Client::connect(&[lying, alive], 0).unwrap();
    let consume = Request { method: "POST", path: &path, key: Some("once"), ..Request::default() };
    let paid = client.send(consume).unwrap();
    assert!(paid.is(200, "17") && paid.is_repeated, "{}", paid.status);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let again = Request { key: Some("again"), ..consume };
    assert_eq!(direct.send(again).unwrap().status, 404, "it was consumed once");
    platform.stop().unwrap();
}

#[test]
fn a_single_server_gets_one_chance() {
    assert!(Client::connect(&[dead()], 0).is_err());
    let platform = Platform::running(&["ftp://h:1".to_owned()]);
    assert!(platform.is_err_and(|error| error.to_string().contains("ftp://h:1")));
    let mut client = Client::connect(&[without_quorum()], 0).unwrap();
    let request = Request { method: "GET", path: "/", ..Request::default() };
    assert_eq!(client.send(request).unwrap().status, 503);
}
