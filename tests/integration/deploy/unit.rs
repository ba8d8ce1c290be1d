//! The unit for systemd.

use std::process::Command;

use super::{file, path};
use crate::server::{jeton, output};
use crate::support::not_run;

/// Exposure by `systemd-analyze security`, times ten.
const EXPOSURE_MAX: &str = "20";

#[test]
fn p9_the_unit_writes_no_memory_to_disk() {
    let unit = file("jeton.service");
    for line in ["LimitCORE=0", "MemorySwapMax=0", "UMask=0077", "StateDirectoryMode=0700"] {
        assert!(unit.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn a_supervisor_restarts_neither_after_a_mistake_nor_against_a_person() {
    let unit = file("jeton.service");
    assert!(unit.contains("\nRestart=on-failure\n"));
    // The exit codes 2 and 4 of the page about commands.
    assert!(unit.contains("\nRestartPreventExitStatus=2 4\n"));
}

#[test]
fn the_unit_gives_little_away() {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]);
    match analyze.arg(path("jeton.service")).output() {
        Err(error) => not_run("the unit", &format!("systemd-analyze: {error}")),
        Ok(analyzed) => {
            let said = String::from_utf8_lossy(&analyzed.stderr).into_owned();
            if said.contains("unrecognized option") {
                return not_run("the unit", "systemd-analyze is older than 250");
            }
            let table = String::from_utf8_lossy(&analyzed.stdout).into_owned();
            assert!(analyzed.status.success(), "{table}{said}");
        }
    }
}

#[test]
fn systemd_understands_each_line_of_the_unit() {
    let dir = tempfile::tempdir().expect("a folder");
    // Programs and pages that this machine does not have would be reported too.
    let unit = file("jeton.service").replace("/usr/bin/jeton", env!("CARGO_BIN_EXE_jeton"));
    let unit: String = unit
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .fold(String::new(), |text, line| text + line + "\n");
    let copy = dir.path().join("jeton.service");
    std::fs::write(&copy, unit).expect("written");
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output() {
        Err(error) => not_run("the unit", &format!("systemd-analyze: {error}")),
        Ok(verified) => {
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            // It reads the units of the machine too, and may say something about them.
            let about = said.lines().filter(|line| line.contains("jeton.service"));
            let about: Vec<_> = about.collect();
            assert!(about.is_empty(), "{about:?}");
        }
    }
}

#[test]
fn the_configuration_of_the_package_is_valid() {
    let checked = output(jeton().args(["config", "check"]).arg(path("debian/jeton.toml")));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{said}");
    // Also with each setting that it suggests; the files that these name are not there.
    let suggested = file("debian/jeton.toml");
    let is_setting = |line: &str| line.starts_with('#') && line.contains(" = ");
    let lines = suggested.lines().map(|line| if is_setting(line) { &line[1..] } else { line });
    let dir = tempfile::tempdir().expect("a folder");
    let copy = dir.path().join("jeton.toml");
    std::fs::write(&copy, lines.collect::<Vec<_>>().join("\n")).expect("written");
    let checked = output(jeton().args(["config", "check"]).arg(&copy));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!said.contains("unknown key") && !said.contains("must be"), "{said}");
}
