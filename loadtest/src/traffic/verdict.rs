//! What can be wrong with an answer, by kind, with one example of each for a person to read.

use std::collections::BTreeMap;

use crate::denial::Denial;
use crate::protocol::Fault;

/// A kind of error.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A payload that is not the one the token stands for.
    WrongPayload,
    /// A token that must be there is unknown.
    Lost,
    /// A token that was consumed, was revoked, has expired or never was gives a payload.
    Resurrected,
    /// More than one consumer won.
    ConsumedTwice,
    /// An answer that does not belong to the operation, such as a payload for a revoke.
    Unexpected,
    /// The server declined with this HTTP status; 0 where the protocol has none.
    Refused(u16),
    /// No answer within the limit.
    Timeout,
    /// The connection ended before the answer came.
    Closed,
    /// Bytes that are not the protocol.
    Garbage,
    /// No connection could be made.
    Connect,
    /// TLS failed: a certificate, a version, an alert.
    Tls,
    /// A request of an open loop that could not be sent before the end.
    Unsent,
}

impl Kind {
    /// Whether the server gave a false answer, rather than none or a refusal.
    pub fn is_wrong(self) -> bool {
        matches!(
            self,
            Self::WrongPayload
                | Self::Lost
                | Self::Resurrected
                | Self::ConsumedTwice
                | Self::Unexpected
                | Self::Garbage
        )
    }

    /// As reports name it.
    pub fn name(self) -> String {
        match self {
            Self::WrongPayload => "wrong payload".to_owned(),
            Self::Lost => "lost".to_owned(),
            Self::Resurrected => "resurrected".to_owned(),
            Self::ConsumedTwice => "consumed twice".to_owned(),
            Self::Unexpected => "unexpected answer".to_owned(),
            Self::Refused(0) => "refused".to_owned(),
            Self::Refused(status) => format!("status {status}"),
            Self::Timeout => "timeout".to_owned(),
            Self::Closed => "connection closed".to_owned(),
            Self::Garbage => "not the protocol".to_owned(),
            Self::Connect => "no connection".to_owned(),
            Self::Tls => "TLS".to_owned(),
            Self::Unsent => "unsent".to_owned(),
        }
    }
}

/// What is wrong with one answer, or with a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// Which kind.
    pub kind: Kind,
    /// For a person; names no token.
    pub what: String,
    /// Why the server rejects every client, if that is the reason.
    pub denial: Option<Denial>,
}

impl Wrong {
    /// An error of this kind.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), denial: None }
    }

    /// The end of a connection, or that there was none: of `kind` unless TLS is the reason.
    pub fn of_io(error: &std::io::Error, kind: Kind) -> Self {
        let denial = crate::tls::failure::denial(error).cloned();
        let kind = if denial.is_some() { Kind::Tls } else { kind };
        Self { kind, what: error.to_string(), denial }
    }

    /// The same, of one request.
    #[must_use]
    pub fn of(&self, operation: &str) -> Self {
        Self { what: format!("{operation}: {}", self.what), ..self.clone() }
    }
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Garbage(garbage) => Self::new(Kind::Garbage, garbage.0),
            Fault::Refused(refusal) => {
                let kind = Kind::Refused(refusal.status);
                Self { kind, what: refusal.said, denial: refusal.denial }
            }
        }
    }
}

/// Counts of errors. Bounded: there are few kinds and one example of each.
#[derive(Clone, Debug, Default)]
pub struct Errors(BTreeMap<Kind, Counted>);

/// One kind: how often, the first example, and the first reason for which every client was rejected.
#[derive(Clone, Debug, Default)]
struct Counted {
    count: u64,
    what: String,
    denial: Option<Denial>,
}

impl Errors {
    /// Counts one.
    pub fn add(&mut self, wrong: Wrong) {
        self.add_many(wrong, 1);
    }

    /// Counts `count` alike.
    pub fn add_many(&mut self, Wrong { kind, what, denial }: Wrong, count: u64) {
        self.note(kind, &Counted { count, what, denial });
    }

    /// Takes over what another thread counted.
    pub fn merge(&mut self, other: &Self) {
        for (kind, counted) in &other.0 {
            self.note(*kind, counted);
        }
    }

    fn note(&mut self, kind: Kind, more: &Counted) {
        if more.count == 0 {
            return;
        }
        let known = self.0.entry(kind).or_default();
        if known.count == 0 {
            known.what.clone_from(&more.what);
        }
        known.count += more.count;
        if known.denial.is_none() {
            known.denial.clone_from(&more.denial);
        }
    }

    /// How often one kind occurred.
    pub fn count(&self, kind: Kind) -> u64 {
        self.0.get(&kind).map_or(0, |counted| counted.count)
    }

    /// Why every client was rejected, among the errors of one kind.
    pub fn denial(&self, kind: Kind) -> Option<&Denial> {
        self.0.get(&kind)?.denial.as_ref()
    }

    /// All kinds that occurred, with their counts and an example.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64, &str)> {
        self.0.iter().map(|(kind, counted)| (*kind, counted.count, counted.what.as_str()))
    }
}
