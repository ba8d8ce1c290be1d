//! `jeton keys`: makes, lists and revokes API keys. It changes the keys file only; a running server
//! detects the change.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{FAILED, MISTAKEN, UNANSWERED};
use super::out::{self, OutputError, tell};
use crate::clock::{Clock, SystemClock};
use crate::keys::file::{self, NAME_LEN_MAX, NETWORKS_MAX, new_key};
use crate::keys::{EXPIRY_NOTICE, Key, KeyEntry, KeyId, KeysError};
use crate::model::namespace::Namespace;
use crate::model::network::Network;
use crate::model::scope::Scopes;
use crate::model::text::{duration_text, parse_duration};
use crate::model::time::UnixMillis;
use crate::model::token::RandomError;

/// Default lifetime of a key: a year.
const KEY_LIFE: Duration = Duration::from_secs(365 * 24 * 3_600);
/// `--expires` for a key that does not expire.
const NEVER: &str = "never";

/// The subcommands of `jeton keys`.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key, and print it or write it to a file; it cannot be shown again
    Add(AddArgs),
    /// List all keys
    List {
        #[command(flatten)]
        file: FileArg,

        /// Print a JSON array with an object for each key
        #[arg(long)]
        json: bool,
    },
    /// Revoke keys
    Revoke {
        #[command(flatten)]
        file: FileArg,

        /// Ids of the keys: the eight digits after jeton_
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Args, Clone, Debug)]
pub(super) struct FileArg {
    /// The keys file; created if missing
    #[arg(long = "keys", env = "JETON_KEYS", value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub(super) struct AddArgs {
    #[command(flatten)]
    file: FileArg,

    /// Namespace of the key: tokens of other namespaces are unknown to it; '*' is the whole server,
    /// for admin, metrics and backup
    #[arg(long, default_value = "default", value_name = "NAME")]
    namespace: String,

    /// Scopes: issue, resolve, consume, revoke, reference, import, admin, metrics, backup
    #[arg(long, required = true, value_name = "SCOPE,…")]
    scope: String,

    /// Lifetime of the key, such as 90d, or never
    #[arg(long, default_value_t = duration_text(KEY_LIFE), value_name = "DURATION")]
    expires: String,

    /// Networks from which the key is accepted, such as 10.0.0.0/8 [default: from anywhere]
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    from: Vec<String>,

    /// A client certificate with this name counts as the key: dns:NAME (its first DNS name),
    /// uri:NAME (its first URI) or cn:NAME (its common name); a plain NAME is a DNS name
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,

    /// The new key replaces this one and has the same holder: retries with an Idempotency-Key of
    /// the old key are retries for the new one too. The old key stays valid until it is revoked or
    /// expires
    #[arg(long, value_name = "ID")]
    replaces: Option<String>,

    /// Write the key to a new file (mode 0600), in the form that --key-file takes, instead of
    /// printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Name of the key, for people
    #[arg(long, default_value = "", value_name = "TEXT")]
    name: String,
}

/// Why a keys command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Mistake(String),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("{source}{lost}")]
    Output { source: OutputError, lost: String },
    #[error("--out {} can't be written: {source}", file.display())]
    KeyFile { file: PathBuf, source: io::Error },
}

impl From<OutputError> for Failure {
    fn from(source: OutputError) -> Self {
        Self::Output { source, lost: String::new() }
    }
}

impl Failure {
    fn end(&self) -> ExitCode {
        match self {
            Self::Output { source, lost } => out::unprinted(source, lost),
            Self::Mistake(_) => out::failed(self, MISTAKEN),
            Self::Keys(error) => out::failed(self, code_of(error)),
            Self::Random(_) => out::failed(self, FAILED),
            Self::KeyFile { source, .. } => {
                let is_mistake = source.kind() == io::ErrorKind::NotFound;
                out::failed(self, if is_mistake { MISTAKEN } else { UNANSWERED })
            }
        }
    }
}

/// Exit code of a command that could not use the keys file.
fn code_of(error: &KeysError) -> u8 {
    match error {
        KeysError::Unknown { .. } | KeysError::Form { .. } => FAILED,
        KeysError::Io { deed: "written", .. } => UNANSWERED,
        KeysError::Io { .. } | KeysError::TooWide(_) => MISTAKEN,
    }
}

pub(super) fn run(command: &KeysCommand) -> ExitCode {
    let done = match command {
        KeysCommand::Add(args) => add(args),
        KeysCommand::List { file, json: false } => list(file),
        KeysCommand::List { file, json: true } => list_as_json(file),
        KeysCommand::Revoke { file, ids } => revoke(file, ids),
    };
    done.map_or_else(|failure| failure.end(), |()| ExitCode::SUCCESS)
}

fn mistake(flag: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Mistake(format!("{flag}: {error}"))
}

fn add(args: &AddArgs) -> Result<(), Failure> {
    let namespace =
        Namespace::of_key(&args.namespace).map_err(|error| mistake("--namespace", error))?;
    let scopes: Scopes = args.scope.parse().map_err(|error| mistake("--scope", error))?;
    check_scopes(&namespace, scopes)?;
    if args.name.len() > NAME_LEN_MAX {
        return Err(mistake("--name", format!("must have at most {NAME_LEN_MAX} bytes")));
    }
    let certificate = args.certificate.as_deref().map(str::parse).transpose();
    let certificate = certificate.map_err(|error| mistake("--certificate", error))?;
    let holder = args.replaces.as_deref().map(|id| holder(args, id, &namespace)).transpose()?;
    let now = SystemClock::new().wall();
    let expires_at = expiry(&args.expires, now)?;
    let from = networks(&args.from)?;
    let (key, mut entry) = new_key(namespace, scopes, args.name.clone(), now, expires_at)?;
    (entry.holder, entry.certificate, entry.from) = (holder, certificate, from);
    // The key is written here and nowhere else.
    let id = key.id();
    if let Some(out) = &args.out {
        write_key(out, &key)?;
    }
    if let Err(error) = file::add(&args.file.file, &entry) {
        // The key was not added, so the file with it is removed.
        let _ = args.out.as_ref().map(std::fs::remove_file);
        return Err(error.into());
    }
    if args.out.is_none() {
        let unprinted = |source| Failure::Output {
            source,
            lost: format!("; key {id} was added and its text is lost: jeton keys revoke {id}"),
        };
        out::print_line(key.text()).map_err(unprinted)?;
    }
    let ends = expires_at.map_or("never expires".to_owned(), |end| format!("expires {end}"));
    let where_it_is = match &args.out {
        Some(out) => format!("it was written to {} only", out.display()),
        None => "it cannot be shown again".to_owned(),
    };
    let (scopes, namespace) = (entry.scopes, &entry.namespace);
    let from = match &entry.from[..] {
        [] => String::new(),
        networks => format!(" from {}", named(networks)),
    };
    tell!("key {id} may {scopes} in namespace {namespace}{from}, {ends}; {where_it_is}");
    Ok(())
}

/// Scopes of the whole server need the namespace `*`; scopes of tokens need any other namespace.
fn check_scopes(namespace: &Namespace, scopes: Scopes) -> Result<(), Failure> {
    let is_of_tokens = !scopes.is_within(Scopes::WITHOUT_TOKENS);
    let is_of_server = scopes.without(Scopes::OF_THE_SERVER) != scopes;
    if namespace.is_every() && is_of_tokens {
        return Err(mistake("--scope", file::WITHOUT_TOKENS));
    }
    if !namespace.is_every() && is_of_server {
        let reason = "admin and backup apply to the whole server: they need --namespace '*'";
        return Err(mistake("--scope", reason));
    }
    Ok(())
}

/// The holder of the key that is replaced.
fn holder(args: &AddArgs, id: &str, namespace: &Namespace) -> Result<KeyId, Failure> {
    let id: KeyId =
        id.parse().map_err(|error| mistake("--replaces", format!("{id:?}: {error}")))?;
    let keys = file::load(&args.file.file)?;
    let old = keys.iter().find(|key| key.id == id);
    let old = old.ok_or_else(|| KeysError::Unknown { file: args.file.file.clone(), id })?;
    if old.namespace != *namespace {
        let limit = format!("key {id} belongs to namespace {}, not {namespace}", old.namespace);
        return Err(mistake("--replaces", limit));
    }
    Ok(old.holder.unwrap_or(id))
}

fn write_key(file: &Path, key: &Key) -> Result<(), Failure> {
    out::write_new(file, format!("{}\n", key.text()).as_bytes()).map_err(|source| {
        match source.kind() {
            io::ErrorKind::AlreadyExists => mistake(
                "--out",
                "exists: existing files are never \
                overwritten",
            ),
            _ => Failure::KeyFile { file: file.to_owned(), source },
        }
    })
}

/// When a key with this `--expires` expires; `None`: never.
fn expiry(text: &str, now: UnixMillis) -> Result<Option<UnixMillis>, Failure> {
    if text == NEVER {
        return Ok(None);
    }
    let life = parse_duration(text).map_err(|_| {
        mistake("--expires", format!("must be a duration such as 90d, or {NEVER}, not {text:?}"))
    })?;
    if life.is_zero() {
        return Err(mistake("--expires", format!("must be longer than 0s, or {NEVER}")));
    }
    Ok(Some(now.plus(life)))
}

fn networks(texts: &[String]) -> Result<Vec<Network>, Failure> {
    if texts.len() > NETWORKS_MAX {
        return Err(mistake("--from", format!("must name at most {NETWORKS_MAX} networks")));
    }
    let read = |text: &String| {
        text.parse().map_err(|form| mistake("--from", format!("must be {form}, not {text:?}")))
    };
    texts.iter().map(read).collect()
}

/// Networks as the commands show them.
fn named(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn list(file: &FileArg) -> Result<(), Failure> {
    let now = SystemClock::new().wall();
    let head = ["ID", "NAMESPACE", "SCOPES", "CREATED", "STATE", "NAME"].map(str::to_owned);
    let keys = file::load(&file.file)?;
    let rows: Vec<_> = std::iter::once(head).chain(keys.iter().map(|key| row(key, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for key in &keys {
        if let Some(certificate) = &key.certificate {
            let name = certificate.to_string();
            let name = name.escape_debug();
            text.push_str(&format!("{} is also valid as the certificate of {name}\n", key.id));
        }
        if !key.from.is_empty() {
            text.push_str(&format!("{} is accepted from {} only\n", key.id, named(&key.from)));
        }
    }
    Ok(out::print(text)?)
}

/// The current state of a key, in one word.
fn state(key: &KeyEntry, now: UnixMillis) -> &'static str {
    match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now => "expired",
        _ => "valid",
    }
}

/// Whether a valid key expires within [`EXPIRY_NOTICE`].
fn expires_soon(key: &KeyEntry, now: UnixMillis) -> bool {
    let is_soon = |at: UnixMillis| at <= now.plus(EXPIRY_NOTICE);
    state(key, now) == "valid" && key.expires_at.is_some_and(is_soon)
}

fn list_as_json(file: &FileArg) -> Result<(), Failure> {
    let now = SystemClock::new().wall();
    let time = |at: Option<UnixMillis>| at.map(|at| at.to_string());
    let object = |key: &KeyEntry| {
        json!({
            "id": key.id.to_string(),
            "name": key.name,
            "namespace": key.namespace.to_string(),
            "scopes": key.scopes.names().collect::<Vec<_>>(),
            "state": state(key, now),
            "created_at": key.created_at.to_string(),
            "expires_at": time(key.expires_at),
            "expires_soon": expires_soon(key, now),
            "revoked_at": time(key.revoked_at),
            "holder": key.holder.unwrap_or(key.id).to_string(),
            "certificate": key.certificate.as_ref().map(ToString::to_string),
            "from": key.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    let keys: Vec<Value> = file::load(&file.file)?.iter().map(object).collect();
    Ok(out::print(format!("{:#}\n", Value::from(keys)))?)
}

fn row(key: &KeyEntry, now: UnixMillis) -> [String; 6] {
    let state = match (state(key, now), key.revoked_at.or(key.expires_at)) {
        ("valid", Some(at)) if expires_soon(key, now) => format!("expires soon: {at}"),
        ("valid", Some(at)) => format!("expires {at}"),
        (state, Some(at)) => format!("{state} {at}"),
        (state, None) => state.to_owned(),
    };
    // A name with line breaks or control characters would garble other rows.
    let name = key.name.escape_debug().to_string();
    let (namespace, scopes) = (key.namespace.to_string(), key.scopes.to_string());
    [key.id.to_string(), namespace, scopes, key.created_at.to_string(), state, name]
}

fn revoke(file: &FileArg, ids: &[String]) -> Result<(), Failure> {
    // All ids are checked before the first key is revoked.
    let ids: Vec<KeyId> = ids
        .iter()
        .map(|id| id.parse().map_err(|error| mistake("ID", format!("{id:?}: {error}"))))
        .collect::<Result<_, _>>()?;
    let now = SystemClock::new().wall();
    for id in ids {
        let is_news = file::revoke(&file.file, id, now)?;
        tell!("key {id} {}", if is_news { "is revoked" } else { "was revoked before" });
    }
    Ok(())
}
