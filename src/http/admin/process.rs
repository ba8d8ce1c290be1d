//! What the system says of this process, under the names that all clients of Prometheus use.

use std::fmt;
use std::fs;
use std::sync::OnceLock;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::sheet::Sheet;
use crate::model::time::UnixMillis;

/// One reading of the process. What cannot be read is left out.
#[derive(Debug, Default, PartialEq)]
pub(in crate::http) struct ProcessReading {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    open_files: Option<u64>,
    files_max: Option<u64>,
}

impl ProcessReading {
    /// `started_at` is used where the system hides when it was started itself.
    pub(in crate::http) fn new(started_at: Option<UnixMillis>) -> Self {
        /// Start of the process, in seconds since 1970. Read once: the system computes it from the
        /// wall clock, and a value that changes would look like a restart.
        static START: OnceLock<Option<f64>> = OnceLock::new();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let stat = Stat::parse(&stat, clock_ticks_per_second(), page_size() as u64);
        let boot = || {
            let system = fs::read_to_string("/proc/stat").ok()?;
            let line = system.lines().find_map(|line| line.strip_prefix("btime "))?;
            Some(line.trim().parse::<f64>().ok()? + stat.as_ref()?.started_seconds)
        };
        Self {
            cpu_seconds: stat.as_ref().map(|stat| stat.cpu_seconds),
            start_seconds: START.get_or_init(boot).or(started_at.map(|at| at.0 as f64 / 1e3)),
            virtual_bytes: stat.as_ref().map(|stat| stat.virtual_bytes),
            resident_bytes: stat.as_ref().map(|stat| stat.resident_bytes),
            open_files: open_files(),
            files_max: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Open file descriptors. Since Linux 6.2 the size of the folder is their number.
fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    let size = fs::metadata(FOLDER).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    // One of them is that of the folder.
    Some((fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1))
}

/// What `/proc/self/stat` has (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    /// After the start of the system.
    started_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn parse(text: &str, ticks_per_second: u64, page_len: u64) -> Option<Self> {
        // The name of the program may have spaces and brackets.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // The first field behind the name has the number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            started_seconds: seconds(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_len,
        })
    }
}

impl Collector for ProcessReading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(&mut encoder);
        if let Some(seconds) = self.cpu_seconds {
            let help = "CPU time of the process, of user and system";
            sheet.fractional_counter("process_cpu_seconds", help, seconds)?;
        }
        if let Some(seconds) = self.start_seconds {
            let help = "Start of the process, in seconds since 1970";
            sheet.fraction("process_start_time_seconds", help, seconds)?;
        }
        for (name, help, value) in [
            ("process_virtual_memory_bytes", "Virtual memory", self.virtual_bytes),
            ("process_resident_memory_bytes", "Resident memory", self.resident_bytes),
            ("process_open_fds", "Open file descriptors", self.open_files),
            ("process_max_fds", "Maximum open file descriptors", self.files_max),
        ] {
            sheet.known(name, help, value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let text = "17 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 16 17 18 19 20 21 1200 4096 3 0\n";
        let wanted = Stat {
            cpu_seconds: 2.0,
            started_seconds: 12.0,
            virtual_bytes: 4096,
            resident_bytes: 12_288,
        };
        assert_eq!(Stat::parse(text, 100, 4096), Some(wanted));
        assert_eq!(Stat::parse("", 100, 4096), None);
        assert_eq!(Stat::parse("17 (a) S 1", 100, 4096), None);
    }

    #[test]
    fn this_process_has_all_of_it() {
        let (first, second) = (ProcessReading::new(None), ProcessReading::new(None));
        assert_eq!(first.start_seconds, second.start_seconds, "it does not drift");
        assert!(first.start_seconds.unwrap() > 1_500_000_000.0);
        assert!(first.cpu_seconds.is_some() && first.resident_bytes.unwrap() > 1 << 20);
        let open = first.open_files.unwrap();
        assert!(open >= 3 && open <= first.files_max.unwrap_or(u64::MAX), "{first:?}");
    }
}
