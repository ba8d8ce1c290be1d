//! The client commands. Tokens and references travel in bodies, never in a URL.

use std::io::{self, Read};

use clap::Args;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::failure::ClientError;
use super::out;
use super::reading::{PositionArg, ReadArgs, Reading};
use super::target::{ReferenceArgs, ServerArg, Target};
use super::wire::{Answer, Wire};

/// Maximum tokens in one request.
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
    #[arg(long, value_name = "KEY")]
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
    #[arg(long, value_name = "KEY")]
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
    #[derive(Deserialize)]
    struct Issued {
        token: String,
    }
    let body = issue_body(args)?;
    let key = args.idempotency_key.as_deref();
    let answer = block_on(async {
        let mut wire = args.server.connect().await?;
        let answer = wire.send(Method::POST, "/v1/tokens", key, Some(body)).await?;
        expect(answer, &[StatusCode::CREATED, StatusCode::OK])
    })?;
    let lost = match (&args.idempotency_key, args.reference.to_json()) {
        (None, None) => "; a token was issued and is lost",
        _ => "; a token was issued: the same command prints it again",
    };
    let unprinted = |source| ClientError::Output { source, lost };
    args.position.print(answer.position.as_deref());
    if args.json {
        return out::print_line(&answer.body).map_err(unprinted);
    }
    let issued: Issued = serde_json::from_slice(&answer.body).map_err(|_| ClientError::Answer)?;
    out::print_line(issued.token).map_err(unprinted)
}

fn issue_body(args: &IssueArgs) -> Result<Vec<u8>, ClientError> {
    let mut payload = args.payload.clone();
    if payload == "-" {
        payload.clear();
        io::stdin().lock().read_to_string(&mut payload).map_err(ClientError::Input)?;
    }
    // Checked here for a better error message; sent exactly as given.
    let payload: Box<RawValue> = serde_json::from_str(&payload)
        .map_err(|error| ClientError::Payload { line: error.line(), column: error.column() })?;
    let mut body = vec![("payload", payload)];
    let mut field = |name, value: Value| {
        let raw = to_raw_value(&value).map_err(|_| ClientError::Answer);
        raw.map(|raw| body.push((name, raw)))
    };
    if let Some(ttl) = &args.ttl {
        field("ttl", json!(ttl))?;
    }
    if let Some(uses) = args.uses {
        field("uses", json!(uses))?;
    }
    if args.no_peek {
        field("peek", json!(false))?;
    }
    if let Some(reference) = args.reference.to_json() {
        field("reference", reference)?;
    }
    Ok(object(&body))
}

/// Joins fields that are JSON already, byte for byte, to a JSON object.
fn object(fields: &[(&str, Box<RawValue>)]) -> Vec<u8> {
    let mut text = String::from("{");
    for (i, (name, value)) in fields.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        text.push_str(&format!("{comma}\"{name}\":{value}"));
    }
    text.push('}');
    text.into_bytes()
}

pub(super) fn resolve(args: &ReadArgs) -> Result<(), ClientError> {
    let asked = Asked { path: "/v1/resolve", read: args.read, ..Asked::default() };
    print_found(&args.target, &asked)
}

pub(super) fn consume(args: &ConsumeArgs) -> Result<(), ClientError> {
    let key = args.idempotency_key.as_deref();
    let lost = match key {
        None => "; uses were taken, and payloads that were not printed are lost",
        Some(_) => "; uses were taken: the same command prints the payloads again",
    };
    let position = args.position;
    let asked = Asked { path: "/v1/consume", key, lost, position, ..Asked::default() };
    print_found(&args.target, &asked)
}

pub(super) fn status(args: &ReadArgs) -> Result<(), ClientError> {
    let asked = Asked { path: "/v1/status", read: args.read, ..Asked::default() };
    print_found(&args.target, &asked)
}

pub(super) fn extend(args: &ExtendArgs) -> Result<(), ClientError> {
    let ttl = Some(&*args.ttl);
    let position = args.position;
    let asked = Asked { path: "/v1/extend", ttl, position, ..Asked::default() };
    print_found(&args.target, &asked)
}

/// A request about many tokens.
#[derive(Default)]
struct Asked<'a> {
    path: &'a str,
    /// The `Idempotency-Key`.
    key: Option<&'a str>,
    /// A field in addition to the tokens.
    ttl: Option<&'a str>,
    /// The outcome of requests whose answers cannot be printed, for the error message.
    lost: &'static str,
    read: Option<Reading>,
    position: PositionArg,
}

impl Asked<'_> {
    fn body(&self, tokens: &[Value]) -> Vec<u8> {
        let mut body = json!({ "tokens": tokens });
        if let Some(ttl) = self.ttl {
            body["ttl"] = ttl.into();
        }
        body.to_string().into_bytes()
    }

    async fn send(&self, wire: &mut Wire, tokens: &[Value]) -> Result<Answer, ClientError> {
        let read = self.read.map(Reading::header);
        let read = read.as_ref().map(|(name, value)| (*name, value.as_str()));
        let key = self.key.map(|key| ("idempotency-key", key));
        let headers: Vec<_> = key.into_iter().chain(read).collect();
        Ok(wire.send_with(Method::POST, self.path, &headers, Some(self.body(tokens))).await?)
    }
}

/// Prints what was found, one line per token and in their order, and reports the tokens that were
/// not found.
fn print_found(target: &Target, asked: &Asked<'_>) -> Result<(), ClientError> {
    let items = target.items()?;
    let mut missing = Missing::new(items.len());
    let mut position = None;
    block_on(async {
        let mut wire = target.tokens.server.connect().await?;
        for batch in items.chunks(BATCH_LEN) {
            let answer = expect(asked.send(&mut wire, batch).await?, &[StatusCode::OK])?;
            let found: Vec<&RawValue> =
                serde_json::from_slice(&answer.body).map_err(|_| ClientError::Answer)?;
            let mut lines = String::new();
            for found in found {
                let is_found = found.get() != "null";
                if is_found {
                    lines.push_str(found.get());
                    lines.push('\n');
                }
                missing.next(is_found);
            }
            let lost = asked.lost;
            out::print(lines).map_err(|source| ClientError::Output { source, lost })?;
            position = answer.position.or(position.take());
        }
        Ok(())
    })?;
    asked.position.print(position.as_deref());
    missing.finish()
}

pub(super) fn revoke(args: &RevokeArgs) -> Result<(), ClientError> {
    let items = args.target.items()?;
    let mut position = None;
    let asked = Asked { path: "/v1/revoke", ..Asked::default() };
    block_on(async {
        let mut wire = args.target.tokens.server.connect().await?;
        for batch in items.chunks(BATCH_LEN) {
            let answer = asked.send(&mut wire, batch).await?;
            position = expect(answer, &[StatusCode::NO_CONTENT])?.position.or(position.take());
        }
        Ok(())
    })?;
    args.position.print(position.as_deref());
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

/// The answer, if it has one of these statuses.
pub(super) fn expect(answer: Answer, statuses: &[StatusCode]) -> Result<Answer, ClientError> {
    if statuses.contains(&answer.status) {
        return Ok(answer);
    }
    let status = answer.status.as_u16();
    match (answer.status, detail(&answer.body)) {
        (_, Some(detail)) => Err(ClientError::Refused { status, detail }),
        (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, None) => {
            Err(ClientError::NoDataListener(status))
        }
        (_, None) => Err(ClientError::Refused { status, detail: reason(&answer.body) }),
    }
}

/// The detail of a problem document (RFC 9457), which every refusal of a data listener is.
pub(super) fn detail(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    serde_json::from_slice(body).ok().map(|problem: Problem| problem.detail)
}

/// The first line of a refusal in plain text, as the admin listener or a proxy sends it.
pub(super) fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line: String = text.trim().lines().next().unwrap_or_default().chars().take(200).collect();
    match line.is_empty() {
        true => "no reason given".to_owned(),
        false => line.escape_debug().to_string(),
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
    fn an_issue_sends_the_payload_as_it_was_written() {
        let args = IssueArgs {
            server: ServerArg::default(),
            payload: " {\"a\" : 1.50} ".to_owned(),
            ttl: Some("1h \"x".to_owned()),
            uses: Some(3),
            no_peek: true,
            idempotency_key: None,
            reference: ReferenceArgs {
                order_number: Some("7".to_owned()),
                ..ReferenceArgs::default()
            },
            json: false,
            position: PositionArg::default(),
        };
        let body = String::from_utf8(issue_body(&args).unwrap()).unwrap();
        assert_eq!(
            body,
            concat!(
                r#"{"payload":{"a" : 1.50},"ttl":"1h \"x","uses":3,"peek":false,"#,
                r#""reference":{"order_number":"7"}}"#
            )
        );
        let args = IssueArgs { payload: "{".to_owned(), ..args };
        assert!(matches!(issue_body(&args), Err(ClientError::Payload { .. })));
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
