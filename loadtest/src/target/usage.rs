//! What processes use, and what the machine is: read from `/proc`.

use std::fs;

use crate::failure::{Failure, Result, io};
use crate::report::model::Machine;

/// CPU time of all threads of a process since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Seconds in the process itself.
    pub user_s: f64,
    /// Seconds in the kernel on its behalf.
    pub system_s: f64,
}

impl Cpu {
    /// Seconds in both.
    pub fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    /// What was used since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_s: (self.user_s - earlier.user_s).max(0.0),
            system_s: (self.system_s - earlier.system_s).max(0.0),
        }
    }
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Resident now.
    pub resident_bytes: u64,
    /// The most that ever was resident.
    pub peak_bytes: u64,
}

/// CPU time of a process: the total exact to the scheduler, its two parts to the clock tick.
///
/// # Errors
/// There is no such process, or it is another user's and hidden.
pub fn cpu(pid: u32) -> Result<Cpu> {
    let text = read(pid, "stat")?;
    if has_ended(&text) {
        return Err(Failure::Input(format!("process {pid}: it has ended")));
    }
    let (user_s, system_s) = stat_seconds(&text).ok_or_else(|| unreadable(pid, "stat", &text))?;
    let ticks_s = user_s + system_s;
    // Threads that have ended are in `stat` alone, and what is less than a tick is not.
    let total_s = ticks_s.max(threads_seconds(pid));
    if ticks_s == 0.0 {
        return Ok(Cpu { user_s: total_s, system_s: 0.0 });
    }
    let scale = total_s / ticks_s;
    Ok(Cpu { user_s: user_s * scale, system_s: system_s * scale })
}

/// A process, identified by more than its number: after its end another process may get the number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Watched {
    pid: u32,
    /// When it began, in clock ticks since the machine did.
    began_ticks: u64,
}

impl Watched {
    /// The process that has this number now.
    ///
    /// # Errors
    /// As for [`cpu`].
    pub fn new(pid: u32) -> Result<Self> {
        cpu(pid)?;
        Ok(Self { pid, began_ticks: began_ticks(pid)? })
    }

    /// Its number.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// See [`cpu`].
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(self) -> Result<Cpu> {
        self.unless_another(cpu(self.pid)?)
    }

    /// See [`memory`].
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(self) -> Result<Memory> {
        self.unless_another(memory(self.pid)?)
    }

    /// Looked at behind the reading: a number is given to another process only once.
    fn unless_another<T>(self, reading: T) -> Result<T> {
        if began_ticks(self.pid)? == self.began_ticks {
            return Ok(reading);
        }
        let pid = self.pid;
        Err(Failure::Input(format!("process {pid}: it has ended, and another has its number")))
    }
}

/// When a process began: the 20th word behind its name.
fn began_ticks(pid: u32) -> Result<u64> {
    let text = read(pid, "stat")?;
    let began = text
        .rsplit_once(')')
        .and_then(|(_, behind)| behind.split_whitespace().nth(19)?.parse().ok());
    began.ok_or_else(|| unreadable(pid, "stat", &text))
}

/// CPU seconds that the whole machine was busy since it began, what was stolen from it included.
pub fn machine_busy_s() -> Option<f64> {
    busy_ticks(&fs::read_to_string("/proc/stat").ok()?)
        .map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// All of `cpu` in `/proc/stat` but idle time, waiting for disks, and guests, who are in user time.
fn busy_ticks(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let busy = ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    (ticks.len() >= 4).then(|| busy.map(|(_, ticks)| ticks).sum())
}

/// Memory of a process.
///
/// # Errors
/// As for [`cpu`].
pub fn memory(pid: u32) -> Result<Memory> {
    let text = read(pid, "status")?;
    let bytes = |name| number_after(&text, name).map(|kib| kib * 1024);
    let resident_bytes = bytes("VmRSS:").ok_or_else(|| unreadable(pid, "status", &text))?;
    Ok(Memory { resident_bytes, peak_bytes: bytes("VmHWM:").unwrap_or(resident_bytes) })
}

/// What a process caused to be written since it began, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Written {
    /// Pages it made dirty: what the device is to write. A page that is written, synced and written
    /// again counts twice.
    pub device_bytes: u64,
    /// What it passed to write calls, sockets included.
    pub call_bytes: u64,
}

/// What a process wrote.
///
/// # Errors
/// As for [`cpu`].
pub fn written(pid: u32) -> Result<Written> {
    let text = read(pid, "io")?;
    let bytes = |name| number_after(&text, name).ok_or_else(|| unreadable(pid, "io", &text));
    let cancelled_bytes = bytes("cancelled_write_bytes:")?;
    Ok(Written {
        device_bytes: bytes("write_bytes:")?.saturating_sub(cancelled_bytes),
        call_bytes: bytes("wchar:")?,
    })
}

/// The machine this runs on; what the system does not say is left empty.
pub fn machine() -> Machine {
    let file = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let named = |name: &str| {
        let line = cpuinfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let kernel = rustix::system::uname();
    let kernel =
        format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy());
    let release = file("/etc/os-release");
    let distribution = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Machine {
        cpu: named("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        memory_bytes: number_after(&file("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
        system: match distribution {
            Some(name) => format!("{}, {kernel}", name.trim_matches('"')),
            None => kernel,
        },
    }
}

/// User and system time in `/proc/PID/stat`, in seconds.
fn stat_seconds(text: &str) -> Option<(f64, f64)> {
    // The name in parentheses may hold anything; the two are the 12th and 13th words behind it.
    let (_, behind) = text.rsplit_once(')')?;
    let mut words = behind.split_whitespace().skip(11);
    let mut seconds = || {
        let ticks: u32 = words.next()?.parse().ok()?;
        Some(f64::from(ticks) / rustix::param::clock_ticks_per_second() as f64)
    };
    Some((seconds()?, seconds()?))
}

/// Whether `/proc/PID/stat` is of a process that ended and was not waited for.
fn has_ended(text: &str) -> bool {
    let state = text.rsplit_once(')').and_then(|(_, behind)| behind.split_whitespace().next());
    matches!(state, Some("Z" | "X"))
}

/// CPU time of the threads that live, 0 where the kernel does not say.
fn threads_seconds(pid: u32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0.0;
    };
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(io(format!("process {pid}: {path}")))
}

fn unreadable(pid: u32, file: &str, text: &str) -> Failure {
    let text = crate::protocol::excerpt(text.as_bytes());
    Failure::Input(format!("process {pid}: /proc/{pid}/{file} is not understood: {text}"))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_stat_are_counted_behind_the_name() {
        let text = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(stat_seconds(text), Some((250.0 / ticks, 50.0 / ticks)));
        assert_eq!(stat_seconds("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_that_ended_and_is_still_listed_is_not_measured() {
        let mut child = std::process::Command::new("true").spawn().expect("it starts");
        let pid = child.id();
        while cpu(pid).is_ok() {
            std::thread::yield_now();
        }
        let error = cpu(pid).expect_err("it has ended").to_string();
        assert!(error.contains("has ended"), "{error}");
        child.wait().expect("it is ours");
    }

    #[test]
    fn another_process_with_the_same_number_is_not_measured() {
        let this = Watched::new(std::process::id()).expect("this process");
        assert!(this.cpu().is_ok() && this.memory().is_ok());
        let before = Watched { began_ticks: this.began_ticks - 1, ..this };
        for error in [before.cpu().err(), before.memory().err()] {
            let error = error.expect("it is another").to_string();
            assert!(error.contains("another has its number"), "{error}");
        }
    }

    #[test]
    fn the_machine_is_busy_with_all_but_idling() {
        let text = "cpu  100 20 30 4000 500 6 7 8 90 10\ncpu0 1 1 1 1\n";
        assert_eq!(busy_ticks(text), Some(100 + 20 + 30 + 6 + 7 + 8));
        assert_eq!(busy_ticks("intr 5\n"), None);
        assert!(machine_busy_s().expect("Linux says it") > 0.0);
    }

    #[test]
    fn work_and_memory_of_this_process_show() {
        let pid = std::process::id();
        let before = cpu(pid).expect("this process");
        let mut sum = 0_u64;
        // Until it shows, however slow the machine; if it never did, the test would not end.
        while cpu(pid).expect("this process").since(before).total_s() < 0.02 {
            sum = std::hint::black_box((0..100_000).fold(sum, |sum, x| sum ^ (x * x)));
        }
        let memory = memory(pid).expect("this process");
        assert!(memory.resident_bytes > 100 << 10 && memory.peak_bytes >= memory.resident_bytes);
    }

    #[test]
    fn what_this_process_writes_shows() {
        use std::io::Write;
        let pid = std::process::id();
        let before = written(pid).expect("this process");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&[1; 100_000]).expect("space");
        let after = written(pid).expect("this process");
        assert!(after.call_bytes >= before.call_bytes + 100_000, "{before:?} {after:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        // Above the greatest process id that Linux can be set to.
        let error = cpu(1 << 30).expect_err("no such process").to_string();
        assert!(error.contains("process 1073741824"), "{error}");
    }

    #[test]
    fn the_machine_is_described() {
        let machine = machine();
        assert!(machine.cores > 0 && machine.memory_bytes > 0, "{machine:?}");
        assert!(!machine.cpu.is_empty() && machine.system.contains("Linux"), "{machine:?}");
    }
}
