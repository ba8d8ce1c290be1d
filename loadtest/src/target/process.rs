//! A process that the harness starts: waited for until it is ready, stopped in order, killed on
//! drop and where the harness is interrupted, with the end of its log at hand where it fails.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

use super::bound::bound;
use super::environment;
use crate::failure::{Failure, Result, io};
use crate::patience;

/// How long a server may take to end after SIGTERM.
const STOP_TIME: Duration = Duration::from_secs(120);
const POLL_PAUSE: Duration = Duration::from_millis(2);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 10;
/// The end of a log, of which they are taken.
const LOG_BYTES: u64 = 16 << 10;

/// What an interrupt must not leave behind: processes, with the folders they write into.
static LIVE: Mutex<Vec<(u32, Option<PathBuf>)>> = Mutex::new(Vec::new());
/// How often a wait looks whether a signal came.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A child process; killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// What it prints, read by a thread that ends with it, so that it never waits for a reader.
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts it, with its standard error in the file `log` of its folder. An interrupt removes
    /// the folder, see [`end_on_interrupt`].
    ///
    /// # Errors
    /// The program can't be started, or the log not be written.
    pub fn start(name: &str, command: &Command, folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        let file = File::create(&log).map_err(io(format!("create {}", log.display())))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut command = bound(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        environment::for_server(&mut command);
        // A Ctrl-C at the terminal is the harness's to hear: a server that ended of it in the middle
        // of a run would look as if it had failed.
        command.process_group(0);
        // Locked while it starts, so that an interrupt either knows it or prevents it.
        let mut live = live();
        let mut child = command.spawn().map_err(io(format!("start {program}")))?;
        live.push((child.id(), Some(folder.to_owned())));
        drop(live);
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take();
        std::thread::spawn(move || {
            let printed = stdout.map(BufReader::new).into_iter().flat_map(BufRead::lines);
            let mut wanted = true;
            for line in printed.map_while(std::io::Result::ok) {
                // It is read to its end even when its text is not needed any more.
                wanted = wanted && sender.send(line).is_ok();
            }
        });
        Ok(Self { name: name.to_owned(), child, lines, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that begins with `prefix`; gives the rest of it.
    ///
    /// # Errors
    /// It ended first, or the time is over.
    pub fn wait_for_line(&mut self, prefix: &str, patience: Duration) -> Result<String> {
        let deadline = now() + patience;
        loop {
            self.unless_stopped()?;
            let left = deadline.saturating_duration_since(now());
            match self.lines.recv_timeout(left.min(LOOK_PAUSE)) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(prefix) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) if now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err(self.late(patience)),
                Err(RecvTimeoutError::Disconnected) => {
                    let how = match self.wait(Duration::from_secs(1))? {
                        Some(status) => format!("ended with {status}"),
                        None => "closed its standard output".to_owned(),
                    };
                    return Err(self.failed(&format!("{how} before it was ready")));
                }
            }
        }
    }

    /// Tries `probe` until it succeeds.
    ///
    /// # Errors
    /// It ended first, or the time is over.
    pub fn wait_until(
        &mut self,
        patience: Duration,
        mut probe: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = now() + patience;
        // The process must be there before and after: another server may answer on its port.
        while !(self.wait(Duration::ZERO)?.is_none() && probe()) {
            if let Some(status) = self.wait(Duration::ZERO)? {
                return Err(self.failed(&format!("ended with {status} before it was ready")));
            }
            if now() > deadline {
                return Err(self.late(patience));
            }
            self.unless_stopped()?;
            std::thread::sleep(POLL_PAUSE);
        }
        Ok(())
    }

    /// Asks it to end with SIGTERM and waits; kills it where it does not.
    ///
    /// # Errors
    /// It had ended before, ended with a failure, or had to be killed.
    pub fn stop(mut self) -> Result<()> {
        use std::os::unix::process::ExitStatusExt;
        if let Some(status) = self.wait(Duration::ZERO)? {
            return Err(self.failed(&format!("ended with {status} before it was stopped")));
        }
        // One that is stopped does not see the first without the second.
        for signal in [Signal::TERM, Signal::CONT] {
            kill_process(Pid::from_child(&self.child), signal)
                .map_err(io(format!("signal {}", self.name)))?;
        }
        match self.wait(STOP_TIME)? {
            Some(status) if status.success() || status.signal() == Some(Signal::TERM.as_raw()) => {
                Ok(())
            }
            Some(status) => Err(self.failed(&format!("ended with {status} when it was stopped"))),
            None => {
                let seconds = STOP_TIME.as_secs();
                Err(self
                    .failed(&format!("was killed: it was still running {seconds} s after SIGTERM")))
            }
        }
    }

    /// A failure of this process, with the end of what it logged.
    pub fn failed(&self, problem: &str) -> Failure {
        let log = log_end(&self.log).unwrap_or_default();
        let problem = match log.as_str() {
            "" => problem.to_owned(),
            log => format!("{problem}; it logged:\n{log}"),
        };
        Failure::Target { target: self.name.clone(), problem }
    }

    fn unless_stopped(&self) -> Result<()> {
        if patience::is_stopped() {
            let problem = format!("{}: stopped by a signal before it was ready", self.name);
            return Err(Failure::Input(problem));
        }
        Ok(())
    }

    fn late(&self, patience: Duration) -> Failure {
        self.failed(&format!("was not ready within {} s", patience.as_secs_f64()))
    }

    /// How it ended, once it has.
    fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = now() + patience;
        loop {
            let status = self.child.try_wait().map_err(io(format!("wait for {}", self.name)))?;
            if status.is_some() || now() >= deadline {
                return Ok(status);
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        live().retain(|(pid, _)| *pid != self.child.id());
        // It leads a group of what it started, which ends with it.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        // It may have ended already; then both report that, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a tool such as git to its end. It ends with the harness, and all that it started does.
///
/// # Errors
/// It can't be started.
pub fn output(command: &Command, stdout: Stdio, stderr: Stdio) -> std::io::Result<Output> {
    run_tool(command, stdout, stderr, false)
}

/// The same for one that takes long: the first signal kills it.
///
/// # Errors
/// It can't be started.
pub fn output_unless_stopped(
    command: &Command,
    stdout: Stdio,
    stderr: Stdio,
) -> std::io::Result<Output> {
    run_tool(command, stdout, stderr, true)
}

fn run_tool(
    command: &Command,
    stdout: Stdio,
    stderr: Stdio,
    is_stopped: bool,
) -> std::io::Result<Output> {
    let mut command = bound(command);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
    let mut live = live();
    let mut child = command.spawn()?;
    let pid = child.id();
    live.push((pid, None));
    drop(live);
    let readers = (child.stdout.take().map(read), child.stderr.take().map(read));
    let ended = loop {
        if is_stopped && patience::is_stopped() {
            kill_group(pid);
        }
        match child.try_wait() {
            Ok(None) => std::thread::sleep(POLL_PAUSE),
            ended => break ended,
        }
    };
    self::live().retain(|(other, _)| *other != pid);
    let said = |reader: Option<JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (stdout, stderr) = (said(readers.0), said(readers.1));
    let status = ended?.ok_or(std::io::ErrorKind::Interrupted)?;
    Ok(Output { status, stdout, stderr })
}

/// Reads a pipe to its end, so that the process never waits for a reader.
fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Lines before an error are kept.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Kills a child with all that it started.
fn kill_group(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may be gone already.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn live() -> MutexGuard<'static, Vec<(u32, Option<PathBuf>)>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the first SIGINT, SIGTERM or SIGHUP sets `stop`, where there is one, so that what was
/// measured so far is still reported; the next one, or the first where there is none, kills what
/// was started, removes its data and ends the harness with exit code 130.
///
/// # Errors
/// The system refuses to watch for signals.
pub fn end_on_interrupt(stop: Option<Arc<AtomicBool>>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = || io("watch for signals");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(failed())?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed())?;
    drop(entered);
    std::thread::spawn(move || {
        let mut wait = || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hang_up.recv() => {}
                }
            });
        };
        wait();
        if let Some(stop) = stop {
            stop.store(true, Ordering::Relaxed);
            patience::stop();
            wait();
        }
        clean_up();
    });
    Ok(())
}

/// Ends everything at once.
fn clean_up() -> ! {
    let live = live();
    for (pid, folder) in live.iter() {
        // What matters is that it is gone before its files are.
        kill_group(*pid);
        if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        if let Some(folder) = folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    // The lock is still held, so that nothing is started any more.
    std::process::exit(130);
}

#[expect(clippy::disallowed_methods, reason = "how long a real process is waited for")]
fn now() -> Instant {
    Instant::now()
}

/// The last lines of a file, indented.
fn log_end(path: &Path) -> std::io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.trim_end().lines().map(|line| format!("  {line}")).collect();
    Ok(lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests;
