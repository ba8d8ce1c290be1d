//! What can be wrong with an answer, by kind, with one example of each for a person to read.

use std::collections::BTreeMap;

const SPEAKS_TLS: &str =
    "this port speaks TLS: the target begins with https://, rediss:// or valkeys://";

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
            Kind::WrongPayload
                | Kind::Lost
                | Kind::Resurrected
                | Kind::ConsumedTwice
                | Kind::Unexpected
                | Kind::Garbage
        )
    }

    /// What to do about a server that lets nobody in; none where the error is another. `example` is
    /// one of this kind.
    pub fn advice(self, example: &str) -> Option<String> {
        match self {
            Kind::Tls => Some(example.to_owned()),
            Kind::Refused(401) => Some(
                "the server wants a valid key (401): give --key-file FILE, with a key of this server \
                 that is neither revoked nor expired"
                    .to_owned(),
            ),
            Kind::Refused(403) => Some(
                "the key may not issue tokens (403): the key of --key-file needs the scopes of all \
                 operations in the mix, such as issue,resolve,consume,revoke; tokens are issued \
                 before the load begins"
                    .to_owned(),
            ),
            // An alert of TLS, or what servers of HTTP say on such a port.
            Kind::Refused(400) if example.contains("TLS") || example.contains("HTTPS") => {
                Some(SPEAKS_TLS.to_owned())
            }
            Kind::Garbage if example.contains("\\u{15}\\u{3}") => Some(SPEAKS_TLS.to_owned()),
            Kind::Refused(0) => {
                let (_, said) = example.split_once(": ")?;
                crate::protocol::resp::refusal(format!("-{said}").as_bytes())
            }
            _ => None,
        }
    }

    /// As reports name it.
    pub fn name(self) -> String {
        match self {
            Kind::WrongPayload => "wrong payload".to_owned(),
            Kind::Lost => "lost".to_owned(),
            Kind::Resurrected => "resurrected".to_owned(),
            Kind::ConsumedTwice => "consumed twice".to_owned(),
            Kind::Unexpected => "unexpected answer".to_owned(),
            Kind::Refused(0) => "refused".to_owned(),
            Kind::Refused(status) => format!("status {status}"),
            Kind::Timeout => "timeout".to_owned(),
            Kind::Closed => "connection closed".to_owned(),
            Kind::Garbage => "not the protocol".to_owned(),
            Kind::Connect => "no connection".to_owned(),
            Kind::Tls => "TLS".to_owned(),
            Kind::Unsent => "unsent".to_owned(),
        }
    }
}

/// What is wrong with one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// Which kind.
    pub kind: Kind,
    /// For a person; names no token.
    pub what: String,
}

impl Wrong {
    /// An error of this kind.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

/// Counts of errors. Bounded: there are few kinds and one example of each.
#[derive(Clone, Debug, Default)]
pub struct Errors(BTreeMap<Kind, (u64, String)>);

impl Errors {
    /// Counts one.
    pub fn add(&mut self, wrong: Wrong) {
        self.add_many(wrong, 1);
    }

    /// Counts `count` alike.
    pub fn add_many(&mut self, wrong: Wrong, count: u64) {
        if count > 0 {
            self.0.entry(wrong.kind).or_insert((0, wrong.what)).0 += count;
        }
    }

    /// Takes over what another thread counted.
    pub fn merge(&mut self, other: &Errors) {
        for (kind, (count, what)) in &other.0 {
            self.0.entry(*kind).or_insert_with(|| (0, what.clone())).0 += count;
        }
    }

    /// How often one kind occurred.
    pub fn count(&self, kind: Kind) -> u64 {
        self.0.get(&kind).map_or(0, |(count, _)| *count)
    }

    /// All kinds that occurred, with their counts and an example.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64, &str)> {
        self.0.iter().map(|(kind, (count, what))| (*kind, *count, what.as_str()))
    }
}
