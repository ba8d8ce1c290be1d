//! Processes that end at their time limit, or together with this program.
//!
//! Each gets a process group of its own, so that the servers it starts end with it. A terminal's
//! Ctrl-C does not reach such a group; it is handled here and forwarded.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Failure, Result, io};

/// Interval of checking a process.
const LOOK: Duration = Duration::from_millis(20);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Code(i32),
    /// By this signal, as after an abort.
    Signal(i32),
    /// It was killed at its time limit.
    TimedOut,
}

/// Starts processes until a signal ends this program.
pub struct Runner {
    interrupted: Arc<AtomicBool>,
}

impl Runner {
    /// From now on a signal ends the running process, and then this program cleanly.
    pub fn new() -> Result<Self> {
        let interrupted = Arc::<AtomicBool>::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, interrupted.clone()).map_err(io("signals"))?;
        }
        Ok(Self { interrupted })
    }

    /// Runs `command` with its output in the file `log`, for `limit` at most. Returns how it ended
    /// and after how long.
    pub fn run(
        &self,
        command: &mut Command,
        log: &Path,
        limit: Duration,
    ) -> Result<(Ended, Duration)> {
        let named = |path: &Path| io(path.display().to_string());
        let output = File::create(log).map_err(named(log))?;
        let errors = output.try_clone().map_err(named(log))?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let began = now();
        let mut child = command.spawn().map_err(io(&program))?;
        loop {
            if let Some(status) = child.try_wait().map_err(io(&program))? {
                // Remaining processes would disturb the next run.
                end_group(&child);
                let ended = match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Code(code),
                    (None, signal) => Ended::Signal(signal.unwrap_or_default()),
                };
                return Ok((ended, began.elapsed()));
            }
            let is_interrupted = self.interrupted.load(Ordering::Relaxed);
            if is_interrupted || began.elapsed() > limit {
                end_group(&child);
                child.wait().map_err(io(&program))?;
                return match is_interrupted {
                    true => Err(Failure::Interrupted),
                    false => Ok((Ended::TimedOut, began.elapsed())),
                };
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Kills a child and all it has started.
fn end_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // An error means that the group is empty, as intended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The time, to measure how long something takes.
#[expect(clippy::disallowed_methods, reason = "a command measures how long things take")]
pub fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> (Ended, String) {
        let log =
            std::env::temp_dir().join(format!("attacks-{}-{}", std::process::id(), script.len()));
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let (ended, _) = Runner::new().unwrap().run(&mut command, &log, limit).unwrap();
        let output = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        (ended, output)
    }

    #[test]
    fn a_process_ends_by_itself_or_by_its_limit() {
        let long = Duration::from_secs(60);
        assert_eq!(sh("echo a; echo b >&2; exit 3", long), (Ended::Code(3), "a\nb\n".to_owned()));
        assert_eq!(sh("kill -ABRT $$", long).0, Ended::Signal(6));
        let (ended, output) = sh("sleep 50 & echo $!; wait", Duration::from_secs(4));
        assert_eq!(ended, Ended::TimedOut);
        let child = format!("/proc/{}/stat", output.trim());
        let is_over = || {
            let stat = std::fs::read_to_string(&child);
            stat.map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "))
        };
        // A signal takes its time on a busy machine.
        let is_gone = (0..500).any(|_| {
            std::thread::sleep(LOOK);
            is_over()
        });
        assert!(is_gone, "what it started ends too");
    }
}
