//! Walks one chain, line by line.

use std::io;
use std::path::Path;

use serde::Deserialize;

use super::lines::Lines;
use super::report::{FINDINGS_MAX, Finding, LogReport, Place, What};
use super::since::{self, Kept, Since};
use crate::audit::chain::{Chain, ChainHash, LogKind, split};
use crate::audit::checkpoint::{self, At, Checkpoint, Found};
use crate::audit::signing::PublicKey;

/// The numbers of an event's line.
#[derive(Deserialize)]
struct Event {
    seq: u64,
    #[serde(default)]
    missing: u64,
}

pub(super) struct Walk<'a> {
    key: &'a PublicKey,
    id: [u8; 8],
    place: Place,
    /// Where the chain stands; `None` before the first checkpoint.
    chain: Option<Chain>,
    /// The last checkpoint.
    last: Option<Checkpoint>,
    /// The hash that the marks follow, where somebody has computed them anew: what is signed later
    /// fits the lines again, and never the marks.
    marks: Option<ChainHash>,
    /// Number of the file at the first checkpoint.
    first_file: u64,
    /// Lines since the last checkpoint, or before the first.
    unsigned: u64,
    /// Something was found since the last checkpoint, so the marks fit no more.
    is_broken: bool,
    /// A line without a mark, which may be half a line that a crash has left.
    half: Option<Place>,
    /// Checkpoints kept elsewhere that were not seen yet.
    since: Kept<'a>,
    /// Place of the last one that was seen.
    seen: Option<usize>,
    newest: Option<&'a Checkpoint>,
    /// All that was kept elsewhere.
    kept: Option<&'a Since>,
    report: LogReport,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        key: &'a PublicKey,
        log: LogKind,
        id: [u8; 8],
        since: Option<&'a Since>,
    ) -> Self {
        let (kept, name) = (since, const_hex::encode(id));
        let (since, newest) = kept.map(|kept| kept.of(log, &name)).unwrap_or_default();
        let report = LogReport {
            log,
            id: name,
            node: None,
            begin: Place::default(),
            files: 0,
            lines: 0,
            checkpoints: 0,
            seq: 0,
            signed_until: String::new(),
            findings: Vec::new(),
            more_findings: 0,
            notes: Vec::new(),
        };
        Self {
            key,
            id,
            place: Place::default(),
            chain: None,
            last: None,
            marks: None,
            first_file: 0,
            unsigned: 0,
            is_broken: false,
            half: None,
            since,
            seen: None,
            newest,
            kept,
            report,
        }
    }

    /// Walks the next file, which may be the last one.
    pub(super) fn file(&mut self, file: &Path, is_last: bool) -> io::Result<()> {
        let mut lines = Lines::open(file)?;
        self.report.files += 1;
        self.place = Place::new(file, 0);
        while let Some(line) = lines.next()? {
            self.place.line += 1;
            self.report.lines += 1;
            if self.report.lines == 1 {
                self.report.begin = self.place.clone();
            }
            if line.is_whole {
                self.line(line.bytes);
            } else if !is_last || line.is_complete() {
                self.find(What::NoLineBreak);
            } else {
                // The server writes the rest in this or the next file, or ends it at its next start.
                self.report
                    .notes
                    .push(format!("{}: half a line at the end of the file", self.place));
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        match checkpoint::read(line, self.key) {
            Found::Checkpoint(found) => self.checkpoint(line, &found),
            // What a crash has left of a checkpoint is half a line like any other.
            Found::Forged if split(line).is_none() => self.event(line),
            Found::Forged => {
                self.find(What::Forged);
                self.is_broken = true;
                self.event(line);
            }
            Found::Other => self.event(line),
        }
    }

    fn event(&mut self, line: &[u8]) {
        self.unsigned += 1;
        let Some(chain) = &mut self.chain else { return };
        chain.hash.take_line(line);
        if let Some(marks) = &mut self.marks {
            marks.take_line(line);
        }
        let Some((_, mark)) = split(line) else {
            self.half.get_or_insert_with(|| self.place.clone());
            return;
        };
        let fits =
            mark == chain.hash.mark() || self.marks.is_some_and(|marks| mark == marks.mark());
        let Ok(Event { seq, missing }) = serde_json::from_slice(line) else {
            return self.found(What::Changed);
        };
        let (after, expected) = (chain.seq, chain.seq.saturating_add(1).saturating_add(missing));
        chain.seq = chain.seq.max(seq);
        if seq > expected {
            self.found(What::Missing { first: after + 1, last: seq - missing - 1 });
        } else if seq < expected {
            self.found(What::OutOfOrder { seq, after });
        } else if !fits {
            self.found(What::Changed);
        }
    }

    fn checkpoint(&mut self, line: &[u8], found: &Checkpoint) {
        let Some(before) = found.chain_before() else { return self.find(What::Forged) };
        if (before.log, before.id) != (self.report.log, self.id) {
            let (log, id) = (before.log, found.id.clone());
            return self.find(What::Foreign { log, id });
        }
        if self.chain.is_none() {
            self.begin(&before, found);
        }
        let Some(chain) = self.chain.clone() else { return };
        self.end_half(found);
        let is_older = before.seq < chain.seq || before.file < chain.file;
        let is_again = self.unsigned == 0
            && before != chain
            && self.last.as_ref().is_some_and(|last| found.time < last.time || found == last);
        if is_older && !self.is_broken || is_again {
            return self.find(What::Misplaced { seq: before.seq });
        }
        let difference = self.difference(&chain, &before);
        self.follow_marks(line, chain.hash, before.hash);
        difference.into_iter().for_each(|what| self.find(what));
        if found.unsigned > 0 && found.at == At::Start {
            self.find(What::Unsigned { lines: found.unsigned, last: found.seq });
        }
        self.chain = found.chain_after(line);
        let hashes = [self.chain.as_ref().map(|chain| chain.hash), self.marks];
        let fits = |mark| hashes.into_iter().flatten().any(|hash| hash.mark() == mark);
        if !self.is_broken && !split(line).is_some_and(|(_, mark)| fits(mark)) {
            self.find(What::Changed);
        }
        if let Some((place, _)) = self.since.remove(&since::hash(line)) {
            self.seen = self.seen.max(Some(place));
        }
        self.report.checkpoints += 1;
        self.report.node = found.node.clone().or(self.report.node.take());
        self.last = Some(found.clone());
        (self.unsigned, self.is_broken) = (0, false);
    }

    /// Goes on with the hash of the lines as they are, if it is not what a checkpoint signs.
    fn follow_marks(&mut self, line: &[u8], of_lines: ChainHash, signed: ChainHash) {
        if self.marks.is_none() && of_lines != signed {
            self.marks = Some(of_lines);
        }
        if let Some(marks) = &mut self.marks {
            marks.take_line(line);
        }
    }

    /// The first checkpoint: what is before it can be checked only with the file before.
    fn begin(&mut self, before: &Chain, found: &Checkpoint) {
        let (first, seq) = (before.file, before.seq);
        self.first_file = first;
        if self.unsigned > 0 {
            self.find(What::Headless { lines: self.unsigned });
        } else if !is_beginning(before, found) {
            self.find(What::BeginMissing { seq });
        } else if first > 1 {
            let mut note =
                format!("the log begins with file number {first}: earlier files were not given");
            if found.at == At::Start {
                note += &format!(
                    "; this file begins with a start of the server after seq {seq}: nobody can say \
                     whether lines of it were removed before that"
                );
            }
            self.report.notes.push(note);
        }
        self.chain = Some(before.clone());
    }

    /// A line without a mark is what a crash leaves, if the next line says that a server has started
    /// after it.
    fn end_half(&mut self, found: &Checkpoint) {
        let Some(place) = self.half.take() else { return };
        if found.at != At::Start || found.unsigned == 0 {
            self.is_broken = true;
            self.push(Finding { place, what: What::Unmarked });
        }
    }

    /// Compares what a checkpoint signs with what was read. A difference is reported once for all
    /// lines between two checkpoints.
    fn difference(&self, chain: &Chain, before: &Chain) -> Option<What> {
        if before.file > chain.file + 1 {
            return Some(What::FilesMissing { first: chain.file + 1, last: before.file - 1 });
        }
        if self.is_broken || (before.hash, before.seq) == (chain.hash, chain.seq) {
            return None;
        }
        let (after, until) = (self.last.as_ref().map_or(0, |last| last.seq), before.seq);
        Some(match () {
            () if before.seq > chain.seq => What::Missing { first: chain.seq + 1, last: until },
            () if self.unsigned == 0 => What::CheckpointMissing,
            () => What::Recomputed { after, until },
        })
    }

    /// Adds a finding, unless the marks do not fit anyway.
    fn found(&mut self, what: What) {
        if !std::mem::replace(&mut self.is_broken, true) {
            self.find(what);
        }
    }

    fn find(&mut self, what: What) {
        let place = self.place.clone();
        self.push(Finding { place, what });
    }

    fn push(&mut self, finding: Finding) {
        match self.report.findings.len() < FINDINGS_MAX {
            true => self.report.findings.push(finding),
            false => self.report.more_findings += 1,
        }
    }

    /// The end of the last file.
    pub(super) fn end(mut self) -> LogReport {
        if let Some(place) = self.half.take() {
            self.push(Finding { place, what: What::Unmarked });
        }
        self.report.seq = self.chain.as_ref().map_or(0, |chain| chain.seq);
        self.report.signed_until = self.last.take().map(|last| last.time).unwrap_or_default();
        if self.unsigned > 0 {
            let lines = self.unsigned;
            let note = format!(
                "the last {lines} lines are not signed yet: nobody can say whether they were changed. A \
                 running server signs them within a second or two"
            );
            self.report.notes.push(note);
        }
        self.compare_since();
        self.report
    }

    fn compare_since(&mut self) {
        let Some(newest) = self.newest else {
            let note = "without --since nobody can say whether the end of the log was removed, or the \
                        whole log replaced by an older one: compare it with a checkpoint that was kept \
                        elsewhere";
            let of_others = "no given checkpoint is of this chain: nobody can say whether its end was \
                             removed";
            let note = if self.kept.is_some() { of_others } else { note };
            return self.report.notes.push(note.to_owned());
        };
        let unseen = std::mem::take(&mut self.since).into_values();
        let (mut unseen, earlier): (Vec<_>, Vec<_>) =
            unseen.partition(|(_, kept)| kept.file >= self.first_file);
        self.compare_earlier(newest, earlier.into_iter().map(|(_, kept)| kept));
        unseen.sort_by_key(|(place, _)| *place);
        let end = self.report.seq;
        // Those that were kept after the last one in the log are of its missing end.
        let is_before = |(place, kept): &(usize, &Checkpoint)| match self.seen {
            Some(seen) => *place < seen,
            None => kept.seq <= end,
        };
        let before = unseen.iter().find(|kept| is_before(kept)).map(|(_, kept)| *kept);
        let behind = unseen.last().filter(|kept| !is_before(kept)).map(|(_, kept)| *kept);
        if let Some(Checkpoint { seq, time, .. }) = before.cloned() {
            self.find(What::NotInChain { seq, time });
        }
        if let Some(Checkpoint { seq, time, .. }) = behind.cloned() {
            self.find(What::RolledBack { seq, time, end });
        }
    }

    /// Compares the beginning of the log with checkpoints of files that were not given.
    fn compare_earlier<'b>(
        &mut self,
        newest: &Checkpoint,
        earlier: impl Iterator<Item = &'b Checkpoint>,
    ) {
        let may_be_gone =
            |kept: &Checkpoint| self.kept.is_some_and(|all| all.may_be_gone(kept, newest));
        let (accepted, gone): (Vec<_>, Vec<_>) = earlier.partition(|kept| may_be_gone(kept));
        let last = |all: &[&Checkpoint]| {
            let last = all.iter().max_by_key(|kept| (kept.file, kept.seq))?;
            Some((last.file, last.seq, last.time.clone()))
        };
        if let Some((file, seq, time)) = last(&accepted).filter(|_| gone.is_empty()) {
            self.report.notes.push(format!(
                "files up to number {file} were not given, which had lines up to seq {seq} ({time}): nobody \
                 can say whether they were removed for their age"
            ));
        }
        let first = gone.iter().map(|kept| kept.file).min();
        let (Some(first), Some((last, seq, time))) = (first, last(&gone)) else { return };
        let place = self.report.begin.clone();
        self.push(Finding { place, what: What::FirstFilesMissing { first, last, seq, time } });
    }
}

/// Whether a file can begin with this checkpoint. A server that finds no file, because another
/// program has moved it, begins the next one with its start.
fn is_beginning(before: &Chain, found: &Checkpoint) -> bool {
    if before.file == 1 {
        return (before.seq, before.hash) == (0, ChainHash::default());
    }
    match found.at {
        At::FileStart | At::Truncated => true,
        At::Start => found.unsigned == 0,
        At::Second | At::FileEnd | At::Stop => false,
    }
}
