//! The side that is written: jeton, over its Redis protocol.
//!
//! A change is sent once. If its answer is lost, the caller decides whether it may be repeated.

use std::io;
use std::time::Duration;

use super::failure::{ImportError, Side};
use super::link::{Link, Reply};
use super::login::log_in;
use super::patience::{Hitch, Patience};
use super::place::Place;

/// Maximum length of a value in an answer: the largest `--max-payload`.
const VALUE_LEN_MAX: usize = 1 << 20;

/// Maximum number of commands in one transaction, and of their bytes: some part of what a frame of the
/// log holds.
const TOGETHER_MAX: usize = 500;
const TOGETHER_LEN_MAX: usize = 512 << 10;
/// What a word adds to its own length, about.
const BESIDE_WORD: usize = 16;

/// A command.
pub(super) type Command = Vec<Vec<u8>>;

/// What became of a command.
pub(super) enum Outcome {
    Reply(Reply),
    /// The connection ended before the answer, or the server itself does not know.
    Lost,
}

/// Limits of the server, for this key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) ttl_max: Duration,
    pub(super) payload_max: usize,
}

/// The server: the first of several that can be reached.
pub(super) struct Target {
    places: Vec<Place>,
    link: Option<Link>,
    pub(super) limits: Limits,
    /// Commands in one transaction; fewer after one was too long.
    together: usize,
    patience: Patience,
}

impl Target {
    /// Connects to the first place that answers.
    pub(super) fn open(places: Vec<Place>, patience: Patience) -> Result<Self, ImportError> {
        let mut failure = None;
        for place in 0..places.len() {
            match connect(&places[place]) {
                Ok((link, limits)) => {
                    let mut places = places;
                    places.rotate_left(place);
                    let link = Some(link);
                    return Ok(Self { places, link, limits, together: TOGETHER_MAX, patience });
                }
                Err(Hitch::Fatal(error)) => return Err(error),
                Err(Hitch::Io(source)) => {
                    let (side, place) = (Side::Server, places[place].to_string());
                    failure = Some(ImportError::Connect { side, place, source });
                }
                Err(Hitch::Later(code, _)) => failure = Some(ImportError::Blocked(code)),
            }
        }
        Err(failure.unwrap_or(ImportError::Url { what: "--server" }))
    }

    /// Performs changes, some of them together, so that they are one entry of the log. Outcomes are in
    /// their order. What the server has certainly not done is sent again, as long as that may help.
    ///
    /// # Errors
    /// The server refuses for good, or for too long. Then a command without an outcome was not done.
    pub(super) fn each(
        &mut self,
        commands: &[Command],
        outcomes: &mut Vec<Option<Outcome>>,
    ) -> Result<(), ImportError> {
        outcomes.clear();
        let mut wait = self.patience.begin(Side::Server);
        while outcomes.len() < commands.len() {
            let group = self.group(&commands[outcomes.len()..]);
            let link = self.link.take().map_or_else(|| self.connect_any(), Ok);
            let done = match link {
                // Nothing was sent.
                Err(hitch) => Err(Refusal::Not(hitch)),
                Ok(mut link) => match together(&mut link, group) {
                    Ok(done) => {
                        self.link = Some(link);
                        done
                    }
                    Err(_) => Err(Refusal::Unknown),
                },
            };
            match done {
                Ok(replies) => {
                    outcomes.extend(replies.into_iter().map(|reply| Some(Outcome::Reply(reply))));
                    wait.reset();
                }
                Err(Refusal::Unknown) => outcomes.extend(group.iter().map(|_| Some(Outcome::Lost))),
                Err(Refusal::Apart) => self.together = group.len() / 2,
                Err(Refusal::Not(hitch)) => {
                    self.turn_after(&hitch);
                    if let Err(error) = wait.after(hitch) {
                        outcomes.resize_with(commands.len(), || None);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// The next commands that are performed together.
    fn group<'a>(&self, commands: &'a [Command]) -> &'a [Command] {
        let mut len = 0;
        let fits = |command: &&Command| {
            len += command.iter().map(|word| word.len() + BESIDE_WORD).sum::<usize>();
            len <= TOGETHER_LEN_MAX
        };
        let count = commands.iter().take(self.together.max(1)).take_while(fits).count();
        &commands[..count.max(1)]
    }

    /// The same for changes that may be repeated: no outcome is lost.
    pub(super) fn ask(&mut self, commands: &[Command]) -> Result<Vec<Reply>, ImportError> {
        let mut replies: Vec<Option<Reply>> = commands.iter().map(|_| None).collect();
        let mut wait = self.patience.begin(Side::Server);
        loop {
            let left: Vec<usize> = (0..replies.len()).filter(|i| replies[*i].is_none()).collect();
            if left.is_empty() {
                return Ok(replies.into_iter().flatten().collect());
            }
            let again: Vec<Command> = left.iter().map(|i| commands[*i].clone()).collect();
            let mut outcomes = Vec::new();
            self.each(&again, &mut outcomes)?;
            for (place, outcome) in left.iter().zip(outcomes) {
                if let Some(Outcome::Reply(reply)) = outcome {
                    replies[*place] = Some(reply);
                }
            }
            if left.iter().all(|place| replies[*place].is_none()) {
                wait.after(Hitch::Io(io::ErrorKind::ConnectionAborted.into()))?;
            }
        }
    }

    /// Reads: a pipeline, again from where it was cut off or refused.
    pub(super) fn look(&mut self, commands: &[Command]) -> Result<Vec<Reply>, ImportError> {
        let mut replies = Vec::with_capacity(commands.len());
        let mut wait = self.patience.begin(Side::Server);
        while replies.len() < commands.len() {
            let before = replies.len();
            let link = self.link.take().map_or_else(|| self.connect_any(), Ok);
            let looked = link.and_then(|mut link| {
                let hitch = pipeline(&mut link, &commands[before..], &mut replies)?;
                self.link = Some(link);
                hitch.map_or(Ok(()), Err)
            });
            if replies.len() > before {
                wait.reset();
            }
            if let Err(hitch) = looked {
                self.turn_after(&hitch);
                wait.after(hitch)?;
            }
        }
        Ok(replies)
    }

    /// Turns to the next place if this one is not reached.
    fn turn_after(&mut self, hitch: &Hitch) {
        if matches!(hitch, Hitch::Io(_)) {
            self.places.rotate_left(1);
        }
    }

    fn connect_any(&mut self) -> Result<Link, Hitch> {
        let (link, limits) = connect(&self.places[0])?;
        self.limits = limits;
        Ok(link)
    }
}

/// Sends commands, and adds their replies up to the first refusal, which is returned.
fn pipeline(
    link: &mut Link,
    commands: &[Command],
    replies: &mut Vec<Reply>,
) -> io::Result<Option<Hitch>> {
    commands.iter().for_each(|command| queue(link, command));
    link.send()?;
    let mut hitch = None;
    for _ in commands {
        let reply = link.reply(VALUE_LEN_MAX)?;
        match refusal(&reply) {
            Some(Refusal::Not(refused)) => hitch = hitch.or(Some(refused)),
            _ if hitch.is_none() => replies.push(reply),
            _ => {}
        }
    }
    Ok(hitch)
}

/// Performs commands as one transaction: all or none.
fn together(link: &mut Link, commands: &[Command]) -> io::Result<Result<Vec<Reply>, Refusal>> {
    if let [command] = commands {
        queue(link, command);
        link.send()?;
        let reply = link.reply(VALUE_LEN_MAX)?;
        return Ok(refusal(&reply).map_or(Ok(vec![reply]), Err));
    }
    link.queue(&[b"MULTI"]);
    commands.iter().for_each(|command| queue(link, command));
    link.queue(&[b"EXEC"]);
    link.send()?;
    let mut refused = None;
    for _ in 0..=commands.len() {
        let reply = link.reply(VALUE_LEN_MAX)?;
        refused = refused.or_else(|| refusal(&reply));
    }
    let done = link.reply(VALUE_LEN_MAX)?;
    Ok(match (done, refused) {
        (Reply::Array(replies), _) if replies.len() == commands.len() => Ok(replies),
        // Discarded because of that.
        (Reply::Error(_), Some(refused)) => Err(refused),
        // Too long for one frame of the log, or one of them is out of its limits.
        (done, _) => Err(refusal(&done).unwrap_or(Refusal::Apart)),
    })
}

fn queue(link: &mut Link, command: &Command) {
    let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    link.queue(&words);
}

/// Why commands were not performed, or perhaps not.
enum Refusal {
    /// They certainly were not.
    Not(Hitch),
    /// They may be performed apart from each other.
    Apart,
    /// Nobody knows.
    Unknown,
}

/// jeton's errors hold no key and no value, so their texts are shown.
fn refusal(reply: &Reply) -> Option<Refusal> {
    let Reply::Error(text) = reply else { return None };
    let (code, sentence) = text.split_once(' ').unwrap_or((text, ""));
    let later = |seconds| Some(Refusal::Not(Hitch::Later(text.clone(), seconds)));
    match code {
        "TOOMANY" => later(seconds(sentence)),
        "BUSY" | "MISCONF" | "OOM" | "LOADING" | "NOREPLICAS" | "MASTERDOWN" | "TRYAGAIN" => {
            later(None)
        }
        "UNKNOWN" => Some(Refusal::Unknown),
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "READONLY" => {
            Some(Refusal::Not(Hitch::Fatal(ImportError::Blocked(text.clone()))))
        }
        _ => None,
    }
}

/// The seconds in `… wait 3 s …`.
fn seconds(sentence: &str) -> Option<u64> {
    let (_, after) = sentence.split_once("wait ")?;
    after.split(' ').next()?.parse().ok()
}

fn connect(place: &Place) -> Result<(Link, Limits), Hitch> {
    let mut link = Link::open(place)?;
    log_in(&mut link, place, Side::Server)?;
    let reply = link.ask(&[b"CONFIG", b"GET", b"jeton-max-*"], VALUE_LEN_MAX)?;
    match refusal(&reply) {
        Some(Refusal::Not(hitch)) => return Err(hitch),
        Some(Refusal::Apart | Refusal::Unknown) | None => {}
    }
    let limits = limits(&reply).ok_or_else(|| ImportError::NotJeton(place.clone()));
    Ok((link, limits.map_err(Hitch::Fatal)?))
}

fn limits(reply: &Reply) -> Option<Limits> {
    let texts: Vec<String> = reply.array()?.iter().map(Reply::text).collect::<Option<_>>()?;
    let number = |name: &str| {
        let at = texts.iter().position(|text| text == name)?;
        texts.get(at + 1)?.parse::<u64>().ok()
    };
    Some(Limits {
        ttl_max: Duration::from_millis(number("jeton-max-ttl")?),
        payload_max: usize::try_from(number("jeton-max-payload")?).ok()?.min(VALUE_LEN_MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_passes_or_not() {
        let of = |text: &str| refusal(&Reply::Error(text.to_owned()));
        let wait = "TOOMANY too many requests for unknown tokens; wait 3 s before the next";
        assert!(matches!(of(wait), Some(Refusal::Not(Hitch::Later(_, Some(3))))));
        assert!(matches!(of("OOM full"), Some(Refusal::Not(Hitch::Later(_, None)))));
        assert!(matches!(of("NOPERM no"), Some(Refusal::Not(Hitch::Fatal(_)))));
        assert!(matches!(of("UNKNOWN no answer"), Some(Refusal::Unknown)));
        assert!(of("ERR value too long").is_none());
        assert!(refusal(&Reply::Nil).is_none());
    }

    #[test]
    fn a_server_that_has_no_limits_is_not_jeton() {
        let text = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        let both = ["jeton-max-payload", "65536", "jeton-max-ttl", "1000"].map(text).to_vec();
        let limits_of = limits(&Reply::Array(both)).unwrap();
        assert_eq!((limits_of.payload_max, limits_of.ttl_max.as_secs()), (65_536, 1));
        assert!(limits(&Reply::Array(Vec::new())).is_none());
        assert!(limits(&Reply::Error("ERR unknown".to_owned())).is_none());
    }
}
