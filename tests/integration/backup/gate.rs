//! A proxy to a server that can be closed: it holds a backup back until it is opened.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::backup_command;
use crate::support::eventually;

/// Bytes of the first connection that pass a closed [`Gate`].
pub(super) const PASSES_CLOSED: usize = 64 << 10;

/// A proxy that holds back the server's data until it is opened.
pub(super) struct Gate {
    pub(super) address: SocketAddr,
    is_open: Arc<AtomicBool>,
    /// Arrival of the first byte.
    answered_at: Arc<Mutex<Option<Instant>>>,
    pub(super) passed: Arc<AtomicU64>,
}

impl Gate {
    pub(super) fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let gate = Self {
            address: listener.local_addr().expect("an address"),
            is_open: Arc::default(),
            answered_at: Arc::default(),
            passed: Arc::default(),
        };
        let (is_open, answered_at) = (gate.is_open.clone(), gate.answered_at.clone());
        let passed = gate.passed.clone();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            // Keeps the system's buffers small, so that they contain little of a backup.
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                .expect("a socket");
            socket.set_recv_buffer_size(PASSES_CLOSED).expect("a small buffer");
            socket.connect(&server.into()).expect("the server is there");
            let mut server = TcpStream::from(socket);
            let (mut asking, mut asked) =
                (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
            thread::spawn(move || {
                let _ = std::io::copy(&mut asking, &mut asked);
                let _ = asked.shutdown(Shutdown::Both);
            });
            let mut piece = vec![0; 16 << 10];
            loop {
                let is_held = passed.load(Ordering::SeqCst) >= PASSES_CLOSED as u64;
                if is_held && !is_open.load(Ordering::SeqCst) {
                    thread::sleep(std::time::Duration::from_millis(2));
                    continue;
                }
                let Ok(len @ 1..) = server.read(&mut piece) else { break };
                answered_at.lock().expect("no panic").get_or_insert_with(Instant::now);
                passed.fetch_add(len as u64, Ordering::SeqCst);
                if client.write_all(&piece[..len]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
        });
        gate
    }

    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// Starts a backup, which the closed gate holds back.
    pub(super) fn begin(&self, dir: &Path) -> Child {
        let child = backup_command(self.address, dir).spawn().expect("it runs");
        let passed = || self.passed.load(Ordering::SeqCst) >= PASSES_CLOSED as u64;
        eventually("the backup has begun", passed);
        child
    }

    pub(super) fn answered_at(&self) -> Instant {
        self.answered_at.lock().expect("no panic").expect("it was answered")
    }
}
