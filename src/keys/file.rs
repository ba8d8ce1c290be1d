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
//! It is changed by `jeton keys`, whole or not at all, and may be edited by hand: comments stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::holder::CertificateName;
use super::text::{Key, KeyHash, KeyId};
use crate::namespace::Namespace;
use crate::scope::Scopes;
use crate::time::UnixMillis;

/// Keys in a file at most.
const KEYS_MAX: usize = 10_000;
/// The longest name of a key, in bytes.
pub const NAME_LEN_MAX: usize = 100;
/// The longest file, in bytes: a key takes a few hundred.
const FILE_LEN_MAX: u64 = 16 << 20;

/// Why the namespace `*` does not have a scope.
pub const WITHOUT_TOKENS: &str =
    "scopes: the namespace * is the whole server and takes admin, metrics and backup alone";

/// What is known of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntry {
    /// Names it.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// Where it may do what it may.
    pub namespace: Namespace,
    /// What it may do.
    pub scopes: Scopes,
    /// Of the whole key.
    pub hash: KeyHash,
    /// When it was made.
    pub created_at: UnixMillis,
    /// From then on it is refused.
    pub expires_at: Option<UnixMillis>,
    /// Since when it is refused for good.
    pub revoked_at: Option<UnixMillis>,
    /// Whose it is: the first of the keys that this one replaces. None where it replaces none.
    pub holder: Option<KeyId>,
    /// Whose certificate is as good as the key ([`crate::tls::Peer::names`]).
    pub certificate: Option<CertificateName>,
}

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The system refused.
    #[error("the keys file {} can't be {deed}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What was tried.
        deed: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or lacks a field.
    #[error("the keys file {}: {reason}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong and where, without what is there.
        reason: String,
    },
    /// No such key.
    #[error("the keys file {} has no key {id}", file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        id: KeyId,
    },
}

impl KeysError {
    /// The file could not be read, so nothing is known of what is in it.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self, KeysError::Io { .. })
    }
}

/// A file as it is written.
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
            UnixMillis::parse(text)
                .ok_or_else(|| format!("{field} must be a time as RFC 3339 has it"))
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
/// It is not there, or something in it is wrong: nothing of it counts then.
pub fn load(file: &Path) -> Result<Vec<KeyEntry>, KeysError> {
    let len = fs::metadata(file).map_err(refused(file, "read"))?.len();
    if len > FILE_LEN_MAX {
        return Err(form(file, format!("must have at most {FILE_LEN_MAX} bytes, not {len}")));
    }
    let text = fs::read_to_string(file).map_err(refused(file, "read"))?;
    read(file, &text)
}

fn read(file: &Path, text: &str) -> Result<Vec<KeyEntry>, KeysError> {
    let written: Written = toml_edit::de::from_str(text).map_err(|error| {
        // The message without the line itself: a hash is no secret, but a key put there is.
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
        return Err(form(file, format!("there are two keys {}", pair[0])));
    }
    let living = keys.iter().filter(|key| key.revoked_at.is_none());
    let mut named: Vec<_> =
        living.filter_map(|key| Some((key.certificate.as_ref()?, key.id))).collect();
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

/// Adds a key to a file, which is made where it is missing.
///
/// # Errors
/// The file can't be read or written; then it is as it was.
pub fn add(file: &Path, entry: &KeyEntry) -> Result<(), KeysError> {
    change(file, |document| {
        let tables = document.entry("key").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        let tables = tables.as_array_of_tables_mut().ok_or("key must be written as [[key]]")?;
        tables.push(table(entry));
        Ok(())
    })
}

/// Makes a key worthless from `now` on. True where it was not before.
///
/// # Errors
/// There is no such key, or the file can't be read or written.
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

/// Changes the file whole or not at all: a new one is written beside it, synced, and takes its name.
fn change(
    file: &Path,
    change: impl FnOnce(&mut DocumentMut) -> Result<(), &'static str>,
) -> Result<(), KeysError> {
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    // The directory is the lock: the file itself is another after each change.
    let lock = File::open(dir).map_err(refused(file, "locked"))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| refused(file, "locked")(error.into()))?;
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(refused(file, "read")(error)),
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
    write(dir, file, &text).map_err(refused(file, "written"))?;
    lock.sync_all().map_err(refused(file, "written"))
}

fn write(dir: &Path, file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = dir.join(name);
    let mode = 0o600;
    let mut written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    let done = written
        .write_all(text.as_bytes())
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::rename(&new, file));
    if done.is_err() {
        // What can't be written whole must not lie about; that it can't be removed changes nothing.
        let _ = fs::remove_file(&new);
    }
    done
}

/// A new key and what is kept of it.
///
/// # Errors
/// The operating system has no random bytes.
pub fn new_key(
    namespace: Namespace,
    scopes: Scopes,
    name: String,
    created_at: UnixMillis,
    expires_at: Option<UnixMillis>,
) -> Result<(Key, KeyEntry), crate::token::RandomError> {
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
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_769_860_800_007);

    fn key(name: &str) -> (Key, KeyEntry) {
        let scopes = "issue,reference".parse().unwrap();
        let namespace = "shop-a".parse().unwrap();
        new_key(namespace, scopes, name.to_owned(), NOW, Some(UnixMillis(NOW.0 + 1))).unwrap()
    }

    #[test]
    fn what_was_added_is_read_again_and_comments_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        let [one, two] = ["one", "two \"quoted\"\n"].map(|name| key(name).1);
        add(&file, &one).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("# mine\n{text}")).unwrap();
        add(&file, &two).unwrap();
        assert_eq!(load(&file).unwrap(), [one.clone(), two.clone()]);
        assert!(revoke(&file, one.id, NOW).unwrap());
        assert!(!revoke(&file, one.id, NOW).unwrap(), "it was already");
        let revoked = KeyEntry { revoked_at: Some(NOW), ..one };
        assert_eq!(load(&file).unwrap(), [revoked.clone(), two.clone()]);
        let three = key("three").1;
        add(&file, &three).unwrap();
        assert_eq!(load(&file).unwrap(), [revoked, two, three]);
        assert!(fs::read_to_string(&file).unwrap().ends_with("\"\n"));
        assert!(fs::read_to_string(&file).unwrap().starts_with("# mine\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(matches!(
            revoke(&file, KeyId::random().unwrap(), NOW),
            Err(KeysError::Unknown { .. })
        ));
    }

    #[test]
    fn a_certificate_stands_for_one_living_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        let [one, two] = ["one", "two"].map(|name| {
            let certificate = Some("shop.example".parse().unwrap());
            KeyEntry { certificate, ..key(name).1 }
        });
        add(&file, &one).unwrap();
        assert_eq!(load(&file).unwrap(), std::slice::from_ref(&one));
        let error = add(&file, &two).unwrap_err().to_string();
        assert!(error.contains("have the same certificate"), "{error}");
        revoke(&file, one.id, NOW).unwrap();
        add(&file, &two).unwrap();
    }

    #[test]
    fn p9_the_file_holds_no_key_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        let (key, entry) = key("one");
        add(&file, &entry).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&key.text()[15..]));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn mistakes_are_named_and_nothing_of_the_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        add(&file, &key("one").1).unwrap();
        let good = fs::read_to_string(&file).unwrap();
        for (from, to, said) in [
            ("shop-a", "Shop A", "key 1: namespace"),
            ("\"issue\"", "\"all\"", "key 1: scopes: \"all\""),
            ("sha256:", "md5:", "key 1: hash"),
            ("created_at", "made_at", "line "),
            ("Z\"", "\"", "created_at must be a time"),
            ("id = \"", "id = \"x", "key 1: id"),
            ("[[key]]", "[[keys]]", "line 1"),
            ("name = \"one\"", "certificate = \"\"", "key 1: certificate must have 1 to 255"),
            ("name = \"one\"", "certificate = \"spiffe://a\"", "write \"uri:spiffe://a\""),
            ("name = \"one\"", "holder = \"7\"", "key 1: holder"),
            ("name = \"one\"", "name = one", "line 3"),
        ] {
            fs::write(&file, good.replace(from, to)).unwrap();
            let error = load(&file).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("keys.toml"), "{to}: {error}");
        }
        fs::write(&file, good.clone() + &good).unwrap();
        assert!(load(&file).unwrap_err().to_string().contains("two keys"));
    }
}
