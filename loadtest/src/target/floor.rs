//! The floor: a bare responder without any logic, which shows what the kernel and the harness cost.
//!
//! One thread, one level-triggered epoll instance. It looks for the end of each request, a blank
//! line and the body whose length the head names, and answers the same fixed bytes. No HTTP server
//! that reads and writes sockets in this way can cost less on the same kernel.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use slab::Slab;

use crate::failure::{Result, io};
use crate::traffic::payload::fixed_body;

/// The begin of the line that states the address.
pub const READY: &str = "floor ready: http://";

const LISTENER: u64 = u64::MAX;
const INPUT_BYTES: usize = 64 << 10;
/// A connection with a longer head is closed.
const HEAD_MAX: usize = 64 << 10;
/// Answers that are written with one call at most.
const BURST: usize = 64;

/// A responder that listens and does not serve yet.
#[derive(Debug)]
pub struct Floor {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Slab<Connection>,
    /// The answer, [`BURST`] times.
    answers: Vec<u8>,
    answer_len: usize,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    requests: Requests,
    /// Bytes of answers that the socket has not taken yet. All answers are the same, so that the
    /// number alone says which bytes are next.
    owed: usize,
    /// Whether it waits for the socket to take more, and reads nothing meanwhile.
    blocked: bool,
}

/// A whole answer, as long as one of jeton's with this body.
fn answer(body_bytes: usize) -> Vec<u8> {
    let body = fixed_body(body_bytes);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         content-length: {}\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Serves until it is killed; prints `floor ready: http://ADDRESS` first.
///
/// # Errors
/// The address can't be listened on, or the system refuses epoll or more connections.
pub fn serve(listen: SocketAddr, body_bytes: usize) -> Result<()> {
    let mut floor = Floor::bind(listen, body_bytes)?;
    let line = format!("{READY}{}\n", floor.address()?);
    std::io::stdout().write_all(line.as_bytes()).map_err(io("write the ready line"))?;
    floor.run()
}

impl Floor {
    /// Listens; port 0 picks a free one.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub fn bind(listen: SocketAddr, body_bytes: usize) -> Result<Self> {
        let listener = TcpListener::bind(listen).map_err(io(format!("listen on {listen}")))?;
        listener.set_nonblocking(true).map_err(io("listen"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io("epoll"))?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)
            .map_err(io("epoll"))?;
        let answer = answer(body_bytes);
        Ok(Self {
            listener,
            epoll,
            connections: Slab::new(),
            answer_len: answer.len(),
            answers: answer.repeat(BURST),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(io("listen"))
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// The system refuses epoll or more connections.
    pub fn run(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(512);
        let mut input = vec![0; INPUT_BYTES];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io("epoll")(error)),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    slot => self.respond(slot as usize, &mut input)?,
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => return Ok(()),
            Err(error) => return Err(io("accept")(error)),
        };
        stream.set_nodelay(true).map_err(io("accept"))?;
        stream.set_nonblocking(true).map_err(io("accept"))?;
        let entry = self.connections.vacant_entry();
        let data = EventData::new_u64(entry.key() as u64);
        epoll::add(&self.epoll, &stream, data, EventFlags::IN).map_err(io("epoll"))?;
        entry.insert(Connection { stream, requests: Requests::default(), owed: 0, blocked: false });
        Ok(())
    }

    fn respond(&mut self, slot: usize, input: &mut [u8]) -> Result<()> {
        let Some(connection) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        let blocked_before = connection.blocked;
        if connection.serve(input, &self.answers, self.answer_len).is_err() {
            // Closing the socket takes it out of epoll too.
            self.connections.remove(slot);
            return Ok(());
        }
        if connection.blocked != blocked_before {
            let wanted = if connection.blocked { EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&self.epoll, &connection.stream, EventData::new_u64(slot as u64), wanted)
                .map_err(io("epoll"))?;
        }
        Ok(())
    }
}

impl Connection {
    /// Reads once and answers; an error where the connection is over.
    fn serve(
        &mut self,
        input: &mut [u8],
        answers: &[u8],
        answer_len: usize,
    ) -> std::io::Result<()> {
        if !self.blocked {
            let count = match self.stream.read(input) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            let requests = self.requests.count(&input[..count]).ok_or(ErrorKind::InvalidData)?;
            self.owed += requests * answer_len;
        }
        while self.owed > 0 {
            let start = (answer_len - self.owed % answer_len) % answer_len;
            let end = answers.len().min(start + self.owed);
            match self.stream.write(&answers[start..end]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.owed -= count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.blocked = self.owed > 0;
        Ok(())
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Finds where requests end in what a connection sends.
#[derive(Debug, Default)]
struct Requests {
    /// The beginning of a head whose end has not come.
    partial: Vec<u8>,
    /// Bytes of a body that have not come.
    body_left: usize,
}

impl Requests {
    /// How many requests are whole with these bytes; none where a head is too long or names no
    /// length that can be read.
    fn count(&mut self, input: &[u8]) -> Option<usize> {
        if self.partial.is_empty() {
            return self.count_from(input);
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(input);
        self.count_from(&joined)
    }

    fn count_from(&mut self, mut input: &[u8]) -> Option<usize> {
        let mut count = 0;
        loop {
            if self.body_left > 0 {
                let skipped = self.body_left.min(input.len());
                self.body_left -= skipped;
                input = &input[skipped..];
                if self.body_left > 0 {
                    return Some(count);
                }
                count += 1;
            }
            let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
                self.partial.extend_from_slice(input);
                return (self.partial.len() <= HEAD_MAX).then_some(count);
            };
            let (head, rest) = input.split_at(end + 4);
            self.body_left = body_len(head)?;
            count += usize::from(self.body_left == 0);
            input = rest;
        }
    }
}

/// The length that a request's head names, 0 where it names none.
fn body_len(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    if head.starts_with(b"GET ") {
        return Some(0);
    }
    let mut lines = head.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then(|| value.trim_ascii())
    });
    value.map_or(Some(0), |value| std::str::from_utf8(value).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /b HTTP/1.1\r\ncontent-LENGTH:  9\r\nHost: x\r\n\r\n1\r\n\r\n6789\
        POST /c HTTP/1.1\r\nContent-Length: 0\r\n\r\n\
        DELETE /d HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn requests_are_counted_wherever_they_are_cut() {
        for cut in 0..=STREAM.len() {
            let mut requests = Requests::default();
            let first = requests.count(&STREAM[..cut]).expect("requests");
            let second = requests.count(&STREAM[cut..]).expect("requests");
            assert_eq!(first + second, 4, "cut at {cut}");
        }
        let mut requests = Requests::default();
        let count: usize =
            STREAM.chunks(1).map(|byte| requests.count(byte).expect("requests")).sum();
        assert_eq!(count, 4);
    }

    #[test]
    fn what_cannot_be_a_request_ends_the_connection() {
        assert_eq!(Requests::default().count(&vec![b'x'; HEAD_MAX + 1]), None);
        assert_eq!(Requests::default().count(b"POST /\r\nContent-Length: x\r\n\r\n"), None);
    }
}
