//! The file of a Unix socket: who may connect, and when it is removed.
//!
//! A server holds the lock of `PATH.lock` as long as it listens at `PATH`: servers that start at the
//! same instant would otherwise take each other's sockets for those of a server that crashed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// The longest path of a Unix socket, in bytes: with a zero behind it, it fills `sun_path`.
pub(crate) const PATH_LEN_MAX: usize = 107;

/// Only the owner may connect.
const MODE: u32 = 0o600;

/// The file of a socket that listens; dropping it removes the file, if it is still that one.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    /// Let go of last.
    _lock: Lock,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id_of(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the socket's file stays");
        }
    }
}

/// Listens at `path`. A socket that nobody answers at is removed before.
///
/// # Errors
/// Somebody answers there, the path names something else, or no file can be made.
pub(crate) fn bind(path: &Path, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    let lock = Lock::of(path)?;
    remove_stale(path)?;
    let socket = bind_private(path)?;
    let file = SocketFile { path: path.to_owned(), id: id_of(path)?, _lock: lock };
    // Where the file does not have the mode of its socket; nobody can connect before it listens.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(backlog)?;
    Ok((socket.into(), file))
}

/// Makes the file. Linux gives it the mode of the socket, less what the umask forbids: at no instant
/// may others connect.
fn bind_private(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Other systems have no mode here.
    let _ = fchmod(&socket, Mode::from_raw_mode(MODE as _));
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// The lock of a path, held by the server that listens there. Dropping it removes its file.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// # Errors
    /// Another server holds it, or its file cannot be made.
    fn of(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(MODE).custom_flags(flags);
        loop {
            let file = options.open(&path)?;
            let found = file.metadata()?;
            if !found.is_file() {
                let path = path.display();
                return Err(io::Error::other(format!("{path} is not a regular file: remove it")));
            }
            match file.try_lock() {
                Ok(()) => (),
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // A server that ended meanwhile has removed it: then it keeps nobody out.
            if id_of(&path).is_ok_and(|id| id == (found.dev(), found.ino())) {
                return Ok(Self { path, file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the lock is free, so that it is not another's file.
        let id = self.file.metadata().map(|found| (found.dev(), found.ino()));
        if id.is_ok_and(|id| id_of(&self.path).is_ok_and(|there| there == id))
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the socket's lock file stays");
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) => (),
    }
    // A server whose queue of connections is full would let a blocking call wait for ever.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?).map_err(|error| error.kind()) {
        Ok(()) | Err(io::ErrorKind::WouldBlock) => Err(io::ErrorKind::AddrInUse.into()),
        Err(io::ErrorKind::ConnectionRefused) => fs::remove_file(path),
        Err(kind) => Err(kind.into()),
    }
}

fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn only_a_socket_that_nobody_answers_at_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (listener, file) = bind(&path, 1).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, MODE);
        let refused = bind(&path, 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop((listener, file));
        // One of a server that takes no lock.
        let other = UnixListener::bind(&path).unwrap();
        assert_eq!(bind(&path, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // As after a crash: the socket is gone and its file is not.
        drop(other);
        let (_listener, file) = bind(&path, 1).unwrap();
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays");
    }

    #[test]
    fn p9_a_socket_is_its_owners_from_the_first_instant() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _socket = bind_private(&path).unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, MODE);
        }
    }

    /// All of them find the socket of a server that has crashed.
    #[test]
    fn of_servers_that_start_at_once_one_listens() {
        const STARTS: usize = 8;
        for turn in 0..100 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("socket");
            drop(UnixListener::bind(&path).unwrap());
            let barrier = Barrier::new(STARTS);
            let start = || {
                barrier.wait();
                let started = bind(&path, 8);
                // Nobody stops before all have tried.
                barrier.wait();
                started
            };
            let started: Vec<_> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..STARTS).map(|_| scope.spawn(start)).collect();
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            let listening: Vec<_> = started.iter().flatten().collect();
            assert_eq!(listening.len(), 1, "turn {turn}");
            UnixStream::connect(&path).unwrap();
            assert!(listening[0].0.accept().is_ok(), "it is the one that is reached");
        }
    }

    #[test]
    fn a_server_whose_queue_is_full_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        // It takes no lock, as one of another program.
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                client.set_nonblocking(true).unwrap();
                (client.connect(&SockAddr::unix(&path).unwrap()), client)
            })
            .collect();
        assert!(waiting.iter().any(|(connected, _)| connected.is_err()), "the queue is not full");
        assert_eq!(bind(&path, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_or_another_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("link"), dir.path().join("target"));
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        for path in [&path, &target] {
            assert_eq!(bind(path, 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&target).unwrap(), b"kept");
        let path = dir.path().join("socket");
        let (_listener, file) = bind(&path, 1).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "of somebody else").unwrap();
        drop(file);
        assert!(path.exists());
    }
}
