//! The driver of the conformance suite: see clients/conformance/README.md.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jeton_client::{
    Client, Error, IdempotencyKey, Issue, Issued, Payload, ProblemKind, Read, Reference, Status,
    Target, Ttl,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

#[derive(Default)]
struct Driver {
    clients: Mutex<HashMap<String, Client>>,
    calls: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

#[tokio::main]
async fn main() {
    let driver = Arc::new(Driver::default());
    let (results, mut lines) = mpsc::unbounded_channel::<Value>();
    let writer = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(line) = lines.recv().await {
            let line = format!("{line}\n");
            if out.write_all(line.as_bytes()).await.is_err() || out.flush().await.is_err() {
                return;
            }
        }
    });
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = input.next_line().await {
        let Ok(command) = serde_json::from_str::<Value>(&line) else { continue };
        let id = command["id"].as_u64().unwrap_or_default();
        let (cancel, cancelled) = oneshot::channel();
        driver.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(id, cancel);
        let (driver, results) = (driver.clone(), results.clone());
        tokio::spawn(async move {
            let result = tokio::select! {
                result = driver.perform(&command) => result,
                Ok(()) = cancelled => Err(json!({"kind": "cancelled", "text": "cancelled"})),
            };
            driver.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            let _ = results.send(match result {
                Ok(ok) => json!({"id": id, "ok": ok}),
                Err(error) => json!({"id": id, "error": error}),
            });
        });
    }
    drop(results);
    let _ = writer.await;
}

type Result<T> = std::result::Result<T, Value>;

impl Driver {
    async fn perform(&self, command: &Value) -> Result<Value> {
        let name = command["client"].as_str().unwrap_or_default().to_owned();
        match command["do"].as_str().unwrap_or_default() {
            "describe" => {
                return Ok(json!({"client": "rust", "skip": [], "has": ["put", "clusters"]}));
            }
            "open" => {
                let client = open(&command["options"]).map_err(|error| described(&error))?;
                self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(name, client);
                return Ok(json!({}));
            }
            "cancel" => {
                let call = command["call"].as_u64().unwrap_or_default();
                let call = self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&call);
                let _ = call.map(|call| call.send(()));
                return Ok(json!({}));
            }
            _ => {}
        }
        let client =
            self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let client = client.ok_or_else(|| json!({"kind": "closed", "text": "no such client"}))?;
        match command["do"].as_str().unwrap_or_default() {
            "close" => {
                client.close();
                self.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                Ok(json!({}))
            }
            "inspect" => Ok(json!({"text": format!("{client:?}")})),
            _ => operate(&client, command).await.map_err(|error| described(&error)),
        }
    }
}

fn open(options: &Value) -> std::result::Result<Client, Error> {
    let urls = options["urls"].as_array().into_iter().flatten();
    let mut builder = Client::builder(urls.filter_map(Value::as_str));
    let time = |name: &str| options[name].as_u64().map(Duration::from_millis);
    let size = |name: &str| options[name].as_u64().and_then(|size| usize::try_from(size).ok());
    if let Some(key) = options["key"].as_str() {
        builder = builder.key(key);
    }
    if let Some(file) = options["key_file"].as_str() {
        builder = builder.key_file(file);
    }
    if let Some(deadline) = time("deadline_ms") {
        builder = builder.deadline(deadline);
    }
    if let Some(timeout) = time("try_ms") {
        builder = builder.try_timeout(timeout);
    }
    if let Some(age) = time("connection_age_ms") {
        builder = builder.connection_age(age);
    }
    if let Some(is_on) = options["coalesce"].as_bool() {
        builder = builder.coalesce(is_on);
    }
    if let Some(len) = size("answer_max_bytes") {
        builder = builder.answer_max_bytes(len);
    }
    if let Some(count) = size("connections_max") {
        builder = builder.connections_max(count);
    }
    builder.build()
}

async fn operate(client: &Client, command: &Value) -> std::result::Result<Value, Error> {
    match command["do"].as_str().unwrap_or_default() {
        name @ ("issue" | "issue_batch" | "put") => issue(client, command, name).await,
        name => ask(client, command, name).await,
    }
}

async fn issue(client: &Client, command: &Value, name: &str) -> std::result::Result<Value, Error> {
    let key = command["key"].as_str().map(IdempotencyKey::new).transpose()?;
    Ok(match name {
        "issue" => {
            let issue = item(command)?;
            let issue = match key {
                Some(key) => issue.key(key),
                None => issue,
            };
            issued(&client.issue(&issue).await?)
        }
        "issue_batch" => {
            let items = command["items"].as_array().into_iter().flatten().map(item);
            let items = items.collect::<std::result::Result<Vec<_>, _>>()?;
            let results = match &key {
                Some(key) => client.issue_batch_with(&items, key).await?,
                None => client.issue_batch(&items).await?,
            };
            let result = |result: &std::result::Result<Issued, Error>| match result {
                Ok(value) => issued(value),
                Err(error) => json!({"error": described(error)}),
            };
            json!({"results": results.iter().map(result).collect::<Vec<_>>()})
        }
        _ => {
            let (name, issue) = (command["name"].as_str().unwrap_or_default(), item(command)?);
            let at = match command["if_absent"].as_bool() {
                Some(true) => client.put_if_absent(name, &issue).await?,
                _ => client.put(name, &issue).await?,
            };
            json!({"expires_at": time(at)})
        }
    })
}

async fn ask(client: &Client, command: &Value, name: &str) -> std::result::Result<Value, Error> {
    let key = command["key"].as_str().map(IdempotencyKey::new).transpose()?;
    let one = target(&command["target"]);
    let many: Vec<Target> =
        command["targets"].as_array().into_iter().flatten().map(target).collect();
    let read = match &command["read"] {
        Value::Object(read) => Read::AtLeast(read["at_least"].as_str().unwrap_or("").to_owned()),
        Value::String(read) if read == "linear" => Read::Linear,
        _ => Read::Local,
    };
    Ok(match name {
        "resolve" => json!({"raw": raw(&Some(client.resolve_at(one, read).await?))}),
        "resolve_many" => json!({"raws": raws(&client.resolve_many_at(&many, read).await?)}),
        "consume" => json!({"raw": raw(&Some(match &key {
            Some(key) => client.consume_with(one, key).await?,
            None => client.consume(one).await?,
        }))}),
        "consume_many" => json!({"raws": raws(&match &key {
            Some(key) => client.consume_many_with(&many, key).await?,
            None => client.consume_many(&many).await?,
        })}),
        "status" => {
            let status = |status: &Option<Status>| match status {
                None => Value::Null,
                Some(Status { expires_at, uses_left, size, .. }) => {
                    json!({"expires_at": time(*expires_at), "uses_left": uses_left, "size": size})
                }
            };
            let statuses = client.status_at(&many, read).await?;
            json!({"statuses": statuses.iter().map(status).collect::<Vec<_>>()})
        }
        "extend" => {
            let ttl = ttl(&command["ttl"]).unwrap_or_else(|| "".into());
            let deadlines = client.extend(&many, ttl).await?;
            let deadline = |at: &Option<SystemTime>| at.map_or(Value::Null, time);
            json!({"expires_at": deadlines.iter().map(deadline).collect::<Vec<_>>()})
        }
        "revoke" => {
            client.revoke(&many).await?;
            json!({})
        }
        _ => Value::Null,
    })
}

fn target(value: &Value) -> Target {
    if let Some(name) = value["name"].as_str() {
        return Target::name(name);
    }
    match &value["reference"] {
        Value::Null => Target::token(value["token"].as_str().unwrap_or_default()),
        given => reference(given).into(),
    }
}

fn reference(given: &Value) -> Reference {
    let text = |name: &str| match &given[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let mut reference = Reference::new();
    if let Some(number) = text("order_number") {
        reference = reference.order_number(number);
    }
    if let Some(at) = text("created_at") {
        reference = reference.created_at(at);
    }
    if let Some(amount) = text("amount") {
        reference = reference.amount(amount);
    }
    reference
}

fn ttl(value: &Value) -> Option<Ttl> {
    match value {
        Value::String(text) => Some(Ttl::Text(text.clone())),
        other => other.as_f64().map(Ttl::Seconds),
    }
}

fn item(command: &Value) -> std::result::Result<Issue, Error> {
    let mut issue = Issue::new(command["payload"].as_str().unwrap_or_default())?;
    if let Some(ttl) = ttl(&command["ttl"]) {
        issue = issue.ttl(ttl);
    }
    if let Some(uses) = command["uses"].as_u64().and_then(|uses| u32::try_from(uses).ok()) {
        issue = issue.uses(uses);
    }
    if let Some(peek) = command["peek"].as_bool() {
        issue = issue.peek(peek);
    }
    if !command["reference"].is_null() {
        issue = issue.reference(reference(&command["reference"]));
    }
    Ok(issue)
}

fn issued(value: &Issued) -> Value {
    json!({"token": value.token.as_str(), "expires_at": time(value.expires_at)})
}

fn time(at: SystemTime) -> Value {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    json!(format!("{at:.3}"))
}

fn raw(payload: &Option<Payload>) -> Value {
    payload.as_ref().map_or(Value::Null, |it| json!(BASE64_STANDARD.encode(it.raw())))
}

fn raws(payloads: &[Option<Payload>]) -> Value {
    payloads.iter().map(raw).collect()
}

/// An error as the protocol has it.
fn described(error: &Error) -> Value {
    let mut value = json!({"kind": kind(error), "text": error.to_string()});
    if let Some(status) = error.status() {
        value["status"] = json!(status);
    }
    if let Some(wait) = error.retry_after() {
        value["retry_after_ms"] = json!(wait.as_millis());
    }
    if let Error::Problem(problem) = error
        && let Some(field) = &problem.field
    {
        value["field"] = json!(field);
    }
    if let Error::OutcomeUnknown { key, payloads, .. } = error {
        if let Some(key) = key {
            value["key"] = json!(key.as_str());
        }
        if let Some(payloads) = payloads {
            value["raws"] = raws(payloads);
        }
    }
    value
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Malformed(_) => "malformed",
        Error::Gateway { .. } => "gateway",
        Error::NoConnection(_) => "no_connection",
        Error::NoAnswer(_) => "no_answer",
        Error::Deadline => "deadline",
        Error::AnswerTooLarge => "answer_too_large",
        Error::UnexpectedAnswer(_) => "unexpected_answer",
        Error::OutcomeUnknown { .. } => "outcome_unknown",
        Error::NotOneCluster(_) => "not_one_cluster",
        Error::Closed => "closed",
        Error::Problem(problem) => match problem.kind {
            ProblemKind::BadRequest => "bad_request",
            ProblemKind::Unauthorized => "unauthorized",
            ProblemKind::Forbidden => "forbidden",
            ProblemKind::NotFound => "not_found",
            ProblemKind::MethodNotAllowed => "method_not_allowed",
            ProblemKind::RequestTimeout => "request_timeout",
            ProblemKind::Conflict => "conflict",
            ProblemKind::PreconditionFailed => "precondition_failed",
            ProblemKind::ContentTooLarge => "content_too_large",
            ProblemKind::UnsupportedMediaType => "unsupported_media_type",
            ProblemKind::OutOfLimits => "out_of_limits",
            ProblemKind::TooManyRequests => "too_many_requests",
            ProblemKind::HeadTooLong => "head_too_long",
            ProblemKind::InternalError => "internal_error",
            ProblemKind::Unavailable => "unavailable",
            ProblemKind::StorageFull => "storage_full",
            _ => "api_error",
        },
        _ => "error",
    }
}
