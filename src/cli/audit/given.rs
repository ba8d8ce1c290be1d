//! What the commands read: the secret, a public key, checkpoints; and why that fails.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::audit::verify::{ReadError, Since, SinceError};
use crate::audit::{KeyError, PublicKey, SigningKey};
use crate::cli::exit::{FAILED, MISTAKEN, UNANSWERED};
use crate::cli::log_id::{LogIdError, is_secret_of, log_id_of};
use crate::cli::out::{self, OutputError};
use crate::cli::settings::{SecretArgs, SecretSource, SecretSourceError};
use crate::clock::SystemClock;
use crate::engine::{Config, SECRET_FILE_NAME, read_secret};
use crate::model::token::{Digester, Secret};

/// Maximum size of a file with checkpoints that is read, in bytes: those of some weeks.
const SINCE_LEN_MAX: u64 = 1 << 30;

/// Where the secret is.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct KeptArgs {
    /// The data directory, if the secret is in it
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    data: Option<PathBuf>,

    #[command(flatten)]
    source: SecretArgs,
}

impl KeptArgs {
    pub(super) fn read(&self) -> Result<Secret, Failure> {
        let given = self.source.source().map_err(Failure::Mistake)?;
        let source = match (&given, &self.data) {
            (Some(source), _) => source.clone(),
            (None, Some(data)) => SecretSource::File(data.join(SECRET_FILE_NAME)),
            (None, None) => {
                let needed = "the secret is needed: --data DIR, --secret-file FILE or \
                              --secret-command PROGRAM";
                return Err(Failure::Mistake(needed.to_owned()));
            }
        };
        let secret = source.read(&SystemClock::new())?;
        if let (Some(source), Some(data)) = (&given, &self.data) {
            check_of_log(data, &secret, source)?;
        }
        Ok(secret)
    }
}

/// Checks that the secret is that of the log in `data`, if there is one: a variable may name the secret
/// of another server.
fn check_of_log(data: &Path, secret: &Secret, source: &SecretSource) -> Result<(), Failure> {
    match log_id_of(data)? {
        Some(log_id) if !is_secret_of(&log_id, secret) => {
            let dir = data.display();
            let text = "is not the secret that the log in";
            Err(Failure::Mistake(format!("{source} {text} {dir} was written with")))
        }
        _ => Ok(()),
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Failure {
    #[error("{0}")]
    Mistake(String),
    #[error(transparent)]
    Secret(#[from] SecretSourceError),
    #[error(transparent)]
    Log(#[from] LogIdError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("--public-key {}: {source}", file.display())]
    PublicKey { file: PathBuf, source: KeyError },
    #[error("--since {}: {source}", file.display())]
    Since { file: PathBuf, source: SinceError },
    #[error("{flag} {}: {source}", file.display())]
    Io { flag: &'static str, file: PathBuf, source: io::Error },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure {
    pub(in crate::cli) fn end(&self) -> ExitCode {
        match self {
            Self::Output(error) => out::unprinted(error, ""),
            Self::Key(_) | Self::Log(LogIdError::Damaged { .. }) => out::failed(self, FAILED),
            Self::Secret(SecretSourceError::Command(error)) if !error.is_mistake() => {
                out::failed(self, FAILED)
            }
            Self::Read(ReadError { source, .. }) if source.kind() != io::ErrorKind::NotFound => {
                out::failed(self, UNANSWERED)
            }
            _ => out::failed(self, MISTAKEN),
        }
    }
}

/// The public key of a secret, or of that in a data directory.
pub(in crate::cli) fn public_key_of(
    data: &Path,
    secret: Option<&Secret>,
) -> Result<PublicKey, Failure> {
    match secret {
        Some(secret) => public_key(secret),
        None => {
            let beside = read_secret(&data.join(SECRET_FILE_NAME));
            public_key(&beside.map_err(SecretSourceError::from)?)
        }
    }
}

/// Reads the file of a public key.
pub(in crate::cli) fn read_public_key(file: &Path) -> Result<PublicKey, Failure> {
    let io = |source| Failure::Io { flag: "--public-key", file: file.to_owned(), source };
    let text = read_at_most(file, 64 << 10).map_err(io)?;
    PublicKey::from_pem(&text)
        .map_err(|source| Failure::PublicKey { file: file.to_owned(), source })
}

/// Reads a file of checkpoints.
pub(in crate::cli) fn read_since(file: &Path, key: &PublicKey) -> Result<Since, Failure> {
    let io = |source| Failure::Io { flag: "--since", file: file.to_owned(), source };
    let text = read_at_most(file, SINCE_LEN_MAX).map_err(io)?;
    Since::read(&text, key).map_err(|source| Failure::Since { file: file.to_owned(), source })
}

fn read_at_most(file: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(len_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max {
        return Err(io::Error::other(format!("has more than {len_max} bytes")));
    }
    Ok(bytes)
}

/// The public half of the key that is made from a secret.
pub(super) fn public_key(secret: &Secret) -> Result<PublicKey, Failure> {
    // The key is the same for all namespaces.
    let digester = Digester::new(secret, &Config::default().namespace);
    Ok(SigningKey::from_seed(&digester.audit_seed())?.public())
}
