//! The file's text: its keys are parsed, checked and written.

use std::path::Path;

use serde::Deserialize;
use toml_edit::{Table, value};

use crate::keys::entry::{KeyEntry, KeysError, NAME_LEN_MAX, NETWORKS_MAX, WITHOUT_TOKENS};
use crate::keys::holder::CertificateName;
use crate::keys::text::KeyHash;
use crate::model::namespace::Namespace;
use crate::model::network::Network;
use crate::model::scope::Scopes;
use crate::model::time::UnixMillis;

/// Maximum keys in a file.
const KEYS_MAX: usize = 10_000;

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
    /// An empty list would be read as any address by some, and as none by others.
    from: Option<Vec<String>>,
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
            from: networks(self.from)?,
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

/// Reads the networks of a key.
fn networks(written: Option<Vec<String>>) -> Result<Vec<Network>, String> {
    let Some(written) = written else { return Ok(Vec::new()) };
    if !(1..=NETWORKS_MAX).contains(&written.len()) {
        return Err(format!("from must have 1 to {NETWORKS_MAX} networks, or be absent"));
    }
    let read = |text: &String| text.parse().map_err(|form| format!("from: must be {form}"));
    written.iter().map(read).collect()
}

/// Reads all keys of the text of `file`.
pub(super) fn read(file: &Path, text: &str) -> Result<Vec<KeyEntry>, KeysError> {
    let written: Written = toml_edit::de::from_str(text).map_err(|error| {
        // The message does not quote the line: a hash is not secret, but a key pasted there is.
        let line = error.span().map_or(0, |span| line_of(text, span.start));
        KeysError::form(file, format!("line {line}: {}", error.message()))
    })?;
    if written.key.len() > KEYS_MAX {
        return Err(KeysError::form(file, format!("must have at most {KEYS_MAX} keys")));
    }
    let mut keys: Vec<KeyEntry> = Vec::with_capacity(written.key.len());
    for (n, key) in (1..).zip(written.key) {
        let key =
            key.read().map_err(|reason| KeysError::form(file, format!("key {n}: {reason}")))?;
        keys.push(key);
    }
    let mut ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(KeysError::form(file, format!("the key id {} is repeated", pair[0])));
    }
    let live = keys.iter().filter(|key| key.revoked_at.is_none());
    let mut named: Vec<_> =
        live.filter_map(|key| Some((key.certificate.as_ref()?, key.id))).collect();
    named.sort_unstable();
    if let Some([(_, one), (_, two)]) =
        named.windows(2).find(|pair| pair[0].0 == pair[1].0).and_then(|pair| pair.first_chunk())
    {
        return Err(KeysError::form(
            file,
            format!("keys {one} and {two} have the same certificate"),
        ));
    }
    Ok(keys)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// The table of a key.
pub(super) fn table(entry: &KeyEntry) -> Table {
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
    if !entry.from.is_empty() {
        let networks = entry.from.iter().map(ToString::to_string);
        table.insert("from", value(networks.collect::<toml_edit::Array>()));
    }
    table
}
