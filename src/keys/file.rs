//! The keys file: TOML, one `[[key]]` for each key, without the keys themselves.
//!
//! ```toml
//! [[key]]
//! id = "1a2b3c4d"
//! name = "checkout"
//! namespace = "shop-a"
//! scopes = ["issue", "resolve"]
//! hash = "sha256:…"
//! created_at = "2026-11-23T05:00:00.000Z"
//! expires_at = "2027-02-21T05:00:00.000Z"   # optional
//! revoked_at = "2026-12-01T00:00:00.000Z"   # optional
//! holder = "0f1e2d3c"                       # optional: the first of the keys that this one replaces
//! certificate = "dns:checkout.shop.example" # optional: a client's certificate of that name will do
//! ```
//!
//! `jeton keys` changes the file atomically. It may be edited by hand; comments are kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::holder::CertificateName;
use super::text::{Key, KeyHash, KeyId};
use crate::model::namespace::Namespace;
use crate::model::scope::Scopes;
use crate::model::time::UnixMillis;
use crate::permissions::{self, FILE_MODE, Strictness, TooWide};

/// Maximum keys in a file.
const KEYS_MAX: usize = 10_000;
/// Maximum length of a key's name, in bytes.
pub const NAME_LEN_MAX: usize = 100;
/// Maximum length of the file, in bytes; a key takes a few hundred.
const FILE_LEN_MAX: u64 = 16 << 20;

/// Error for a scope that the namespace `*` cannot have.
pub const WITHOUT_TOKENS: &str =
    "scopes: the namespace * is the whole server and accepts only admin, metrics and backup";

/// A key's entry in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntry {
    /// Its id.
    pub id: KeyId,
    /// Its name, for people.
    pub name: String,
    /// The namespace that it gives access to.
    pub namespace: Namespace,
    /// Its scopes.
    pub scopes: Scopes,
    /// Hash of the whole key.
    pub hash: KeyHash,
    /// When the key was created.
    pub created_at: UnixMillis,
    /// When the key expires; `None`: never.
    pub expires_at: Option<UnixMillis>,
    /// When the key was revoked.
    pub revoked_at: Option<UnixMillis>,
    /// Its holder: the first of the keys that this one replaces. `None` if it replaces no key.
    pub holder: Option<KeyId>,
    /// Name of the client certificate that counts as the key ([`crate::tls::Peer::names`]).
    pub certificate: Option<CertificateName>,
}

/// Why the keys file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The operating system refused.
    #[error("the keys file {} can't be {deed}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The action that failed.
        deed: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// It is not TOML, or lacks a field.
    #[error("the keys file {}: {reason}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// The mistake and its place, without the content of the file.
        reason: String,
    },
    /// Other users may write the file, or may read it while `--strict-permissions` is set.
    #[error("the keys file {0}")]
    TooWide(#[from] TooWide),
    /// The file has no such key.
    #[error("the keys file {} has no key {id}", file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// The id.
        id: KeyId,
    },
}

impl KeysError {
    /// Whether the file could not be read, so that its content is unknown.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

/// The file's form for serde.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    key: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    id: String,
    #[serde(default)]
    name: String,
    namespace: String,
    scopes: Vec<String>,
    hash: String,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    holder: Option<String>,
    certificate: Option<String>,
}

impl WrittenKey {
    fn read(self) -> Result<KeyEntry, String> {
        let time = |field: &str, text: &str| {
            UnixMillis::parse(text).ok_or_else(|| format!("{field} must be an RFC 3339 time"))
        };
        if self.name.len() > NAME_LEN_MAX {
            return Err(format!("name must have at most {NAME_LEN_MAX} bytes"));
        }
        let namespace = Namespace::of_key(&self.namespace);
        let namespace = namespace.map_err(|error| format!("namespace: {error}"))?;
        let scopes = Scopes::of(self.scopes.iter().map(String::as_str))
            .map_err(|error| format!("scopes: {error}"))?;
        if namespace.is_every() && !scopes.is_within(Scopes::WITHOUT_TOKENS) {
            return Err(WITHOUT_TOKENS.to_owned());
        }
        let certificate = self.certificate.map(|name| name.parse::<CertificateName>());
        Ok(KeyEntry {
            certificate: certificate.transpose().map_err(|error| error.to_string())?,
            holder: self
                .holder
                .map(|id| id.parse().map_err(|error| format!("holder: {error}")))
                .transpose()?,
            id: self.id.parse().map_err(|error| format!("id: {error}"))?,
            name: self.name,
            namespace,
            scopes,
            hash: KeyHash::parse(&self.hash)
                .ok_or("hash must be sha256: and 64 hexadecimal digits")?,
            created_at: time("created_at", &self.created_at)?,
            expires_at: self.expires_at.map(|text| time("expires_at", &text)).transpose()?,
            revoked_at: self.revoked_at.map(|text| time("revoked_at", &text)).transpose()?,
        })
    }
}

fn form(file: &Path, reason: impl Into<String>) -> KeysError {
    KeysError::Form { file: file.to_owned(), reason: reason.into() }
}

fn refused(file: &Path, deed: &'static str) -> impl FnOnce(io::Error) -> KeysError {
    let file = file.to_owned();
    move |source| KeysError::Io { file, deed, source }
}

/// Reads a keys file.
///
/// # Errors
/// The file is missing, other users may write it, or it has a mistake; then none of its keys are
/// loaded.
pub fn load(file: &Path) -> Result<Vec<KeyEntry>, KeysError> {
    read(file, &text_of(&open(file)?, file)?)
}

/// Loads the file for a server: if other users may read it, its mode is corrected if this process
/// owns it; otherwise a warning is logged or an error is returned, according to `strictness`.
///
/// # Errors
/// As for [`load`].
pub fn load_guarded(file: &Path, strictness: Strictness) -> Result<Vec<KeyEntry>, KeysError> {
    let opened = open(file)?;
    let found = opened.metadata().map_err(refused(file, "read"))?;
    if permissions::look(file, &found).is_some() {
        permissions::guard(&opened, file, FILE_MODE, strictness)?;
    }
    read(file, &text_of(&opened, file)?)
}

/// Opens a keys file and checks that no other user may write it. The path may be a link, because
/// orchestrators mount files that way.
fn open(file: &Path) -> Result<File, KeysError> {
    // The type is checked before the file is opened: opening a pipe would wait for its other end.
    let found = fs::metadata(file).map_err(refused(file, "read"))?;
    if !found.is_file() {
        return Err(form(file, "is not a regular file"));
    }
    let opened = File::open(file).map_err(refused(file, "read"))?;
    let found = opened.metadata().map_err(refused(file, "read"))?;
    match permissions::others_may_write(file, &found) {
        Some(wide) => Err(wide.into()),
        None => Ok(opened),
    }
}

fn text_of(mut opened: &File, file: &Path) -> Result<String, KeysError> {
    let mut text = String::new();
    let read = Read::by_ref(&mut opened).take(FILE_LEN_MAX + 1).read_to_string(&mut text);
    read.map_err(refused(file, "read"))?;
    match text.len() as u64 {
        0..=FILE_LEN_MAX => Ok(text),
        _ => Err(form(file, format!("must have at most {FILE_LEN_MAX} bytes"))),
    }
}

fn read(file: &Path, text: &str) -> Result<Vec<KeyEntry>, KeysError> {
    let written: Written = toml_edit::de::from_str(text).map_err(|error| {
        // The message does not quote the line: a hash is not secret, but a key pasted there is.
        let line = error.span().map_or(0, |span| line_of(text, span.start));
        form(file, format!("line {line}: {}", error.message()))
    })?;
    if written.key.len() > KEYS_MAX {
        return Err(form(file, format!("must have at most {KEYS_MAX} keys")));
    }
    let mut keys: Vec<KeyEntry> = Vec::with_capacity(written.key.len());
    for (n, key) in (1..).zip(written.key) {
        let key = key.read().map_err(|reason| form(file, format!("key {n}: {reason}")))?;
        keys.push(key);
    }
    let mut ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(form(file, format!("the key id {} is repeated", pair[0])));
    }
    let live = keys.iter().filter(|key| key.revoked_at.is_none());
    let mut named: Vec<_> =
        live.filter_map(|key| Some((key.certificate.as_ref()?, key.id))).collect();
    named.sort_unstable();
    if let Some([(_, one), (_, two)]) =
        named.windows(2).find(|pair| pair[0].0 == pair[1].0).and_then(|pair| pair.first_chunk())
    {
        return Err(form(file, format!("keys {one} and {two} have the same certificate")));
    }
    Ok(keys)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// Adds a key to the file, which is created if missing.
///
/// # Errors
/// The file can't be read or written; it is unchanged then.
pub fn add(file: &Path, entry: &KeyEntry) -> Result<(), KeysError> {
    change(file, |document| {
        let tables = document.entry("key").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        let tables = tables.as_array_of_tables_mut().ok_or("key must be written as [[key]]")?;
        tables.push(table(entry));
        Ok(())
    })
}

/// Revokes a key as of `now`. Returns false if it was revoked before.
///
/// # Errors
/// The file has no such key, or can't be read or written.
pub fn revoke(file: &Path, id: KeyId, now: UnixMillis) -> Result<bool, KeysError> {
    let keys = load(file)?;
    let missing = || KeysError::Unknown { file: file.to_owned(), id };
    let known = keys.iter().find(|key| key.id == id).ok_or_else(missing)?;
    if known.revoked_at.is_some() {
        return Ok(false);
    }
    change(file, |document| {
        let tables = document.get_mut("key").and_then(Item::as_array_of_tables_mut);
        let name = id.to_string();
        let found = tables.and_then(|tables| {
            tables.iter_mut().find(|table| {
                table.get("id").and_then(Item::as_str).is_some_and(|known| known == name)
            })
        });
        let table = found.ok_or("key must be written as [[key]]")?;
        table.insert("revoked_at", value(now.to_string()));
        Ok(())
    })?;
    Ok(true)
}

fn table(entry: &KeyEntry) -> Table {
    let mut table = Table::new();
    table.insert("id", value(entry.id.to_string()));
    if !entry.name.is_empty() {
        table.insert("name", value(&entry.name));
    }
    table.insert("namespace", value(entry.namespace.as_str()));
    table.insert("scopes", value(entry.scopes.names().collect::<toml_edit::Array>()));
    table.insert("hash", value(entry.hash.to_string()));
    table.insert("created_at", value(entry.created_at.to_string()));
    if let Some(expires_at) = entry.expires_at {
        table.insert("expires_at", value(expires_at.to_string()));
    }
    if let Some(holder) = entry.holder {
        table.insert("holder", value(holder.to_string()));
    }
    if let Some(name) = &entry.certificate {
        table.insert("certificate", value(name.to_string()));
    }
    table
}

/// Changes the file atomically: a new file is written next to it, synced, and renamed.
fn change(
    file: &Path,
    change: impl FnOnce(&mut DocumentMut) -> Result<(), &'static str>,
) -> Result<(), KeysError> {
    // A link is kept; its target is changed.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let dir = match target.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    // The lock is on the directory, because each change replaces the file.
    let lock = File::open(dir).map_err(refused(file, "locked"))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| refused(file, "locked")(error.into()))?;
    let (text, found) = match open(file) {
        Ok(opened) => (text_of(&opened, file)?, opened.metadata().ok()),
        Err(KeysError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            (String::new(), None)
        }
        Err(error) => return Err(error),
    };
    read(file, &text)?;
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| form(file, error.message()))?;
    change(&mut document).map_err(|reason| form(file, reason))?;
    let mut text = document.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    read(file, &text)?;
    write(dir, &target, &text, found.as_ref()).map_err(refused(file, "written"))?;
    lock.sync_all().map_err(refused(file, "written"))
}

/// Writes a new file with the owner and mode of the old one, `found`: the owner may be the server's
/// user and not the one who adds a key.
fn write(dir: &Path, file: &Path, text: &str, found: Option<&fs::Metadata>) -> io::Result<()> {
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = dir.join(name);
    // A killed command may have left this file. A link is removed, not followed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create_new(true).mode(FILE_MODE).open(&new)?;
    if let Some(found) = found {
        // Without the privilege to change the owner, the file keeps this user as its owner.
        let _ = std::os::unix::fs::fchown(&written, Some(found.uid()), Some(found.gid()));
        permissions::set_new(&written, found.mode() & 0o644 | FILE_MODE);
    }
    let done = written
        .write_all(text.as_bytes())
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::rename(&new, file));
    if done.is_err() {
        // An incomplete file must not be left behind. If it can't be removed, the first error still
        // counts.
        let _ = fs::remove_file(&new);
    }
    done
}

/// Creates a key and its entry for the file.
///
/// # Errors
/// The operating system returns no random bytes.
pub fn new_key(
    namespace: Namespace,
    scopes: Scopes,
    name: String,
    created_at: UnixMillis,
    expires_at: Option<UnixMillis>,
) -> Result<(Key, KeyEntry), crate::model::token::RandomError> {
    let key = Key::random(KeyId::random()?)?;
    let (id, hash) = (key.id(), key.hash());
    let (revoked_at, holder, certificate) = (None, None, None);
    let entry = KeyEntry {
        id,
        name,
        namespace,
        scopes,
        hash,
        created_at,
        expires_at,
        revoked_at,
        holder,
        certificate,
    };
    Ok((key, entry))
}

#[cfg(test)]
mod tests;
