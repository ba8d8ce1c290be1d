//! What a child process gets of the harness's environment. A server is measured as users run it:
//! nothing that the caller happens to have set reaches it, such as `JETON_SYNC` or `MALLOC_CONF`.

use std::ffi::OsStr;
use std::process::Command;

use crate::failure::{Failure, Result};

/// What a server keeps beside [`KEPT_BEGINS`]: where programs, libraries and folders are, and what
/// tools that watch it need.
const KEPT: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    "LLVM_PROFILE_FILE",
];
/// And how names begin that it keeps.
const KEPT_BEGINS: [&str; 1] = ["LC_"];

/// Leaves a server nothing but the least that programs need.
pub(super) fn for_server(command: &mut Command) {
    command.env_clear();
    for (name, value) in std::env::vars_os().filter(|(name, _)| is_kept(name)) {
        command.env(name, value);
    }
}

/// Takes from git, cargo and other tools what would turn them to another repository or package: all
/// of `JETON_*`; of `GIT_*` what does not configure; of `CARGO_*` what cargo sets for one package.
pub fn for_tool(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| misleads(name)) {
        command.env_remove(name);
    }
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        KEPT.contains(&name) || KEPT_BEGINS.iter().any(|begin| name.starts_with(begin))
    })
}

fn misleads(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    if name.starts_with("GIT_") {
        return !name.starts_with("GIT_CONFIG") && !name.starts_with("GIT_SSL");
    }
    let of_one_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    name.starts_with("JETON_")
        || name == "CARGO_PRIMARY_PACKAGE"
        || of_one_package.iter().any(|begin| name.starts_with(begin))
}

/// A command that starts `program` with further variables, each `NAME=VALUE`. They stand in the
/// command itself, so that a report shows them.
pub(super) fn command_with(program: &OsStr, variables: &[String]) -> Result<Command> {
    if variables.is_empty() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("env");
    for variable in variables {
        match variable.split_once('=') {
            Some((name, _)) if !name.is_empty() && !name.starts_with('-') => command.arg(variable),
            _ => {
                let problem = format!("--server-env {variable}: must be NAME=VALUE");
                return Err(Failure::Input(problem));
            }
        };
    }
    command.arg(program);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_server_is_not_kept() {
        for name in
            ["JETON_SYNC", "JETON_AUDIT", "RUST_LOG", "MALLOC_CONF", "LD_PRELOAD", "GIT_DIR"]
        {
            assert!(!is_kept(name.as_ref()), "{name}");
        }
        for name in ["PATH", "HOME", "LC_ALL", "TMPDIR"] {
            assert!(is_kept(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn a_tool_is_not_turned_to_another_repository_or_package() {
        for name in
            ["JETON_BIN", "GIT_DIR", "GIT_INDEX_FILE", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"]
        {
            assert!(misleads(name.as_ref()), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "GIT_CONFIG_COUNT", "RUSTFLAGS", "PATH"] {
            assert!(!misleads(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn a_variable_needs_a_name_and_a_value() {
        let command = command_with("jeton".as_ref(), &["A=b=c".to_owned()]).expect("right");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["A=b=c", "jeton"]);
        for wrong in ["A", "=b", "-i=1", ""] {
            let error = command_with("jeton".as_ref(), &[wrong.to_owned()]).expect_err(wrong);
            assert!(error.to_string().contains("NAME=VALUE"), "{error}");
        }
    }
}
