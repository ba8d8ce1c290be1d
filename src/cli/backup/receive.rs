//! `jeton backup`: takes a backup from a running server.
//!
//! What comes is written as it comes, a piece at a time, so a slow disk here slows the server's
//! reading and nothing else. Before the backup gets its name every frame of it is read as a start
//! would read it.

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

use super::failure::BackupFailure;
use super::manifest::{MANIFEST_NAME, Manifest, ManifestFile, check_names, read_content};
use super::place::{Place, check_free};
use crate::cli::client::{detail, reason};
use crate::cli::progress::Shown;
use crate::cli::settings::ADMIN_LISTEN;
use crate::cli::target::KeyArgs;
use crate::engine::{BackupFile, BackupHead, Progress};
use crate::model::time::UnixMillis;
use crate::wal::config::SEGMENT_SIZE_MAX;

const PATH: &str = "/v1/backup";
/// The only form of answer that is known.
const FORMAT: u32 = 1;
/// The longest head: 65,535 files and more.
const HEAD_LEN_MAX: usize = 16 << 20;
/// How much of a refusal is read.
const REASON_LEN_MAX: usize = 4 << 10;
/// How long the server may send nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is not sent is zeros; they are hashed in pieces of this length.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What `jeton backup` needs to know of the server and of the new directory.
#[derive(Args, Clone, Debug)]
pub(super) struct TakeArgs {
    /// The server's admin listener
    #[arg(
        long,
        env = "JETON_ADMIN_SERVER",
        default_value_t = format!("http://{ADMIN_LISTEN}"),
        value_name = "URL"
    )]
    server: String,

    #[command(flatten)]
    key: KeyArgs,

    /// Where the backup goes; must be missing or empty
    #[arg(required = true)]
    pub(super) dir: Option<PathBuf>,
}

pub(super) fn take(args: &TakeArgs, dir: &Path) -> Result<(), BackupFailure> {
    // Known before the server has any work.
    check_free(dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let manifest = runtime.map_err(BackupFailure::Runtime)?.block_on(async {
        let mut wire = args.key.connect(&args.server).await?;
        let response = wire.stream(Method::POST, PATH).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = Limited::new(response.into_body(), REASON_LEN_MAX);
            let reason = timeout(PATIENCE, body.collect()).await.ok().and_then(Result::ok);
            let reason = reason.map(Collected::to_bytes).unwrap_or_default();
            return Err(refusal(status, &reason));
        }
        receive(Source::new(response.into_body()), dir).await
    })?;
    manifest.print("; the backup is whole")
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

async fn receive(mut source: Source, dir: &Path) -> Result<Manifest, BackupFailure> {
    let head = source.head().await?;
    source.all = head.files.iter().map(|file| file.sent).sum();
    let place = Place::new(dir)?;
    let mut files = Vec::with_capacity(head.files.len());
    let shown = Shown::new("receiving");
    for file in &head.files {
        files.push(one_file(&mut source, file, &place, &shown).await?);
    }
    drop(shown);
    if !source.is_over().await? {
        return Err(BackupFailure::Answer("there is more than its head says"));
    }
    let content = read_content(place.path(), &Shown::new("verifying"))?;
    let time = UnixMillis(head.time_ms).to_string();
    if (&content.log_id, content.lsn, &content.time) != (&head.log_id, head.lsn, &time) {
        return Err(BackupFailure::Answer("the log is not the one that its head names"));
    }
    let manifest = Manifest::new(head.jeton, content, files);
    place.write(MANIFEST_NAME, &manifest.text())?;
    place.finish()?;
    Ok(manifest)
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

/// Makes it as long as it must be, with zeros that take no room, and makes it durable.
fn fill(file: &File, length: u64) -> std::io::Result<()> {
    file.set_len(length)?;
    file.sync_all()
}

/// Lengths are held against limits, and against what must arrive: nobody makes this machine write a
/// longer file, or more zeros, than a log can have. A sealed segment is sent whole; only the last
/// one ends in zeros that are not sent.
fn check_lengths(files: &[BackupFile]) -> Result<(), &'static str> {
    let Some((last, sealed)) = files.split_last() else { return Err("its head names no file") };
    if files.iter().any(|file| file.length > SEGMENT_SIZE_MAX) {
        return Err("its head names a file that is longer than a segment can be (1 GiB)");
    }
    if last.sent > last.length || sealed.iter().any(|file| file.sent != file.length) {
        return Err("its head names a file of which another number of bytes is sent");
    }
    Ok(())
}

/// The answer's body, as it comes.
struct Source {
    body: Incoming,
    /// Came, and was not taken yet.
    rest: Bytes,
    done: u64,
    all: u64,
}

impl Source {
    fn new(body: Incoming) -> Source {
        Source { body, rest: Bytes::new(), done: 0, all: 0 }
    }

    /// The head: the first line.
    async fn head(&mut self) -> Result<BackupHead, BackupFailure> {
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
            .map_err(|_| BackupFailure::Answer("its head is not understood"))?;
        if head.format != FORMAT {
            return Err(BackupFailure::Answer("its format is not known to this jeton"));
        }
        check_lengths(&head.files).map_err(BackupFailure::Answer)?;
        check_names(head.files.iter().map(|file| file.name.as_str()))
            .map_err(|_| BackupFailure::Answer("it names files that are none of a log"))?;
        Ok(head)
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

    /// Whether nothing more comes.
    async fn is_over(&mut self) -> Result<bool, BackupFailure> {
        Ok(self.rest.is_empty() && self.piece().await?.is_none())
    }

    /// What comes next, at least one byte; nothing at the end.
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
