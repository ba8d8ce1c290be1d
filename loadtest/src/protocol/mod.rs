//! What goes over the wire: one [`Codec`] for each connection, without any I/O.
//!
//! A codec turns a [`Call`] into bytes and bytes into [`Answer`]s. It knows nothing of sockets,
//! time or what an answer should have been, so each can be tested with bytes alone.

mod chunks;
mod contract;
pub mod http1;
pub mod http2;
mod in_order;
mod line;
pub mod make;
pub mod memcached;
mod pipe;
pub mod resp;
#[cfg(test)]
mod testing;

use crate::denial::Denial;
use crate::secret::{self, Credentials, Secret, without_secrets};
use crate::workload::Operation;

/// The length of a token as jeton writes it, and of every key elsewhere, so that all servers are
/// asked for names of the same length.
pub const KEY_LEN: usize = 32;

/// What stands for a payload: jeton's token, or the key under which another store keeps it.
pub type Key = [u8; KEY_LEN];

/// Ties an answer to its request; chosen by the caller, unique among the outstanding ones of a
/// connection.
pub type Ticket = u32;

/// One request.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// Stores a payload. jeton chooses the token itself and answers with it; elsewhere `key` is
    /// the name it is stored under.
    Issue {
        /// Ignored by jeton.
        key: &'a Key,
        /// A JSON value.
        payload: &'a [u8],
        /// How long it lives, in milliseconds, at least 1.
        ttl_ms: u64,
    },
    /// Looks one up.
    Resolve(&'a Key),
    /// Looks several up in one request; never empty.
    ResolveMany(&'a [Key]),
    /// Looks one up and removes it, at once.
    Consume(&'a Key),
    /// Removes one.
    Revoke(&'a Key),
    /// Lets one live this many milliseconds from now.
    Extend {
        /// Which one.
        key: &'a Key,
        /// At least 1.
        ttl_ms: u64,
    },
}

/// What a server said.
#[derive(Debug, PartialEq)]
pub enum Answer<'a> {
    /// The payload of a resolve or a consume, byte for byte.
    Found(&'a [u8]),
    /// An issue that was done; `None` where the caller chose the key.
    Issued(Option<Key>),
    /// A revoke or extend that was done.
    Done,
    /// There is no such token.
    Absent,
    /// One element for each key asked, in order.
    Many(&'a [Option<&'a [u8]>]),
    /// The server declined.
    Refused(&'a Refusal),
}

/// A refusal by the server: of a request, or of a whole connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// An HTTP status, or 0 where the protocol has none.
    pub status: u16,
    /// What it said, cut to a readable length.
    pub said: String,
    /// Why it rejects every client, if that is what it says.
    pub denial: Option<Denial>,
}

impl Refusal {
    /// Of a request alone.
    pub fn new(status: u16, said: impl Into<String>) -> Self {
        Self { status, said: said.into(), denial: None }
    }
}

/// Takes answers as they are decoded.
pub trait Answers {
    /// One whole answer to the request with this ticket.
    fn answer(&mut self, ticket: Ticket, answer: Answer<'_>);
}

/// Bytes that are not an answer in this protocol.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Garbage(pub String);

/// Why a connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// What came is no answer.
    #[error(transparent)]
    Garbage(#[from] Garbage),
    /// The server rejects the client, has too many connections, or breaks off.
    #[error("{}", .0.said)]
    Refused(Refusal),
}

impl Fault {
    /// A request on a connection that takes none any more.
    fn closed() -> Self {
        let said = "the server has closed this connection for requests";
        Self::Refused(Refusal::new(0, said))
    }
}

/// One connection's side of a protocol. It is made on one thread and used by another.
pub trait Codec: Send {
    /// Appends what must be sent before the first request, such as a preface.
    fn open(&mut self, _output: &mut Vec<u8>) {}

    /// Appends one request.
    ///
    /// # Errors
    /// The connection takes no more requests: the server announced its end.
    fn request(
        &mut self,
        ticket: Ticket,
        call: Call<'_>,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault>;

    /// Decodes what is whole in `input`, gives each answer to `answers`, and gives the number of
    /// bytes it is done with; what remains is passed again with more behind it. Appends to
    /// `output` what the protocol itself must say, such as window updates.
    ///
    /// # Errors
    /// What came is not this protocol, answers nothing that was asked, or refuses the connection.
    fn receive(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        answers: &mut dyn Answers,
    ) -> Result<usize, Fault>;

    /// Gives up one request, where the protocol can do that without the connection: appends what
    /// must be said, and takes no answer to it any more. Where it gives `false` an answer still has
    /// its place among the others.
    fn cancel(&mut self, _ticket: Ticket, _output: &mut Vec<u8>) -> bool {
        false
    }

    /// Whether the server has asked not to be sent more on this connection (`Connection: close`,
    /// GOAWAY); what is outstanding may still be answered.
    fn closing(&self) -> bool {
        false
    }
}

/// The protocols the harness speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// jeton's contract over HTTP/1.1.
    Http1,
    /// The same over HTTP/2 with prior knowledge.
    Http2,
    /// Redis and Valkey: RESP2.
    Resp,
    /// memcached's text protocol.
    Memcached,
    /// HTTP/1.1 towards the floor, which answers the same bytes whatever is asked.
    Floor,
}

impl Protocol {
    /// Whether the protocol has the operation; memcached can't consume in one step.
    pub fn supports(self, operation: Operation) -> bool {
        !(self == Self::Memcached && matches!(operation, Operation::Consume | Operation::Replay))
    }
}

/// Who asks, and by what name the server is called.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The server as it is called: host and port.
    pub host: String,
    /// Whether TLS is spoken below.
    pub is_tls: bool,
    /// The API key to show, where HTTP is spoken.
    pub key: Option<Secret>,
    /// What a connection introduces itself with, where RESP is spoken.
    pub credentials: Option<Credentials>,
    /// Replicas that must have each issued token before the answer, where RESP is spoken.
    pub replicas: u32,
}

impl From<&str> for Caller {
    /// Without a key.
    fn from(host: &str) -> Self {
        Self { host: host.to_owned(), ..Self::default() }
    }
}

/// The beginning of some bytes, printable, for a person to read.
pub fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    // A secret that begins within the excerpt is found also where it ends behind it.
    let near = &bytes[..bytes.len().min(MOST + secret::LEN_MAX)];
    let near = without_secrets(String::from_utf8_lossy(near).into_owned());
    let shown = &near[..near.floor_char_boundary(MOST)];
    let text: String = shown
        .chars()
        .flat_map(|char| {
            let plain = !char.is_control();
            plain.then_some(char).into_iter().chain(char.escape_debug().filter(move |_| !plain))
        })
        .collect();
    match bytes.len().saturating_sub(MOST) {
        0 => text,
        rest => format!("{text}… ({rest} bytes more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_a_servers_text_is_shown_without_the_secrets_that_it_repeats() {
        let _password = Secret::from("correct-horse".to_owned());
        let text = |text: &str| excerpt(text.as_bytes());
        assert_eq!(text("unknown command, with 'correct-horse'"), "unknown command, with '…'");
        let late = format!("{}correct-horse", "x".repeat(195));
        assert!(!text(&late).contains("corre"), "also where the excerpt ends within it");
        assert!(text(&"y".repeat(300)).ends_with("yyy… (100 bytes more)"));
    }
}
