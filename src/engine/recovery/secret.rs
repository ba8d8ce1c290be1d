//! The secret file: created at the first start, required at every later one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::engine::config::Config;
use crate::failpoint;
use crate::model::token::{RandomError, SECRET_LEN, Secret};
use crate::permissions::{self, FILE_MODE, Strictness, TooWide};

/// Name of the secret file in the data directory.
pub const SECRET_FILE_NAME: &str = "secret.key";

/// Why the secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A log exists, but no secret: no token can be resolved without it.
    #[error(
        "{} contains a log, but its secret {} is missing: without it no token can be resolved. \
         Put the file back, or name its place with --secret-file or --secret-command",
        dir.display(), file.display()
    )]
    Missing {
        /// The data directory.
        dir: PathBuf,
        /// The expected path of the secret.
        file: PathBuf,
    },
    /// The file does not have 32 bytes.
    #[error(
        "{} must have exactly {SECRET_LEN} bytes, but has {}: jeton secret new --out makes such a file; \
         base64 is read from --secret-command only",
        file.display(), counted(*len)
    )]
    Length {
        /// The file.
        file: PathBuf,
        /// Number of bytes read, at most one more than a secret has.
        len: usize,
    },
    /// The log was written under another secret.
    #[error("{} is not the secret that the log in {} was written with", file.display(), dir.display())]
    Wrong {
        /// The data directory.
        dir: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// The operating system refused.
    #[error("the secret file {} can't be {deed}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The action that failed.
        deed: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// Other users may read or write the file, and `--strict-permissions` is set.
    #[error("the secret file {0}")]
    TooWide(#[from] TooWide),
    /// The operating system returned no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

fn counted(len: usize) -> String {
    if len > SECRET_LEN { "more".to_owned() } else { len.to_string() }
}

/// The name of a secret that the configuration has, in messages.
const GIVEN: &str = "what --secret-command printed";

/// The secret of the log in `dir`, and the file that it is from or what stands for one in messages.
pub(in crate::engine) fn of_config(
    config: &Config,
    dir: &Path,
    has_log: bool,
) -> Result<(Secret, PathBuf), SecretError> {
    match &config.secret {
        Some(secret) => Ok((secret.clone(), GIVEN.into())),
        None => load_or_create(dir, config.secret_file.as_deref(), has_log, config.permissions),
    }
}

/// Reads the secret of `dir`, or creates it if there is no log yet.
pub(in crate::engine) fn load_or_create(
    dir: &Path,
    given: Option<&Path>,
    has_log: bool,
    strictness: Strictness,
) -> Result<(Secret, PathBuf), SecretError> {
    let file = given.map_or_else(|| dir.join(SECRET_FILE_NAME), Path::to_owned);
    match read_guarded(&file, strictness) {
        Ok(secret) => Ok((secret, file)),
        Err(SecretError::Io { source, .. })
            if source.kind() == io::ErrorKind::NotFound && given.is_none() =>
        {
            if has_log {
                return Err(SecretError::Missing { dir: dir.to_owned(), file });
            }
            let secret = Secret::random()?;
            create(dir, &file, &secret).map_err(|source| SecretError::Io {
                file: file.clone(),
                deed: "made",
                source,
            })?;
            Ok((secret, file))
        }
        Err(error) => Err(error),
    }
}

/// Like [`read`]. If other users may read or write the file, its mode is corrected; if that is not
/// possible, a warning is logged or the file is refused.
pub(in crate::engine) fn read_guarded(
    path: &Path,
    strictness: Strictness,
) -> Result<Secret, SecretError> {
    let refused = |source| SecretError::Io { file: path.to_owned(), deed: "read", source };
    let file = File::open(path).map_err(refused)?;
    let found = file.metadata().map_err(refused)?;
    if permissions::look(path, &found).is_some() {
        permissions::guard(&file, path, FILE_MODE, strictness)?;
    }
    read_open(path, file)
}

/// Reads a secret file.
///
/// # Errors
/// The file is missing, can't be read, or has a wrong length.
pub fn read(path: &Path) -> Result<Secret, SecretError> {
    let refused = |source| SecretError::Io { file: path.to_owned(), deed: "read", source };
    read_open(path, File::open(path).map_err(refused)?)
}

fn read_open(path: &Path, mut file: File) -> Result<Secret, SecretError> {
    let refused = |source| SecretError::Io { file: path.to_owned(), deed: "read", source };
    // Reads one byte more, to detect a file that is too long.
    let mut bytes = zeroize::Zeroizing::new([0; SECRET_LEN + 1]);
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..]).map_err(refused)? {
            0 => break,
            n => len += n,
        }
    }
    match bytes[..len].try_into() {
        Ok(secret) => Ok(Secret::from_bytes(secret)),
        Err(_) => Err(SecretError::Length { file: path.to_owned(), len }),
    }
}

/// Writes the secret atomically, before any log is created.
fn create(dir: &Path, path: &Path, secret: &Secret) -> io::Result<()> {
    let draft = path.with_extension("key.new");
    // A killed process may have left this file. A link is removed, not followed.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
    file.write_all(secret.as_bytes())?;
    failpoint::pass("secret-written");
    file.sync_all()?;
    failpoint::pass("secret-synced");
    fs::rename(&draft, path)?;
    failpoint::pass("secret-renamed");
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn load_or_create(
        dir: &Path,
        given: Option<&Path>,
        has_log: bool,
    ) -> Result<(Secret, PathBuf), SecretError> {
        super::load_or_create(dir, given, has_log, Strictness::Warn)
    }

    #[test]
    fn p9_a_draft_that_is_a_link_is_not_followed_and_a_wide_secret_is_narrowed() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("secret.key.new")).unwrap();
        let (_, file) = load_or_create(dir.path(), None, false).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
        fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        load_or_create(dir.path(), None, true).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // The mode was chosen by its owner.
        fs::set_permissions(&file, PermissionsExt::from_mode(0o440)).unwrap();
        super::load_or_create(dir.path(), None, true, Strictness::Refuse).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o440);
    }

    #[test]
    fn made_once_with_mode_0600_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (made, file) = load_or_create(dir.path(), None, false).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (again, _) = load_or_create(dir.path(), None, true).unwrap();
        assert!(made == again);
    }

    #[test]
    fn a_log_without_its_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = load_or_create(dir.path(), None, true).unwrap_err();
        assert!(matches!(error, SecretError::Missing { .. }));
        assert!(error.to_string().contains("secret.key"), "{error}");
        assert!(!dir.path().join(SECRET_FILE_NAME).exists());
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 31, 33, 100] {
            fs::write(dir.path().join(SECRET_FILE_NAME), vec![7; len]).unwrap();
            let error = load_or_create(dir.path(), None, true).unwrap_err();
            let has = if len > 32 { "has more".to_owned() } else { format!("has {len}:") };
            assert!(error.to_string().contains(&has), "{error}");
        }
    }

    #[test]
    fn a_given_file_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let given = dir.path().join("elsewhere");
        assert!(load_or_create(dir.path(), Some(&given), false).is_err());
        assert!(!given.exists());
    }
}
