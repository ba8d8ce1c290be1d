//! The client commands. Tokens and references travel in bodies, never in a URL.

use std::io::{self, Read};
use std::time::SystemTime;

use clap::Args;
use jeton_client::{Error, IdempotencyKey, Issue, Payload, Read as Level};
use serde_json::value::RawValue;

use super::exit::MISTAKEN;
use super::failure::ClientError;
use super::out;
use super::reading::{PositionArg, ReadArgs, Reading};
use super::remote::{Doubt, Remote, same_command};
use super::target::{ReferenceArgs, ServerArg, Target};
use crate::model::time::UnixMillis;

/// Maximum tokens in one request of a change or a status. A resolve has the client's own batches.
const BATCH_LEN: usize = 500;

/// `jeton issue`
#[derive(Args, Clone, Debug)]
pub(super) struct IssueArgs {
    #[command(flatten)]
    server: ServerArg,

    /// The token's payload, as JSON; - reads it from standard input
    payload: String,

    /// Lifetime of the token, such as 15m [default: the server's]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,

    /// Number of times that the token can be consumed
    #[arg(long, value_name = "N")]
    uses: Option<u32>,

    /// The token can only be consumed, not resolved
    #[arg(long)]
    no_peek: bool,

    /// A retry with the same key returns the same token
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    idempotency_key: Option<String>,

    #[command(flatten)]
    reference: ReferenceArgs,

    /// Print the whole answer
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    position: PositionArg,
}

/// `jeton consume`
#[derive(Args, Clone, Debug)]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    target: Target,

    /// A retry with the same key returns the same answer
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    idempotency_key: Option<String>,

    #[command(flatten)]
    position: PositionArg,
}

/// `jeton revoke`
#[derive(Args, Clone, Debug)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    position: PositionArg,
}

/// `jeton extend`
#[derive(Args, Clone, Debug)]
pub(super) struct ExtendArgs {
    #[command(flatten)]
    target: Target,

    /// Lifetime of each token from now on, such as 15m; a deadline is never moved earlier
    #[arg(long, value_name = "DURATION")]
    ttl: String,

    #[command(flatten)]
    position: PositionArg,
}

pub(super) fn issue(args: &IssueArgs) -> Result<(), ClientError> {
    let reference = args.reference.to_reference();
    let key = match (&reference, &args.idempotency_key) {
        (Some(_), None) => None,
        (_, given) => Some(key_of(given.as_deref())?),
    };
    let mut issue = issue_of(args)?;
    if let Some(reference) = reference {
        issue = issue.reference(reference);
    }
    if let Some(key) = &key {
        issue = issue.key(key.clone());
    }
    let remote = args.server.remote()?;
    let issued = block_on(async {
        let issued = remote.client.issue(&issue).await;
        issued.map_err(|error| remote.failed(&error, &Doubt::of(key.as_ref())))
    })?;
    let lost = match &key {
        None => "; a token was issued: the same command prints it again".to_owned(),
        Some(key) => format!("; a token was issued: {} prints it again", same_command(key)),
    };
    let unprinted = |source| ClientError::Output { source, lost: lost.clone() };
    args.position.print(remote.client.position().as_deref());
    let token = issued.token.as_str();
    if args.json {
        let at = moment(issued.expires_at);
        let whole = format!(r#"{{"token":"{token}","expires_at":"{at}"}}"#);
        return out::print_line(whole).map_err(unprinted);
    }
    out::print_line(token).map_err(unprinted)
}

fn issue_of(args: &IssueArgs) -> Result<Issue, ClientError> {
    let mut payload = args.payload.clone();
    if payload == "-" {
        payload.clear();
        io::stdin().lock().read_to_string(&mut payload).map_err(ClientError::Input)?;
    }
    // Checked here for a better error message; sent exactly as given.
    if let Err(error) = serde_json::from_str::<&RawValue>(&payload) {
        return Err(ClientError::Payload { line: error.line(), column: error.column() });
    }
    let mut issue = Issue::new(payload).map_err(|error| ClientError::argument(&error, &[]))?;
    if let Some(ttl) = &args.ttl {
        issue = issue.ttl(ttl.as_str());
    }
    if let Some(uses) = args.uses {
        issue = issue.uses(uses);
    }
    if args.no_peek {
        issue = issue.peek(false);
    }
    Ok(issue)
}

/// The Idempotency-Key of a command: the given one, or a new one, so that the client can send a request
/// again whose answer was lost.
fn key_of(given: Option<&str>) -> Result<IdempotencyKey, ClientError> {
    let key = given.map_or_else(IdempotencyKey::random, IdempotencyKey::new);
    key.map_err(|error| ClientError::argument(&error, &[("key", "--idempotency-key")]))
}

/// The keys of this many requests: a key is that of one request, and a token may be in two.
fn keys_of_requests(
    key: &IdempotencyKey,
    count: usize,
) -> Result<Vec<IdempotencyKey>, ClientError> {
    let next = |number| IdempotencyKey::new(format!("{}.{number}", key.as_str()));
    let later: Result<Vec<_>, _> = (2..=count).map(next).collect();
    let later = later.map_err(|_| {
        let said = format!("--idempotency-key: must be shorter for more than {BATCH_LEN} tokens");
        ClientError::Call { said, code: MISTAKEN }
    })?;
    Ok([key.clone()].into_iter().chain(later).collect())
}

/// A time as the server writes it (RFC 3339).
pub(super) fn moment(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)).to_string()
}

pub(super) fn resolve(args: &ReadArgs) -> Result<(), ClientError> {
    let level = level_of(args.read);
    let ask = async |remote: &Remote, _, targets: &[jeton_client::Target]| {
        remote.client.resolve_many_at(targets, level.clone()).await
    };
    print_found(&args.target, &Doubt::none(), PositionArg::default(), &ask, payload_of)
}

pub(super) fn consume(args: &ConsumeArgs) -> Result<(), ClientError> {
    let key = key_of(args.idempotency_key.as_deref())?;
    let ask = async |remote: &Remote, key: Key, targets: &[jeton_client::Target]| match key {
        Some(key) => remote.client.consume_many_with(targets, &key).await,
        None => remote.client.consume_many(targets).await,
    };
    print_found(&args.target, &Doubt::of(Some(&key)), args.position, &ask, payload_of)
}

pub(super) fn status(args: &ReadArgs) -> Result<(), ClientError> {
    let level = level_of(args.read);
    let ask = async |remote: &Remote, _, targets: &[jeton_client::Target]| {
        remote.client.status_at(targets, level.clone()).await
    };
    let line = |status: &jeton_client::Status| {
        let (at, uses, size) = (moment(status.expires_at), status.uses_left, status.size);
        format!(r#"{{"expires_at":"{at}","uses_left":{uses},"size":{size}}}"#).into_bytes()
    };
    print_found(&args.target, &Doubt::none(), PositionArg::default(), &ask, line)
}

pub(super) fn extend(args: &ExtendArgs) -> Result<(), ClientError> {
    let ask = async |remote: &Remote, _, targets: &[jeton_client::Target]| {
        remote.client.extend(targets, args.ttl.as_str()).await
    };
    let line = |at: &SystemTime| format!(r#"{{"expires_at":"{}"}}"#, moment(*at)).into_bytes();
    print_found(&args.target, &Doubt::of(None), args.position, &ask, line)
}

fn level_of(read: Option<Reading>) -> Level {
    read.map_or(Level::Local, Reading::level)
}

fn payload_of(payload: &Payload) -> Vec<u8> {
    payload.raw().to_vec()
}

/// The key of a request, if its command has one.
type Key = Option<IdempotencyKey>;

/// Prints what was found, one line per token and in their order, and reports the tokens that were not
/// found.
fn print_found<T>(
    target: &Target,
    doubt: &Doubt,
    position: PositionArg,
    ask: &impl AsyncFn(&Remote, Key, &[jeton_client::Target]) -> Result<Vec<Option<T>>, Error>,
    line: impl Fn(&T) -> Vec<u8>,
) -> Result<(), ClientError> {
    let targets = target.targets()?;
    let requests = targets.chunks(BATCH_LEN);
    // All of them before anything is changed.
    let keys = doubt.key().map(|key| keys_of_requests(key, requests.len())).transpose()?;
    let mut missing = Missing::new(targets.len());
    let remote = target.tokens.server.remote()?;
    block_on(async {
        for (number, request) in requests.enumerate() {
            let key = keys.as_ref().and_then(|keys| keys.get(number).cloned());
            let answer = ask(&remote, key, request).await;
            let answer = answer.map_err(|error| match number {
                0 => remote.failed(&error, doubt),
                _ => remote.failed_later(&error, doubt),
            })?;
            let mut lines = Vec::new();
            for found in answer {
                if let Some(found) = &found {
                    lines.extend(line(found));
                    lines.push(b'\n');
                }
                missing.next(found.is_some());
            }
            let unprinted = |source| ClientError::Output { source, lost: doubt.unprinted() };
            out::print(lines).map_err(unprinted)?;
        }
        Ok(())
    })?;
    position.print(remote.client.position().as_deref());
    missing.finish()
}

pub(super) fn revoke(args: &RevokeArgs) -> Result<(), ClientError> {
    let targets = args.target.targets()?;
    let remote = args.target.tokens.server.remote()?;
    block_on(async {
        for batch in targets.chunks(BATCH_LEN) {
            let revoked = remote.client.revoke(batch).await;
            revoked.map_err(|error| remote.failed(&error, &Doubt::of(None)))?;
        }
        Ok(())
    })?;
    args.position.print(remote.client.position().as_deref());
    Ok(())
}

/// Collects the tokens that were not found, by their position: a token never appears in a message
/// (P9).
struct Missing {
    count: usize,
    seen: usize,
    places: Vec<usize>,
}

impl Missing {
    fn new(count: usize) -> Self {
        Self { count, seen: 0, places: Vec::new() }
    }

    fn next(&mut self, is_found: bool) {
        self.seen += 1;
        if !is_found {
            self.places.push(self.seen);
        }
    }

    fn finish(self) -> Result<(), ClientError> {
        if self.places.is_empty() {
            return Ok(());
        }
        if self.count == 1 {
            return Err(ClientError::NotFound("the token".to_owned()));
        }
        let places: Vec<String> = self.places.iter().take(20).map(usize::to_string).collect();
        let more = if self.places.len() > 20 { ", …" } else { "" };
        Err(ClientError::NotFound(format!(
            "{} of {} tokens (numbers {}{more})",
            self.places.len(),
            self.count,
            places.join(", ")
        )))
    }
}

/// Runs a client on a runtime of its own.
pub(super) fn block_on<T>(
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ClientError::Runtime)?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_not_json_is_shown_by_its_place() {
        let args = IssueArgs {
            server: ServerArg::default(),
            payload: "{".to_owned(),
            ttl: None,
            uses: None,
            no_peek: false,
            idempotency_key: None,
            reference: ReferenceArgs::default(),
            json: false,
            position: PositionArg::default(),
        };
        assert!(matches!(issue_of(&args), Err(ClientError::Payload { line: 1, column: 1 })));
        assert!(issue_of(&IssueArgs { payload: " [1.50] ".to_owned(), ..args }).is_ok());
    }

    #[test]
    fn p2_each_request_of_a_long_list_has_a_key_of_its_own() {
        let key = key_of(Some("k")).unwrap();
        let keys = keys_of_requests(&key, 3).unwrap();
        let texts: Vec<_> = keys.iter().map(IdempotencyKey::as_str).collect();
        assert_eq!(texts, ["k", "k.2", "k.3"]);
        let long = key_of(Some(&"k".repeat(254))).unwrap();
        assert!(keys_of_requests(&long, 1).is_ok() && keys_of_requests(&long, 2).is_err());
        assert_ne!(key_of(None).unwrap(), key_of(None).unwrap());
        assert!(key_of(Some(" k")).is_err());
    }

    #[test]
    fn a_time_is_written_as_the_server_writes_it() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_769_860_800_007);
        assert_eq!(moment(at), "2026-01-31T12:00:00.007Z");
    }

    #[test]
    fn missing_tokens_are_named_by_number() {
        let mut missing = Missing::new(3);
        for is_found in [true, false, false] {
            missing.next(is_found);
        }
        let error = missing.finish().unwrap_err();
        assert_eq!(error.to_string(), "not found: 2 of 3 tokens (numbers 2, 3)");
        let mut missing = Missing::new(1);
        missing.next(true);
        assert!(missing.finish().is_ok());
    }
}
