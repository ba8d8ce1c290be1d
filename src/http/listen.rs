//! Listening sockets: one for each worker on the same address, so that the kernel spreads new
//! connections and no worker waits for another.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted, for each worker.
const BACKLOG: i32 = 1024;

/// Binds `address` `count` times, at least once. Port 0 picks a free port, the same for all.
///
/// # Errors
/// The address is in use, also by another server that would share it, or cannot be bound.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // A second server could join in unseen, and get half of the connections: sharing is for
        // our own workers only. Without SO_REUSEPORT the address must be free.
        drop(bind_one(address, false)?);
    }
    let first = bind_one(address, true)?;
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind_one(bound, true)?);
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_other_servers_do_not() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), address);
        }
        let error = bind(address, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        assert!(bind(address, 1).is_ok());
    }
}
