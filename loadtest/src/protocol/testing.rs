//! For the tests of the codecs: answers kept as they came, and streams cut everywhere.

use super::{Answer, Answers, Codec, Fault, Garbage, Key, Ticket};

/// An [`Answer`] that owns what it holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kept {
    Found(Vec<u8>),
    Issued(Option<Key>),
    Done,
    Absent,
    Many(Vec<Option<Vec<u8>>>),
    Refused(u16, String),
}

/// All answers in the order they came.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Log(pub(super) Vec<(Ticket, Kept)>);

impl Answers for Log {
    fn answer(&mut self, ticket: Ticket, answer: Answer<'_>) {
        let kept = match answer {
            Answer::Found(bytes) => Kept::Found(bytes.to_vec()),
            Answer::Issued(key) => Kept::Issued(key),
            Answer::Done => Kept::Done,
            Answer::Absent => Kept::Absent,
            Answer::Many(all) => {
                Kept::Many(all.iter().map(|one| one.map(<[u8]>::to_vec)).collect())
            }
            Answer::Refused(refusal) => Kept::Refused(refusal.status, refusal.said.clone()),
        };
        self.0.push((ticket, kept));
    }
}

/// Feeds parts one after the other, as a socket would, and gives what was answered.
pub(super) fn feed(codec: &mut dyn Codec, parts: &[&[u8]]) -> Result<Log, Fault> {
    let (mut log, mut buffer, mut output) = (Log::default(), Vec::new(), Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        let used = codec.receive(&buffer, &mut output, &mut log)?;
        buffer.drain(..used);
    }
    if buffer.is_empty() { Ok(log) } else { Err(Garbage("not all was taken".to_owned()).into()) }
}

/// Checks that a stream of answers means the same cut at every one place, and byte by byte.
pub(super) fn check_cuts(make: &dyn Fn() -> Box<dyn Codec>, stream: &[u8], expected: &Log) {
    assert_eq!(feed(&mut *make(), &[stream]).as_ref(), Ok(expected), "whole");
    for cut in 0..=stream.len() {
        let (first, second) = stream.split_at(cut);
        assert_eq!(feed(&mut *make(), &[first, second]).as_ref(), Ok(expected), "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(feed(&mut *make(), &bytes).as_ref(), Ok(expected), "byte by byte");
}

/// Gives a codec bytes in two parts; it may call them garbage, and must do nothing else wrong.
pub(super) fn survives(codec: &mut dyn Codec, bytes: &[u8], cut: usize) {
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    let (mut log, mut output) = (Log::default(), Vec::new());
    let Ok(used) = codec.receive(first, &mut output, &mut log) else {
        return;
    };
    assert!(used <= first.len());
    let rest = [&first[used..], second].concat();
    if let Ok(used) = codec.receive(&rest, &mut output, &mut log) {
        assert!(used <= rest.len());
    }
}
