//! What a thread counts while it measures: histograms, never lists, so that memory stays the same
//! however long a run takes.

use hdrhistogram::Histogram;

use crate::drive::connects::Connects;
use crate::drive::delays::Found;
use crate::drive::histogram::{add, coarse_latencies, latencies};
use crate::drive::link::Anew;
use crate::drive::nodes::Nodes;
use crate::drive::window::Window;
use crate::tls::wire::Moved;
use crate::traffic::verdict::{Errors, Wrong};
use crate::workload::Operation;

/// Share of a latency above which the harness's own part counts as a disturbance.
pub const OWN_SHARE: f64 = 0.1;

/// Counts of a part of time.
#[derive(Clone, Debug)]
pub struct SliceCounts {
    /// Answers.
    pub requests: u64,
    /// Errors among them, and requests without an answer.
    pub errors: u64,
    /// Nanoseconds in which the harness was disturbed.
    pub disturbed_ns: u64,
    /// Nanoseconds.
    pub latency_ns: Histogram<u64>,
}

/// What one thread, or all of them together, counted.
#[derive(Clone, Debug)]
pub struct Record {
    /// What is measured.
    pub window: Window,
    /// Nanoseconds of each operation that occurred, in the order of [`Operation::ALL`].
    pub latency_ns: Vec<Option<Histogram<u64>>>,
    /// Over time.
    pub slices: Vec<SliceCounts>,
    /// What went wrong.
    pub errors: Errors,
    /// Answers to requests that were due in the window.
    pub requests: u64,
    /// Tokens in these requests.
    pub tokens: u64,
    /// When the last thread was done.
    pub ended_ns: u64,
    /// Bytes of all connections while measuring, as they went over the network.
    pub bytes_sent: u64,
    /// Bytes of all connections while measuring, as they went over the network.
    pub bytes_received: u64,
    /// How connections were made.
    pub connects: Connects,
    /// Operations that found no token and issued one.
    pub substituted: u64,
    /// Connections that had to be made again.
    pub reconnects: u64,
    /// Tokens that were known to live at the end.
    pub living: u64,
    /// Nanoseconds of the answers that came while the harness was disturbed: they are among the
    /// latencies too.
    pub disturbed_ns: Histogram<u64>,
    /// Nanoseconds of the answers since the last look at the harness.
    fresh_ns: Histogram<u64>,
    /// How late requests were sent though a connection was free, of an open loop.
    pub late_ns: Histogram<u64>,
    /// The longest pause of the harness.
    pub stall_max_ns: u64,
    /// How long it waited for a CPU.
    pub waited_ns: u64,
    /// How much of the window a thread did not wait for something to come or become due: it worked,
    /// slept too long, or had no CPU. Of several threads the most.
    pub own_ns: u64,
    /// Requests of an open loop that were due in the window, sent or not.
    pub due: u64,
    /// Requests of the window that were sent after its end, because no connection was free.
    pub queued: u64,
    /// And those that were sent after it because the harness was late.
    pub delayed: u64,
    /// Of each server, where there are several.
    pub nodes: Nodes,
    /// Why it ended before its time, where the server went away.
    pub gone: Option<String>,
}

impl Record {
    /// Nothing yet.
    pub fn new(window: Window) -> Self {
        let empty =
            SliceCounts { requests: 0, errors: 0, disturbed_ns: 0, latency_ns: coarse_latencies() };
        Self {
            window,
            latency_ns: vec![None; Operation::ALL.len()],
            slices: vec![empty; window.slices()],
            errors: Errors::default(),
            requests: 0,
            tokens: 0,
            ended_ns: window.from_ns,
            bytes_sent: 0,
            bytes_received: 0,
            connects: Connects::default(),
            substituted: 0,
            reconnects: 0,
            living: 0,
            disturbed_ns: latencies(),
            fresh_ns: latencies(),
            late_ns: coarse_latencies(),
            stall_max_ns: 0,
            waited_ns: 0,
            own_ns: 0,
            due: 0,
            queued: 0,
            delayed: 0,
            nodes: Nodes::default(),
            gone: None,
        }
    }

    /// The same, with the counts of so many servers.
    pub fn of_nodes(window: Window, count: usize) -> Self {
        Self { nodes: Nodes::new(window, count), ..Self::new(window) }
    }

    /// One answer, right or wrong, to a request that was due at `since_ns`.
    ///
    /// Latencies are those of the requests that were due while measuring, whenever their answers
    /// came; slices are of the answers that came in them, whenever they were due: a server that
    /// falls behind shows in both.
    ///
    /// `own_ns` is how long its own connection, if it has one, waited for the harness. If that is much
    /// of the latency, the latency does not count as the server's.
    pub fn answer(
        &mut self,
        operation: Operation,
        tokens: u64,
        since_ns: u64,
        now_ns: u64,
        own_ns: u64,
    ) {
        let latency_ns = now_ns.saturating_sub(since_ns).max(1);
        if let Some(slice) = self.slice_at(now_ns) {
            slice.requests += 1;
            slice.latency_ns.saturating_record(latency_ns);
        }
        if !self.window.contains(since_ns) {
            return;
        }
        self.latency_ns[operation as usize]
            .get_or_insert_with(latencies)
            .saturating_record(latency_ns);
        let is_own = own_ns as f64 > latency_ns as f64 * OWN_SHARE;
        let of_time = if is_own { &mut self.disturbed_ns } else { &mut self.fresh_ns };
        of_time.saturating_record(latency_ns);
        self.requests += 1;
        self.tokens += tokens;
    }

    /// A request of an open loop goes out at `now_ns`: due at `since_ns`, and a connection was free
    /// from `free_ns` on.
    pub fn open_loop(&mut self, since_ns: u64, free_ns: u64, now_ns: u64) {
        if !self.window.contains(since_ns) {
            return;
        }
        self.due += 1;
        let possible_ns = since_ns.max(free_ns);
        let late_ns = now_ns.saturating_sub(possible_ns);
        self.late_ns.saturating_record(late_ns);
        if now_ns >= self.window.to_ns {
            let queued = possible_ns - since_ns > late_ns;
            *(if queued { &mut self.queued } else { &mut self.delayed }) += 1;
        }
    }

    /// A request of an open loop was due at `due_ns` and not sent when all ended.
    pub(super) fn note_unsent(&mut self, due_ns: u64, ended_ns: u64) {
        self.due += u64::from(self.window.contains(due_ns) && due_ns < ended_ns);
    }

    /// Files the answers since the last look as disturbed or not.
    pub(super) fn settle(&mut self, found: Found) {
        let (from_ns, to_ns) =
            (found.from_ns.max(self.window.from_ns), found.to_ns.min(self.window.to_ns));
        // Answers to requests of the window come after its end too.
        if from_ns < to_ns || !self.fresh_ns.is_empty() {
            self.waited_ns += found.waited_ns;
            self.stall_max_ns = self.stall_max_ns.max(found.longest_ns);
        }
        if from_ns < to_ns {
            self.own_ns += found.own_ns;
        }
        if found.is_disturbed {
            add(&mut self.disturbed_ns, &self.fresh_ns);
            self.mark(from_ns, to_ns);
        }
        self.fresh_ns.reset();
    }

    /// Marks the slices of this time.
    fn mark(&mut self, from_ns: u64, to_ns: u64) {
        let (begin_ns, length_ns) = (self.window.from_ns, self.window.slice_ns());
        for (index, slice) in self.slices.iter_mut().enumerate() {
            let at_ns = begin_ns + index as u64 * length_ns;
            let shared_ns = to_ns.min(at_ns + length_ns).saturating_sub(from_ns.max(at_ns));
            slice.disturbed_ns += shared_ns;
        }
    }

    /// Bytes went out.
    pub fn sent(&mut self, moved: Moved, now_ns: u64) {
        if self.window.contains(now_ns) {
            self.bytes_sent += moved.wire as u64;
            self.connects.plain_sent += moved.plain as u64;
        }
    }

    /// Bytes came in.
    pub fn received(&mut self, moved: Moved, now_ns: u64) {
        if self.window.contains(now_ns) {
            self.bytes_received += moved.wire as u64;
            self.connects.plain_received += moved.plain as u64;
        }
    }

    /// A connection that was made for one request was answered.
    pub(super) fn connected(&mut self, anew: Anew, is_resumed: bool, now_ns: u64) {
        if self.window.contains(anew.since_ns) {
            self.connects.answered(anew, is_resumed, now_ns);
        }
    }

    /// A connection ended and is made again.
    pub fn reconnected(&mut self, node: usize, now_ns: u64) {
        let measured = u64::from(self.window.contains(now_ns));
        self.reconnects += measured;
        if let Some(node) = self.nodes.of(node) {
            node.reconnects += measured;
        }
    }

    /// Something went wrong. Errors count whenever they happen, measured or not: a token that is
    /// lost in the warm-up is lost.
    pub fn error(&mut self, node: usize, wrong: Wrong, now_ns: u64) {
        if let Some(node) = self.nodes.of(node) {
            node.errors += 1;
        }
        if let Some(slice) = self.slice_at(now_ns) {
            slice.errors += 1;
        }
        self.errors.add(wrong);
    }

    fn slice_at(&mut self, now_ns: u64) -> Option<&mut SliceCounts> {
        self.slices.get_mut(self.window.slice_at(now_ns)?)
    }

    /// Adds the counts of another thread in the same window.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.latency_ns.iter_mut().zip(&other.latency_ns) {
            let Some(theirs) = theirs else { continue };
            add(mine.get_or_insert_with(latencies), theirs);
        }
        for (mine, theirs) in self.slices.iter_mut().zip(&other.slices) {
            mine.requests += theirs.requests;
            mine.errors += theirs.errors;
            // Of several threads the one that was disturbed for longest.
            mine.disturbed_ns = mine.disturbed_ns.max(theirs.disturbed_ns);
            add(&mut mine.latency_ns, &theirs.latency_ns);
        }
        self.errors.merge(&other.errors);
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.ended_ns = self.ended_ns.max(other.ended_ns);
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.connects.merge(&other.connects);
        self.substituted += other.substituted;
        self.reconnects += other.reconnects;
        self.living += other.living;
        add(&mut self.disturbed_ns, &other.disturbed_ns);
        add(&mut self.late_ns, &other.late_ns);
        self.stall_max_ns = self.stall_max_ns.max(other.stall_max_ns);
        self.waited_ns += other.waited_ns;
        self.own_ns = self.own_ns.max(other.own_ns);
        self.due += other.due;
        self.queued += other.queued;
        self.delayed += other.delayed;
        self.nodes.merge(&other.nodes);
        if self.gone.is_none() {
            self.gone.clone_from(&other.gone);
        }
    }

    /// Nanoseconds of the answers that came while the harness was not disturbed.
    #[expect(clippy::expect_used, reason = "what is taken away was recorded in the same bounds")]
    pub fn clean_latencies(&self) -> Histogram<u64> {
        let mut clean = self.all_latencies();
        clean.subtract(&self.disturbed_ns).expect("a part of all");
        clean
    }

    /// Nanoseconds of all operations together.
    pub fn all_latencies(&self) -> Histogram<u64> {
        let mut all = latencies();
        for one in self.latency_ns.iter().flatten() {
            add(&mut all, one);
        }
        all
    }
}

#[cfg(test)]
mod tests;
