//! The boundary to a replicated stream: everything that jeton asks of the engine that orders and
//! keeps the messages of a cluster.
//!
//! A stream is a sequence of messages. Each has a sequence number, the next one is one higher, and
//! what stands at a number never changes. Old messages are forgotten from the front only. `nats` is
//! the adapter for NATS JetStream, and `testkit::stream` simulates one for tests.
//!
//! # What an adapter promises
//!
//! - **Order.** [`Stream::next`] returns the message at the number that was asked for and no other
//!   one, and every follower gets the same bytes at the same number.
//! - **No silent gap.** A number without a message is [`Next::Trimmed`] only if the stream itself
//!   says that it forgot it. Everything else that contradicts what was followed so far (a stream
//!   that is gone, another one under the same name, a shorter one, another message at a known
//!   number) is [`Next::Lost`]. A lost stream stays lost until the adapter is made anew: a person
//!   decides, nothing is skipped or rebuilt.
//! - **No promise for proposals.** A message may land once, several times, late, or never, whatever
//!   [`Stream::propose`] returned. What landed is learnt by following.
//! - **No endless wait.** Every call returns within its stated time.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::model::time::UnixMillis;

/// Maximum time that a call other than [`Stream::next`] takes.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// An ordered, durable, replicated sequence of messages.
pub trait Stream: Send {
    /// Hands a message over, without waiting for the stream. What became of it is learnt by
    /// following alone.
    ///
    /// # Errors
    /// A hint that the message was not sent. It did not land.
    fn propose(&mut self, message: &[u8]) -> Result<(), Hint>;

    /// The oldest answer to a proposal that was not returned yet: the number of the message, or why
    /// it seems not to have landed. Does not wait. Answers can be missing, late or without a
    /// proposal, and a hint can be wrong: the message of a refused proposal may still land.
    fn answer(&mut self) -> Option<Result<u64, Hint>>;

    /// The message at `seq`; waits for `patience`. A message that was just forgotten may still be
    /// returned.
    ///
    /// # Errors
    /// There is no such message now, or there never will be.
    fn next(&mut self, seq: u64, patience: Duration) -> Result<Message, Next>;

    /// The first and last sequence number, and the identity of the stream.
    ///
    /// # Errors
    /// The stream did not say.
    fn bounds(&mut self) -> Result<Bounds, StreamError>;

    /// Forgets the messages below `seq`; behind the end it forgets all that are there, and the next
    /// one still has the next number. Repeating it does no harm.
    ///
    /// # Errors
    /// The stream did not say that it forgot them. It may have.
    fn trim(&mut self, seq: u64) -> Result<(), StreamError>;

    /// The settings of the stream and of its servers, with all mistakes in them.
    ///
    /// # Errors
    /// The stream did not say. What only single servers did not say is in
    /// [`Promises::unverified`].
    fn promises(&mut self) -> Result<Promises, StreamError>;
}

/// A message as the stream keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Sequence number, from 1.
    pub seq: u64,
    /// Time of storing, by the clock of the stream's leader.
    pub stored_at: UnixMillis,
    /// What was proposed, byte for byte.
    pub bytes: Bytes,
}

/// Without the bytes: only their length is of use in a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("seq", &self.seq)
            .field("stored_at", &self.stored_at)
            .field("len", &self.bytes.len())
            .finish()
    }
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing came within the patience: the end of the stream, an election, or no connection.
    Quiet,
    /// The stream has forgotten the message.
    Trimmed {
        /// The first number that it still has. If the stream is empty, the number of the next
        /// message.
        first: u64,
    },
    /// The stream is not the one that was followed so far.
    Lost(Loss),
}

/// Why a stream counts as lost.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Loss {
    /// It was deleted.
    #[error("the stream no longer exists")]
    Gone,
    /// It was deleted and made anew.
    #[error("the stream was made at {is}, and the one that was followed at {was}")]
    Remade {
        /// The stream that was followed.
        was: StreamId,
        /// The stream that is there now.
        is: StreamId,
    },
    /// It ends before a message that was followed.
    #[error("the stream ends at message {last}, but message {followed} was followed")]
    Shorter {
        /// The last message that was followed.
        followed: u64,
        /// The last message of the stream.
        last: u64,
    },
    /// It has another message at a number that was followed.
    #[error("message {seq} of the stream is not the one that was followed")]
    Other {
        /// The number of both messages.
        seq: u64,
    },
    /// A message in the middle is missing.
    #[error("message {seq} is missing in the middle of the stream")]
    Hole {
        /// The number of the missing message.
        seq: u64,
    },
}

/// What a stream said of a proposal, or what kept it from being sent. It is no proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Hint {
    /// There is no connection.
    #[error("not connected to the stream")]
    NotConnected,
    /// Too many earlier requests wait for the connection, which may be slow or gone.
    #[error("too many requests wait for the connection to the stream")]
    Busy,
    /// The message is longer than the stream takes.
    #[error("a message of {len} bytes is longer than the stream takes ({most} bytes)")]
    TooLong {
        /// Its length.
        len: usize,
        /// The longest message.
        most: usize,
    },
    /// Nobody takes messages, as during an election.
    #[error("the stream has no leader")]
    NoLeader,
    /// The stream is full.
    #[error("the stream is full")]
    Full,
    /// The stream refused the message for another reason.
    #[error("the stream refused a message: {0}")]
    Refused(String),
}

/// The identity of a stream: the time at which it was made, in nanoseconds since 1970. A stream
/// that is made anew under the same name has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub i64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(made) => made.fmt(f),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

/// The extent of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first message. If the stream is empty, the number of the next message.
    pub first: u64,
    /// The last message; `first - 1` if the stream is empty.
    pub last: u64,
    /// Which stream this is.
    pub id: StreamId,
}

/// How a stream is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// The number of servers that keep a copy.
    pub copies: usize,
    /// Bytes that the stream holds.
    pub bytes: u64,
    /// Bytes that it may hold; `None` without a limit.
    pub bytes_max: Option<u64>,
    /// The servers, by name.
    pub servers: Vec<Server>,
    /// Every setting with which jeton must not run.
    pub mistakes: Vec<Mistake>,
    /// What could not be found out, each as a sentence.
    pub unverified: Vec<String>,
}

/// A server of the stream, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// The longest message that it takes, in bytes.
    pub message_len_max: Option<usize>,
    /// Whether it syncs each message before it counts as stored.
    pub syncs_always: Option<bool>,
    /// Whether it keeps a copy of the stream.
    pub has_copy: bool,
    /// What is wrong with its copy, as the stream's leader sees it, as a sentence without a subject;
    /// `None` if the copy is whole.
    pub copy_fault: Option<String>,
}

/// A setting with which jeton must not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is set, such as `stream jeton-shop` or `server n1`.
    pub place: String,
    /// Its name there.
    pub setting: String,
    /// Its value.
    pub found: String,
    /// What it must be.
    pub needed: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, setting, found, needed } = self;
        write!(f, "{place}: {setting} is {found}, but must be {needed}")
    }
}

/// Why a stream did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamError {
    /// There is no connection.
    #[error("not connected to the stream: {0}")]
    NotConnected(String),
    /// No answer came in time.
    #[error("the stream did not answer in time")]
    TimedOut,
    /// Nobody could answer, as during an election.
    #[error("the stream has no leader")]
    NoLeader,
    /// There is no such stream.
    #[error("there is no stream {0}")]
    Missing(String),
    /// The stream refused the request.
    #[error("the stream refused the request: {0}")]
    Refused(String),
    /// The answer could not be understood.
    #[error("the answer of the stream cannot be read: {0}")]
    Malformed(String),
    /// It is not the stream that was followed.
    #[error(transparent)]
    Lost(#[from] Loss),
}
