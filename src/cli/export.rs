//! `jeton export`: copies the tokens that a file lists, as JSON lines.
//!
//! jeton keeps digests, so it cannot list its tokens. Who has their texts can export them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::{block_on, expect};
use super::failure::ClientError;
use super::out;
use super::target::ServerArg;
use super::wire::Wire;
use crate::model::token::NAME_LEN_MAX;

/// Names in one request. Their payloads fit into an answer of 16 MiB if they have 64 KiB each.
const BATCH_LEN: usize = 200;

/// `jeton export`
#[derive(Args, Clone, Debug)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    server: ServerArg,

    /// File with the tokens and names, one a line; - reads them from standard input
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

/// What a status says.
#[derive(Deserialize)]
struct Status {
    expires_at: String,
    uses_left: u32,
    /// Length of the payload, in bytes.
    size: usize,
}

/// Prints one line for each token that resolves, and fails if one does not.
pub(super) fn export(args: &ExportArgs) -> Result<(), ClientError> {
    let names = names(&args.tokens)?;
    let mut missing = 0;
    block_on(async {
        let mut wire = args.server.connect().await?;
        for batch in names.chunks(BATCH_LEN) {
            missing += copy(&mut wire, batch).await?;
        }
        Ok(())
    })?;
    match missing {
        0 => Ok(()),
        _ => Err(ClientError::NotFound(format!(
            "{missing} of {} tokens: they are unknown, used up, or cannot be resolved",
            names.len()
        ))),
    }
}

/// The lines of the file, without empty ones. An error names the number of a line, and never shows its
/// text.
fn names(file: &Path) -> Result<Vec<String>, ClientError> {
    let failed = |source| ClientError::Tokens { file: file.to_owned(), source };
    let input: Box<dyn BufRead> = match file.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(file).map_err(failed)?)),
    };
    let mut names = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let name = line.map_err(failed)?;
        let name = name.strip_suffix('\r').unwrap_or(&name);
        if name.len() > NAME_LEN_MAX {
            return Err(ClientError::Name { line: number + 1, len: name.len() });
        }
        if !name.is_empty() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Prints some of them, and returns how many were not found. Where the payloads are too long for one
/// answer, the half is asked for.
async fn copy(wire: &mut Wire, names: &[String]) -> Result<usize, ClientError> {
    let mut missing = 0;
    let mut parts = vec![names];
    while let Some(part) = parts.pop() {
        let Some(payloads) = ask(wire, "/v1/resolve", part).await? else {
            let (first, second) = part.split_at(part.len() / 2);
            parts.extend([second, first]);
            continue;
        };
        let statuses = ask(wire, "/v1/status", part).await?.unwrap_or_default();
        let payloads: Vec<&RawValue> =
            serde_json::from_slice(&payloads).map_err(|_| ClientError::Answer)?;
        let statuses: Vec<Option<Status>> =
            serde_json::from_slice(&statuses).map_err(|_| ClientError::Answer)?;
        let mut lines = String::new();
        for ((name, payload), status) in part.iter().zip(payloads).zip(statuses) {
            match status.filter(|_| payload.get() != "null") {
                None => missing += 1,
                Some(status) => {
                    lines.push_str(&line(name, payload.get(), &status));
                    lines.push('\n');
                }
            }
        }
        out::print(lines)?;
    }
    Ok(missing)
}

/// The answer to a list. `None` if it would be too long.
async fn ask(
    wire: &mut Wire,
    path: &str,
    names: &[String],
) -> Result<Option<Vec<u8>>, ClientError> {
    let items: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
    let body = json!({ "tokens": items }).to_string().into_bytes();
    let answer = wire.send(Method::POST, path, None, Some(body)).await?;
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY && names.len() > 1 {
        return Ok(None);
    }
    Ok(Some(expect(answer, &[StatusCode::OK])?.body.to_vec()))
}

/// A list shows a payload of bytes as `{"base64":"…"}`. A JSON payload may look the same; then the
/// length of the payload decides.
fn line(name: &str, payload: &str, status: &Status) -> String {
    let field = if is_bytes(payload, status.size) { "base64" } else { "payload" };
    let payload = match field {
        "base64" => payload.trim_start_matches(r#"{"base64":"#).trim_end_matches('}'),
        _ => payload,
    };
    let (name, expires_at) = (json!(name), json!(status.expires_at));
    let uses_left = status.uses_left;
    format!(
        r#"{{"name":{name},"{field}":{payload},"expires_at":{expires_at},"uses_left":{uses_left}}}"#
    )
}

fn is_bytes(payload: &str, size: usize) -> bool {
    if payload.len() == size {
        return false;
    }
    let object: Option<HashMap<&str, &str>> = serde_json::from_str(payload).ok();
    let text = object.and_then(|object| object.get("base64").copied());
    text.and_then(|text| BASE64_STANDARD.decode(text).ok()).is_some_and(|it| it.len() == size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_from_json_that_looks_like_them() {
        let status =
            |size| Status { expires_at: "2026-01-31T12:00:00.007Z".into(), uses_left: 2, size };
        let end = r#","expires_at":"2026-01-31T12:00:00.007Z","uses_left":2}"#;
        let bytes = r#"{"base64":"/wA="}"#;
        assert_eq!(
            line("a\"b", bytes, &status(2)),
            format!(r#"{{"name":"a\"b","base64":"/wA="{end}"#)
        );
        for json in [bytes, r#"{ "base64" : 1 }"#, "1.10"] {
            let expected = format!(r#"{{"name":"n","payload":{json}{end}"#);
            assert_eq!(line("n", json, &status(json.len())), expected);
        }
        let empty = line("n", r#"{"base64":""}"#, &status(0));
        assert_eq!(empty, format!(r#"{{"name":"n","base64":""{end}"#));
    }
}
