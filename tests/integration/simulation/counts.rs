//! Counts of the events of a simulation, to check that it reaches the states it is made for.

use jeton::engine::{Outcome, Stats};
use jeton::testkit::disk::{Fault, Memory};

use super::model::{Change, What};
use crate::seeds::counts;

counts! {
    seeds, turns, tends, ops, issued, exists, conflicts, already_consumed, consumed, replayed,
    extended, revokes, puts, not_put, deadlines_set, deadlines_kept, found, together, not_found,
    misses, disk_full, log_unavailable, read_only, unsynced, power_cuts, kills,
    closes, recoveries, refused_opens, cut_again, torn, jumps, freezes, paced, sleeps, held,
    followed, clock_wrong, frames, segments_created, segments_recycled, segments_released,
    lives_with_relocations, carried_bytes, expired, io_errors, no_spaces, short_writes, failed_syncs,
}

impl Counts {
    /// An answer was given.
    pub fn answer(&mut self, change: &Change, outcome: &Outcome) {
        self.ops += 1;
        let count = match outcome {
            Outcome::Issued { .. } => &mut self.issued,
            Outcome::Exists { .. } => &mut self.exists,
            Outcome::Conflict => &mut self.conflicts,
            Outcome::AlreadyConsumed => &mut self.already_consumed,
            Outcome::Consumed { .. } => &mut self.consumed,
            Outcome::Replayed { .. } => &mut self.replayed,
            Outcome::Extended { .. } => &mut self.extended,
            Outcome::Put { .. } => &mut self.puts,
            Outcome::NotPut { .. } => &mut self.not_put,
            Outcome::DeadlineSet { .. } => &mut self.deadlines_set,
            Outcome::DeadlineKept { .. } => &mut self.deadlines_kept,
            Outcome::Found { .. } => &mut self.found,
            Outcome::DiskFull => &mut self.disk_full,
            Outcome::LogUnavailable => &mut self.log_unavailable,
            Outcome::ReadOnly => &mut self.read_only,
            Outcome::Unsynced => &mut self.unsynced,
            Outcome::ClockWrong => &mut self.clock_wrong,
            Outcome::Revoked => &mut self.revokes,
            _ if change.what == What::Revoke => &mut self.revokes,
            _ => &mut self.not_found,
        };
        *count += 1;
    }

    /// The engine has ended.
    pub fn life(&mut self, stats: &Stats) {
        self.frames += stats.commits;
        self.expired += stats.expired;
        self.segments_created += stats.log.segments_created;
        self.segments_recycled += stats.log.segments_recycled;
        self.segments_released += stats.log.segments_released;
        self.lives_with_relocations += u64::from(stats.log.carried_bytes > 0);
        self.carried_bytes += stats.log.carried_bytes;
    }

    /// The disk has ended.
    pub fn disk(&mut self, disk: &Memory) {
        for (fault, count) in disk.struck() {
            match fault {
                Fault::Io => self.io_errors += count,
                Fault::NoSpace => self.no_spaces += count,
                Fault::ShortWrite => self.short_writes += count,
                Fault::FailedSync => self.failed_syncs += count,
                Fault::PowerCut => self.cut_again += count,
            }
        }
    }
}
