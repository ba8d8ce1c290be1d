//! memcached's text protocol, pipelined, answers in the order asked.
//!
//! It counts time in whole seconds, so a time to live is rounded up, and it can't look up and
//! remove in one step, so nothing can be consumed.

use super::in_order::InOrder;
use super::{Answer, Answers, Call, Codec, Fault, Garbage, Key, Refusal, Ticket, excerpt, line};
use crate::denial::Denial;

/// Above this number of seconds memcached takes an expiry for a Unix time.
const RELATIVE_MAX_S: u64 = 30 * 24 * 60 * 60;

/// One connection's text protocol.
#[derive(Debug)]
pub struct Memcached {
    outstanding: InOrder<Asked>,
    /// Unix seconds; asked only where a time to live exceeds [`RELATIVE_MAX_S`].
    now_s: fn() -> u64,
}

#[derive(Debug)]
enum Asked {
    Set,
    Get(Key),
    GetMany(Vec<Key>),
    Delete,
    Touch,
}

impl Default for Memcached {
    fn default() -> Self {
        Self { outstanding: InOrder::default(), now_s: unix_seconds }
    }
}

impl Memcached {
    fn push_expiry(&self, ttl_ms: u64, output: &mut Vec<u8>) {
        let relative_s = ttl_ms.div_ceil(1000);
        let expiry_s = if relative_s > RELATIVE_MAX_S {
            // It reads 32 bits with a sign.
            (self.now_s)().saturating_add(relative_s).min(i32::MAX.unsigned_abs().into())
        } else {
            relative_s
        };
        output.extend_from_slice(itoa::Buffer::new().format(expiry_s).as_bytes());
    }
}

impl Codec for Memcached {
    fn request(
        &mut self,
        ticket: Ticket,
        call: Call<'_>,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let asked = match call {
            Call::Issue { key, payload, ttl_ms } => {
                push(b"set ", key, output);
                output.extend_from_slice(b" 0 ");
                self.push_expiry(ttl_ms, output);
                output.push(b' ');
                output.extend_from_slice(itoa::Buffer::new().format(payload.len()).as_bytes());
                output.extend_from_slice(b"\r\n");
                output.extend_from_slice(payload);
                Asked::Set
            }
            Call::Resolve(key) => {
                push(b"get ", key, output);
                Asked::Get(*key)
            }
            Call::ResolveMany(keys) => {
                output.extend_from_slice(b"get");
                for key in keys {
                    push(b" ", key, output);
                }
                Asked::GetMany(keys.to_vec())
            }
            Call::Consume(_) => {
                let what = "memcached can't look up and remove in one step";
                return Err(Garbage(what.to_owned()).into());
            }
            Call::Revoke(key) => {
                push(b"delete ", key, output);
                Asked::Delete
            }
            Call::Extend { key, ttl_ms } => {
                push(b"touch ", key, output);
                output.push(b' ');
                self.push_expiry(ttl_ms, output);
                Asked::Touch
            }
        };
        output.extend_from_slice(b"\r\n");
        self.outstanding.push(ticket, asked);
        Ok(())
    }

    fn receive(
        &mut self,
        input: &[u8],
        _output: &mut Vec<u8>,
        answers: &mut dyn Answers,
    ) -> Result<usize, Fault> {
        self.outstanding
            .receive(input, unasked, |ticket, asked, rest| deliver(ticket, asked, rest, answers))
    }
}

/// Passes the first answer on once it is whole; gives what is behind it.
fn deliver<'a>(
    ticket: Ticket,
    asked: &Asked,
    input: &'a [u8],
    answers: &mut dyn Answers,
) -> Result<Option<&'a [u8]>, Garbage> {
    let Some((first, rest)) = line::split(input)? else {
        return Ok(None);
    };
    let is_refused = matches!(asked, Asked::Set) && first == b"NOT_STORED";
    if is_refused || is_error(first) {
        answers.answer(ticket, Answer::Refused(&refusal(first)));
        return Ok(Some(rest));
    }
    let answer = match (asked, first) {
        (Asked::Get(_) | Asked::GetMany(_), _) => {
            return deliver_values(ticket, asked, input, answers);
        }
        (Asked::Set, b"STORED") => Answer::Issued(None),
        (Asked::Delete, b"DELETED") | (Asked::Touch, b"TOUCHED") => Answer::Done,
        (Asked::Delete | Asked::Touch, b"NOT_FOUND") => Answer::Absent,
        _ => return Err(Garbage(format!("not memcached's answer: {}", excerpt(first)))),
    };
    answers.answer(ticket, answer);
    Ok(Some(rest))
}

fn deliver_values<'a>(
    ticket: Ticket,
    asked: &Asked,
    input: &'a [u8],
    answers: &mut dyn Answers,
) -> Result<Option<&'a [u8]>, Garbage> {
    let keys = match asked {
        Asked::Get(key) => std::slice::from_ref(key),
        Asked::GetMany(keys) => keys,
        Asked::Set | Asked::Delete | Asked::Touch => &[],
    };
    if keys.len() == 1 {
        let mut one = [None];
        let rest = values(input, keys, &mut one)?;
        if rest.is_some() {
            match (asked, one) {
                (Asked::GetMany(_), one) => answers.answer(ticket, Answer::Many(&one)),
                (_, [Some(value)]) => answers.answer(ticket, Answer::Found(value)),
                (_, [None]) => answers.answer(ticket, Answer::Absent),
            }
        }
        return Ok(rest);
    }
    let mut many = vec![None; keys.len()];
    let rest = values(input, keys, &mut many)?;
    if rest.is_some() {
        answers.answer(ticket, Answer::Many(&many));
    }
    Ok(rest)
}

/// Reads `VALUE` parts up to `END` into the places of their keys; memcached leaves unknown keys out;
/// the server, and what is there comes in the order asked.
fn values<'a>(
    input: &'a [u8],
    keys: &[Key],
    found: &mut [Option<&'a [u8]>],
) -> Result<Option<&'a [u8]>, Garbage> {
    let (mut at, mut rest) = (0, input);
    loop {
        let Some((head, after)) = line::split(rest)? else {
            return Ok(None);
        };
        if head == b"END" {
            return Ok(Some(after));
        }
        let wrong = |what: &str| Garbage(format!("{what}: {}", excerpt(head)));
        let mut words = head.split(|&byte| byte == b' ');
        let (Some(b"VALUE"), Some(key), Some(_flags), Some(length)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong("not memcached's answer"));
        };
        let place = keys[at..].iter().position(|asked| asked == key);
        at += place.ok_or_else(|| wrong("a value that was not asked for"))?;
        let Some((value, after)) = line::split_data(after, line::length(length)?)? else {
            return Ok(None);
        };
        found[at] = Some(value);
        at += 1;
        rest = after;
    }
}

fn is_error(line: &[u8]) -> bool {
    let begins = [b"ERROR ".as_slice(), b"CLIENT_ERROR ", b"SERVER_ERROR "];
    line == b"ERROR" || begins.iter().any(|begin| line.starts_with(begin))
}

/// What the server says to a connection before it asks anything: that it is one too many.
fn unasked(input: &[u8]) -> Option<Refusal> {
    let (first, _) = line::split(input).ok()??;
    is_error(first).then(|| refusal(first))
}

fn refusal(line: &[u8]) -> Refusal {
    let crowded = line.starts_with(b"ERROR Too many open connections");
    Refusal { denial: crowded.then_some(Denial::Crowded), ..Refusal::new(0, excerpt(line)) }
}

fn push(before: &[u8], key: &Key, output: &mut Vec<u8>) {
    output.extend_from_slice(before);
    output.extend_from_slice(key);
}

#[expect(clippy::disallowed_methods, reason = "memcached takes long times as Unix time")]
fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
