//! The client commands. Tokens and references travel in bodies, never in a URL.

use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use clap::Args;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::FAILED;
use super::wire::{Answer, Wire, WireError};
use crate::token::Token;

/// Put before a token that begins with a hyphen, which would be taken for a flag.
const TOKEN_MARK: &str = "token:";
/// How many tokens one request names.
const BATCH_LEN: usize = 500;

#[derive(Args, Clone, Debug)]
struct ServerArg {
    /// The server
    #[arg(long, env = "JETON_SERVER", default_value = "http://127.0.0.1:7450", value_name = "URL")]
    server: String,
}

/// An order, as it identifies a token.
#[derive(Args, Clone, Debug, Default)]
struct ReferenceArgs {
    /// The order's number, as part of the reference
    #[arg(long, value_name = "TEXT")]
    order_number: Option<String>,

    /// When the order was created (RFC 3339), as part of the reference
    #[arg(long, value_name = "TIME")]
    created_at: Option<String>,

    /// The order's amount, as part of the reference
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    amount: Option<String>,
}

impl ReferenceArgs {
    fn to_json(&self) -> Option<Value> {
        let mut reference = serde_json::Map::new();
        for (name, value) in [
            ("order_number", &self.order_number),
            ("created_at", &self.created_at),
            ("amount", &self.amount),
        ] {
            if let Some(value) = value {
                reference.insert(name.to_owned(), value.as_str().into());
            }
        }
        (!reference.is_empty()).then_some(Value::Object(reference))
    }
}

/// `jeton issue`
#[derive(Args, Clone, Debug)]
pub(super) struct IssueArgs {
    #[command(flatten)]
    server: ServerArg,

    /// What the token is to stand for, as JSON; - reads it from standard input
    payload: String,

    /// How long the token lives, such as 15m [default: the server's]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,

    /// How often it can be consumed
    #[arg(long, value_name = "N")]
    uses: Option<u32>,

    /// It can only be consumed, not resolved
    #[arg(long)]
    no_peek: bool,

    /// The same key gets the same token again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    #[command(flatten)]
    reference: ReferenceArgs,

    /// Print the whole answer
    #[arg(long)]
    json: bool,
}

/// The tokens that a command is about.
#[derive(Args, Clone, Debug)]
pub(super) struct Tokens {
    #[command(flatten)]
    server: ServerArg,

    /// Tokens; - reads them from standard input, one a line
    #[arg(value_name = "TOKEN")]
    tokens: Vec<String>,
}

/// The tokens that a command is about, and one by its order.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    #[command(flatten)]
    tokens: Tokens,

    #[command(flatten)]
    reference: ReferenceArgs,
}

/// `jeton consume`
#[derive(Args, Clone, Debug)]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    target: Target,

    /// A retry with the same key gets the same answer
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the payload is not valid JSON (line {line}, column {column})")]
    Payload { line: usize, column: usize },
    #[error("give at least one token, - or, to resolve and consume, an order (--order-number …)")]
    NoTarget,
    #[error("number {0} is not a token")]
    NotAToken(usize),
    #[error("{status}: {detail}")]
    Refused { status: u16, detail: String },
    #[error("not found: {0}")]
    NotFound(String),
    #[error("the server's answer was not understood")]
    Answer,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// An argument of the command line, marked where it is a token that looks like a flag: one of 64
/// does.
pub(super) fn mark_token(arg: OsString) -> OsString {
    let is_token = Token::parse(arg.as_encoded_bytes()).is_ok();
    if !is_token || !arg.as_encoded_bytes().starts_with(b"-") {
        return arg;
    }
    let mut marked = OsString::from(TOKEN_MARK);
    marked.push(arg);
    marked
}

/// Reports a failure and turns it into an exit code.
pub(super) fn finish(result: Result<(), ClientError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
    }
}

pub(super) fn issue(args: &IssueArgs) -> Result<(), ClientError> {
    #[derive(Deserialize)]
    struct Issued {
        token: String,
    }
    let body = issue_body(args)?;
    let key = args.idempotency_key.as_deref();
    let answer = block_on(async {
        let mut wire = Wire::connect(&args.server.server).await?;
        let answer = wire.send(Method::POST, "/v1/tokens", key, Some(body)).await?;
        expect(answer, &[StatusCode::CREATED, StatusCode::OK])
    })?;
    if args.json {
        return print_line(&answer.body);
    }
    let issued: Issued = serde_json::from_slice(&answer.body).map_err(|_| ClientError::Answer)?;
    print_line(issued.token.as_bytes())
}

fn issue_body(args: &IssueArgs) -> Result<Vec<u8>, ClientError> {
    let mut payload = args.payload.clone();
    if payload == "-" {
        payload.clear();
        io::stdin().lock().read_to_string(&mut payload)?;
    }
    // Checked here for a better message, and sent as it was written.
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

/// A JSON object of fields that are JSON already, byte for byte.
fn object(fields: &[(&str, Box<RawValue>)]) -> Vec<u8> {
    let mut text = String::from("{");
    for (i, (name, value)) in fields.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        text.push_str(&format!("{comma}\"{name}\":{value}"));
    }
    text.push('}');
    text.into_bytes()
}

pub(super) fn resolve(target: &Target) -> Result<(), ClientError> {
    print_payloads(target, "/v1/resolve", None)
}

pub(super) fn consume(args: &ConsumeArgs) -> Result<(), ClientError> {
    print_payloads(&args.target, "/v1/consume", args.idempotency_key.as_deref())
}

/// Prints a payload a line, in the order of the tokens; says which were not found.
fn print_payloads(target: &Target, path: &str, key: Option<&str>) -> Result<(), ClientError> {
    let items = target.items()?;
    let mut missing = Missing::new(items.len());
    block_on(async {
        let mut wire = Wire::connect(&target.tokens.server.server).await?;
        for batch in items.chunks(BATCH_LEN) {
            let body = json!({ "tokens": batch }).to_string().into_bytes();
            let answer = wire.send(Method::POST, path, key, Some(body)).await?;
            let answer = expect(answer, &[StatusCode::OK])?;
            let payloads: Vec<&RawValue> =
                serde_json::from_slice(&answer.body).map_err(|_| ClientError::Answer)?;
            for payload in payloads {
                let is_found = payload.get() != "null";
                if is_found {
                    print_line(payload.get().as_bytes())?;
                }
                missing.next(is_found);
            }
        }
        Ok(())
    })?;
    missing.finish()
}

pub(super) fn revoke(tokens: &Tokens) -> Result<(), ClientError> {
    each_by_path(tokens, &Method::DELETE, "")
}

pub(super) fn status(tokens: &Tokens) -> Result<(), ClientError> {
    each_by_path(tokens, &Method::GET, "/status")
}

/// Operations that exist only with the token in the path.
fn each_by_path(tokens: &Tokens, method: &Method, suffix: &str) -> Result<(), ClientError> {
    let texts = tokens.read()?;
    let mut missing = Missing::new(texts.len());
    block_on(async {
        let mut wire = Wire::connect(&tokens.server.server).await?;
        for (number, token) in texts.iter().enumerate() {
            // Anything else would end up as another path.
            if Token::parse(token.as_bytes()).is_err() {
                return Err(ClientError::NotAToken(number + 1));
            }
            let path = format!("/v1/tokens/{token}{suffix}");
            let answer = wire.send(method.clone(), &path, None, None).await?;
            let is_found = answer.status != StatusCode::NOT_FOUND;
            if is_found {
                let answer = expect(answer, &[StatusCode::OK, StatusCode::NO_CONTENT])?;
                if !answer.body.is_empty() {
                    print_line(&answer.body)?;
                }
            }
            missing.next(is_found);
        }
        Ok(())
    })?;
    missing.finish()
}

impl Tokens {
    /// The tokens given, those on standard input included.
    fn read(&self) -> Result<Vec<String>, ClientError> {
        if self.tokens.is_empty() {
            return Err(ClientError::NoTarget);
        }
        let mut texts = Vec::new();
        for token in &self.tokens {
            if token != "-" {
                let text = token.strip_prefix(TOKEN_MARK).unwrap_or(token);
                texts.push(text.to_owned());
                continue;
            }
            for line in io::stdin().lock().lines() {
                let line = line?;
                if !line.trim().is_empty() {
                    texts.push(line.trim().to_owned());
                }
            }
        }
        Ok(texts)
    }
}

impl Target {
    /// Tokens and a reference, as a body names them.
    fn items(&self) -> Result<Vec<Value>, ClientError> {
        let reference = self.reference.to_json();
        let mut items = match self.tokens.read() {
            Err(ClientError::NoTarget) if reference.is_some() => Vec::new(),
            texts => texts?.into_iter().map(Value::from).collect(),
        };
        items.extend(reference.map(|reference| json!({ "reference": reference })));
        Ok(items)
    }
}

/// Remembers which tokens were not found, by their place: a token belongs in no message.
struct Missing {
    count: usize,
    seen: usize,
    places: Vec<usize>,
}

impl Missing {
    fn new(count: usize) -> Missing {
        Missing { count, seen: 0, places: Vec::new() }
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

fn expect(answer: Answer, statuses: &[StatusCode]) -> Result<Answer, ClientError> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    if statuses.contains(&answer.status) {
        return Ok(answer);
    }
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    Err(ClientError::Refused {
        status: answer.status.as_u16(),
        detail: problem.map_or_else(|| "no reason given".to_owned(), |problem| problem.detail),
    })
}

fn print_line(line: &[u8]) -> Result<(), ClientError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line)?;
    stdout.write_all(b"\n")?;
    Ok(())
}

fn block_on<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_sends_the_payload_as_it_was_written() {
        let args = IssueArgs {
            server: ServerArg { server: String::new() },
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
    fn a_token_that_looks_like_a_flag_is_still_a_token() {
        for token in ["-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "--AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let marked = mark_token(token.into()).into_string().unwrap();
            let server = ServerArg { server: String::new() };
            let tokens = Tokens { server, tokens: vec![marked] };
            assert_eq!(tokens.read().unwrap(), [token]);
        }
        assert_eq!(mark_token("--server".into()), "--server");
        assert_eq!(mark_token("-".into()), "-");
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
