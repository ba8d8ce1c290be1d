//! The counts of each server, where a run asks several: right answers, errors, and when there were
//! none.

use crate::drive::window::Window;

const STEP_MIN_NS: u64 = 1_000_000;
/// Steps of a window, at most: a millisecond each in a window of a quarter of an hour.
const STEPS_MAX: u64 = 1 << 20;
const BITS: u64 = u64::BITS as u64;

/// In which steps of a window something came. Threads add theirs up exactly.
#[derive(Clone, Debug)]
pub struct Timeline {
    window: Window,
    marks: Vec<u64>,
}

impl Timeline {
    /// Nothing came.
    pub fn new(window: Window) -> Self {
        let steps = (window.to_ns - window.from_ns).div_ceil(Self::step_ns(window));
        Self { window, marks: vec![0; steps.div_ceil(BITS) as usize] }
    }

    fn step_ns(window: Window) -> u64 {
        (window.to_ns - window.from_ns).div_ceil(STEPS_MAX).max(STEP_MIN_NS)
    }

    /// Something came now.
    pub fn mark(&mut self, now_ns: u64) {
        if !self.window.contains(now_ns) {
            return;
        }
        let step = (now_ns - self.window.from_ns) / Self::step_ns(self.window);
        if let Some(marks) = self.marks.get_mut((step / BITS) as usize) {
            *marks |= 1 << (step % BITS);
        }
    }

    /// Adds what another one of the same window has.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.marks.iter_mut().zip(&other.marks) {
            *mine |= theirs;
        }
    }

    /// The longest time in which nothing came until `ended_ns`, the begin and the end of the window
    /// included; to two steps.
    pub fn silence_ns(&self, ended_ns: u64) -> u64 {
        let step_ns = Self::step_ns(self.window);
        let end_ns = ended_ns.clamp(self.window.from_ns, self.window.to_ns);
        let steps = (end_ns - self.window.from_ns) / step_ns;
        let (mut longest, mut empty) = (0, 0);
        for step in 0..steps {
            let is_marked = self.marks[(step / BITS) as usize] >> (step % BITS) & 1 == 1;
            empty = if is_marked { 0 } else { empty + 1 };
            longest = longest.max(empty);
        }
        longest * step_ns
    }
}

/// What was counted of one server.
#[derive(Clone, Debug)]
pub struct NodeCounts {
    /// Right answers that came in the window.
    pub answers: u64,
    /// Errors, whenever they happened.
    pub errors: u64,
    /// Connections of the window that ended and were made again.
    pub reconnects: u64,
    /// When right answers came.
    pub timeline: Timeline,
}

/// The counts of all servers; none where there is but one.
#[derive(Clone, Debug, Default)]
pub struct Nodes(Vec<NodeCounts>);

impl Nodes {
    /// Nothing yet.
    pub fn new(window: Window, count: usize) -> Self {
        let timeline = Timeline::new(window);
        let none = NodeCounts { answers: 0, errors: 0, reconnects: 0, timeline };
        Self(if count > 1 { vec![none; count] } else { Vec::new() })
    }

    /// Each server's.
    pub fn iter(&self) -> impl Iterator<Item = &NodeCounts> {
        self.0.iter()
    }

    /// The counts of one server.
    pub fn of(&mut self, node: usize) -> Option<&mut NodeCounts> {
        self.0.get_mut(node)
    }

    /// The longest time without a right answer of any server; none where there is but one.
    pub fn silence_ns(&self, ended_ns: u64) -> Option<u64> {
        let [first, others @ ..] = &*self.0 else { return None };
        let mut all = first.timeline.clone();
        others.iter().for_each(|one| all.merge(&one.timeline));
        Some(all.silence_ns(ended_ns))
    }

    /// Adds the counts of another thread in the same window.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.answers += theirs.answers;
            mine.errors += theirs.errors;
            mine.reconnects += theirs.reconnects;
            mine.timeline.merge(&theirs.timeline);
        }
    }
}

impl NodeCounts {
    /// A right answer came.
    pub fn answered(&mut self, now_ns: u64) {
        self.answers += u64::from(self.timeline.window.contains(now_ns));
        self.timeline.mark(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn window() -> Window {
        Window { from_ns: 1_000 * MS, to_ns: 2_000 * MS }
    }

    #[test]
    fn silence_is_the_longest_time_without_an_answer_of_any_thread() {
        let mut timeline = Timeline::new(window());
        assert_eq!(timeline.silence_ns(u64::MAX), 1_000 * MS);
        for at_ms in [999, 1_100, 1_101, 1_400, 1_990, 2_000] {
            timeline.mark(at_ms * MS);
        }
        assert_eq!(timeline.silence_ns(u64::MAX), 589 * MS);
        assert_eq!(timeline.silence_ns(1_500 * MS), 298 * MS, "ended early");
        let mut other = Timeline::new(window());
        other.mark(1_700 * MS);
        timeline.merge(&other);
        assert_eq!(timeline.silence_ns(u64::MAX), 299 * MS);
    }

    #[test]
    fn one_server_has_no_counts_of_its_own_and_several_are_silent_together() {
        let mut one = Nodes::new(window(), 1);
        assert!(one.of(0).is_none() && one.silence_ns(u64::MAX).is_none());
        let mut nodes = Nodes::new(window(), 2);
        let mut other = nodes.clone();
        nodes.of(0).unwrap().answered(1_300 * MS);
        other.of(1).unwrap().answered(1_600 * MS);
        other.of(1).unwrap().answered(2_600 * MS);
        nodes.merge(&other);
        let silences: Vec<u64> =
            nodes.iter().map(|one| one.timeline.silence_ns(u64::MAX) / MS).collect();
        assert_eq!((silences, nodes.silence_ns(u64::MAX)), (vec![699, 600], Some(399 * MS)));
        assert_eq!(nodes.iter().map(|one| one.answers).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn however_long_a_window_is_its_steps_are_few() {
        let day = Window { from_ns: 7, to_ns: 7 + 86_400_000 * MS };
        let mut timeline = Timeline::new(day);
        assert!(timeline.marks.len() <= 1 << 14);
        timeline.mark(day.to_ns - 1);
        assert!(timeline.silence_ns(u64::MAX) < 86_400_000 * MS);
    }
}
