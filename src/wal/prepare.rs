//! Prepares the next segment while the current one is being filled.
//!
//! Syncing a write into zero-filled space takes less than half the time of syncing a write that
//! extends the file. So segments are filled with zeros ahead of need, on a small thread, so that
//! the committer does not wait. A released file is reused and needs no zeros.
//!
//! Jobs are processed in order, so a spare that was retired before a segment was ordered is
//! available for it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::failpoint;

use super::config::Preparing;
use super::segment::{HEADER_BLOCK_LEN, SegmentHeader, fresh_name, segment_name};
use super::storage::{File, Storage, is_no_space};

/// Zeros are written page by page: the page cache stores a larger piece as one large folio, and
/// each small commit into it then has to mark and scan all of it.
const ZERO_PIECE_LEN: usize = 4096;
/// Zeros are synced after this many pieces, 4 MiB, so that concurrent commits never wait for a
/// whole segment of zeros.
const ZERO_PIECES_PER_SYNC: u64 = 1024;

/// A job for the ring.
pub(crate) enum Job {
    /// Create a segment with this header, from the spare file if there is one.
    Prepare { header: Box<SegmentHeader>, spare: Option<String> },
    /// Retire a segment's name: keep the file as a spare, or remove it.
    Retire { name: String, spare: Option<String> },
}

/// A segment that is ready to be written.
pub(crate) struct Prepared {
    pub header: SegmentHeader,
    pub file: Arc<dyn File>,
    pub recycled: bool,
}

/// Result of a job.
pub(crate) enum Done {
    Prepared(Prepared),
    /// The spare file is still a spare.
    NotPrepared {
        error: io::Error,
        spare: Option<String>,
    },
    Retired(io::Result<()>),
}

/// Processes the jobs, on this thread or on its own.
pub(crate) struct Preparer {
    way: Way,
}

enum Way {
    Inline {
        worker: Worker,
        done: VecDeque<Done>,
    },
    Late {
        worker: Worker,
        jobs: VecDeque<Job>,
    },
    Thread {
        jobs: Option<Sender<Job>>,
        done: Receiver<Done>,
        stop: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Preparer {
    pub fn new(storage: Arc<dyn Storage>, preparing: Preparing) -> io::Result<Self> {
        let way = match preparing {
            Preparing::Inline => {
                Way::Inline { worker: Worker::new(storage), done: VecDeque::new() }
            }
            Preparing::Late => Way::Late { worker: Worker::new(storage), jobs: VecDeque::new() },
            Preparing::Thread => start_thread(storage)?,
        };
        Ok(Self { way })
    }

    /// Adds a job; its result is returned by [`Preparer::poll`].
    pub fn give(&mut self, job: Job) {
        match &mut self.way {
            Way::Inline { worker, done } => done.push_back(worker.work(job)),
            Way::Late { jobs, .. } => jobs.push_back(job),
            Way::Thread { jobs, .. } => {
                // If the thread has ended, the caller that waits for the job notices it.
                let _ = jobs.as_ref().map(|jobs| jobs.send(job));
            }
        }
    }

    /// The result of a job, if one is done.
    pub fn poll(&mut self) -> Option<Done> {
        match &mut self.way {
            Way::Inline { done, .. } => done.pop_front(),
            Way::Late { .. } => None,
            Way::Thread { done, .. } => done.try_recv().ok(),
        }
    }

    /// Waits for the result of a job. `None`: there will be no more results.
    pub fn wait(&mut self) -> Option<Done> {
        match &mut self.way {
            Way::Inline { done, .. } => done.pop_front(),
            Way::Late { worker, jobs } => jobs.pop_front().map(|job| worker.work(job)),
            Way::Thread { done, .. } => done.recv().ok(),
        }
    }
}

impl Drop for Preparer {
    /// Waits for the thread: it holds the directory's lock as long as it lives.
    fn drop(&mut self) {
        if let Way::Thread { jobs, stop, thread, .. } = &mut self.way {
            stop.store(true, Ordering::Relaxed);
            jobs.take();
            if let Some(thread) = thread.take() {
                // The panic hook has reported a panic of the thread.
                let _ = thread.join();
            }
        }
    }
}

fn start_thread(storage: Arc<dyn Storage>) -> io::Result<Way> {
    let (jobs, orders) = channel::<Job>();
    let (report, done) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let mut worker = Worker::new(storage);
    worker.stop = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("jeton-prepare".to_owned()).spawn(move || {
        for job in orders {
            if report.send(worker.work(job)).is_err() {
                return;
            }
        }
    })?;
    Ok(Way::Thread { jobs: Some(jobs), done, stop, thread: Some(thread) })
}

struct Worker {
    storage: Arc<dyn Storage>,
    stop: Arc<AtomicBool>,
    /// Names to retire and the spares to keep instead, oldest first. If one fails because the disk
    /// is full, the later ones wait: if a later name were removed first, the next start would find
    /// a gap in the ring.
    owed: VecDeque<(String, Option<String>)>,
    /// Whether a name could not be retired durably. Then it is unknown which names a crash would
    /// bring back, even if a later sync of the directory succeeds.
    failed: bool,
}

impl Worker {
    fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, stop: Arc::default(), owed: VecDeque::new(), failed: false }
    }

    fn work(&mut self, job: Job) -> Done {
        match job {
            Job::Prepare { header, spare } => match self.prepare(*header, spare.as_deref()) {
                Ok(prepared) => Done::Prepared(prepared),
                Err(error) => Done::NotPrepared { error, spare },
            },
            Job::Retire { name, spare } => {
                self.owed.push_back((name, spare));
                Done::Retired(match self.retire_owed() {
                    Err(error) if is_no_space(&error) => Ok(()),
                    retired => retired,
                })
            }
        }
    }

    /// A file is reused only if its old name is durably removed: if a crash brought the name back,
    /// the next start would find two segments in one file.
    fn prepare(&mut self, header: SegmentHeader, spare: Option<&str>) -> io::Result<Prepared> {
        if spare.is_some() {
            self.retire_owed()?;
        }
        prepare(self.storage.as_ref(), header, spare, &self.stop)
    }

    fn retire_owed(&mut self) -> io::Result<()> {
        while let Some((name, spare)) = self.owed.front() {
            if self.failed {
                return Err(io::Error::other("the name of a segment could not be retired"));
            }
            let retired = retire(self.storage.as_ref(), name, spare.as_deref());
            self.failed = retired.as_ref().is_err_and(|error| !is_no_space(error));
            retired?;
            self.owed.pop_front();
        }
        Ok(())
    }
}

/// Creates the segment. Its name is set last: see [`super::segment`].
pub(crate) fn prepare(
    storage: &dyn Storage,
    header: SegmentHeader,
    spare: Option<&str>,
    stop: &AtomicBool,
) -> io::Result<Prepared> {
    let spare = match spare {
        Some(name) => match storage.open(name) {
            Ok(file) => Some((name.to_owned(), file)),
            // The file was removed when it was retired, because there was no room for the new name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let recycled = spare.is_some();
    let (name, file) = match spare {
        Some(spare) => spare,
        None => fresh(storage, &header, stop)?,
    };
    let mut block = vec![0; HEADER_BLOCK_LEN as usize];
    let encoded = header.encode();
    block[..encoded.len()].copy_from_slice(&encoded);
    file.write_at(&block, 0)?;
    file.sync()?;
    failpoint::pass("prepare-before-rename");
    storage.rename(&name, &segment_name(header.seq))?;
    failpoint::pass("prepare-renamed");
    storage.sync_dir()?;
    failpoint::pass("prepare-done");
    Ok(Prepared { header, file, recycled })
}

/// Creates a file filled with zeros; it is removed if it can't be completed.
fn fresh(
    storage: &dyn Storage,
    header: &SegmentHeader,
    stop: &AtomicBool,
) -> io::Result<(String, Arc<dyn File>)> {
    let name = fresh_name(header.seq);
    let filled = storage
        .create(&name, header.size)
        .and_then(|file| fill(file.as_ref(), header.size, stop).map(|()| file));
    match filled {
        Ok(file) => Ok((name, file)),
        Err(error) => {
            // Frees the space at once; otherwise the next start does.
            let _ = storage.remove(&name);
            Err(error)
        }
    }
}

fn fill(file: &dyn File, size: u64, stop: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0; ZERO_PIECE_LEN.min(size as usize)];
    failpoint::pass("prepare-created");
    let mut offset = 0;
    let mut pieces = 0;
    while offset < size {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = (size - offset).min(zeros.len() as u64);
        file.write_at(&zeros[..len as usize], offset)?;
        if offset == size / 2 {
            failpoint::pass("prepare-half-filled");
        }
        offset += len;
        pieces += 1;
        if pieces % ZERO_PIECES_PER_SYNC == 0 {
            file.sync()?;
        }
    }
    failpoint::pass("prepare-filled");
    file.sync()
}

/// Retires a segment's name. If a crash brings it back, that does no harm: a replay from an older
/// segment produces the same live entries.
fn retire(storage: &dyn Storage, name: &str, spare: Option<&str>) -> io::Result<()> {
    failpoint::pass("retire-before");
    let renamed = match spare {
        Some(spare) => storage.rename(name, spare),
        None => storage.remove(name),
    };
    match renamed {
        Err(error) if is_no_space(&error) && spare.is_some() => storage.remove(name)?,
        // An earlier attempt got as far as the sync of the directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    failpoint::pass("retire-renamed");
    storage.sync_dir()?;
    failpoint::pass("retire-done");
    Ok(())
}
