//! Requests and answers of the JetStream API, as JSON and as headers.

use async_nats::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cluster::stream::{Bounds, Hint, Message, StreamError, StreamId};
use crate::model::time::UnixMillis;

/// Error codes of the API that have a meaning of their own here.
const NO_LEADER: [u64; 3] = [10008, 10009, 10118];
const NO_MESSAGE: u64 = 10037;
const NO_STREAM: u64 = 10059;
/// Reasons for a full stream: its bytes, and the storage of a server or of an account. The first
/// stands for any message that could not be stored; one that is too long is never sent.
const FULL: [u64; 4] = [10077, 10047, 10023, 10002];

/// An error of the API.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl ApiError {
    pub(super) fn is_no_message(&self) -> bool {
        self.err_code == NO_MESSAGE
    }

    pub(super) fn into_error(self, stream: &str) -> StreamError {
        match self.err_code {
            NO_STREAM => StreamError::Missing(stream.to_owned()),
            code if NO_LEADER.contains(&code) => StreamError::NoLeader,
            _ => StreamError::Refused(self.said()),
        }
    }

    fn into_hint(self) -> Hint {
        match self.err_code {
            code if FULL.contains(&code) => Hint::Full,
            code if NO_LEADER.contains(&code) => Hint::NoLeader,
            _ => Hint::Refused(self.said()),
        }
    }

    fn said(&self) -> String {
        format!("{} ({})", self.description, self.err_code)
    }
}

/// What `STREAM.INFO` and `STREAM.CREATE` answer.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    /// Every setting, also those that this version does not know.
    pub config: Map<String, Value>,
    created: String,
    state: State,
    /// Absent if the server is alone.
    cluster: Option<Group>,
}

#[derive(Debug, Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
}

/// The servers that keep a copy.
#[derive(Debug, Default, Deserialize)]
struct Group {
    #[serde(default)]
    leader: String,
    #[serde(default)]
    replicas: Vec<Replica>,
}

/// A server with a copy, as the leader sees it.
#[derive(Debug, Deserialize)]
struct Replica {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
    /// Nanoseconds since the leader heard of it.
    #[serde(default)]
    active: u64,
    /// Messages that its copy lacks.
    #[serde(default)]
    lag: u64,
}

/// The leader hears of each copy once a second, also while nothing is stored.
const SILENCE_MAX_NS: u64 = 5_000_000_000;
/// A copy that lacks this many messages is as good as whole: under load each lacks a few.
const LAG_MAX: u64 = 1_000;

impl Replica {
    fn fault(&self) -> Option<String> {
        let Self { current, offline, active, lag, .. } = *self;
        if offline {
            return Some("is offline".to_owned());
        }
        if active > SILENCE_MAX_NS {
            let seconds = active / 1_000_000_000;
            return Some(format!("has not answered the leader of the stream for {seconds} s"));
        }
        (!current && lag > LAG_MAX).then(|| format!("lacks {lag} messages of the stream"))
    }
}

impl Info {
    /// Whether the leader answered. During an election any replica may.
    pub(super) fn is_of_leader(&self) -> bool {
        self.cluster.as_ref().is_none_or(|group| !group.leader.is_empty())
    }

    pub(super) fn bounds(&self) -> Result<Bounds, StreamError> {
        let State { messages, first_seq, last_seq, .. } = self.state;
        let first = if messages == 0 { last_seq + 1 } else { first_seq };
        Ok(Bounds { first, last: last_seq, id: StreamId(nanoseconds(&self.created)?) })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.state.bytes
    }

    /// The servers with a copy, the leader first, each with what is wrong with its copy.
    pub(super) fn copies(&self) -> Vec<(String, Option<String>)> {
        let Some(Group { leader, replicas }) = &self.cluster else { return Vec::new() };
        let leader = Some(leader).filter(|leader| !leader.is_empty());
        let leader = leader.map(|leader| (leader.clone(), None));
        let others = replicas.iter().map(|replica| (replica.name.clone(), replica.fault()));
        leader.into_iter().chain(others).collect()
    }
}

/// Reads an answer: the value, or the error in its place.
pub(super) fn read<'a, T: Deserialize<'a>>(
    answer: &'a [u8],
) -> Result<Result<T, ApiError>, StreamError> {
    #[derive(Deserialize)]
    struct Head {
        error: Option<ApiError>,
    }
    let malformed = |error: serde_json::Error| StreamError::Malformed(error.to_string());
    let head: Head = serde_json::from_slice(answer).map_err(malformed)?;
    match head.error {
        Some(error) => Ok(Err(error)),
        None => serde_json::from_slice(answer).map(Ok).map_err(malformed),
    }
}

/// What became of a proposal.
pub(super) fn read_answer(answer: &[u8]) -> Result<u64, Hint> {
    #[derive(Deserialize)]
    struct Stored {
        seq: u64,
    }
    match read::<Stored>(answer) {
        Ok(Ok(stored)) => Ok(stored.seq),
        Ok(Err(error)) => Err(error.into_hint()),
        Err(error) => Err(Hint::Refused(error.to_string())),
    }
}

/// The message in the answer of `STREAM.MSG.GET`.
#[derive(Deserialize)]
pub(super) struct Got {
    message: Stored,
}

#[derive(Deserialize)]
struct Stored {
    seq: u64,
    time: String,
    /// Absent in an empty message.
    #[serde(default)]
    data: String,
}

impl Got {
    pub(super) fn into_message(self) -> Result<Message, StreamError> {
        let Stored { seq, time, data } = self.message;
        let bytes =
            STANDARD.decode(data).map_err(|error| StreamError::Malformed(error.to_string()))?;
        Ok(Message { seq, stored_at: stored_at(&time)?, bytes: bytes.into() })
    }
}

/// The message of a tail or of Direct Get: its number and its time are in the headers.
pub(super) fn from_headers(
    stream: &str,
    headers: Option<&HeaderMap>,
    bytes: Bytes,
) -> Result<Message, StreamError> {
    let value = |name: &str| {
        let value = headers.and_then(|headers| headers.get(name)).map(HeaderValue::as_str);
        value.ok_or_else(|| StreamError::Malformed(format!("a message without {name}")))
    };
    if value("Nats-Stream")? != stream {
        return Err(StreamError::Malformed("a message of another stream".to_owned()));
    }
    let seq = value("Nats-Sequence")?;
    let seq = seq.parse().map_err(|_| StreamError::Malformed(format!("Nats-Sequence {seq:?}")))?;
    Ok(Message { seq, stored_at: stored_at(value("Nats-Time-Stamp")?)?, bytes })
}

fn nanoseconds(time: &str) -> Result<i64, StreamError> {
    let parsed = time.parse::<jiff::Timestamp>().ok();
    parsed
        .and_then(|time| i64::try_from(time.as_nanosecond()).ok())
        .ok_or_else(|| StreamError::Malformed(format!("the time {time:?}")))
}

fn stored_at(time: &str) -> Result<UnixMillis, StreamError> {
    let millis = nanoseconds(time)?.div_euclid(1_000_000);
    // Before 1970 it is 0, as on every node.
    Ok(UnixMillis(u64::try_from(millis).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_an_empty_stream_are_the_next_number() {
        let info = |messages: u64, first: u64, last: u64| {
            let text = format!(
                r#"{{"config":{{"name":"a","max_age":0}},"created":"2026-11-27T08:00:00.123456789Z",
                "state":{{"messages":{messages},"bytes":9,"first_seq":{first},"last_seq":{last}}},
                "cluster":{{"leader":"n2","replicas":[{{"name":"n1"}},{{"name":"n3"}}]}}}}"#
            );
            read::<Info>(text.as_bytes()).unwrap().unwrap()
        };
        let bounds = |info: Info| info.bounds().map(|bounds| (bounds.first, bounds.last)).unwrap();
        assert_eq!(bounds(info(0, 0, 0)), (1, 0));
        assert_eq!(bounds(info(0, 8, 7)), (8, 7));
        assert_eq!(bounds(info(2, 6, 7)), (6, 7));
        let info = info(2, 6, 7);
        let names: Vec<String> = info.copies().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["n2", "n1", "n3"]);
        assert_eq!(info.bounds().unwrap().id, StreamId(1_795_766_400_123_456_789));
    }

    #[test]
    fn faults_of_copies_are_those_that_the_leader_sees() {
        let fault = |said: &str| {
            let text = format!(r#"{{"name":"n1",{said}}}"#);
            serde_json::from_str::<Replica>(&text).unwrap().fault()
        };
        assert_eq!(fault(r#""current":true,"active":900000000"#), None);
        assert_eq!(fault(r#""current":false,"active":900000000,"lag":12"#), None, "under load");
        let offline = fault(r#""current":false,"offline":true,"active":99000000000,"lag":9"#);
        assert_eq!(offline.unwrap(), "is offline");
        let silent = fault(r#""current":true,"active":6500000000"#).unwrap();
        assert_eq!(silent, "has not answered the leader of the stream for 6 s");
        let behind = fault(r#""current":false,"active":1,"lag":50000"#).unwrap();
        assert_eq!(behind, "lacks 50000 messages of the stream");
    }

    #[test]
    fn errors_have_their_meaning() {
        let hint = |code: u64| {
            let text = format!(
                r#"{{"error":{{"code":503,"err_code":{code},"description":"no"}},"stream":"a","seq":0}}"#
            );
            read_answer(text.as_bytes())
        };
        assert_eq!(hint(10077), Err(Hint::Full));
        assert_eq!(hint(10008), Err(Hint::NoLeader));
        assert_eq!(hint(10060), Err(Hint::Refused("no (10060)".to_owned())));
        assert_eq!(read_answer(br#"{"stream":"a","seq":7}"#), Ok(7));
        assert!(read_answer(b"{").is_err());
    }

    #[test]
    fn message_of_the_leader_is_read() {
        let text = br#"{"message":{"subject":"s","seq":3,"data":"aGk=","time":"2026-11-27T08:00:00.1239Z"}}"#;
        let message = read::<Got>(text).unwrap().unwrap().into_message().unwrap();
        assert_eq!((message.seq, &message.bytes[..]), (3, &b"hi"[..]));
        assert_eq!(message.stored_at, UnixMillis(1_795_766_400_123));
    }

    #[test]
    fn message_with_headers_is_of_this_stream() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Sequence", "12");
        headers.insert("Nats-Time-Stamp", "2026-11-27T08:00:00Z");
        let read = |headers: &HeaderMap| from_headers("a", Some(headers), Bytes::new());
        assert!(read(&headers).is_err());
        headers.insert("Nats-Stream", "b");
        assert!(read(&headers).is_err());
        headers.insert("Nats-Stream", "a");
        assert_eq!(read(&headers).unwrap().seq, 12);
        headers.insert("Nats-Sequence", "-1");
        assert!(read(&headers).is_err());
    }
}
