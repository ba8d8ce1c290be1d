//! A small ext4 in a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::cluster::servers::within;
use crate::support::not_run;

const MIB: u64 = 1 << 20;
/// What is said where this machine has no such disks. Anything else is a fault of the test.
const MISSING: [&str; 5] =
    ["needs root", "not installed", "not permitted", "failed to setup loop", "unknown filesystem"];

/// A mounted disk. It is gone when this is dropped; the processes on it must have ended before.
pub struct Disk {
    at: PathBuf,
    image: PathBuf,
    _dir: TempDir,
}

impl Disk {
    /// `None` where this process may not make it, which is told.
    pub fn new(check: &str, mib: u64) -> Option<Self> {
        match Self::made(mib) {
            Err(why) if MISSING.iter().any(|one| why.contains(one)) => {
                not_run(check, &why);
                None
            }
            made => Some(made.unwrap_or_else(|why| panic!("{why}"))),
        }
    }

    /// Three of them.
    pub fn three(check: &str, mib: u64) -> Option<[Self; 3]> {
        Some([Self::new(check, mib)?, Self::new(check, mib)?, Self::new(check, mib)?])
    }

    fn made(mib: u64) -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        let dir = tempfile::tempdir().expect("a folder");
        let (at, image) = (dir.path().join("disk"), dir.path().join("image"));
        std::fs::create_dir(&at).expect("made");
        let file = std::fs::File::create(&image).expect("made");
        file.set_len(mib * MIB).expect("room");
        run("mkfs.ext4", &["-q", "-F", path(&image)])?;
        let disk = Self { at, image, _dir: dir };
        disk.mount()?;
        if !disk.switch().exists() {
            return Err(
                "the program of a power cut is not installed: no trigger_fs_error".to_owned()
            );
        }
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    fn mount(&self) -> Result<(), String> {
        let options = "loop,errors=remount-ro,noatime";
        run("mount", &["-o", options, path(&self.image), path(&self.at)])
    }

    /// The file that tells the kernel of an error of this file system.
    fn switch(&self) -> PathBuf {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("a list");
        let at = path(&self.at);
        let is_it = |line: &&str| line.split(' ').nth(1) == Some(at);
        let device = mounts.lines().find(is_it).and_then(|line| line.split(' ').next());
        let name = device.and_then(|device| device.rsplit('/').next()).expect("it is mounted");
        Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error")
    }

    /// From now on nothing reaches the device. The processes on it must be killed before
    /// [`Disk::again`].
    pub fn cut(&self) {
        std::fs::write(self.switch(), "1").expect("cut");
    }

    /// What is left after the cut.
    pub fn again(&self) {
        within("it is unmounted", || run("umount", &[path(&self.at)]));
        self.mount().expect("it is mounted");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", path(&self.at)]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|_| format!("{program} is not installed"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

#[test]
fn cut_loses_what_is_not_synced_and_nothing_else() {
    use std::io::Write;
    let Some(disk) = Disk::new("a disk that loses power", 16) else { return };
    let made = |name: &str| std::fs::File::create(disk.path().join(name)).expect("made");
    let (mut synced, mut unsynced) = (made("synced"), made("unsynced"));
    synced.write_all(b"kept").expect("written");
    synced.sync_all().expect("synced");
    std::fs::File::open(disk.path()).expect("a folder").sync_all().expect("synced");
    synced.write_all(b"lost").expect("written");
    unsynced.write_all(&[1; 100]).expect("written");
    disk.cut();
    assert!(synced.write_all(b"late").and_then(|()| synced.sync_all()).is_err());
    drop((synced, unsynced));
    disk.again();
    let read = |name: &str| std::fs::read(disk.path().join(name)).unwrap_or_default();
    assert_eq!((read("synced"), read("unsynced")), (b"kept".to_vec(), Vec::new()));
    let dir = disk.at.clone();
    drop(disk);
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("a list");
    assert!(!mounts.contains(path(&dir)) && !dir.exists());
}
