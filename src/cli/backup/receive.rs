//! `jeton backup`: takes a backup from a running server.
//!
//! The stream is written as it arrives, one piece at a time, so a slow disk here slows only the
//! server's reading. Before the backup gets its final name, every frame in it is read as recovery
//! reads it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::content::{Content, read_content};
use super::failure::BackupFailure;
use super::manifest::{MANIFEST_NAME, Manifest, ManifestFile, check_names};
use super::place::{Place, check_free};
use super::restore::secret_of;
use crate::cli::progress::Shown;
use crate::cli::settings::{SecretArgs, SecretSource};
use crate::cli::target::AdminArgs;
use crate::cli::wire::Wire;
use crate::cli::wire::{detail, reason};
use crate::engine::{BackupFile, BackupHead, Progress};
use crate::model::token::Secret;
use crate::wal::config::SEGMENT_SIZE_MAX;

const PATH: &str = "/v1/backup";
/// The same for a node that joins: the cluster keeps the stream meanwhile.
const PATH_FOR_JOIN: &str = "/v1/backup?for=join";
/// The only known version of the stream's format.
const FORMAT: u32 = 2;
/// Maximum length of the stream's head, in bytes: enough for more than 65,535 files.
const HEAD_LEN_MAX: usize = 16 << 20;
/// Maximum bytes read of a refusal's body.
const REASON_LEN_MAX: usize = 4 << 10;
/// Maximum time without a byte from the server.
const PATIENCE: Duration = Duration::from_secs(60);
/// The part of a file that is not sent is zeros, which are hashed in pieces of this length.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Arguments of `jeton backup`.
#[derive(Args, Clone, Debug)]
pub(super) struct TakeArgs {
    #[command(flatten)]
    admin: AdminArgs,

    #[command(flatten)]
    secret: SecretArgs,

    /// Directory for the backup; must be missing or empty
    #[arg(required = true)]
    pub(super) dir: Option<PathBuf>,
}

pub(super) fn take(args: &TakeArgs, dir: &Path) -> Result<(), BackupFailure> {
    // Checked before the server does any work.
    check_free(dir)?;
    let source = args.secret.source().map_err(BackupFailure::Mistake)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (manifest, counted) = runtime.map_err(BackupFailure::Runtime)?.block_on(async {
        let mut wire = args.admin.connect().await?;
        receive(ask(&mut wire).await?, dir, source.as_ref()).await
    })?;
    manifest.print(counted, "; the backup is complete")
}

/// Asks a server for a backup.
async fn ask(wire: &mut Wire) -> Result<Source, BackupFailure> {
    ask_at(wire, PATH).await
}

/// Asks a node of a cluster for its log, to join with it.
pub(super) async fn ask_for_join(wire: &mut Wire) -> Result<Source, BackupFailure> {
    ask_at(wire, PATH_FOR_JOIN).await
}

async fn ask_at(wire: &mut Wire, path: &'static str) -> Result<Source, BackupFailure> {
    let response = wire.stream(Method::POST, path).await?;
    let status = response.status();
    if status != StatusCode::OK {
        let body = Limited::new(response.into_body(), REASON_LEN_MAX);
        let reason = timeout(PATIENCE, body.collect()).await.ok().and_then(Result::ok);
        let reason = reason.map(Collected::to_bytes).unwrap_or_default();
        return Err(refusal(status, &reason));
    }
    Ok(Source::new(response.into_body()))
}

/// Only a data listener refuses with a problem document.
fn refusal(status: StatusCode, body: &[u8]) -> BackupFailure {
    let (code, detail) = (status.as_u16(), detail(body));
    let is_unknown = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    if is_unknown && detail.is_some() {
        return BackupFailure::NoAdminListener(code);
    }
    BackupFailure::Refused { status: code, reason: detail.unwrap_or_else(|| reason(body)) }
}

async fn receive(
    mut source: Source,
    dir: &Path,
    secret: Option<&SecretSource>,
) -> Result<(Manifest, Option<u64>), BackupFailure> {
    let head = source.head().await?;
    let secret = secret.map(|source| secret_of(&head.log_id, source)).transpose()?;
    let place = Place::new(dir)?;
    let (content, files) = source.fill(&head, &place, secret.as_ref()).await?;
    let manifest = Manifest::new(head, files);
    place.write(MANIFEST_NAME, &manifest.text())?;
    place.finish()?;
    Ok((manifest, content.tokens))
}

async fn one_file(
    source: &mut Source,
    file: &BackupFile,
    place: &Place,
    shown: &Shown,
) -> Result<ManifestFile, BackupFailure> {
    let path = place.path().join(&file.name);
    let mut out = place.create(&file.name)?;
    let (mut hash, mut left) = (Sha256::new(), file.sent);
    while left > 0 {
        let piece = source.next(left).await?;
        left -= piece.len() as u64;
        hash.update(&piece);
        out.write_all(&piece).map_err(BackupFailure::io("write", &path))?;
        shown.advance(source.done, source.all);
    }
    let zeros = file.length - file.sent;
    fill(&out, file.length).map_err(BackupFailure::io("write", &path))?;
    let mut left = zeros;
    while left > 0 {
        let len = left.min(ZEROS.len() as u64);
        hash.update(&ZEROS[..len as usize]);
        left -= len;
    }
    let sha256 = const_hex::encode(hash.finalize());
    Ok(ManifestFile { name: file.name.clone(), length: file.length, sha256 })
}

/// Extends the file to its length with a hole (zeros that use no disk space) and syncs it.
fn fill(file: &File, length: u64) -> std::io::Result<()> {
    file.set_len(length)?;
    file.sync_all()
}

/// Checks the lengths against the limits and against the bytes to be sent: no server can make this
/// machine write a longer file, or more zeros, than a log can have. A sealed segment is sent whole;
/// only the last segment ends in zeros that are not sent.
fn check_lengths(files: &[BackupFile]) -> Result<(), &'static str> {
    let Some((last, sealed)) = files.split_last() else { return Err("its head names no file") };
    if files.iter().any(|file| file.length > SEGMENT_SIZE_MAX) {
        return Err("its head names a file that is longer than a segment can be (1 GiB)");
    }
    if last.sent > last.length || sealed.iter().any(|file| file.sent != file.length) {
        return Err("its head names a file with an impossible number of bytes to send");
    }
    Ok(())
}

/// The body of the answer, read as it arrives.
pub(super) struct Source {
    body: Incoming,
    /// Bytes received and not yet consumed.
    rest: Bytes,
    done: u64,
    all: u64,
}

impl Source {
    fn new(body: Incoming) -> Self {
        Self { body, rest: Bytes::new(), done: 0, all: 0 }
    }

    /// The head: the first line.
    pub(super) async fn head(&mut self) -> Result<BackupHead, BackupFailure> {
        let mut line = Vec::new();
        loop {
            let Some(piece) = self.piece().await? else {
                return Err(BackupFailure::Answer("it has no head"));
            };
            let end = piece.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
            if line.len() > HEAD_LEN_MAX {
                return Err(BackupFailure::Answer("its head is too long"));
            }
            if let Some(end) = end {
                self.rest = piece.slice(end + 1..);
                break;
            }
        }
        let head: BackupHead = serde_json::from_slice(&line)
            .map_err(|_| BackupFailure::Answer("its head can't be parsed"))?;
        if head.format != FORMAT {
            return Err(BackupFailure::Answer("this version of jeton does not know its format"));
        }
        check_lengths(&head.files).map_err(BackupFailure::Answer)?;
        check_names(head.files.iter().map(|file| file.name.as_str()))
            .map_err(|_| BackupFailure::Answer("it names files that do not belong to a log"))?;
        Ok(head)
    }

    /// Writes all files of the log to a directory, and reads every frame in them.
    pub(super) async fn fill(
        &mut self,
        head: &BackupHead,
        place: &Place,
        secret: Option<&Secret>,
    ) -> Result<(Content, Vec<ManifestFile>), BackupFailure> {
        self.all = head.files.iter().map(|file| file.sent).sum();
        let mut files = Vec::with_capacity(head.files.len());
        let shown = Shown::new("receiving");
        for file in &head.files {
            files.push(one_file(self, file, place, &shown).await?);
        }
        drop(shown);
        if !self.is_over().await? {
            return Err(BackupFailure::Answer("it is longer than its head states"));
        }
        if secret.is_some_and(|secret| !head.is_signed_with(secret)) {
            return Err(BackupFailure::Answer("its head was not signed with this secret"));
        }
        let content = read_content(place.path(), secret, &Shown::new("verifying"))?;
        if !content.is_of(head) {
            return Err(BackupFailure::Answer("it holds another log than its head names"));
        }
        Ok((content, files))
    }

    /// The next bytes of the files, at most `max`.
    async fn next(&mut self, max: u64) -> Result<Bytes, BackupFailure> {
        if self.rest.is_empty() {
            let (done, all) = (self.done, self.all);
            self.rest = self.piece().await?.ok_or(BackupFailure::BrokeOff { done, all })?;
        }
        let len = max.min(self.rest.len() as u64);
        self.done += len;
        Ok(self.rest.split_to(len as usize))
    }

    /// Whether the body has ended.
    async fn is_over(&mut self) -> Result<bool, BackupFailure> {
        Ok(self.rest.is_empty() && self.piece().await?.is_none())
    }

    /// The next bytes, at least one; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, BackupFailure> {
        let broke_off = BackupFailure::BrokeOff { done: self.done, all: self.all };
        loop {
            let Ok(frame) = timeout(PATIENCE, self.body.frame()).await else {
                return Err(broke_off);
            };
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(broke_off),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    _ => {}
                },
            }
        }
    }
}
