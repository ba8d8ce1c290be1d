//! Redis and Valkey: version 2 of their protocol, pipelined, answers in the order asked.
//!
//! What jeton calls issue, resolve, batch, consume, revoke and extend are here `SET … PX`, `GET`,
//! `MGET`, `GETDEL`, `DEL` and `PEXPIRE`.

use super::in_order::InOrder;
use super::{
    Answer, Answers, Call, Codec, Fault, Garbage, KEY_LEN, Key, Refusal, Ticket, excerpt, line,
};
use crate::denial::Denial;
use crate::secret::Credentials;

/// How long `WAIT` waits, in milliseconds.
const WAIT_MS: &[u8] = b"5000";

/// One connection's RESP2.
#[derive(Debug, Default)]
pub struct Resp {
    outstanding: InOrder<Asked>,
    /// What it authenticates with.
    credentials: Option<Credentials>,
    /// How many replicas each `SET` waits for.
    replicas: u32,
    /// Whether the answer to that is still to come, before all others.
    is_introducing: bool,
}

impl Resp {
    /// A connection that introduces itself first, where `credentials` are given.
    /// Each issue waits until so many `replicas` have it.
    pub fn new(credentials: Option<Credentials>, replicas: u32) -> Self {
        Self { credentials, replicas, ..Self::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    /// `+OK`.
    Set,
    /// `+OK`, and the number of replicas that have it: at least so many.
    SetOn(u32),
    /// A value, or the null that stands for none.
    Value,
    /// This many of them.
    Values(usize),
    /// The number of keys that there were, of one.
    Count,
}

/// One answer, as the protocol has it.
#[derive(Debug, PartialEq)]
enum Reply<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(&'a [u8]),
    Bulk(Option<&'a [u8]>),
    /// The number of elements that follow; none for the null array.
    Array(Option<usize>),
}

impl Resp {
    /// Waits for the replicas behind a `SET`, in the same piece.
    fn wait(&self, output: &mut Vec<u8>) -> Asked {
        if self.replicas == 0 {
            return Asked::Set;
        }
        output.extend_from_slice(b"*3\r\n$4\r\nWAIT\r\n");
        push_bulk(itoa::Buffer::new().format(self.replicas).as_bytes(), output);
        push_bulk(WAIT_MS, output);
        Asked::SetOn(self.replicas)
    }
}

impl Codec for Resp {
    fn open(&mut self, output: &mut Vec<u8>) {
        if let Some(credentials) = &self.credentials {
            push_auth(credentials, output);
            self.is_introducing = true;
        }
    }

    fn request(
        &mut self,
        ticket: Ticket,
        call: Call<'_>,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let asked = match call {
            Call::Issue { key, payload, ttl_ms } => {
                push_command(b"*5\r\n$3\r\nSET\r\n", key, output);
                push_bulk(payload, output);
                output.extend_from_slice(b"$2\r\nPX\r\n");
                push_bulk(itoa::Buffer::new().format(ttl_ms).as_bytes(), output);
                self.wait(output)
            }
            Call::Resolve(key) => {
                push_command(b"*2\r\n$3\r\nGET\r\n", key, output);
                Asked::Value
            }
            Call::ResolveMany(keys) => {
                output.push(b'*');
                push_number(keys.len() + 1, output);
                output.extend_from_slice(b"$4\r\nMGET\r\n");
                for key in keys {
                    push_command(b"", key, output);
                }
                Asked::Values(keys.len())
            }
            Call::Consume(key) => {
                push_command(b"*2\r\n$6\r\nGETDEL\r\n", key, output);
                Asked::Value
            }
            Call::Revoke(key) => {
                push_command(b"*2\r\n$3\r\nDEL\r\n", key, output);
                Asked::Count
            }
            Call::Extend { key, ttl_ms } => {
                push_command(b"*3\r\n$7\r\nPEXPIRE\r\n", key, output);
                push_bulk(itoa::Buffer::new().format(ttl_ms).as_bytes(), output);
                Asked::Count
            }
        };
        self.outstanding.push(ticket, asked);
        Ok(())
    }

    fn receive(
        &mut self,
        input: &[u8],
        _output: &mut Vec<u8>,
        answers: &mut dyn Answers,
    ) -> Result<usize, Fault> {
        let mut used = 0;
        if self.is_introducing {
            let Some((answer, rest)) = reply(input)? else { return Ok(0) };
            match answer {
                Reply::Simple(b"OK") => self.is_introducing = false,
                Reply::Error(text) => return Err(Fault::Refused(auth_refusal(text))),
                _ => {
                    let what = "AUTH was answered with neither OK nor an error";
                    return Err(Garbage(what.to_owned()).into());
                }
            }
            used = input.len() - rest.len();
        }
        let answered =
            self.outstanding.receive(&input[used..], unasked, |ticket, asked, rest| {
                deliver(ticket, *asked, rest, answers)
            })?;
        Ok(used + answered)
    }
}

/// Appends the command by which a connection introduces itself.
pub fn push_auth(credentials: &Credentials, output: &mut Vec<u8>) {
    output.push(b'*');
    push_number(if credentials.user.is_some() { 3 } else { 2 }, output);
    output.extend_from_slice(b"$4\r\nAUTH\r\n");
    if let Some(user) = &credentials.user {
        push_bulk(user.as_bytes(), output);
    }
    push_bulk(credentials.password.text().as_bytes(), output);
}

/// Why an error rejects the client, by its first word; none for any other line.
pub fn denial(line: &[u8]) -> Option<Denial> {
    let error = line.strip_prefix(b"-")?;
    let begins = |word: &[u8]| error.starts_with(word);
    if begins(b"NOAUTH") {
        Some(Denial::PasswordWanted)
    } else if begins(b"WRONGPASS") || begins(b"ERR invalid password") {
        Some(Denial::PasswordRefused)
    } else if begins(b"ERR AUTH") || begins(b"ERR Client sent AUTH") {
        Some(Denial::PasswordUnasked)
    } else if begins(b"NOPERM") {
        Some(Denial::CommandForbidden)
    } else if begins(b"DENIED") {
        Some(Denial::Protected)
    } else if begins(b"ERR max number of clients") {
        Some(Denial::Crowded)
    } else {
        None
    }
}

/// Why AUTH was answered with an error.
pub fn auth_denial(line: &[u8]) -> Denial {
    denial(line).unwrap_or(Denial::AuthRefused)
}

/// Of an error without its `-`.
fn refusal(error: &[u8]) -> Refusal {
    Refusal { denial: denial(&[b"-", error].concat()), ..Refusal::new(0, excerpt(error)) }
}

/// Of an error to AUTH. What the server itself said is left out: it may repeat what it was given.
fn auth_refusal(error: &[u8]) -> Refusal {
    let denial = auth_denial(&[b"-", error].concat());
    Refusal { denial: Some(denial.clone()), ..Refusal::new(0, denial.to_string()) }
}

/// What the server sends before any request: that the connection is one too many.
fn unasked(input: &[u8]) -> Option<Refusal> {
    match reply(input) {
        Ok(Some((Reply::Error(text), _))) => Some(refusal(text)),
        _ => None,
    }
}

/// Passes the first answer on once it is whole; gives what is behind it.
fn deliver<'a>(
    ticket: Ticket,
    asked: Asked,
    input: &'a [u8],
    answers: &mut dyn Answers,
) -> Result<Option<&'a [u8]>, Garbage> {
    let Some((reply, mut rest)) = reply(input)? else {
        return Ok(None);
    };
    if let Asked::SetOn(replicas) = asked {
        let Some((second, after)) = self::reply(rest)? else { return Ok(None) };
        let refused = match (&reply, &second) {
            (Reply::Error(text), _) | (_, Reply::Error(text)) => refusal(text),
            (Reply::Simple(b"OK"), Reply::Integer(count)) => {
                let count = std::str::from_utf8(count).ok().and_then(|text| text.parse().ok());
                if count.is_some_and(|count: u32| count >= replicas) {
                    answers.answer(ticket, Answer::Issued(None));
                    return Ok(Some(after));
                }
                Refusal::new(0, format!("fewer than {replicas} replicas had it in time"))
            }
            _ => {
                let what = format!("{} and {}", reply.describe(), second.describe());
                return Err(Garbage(format!("{asked:?} was answered with {what}")));
            }
        };
        answers.answer(ticket, Answer::Refused(&refused));
        return Ok(Some(after));
    }
    let answer = match (asked, reply) {
        (_, Reply::Error(text)) => {
            answers.answer(ticket, Answer::Refused(&refusal(text)));
            return Ok(Some(rest));
        }
        (Asked::Values(count), Reply::Array(Some(elements))) if elements == count => {
            let Some((values, after)) = values(rest, count)? else {
                return Ok(None);
            };
            rest = after;
            answers.answer(ticket, Answer::Many(&values));
            return Ok(Some(rest));
        }
        (Asked::Set, Reply::Simple(b"OK")) => Answer::Issued(None),
        (Asked::Value, Reply::Bulk(Some(value))) => Answer::Found(value),
        (Asked::Value, Reply::Bulk(None)) | (Asked::Count, Reply::Integer(b"0")) => Answer::Absent,
        (Asked::Count, Reply::Integer(b"1")) => Answer::Done,
        (asked, reply) => {
            return Err(Garbage(format!("{asked:?} was answered with {}", reply.describe())));
        }
    };
    answers.answer(ticket, answer);
    Ok(Some(rest))
}

/// The first reply and what is behind it; of an array only its head.
fn reply(input: &[u8]) -> Result<Option<(Reply<'_>, &[u8])>, Garbage> {
    let kind = input.first();
    if kind.is_some_and(|kind| !b"+-:$*".contains(kind)) {
        return Err(Garbage(format!("not RESP: {}", excerpt(input))));
    }
    let (Some(kind), Some((head, rest))) = (kind, line::split(input)?) else {
        return Ok(None);
    };
    let argument = &head[1..];
    let reply = match kind {
        b'+' => Reply::Simple(argument),
        b'-' => Reply::Error(argument),
        b':' => Reply::Integer(argument),
        b'$' if argument == b"-1" => Reply::Bulk(None),
        b'*' if argument == b"-1" => Reply::Array(None),
        b'*' => Reply::Array(Some(line::length(argument)?)),
        _ => {
            let data = line::split_data(rest, line::length(argument)?)?;
            return Ok(data.map(|(data, after)| (Reply::Bulk(Some(data)), after)));
        }
    };
    Ok(Some((reply, rest)))
}

/// That many values and what is behind them.
type Values<'a> = (Vec<Option<&'a [u8]>>, &'a [u8]);

fn values(input: &[u8], count: usize) -> Result<Option<Values<'_>>, Garbage> {
    let mut values = Vec::with_capacity(count);
    let mut rest = input;
    while values.len() < count {
        match reply(rest)? {
            None => return Ok(None),
            Some((Reply::Bulk(value), after)) => {
                values.push(value);
                rest = after;
            }
            Some((other, _)) => {
                return Err(Garbage(format!("a value of MGET is {}", other.describe())));
            }
        }
    }
    Ok(Some((values, rest)))
}

impl Reply<'_> {
    fn describe(&self) -> String {
        match self {
            Reply::Simple(text) => format!("+{}", excerpt(text)),
            Reply::Error(text) => format!("-{}", excerpt(text)),
            Reply::Integer(text) => format!(":{}", excerpt(text)),
            Reply::Bulk(Some(bytes)) => format!("the value {}", excerpt(bytes)),
            Reply::Array(Some(count)) => format!("an array of {count}"),
            Reply::Bulk(None) | Reply::Array(None) => "null".to_owned(),
        }
    }
}

fn push_command(command: &[u8], key: &Key, output: &mut Vec<u8>) {
    const { assert!(KEY_LEN == 32, "it is written below") };
    output.extend_from_slice(command);
    output.extend_from_slice(b"$32\r\n");
    output.extend_from_slice(key);
    output.extend_from_slice(b"\r\n");
}

fn push_bulk(bytes: &[u8], output: &mut Vec<u8>) {
    output.push(b'$');
    push_number(bytes.len(), output);
    output.extend_from_slice(bytes);
    output.extend_from_slice(b"\r\n");
}

fn push_number(number: usize, output: &mut Vec<u8>) {
    output.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
