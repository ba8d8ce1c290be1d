//! Who else may read or write the files that jeton works with.
//!
//! What jeton makes is its owner's alone: directories 0700, files 0600. A directory that its owner
//! left readable for the group (0750, with or without setgid) keeps that, and files in it are 0640.
//!
//! A file is *too wide* where others may read or write it, or the group may write it. What this
//! process owns and has made is then narrowed, on the open descriptor, and the log says so:
//! orchestrators widen a volume at each mount. What belongs to another user, is the root of a
//! mount, or is on a file system without modes (NFS, CIFS, read-only) stays as it is: a warning, or
//! an error where [`Strictness::Refuse`] asks for that.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

/// Mode of a directory that jeton makes.
pub const DIR_MODE: u32 = 0o700;
/// Mode of a file that jeton makes.
pub const FILE_MODE: u32 = 0o600;
/// Mode of a file that jeton makes in a directory which the group may read.
pub const GROUP_FILE_MODE: u32 = 0o640;

/// Others may read or write, or the group may write.
const TOO_WIDE: u32 = 0o026;
/// Others may write.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_READS: u32 = 0o040;
const SETGID: u32 = 0o2000;

/// What is done about a file that is too wide and stays so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// The log warns of it.
    #[default]
    Warn,
    /// The file is not used.
    Refuse,
}

/// A file is too wide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} (mode {mode:o}) can be {deed}: {remedy}", file.display())]
pub struct TooWide {
    /// The file or directory.
    pub file: PathBuf,
    /// Its mode, without the bits of its type.
    pub mode: u32,
    /// Who can do what with it.
    pub deed: &'static str,
    /// What to do about it.
    pub remedy: String,
}

impl TooWide {
    fn new(file: &Path, found: &Metadata) -> TooWide {
        let mode = found.mode() & 0o7777;
        let wanted = if found.is_dir() { DIR_MODE } else { FILE_MODE };
        let deed = match mode & TOO_WIDE {
            bits if bits & OTHERS_WRITE != 0 => "written by others",
            0o020 => "written by its group",
            _ => "read by others",
        };
        TooWide { file: file.to_owned(), mode, deed, remedy: format!("chmod {wanted:o}") }
    }

    /// Returns it as the error that `strictness` makes of it, or warns of it.
    ///
    /// # Errors
    /// It, with [`Strictness::Refuse`].
    pub fn judge(self, strictness: Strictness) -> Result<(), TooWide> {
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

/// What became of a file that jeton has made, once it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It was as it should be.
    Fine,
    /// It was too wide: the mode before and the mode now.
    Narrowed(u32, u32),
    /// It is too wide and stays so.
    Wide(TooWide),
}

/// Narrows a file of the log or a directory that jeton has made, where this process owns it.
/// `file_mode` is what a file gets that has to be narrowed.
///
/// # Errors
/// Its mode cannot be found out.
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
    // The root of a mount belongs to who has mounted it.
    if !is_ours || (found.is_dir() && is_mount_root(file)) || !set_mode(file, wanted) {
        return Ok(Look::Wide(TooWide::new(path, &found)));
    }
    Ok(Look::Narrowed(mode, wanted))
}

/// As [`narrow`], with a line in the log for what was done.
///
/// # Errors
/// It stays too wide, and `strictness` refuses that.
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
                "its mode was {before:o} and is {now:o} now: nobody else should read it"
            );
            Ok(())
        }
        Ok(Look::Wide(wide)) => wide.judge(strictness),
    }
}

/// Looks at a file that jeton only reads, a private key for one. What the service manager hands
/// over in `$CREDENTIALS_DIRECTORY` is right as it is.
#[must_use]
pub fn look(path: &Path, found: &Metadata) -> Option<TooWide> {
    (is_too_wide(found.mode()) && !is_credential(path)).then(|| TooWide::new(path, found))
}

/// Whether others may write a file: what is in it is then anybody's word.
#[must_use]
pub fn others_may_write(path: &Path, found: &Metadata) -> Option<TooWide> {
    (found.mode() & OTHERS_WRITE != 0 && !is_credential(path)).then(|| TooWide::new(path, found))
}

/// The setgid bit, and the group's right to read where others have none, are somebody's choice. A
/// directory that everybody may read has its mode from a umask.
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

/// Gives a new file exactly `mode`, whatever the umask has left of it. A file system without modes
/// keeps its own.
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
