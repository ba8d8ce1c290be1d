//! What is under a key of the source: GET and PTTL in one MULTI.

use std::io;
use std::time::Duration;

use super::failure::{ImportError, Side};
use super::link::{Link, Reply};
use super::patience::Hitch;

/// A server's address, `host:port`.
pub(super) type Address = String;

/// What is under a key.
pub(super) enum Found {
    /// Nothing.
    Gone,
    Value {
        value: Vec<u8>,
        /// Milliseconds that it lives; -1: for ever.
        pttl: i64,
        /// When this was asked for, as the clock of [`Patience`] counts. The lifetime counts from here,
        /// so it ends no later than in the source.
        asked: Duration,
    },
    OtherType,
    TooLong,
}

/// Where a cluster says that a key is.
pub(super) struct Elsewhere {
    pub(super) address: Address,
    pub(super) is_asking: bool,
}

impl Elsewhere {
    /// `MOVED 3999 host:port`, or ASK. A node may leave its host out.
    pub(super) fn of(error: &str) -> Option<Self> {
        let mut words = error.split(' ');
        let is_asking = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        Some(Self { address: words.nth(1)?.to_owned(), is_asking })
    }

    /// With the host of the node that said it, if it said none.
    pub(super) fn from(self, node: &str) -> Self {
        let host = node.rsplit_once(':').map_or(node, |(host, _)| host);
        match self.address.starts_with(':') {
            true => Self { address: format!("{host}{}", self.address), ..self },
            false => self,
        }
    }
}

/// Asks for a value and its lifetime, at one moment.
pub(super) fn queue_read(link: &mut Link, key: &[u8]) {
    link.queue(&[b"MULTI"]);
    link.queue(&[b"GET", key]);
    link.queue(&[b"PTTL", key]);
    link.queue(&[b"EXEC"]);
}

/// The replies to [`queue_read`]. All are read in any case, so that the next ones fit.
pub(super) fn read_one(
    link: &mut Link,
    len_max: usize,
    asked: Duration,
) -> io::Result<Result<Result<Found, Elsewhere>, Hitch>> {
    let [begun, got, left, done] =
        [link.reply(0)?, link.reply(len_max)?, link.reply(0)?, link.reply(len_max)?];
    for reply in [&got, &left] {
        if let Reply::Error(text) = reply
            && let Some(elsewhere) = Elsewhere::of(text)
        {
            return Ok(Ok(Err(elsewhere)));
        }
    }
    for (reply, command) in [(&begun, "MULTI"), (&got, "GET"), (&left, "PTTL"), (&done, "EXEC")] {
        if let Err(hitch) = Hitch::check(reply, command) {
            return Ok(Err(hitch));
        }
    }
    let found = match done.array() {
        Some([Reply::Nil, _]) => Found::Gone,
        Some([Reply::TooLong, _]) => Found::TooLong,
        Some([Reply::Bulk(value), Reply::Integer(pttl)]) if *pttl >= -1 => {
            Found::Value { value: value.clone(), pttl: *pttl, asked }
        }
        Some([Reply::Bulk(_), Reply::Integer(_)]) => Found::Gone,
        Some([error, _]) if error.code() == Some("WRONGTYPE") => Found::OtherType,
        _ => return Ok(Err(unreadable())),
    };
    Ok(Ok(Ok(found)))
}

pub(super) fn unreadable() -> Hitch {
    Hitch::Fatal(ImportError::Answer { side: Side::Source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_where_a_key_is() {
        let of = |text: &str| {
            let elsewhere = Elsewhere::of(text)?.from("10.0.0.1:6379");
            Some((elsewhere.address, elsewhere.is_asking))
        };
        let moved = Some(("10.0.0.2:6380".to_owned(), false));
        assert_eq!(of("MOVED 3999 10.0.0.2:6380"), moved);
        assert_eq!(of("ASK 3999 :6380"), Some(("10.0.0.1:6380".to_owned(), true)));
        for other in ["ERR no", "MOVED", "MOVED 1"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
