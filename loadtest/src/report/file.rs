//! `report.json` and `report.html` in a directory: whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::html;
use super::model::{FORMAT, Report};
use super::verdict::Verdict;
use crate::failure::{Failure, Result, at, io};

/// The name of the report for programs.
pub const JSON: &str = "report.json";
/// The name of the page.
pub const HTML: &str = "report.html";

/// Writes both files into the directory, which is made where it is missing; gives their paths.
///
/// # Errors
/// Where the directory cannot be made or written to, with the path. What was there before is then
/// still there.
pub fn write(directory: &Path, report: &Report) -> Result<(PathBuf, PathBuf)> {
    prepare(directory)?;
    let (json, page) = (directory.join(JSON), directory.join(HTML));
    let written = Written { verdict: report.verdict(), report };
    let mut text = serde_json::to_vec_pretty(&written)
        .map_err(io(format!("cannot write {}", json.display())))?;
    text.push(b'\n');
    replace(&json, &text)?;
    replace(&page, html::page(report).as_bytes())?;
    Ok((json, page))
}

/// What a program reads first; a harness that reads the report finds it again by itself.
#[derive(Serialize)]
struct Written<'a> {
    verdict: Verdict,
    #[serde(flatten)]
    report: &'a Report,
}

/// Makes the directory and tries whether a file can be written there, so that a run of an hour
/// does not end with a mistake in a path.
///
/// # Errors
/// As [`write()`].
pub fn prepare(directory: &Path) -> Result<()> {
    let what = || format!("cannot write the report into {}", directory.display());
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => {
            return Err(Failure::Input(format!("{}: it is not a directory", what())));
        }
        Ok(_) => {}
        Err(_) => fs::create_dir_all(directory).map_err(io(what()))?,
    }
    tempfile::NamedTempFile::new_in(directory).map(drop).map_err(io(what()))
}

/// The files of a run, and their names once another has begun.
pub const FILES: [(&str, &str); 2] =
    [(JSON, "report.previous.json"), (HTML, "report.previous.html")];

/// Gives the report of an earlier run another name, so that it does not stay as if it were this
/// one's where this one ends without a report. What is no regular file stays.
///
/// # Errors
/// Where that cannot be done, with the path.
pub fn set_aside(directory: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (name, aside) in files {
        let path = directory.join(name);
        if path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            let what = || format!("cannot rename {}", path.display());
            fs::rename(&path, directory.join(aside)).map_err(io(what()))?;
        }
    }
    Ok(())
}

/// Writes a file so that its name always stands for the old content or the whole new one. What is
/// no regular file (a device, a pipe) is written to and stays what it is; behind a link the file it
/// leads to is replaced. A file keeps its mode.
///
/// # Errors
/// Where it cannot be written, with the path.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let what = || format!("cannot write {}", path.display());
    let found = fs::metadata(path).ok();
    let is_special = found.as_ref().is_some_and(|found| !found.is_file() && !found.is_dir());
    if is_special || is_descriptor(path) {
        let mut file = fs::File::options().write(true).open(path).map_err(io(what()))?;
        return file.write_all(content).map_err(io(what()));
    }
    let target = behind_links(path).map_err(io(what()))?;
    let path = target.as_path();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(found.map_or_else(permissions, |found| found.permissions()))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
        .map_err(io(what()))?;
    file.as_file_mut().write_all(content).map_err(io(what()))?;
    file.as_file().sync_all().map_err(io(what()))?;
    file.persist(path).map(drop).map_err(|error| io(what())(error.error))
}

/// Links are followed so far; the system follows no more.
const LINKS_MAX: usize = 40;

/// Where a link leads, also where nothing is there yet; anything else is its own place.
fn behind_links(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Whether a path is another name for an open file, such as `/dev/stdout`: its opener reads
/// on from that file, and not from one that took its name.
fn is_descriptor(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if path.starts_with("/proc") || path.starts_with("/dev/fd") {
            return true;
        }
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return false,
        }
    }
    false
}

/// As any program's files; the umask takes from it. Temporary files are the owner's alone.
fn permissions() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

/// Reads a report that [`write()`] wrote; of a directory the `report.json` in it.
///
/// # Errors
/// Where there is none, where it is not a report (with line and column), where it is one of
/// another format, and where a histogram in it is damaged; each with the path.
pub fn read(path: &Path) -> Result<Report> {
    let joined = path.join(JSON);
    let path = if path.is_dir() { &joined } else { path };
    let text = fs::read(path).map_err(at(path))?;
    let bad = |problem: String| Failure::Input(format!("{}: {problem}", path.display()));
    let report = parse(&text).map_err(bad)?;
    check(&report).map_err(bad)?;
    Ok(report)
}

/// The part of a report that all its versions share.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

fn parse(text: &[u8]) -> std::result::Result<Report, String> {
    // The version first: what another version has or lacks is no mistake in the file.
    let version = serde_json::from_slice::<Version>(text)
        .map_err(|error| format!("not a report of this harness: {error}"))?;
    if version.format != FORMAT {
        return Err(format!(
            "a report of format {}, this harness reads format {FORMAT}: use the one that wrote it",
            version.format
        ));
    }
    serde_json::from_slice(text).map_err(|error| format!("a damaged report: {error}"))
}

/// Histograms are text to the JSON reader; a report is used only where all of them can be.
fn check(report: &Report) -> std::result::Result<(), String> {
    let damaged =
        |place: &str, problem| format!("a damaged report: histogram of {place}: {problem}");
    report.latency.to_histogram().map_err(|problem| damaged("all", problem))?;
    for operation in &report.operations {
        let name = operation.operation.name();
        operation.latency.to_histogram().map_err(|problem| damaged(name, problem))?;
    }
    for slice in &report.slices {
        let place = format!("the slice at {} s", slice.at_s);
        slice.to_histogram().map_err(|problem| damaged(&place, problem))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;

    fn written() -> (tempfile::TempDir, Report) {
        let directory = tempfile::tempdir().unwrap();
        let report = Sample { slices: 9, requests: 200, ..Sample::default() }.report();
        write(&directory.path().join("a/b"), &report).unwrap();
        (directory, report)
    }

    fn refusal(text: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "names the file: {error}");
        error
    }

    #[test]
    fn what_is_written_is_read_by_file_and_by_directory() {
        let (directory, report) = written();
        let directory = directory.path().join("a/b");
        // The last digit of a long fraction may change in JSON; nothing else may.
        let report: Report = serde_json::from_slice(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!(read(&directory).unwrap(), report);
        assert_eq!(read(&directory.join(JSON)).unwrap(), report);
        let json = fs::read_to_string(directory.join(JSON)).unwrap();
        assert!(json.starts_with("{\n  \"verdict\": \"passed\",\n  \"format\": 2,"), "{json:.60}");
        let page = fs::read_to_string(directory.join(HTML)).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_report_cut_anywhere_is_refused() {
        let (directory, _) = written();
        let text = fs::read(directory.path().join("a/b").join(JSON)).unwrap();
        let end = text.len() - 2;
        for cut in (0..end).step_by(97).chain([end]) {
            assert!(parse(&text[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn other_versions_and_other_files_are_named_as_such() {
        assert!(refusal(b"{\"format\": 1, \"new\": 1}").contains("format 1, this harness reads"));
        assert!(refusal(b"{\"format\": 2}").contains("a damaged report: missing field `harness`"));
        assert!(refusal(b"GIF89a").contains("not a report of this harness"));
        assert!(refusal(b"").contains("not a report"));
        assert!(read(Path::new("no/such.json")).unwrap_err().to_string().contains("no/such.json"));
    }

    #[test]
    fn a_damaged_histogram_is_found_when_the_report_is_read() {
        for place in ["all", "issue", "the slice at 1 s"] {
            let mut report = Sample { slices: 9, requests: 200, ..Sample::default() }.report();
            let histogram = match place {
                "all" => &mut report.latency.histogram,
                "issue" => &mut report.operations[0].latency.histogram,
                _ => &mut report.slices[1].histogram,
            };
            *histogram = "AAAA".to_owned();
            let error = refusal(&serde_json::to_vec(&report).unwrap());
            assert!(error.contains(&format!("histogram of {place}")), "{error}");
        }
    }

    #[test]
    fn a_directory_that_is_a_file_is_named() {
        let (directory, report) = written();
        let path = directory.path().join("file");
        fs::write(&path, "here").unwrap();
        for path in [path.clone(), path.join("below")] {
            let error = write(&path, &report).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"here");
    }

    #[test]
    fn what_is_no_regular_file_is_written_to_and_stays() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), 0o600.into()).unwrap();
        let pipe = at("pipe");
        let reader = std::thread::spawn(move || fs::read(pipe).unwrap());
        replace(&at("pipe"), b"new").unwrap();
        assert_eq!(reader.join().unwrap(), b"new");
        assert!(at("pipe").metadata().unwrap().file_type().is_fifo());
        // As root a device was replaced by a file.
        replace(Path::new("/dev/null"), b"new").unwrap();
        assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
        fs::write(at("file"), "old").unwrap();
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o600)).unwrap();
        for (to, link) in [("file", "link"), ("link", "other"), ("nowhere", "dangling")] {
            symlink(to, at(link)).unwrap();
            replace(&at(link), link.as_bytes()).unwrap();
            assert!(at(link).is_symlink(), "{link}");
            assert_eq!(fs::read(at(link)).unwrap(), link.as_bytes());
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"other");
        assert_eq!(at("file").metadata().unwrap().permissions().mode() & 0o777, 0o600);
        symlink("circle", at("circle")).unwrap();
        let error = replace(&at("circle"), b"new").unwrap_err().to_string();
        assert!(error.contains("circle"), "{error}");
    }

    #[test]
    fn an_open_file_is_written_to_under_its_other_names() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(file.as_file());
        for name in [format!("/proc/self/fd/{descriptor}"), format!("/dev/fd/{descriptor}")] {
            replace(Path::new(&name), name.as_bytes()).unwrap();
            let mut read = String::new();
            std::io::Read::read_to_string(&mut file.as_file(), &mut read).unwrap();
            std::io::Seek::rewind(&mut file.as_file()).unwrap();
            assert!(read.starts_with(&name), "{read}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_taken_is_named_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"new").unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write {}", path.display())), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file");
    }
}
