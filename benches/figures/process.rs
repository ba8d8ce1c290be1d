//! Server processes: starting, watching, stopping, and reading what they use from `/proc`.
//!
//! A server is killed when its value is dropped, and when this program is interrupted.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::failure::{Failure, Result, io};
use crate::requests::Target;

const STOP_TIME: Duration = Duration::from_secs(120);
const POLL_PAUSE: Duration = Duration::from_millis(1);

static LIVE: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A running server.
pub struct Server {
    pub name: String,
    pub target: Target,
    /// Where jeton's admin listener is.
    pub admin: Option<std::net::SocketAddr>,
    /// From before it was started until it was ready to serve.
    pub start_time: Duration,
    /// The tokens it said it has when it was ready.
    pub tokens_at_start: Option<u64>,
    process: Process,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Everything resident: `VmRSS`.
    pub resident: u64,
    /// What of it no file stands behind: `RssAnon`.
    pub anonymous: u64,
}

/// What a process caused to be written, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Pages it made dirty, in bytes: what the device is to write. A page that is written, synced
    /// and written again counts twice.
    pub to_device: u64,
    /// Bytes it passed to write calls, sockets included.
    pub to_calls: u64,
}

impl Server {
    /// Joins a started process with where it listens.
    pub fn new(process: Process, target: Target, start_time: Duration) -> Self {
        Self {
            name: process.name.clone(),
            target,
            admin: None,
            start_time,
            tokens_at_start: None,
            process,
        }
    }

    /// CPU time of all its threads since it started, in nanoseconds, exact to the scheduler.
    pub fn cpu_ns(&self) -> Result<u64> {
        let tasks = format!("/proc/{}/task", self.process.pid());
        let mut sum_ns = 0;
        for task in fs::read_dir(&tasks).map_err(io(&tasks))? {
            let path = task.map_err(io(&tasks))?.path().join("schedstat");
            // A thread may end between the listing and the reading.
            if let Ok(text) = fs::read_to_string(&path) {
                sum_ns += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(sum_ns)
    }

    /// The same from the coarse counters in `stat`, to check the exact ones against.
    pub fn cpu_ticks_ns(&self) -> Result<u64> {
        let text = self.process.proc_file("stat")?;
        // The name in parentheses may hold anything; user and system time are the 12th and 13th
        // words behind it.
        let words = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Ok(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// Its memory now.
    pub fn memory(&self) -> Result<Memory> {
        let text = self.process.proc_file("status")?;
        let bytes = |name| number_after(&text, name).map(|kib| kib * 1024);
        Ok(Memory {
            resident: bytes("VmRSS:").ok_or_else(|| self.failed("no VmRSS in its status"))?,
            anonymous: bytes("RssAnon:").unwrap_or(0),
        })
    }

    /// Waits until its memory stays the same for half a second, at most ten seconds; gives it.
    pub fn settled_memory(&self) -> Result<Memory> {
        let mut before = self.memory()?;
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(500));
            let now = self.memory()?;
            if now.resident.abs_diff(before.resident) * 500 < now.resident {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }

    /// What it caused to be written since it started.
    pub fn written(&self) -> Result<Written> {
        let text = self.process.proc_file("io")?;
        let bytes = |name| number_after(&text, name).unwrap_or(0);
        Ok(Written {
            to_device: bytes("write_bytes:").saturating_sub(bytes("cancelled_write_bytes:")),
            to_calls: bytes("wchar:"),
        })
    }

    /// Asks it to end with SIGTERM, waits, and insists on exit code 0.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        let deadline = Instant::now() + STOP_TIME;
        while Instant::now() < deadline {
            match self.process.exit_status()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failed(&format!("ended with {status}"))),
                None => std::thread::sleep(POLL_PAUSE),
            }
        }
        Err(self.failed(&format!("still there {} s after SIGTERM", STOP_TIME.as_secs())))
    }

    /// A failure of this server, with the end of what it logged.
    pub fn failed(&self, why: &str) -> Failure {
        self.process.failed(why)
    }
}

/// A child process whose log goes to a file; killed on drop.
pub struct Process {
    name: String,
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its standard error (and output, unless it is read) in `log`.
    pub fn start(
        name: &str,
        mut command: Command,
        log: PathBuf,
        read_stdout: bool,
    ) -> Result<Self> {
        let file = File::create(&log).map_err(io("create a log file"))?;
        let also = file.try_clone().map_err(io("create a log file"))?;
        command.stdin(Stdio::null()).stderr(file);
        command.stdout(if read_stdout { Stdio::piped() } else { Stdio::from(also) });
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = command.spawn().map_err(io(format!("start {name}")))?;
        live.push(child.id());
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self { name: name.to_owned(), child, stdout, log })
    }

    /// Reads lines from its standard output until one begins with `prefix`; gives the rest of it.
    pub fn wait_for_line(&mut self, prefix: &str) -> Result<String> {
        let Some(stdout) = &mut self.stdout else {
            return Err(self.failed("its standard output is not read"));
        };
        let mut line = String::new();
        loop {
            line.clear();
            if stdout.read_line(&mut line).map_err(io("read the ready line"))? == 0 {
                return Err(self.failed("ended before it was ready"));
            }
            if let Some(rest) = line.strip_prefix(prefix) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// Tries `probe` until it succeeds, the process ends, or the time is over.
    pub fn wait_until(
        &mut self,
        patience: Duration,
        mut probe: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !probe() {
            if let Some(status) = self.exit_status()? {
                return Err(self.failed(&format!("ended with {status} before it was ready")));
            }
            if Instant::now() > deadline {
                return Err(self.failed("did not become ready in time"));
            }
            std::thread::sleep(POLL_PAUSE);
        }
        Ok(())
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn proc_file(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(&path).map_err(io(path))
    }

    fn exit_status(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.child.try_wait().map_err(io(format!("wait for {}", self.name)))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(io(format!("signal {}", self.name)))
    }

    fn failed(&self, why: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.trim_end().lines().collect();
        let end = lines[lines.len().saturating_sub(10)..].join("\n  ");
        Failure::Server {
            name: self.name.clone(),
            why: if end.is_empty() {
                why.to_owned()
            } else {
                format!("{why}; it logged:\n  {end}")
            },
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|&pid| pid != self.child.id());
        // It may have ended already; then both say so, and that is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Kills what this program started and removes its files when it is interrupted.
pub fn clean_up_on_interrupt(scratch: &Path) -> Result<()> {
    let scratch = scratch.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(io("start the signal handler"))?;
    std::thread::spawn(move || {
        runtime.block_on(interrupted());
        let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in live.iter().filter_map(|&pid| Pid::from_raw(pid.cast_signed())) {
            // It may be gone already; what matters is that it is gone before its files are.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        let _ = fs::remove_dir_all(&scratch);
        // The lock is still held, so that nothing is started any more.
        std::process::exit(130);
    });
    Ok(())
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
