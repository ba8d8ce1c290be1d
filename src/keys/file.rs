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
//! from = ["10.0.0.0/8"]                     # optional: refused from any other address
//! ```
//!
//! `jeton keys` changes the file atomically. It may be edited by hand; comments are kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use toml_edit::{ArrayOfTables, DocumentMut, Item, value};

use super::text::{Key, KeyId};
use crate::model::namespace::Namespace;
use crate::model::scope::Scopes;
use crate::model::time::UnixMillis;
use crate::permissions::{self, FILE_MODE, Strictness};

mod form;
#[cfg(test)]
mod tests;

pub use super::entry::{KeyEntry, KeysError, NAME_LEN_MAX, NETWORKS_MAX, WITHOUT_TOKENS};

use form::{read, table};

/// Maximum length of the file, in bytes; a key takes a few hundred.
const FILE_LEN_MAX: u64 = 16 << 20;

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
        return Err(KeysError::form(file, "is not a regular file"));
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
        _ => Err(KeysError::form(file, format!("must have at most {FILE_LEN_MAX} bytes"))),
    }
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
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| KeysError::form(file, error.message()))?;
    change(&mut document).map_err(|reason| KeysError::form(file, reason))?;
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
        from: Vec::new(),
    };
    Ok((key, entry))
}
