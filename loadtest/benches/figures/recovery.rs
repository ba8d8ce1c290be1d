//! Recovery: from starting the process until it is ready, with a log of twice what lives; and the
//! memory that takes, at its peak and afterwards, beside that of the server before it was stopped.

use loadtest::drive::session::{Session, Silent};
use loadtest::failure::{Failure, Result};
use loadtest::report::units;
use loadtest::stats::median;
use loadtest::target::usage::{self, Memory};
use loadtest::target::{self, Halted, Kind, missing};
use loadtest::workload::Operation;

use crate::setting::{
    LONG, PEERS, Setting, Table, insist_on_count, insist_on_right, session, spread, tokens_of,
    workload,
};

const CONNECTIONS: usize = 8;

/// A server that can be started again on its files, and what is known of its tokens.
struct Stored {
    kind: Kind,
    session: Session,
    living: u64,
    disk_bytes: u64,
    halted: Option<Halted>,
    cached_s: Vec<f64>,
    uncached_s: Vec<f64>,
    /// Before it was stopped first.
    before: Memory,
    /// After the last start, before anything was asked of it.
    after: Memory,
}

/// One row for each server, with its files in the page cache and without.
pub fn run(setting: &Setting) -> Result<Table> {
    let living = setting.size.pick(5_000, 1_000_000, 20_000_000);
    let mut table = Table::new(
        "Recovery: from start to ready",
        &[
            "server",
            "tokens",
            "on disk",
            "cached s",
            "tokens/s",
            "from the disk s",
            "tokens/s",
            "bytes a token before",
            "after",
            "peak of the start",
        ],
        format!(
            "jeton reads a log in which as many tokens were issued and consumed as live; the peers \
             load a file of the living. Memory is that of the whole process. Medians of {} rounds. \
             After each start tokens are counted, {} of them resolved byte for byte, \
             and consumed ones of jeton's must stay consumed.",
            setting.rounds,
            units::count(sample(living)),
        ),
    );
    let mut stored = vec![Stored::prepare(setting, Kind::Jeton, living)?];
    for kind in PEERS {
        match missing(kind) {
            Some(why) => table.not_run(kind.name(), &why),
            None => stored.push(Stored::prepare(setting, kind, living)?),
        }
    }
    for _ in 0..setting.rounds {
        for one in &mut stored {
            let cached_s = one.restart()?;
            one.cached_s.push(cached_s);
            one.halted.as_ref().map_or(Ok(()), Halted::forget_cached)?;
            let uncached_s = one.restart()?;
            one.uncached_s.push(uncached_s);
        }
    }
    for one in &stored {
        let rate =
            |seconds: &[f64]| units::rate(living as f64 / median(seconds).unwrap_or(f64::NAN));
        table.row(vec![
            one.kind.name().to_owned(),
            units::count(living as u64),
            units::bytes(one.disk_bytes),
            spread(&one.cached_s),
            rate(&one.cached_s),
            spread(&one.uncached_s),
            rate(&one.uncached_s),
            format!("{:.0}", one.before.resident_bytes as f64 / living as f64),
            format!("{:.0}", one.after.resident_bytes as f64 / living as f64),
            units::bytes(one.after.peak_bytes),
        ]);
    }
    Ok(table)
}

/// Tokens that are resolved after a start.
fn sample(living: usize) -> u64 {
    (living as u64 / 100).max(100)
}

impl Stored {
    /// Issues twice as many tokens as are to live and consumes half of them, at random, so that the
    /// dead lie between the living all over the log. A store that saves what lives is given no more.
    fn prepare(setting: &Setting, kind: Kind, living: usize) -> Result<Self> {
        let (arguments, issued) = match kind {
            Kind::Jeton => (["--sync", "never"], 2 * living),
            // It saves when it ends, and a day from now.
            _ => (["--save", "86400 1"], living),
        };
        let server = setting.start(kind, false, &arguments)?;
        let mut workload = workload(issued, CONNECTIONS, LONG);
        workload.load.depth = 16;
        workload.mix.resolve = 1.0;
        let mut session = session(&server, &workload, tokens_of(0))?;
        insist_on_right(&server, &session.load(&mut Silent, None)?)?;
        let dead = (issued - living) as u64;
        insist_on_right(&server, &session.perform(Operation::Consume, dead, &mut Silent)?)?;
        insist_on_count(&server, living as u64)?;
        let before = usage::memory(server.pid())?;
        let halted = server.halt()?;
        Ok(Self {
            kind,
            session,
            living: living as u64,
            disk_bytes: halted.disk_bytes()?,
            halted: Some(halted),
            cached_s: Vec::new(),
            uncached_s: Vec::new(),
            before,
            after: Memory::default(),
        })
    }

    /// Starts it, checks what it holds, and stops it; gives the seconds until it was ready.
    fn restart(&mut self) -> Result<f64> {
        let Some(halted) = self.halted.take() else {
            return Err(Failure::Input(format!("{} is not stopped", self.kind.name())));
        };
        let server = target::start_again(halted)?;
        let seconds = server.start_time().as_secs_f64();
        insist_on_count(&server, self.living)?;
        self.after = usage::memory(server.pid())?;
        let sample = sample(self.living as usize);
        let resolved = self.session.perform(Operation::Resolve, sample, &mut Silent)?;
        insist_on_right(&server, &resolved)?;
        if self.kind == Kind::Jeton {
            let replayed = self.session.perform(Operation::Replay, sample, &mut Silent)?;
            insist_on_right(&server, &replayed)?;
        }
        insist_on_count(&server, self.living)?;
        self.halted = Some(server.halt()?);
        Ok(seconds)
    }
}
