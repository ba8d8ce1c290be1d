//! The history that the clients saw: every operation on one token, with its answer, its begin and
//! its end.
//!
//! Order and time are kept apart. *Ticks* come from one counter of the whole run and say which
//! operation ended before which other began; *milliseconds* come from the wall clock, which is also
//! the server's, and say what may have expired. A tick is taken outside of the reading of the
//! clock at both ends, so an operation that ended before another began has no later time either.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use jeton::engine::When;

use crate::support::now_ms;

/// The operation on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Issue {
        payload: u8,
        ttl_ms: u64,
        uses: u8,
        peek: bool,
    },
    Resolve,
    Consume {
        key: Option<u8>,
    },
    Revoke,
    Extend {
        ttl_ms: u64,
    },
    Status,
    /// Stores a payload under a name, in the place of what is there.
    Put {
        payload: u8,
        ttl_ms: u64,
        when: When,
    },
    /// Sets the deadline, also to an earlier time or one that has passed.
    SetDeadline {
        at_ms: u64,
    },
    /// Reads a name and then puts it, together.
    Swap {
        payload: u8,
        ttl_ms: u64,
    },
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An issue made the token.
    Issued {
        deadline_ms: u64,
    },
    /// An issue found the same token.
    Exists {
        deadline_ms: u64,
    },
    /// An issue made the token or found it: a batch does not say which.
    There {
        deadline_ms: u64,
    },
    /// An issue found another content, or that the token was consumed.
    Refused,
    /// A resolve or a consume.
    Payload(u8),
    /// Unknown, expired, consumed or revoked.
    Missing,
    Revoked,
    Extended {
        deadline_ms: u64,
    },
    Status {
        deadline_ms: u64,
        uses_left: u8,
    },
    /// A put, until this deadline.
    Put {
        deadline_ms: u64,
    },
    /// The condition of a put is not met.
    Kept,
    /// What was read before the put, and the deadline of that.
    Swapped {
        before: Option<u8>,
        deadline_ms: u64,
    },
    /// No answer came. It happened once before the end of the call, or never.
    Lost,
}

/// An instant: its place in the order of the run, and the clock's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub tick: u64,
    pub ms: u64,
}

/// One operation on one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub client: usize,
    pub op: Op,
    pub answer: Answer,
    pub began: Moment,
    /// The instant at which the answer was read. If the answer was lost: the last instant at which
    /// the operation can have happened.
    pub ended: Moment,
}

/// The order of a run.
#[derive(Default)]
pub struct Ticks(AtomicU64);

impl Ticks {
    /// The instant before an operation is sent.
    pub fn begin(&self) -> Moment {
        let tick = self.0.fetch_add(1, Ordering::SeqCst);
        Moment { tick, ms: wall_ms() }
    }

    /// The instant after its answer was read.
    pub fn end(&self) -> Moment {
        let ms = wall_ms();
        Moment { tick: self.0.fetch_add(1, Ordering::SeqCst), ms }
    }
}

impl Moment {
    /// An instant later than the whole run.
    pub const NEVER: Self = Self { tick: u64::MAX, ms: u64::MAX };
}

impl Op {
    /// Whether it changes nothing, whatever its answer.
    pub fn only_reads(self) -> bool {
        matches!(self, Self::Resolve | Self::Status)
    }
}

impl Call {
    /// Whether it may have happened or not.
    pub fn is_lost(&self) -> bool {
        self.answer == Answer::Lost
    }

    /// Whether its answer says that it changed nothing.
    pub fn is_idle(&self) -> bool {
        let answered_idle = matches!(
            self.answer,
            Answer::Missing | Answer::Refused | Answer::Kept | Answer::Exists { .. }
        );
        answered_idle || self.op.only_reads() && !self.is_lost()
    }

    /// The same call without its answer.
    pub fn forgotten(self) -> Self {
        Self { answer: Answer::Lost, ..self }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { payload, ttl_ms, uses, peek } => {
                let peek = if *peek { "" } else { ", no peek" };
                write!(f, "issue payload {payload}, ttl {ttl_ms} ms, uses {uses}{peek}")
            }
            Self::Resolve => f.write_str("resolve"),
            Self::Consume { key: None } => f.write_str("consume"),
            Self::Consume { key: Some(key) } => write!(f, "consume under key {key}"),
            Self::Revoke => f.write_str("revoke"),
            Self::Extend { ttl_ms } => write!(f, "extend to {ttl_ms} ms from now"),
            Self::Status => f.write_str("status"),
            Self::Put { payload, ttl_ms, when } => {
                write!(f, "put payload {payload} ({when:?}), ttl {ttl_ms} ms")
            }
            Self::SetDeadline { at_ms } => write!(f, "set the deadline to {at_ms}"),
            Self::Swap { payload, ttl_ms } => write!(f, "read, and put {payload}, ttl {ttl_ms} ms"),
        }
    }
}

/// A history, one call a line in the order they began, with times from its first instant on.
pub fn show(calls: &[Call]) -> String {
    let origin_ms = calls.iter().map(|call| call.began.ms).min().unwrap_or(0);
    let from_origin = |ms: u64| match ms {
        u64::MAX => "      …".to_owned(),
        ms => format!("{:7}", ms - ms.min(origin_ms)),
    };
    let mut text = String::from("  began..ended ms   ticks          client  operation → answer\n");
    for call in calls {
        let until = match call.ended.tick {
            u64::MAX => "…".to_owned(),
            tick => tick.to_string(),
        };
        let (began, ended) = (from_origin(call.began.ms), from_origin(call.ended.ms));
        let ticks = format!("{}..{until}", call.began.tick);
        let answer = show_answer(call.answer, &from_origin);
        let (client, op) = (call.client, call.op);
        text += &format!("  {began}..{ended}  {ticks:16} {client:3}  {op} → {answer}\n");
    }
    text
}

fn show_answer(answer: Answer, from_origin: &impl Fn(u64) -> String) -> String {
    let at = |deadline_ms: u64| from_origin(deadline_ms).trim().to_owned();
    match answer {
        Answer::Issued { deadline_ms } => format!("made, until {}", at(deadline_ms)),
        Answer::Exists { deadline_ms } => format!("there already, until {}", at(deadline_ms)),
        Answer::There { deadline_ms } => format!("there now, until {}", at(deadline_ms)),
        Answer::Refused => "409".to_owned(),
        Answer::Payload(payload) => format!("payload {payload}"),
        Answer::Missing => "nothing there".to_owned(),
        Answer::Revoked => "gone".to_owned(),
        Answer::Extended { deadline_ms } => format!("until {}", at(deadline_ms)),
        Answer::Status { deadline_ms, uses_left } => {
            format!("uses left {uses_left}, until {}", at(deadline_ms))
        }
        Answer::Put { deadline_ms } => format!("put, until {}", at(deadline_ms)),
        Answer::Kept => "not put".to_owned(),
        Answer::Swapped { before, deadline_ms } => {
            format!("{before:?} was there; put, until {}", at(deadline_ms))
        }
        Answer::Lost => "no answer".to_owned(),
    }
}

fn wall_ms() -> u64 {
    u64::try_from(now_ms()).expect("after 1970")
}
