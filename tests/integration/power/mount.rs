//! Puts a [`ForgetfulDisk`] into the file system, so that the real server writes to it.
//!
//! The kernel forwards every write at once (no write-back cache), manages locks itself, and
//! forwards all other operations to the disk. One thread serves it, within the test's own process.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

use super::disk::{ForgetfulDisk, Node, Refusal};

/// The kernel must not cache anything, because names and lengths change at a cut.
const FRESH: Duration = Duration::ZERO;
/// The folder itself; files have the following numbers.
const FOLDER: u64 = 1;

/// A mounted disk; dropping it unmounts it, even if files are still open.
pub struct Mounted {
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// # Errors
    /// This process may not mount, or `/dev/fuse` is missing.
    pub fn new(disk: ForgetfulDisk, at: &Path) -> io::Result<Self> {
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("jeton-power".to_owned()), MountOption::NoAtime];
        let session = fuser::spawn_mount(Front(disk), at, &config)?;
        Ok(Self { at: at.to_owned(), session: Some(session) })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Unmounted lazily, so that nothing can block it, such as a panicking test.
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
        drop(self.session.take());
    }
}

struct Front(ForgetfulDisk);

fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::Frozen => Errno::EIO,
        Refusal::NotFound => Errno::ENOENT,
    }
}

fn inode(node: Node) -> INodeNo {
    INodeNo(node + FOLDER)
}

fn node(ino: INodeNo) -> Node {
    ino.0 - FOLDER
}

fn attributes(ino: INodeNo, len: u64) -> FileAttr {
    let is_folder = ino.0 == FOLDER;
    FileAttr {
        ino,
        size: len,
        blocks: len.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
        perm: if is_folder { 0o700 } else { 0o600 },
        nlink: 1,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Front {
    fn attributes(&self, ino: INodeNo) -> Result<FileAttr, Refusal> {
        let len = if ino.0 == FOLDER { 0 } else { self.0.len(node(ino))? };
        Ok(attributes(ino, len))
    }
}

fn text(name: &OsStr) -> &str {
    name.to_str().expect("jeton's names are UTF-8")
}

fn answer(done: Result<(), Refusal>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

impl Filesystem for Front {
    fn lookup(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.look_up(text(name)).and_then(|node| self.attributes(inode(node)));
        match found {
            Ok(found) => reply.entry(&FRESH, &found, Generation(0)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Ok(found) => reply.attr(&FRESH, &found),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let cut = size.map_or(Ok(()), |size| self.0.set_len(node(ino), size));
        match cut.and_then(|()| self.attributes(ino)) {
            Ok(found) => reply.attr(&FRESH, &found),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn create(
        &self,
        _req: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.0.create(text(name)).and_then(|node| self.attributes(inode(node)));
        match made {
            Ok(made) => {
                reply.created(&FRESH, &made, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.read(node(ino), offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.write(node(ino), offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("as it was asked")),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        answer(self.0.sync(node(ino)), reply);
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        answer(self.0.sync_folder(), reply);
    }

    fn rename(
        &self,
        _req: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _newparent: INodeNo,
        newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer(self.0.rename(text(name), text(newname)), reply);
    }

    fn unlink(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.0.remove(text(name)), reply);
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = match self.0.names() {
            Ok(names) => names,
            Err(refusal) => return reply.error(errno(refusal)),
        };
        let dots = [".", ".."].map(|name| (name.to_owned(), ino, FileType::Directory));
        let files =
            names.into_iter().map(|(name, node)| (name, inode(node), FileType::RegularFile));
        for (next, (name, ino, kind)) in (1..).zip(dots.into_iter().chain(files)) {
            if next > offset && reply.add(ino, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
