//! The memory and swap limits of the cgroup that the process is in, as a container or a service has one.
//!
//! Both versions of cgroups are read. A limit of a parent counts too, as far as the process can see
//! its parents: in a container often only its own cgroup is mounted.

use std::fs;
use std::path::{Path, PathBuf};

use super::settings::ServeConfig;
use crate::model::text::size_text;

/// Part of the limit that entries may use, in percent: reading the log takes up to 1.3 times the
/// memory of the entries, and clients have some of their own.
const ENTRIES_PERCENT: u64 = 65;

/// Files of the memory limit: in version 2, and in version 1.
const MEMORY_FILES: [&str; 2] = ["memory.max", "memory.limit_in_bytes"];
/// Files of the swap limit. Version 1 limits memory and swap together only, so it has none.
const SWAP_FILES: [&str; 2] = ["memory.swap.max"; 2];

/// Limits from here on are no limits: version 1 writes the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 60;

impl ServeConfig {
    /// Without a memory limit of its own, the server takes part of that of its cgroup: otherwise
    /// the kernel would end the process at some issue, and at each start after it.
    pub(super) fn limit_memory(&mut self) {
        if !self.is_memory_of_cgroup {
            return;
        }
        let Some(limit) = memory_limit() else { return };
        let max_memory = limit / 100 * ENTRIES_PERCENT;
        self.engine.max_memory_bytes = Some(max_memory);
        let (limit, max_memory) = (size_text(limit), size_text(max_memory));
        tracing::info!(
            limit,
            max_memory,
            "--max-memory is {ENTRIES_PERCENT} % of the memory limit of the cgroup"
        );
    }
}

/// The memory limit in bytes of the cgroup of this process, the least of all its parents; `None`
/// without one.
pub(super) fn memory_limit() -> Option<u64> {
    limit_under(Path::new("/"), MEMORY_FILES)
}

/// The same of the swap that the process may use.
pub(super) fn swap_limit() -> Option<u64> {
    limit_under(Path::new("/"), SWAP_FILES)
}

/// The least limit in these files, with the file system `root`.
fn limit_under(root: &Path, files: [&str; 2]) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    let limits = groups.lines().filter_map(Group::parse).filter_map(|group| {
        let mount = mounts.iter().find(|mount| mount.is_of(&group))?;
        let file = if group.is_unified { files[0] } else { files[1] };
        mount.least(root, &group, file)
    });
    limits.min()
}

/// A line of `/proc/self/cgroup` about memory: `0::/a` (version 2) or `4:cpu,memory:/a` (version 1).
struct Group<'a> {
    is_unified: bool,
    path: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_unified = number == "0" && controllers.is_empty();
        let is_of_memory = is_unified || controllers.split(',').any(|name| name == "memory");
        is_of_memory.then_some(Self { is_unified, path })
    }
}

/// A mounted hierarchy of cgroups, from a line of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// The cgroup that is mounted.
    group: &'a str,
    point: &'a str,
    is_unified: bool,
    /// Options of the file system: the controllers of version 1.
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (group, point) = (fields.next()?, fields.next()?);
        let mut fields = system.split(' ');
        let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
        let is_unified = kind == "cgroup2";
        (is_unified || kind == "cgroup").then_some(Self { group, point, is_unified, options })
    }

    fn is_of(&self, group: &Group<'_>) -> bool {
        let is_of_memory = || self.options.split(',').any(|option| option == "memory");
        self.is_unified == group.is_unified && (self.is_unified || is_of_memory())
    }

    /// The least limit of `group` and its parents, as far as they are mounted here.
    fn least(&self, root: &Path, group: &Group<'_>, file: &str) -> Option<u64> {
        let point = root.join(self.point.trim_start_matches('/'));
        let path = Path::new(group.path);
        let inner = path.strip_prefix(self.group).or_else(|_| path.strip_prefix("/"));
        let inner: PathBuf = inner.map(Path::to_owned).unwrap_or_default();
        let folders = inner.ancestors().map(|folder| point.join(folder));
        let limit = |folder: PathBuf| {
            let text = fs::read_to_string(folder.join(file)).ok()?;
            text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
        };
        folders.filter_map(limit).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "34 31 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
    const MEMORY: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// The memory limit in a file system with these files.
    fn limit(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        limit_in(MEMORY_FILES, groups, mounts, files)
    }

    fn limit_in(
        names: [&str; 2],
        groups: &str,
        mounts: &str,
        files: &[(&str, &str)],
    ) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        let shared = [("proc/self/cgroup", groups), ("proc/self/mountinfo", mounts)];
        for (name, text) in shared.iter().chain(files) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        limit_under(root.path(), names)
    }

    #[test]
    fn the_least_limit_of_all_parents_counts() {
        let service = "sys/fs/cgroup/system.slice/jeton.service/memory.max";
        let slice = "sys/fs/cgroup/system.slice/memory.max";
        let of = |in_service, in_slice| {
            let files = [(service, in_service), (slice, in_slice)];
            limit("0::/system.slice/jeton.service\n", UNIFIED, &files)
        };
        assert_eq!(of("1073741824\n", "max\n"), Some(1 << 30));
        assert_eq!(of("max\n", "4096\n"), Some(4096));
        assert_eq!(of("8192\n", "4096\n"), Some(4096));
        assert_eq!(of("max\n", "max\n"), None);
    }

    /// Also one that stands in a parent alone, or in a container without its own path.
    #[test]
    fn a_swap_limit_is_found_as_a_memory_limit_is() {
        let slice = "sys/fs/cgroup/system.slice/memory.swap.max";
        let service = "sys/fs/cgroup/system.slice/jeton.service/memory.swap.max";
        let memory = "sys/fs/cgroup/system.slice/memory.max";
        let of = |files: &[(&str, &str)]| {
            limit_in(SWAP_FILES, "0::/system.slice/jeton.service\n", UNIFIED, files)
        };
        assert_eq!(of(&[(slice, "0\n"), (service, "max\n")]), Some(0));
        assert_eq!(of(&[(slice, "max\n"), (service, "0\n")]), Some(0));
        assert_eq!(of(&[(slice, "max\n"), (memory, "0\n")]), None);
        let groups = "4:memory:/box\n0::/\n";
        let hybrid = "34 31 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let file = "sys/fs/cgroup/unified/memory.swap.max";
        assert_eq!(limit_in(SWAP_FILES, groups, hybrid, &[(file, "0\n")]), Some(0));
        assert_eq!(limit_in(SWAP_FILES, "4:memory:/\n", MEMORY, &[]), None);
    }

    #[test]
    fn version_one_is_read_too() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/box\n0::/\n";
        let mounts = format!("{MEMORY}{UNIFIED}");
        let of = |text| {
            let file = "sys/fs/cgroup/memory/box/memory.limit_in_bytes";
            limit(groups, &mounts, &[(file, text)])
        };
        assert_eq!(of("1073741824\n"), Some(1 << 30));
        assert_eq!(
            of("9223372036854771712\n"),
            None,
            "the kernel writes this number for: no limit"
        );
    }

    /// A container sees its own cgroup at the mount, whatever its path is outside.
    #[test]
    fn a_container_sees_its_own_limit_alone() {
        let groups = "4:memory:/docker/4f2a\n";
        let mounts = "35 31 0:32 /docker/4f2a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let file = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(limit(groups, mounts, &[(file, "8192\n")]), Some(8192));
        assert_eq!(limit(groups, MEMORY, &[(file, "8192\n")]), Some(8192));
        let file = "sys/fs/cgroup/memory.max";
        assert_eq!(limit("0::/\n", UNIFIED, &[(file, "8192\n")]), Some(8192));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        assert_eq!(limit("", "", &[]), None);
        assert_eq!(limit("nonsense\n0::\n", "nonsense - \n", &[]), None);
        assert_eq!(limit("0::/../../a\n", UNIFIED, &[]), None);
        let file = "sys/fs/cgroup/memory.max";
        assert_eq!(limit("0::/\n", UNIFIED, &[(file, "lots\n")]), None);
        memory_limit();
    }
}
