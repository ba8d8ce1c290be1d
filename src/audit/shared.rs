//! State that the worker threads share with the writer: the places and the counters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;
use tokio::sync::oneshot;

use super::chain::LogKind;
use super::chaining::Signing;
use super::elsewhere::Elsewhere;
use super::line::Event;
use crate::model::cluster::NodeId;

/// Counters of the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines written.
    pub lines: u64,
    /// Events without a line.
    pub dropped: u64,
    /// Whether the file cannot be written at the moment.
    pub is_failing: bool,
    /// Lines written about refused or missed requests.
    pub refused_lines: u64,
    /// Events without a line about refused or missed requests.
    pub refused_dropped: u64,
    /// Free bytes of the audit log's disk, if known.
    pub free_bytes: Option<u64>,
    /// Whether that disk is nearly full.
    pub is_filling: bool,
}

/// State shared by the writer and the worker threads.
pub(super) struct Shared {
    pub(super) places_max: usize,
    /// Places taken: events that are not written yet.
    pub(super) places: CachePadded<AtomicUsize>,
    pub(super) lines: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Dropped events that no line has reported yet.
    pub(super) missing: AtomicU64,
    pub(super) is_failing: AtomicBool,
    /// Free bytes of the disk; `u64::MAX` if unknown.
    pub(super) free_bytes: AtomicU64,
    pub(super) is_filling: AtomicBool,
    /// The node of a cluster whose requests these are, once it is known.
    pub(super) node: OnceLock<NodeId>,
}

/// What the chain of a log is made with.
pub(super) struct Sign {
    pub(super) log: LogKind,
    pub(super) signing: Signing,
    pub(super) elsewhere: Option<Elsewhere>,
}

/// Messages to the writer.
pub(super) enum Message {
    Event(Event),
    /// Answered when everything queued before it is written, or cannot be written.
    Written(oneshot::Sender<()>),
    /// Lines are chained and signed from now on.
    Sign(Box<Sign>),
    Close,
}
const _: () = assert!(size_of::<Message>() <= 160);

impl Shared {
    pub(super) fn new(places_max: usize) -> Self {
        Self {
            places_max,
            places: CachePadded::default(),
            lines: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            is_filling: AtomicBool::new(false),
            node: OnceLock::new(),
        }
    }

    /// Takes all `places` or none.
    pub(super) fn take(&self, places: usize) -> bool {
        let taken = self.places.fetch_add(places, Ordering::Relaxed);
        let is_room = taken.saturating_add(places) <= self.places_max;
        if !is_room {
            self.give_back(places);
        }
        is_room
    }

    pub(super) fn give_back(&self, places: usize) {
        self.places.fetch_sub(places, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            lines: self.lines.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            is_failing: self.is_failing.load(Ordering::Relaxed),
            free_bytes: Some(self.free_bytes.load(Ordering::Relaxed))
                .filter(|free| *free < u64::MAX),
            is_filling: self.is_filling.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }
}
