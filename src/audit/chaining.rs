//! The writer's half of the chain: completes lines, adds checkpoints, and starts the lines that wait
//! anew when they go to another file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::chain::{Chain, ID_LEN, LogKind};
use super::checkpoint::{self, At, LogEnd, Told};
use super::elsewhere::Elsewhere;
use super::file::{AuditError, AuditFile};
use super::resume::{self, Numbered, Resumed, State};
use super::signing::SigningKey;
use crate::clock::Clock;
use crate::model::cluster::NodeId;

/// A checkpoint is due after this many bytes, also within a second. A restart searches many times as
/// much for the last one.
const BYTES_BETWEEN_MAX: usize = 8 << 20;

/// What checkpoints are made with.
#[derive(Clone)]
pub struct Signing {
    /// The key that signs them.
    pub key: Arc<SigningKey>,
    /// Returns the end of the durable log of the data; `None` without a log.
    pub log_end: Arc<dyn Fn() -> Option<LogEnd> + Send + Sync>,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signing(…)")
    }
}

/// The chain of a log that is being written.
pub(super) struct Chaining {
    signing: Signing,
    clock: Arc<dyn Clock>,
    elsewhere: Option<Elsewhere>,
    state: Option<State>,
    /// Before the first line of the buffer.
    base: Chain,
    /// After its last line.
    chain: Chain,
    /// Lines and bytes after the last checkpoint.
    lines: u64,
    bytes: usize,
}

impl Chaining {
    /// Continues the chain of `file`, or begins one. A file whose lines belong to no chain of this
    /// key is put aside first. Returns the chain and the number of lines that the last run has left
    /// without a signature.
    pub(super) fn resume(
        file: &mut AuditFile,
        log: LogKind,
        signing: Signing,
        clock: Arc<dyn Clock>,
        elsewhere: Option<Elsewhere>,
    ) -> Result<(Self, u64), AuditError> {
        let public = signing.key.public();
        let found = file.resume(log, &public)?;
        let mut state = open_state(file.path(), file.mode());
        let stated = state.as_mut().and_then(|state| match state.read(log, &public) {
            Ok(stated) => stated,
            Err(error) => {
                tracing::warn!(%error, "can't read the state of the audit log's chain");
                None
            }
        });
        let (chain, unsigned) = choose(file, found, stated, log, clock.as_ref())?;
        let base = chain.clone();
        Ok((Self { signing, clock, elsewhere, state, base, chain, lines: 0, bytes: 0 }, unsigned))
    }

    /// Number of the last event.
    pub(super) fn seq(&self) -> u64 {
        self.chain.seq
    }

    /// Completes the line of event `seq`, which begins at `from` in the buffer.
    pub(super) fn end_line(&mut self, buffer: &mut Vec<u8>, from: usize, seq: u64) {
        self.chain.seq = seq;
        self.chain.end_line(buffer, from);
        self.lines += 1;
        self.bytes += buffer.len() - from;
    }

    /// Whether lines have no checkpoint after them.
    pub(super) fn is_unsigned(&self) -> bool {
        self.lines > 0
    }

    /// Whether a checkpoint is due at once, because the lines since the last one are too long.
    pub(super) fn is_due(&self) -> bool {
        self.bytes >= BYTES_BETWEEN_MAX
    }

    /// Appends a checkpoint.
    pub(super) fn checkpoint(
        &mut self,
        buffer: &mut Vec<u8>,
        at: At,
        unsigned: u64,
        node: Option<NodeId>,
    ) {
        let log_end = (self.signing.log_end)();
        let (time, node) = (self.clock.wall().to_string(), node.map(|node| node.to_string()));
        let told = Told { time, at, unsigned, log_end, node };
        checkpoint::write(buffer, &mut self.chain, told, &self.signing.key);
        (self.lines, self.bytes) = (0, 0);
    }

    /// The whole buffer has been written.
    pub(super) fn written(&mut self, buffer: &[u8]) {
        self.base = self.chain.clone();
        self.publish(buffer);
    }

    /// Starts the rest of the buffer anew, after its first `written` bytes: with a checkpoint, and
    /// then its lines with marks that fit. Checkpoints in the rest are left out: they signed another
    /// chain. Returns the new buffer.
    pub(super) fn insert(
        &mut self,
        buffer: &[u8],
        written: usize,
        at: At,
        node: Option<NodeId>,
    ) -> Vec<u8> {
        let (gone, rest) = buffer.split_at(whole_lines(&buffer[..written]));
        self.publish(gone);
        for line in lines(gone) {
            self.base.hash.take_line(line);
            if let Some(Numbered { seq, file }) = numbered(line) {
                (self.base.seq, self.base.file) = (seq, file.unwrap_or(self.base.file));
            }
        }
        self.chain = self.base.clone();
        if matches!(at, At::FileStart | At::Truncated) {
            self.chain.file += 1;
        }
        let mut anew = Vec::with_capacity(rest.len() + checkpoint::LINE_LEN_MAX);
        self.checkpoint(&mut anew, at, 0, node);
        for line in lines(rest).filter(|line| !checkpoint::is_like_one(line)) {
            let from = anew.len();
            anew.extend_from_slice(super::chain::split(line).map_or(line, |(body, _)| body));
            anew.push(b'}');
            let seq = numbered(line).map_or(self.chain.seq, |numbered| numbered.seq);
            self.end_line(&mut anew, from, seq);
        }
        anew
    }

    /// Ships the checkpoints among lines that were written.
    fn publish(&self, written: &[u8]) {
        let is_one = |line: &&[u8]| checkpoint::is_like_one(line);
        for line in lines(written).filter(is_one) {
            let line = [line, b"\n"].concat();
            if let Some(elsewhere) = &self.elsewhere {
                elsewhere.send(&line);
            }
            let stated = self.state.as_ref().map_or(Ok(()), |state| state.write(&line));
            if let Err(error) = stated {
                tracing::debug!(%error, "can't write the state of the audit log's chain");
            }
        }
    }
}

/// Length of the whole lines at the beginning.
fn whole_lines(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn numbered(line: &[u8]) -> Option<Numbered> {
    serde_json::from_slice(line).ok()
}

fn open_state(log: &Path, mode: u32) -> Option<State> {
    State::open(log, mode)
        .inspect_err(|error| {
            let file = resume::state_path(log);
            let file = file.display();
            tracing::warn!(%error, %file, "can't open the state of the audit log's chain");
        })
        .ok()
}

/// The chain that a log continues with.
fn choose(
    file: &mut AuditFile,
    found: Option<Resumed>,
    stated: Option<Chain>,
    log: LogKind,
    clock: &dyn Clock,
) -> Result<(Chain, u64), AuditError> {
    match (found, stated) {
        // The log ends before a checkpoint that it had.
        (Some(found), Some(stated)) if found.has_lost(&stated) => {
            let (had, has) = (stated.seq, found.signed.seq);
            tracing::error!(had, has, "the end of the audit log is missing: jeton audit verify");
            // The next checkpoint signs what is missing, so that it is found for good.
            let seq = stated.seq.max(found.chain.seq);
            Ok((Chain { seq, ..stated }, found.unsigned))
        }
        (Some(Resumed { chain, unsigned, .. }), _) => Ok((chain, unsigned)),
        (None, stated) => {
            if !file.is_empty() {
                tracing::warn!("the audit log has no checkpoint of this secret: it is put aside");
                file.rotate(clock.wall())?;
            }
            match stated {
                Some(stated) => Ok((Chain { file: stated.file + 1, ..stated }, 0)),
                None => Ok((Chain::new(log, new_id()), 0)),
            }
        }
    }
}

/// A random id, or zeros if the system has no random bytes.
fn new_id() -> [u8; ID_LEN] {
    let mut id = [0; ID_LEN];
    if let Err(error) = getrandom::fill(&mut id) {
        tracing::warn!(%error, "the audit log's chain has no random id");
    }
    id
}
