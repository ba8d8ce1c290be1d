//! The thread: one session after the other, with a server each time.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::command::{Command, End, Tell, telling};
use super::config::{CA, Config, address};
use super::serve;
use super::session::Session;
use super::shared::Shared;
use crate::cluster::stream::StreamError;
use crate::tls;

/// Time for a connection and its handshakes.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Time between two pings; a server that does not answer three is left.
const PING_PERIOD: Duration = Duration::from_secs(1);
/// Messages that wait between the client's task and a task of the session. What comes beyond them
/// is dropped by the client, and fetched.
const QUEUED_MESSAGES: usize = 512;
/// Commands that wait in the client.
const QUEUED_COMMANDS: usize = 256;
/// Pause after every server was tried: it doubles up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The thread: at its end there is no connection.
struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.set_disconnected("the thread of the connection has ended");
    }
}

/// Runs sessions until the last handle is gone.
pub(super) fn run(config: &Config, shared: &Arc<Shared>, mut commands: mpsc::Receiver<Command>) {
    // Also where the thread panics.
    let _gone = Gone(shared);
    // Nodes spread over the servers.
    let mut turn = usize::from(random_byte());
    let (mut failed, mut pause, mut told) = (0, PAUSES.0, String::new());
    loop {
        // A runtime of its own: the client's tasks end with it, whatever they are doing.
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // Perhaps the process has no file descriptor left, and has one later.
                let why = format!("the connection cannot be made: {error}");
                tracing::warn!(%why, "no server of the cluster's stream can be reached");
                shared.set_disconnected(&why);
                refuse_all(&mut commands, &why);
                std::thread::sleep(PAUSES.1);
                continue;
            }
        };
        let server = &config.servers[turn % config.servers.len()];
        turn += 1;
        let (end, was_good) = one_session(&runtime, config, server, shared, &mut commands);
        let End::Left(why) = end else { return };
        shared.set_disconnected(&format!("{server}: {why}"));
        failed = if was_good { 0 } else { failed + 1 };
        if failed % config.servers.len() == 0 && !was_good {
            // Not at each attempt.
            if told != why {
                tracing::warn!(%server, %why, "no server of the cluster's stream can be reached");
                told.clone_from(&why);
            }
            refuse_all(&mut commands, &format!("{server}: {why}"));
            if runtime.block_on(wait(pause, &mut commands, &why)).is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        } else if was_good {
            tracing::warn!(%server, %why, "left a server of the cluster's stream");
            pause = PAUSES.0;
            told.clear();
        }
        runtime.shutdown_background();
    }
}

/// One session, and whether it found the stream that is followed.
fn one_session(
    runtime: &Runtime,
    config: &Config,
    server: &str,
    shared: &Arc<Shared>,
    commands: &mut mpsc::Receiver<Command>,
) -> (End, bool) {
    let local = LocalSet::new();
    local.block_on(runtime, async {
        let (tell, mut told) = telling();
        let client = match connect(config, server, tell).await {
            Ok(client) => client,
            Err(why) => return (End::Left(why), false),
        };
        match Session::begin(client, config, shared.clone()).await {
            Ok((session, queues)) => {
                let end = serve::run(&session, queues, commands, &mut told).await;
                session.forsake();
                (end, session.is_verified.get())
            }
            Err(why) => (End::Left(why.to_string()), false),
        }
    })
}

/// Connects to one server. Files are read now: they may have changed.
async fn connect(config: &Config, server: &str, tell: Tell) -> Result<Client, String> {
    let address = address(server)?;
    let mut options = ConnectOptions::new()
        .name(format!("jeton {}", config.node))
        .custom_inbox_prefix(config.names().inbox(&config.node))
        .connection_timeout(CONNECT_LIMIT)
        .ping_interval(PING_PERIOD)
        .subscription_capacity(QUEUED_MESSAGES)
        .client_capacity(QUEUED_COMMANDS)
        .ignore_discovered_servers()
        // One attempt, so that the session ends instead of the client connecting again by itself.
        .max_reconnects(1)
        .event_callback(event_callback(tell));
    if let Some(file) = &config.credentials {
        let text = std::fs::read_to_string(file)
            .map(Zeroizing::new)
            .map_err(|error| format!("cluster-credentials {}: {error}", file.display()))?;
        options = options.credentials(&text).map_err(|_| {
            format!("cluster-credentials {}: not a file with a JWT and a seed", file.display())
        })?;
    }
    // Without a CA only a server that asks for TLS needs the system's roots.
    match tls::client::config_of(CA, config.ca.as_deref(), None) {
        Ok(tls) => {
            let mut tls = (*tls).clone();
            tls.alpn_protocols.clear();
            options = options.tls_client_config(tls).require_tls(config.ca.is_some());
        }
        Err(error) if config.ca.is_some() || address.tls_required() => {
            return Err(error.to_string());
        }
        Err(_) => {}
    }
    let connected = timeout(CONNECT_LIMIT * 2, options.connect(address)).await;
    connected.map_err(|_| "no answer".to_owned())?.map_err(|error| whole(&error))
}

/// Passes on what ends a connection or was refused. The first `Connected` is that of this session.
fn event_callback(tell: Tell) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static {
    let was_connected = std::sync::atomic::AtomicBool::new(false);
    move |event| {
        let ended = match &event {
            Event::Connected => was_connected
                .swap(true, std::sync::atomic::Ordering::Relaxed)
                .then(|| "the connection was lost".to_owned()),
            Event::ServerError(error) => {
                let _ = tell.refused.try_send(error.to_string());
                None
            }
            Event::SlowConsumer(_) | Event::Draining => None,
            Event::LameDuckMode => Some("the server is being stopped".to_owned()),
            _ => Some(event.to_string()),
        };
        // If a reason waits already, it ends the session.
        let _ = ended.map(|why| tell.ended.try_send(why));
        std::future::ready(())
    }
}

/// An error with its causes.
fn whole(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !said.contains(&next) {
            let _ = write!(said, ": {next}");
        }
        cause = error.source();
    }
    said
}

/// Waits, and answers meanwhile that there is no connection. `None` if there is no handle any more.
async fn wait(pause: Duration, commands: &mut mpsc::Receiver<Command>, why: &str) -> Option<()> {
    let pause = sleep(pause);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return Some(()),
            command = commands.recv() => refuse(command?, why),
        }
    }
}

fn refuse_all(commands: &mut mpsc::Receiver<Command>, why: &str) {
    while let Ok(command) = commands.try_recv() {
        refuse(command, why);
    }
}

fn refuse(command: Command, why: &str) {
    match command {
        // Its proposer learns it by not following it.
        Command::Propose(_) => {}
        Command::Ask(ask) => ask.refuse(StreamError::NotConnected(why.to_owned())),
    }
}

/// A number to begin with, from the system's generator; 0 if it has none.
fn random_byte() -> u8 {
    let mut byte = [0];
    if getrandom::fill(&mut byte).is_err() {
        return 0;
    }
    byte[0]
}
