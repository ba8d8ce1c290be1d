//! The floor: a bare responder without any logic, in a process of its own.
//!
//! One thread, one level-triggered epoll instance. It reads until it has seen the end of a head k
//! times and answers the same fixed bytes k times with one write. No HTTP server that reads and
//! writes sockets in this way can cost less on the same kernel.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::failure::{Result, io};

const LISTENER: u64 = u64::MAX;
const INPUT_BYTES: usize = 64 * 1024;

struct Connection {
    stream: TcpStream,
    /// The last bytes received, where they may be the beginning of an end of a head.
    tail: Vec<u8>,
    output: Vec<u8>,
}

/// Serves until it is killed; prints `floor ready: ADDRESS` first.
pub fn serve(answer: &Path) -> Result<()> {
    let answer = std::fs::read(answer).map_err(io("read the fixed answer"))?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(io("bind"))?;
    let address = listener.local_addr().map_err(io("bind"))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io("epoll"))?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)
        .map_err(io("epoll"))?;
    println!("floor ready: {address}");
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(512);
    let mut input = vec![0; INPUT_BYTES];
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io("epoll")(error)),
        }
        for event in &events {
            if event.data.u64() == LISTENER {
                let stream = accept(&listener)?;
                let data = epoll::EventData::new_u64(connections.len() as u64);
                epoll::add(&epoll, &stream, data, epoll::EventFlags::IN).map_err(io("epoll"))?;
                connections.push(Some(Connection { stream, tail: Vec::new(), output: Vec::new() }));
                continue;
            }
            let slot = &mut connections[event.data.u64() as usize];
            if let Some(connection) = slot
                && !respond(connection, &mut input, &answer)
            {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().map_err(io("accept"))?;
    stream.set_nodelay(true).map_err(io("nodelay"))?;
    Ok(stream)
}

/// Gives whether the connection goes on.
fn respond(connection: &mut Connection, input: &mut [u8], answer: &[u8]) -> bool {
    let kept = connection.tail.len();
    input[..kept].copy_from_slice(&connection.tail);
    let end = match connection.stream.read(&mut input[kept..]) {
        Ok(0) => return false,
        Ok(count) => kept + count,
        Err(error) => return error.kind() == ErrorKind::Interrupted,
    };
    let (heads, after_last) = count_heads(&input[..end]);
    connection.tail.clear();
    let tail_start = after_last.max(end.saturating_sub(3));
    connection.tail.extend_from_slice(&input[tail_start..end]);
    if heads == 1 {
        return connection.stream.write_all(answer).is_ok();
    }
    connection.output.clear();
    for _ in 0..heads {
        connection.output.extend_from_slice(answer);
    }
    connection.stream.write_all(&connection.output).is_ok()
}

/// Counts the ends of heads; gives also the position behind the last one.
fn count_heads(input: &[u8]) -> (usize, usize) {
    let (mut count, mut after_last, mut at) = (0, 0, 0);
    // No byte of the pattern but its last can be four bytes ahead of a match's beginning, so most
    // of the input is skipped four bytes at a time.
    while let Some(&fourth) = input.get(at + 3) {
        if fourth != b'\r' && fourth != b'\n' {
            at += 4;
        } else if &input[at..at + 4] == b"\r\n\r\n" {
            count += 1;
            at += 4;
            after_last = at;
        } else {
            at += 1;
        }
    }
    (count, after_last)
}

/// Proves that heads are counted wherever they lie.
pub fn self_check() -> std::result::Result<(), String> {
    for padding in 0..9 {
        let mut input = vec![b'x'; padding];
        input.extend_from_slice(b"\r\n\r\nGET\r\n\r\r\n\r\n\r\n");
        // The second end begins inside the run: "\r\r\n\r\n\r\n" holds one.
        let expected = (2, padding + 14);
        let got = count_heads(&input);
        if got != expected {
            return Err(format!("{got:?} heads instead of {expected:?} after {padding} bytes"));
        }
    }
    Ok(())
}
