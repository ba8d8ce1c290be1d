//! `--secret-command`: the secret comes from a program, such as a client of a key management service.
//!
//! The program runs before the server listens, without a shell, with an empty standard input and
//! without the variables of jeton. It prints the secret to its standard output: 32 bytes, or their
//! base64. A try has ten seconds; a program that fails is tried again until `--secret-wait` is over.
//! It runs in a process group of its own, which is killed at the end of each try, so that nothing of it
//! outlives the start, unless it leaves the group (`setsid`).

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use zeroize::Zeroizing;

use super::environment::PREFIX;
use crate::clock::Clock;
use crate::model::text::duration_text;
use crate::model::token::{SECRET_LEN, Secret};

#[cfg(test)]
mod tests;

/// Maximum time of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the first try; it doubles with each, up to the maximum.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(8);
/// Interval between looks whether the program has ended, or the caller has stopped it.
const LOOK: Duration = Duration::from_millis(10);
/// Maximum output in bytes: 32 bytes as base64, with white space around.
const OUTPUT_LEN_MAX: usize = 128;
/// Output of this length ends the reading: the program may never end.
const READ_LEN_MAX: usize = 64 << 10;

/// A program that prints the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretCommand {
    /// The program, found by `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Maximum time from the first try to the start of the last one.
    pub wait: Duration,
}

/// Why a program did not give the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretCommandError {
    /// There is no such program, or it cannot be executed.
    #[error("--secret-command {program}: can't be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// It printed something that is no secret.
    #[error(
        "--secret-command {program}: must print {SECRET_LEN} bytes or their base64, but printed \
         {said}"
    )]
    Output {
        /// The program.
        program: String,
        /// The length of its output, never the output.
        said: String,
    },
    /// The handlers of signals cannot be installed.
    #[error("the signals of this process can't be handled: {0}")]
    Signals(io::Error),
    /// The caller wants no secret any more.
    #[error("stopped while --secret-command ran")]
    Stopped,
    /// Every try failed.
    #[error("--secret-command {program}: {last} (tries={tries}, --secret-wait {wait})")]
    Failed {
        /// The program.
        program: String,
        /// Why the last try failed.
        last: TryError,
        /// Number of tries.
        tries: u32,
        /// `--secret-wait`.
        wait: String,
    },
}

impl SecretCommandError {
    /// Whether another start would fail in the same way.
    #[must_use]
    pub fn is_mistake(&self) -> bool {
        matches!(self, Self::Start { .. } | Self::Output { .. })
    }
}

/// Why one try failed; another one may succeed.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// The system lacks something to start it, such as memory or processes.
    #[error("it can't be started: {0}")]
    Start(io::Error),
    /// It ended with another exit status than 0, or by a signal.
    #[error("it failed: {0}")]
    Status(ExitStatus),
    /// It did not end in time.
    #[error("it did not end within {} s, and was killed", TRY_TIMEOUT.as_secs())]
    Slow,
    /// Its output cannot be read, or its end cannot be waited for.
    #[error("its output can't be read: {0}")]
    Io(#[from] io::Error),
}

/// What a try may find.
enum Tried {
    Secret(Secret),
    /// The length of what it printed instead.
    Wrong(String),
}

impl SecretCommand {
    /// The command of these words, the program first; `None` without any. A single word is split at
    /// white space, as an environment variable needs.
    pub(super) fn of(words: &[String], wait: Duration) -> Option<Self> {
        let split = |word: &String| word.split_whitespace().map(OsString::from).collect();
        let words: Vec<OsString> = match words {
            [only] => split(only),
            words => words.iter().map(OsString::from).collect(),
        };
        let (program, args) = words.split_first()?;
        Some(Self { program: program.clone(), args: args.to_vec(), wait })
    }

    /// Runs the program until it gives the secret, or until `is_stopped` is true.
    ///
    /// # Errors
    /// It cannot be started, prints something else, or fails until `--secret-wait` is over; or the
    /// caller has stopped it.
    pub fn run(
        &self,
        clock: &dyn Clock,
        is_stopped: &AtomicBool,
    ) -> Result<Secret, SecretCommandError> {
        let (began, mut tries) = (clock.monotonic(), 0);
        let mut pause = AGAIN_AFTER;
        loop {
            if is_stopped.load(Ordering::Relaxed) {
                return Err(SecretCommandError::Stopped);
            }
            tries += 1;
            let deadline = clock.monotonic() + TRY_TIMEOUT;
            let last = match self.try_once(&Limit { clock, deadline, is_stopped })? {
                Ok(Tried::Secret(secret)) => return Ok(secret),
                Ok(Tried::Wrong(said)) => {
                    return Err(SecretCommandError::Output { program: self.to_string(), said });
                }
                Err(error) => error,
            };
            if is_stopped.load(Ordering::Relaxed) {
                return Err(SecretCommandError::Stopped);
            }
            let passed = clock.monotonic().saturating_sub(began);
            if passed + pause > self.wait {
                let (program, wait) = (self.to_string(), duration_text(self.wait));
                return Err(SecretCommandError::Failed { program, last, tries, wait });
            }
            tracing::warn!(program = %self, "--secret-command: {last}; trying again");
            let deadline = clock.monotonic() + pause;
            let until = Limit { clock, deadline, is_stopped };
            while !until.left().is_zero() {
                std::thread::sleep(LOOK);
            }
            pause = (pause * 2).min(AGAIN_AFTER_MAX);
        }
    }

    /// The same for a command that handles no signals: SIGINT or SIGTERM stops the program, and then
    /// this ends with an error. To be called once in a process.
    pub(super) fn run_until_signal(&self, clock: &dyn Clock) -> Result<Secret, SecretCommandError> {
        let (is_stopped, is_over) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // Afterwards a signal ends the process, as without a handler.
            flag::register_conditional_default(signal, is_over.clone())
                .and_then(|_| flag::register(signal, is_stopped.clone()))
                .map_err(SecretCommandError::Signals)?;
        }
        let secret = self.run(clock, &is_stopped);
        is_over.store(true, Ordering::SeqCst);
        if is_stopped.load(Ordering::SeqCst) { Err(SecretCommandError::Stopped) } else { secret }
    }

    fn try_once(&self, limit: &Limit<'_>) -> Result<Result<Tried, TryError>, SecretCommandError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        // What is set for jeton is not for other programs; a password may be among it.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(PREFIX) {
                command.env_remove(name);
            }
        }
        match command.spawn() {
            Ok(leader) => Ok(Group { leader, is_over: false }.secret(limit)),
            Err(source) if is_no_program(&source) => {
                Err(SecretCommandError::Start { program: self.to_string(), source })
            }
            Err(source) => Ok(Err(TryError::Start(source))),
        }
    }
}

impl fmt::Display for SecretCommand {
    /// The program alone: an argument may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.to_string_lossy().escape_debug().fmt(f)
    }
}

/// Whether an error at the start means that another try would fail in the same way.
fn is_no_program(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ArgumentListTooLong, InvalidFilename, InvalidInput, NotADirectory, NotFound,
        PermissionDenied,
    };
    let is_no_executable = error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error());
    let is_wrong = matches!(
        error.kind(),
        ArgumentListTooLong
            | InvalidFilename
            | InvalidInput
            | NotADirectory
            | NotFound
            | PermissionDenied
    );
    is_no_executable || is_wrong
}

/// Until when something may go on.
struct Limit<'a> {
    clock: &'a dyn Clock,
    /// On the monotonic clock.
    deadline: Duration,
    is_stopped: &'a AtomicBool,
}

impl Limit<'_> {
    /// The time left; none if the caller has stopped it.
    fn left(&self) -> Duration {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.deadline.saturating_sub(self.clock.monotonic())
    }
}

/// A running program and all that it has started; killed and reaped when dropped.
struct Group {
    leader: Child,
    is_over: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Group {
    fn secret(mut self, limit: &Limit<'_>) -> Result<Tried, TryError> {
        let stdout = self.leader.stdout.take();
        let stdout = stdout.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let mut output = Zeroizing::new(vec![0; READ_LEN_MAX]);
        let len = read_all(stdout, &mut output, limit)?;
        let too_long = || Tried::Wrong(format!("more than {OUTPUT_LEN_MAX} bytes"));
        if len == READ_LEN_MAX {
            return Ok(too_long());
        }
        // The leader is not reaped before its group is killed: its id stays taken until then.
        while !self.has_ended()? {
            if limit.left().is_zero() {
                return Err(TryError::Slow);
            }
            std::thread::sleep(LOOK);
        }
        let status = self.end()?;
        if !status.success() {
            return Err(TryError::Status(status));
        }
        // A program that fails may print its whole help before: that is for another try.
        if len > OUTPUT_LEN_MAX {
            return Ok(too_long());
        }
        Ok(decoded(&output[..len])
            .map_or_else(|| Tried::Wrong(format!("{len} bytes")), Tried::Secret))
    }

    fn id(&self) -> io::Result<Pid> {
        let id = i32::try_from(self.leader.id()).ok().and_then(Pid::from_raw);
        id.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Whether the program has ended; it is not reaped.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.id()?), options)?.is_some())
    }

    /// Kills what is left of the group, and reaps the program. Its id may belong to somebody else
    /// after that, so the group is killed once, and before.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if !std::mem::replace(&mut self.is_over, true) {
            // An error means that nothing of it is left.
            let _ = kill_process_group(self.id()?, Signal::KILL);
        }
        self.leader.wait()
    }
}

/// Reads to the end, or until `into` is full.
fn read_all(
    mut stdout: ChildStdout,
    into: &mut [u8],
    limit: &Limit<'_>,
) -> Result<usize, TryError> {
    let mut len = 0;
    while len < into.len() {
        let left = limit.left();
        if left.is_zero() {
            return Err(TryError::Slow);
        }
        let time = Timespec::try_from(left.min(LOOK)).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&stdout, PollFlags::IN)];
        match poll(&mut polled, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(TryError::Io(error.into())),
        }
        match stdout.read(&mut into[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(len)
}

/// The secret in an output: 32 bytes, or their base64 in either alphabet with white space around.
fn decoded(output: &[u8]) -> Option<Secret> {
    if let Ok(bytes) = <[u8; SECRET_LEN]>::try_from(output) {
        return Some(Secret::from_bytes(bytes));
    }
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE].iter().find_map(|alphabet| {
        let mut bytes = Zeroizing::new([0; OUTPUT_LEN_MAX]);
        let engine = GeneralPurpose::new(alphabet, config);
        let len = engine.decode_slice(output.trim_ascii(), &mut *bytes).ok()?;
        bytes[..len].try_into().ok().map(Secret::from_bytes)
    })
}
