//! `jeton cluster check`: every setting of the stream and of the NATS servers.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use super::failure::ClusterFailure;
use super::given::{secret_of, settings_of};
use crate::cli::out::{self, tell};
use crate::cli::settings::Given;
use crate::clock::{Clock, SystemClock};
use crate::cluster;
use crate::cluster::message::Sealer;
use crate::cluster::node::{CheckError, Checked, Connection, OnNats, check};
use crate::cluster::stream::StreamError;
use crate::model::text::size_text;

/// Time for a connection and for an answer: elections take seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two attempts.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

pub(super) type Reached = OnNats;

pub(super) fn run(given: &Given) -> Result<(), ClusterFailure> {
    let (config, cluster) = settings_of(given)?;
    let mut sealer = Sealer::new(&secret_of(&config)?);
    let reached = connect(&cluster, "check")?;
    let mut stream = reached.stream();
    let accepts = cluster.accepts_unverified_sync;
    let mut wrong = Vec::new();
    let checked = patiently(|| match check(&mut *stream, &mut sealer, accepts) {
        Ok(checked) => Ok(Some(checked)),
        Err(CheckError::Unreachable(error)) => Err(error),
        Err(CheckError::Mistaken(mistakes)) => {
            wrong = mistakes;
            Ok(None)
        }
    })?;
    let Some(checked) = checked else { return Err(ClusterFailure::Wrong(wrong)) };
    checked.warnings.iter().for_each(|warning| tell!("warning: {warning}"));
    out::print(told(&cluster, &checked))?;
    Ok(())
}

fn told(cluster: &cluster::Config, checked: &Checked) -> String {
    let Checked { bounds, promises, cluster: id, .. } = checked;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "cluster {}: ok", cluster.name);
    if let Some(id) = id {
        let _ = write!(text, ", id {}", const_hex::encode(id.0));
    }
    let _ = write!(
        text,
        ", messages {} to {}, {} copies, {}",
        bounds.first,
        bounds.last,
        promises.copies,
        size_text(promises.bytes)
    );
    if let Some(most) = promises.bytes_max {
        let _ = write!(text, " of {}", size_text(most));
    }
    text.push('\n');
    for server in &promises.servers {
        let version = server.version.as_deref().unwrap_or("of unknown version");
        let syncs = match server.syncs_always {
            Some(true) => "syncs each message",
            Some(false) => "does not sync each message",
            None => "does not say whether it syncs each message",
        };
        let copy = if server.has_copy { ", has a copy" } else { "" };
        let _ = write!(text, "server {}: nats-server {version}, {syncs}{copy}", server.name);
        match &server.copy_fault {
            Some(fault) => drop(writeln!(text, ", but {fault}")),
            None => text.push('\n'),
        }
    }
    text
}

/// Connects to the servers of a cluster.
pub(super) fn connect(
    cluster: &cluster::Config,
    publisher: &str,
) -> Result<Reached, ClusterFailure> {
    let reached = OnNats::open(cluster, publisher).map_err(ClusterFailure::Mistake)?;
    patiently(|| reached.connected().map_err(StreamError::NotConnected))?;
    Ok(reached)
}

/// Repeats a call while its error may pass.
pub(super) fn patiently<T>(
    call: impl FnMut() -> Result<T, StreamError>,
) -> Result<T, ClusterFailure> {
    repeat_for(PATIENCE, call)
}

/// The same, for this time.
pub(super) fn repeat_for<T>(
    patience: Duration,
    mut call: impl FnMut() -> Result<T, StreamError>,
) -> Result<T, ClusterFailure> {
    let clock = SystemClock::new();
    let begin = clock.monotonic();
    loop {
        let error = match call() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let may_pass = matches!(
            error,
            StreamError::NotConnected(_) | StreamError::TimedOut | StreamError::NoLeader
        );
        if !may_pass {
            return Err(ClusterFailure::Wrong(vec![error.to_string()]));
        }
        if clock.monotonic().saturating_sub(begin) >= patience {
            return Err(ClusterFailure::Unreachable(error.to_string()));
        }
        sleep(AGAIN_AFTER);
    }
}
