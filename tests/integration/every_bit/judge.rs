//! Allowed results of damage: all acknowledged changes, or a refusal that names file and offset.
//!
//! Two kinds of damage cannot be distinguished from an intact log; here they are checked frame by
//! frame, and counted:
//!
//! - **The last frames.** A frame without a complete frame after it looks as if a crash had torn it
//!   (until the mark that an idle log gets within a tick). So a start may truncate frames at the
//!   end, if the hit touched every one of them; and it logs their length, unless the hit destroyed
//!   the eight bytes by which a torn frame is recognised (its Lsn or its synced Lsn).
//! - **Intact older states.** Without its oldest segments a log looks as if they had been released,
//!   and with an old copy of its current segment it looks as it did then.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jeton::engine::{Op, OpenError};
use jeton::model::time::UnixMillis;
use jeton::testkit::disk::{Keep, Memory};
use jeton::testkit::stepped::Stepped;
use jeton::wal::{ReadError, survey};

use super::hits::Hit;
use super::logs::{Files, START, Seen, State, Written, disk_of, files_of, issue, look, open};

/// The result of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All acknowledged changes exist.
    Whole,
    /// Refused, with file and offset.
    Refused,
    /// The last frames, all of them hit, were truncated, and the start logged it.
    Cut,
    /// The same, but no bytes were left that a start could have counted.
    Vanished,
    /// The oldest segment is missing: its tokens are missing, all others exist.
    Shortened,
    /// An old copy of the current segment: the changes acknowledged until then.
    Earlier,
}

/// Lsn and synced Lsn, by which a torn frame is recognised.
const KNOWN_BY: [std::ops::Range<usize>; 2] = [8..16, 24..32];

/// Opens the damaged log and checks the rule. `goes_on`: also writes to it, and opens it again.
pub fn judge(written: &Written, hit: &Hit, goes_on: bool) -> Verdict {
    let files = hit.apply(written);
    let judged = catch_unwind(AssertUnwindSafe(|| judged(written, hit, &files, goes_on)));
    match judged {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(wrong)) => panic!("{}: {hit:?}: {wrong}", written.name),
        Err(_) => panic!("{}: {hit:?}: panicked", written.name),
    }
}

fn judged(written: &Written, hit: &Hit, files: &Files, goes_on: bool) -> Result<Verdict, String> {
    let disk = disk_of(files);
    let torn_bytes = match survey(&disk.storage()) {
        Ok(Some(found)) => found.tail.torn_bytes,
        Ok(None) | Err(_) => 0,
    };
    let stepped = match open(&disk, written.segment_size, START) {
        Ok(stepped) => stepped,
        Err(error) => {
            check_refusal(written, hit, &error)?;
            let is_unchanged = files_of(&disk) == *files;
            return is_unchanged.then_some(Verdict::Refused).ok_or("a refused start wrote".into());
        }
    };
    let verdict = check_opened(written, hit, files, &stepped, torn_bytes)?;
    if goes_on {
        check_goes_on(written, &disk, stepped)?;
    }
    Ok(verdict)
}

/// The error names the file that was hit, or the neighbour of a missing file; for a flipped bit the
/// offset is not after it.
fn check_refusal(written: &Written, hit: &Hit, error: &OpenError) -> Result<(), String> {
    let OpenError::Read(ReadError::Damage(damage)) = error else {
        return Err(format!("refused without file and offset: {error}"));
    };
    let text = error.to_string();
    if !text.contains(&format!("{} is damaged at offset {}", damage.file, damage.offset)) {
        return Err(format!("the refusal does not say where: {text}"));
    }
    let named = match hit {
        Hit::Flip { file, bit } => *file == damage.file && damage.offset <= *bit as u64 / 8,
        Hit::Zero { file, .. } | Hit::Double { file, .. } | Hit::Cut { file, .. } => {
            *file == damage.file
        }
        Hit::Swap { one, other } => [&one.0, &other.0].contains(&&damage.file),
        _ => written.files.contains_key(&damage.file),
    };
    named.then_some(()).ok_or(format!("the refusal names another place: {text}"))
}

fn check_opened(
    written: &Written,
    hit: &Hit,
    files: &Files,
    stepped: &Stepped,
    torn_bytes: u64,
) -> Result<Verdict, String> {
    let (lsn, last) = (stepped.engine().stats().lsn, written.last());
    let Some(kept) = written.states.iter().rev().find(|state| state.lsn <= lsn) else {
        // Not one frame is left.
        return nothing_left(written, hit, files, stepped);
    };
    let shortened = is_oldest_removed(written, hit);
    check_state(stepped, kept, last.time, shortened || matches!(hit, Hit::PutBack { .. }))?;
    if kept.lsn == last.lsn {
        return Ok(if shortened { Verdict::Shortened } else { Verdict::Whole });
    }
    if let Hit::PutBack { file, state } = hit {
        // Frames in the files before it are unchanged.
        let elsewhere = written.frames.iter().rev().find(|place| place.file != *file);
        let then = written.states[*state].lsn.max(elsewhere.map_or(0, |place| place.end_lsn));
        let is_that = *file == written.current_file() && kept.lsn == then;
        return is_that.then_some(Verdict::Earlier).ok_or("not the state of the copy".into());
    }
    lost_frames(written, files, kept.lsn, torn_bytes)
}

/// Frames after `kept_lsn` are missing: each must have been hit.
fn lost_frames(
    written: &Written,
    files: &Files,
    kept_lsn: u64,
    torn_bytes: u64,
) -> Result<Verdict, String> {
    let mut is_known = true;
    for (nth, place) in written.frames.iter().filter(|p| p.end_lsn > kept_lsn).enumerate() {
        let (was, is) = (&written.files[&place.file], files.get(&place.file));
        let differs = |range: std::ops::Range<usize>| {
            is.and_then(|is| is.get(range.clone())) != Some(&was[range])
        };
        if !differs(place.at..place.at + place.len) {
            return Err(format!("a frame that was not hit is lost: {place:?}"));
        }
        let hidden = KNOWN_BY.into_iter().any(|r| differs(place.at + r.start..place.at + r.end));
        is_known &= nth > 0 || !hidden;
    }
    match (torn_bytes > 0, is_known) {
        (true, _) => Ok(Verdict::Cut),
        (false, false) => Ok(Verdict::Vanished),
        (false, true) => Err("frames are lost in silence".into()),
    }
}

fn nothing_left(
    written: &Written,
    hit: &Hit,
    files: &Files,
    stepped: &Stepped,
) -> Result<Verdict, String> {
    let seen = look(stepped, written.last().seen.len());
    if seen.iter().any(Option::is_some) {
        return Err("tokens without a frame".into());
    }
    match hit {
        // The one segment there is.
        Hit::Remove { .. } if is_oldest_removed(written, hit) => Ok(Verdict::Shortened),
        Hit::PutBack { file, .. } if *file == written.current_file() => Ok(Verdict::Earlier),
        _ => lost_frames(written, files, 0, 0),
    }
}

fn is_oldest_removed(written: &Written, hit: &Hit) -> bool {
    let oldest = &written.frames[0].file;
    matches!(hit, Hit::Remove { file } if file == oldest)
}

/// The engine has exactly the state of that frame, at the latest time in the log. `may_miss`:
/// tokens may be missing, but none may differ. Tokens that had expired by `last`, the time of the
/// last frame, may be missing in any case: if the last frames were truncated, segments that were
/// released when they were written do not come back.
fn check_state(
    stepped: &Stepped,
    state: &State,
    last: UnixMillis,
    may_miss: bool,
) -> Result<(), String> {
    let now = stepped.engine().now();
    let lives = |seen: &Seen| seen.clone().filter(|(_, deadline, _)| *deadline > now);
    let seen = look(stepped, state.seen.len());
    for (id, (seen, then)) in seen.iter().zip(&state.seen).enumerate() {
        let had_expired = then.as_ref().is_some_and(|(_, deadline, _)| *deadline <= last);
        let is_missing = (may_miss || had_expired) && seen.is_none();
        if *seen != lives(then) && !is_missing {
            return Err(format!("token {id} is {seen:?}, was {then:?} at {now}"));
        }
    }
    if may_miss {
        return Ok(());
    }
    if now != state.time {
        return Err(format!("it is {now}, and was {} when that was written", state.time));
    }
    for (op, told) in &state.replays {
        let retried = stepped.engine().submit(vec![op.clone()]).map_err(|e| e.to_string())?;
        // A retry is answered without the log; otherwise this would wait without end.
        let depth = stepped.engine().stats().queued;
        if depth > 0 {
            return Err(format!("the retry {op:?} was taken for a new consume"));
        }
        let again = retried.wait().map_err(|e| e.to_string())?.remove(0);
        if again != *told {
            return Err(format!("the retry {op:?} was told {told:?}, now {again:?}"));
        }
    }
    Ok(())
}

/// Changes written after a successful start exist after the next start, in addition to the others:
/// no old bytes follow new ones.
fn check_goes_on(written: &Written, disk: &Memory, mut stepped: Stepped) -> Result<(), String> {
    let new = written.last().seen.len();
    let ids = new + 3;
    for id in new..ids {
        let ops: Vec<Op> = vec![issue(id, 300, 90_000, 1)];
        stepped.carry_out(ops).map_err(|error| error.to_string())?;
    }
    let (before, now) = (look(&stepped, ids), stepped.engine().now());
    drop(stepped);
    let again = open(&disk.crash(Keep::Synced), written.segment_size, UnixMillis(START.0))
        .map_err(|error| format!("the second start: {error}"))?;
    if again.engine().now() < now {
        return Err("time runs back at the second start".into());
    }
    let same = look(&again, ids) == before && before[new..].iter().all(Option::is_some);
    same.then_some(()).ok_or("the second start knows something else".into())
}
