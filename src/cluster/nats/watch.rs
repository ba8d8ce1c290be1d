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
/// The same while a loss is possible.
const SHORT_PERIOD: Duration = Duration::from_millis(500);
/// Time for an answer.
const LIMIT: Duration = Duration::from_secs(2);
/// The same before the first success, and the pause after it: during an election nobody answers, and
/// until then nothing is followed.
const FIRST_LIMIT: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Checks in a row that must find no stream: servers that have just started may not know it yet.
const CHECKS_GONE: u32 = 10;
/// Checks in a row that must find a stream too short: a leader that was cut off from the others
/// does not know for 10 s that it is none.
const CHECKS_SHORT: u32 = 30;
/// Checks in a row that must miss a message in the middle.
pub(super) const CHECKS_HOLE: u32 = 10;
/// Time without a good check after which another server is tried: this one may be cut off from the
/// others, and then it answers nothing, or that there is no leader. It is longer than an election.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Checks until the session ends.
pub(super) async fn run(session: Rc<Session>) {
    // Time without a good check: of those that had no answer, and between them.
    let mut bad = Duration::ZERO;
    while session.shared.is_lost().is_none() {
        let is_first = !session.is_verified.get();
        let (limit, pause) =
            if is_first { (FIRST_LIMIT, FIRST_PAUSE) } else { (LIMIT, SHORT_PERIOD) };
        let period = match verify(&session, limit).await {
            Ok(()) => {
                bad = Duration::ZERO;
                session.is_verified.set(true);
                session.verified.notify_one();
                PERIOD
            }
            Err(StreamError::TimedOut) => {
                bad += limit;
                pause
            }
            Err(StreamError::NoLeader) if !session.shared.is_in_doubt() => pause,
            Err(_) => SHORT_PERIOD,
        };
        if bad >= SILENCE_MAX {
            let why = "the server has had no right answer for 10 s: it may be cut off";
            let _ = session.leave.try_send(why.to_owned());
        }
        let is_in_doubt = session.shared.is_in_doubt();
        let period = if is_in_doubt { period.min(SHORT_PERIOD) } else { period };
        sleep(period).await;
        bad += period;
    }
}

/// One check. An error says nothing about the stream.
async fn verify(session: &Rc<Session>, limit: Duration) -> Result<(), StreamError> {
    let shared = &session.shared;
    // Before the question: what is followed meanwhile may be newer than the answer.
    let newest = shared.newest();
    let info = match session.info_within(limit).await {
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
