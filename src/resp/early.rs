//! Answers clients that connect before the server serves: it tells them to try again. A server that
//! reads its log, and a node that joins its cluster, may need seconds or minutes; a client that got no
//! answer at all would wait for as long as its own limit.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::net::listen::{Accepted, Listener, Listeners};
use crate::net::proxy_header::TrustedProxies;
use crate::net::tls::{NO_PLACE, Opened, open};
use crate::tls::Tls;

/// What is said.
const LOADING: &[u8] =
    b"-LOADING the server reads its log or joins its cluster; try again in a moment\r\n";
/// Maximum time for one connection.
const LIMIT: Duration = Duration::from_secs(1);
/// Maximum connections at once.
const CONNECTIONS_MAX: usize = 256;
/// Rest after a failure to accept.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// What comes before the first command.
#[derive(Clone)]
struct Entrance {
    proxies: TrustedProxies,
    tls: Option<Tls>,
}

/// Answers with `-LOADING` until it is dropped.
pub struct Early {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Early {
    /// Starts to answer on these listeners.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        listeners: Vec<Listeners>,
        proxies: TrustedProxies,
        tls: Option<Tls>,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let entrance = Entrance { proxies, tls };
        let answer = move || {
            if let Err(error) = run(listeners, &entrance, stopped) {
                tracing::warn!(%error, "clients of the Redis protocol have to wait for the start");
            }
        };
        let thread = std::thread::Builder::new().name("jeton-resp-early".to_owned());
        Ok(Self { stop, thread: Some(thread.spawn(answer)?) })
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        // A missing receiver means that the thread has ended already.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // A panic was reported when it came.
            let _ = thread.join();
        }
    }
}

fn run(
    listeners: Vec<Listeners>,
    entrance: &Entrance,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let open = Rc::<Cell<usize>>::default();
        let mut files = Vec::new();
        for listeners in listeners {
            let (listeners, file) = listeners.into_tokio()?;
            files.extend(file);
            for listener in listeners {
                spawn_local(accept(listener, entrance.clone(), open.clone()));
            }
        }
        // An error means that nobody can stop us any more: then stop as well.
        let _ = stopped.wait_for(|is_over| *is_over).await;
        Ok(())
    })
}

async fn accept(listener: Listener, entrance: Entrance, open: Rc<Cell<usize>>) {
    loop {
        match listener.accept().await {
            Ok(accepted) if open.get() >= CONNECTIONS_MAX => {
                let is_plain = entrance.tls.is_none() || matches!(accepted, Accepted::Unix(_));
                let _ = accepted.try_write(if is_plain { LOADING } else { NO_PLACE });
            }
            Ok(accepted) => {
                open.set(open.get() + 1);
                let (entrance, open) = (entrance.clone(), open.clone());
                spawn_local(async move {
                    // The client is turned away in any case.
                    let _ = timeout(LIMIT, turn_away(accepted, entrance)).await;
                    open.set(open.get() - 1);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept connections");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn turn_away(mut accepted: Accepted, entrance: Entrance) -> io::Result<()> {
    if let Accepted::Tcp(socket, peer) = &mut accepted {
        let client = entrance.proxies.client(socket, *peer).await;
        client.ok_or(io::ErrorKind::InvalidData)?;
    }
    match (accepted, entrance.tls) {
        (Accepted::Unix(socket), _) => say(socket).await,
        (Accepted::Tcp(socket, _), None) => say(socket).await,
        (Accepted::Tcp(socket, _), Some(tls)) => match open(socket, tls.data(), |s| s).await? {
            Opened::Tls(stream) => say(*stream).await,
            Opened::Plain(socket) => say(socket).await,
        },
    }
}

/// Answers the first command, or what there is of it.
async fn say(mut socket: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buf = [0; 2_048];
    if socket.read(&mut buf).await? > 0 {
        socket.write_all(LOADING).await?;
    }
    socket.shutdown().await?;
    // A socket that is closed over unread bytes resets the connection, and the answer may be lost.
    while socket.read(&mut buf).await? > 0 {}
    Ok(())
}
