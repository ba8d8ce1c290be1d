//! Checks which other users may read or write the files of jeton.
//!
//! jeton creates directories with mode 0700 and files with mode 0600. A directory that its owner
//! made readable for the group (0750, with or without setgid) keeps its mode, and files in it are
//! 0640.
//!
//! A mode is *too wide* if others may read or write the file, or the group may write it. If this
//! process owns the file and created it, the mode is narrowed on the open descriptor and the change
//! is logged, because orchestrators widen the modes of a volume at each mount. A file of another
//! user, the root of a mount, or a file on a file system without modes (NFS, CIFS, read-only) is
//! left unchanged: a warning is logged, or an error is returned with [`Strictness::Refuse`].

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

/// Mode of a directory that jeton creates.
pub const DIR_MODE: u32 = 0o700;
/// Mode of a file that jeton creates.
pub const FILE_MODE: u32 = 0o600;
/// Mode of a file that jeton creates in a directory that the group may read.
pub const GROUP_FILE_MODE: u32 = 0o640;

/// Mode bits: others may read or write, or the group may write.
const TOO_WIDE: u32 = 0o026;
/// Mode bits: others may write.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_READS: u32 = 0o040;
const SETGID: u32 = 0o2000;

/// The action if a mode is too wide and cannot be narrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// A warning is logged.
    #[default]
    Warn,
    /// The file is not used.
    Refuse,
}

/// The mode of a file is too wide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} (mode {mode:o}) can be {deed}: {remedy}", file.display())]
pub struct TooWide {
    /// The file or directory.
    pub file: PathBuf,
    /// Its mode, without the bits of its type.
    pub mode: u32,
    /// The access that is too wide, as in "read by others".
    pub deed: &'static str,
    /// How to correct it.
    pub remedy: String,
}

impl TooWide {
    fn new(file: &Path, found: &Metadata) -> Self {
        let mode = found.mode() & 0o7777;
        let wanted = if found.is_dir() { DIR_MODE } else { FILE_MODE };
        let deed = match mode & TOO_WIDE {
            bits if bits & OTHERS_WRITE != 0 => "written by others",
            0o020 => "written by its group",
            _ => "read by others",
        };
        Self { file: file.to_owned(), mode, deed, remedy: format!("chmod {wanted:o}") }
    }

    /// Logs it as a warning, or returns it as an error, according to `strictness`.
    ///
    /// # Errors
    /// `self`, with [`Strictness::Refuse`].
    pub fn judge(self, strictness: Strictness) -> Result<(), Self> {
        match strictness {
            Strictness::Refuse => Err(self),
            Strictness::Warn => {
                tracing::warn!("{self}");
                Ok(())
            }
        }
    }
}

/// Whether a mode lets others read or write, or the group write.
#[must_use]
pub fn is_too_wide(mode: u32) -> bool {
    mode & TOO_WIDE != 0
}

/// The mode of new files in a directory of this mode.
#[must_use]
pub fn file_mode_in(dir_mode: u32) -> u32 {
    if is_for_group(dir_mode) { GROUP_FILE_MODE } else { FILE_MODE }
}

/// Result of checking a file that jeton created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The mode was right.
    Fine,
    /// The mode was too wide and was narrowed: the modes before and after.
    Narrowed(u32, u32),
    /// The mode is too wide and was not changed.
    Wide(TooWide),
}

/// Narrows the mode of a file or directory that jeton created, if this process owns it. `file_mode`
/// is the new mode of a file.
///
/// # Errors
/// Its mode cannot be read.
pub fn narrow(file: &File, path: &Path, file_mode: u32) -> io::Result<Look> {
    let found = file.metadata()?;
    let mode = found.mode() & 0o7777;
    if !is_too_wide(mode) {
        return Ok(Look::Fine);
    }
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    let wanted = match found.is_dir() {
        true => dir_mode_for(mode),
        false => file_mode,
    };
    // The mode of a mount's root was chosen with the mount.
    if !is_ours || (found.is_dir() && is_mount_root(file)) || !set_mode(file, wanted) {
        return Ok(Look::Wide(TooWide::new(path, &found)));
    }
    Ok(Look::Narrowed(mode, wanted))
}

/// Narrows the mode like [`narrow`], and logs the change.
///
/// # Errors
/// The mode is still too wide, and `strictness` is [`Strictness::Refuse`].
pub fn guard(
    file: &File,
    path: &Path,
    file_mode: u32,
    strictness: Strictness,
) -> Result<(), TooWide> {
    match narrow(file, path, file_mode) {
        Ok(Look::Fine) | Err(_) => Ok(()),
        Ok(Look::Narrowed(before, now)) => {
            tracing::warn!(
                file = %path.display(),
                "changed its mode from {before:o} to {now:o}: no other user should read it"
            );
            Ok(())
        }
        Ok(Look::Wide(wide)) => wide.judge(strictness),
    }
}

/// Checks a file that jeton only reads, such as a private key. Files of the service manager in
/// `$CREDENTIALS_DIRECTORY` are accepted as they are.
#[must_use]
pub fn look(path: &Path, found: &Metadata) -> Option<TooWide> {
    (is_too_wide(found.mode()) && !is_credential(path)).then(|| TooWide::new(path, found))
}

/// Whether other users may write a file, so that its content cannot be trusted.
#[must_use]
pub fn others_may_write(path: &Path, found: &Metadata) -> Option<TooWide> {
    (found.mode() & OTHERS_WRITE != 0 && !is_credential(path)).then(|| TooWide::new(path, found))
}

/// The setgid bit, or read access for the group but not for others, is a deliberate choice. A
/// directory that everyone may read got its mode from a umask.
fn is_for_group(dir_mode: u32) -> bool {
    dir_mode & GROUP_READS != 0 && (dir_mode & SETGID != 0 || dir_mode & 0o007 == 0)
}

fn dir_mode_for(mode: u32) -> u32 {
    match is_for_group(mode) {
        true => mode & (SETGID | 0o750),
        false => mode & (SETGID | DIR_MODE),
    }
}

fn set_mode(file: &File, mode: u32) -> bool {
    file.set_permissions(PermissionsExt::from_mode(mode)).is_ok()
}

/// Sets exactly `mode` on a new file, whatever the umask. A file system without modes ignores it.
pub fn set_new(file: &File, mode: u32) {
    let has = file.metadata().is_ok_and(|found| found.mode() & 0o7777 == mode);
    let _ = has || set_mode(file, mode);
}

fn is_mount_root(dir: &File) -> bool {
    let found = rustix::fs::statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn is_credential(path: &Path) -> bool {
    let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return false };
    let resolved = |path: &Path| path.canonicalize().ok();
    match (resolved(dir.as_ref()), resolved(path)) {
        (Some(dir), Some(path)) => path.starts_with(dir),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(path: &Path, mode: u32) -> File {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        File::open(path).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn p8_what_is_too_wide_is_narrowed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("d");
        std::fs::create_dir(&dir).unwrap();
        for (before, after) in [
            (0o700, 0o700),
            (0o750, 0o750),
            (0o2750, 0o2750),
            (0o755, 0o700),
            (0o775, 0o700),
            (0o777, 0o700),
            (0o770, 0o750),
            (0o2775, 0o2750),
            (0o2770, 0o2750),
            (0o1777, 0o700),
        ] {
            let looked = narrow(&with_mode(&dir, before), &dir, FILE_MODE).unwrap();
            assert_eq!(mode(&dir), after, "{before:o}");
            let expected = if before == after { Look::Fine } else { Look::Narrowed(before, after) };
            assert_eq!(looked, expected);
        }
        let file = home.path().join("f");
        std::fs::write(&file, "").unwrap();
        for (before, file_mode, after) in [
            (0o600, FILE_MODE, 0o600),
            (0o640, FILE_MODE, 0o640),
            (0o440, FILE_MODE, 0o440),
            (0o644, FILE_MODE, 0o600),
            (0o660, FILE_MODE, 0o600),
            (0o666, GROUP_FILE_MODE, 0o640),
            (0o602, FILE_MODE, 0o600),
        ] {
            narrow(&with_mode(&file, before), &file, file_mode).unwrap();
            assert_eq!(mode(&file), after, "{before:o}");
        }
    }

    #[test]
    fn files_follow_their_directory() {
        let modes = [0o700, 0o750, 0o2750, 0o710, 0o777].map(file_mode_in);
        assert_eq!(modes, [0o600, 0o640, 0o640, 0o600, 0o600]);
    }

    #[test]
    fn the_root_of_a_mount_stays_as_it_is() {
        let proc = File::open("/proc").unwrap();
        let looked = narrow(&proc, Path::new("/proc"), FILE_MODE).unwrap();
        let Look::Wide(wide) = looked else { panic!("{looked:?}") };
        assert!(wide.to_string().contains("can be read by others: chmod 700"), "{wide}");
        assert!(wide.clone().judge(Strictness::Warn).is_ok());
        assert_eq!(wide.clone().judge(Strictness::Refuse), Err(wide));
    }
}
