//! Waiting on a socket up to one moment, however many steps it takes until then, and no longer than
//! until a signal asks for the end.

use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A signal asked for the end.
static STOPPED: AtomicBool = AtomicBool::new(false);
/// How often a wait looks whether a signal came.
const LOOK: Duration = Duration::from_millis(50);

/// From now on nothing is waited for.
pub fn stop() {
    STOPPED.store(true, Ordering::Relaxed);
}

/// Whether a signal asked for the end.
pub fn is_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

/// One moment up to which something is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    until: Instant,
    whole: Duration,
}

impl Patience {
    /// From now on for so long.
    pub fn of(whole: Duration) -> Self {
        Self { until: now() + whole, whole }
    }

    /// How long it was at the begin.
    pub fn whole(&self) -> Duration {
        self.whole
    }

    /// Waits until the socket is readable or writable, as `flags` say.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`]: the moment has come; or a signal asked for the end.
    pub fn wait(&self, socket: &impl AsFd, flags: PollFlags) -> Result<()> {
        loop {
            if is_stopped() {
                return Err(Error::other("stopped by a signal"));
            }
            let left = self.until.saturating_duration_since(now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let look = Timespec::try_from(left.min(LOOK)).unwrap_or_default();
            match poll(&mut [PollFd::new(socket, flags)], Some(&look)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Connects; the socket does not block.
    ///
    /// # Errors
    /// As [`Self::wait`], or as the system says.
    pub fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let stream = begin_to_connect(address)?;
        self.wait(&stream, PollFlags::OUT)?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }
}

/// Begins to connect, on a socket that does not block and does not gather small writes.
///
/// # Errors
/// As the system says.
pub fn begin_to_connect(address: SocketAddr) -> Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[expect(clippy::disallowed_methods, reason = "the edge: servers take real time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn one_moment_holds_for_all_steps() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let whole = Duration::from_millis(300);
        let patience = Patience::of(whole);
        let mut stream = patience.connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // Each step has something to wait for, so none of them alone takes the whole time.
        let begin = now();
        let ended = loop {
            server.write_all(b"x").unwrap();
            if let Err(error) = patience.wait(&stream, PollFlags::IN) {
                break error;
            }
            std::io::Read::read_exact(&mut stream, &mut [0]).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(ended.kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() < whole * 20, "it ended by itself");
        assert_eq!(patience.whole(), whole);
    }

    #[test]
    fn where_nobody_listens_the_system_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = Patience::of(Duration::from_secs(60)).connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
