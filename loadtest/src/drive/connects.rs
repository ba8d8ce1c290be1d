//! How connections are made, and what is counted of them: handshakes of TLS, full and resumed, and
//! the time of a connection that is made for one request.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::histogram::{add, latencies};
use super::link::Anew;
use super::window::Window;
use crate::tls::Handshake;
use crate::tls::wire::{Negotiated, Wire};

/// About how many turns the time of a measurement is cut into; each has one kind of handshake.
const TURNS: usize = 12;

/// How often connections are made in a phase.
#[derive(Clone, Copy, Debug)]
pub enum Connecting {
    /// Once, and again after one has ended.
    Once,
    /// For each request.
    Each(Handshake),
    /// For each request, of one kind after the other by turns of this time.
    InTurn(Window),
}

impl Connecting {
    /// The handshake of a connection that is made now; none if the existing connection stays.
    pub fn at(self, now_ns: u64) -> Option<Handshake> {
        match self {
            Self::Once => None,
            Self::Each(handshake) => Some(handshake),
            Self::InTurn(window) => {
                let since_ns = now_ns.saturating_sub(window.from_ns);
                let slice = usize::try_from(since_ns / window.slice_ns()).unwrap_or(usize::MAX);
                Some(turn(slice, window.slices()).handshake)
            }
        }
    }
}

/// What a slice of the time is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Turn {
    /// The handshakes that are made in it.
    pub handshake: Handshake,
    /// Whether connections of the turn before may still be under way.
    pub is_mixed: bool,
}

/// The turn that slice `slice` of `slices` belongs to. The order is full, resumed, resumed, full, so
/// that drift affects both alike.
pub fn turn(slice: usize, slices: usize) -> Turn {
    let length = (slices / TURNS).max(1);
    let is_full = |slice: usize| matches!(slice / length % 4, 0 | 3);
    let handshake = if is_full(slice) { Handshake::Full } else { Handshake::Resumed };
    // Turns of one slice have it too: every second turn has the same kind as the one before.
    let is_mixed = slice > 0 && is_full(slice) != is_full(slice - 1);
    Turn { handshake, is_mixed }
}

/// Connections that were made for one request, and answered.
#[derive(Clone, Debug)]
pub struct Made {
    /// How many.
    pub connections: u64,
    /// How many of them resumed a session.
    pub resumed: u64,
    /// Nanoseconds until a request could be sent: TCP's handshake and TLS's.
    pub shaken_ns: Histogram<u64>,
    /// Nanoseconds until the answer was there.
    pub answered_ns: Histogram<u64>,
    /// The part of `shaken_ns` in which it waited for the harness.
    pub queued_shaking_ns: Histogram<u64>,
    /// The same part of `answered_ns`.
    pub queued_ns: Histogram<u64>,
}

/// Counts of connections.
#[derive(Clone, Debug, Default)]
pub struct Connects {
    /// Full handshakes of TLS, measured or not.
    pub full: u64,
    /// Resumed ones.
    pub resumed: u64,
    /// What both sides agreed on, and how often.
    pub negotiated: BTreeMap<Negotiated, u64>,
    /// Bytes of requests while measuring, without TLS.
    pub plain_sent: u64,
    /// Bytes of answers while measuring, without TLS.
    pub plain_received: u64,
    /// Connections that were made for one request while measuring: to begin with a full handshake,
    /// and with a resumed one.
    pub made: [Option<Made>; 2],
}

impl Connects {
    /// A connection can take requests.
    pub fn opened(&mut self, wire: &Wire) {
        let Some(is_resumed) = wire.is_resumed() else { return };
        *(if is_resumed { &mut self.resumed } else { &mut self.full }) += 1;
        if let Some(negotiated) = wire.negotiated() {
            *self.negotiated.entry(negotiated).or_insert(0) += 1;
        }
    }

    /// The one request of a connection was answered.
    pub fn answered(&mut self, anew: Anew, is_resumed: bool, now_ns: u64) {
        let made = self.made[anew.handshake as usize].get_or_insert_with(|| Made {
            connections: 0,
            resumed: 0,
            shaken_ns: latencies(),
            answered_ns: latencies(),
            queued_shaking_ns: latencies(),
            queued_ns: latencies(),
        });
        made.connections += 1;
        made.resumed += u64::from(is_resumed);
        made.shaken_ns.saturating_record(anew.shaken_ns.max(1));
        made.answered_ns.saturating_record(now_ns.saturating_sub(anew.since_ns).max(1));
        made.queued_shaking_ns.saturating_record(anew.queued_shaking_ns.max(1));
        made.queued_ns.saturating_record(anew.queued_ns.max(1));
    }

    /// Adds the counts of another thread, or of an earlier phase.
    pub fn merge(&mut self, other: &Self) {
        self.full += other.full;
        self.resumed += other.resumed;
        for (negotiated, count) in &other.negotiated {
            *self.negotiated.entry(negotiated.clone()).or_insert(0) += count;
        }
        self.plain_sent += other.plain_sent;
        self.plain_received += other.plain_received;
        for (mine, theirs) in self.made.iter_mut().zip(&other.made) {
            match (mine, theirs) {
                (Some(mine), Some(theirs)) => mine.merge(theirs),
                (mine @ None, Some(_)) => mine.clone_from(theirs),
                (_, None) => {}
            }
        }
    }
}

impl Made {
    fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.resumed += other.resumed;
        add(&mut self.shaken_ns, &other.shaken_ns);
        add(&mut self.answered_ns, &other.answered_ns);
        add(&mut self.queued_shaking_ns, &other.queued_shaking_ns);
        add(&mut self.queued_ns, &other.queued_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_balanced_and_their_first_slices_mixed() {
        for slices in [4, 8, 12, 24, 48, 120] {
            let turns: Vec<Turn> = (0..slices).map(|slice| turn(slice, slices)).collect();
            let full = turns.iter().filter(|turn| turn.handshake == Handshake::Full).count();
            assert_eq!(full * 2, slices, "{slices}");
            assert!(!turns[0].is_mixed);
            let switches = turns.windows(2).filter(|two| two[0].handshake != two[1].handshake);
            let mixed = turns.iter().filter(|turn| turn.is_mixed).count();
            assert_eq!(mixed, switches.count(), "{slices}");
            for kind in [Handshake::Full, Handshake::Resumed] {
                let is_clean = |turn: &&Turn| turn.handshake == kind && !turn.is_mixed;
                assert!(turns.iter().any(|turn| is_clean(&turn)), "{kind:?} of {slices}");
            }
        }
    }

    #[test]
    fn each_moment_has_the_handshake_of_its_slice() {
        let window = Window { from_ns: 1_000_000_000, to_ns: 13_000_000_000 };
        let connecting = Connecting::InTurn(window);
        for (at_ms, expected) in [
            (0, Handshake::Full),
            (1_999, Handshake::Full),
            (2_001, Handshake::Resumed),
            (3_999, Handshake::Resumed),
            (4_001, Handshake::Full),
        ] {
            assert_eq!(connecting.at(at_ms * 1_000_000), Some(expected), "{at_ms}");
        }
        assert_eq!(Connecting::Once.at(0), None);
        assert_eq!(Connecting::Each(Handshake::Resumed).at(5), Some(Handshake::Resumed));
    }
}
