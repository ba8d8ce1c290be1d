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
use jeton_client::{Status, Target};
use serde_json::json;

use super::client::{block_on, moment};
use super::failure::ClientError;
use super::out;
use super::remote::{Doubt, Remote};
use super::target::ServerArg;
use crate::model::token::NAME_LEN_MAX;

/// Names that are asked for at a time.
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
struct Shown {
    expires_at: String,
    uses_left: u32,
    /// Length of the payload, in bytes.
    size: u64,
}

impl From<Status> for Shown {
    fn from(Status { expires_at, uses_left, size, .. }: Status) -> Self {
        Self { expires_at: moment(expires_at), uses_left, size }
    }
}

/// Prints one line for each token that resolves, and fails if one does not.
pub(super) fn export(args: &ExportArgs) -> Result<(), ClientError> {
    let names = names(&args.tokens)?;
    let remote = args.server.remote()?;
    let mut missing = 0;
    block_on(async {
        for batch in names.chunks(BATCH_LEN) {
            missing += copy(&remote, batch).await?;
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

/// Prints some of them, and returns how many were not found.
async fn copy(remote: &Remote, names: &[String]) -> Result<usize, ClientError> {
    let targets: Vec<_> = names.iter().map(Target::name).collect();
    let failed = |error| remote.failed(&error, &Doubt::none());
    let payloads = remote.client.resolve_many(&targets).await.map_err(failed)?;
    let statuses = remote.client.status(&targets).await.map_err(failed)?;
    let (mut missing, mut lines) = (0, String::new());
    for ((name, payload), status) in names.iter().zip(payloads).zip(statuses) {
        let Some((payload, status)) = payload.zip(status) else {
            missing += 1;
            continue;
        };
        lines.push_str(&line(name, &String::from_utf8_lossy(payload.raw()), &status.into()));
        lines.push('\n');
    }
    out::print(lines)?;
    Ok(missing)
}

/// A list shows a payload of bytes as `{"base64":"…"}`. A JSON payload may look the same; then the
/// length of the payload decides.
fn line(name: &str, payload: &str, status: &Shown) -> String {
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

fn is_bytes(payload: &str, size: u64) -> bool {
    let is_long = |len: usize| len as u64 == size;
    if is_long(payload.len()) {
        return false;
    }
    let object: Option<HashMap<&str, &str>> = serde_json::from_str(payload).ok();
    let text = object.and_then(|object| object.get("base64").copied());
    text.and_then(|text| BASE64_STANDARD.decode(text).ok()).is_some_and(|it| is_long(it.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_from_json_that_looks_like_them() {
        let status =
            |size| Shown { expires_at: "2026-01-31T12:00:00.007Z".into(), uses_left: 2, size };
        let end = r#","expires_at":"2026-01-31T12:00:00.007Z","uses_left":2}"#;
        let bytes = r#"{"base64":"/wA="}"#;
        assert_eq!(
            line("a\"b", bytes, &status(2)),
            format!(r#"{{"name":"a\"b","base64":"/wA="{end}"#)
        );
        for json in [bytes, r#"{ "base64" : 1 }"#, "1.10"] {
            let expected = format!(r#"{{"name":"n","payload":{json}{end}"#);
            assert_eq!(line("n", json, &status(json.len() as u64)), expected);
        }
        let empty = line("n", r#"{"base64":""}"#, &status(0));
        assert_eq!(empty, format!(r#"{{"name":"n","base64":""{end}"#));
    }
}
