//! A complete backup is a directory with `manifest.json` and the files that it names, and nothing
//! else.
//!
//! The manifest is written last and guards itself: its checksum is the SHA-256 of the manifest with
//! an empty checksum, and only the exact bytes that jeton writes are accepted, so every flipped bit
//! is found. Its MAC is the server's signature: without the secret nobody can make a manifest that
//! says anything else of the log. It does not cover the SHA-256 of the files, whose frames have tags.
//! Both the MAC and the frames' tags are verified by a reader with the secret.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::content::read_content;
use super::failure::BackupFailure;
use crate::cli::out;
use crate::cli::verify::CHECKED_PART;
use crate::engine::{BackupFile, BackupHead, Progress};
use crate::model::time::UnixMillis;
use crate::model::token::Secret;
use crate::wal::LOCK_NAME;
use crate::wal::config::SEGMENT_SIZE_MAX;

/// Name of the manifest.
pub(super) const MANIFEST_NAME: &str = "manifest.json";
/// Format version of a backup directory.
const FORMAT: u32 = 2;
/// Maximum length of a manifest, in bytes: enough for more than 65,535 files.
const MANIFEST_LEN_MAX: u64 = 16 << 20;
/// Bytes read at once.
const PIECE_LEN: usize = 256 << 10;
/// What was checked with the secret.
const CHECKED_SIGNED: &str =
    "structure, checksums, the server's signature, every tag and every record";

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Format version of the directory: 2.
    pub format: u32,
    /// Version of the jeton that wrote the log.
    pub jeton: String,
    /// Id of the log, which is derived from its secret, in hexadecimal.
    pub log_id: String,
    /// The backup's moment as a position in the log.
    pub lsn: u64,
    /// Tag of the last frame, in hexadecimal.
    pub tag: String,
    /// The backup's moment, RFC 3339.
    pub time: String,
    /// Number of tokens with a use left at that moment, as the server counted them.
    pub tokens: u64,
    /// Whether the backup includes the secret; always false.
    pub holds_secret: bool,
    /// All files but the manifest, oldest first.
    pub files: Vec<ManifestFile>,
    /// The server's MAC of the head ([`BackupHead::mac`]), in hexadecimal.
    pub mac: String,
    /// SHA-256 of this manifest with an empty checksum, in hexadecimal.
    pub checksum: String,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestFile {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of all of it, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn new(head: BackupHead, files: Vec<ManifestFile>) -> Self {
        let mut manifest = Self {
            format: FORMAT,
            jeton: head.jeton,
            log_id: head.log_id,
            lsn: head.lsn,
            tag: head.tag,
            time: UnixMillis(head.time_ms).to_string(),
            tokens: head.tokens,
            holds_secret: false,
            files,
            mac: head.mac,
            checksum: String::new(),
        };
        manifest.checksum = manifest.sum();
        manifest
    }

    /// The head that the server signed.
    fn head(&self) -> Option<BackupHead> {
        let file = |file: &ManifestFile| BackupFile {
            name: file.name.clone(),
            sent: file.length,
            length: file.length,
        };
        Some(BackupHead {
            format: self.format,
            jeton: self.jeton.clone(),
            log_id: self.log_id.clone(),
            lsn: self.lsn,
            tag: self.tag.clone(),
            time_ms: UnixMillis::parse(&self.time)?.0,
            tokens: self.tokens,
            files: self.files.iter().map(file).collect(),
            mac: self.mac.clone(),
        })
    }

    /// The manifest's text as it is written.
    pub(super) fn text(&self) -> Vec<u8> {
        // Strings and numbers always serialize.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn sum(&self) -> String {
        let bare = Self { checksum: String::new(), ..self.clone() };
        const_hex::encode(Sha256::digest(bare.text()))
    }

    /// Reads the manifest of `dir` and checks it, not the files.
    pub(super) fn read(dir: &Path) -> Result<Self, BackupFailure> {
        let path = dir.join(MANIFEST_NAME);
        let mut text = Vec::new();
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::read_dir(dir).map_err(BackupFailure::io("list", dir))?;
                return Err(BackupFailure::damaged(&path, "it is missing"));
            }
            opened => opened.map_err(BackupFailure::io("read", &path))?,
        };
        let read = file.take(MANIFEST_LEN_MAX + 1).read_to_end(&mut text);
        read.map_err(BackupFailure::io("read", &path))?;
        let damaged = |what: &str| BackupFailure::damaged(&path, what);
        if text.len() as u64 > MANIFEST_LEN_MAX {
            return Err(damaged("it is longer than a manifest can be"));
        }
        // The version is read first: another version may have other fields.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Result<Version, _> = serde_json::from_slice(&text);
        let is_other = version.is_ok_and(|version| version.format != FORMAT);
        let manifest: Result<Self, _> = serde_json::from_slice(&text);
        match manifest {
            Ok(manifest) if manifest.text() == text && manifest.sum() == manifest.checksum => {
                manifest.check().map_err(|what| damaged(&what))?;
                Ok(manifest)
            }
            _ if is_other => Err(damaged(
                "this version of jeton does not read its format (format 1 was that of development \
                 versions before 0.1.0, whose log was not encrypted), or it is damaged",
            )),
            Ok(_) => Err(damaged("its checksum is wrong")),
            // serde_json would quote the text.
            Err(_) => Err(damaged("it is not a manifest")),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("this version of jeton does not know format {}", self.format));
        }
        if self.holds_secret {
            return Err("it says that the backup includes the secret".to_owned());
        }
        if self.files.iter().any(|file| file.length > SEGMENT_SIZE_MAX) {
            return Err("it names a file that is longer than a segment can be (1 GiB)".to_owned());
        }
        check_names(self.files.iter().map(|file| file.name.as_str()))
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// Prints a summary of the backup, for people. `done` completes the error message when the
    /// summary cannot be printed: it says what was done. `counted` is the number of tokens, if they
    /// were counted with the secret.
    pub(super) fn print(
        &self,
        counted: Option<u64>,
        done: &'static str,
    ) -> Result<(), BackupFailure> {
        let text = format!(
            "moment    {}\nlsn       {}\ntokens    {}\nfiles     {}\nbytes     {}\n\
             checked   {}\n\
             secret    not included, needed to restore (jeton secret export)\n",
            self.time,
            self.lsn,
            counted.unwrap_or(self.tokens),
            self.files.len(),
            self.bytes(),
            if counted.is_some() { CHECKED_SIGNED } else { CHECKED_PART }
        );
        out::print(text).map_err(|source| BackupFailure::Output { source, lost: done })
    }

    /// Checks everything in `dir` against this manifest: the set of files, their lengths and
    /// checksums, and every frame in them; with the secret also the server's signature and every tag.
    /// Returns the number of tokens, which can be counted with the secret only.
    pub(super) fn verify(
        &self,
        dir: &Path,
        secret: Option<&Secret>,
        progress: &dyn Progress,
    ) -> Result<Option<u64>, BackupFailure> {
        let manifest = dir.join(MANIFEST_NAME);
        let head = self.head();
        let head = head.ok_or_else(|| BackupFailure::damaged(&manifest, "its time is none"))?;
        if secret.is_some_and(|secret| !head.is_signed_with(secret)) {
            let what = "it was changed, or made without this secret: its MAC is wrong";
            return Err(BackupFailure::damaged(&manifest, what));
        }
        let named = self.files.iter().map(|file| file.name.as_str()).chain([MANIFEST_NAME]);
        let mut missing: BTreeSet<&str> = named.collect();
        for entry in fs::read_dir(dir).map_err(BackupFailure::io("list", dir))? {
            let entry = entry.map_err(BackupFailure::io("list", dir))?;
            // A server that was started in the backup by mistake, and refused, leaves it.
            let is_empty = entry.metadata().is_ok_and(|found| found.is_file() && found.len() == 0);
            if entry.file_name() == LOCK_NAME && is_empty {
                continue;
            }
            if !entry.file_name().to_str().is_some_and(|name| missing.remove(name)) {
                return Err(BackupFailure::damaged(&entry.path(), "the manifest does not name it"));
            }
        }
        if let Some(name) = missing.first() {
            return Err(BackupFailure::damaged(&dir.join(name), "it is missing"));
        }
        let (mut done, all) = (0, self.bytes());
        for file in &self.files {
            file.check(dir, &mut io::sink())?;
            done += file.length;
            progress.advance(done, all);
        }
        let content = read_content(dir, secret, progress)?;
        if !content.is_of(&head) {
            let what = "it belongs to another log than the one beside it";
            return Err(BackupFailure::damaged(&manifest, what));
        }
        Ok(content.tokens)
    }
}

impl ManifestFile {
    /// Copies the file from `dir` to `out` and checks its length and checksum against the manifest.
    pub(super) fn check(&self, dir: &Path, out: &mut impl io::Write) -> Result<(), BackupFailure> {
        let path = dir.join(&self.name);
        let unread = |error| BackupFailure::io("read", &path)(error);
        let (mut hash, mut len) = (Sha256::new(), 0);
        let mut piece = vec![0; PIECE_LEN];
        let mut file = fs::File::open(&path).map_err(unread)?;
        if !file.metadata().map_err(unread)?.is_file() {
            return Err(BackupFailure::damaged(&path, "it is not a regular file"));
        }
        loop {
            let piece_len = file.read(&mut piece).map_err(unread)?;
            len += piece_len as u64;
            // Bytes beyond the expected length are not copied.
            if piece_len == 0 || len > self.length {
                break;
            }
            hash.update(&piece[..piece_len]);
            out.write_all(&piece[..piece_len]).map_err(BackupFailure::io("copy", &path))?;
        }
        if len != self.length {
            let what = format!("its length is not the {} bytes of the manifest", self.length);
            return Err(BackupFailure::damaged(&path, &what));
        }
        if const_hex::encode(hash.finalize()) != self.sha256 {
            return Err(BackupFailure::damaged(&path, "its checksum is wrong"));
        }
        Ok(())
    }
}

/// Checks that these can be the files of a backup: names of segments in strictly ascending order,
/// so that no name leads out of the directory and none is repeated.
pub(super) fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut before = "";
    for name in names {
        let digits = name.strip_prefix("segment-").and_then(|name| name.strip_suffix(".log"));
        let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if !digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(is_hex)) {
            return Err("it names a file that is no segment".to_owned());
        }
        if name <= before {
            return Err("its files are not in order".to_owned());
        }
        before = name;
    }
    Ok(())
}

/// Name of the directory while it is incomplete.
pub(super) fn partial(dir: &Path) -> Result<PathBuf, BackupFailure> {
    let mut name = dir.file_name().ok_or(BackupFailure::NoName)?.to_owned();
    name.push(".partial");
    Ok(dir.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let log_id = "00".repeat(16);
        let head = BackupHead {
            format: FORMAT,
            jeton: "0.1.0".to_owned(),
            log_id,
            lsn: 7,
            tag: "00".repeat(16),
            time_ms: 7,
            tokens: 1,
            files: Vec::new(),
            mac: "00".repeat(32),
        };
        let name = "segment-0000000000000001.log".to_owned();
        let file = ManifestFile { name, length: 3, sha256: "11".repeat(32) };
        Manifest::new(head, vec![file])
    }

    #[test]
    fn a_manifest_comes_back_and_every_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MANIFEST_NAME);
        let text = manifest().text();
        fs::write(&path, &text).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest());
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(Manifest::read(dir.path()).is_err(), "bit {bit}");
        }
        for len in 0..text.len() {
            fs::write(&path, &text[..len]).unwrap();
            assert!(Manifest::read(dir.path()).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_come_twice_or_name_a_secret_are_refused() {
        let one = "segment-0000000000000001.log";
        assert!(check_names([one, "segment-000000000000000a.log"].into_iter()).is_ok());
        for names in [&["../../etc/passwd"][..], &["secret.key"], &[one, one], &["segment-1.log"]] {
            assert!(check_names(names.iter().copied()).is_err(), "{names:?}");
        }
        let mut odd = manifest();
        odd.holds_secret = true;
        assert!(odd.check().is_err());
        odd = manifest();
        odd.files[0].length = u64::MAX;
        assert!(odd.check().unwrap_err().contains("1 GiB"));
        odd = Manifest { format: 3, ..manifest() };
        assert!(odd.check().unwrap_err().contains("format 3"));
    }
}
