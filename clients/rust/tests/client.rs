//! What only the client itself can show, over a server that answers as each test says. The suite in
//! `clients/conformance` has the rest.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends there")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use jeton_client::{Builder, Client, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server does with a request.
#[derive(Clone, Copy)]
enum Answer {
    With(&'static str),
    Never,
}

/// What a server has seen.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(String),
    End,
}

struct Server {
    url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Server {
    /// Answers requests in this order, over any connection, and later ones as the last.
    async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, seen) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, sender.clone(), answers.clone()));
            }
        });
        Self { url, seen }
    }

    async fn next(&mut self) -> Seen {
        timeout(PATIENCE, self.seen.recv()).await.expect("in time").expect("it runs")
    }

    async fn request(&mut self) -> String {
        match self.next().await {
            Seen::Request(text) => text,
            Seen::End => panic!("the connection has ended"),
        }
    }

    fn builder(&self) -> Builder {
        Client::builder([&self.url])
    }
}

async fn serve(
    mut socket: TcpStream,
    seen: mpsc::UnboundedSender<Seen>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
) {
    let mut text = String::new();
    loop {
        let mut bytes = [0; 4096];
        let count = socket.read(&mut bytes).await.unwrap_or(0);
        if count == 0 {
            let _ = seen.send(Seen::End);
            return;
        }
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        // Each body of these tests ends with the only brace before the end of the text.
        if !text.ends_with('}') {
            continue;
        }
        let _ = seen.send(Seen::Request(std::mem::take(&mut text)));
        let answer = {
            let mut answers = answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() }
        };
        if let Some(Answer::With(body)) = answer {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            socket.write_all((head + body).as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn p2_close_ends_what_is_under_way_and_tells_the_key_of_a_change() {
    let mut server = Server::start(&[Answer::Never]).await;
    let jeton = server.builder().build().unwrap();
    let [resolve, consume] = [jeton.clone(), jeton.clone()];
    let resolve = tokio::spawn(async move { resolve.resolve(TOKEN).await });
    let consume = tokio::spawn(async move { consume.consume(TOKEN).await });
    let requests = [server.request().await, server.request().await];
    jeton.close();
    assert!(matches!(resolve.await.unwrap(), Err(Error::Closed)));
    let error = consume.await.unwrap().unwrap_err();
    let key = error.key().expect("the change was sent").as_str().to_owned();
    assert!(requests.iter().any(|request| request.contains(&key)));
    assert!(!error.to_string().contains(&key), "{error}");
    assert!(matches!(jeton.consume(TOKEN).await, Err(Error::Closed)));
    assert!(matches!(jeton.resolve(TOKEN).await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let mut server = Server::start(&[Answer::Never]).await;
    let jeton = server.builder().build().unwrap();
    let call = tokio::spawn(async move { jeton.resolve(TOKEN).await });
    server.request().await;
    call.abort();
    assert_eq!(server.next().await, Seen::End);
}

#[tokio::test]
async fn an_idle_connection_ends_at_its_age() {
    let mut server = Server::start(&[Answer::With("[1]")]).await;
    let short = Duration::from_millis(100);
    let jeton = server.builder().try_timeout(short).connection_age(3 * short).build().unwrap();
    jeton.resolve(TOKEN).await.unwrap();
    server.request().await;
    assert_eq!(server.next().await, Seen::End);
    jeton.resolve(TOKEN).await.unwrap();
}

#[tokio::test]
async fn all_who_wait_for_a_batch_end_at_their_deadline() {
    let server = Server::start(&[Answer::Never]).await;
    let jeton = server.builder().deadline(Duration::from_millis(200)).build().unwrap();
    let calls = (0..20).map(|_| {
        let jeton = jeton.clone();
        tokio::spawn(async move { jeton.resolve(TOKEN).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let ended = timeout(PATIENCE, call).await.expect("in time").unwrap();
        assert!(matches!(ended, Err(Error::Deadline)));
    }
}

#[tokio::test]
async fn callers_that_are_not_polled_keep_nobody() {
    let server = Server::start(&[Answer::With("[1]")]).await;
    let jeton = server.builder().build().unwrap();
    let mut calls: Vec<_> = (0..4).map(|_| Box::pin(jeton.resolve(TOKEN))).collect();
    for call in &mut calls {
        begin(call).await;
    }
    assert_eq!(jeton.resolve(TOKEN).await.unwrap().raw(), b"1");
    for call in calls {
        assert_eq!(call.await.unwrap().raw(), b"1");
    }
}

#[tokio::test]
async fn a_caller_that_is_not_polled_leaves_a_connection() {
    let server = Server::start(&[Answer::With("[1]")]).await;
    for connections in 1..=5 {
        let builder = server.builder().connections_max(connections);
        let jeton = builder.deadline(Duration::from_secs(5)).build().unwrap();
        let mut calls: Vec<_> = (0..4).map(|_| Box::pin(jeton.resolve(TOKEN))).collect();
        for call in &mut calls {
            begin(call).await;
        }
        assert_eq!(jeton.consume(TOKEN).await.unwrap().raw(), b"1", "{connections}");
        for call in calls {
            assert_eq!(call.await.unwrap().raw(), b"1");
        }
    }
}

#[tokio::test]
async fn the_trace_context_of_the_caller_goes_along() {
    const CONTEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut server = Server::start(&[Answer::With("[1]")]).await;
    let jeton = server.builder().traceparent(|| Some(CONTEXT.to_owned())).build().unwrap();
    jeton.consume(TOKEN).await.unwrap();
    assert!(server.request().await.contains(CONTEXT));
    // A batch belongs to many callers.
    jeton.resolve(TOKEN).await.unwrap();
    let request = server.request().await;
    assert!(request.contains("traceparent: 00-") && !request.contains(CONTEXT), "{request}");
}

/// A runtime of one thread, which runs only while it is blocked on.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server in a runtime of its own, which goes on whatever happens to those of its clients.
fn elsewhere(answers: &[Answer]) -> (Server, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    (runtime.block_on(Server::start(answers)), runtime)
}

/// Polls a call once: it is under way then.
async fn begin<C: Future + Unpin>(call: &mut C) {
    let is_pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut *call).poll(cx).is_pending()));
    assert!(is_pending.await);
}

#[test]
fn a_client_goes_on_in_another_runtime() {
    let (server, _of_server) = elsewhere(&[Answer::With("[1]")]);
    let jeton = server.builder().build().unwrap();
    for _ in 0..2 {
        let payload = runtime().block_on(jeton.resolve(TOKEN)).unwrap();
        assert_eq!(payload.raw(), b"1");
    }
}

#[test]
fn a_resolve_is_driven_by_the_runtime_of_its_caller() {
    let (server, _of_server) = elsewhere(&[Answer::With("[1]")]);
    let jeton = server.builder().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let mut calls: Vec<_> = (0..4).map(|_| Box::pin(jeton.resolve(TOKEN))).collect();
    first.block_on(async {
        for call in &mut calls {
            begin(call).await;
        }
    });
    // It gathers behind them, and its runtime stands still.
    second.block_on(async {
        let mut last = Box::pin(jeton.resolve(TOKEN));
        begin(&mut last).await;
    });
    first.block_on(async {
        for call in calls {
            let payload = timeout(PATIENCE, call).await.expect("in time").unwrap();
            assert_eq!(payload.raw(), b"1");
        }
    });
}

/// Callers that gathered behind it go on.
#[test]
fn a_runtime_that_ends_takes_no_other_callers_along() {
    let (server, _of_server) = elsewhere(&[Answer::With("[1]")]);
    let jeton = server.builder().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let new_calls = |count: usize| (0..count).map(|_| Box::pin(jeton.resolve(TOKEN)));
    let mut calls: Vec<_> = new_calls(4).collect();
    let mut later: Vec<_> = new_calls(1).collect();
    for (runtime, calls) in [(&first, &mut calls), (&second, &mut later)] {
        runtime.block_on(async {
            for call in calls {
                begin(call).await;
            }
        });
    }
    drop(first);
    second.block_on(async {
        for call in calls.into_iter().chain(later) {
            let payload = timeout(PATIENCE, call).await.expect("in time").unwrap();
            assert_eq!(payload.raw(), b"1");
        }
    });
}

#[test]
fn p8_a_runtime_that_ends_with_many_batches_ends() {
    let (server, _of_server) = elsewhere(&[Answer::Never]);
    let jeton = server.builder().build().unwrap();
    let work = move || {
        let runtime = runtime();
        let tokens: Vec<_> = (0..100_000).map(|number| format!("{number:032}")).collect();
        let mut calls: Vec<_> = tokens.iter().map(|it| Box::pin(jeton.resolve(&**it))).collect();
        runtime.block_on(async {
            for call in &mut calls {
                begin(call).await;
            }
            // Requests under way are those of tasks now.
            tokio::task::yield_now().await;
        });
        // Batches that are started on it end at once, one after the other.
        drop(runtime);
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    thread.spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_resolve_outside_of_a_runtime_keeps_no_place() {
    let (server, runtime) = elsewhere(&[Answer::With("[1]")]);
    let jeton = server.builder().build().unwrap();
    for _ in 0..4 {
        let mut call = Box::pin(jeton.resolve(TOKEN));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(call.as_mut().poll(&mut cx));
        }));
        assert!(polled.is_err());
    }
    assert_eq!(runtime.block_on(jeton.resolve(TOKEN)).unwrap().raw(), b"1");
}
