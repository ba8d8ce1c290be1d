//! Whether the stream is still the one that was followed: at the begin of a session, before any
//! message is offered, and then all the time.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::session::Session;
use super::shared::Mark;
use crate::cluster::stream::{Loss, StreamError};

/// Time between two checks.
const PERIOD: Duration = Duration::from_secs(5);
/// The same while a loss is possible, or the first check has not succeeded.
const SHORT_PERIOD: Duration = Duration::from_millis(500);
/// Checks in a row that must find no stream: servers that have just started may not know it yet.
const CHECKS_GONE: u32 = 10;
/// Checks in a row that must find a stream too short: a leader that was cut off from the others
/// does not know for 10 s that it is none.
const CHECKS_SHORT: u32 = 30;
/// Checks in a row that must miss a message in the middle.
pub(super) const CHECKS_HOLE: u32 = 10;
/// Checks in a row without an answer, after which another server is tried.
const CHECKS_SILENT: u32 = 4;

/// Checks until the session ends.
pub(super) async fn run(session: Rc<Session>) {
    let mut silent = 0;
    while session.shared.is_lost().is_none() {
        let period = match verify(&session).await {
            Ok(()) => {
                silent = 0;
                if !session.is_verified.replace(true) {
                    session.verified.notify_one();
                }
                PERIOD
            }
            Err(StreamError::TimedOut) => {
                silent += 1;
                SHORT_PERIOD
            }
            Err(_) => SHORT_PERIOD,
        };
        if silent >= CHECKS_SILENT {
            // It may be cut off from the others.
            let _ = session.leave.try_send("the server does not answer requests".to_owned());
        }
        let is_short = session.shared.is_in_doubt() || !session.is_verified.get();
        sleep(if is_short { SHORT_PERIOD } else { period }).await;
    }
}

/// One check. An error says nothing about the stream.
async fn verify(session: &Rc<Session>) -> Result<(), StreamError> {
    let shared = &session.shared;
    // Before the question: what is followed meanwhile may be newer than the answer.
    let newest = shared.newest();
    let info = match session.info().await {
        Err(StreamError::Missing(name)) => {
            // A stream that nobody has followed is not there yet.
            if shared.id().is_some() {
                shared.doubt(Loss::Gone, CHECKS_GONE);
            }
            return Err(StreamError::Missing(name));
        }
        answer => answer?,
    };
    let bounds = info.bounds()?;
    let was = shared.id_or(bounds.id);
    if was != bounds.id {
        shared.lose(Loss::Remade { was, is: bounds.id });
        return Ok(());
    }
    if let Some((followed, mark)) = newest {
        if bounds.last < followed {
            shared.doubt(Loss::Shorter { followed, last: bounds.last }, CHECKS_SHORT);
            return Err(StreamError::NoLeader);
        }
        if bounds.first <= followed {
            compare(session, followed, mark).await?;
        }
    }
    shared.begins(bounds.first);
    shared.no_doubt();
    Ok(())
}

/// Whether the leader still has the message that was followed.
async fn compare(session: &Rc<Session>, seq: u64, mark: Mark) -> Result<(), StreamError> {
    match session.stored(seq).await? {
        Some(message) if Mark::of(&message) != mark => session.shared.lose(Loss::Other { seq }),
        // If it is missing, it was trimmed meanwhile, or the next check finds the stream shorter.
        _ => {}
    }
    Ok(())
}
