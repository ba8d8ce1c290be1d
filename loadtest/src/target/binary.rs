//! Which jeton is started, and where programs and files are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{environment, process};
use crate::failure::{Failure, Result, io};

/// The environment variable that names jeton's binary.
const VARIABLE: &str = "JETON_BIN";

/// Where jeton's binary is: the one given; else the one the environment names; else the one of the
/// workspace this harness was built in, which is built first; else one beside the harness or on
/// the PATH.
///
/// # Errors
/// The one that is named is not there, the workspace does not build, or there is none anywhere.
pub(super) fn jeton(given: Option<&Path>) -> Result<PathBuf> {
    let named = given
        .map(|path| (path.to_owned(), "--server-bin"))
        .or_else(|| std::env::var_os(VARIABLE).map(|path| (PathBuf::from(path), VARIABLE)));
    if let Some((path, by)) = named {
        return if path.is_file() { Ok(path) } else { Err(not_there(&path, by)) };
    }
    let mut tried = vec![format!("neither --server-bin nor {VARIABLE} is given")];
    match workspace() {
        Some(root) if on_path(&cargo()).is_some() => return build(&root),
        Some(root) => tried.push(format!("{} cannot be built: no cargo", root.display())),
        None => tried.push("the repository that the harness was built in is gone".to_owned()),
    }
    if let Ok(harness) = std::env::current_exe() {
        let beside = harness.with_file_name("jeton");
        if beside.is_file() {
            return Ok(beside);
        }
        tried.push(format!("{} does not exist", beside.display()));
    }
    on_path("jeton".as_ref()).ok_or_else(|| {
        tried.push("jeton is not on the PATH".to_owned());
        Failure::Target { target: "jeton".to_owned(), problem: tried.join("; ") }
    })
}

fn not_there(path: &Path, by: &str) -> Failure {
    Failure::Target {
        target: "jeton".to_owned(),
        problem: format!("{}, which {by} names, is not a file", path.display()),
    }
}

/// The program of this name, or at this path.
pub(super) fn on_path(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The repository this harness was built in, where it still holds jeton.
pub(super) fn workspace() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).ok()?;
    let manifest: toml::Table = manifest.parse().ok()?;
    let name = manifest.get("package")?.get("name")?.as_str()?;
    (name == "jeton").then(|| root.to_owned())
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Builds jeton with its progress on standard error; gives the binary.
fn build(root: &Path) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--locked", "-p", "jeton", "--bin", "jeton"];
    let mut command = Command::new(cargo());
    command.args(arguments).args(["--message-format", "json-render-diagnostics"]).current_dir(root);
    environment::for_tool(&mut command);
    let output = process::output_unless_stopped(&command, Stdio::piped(), Stdio::inherit())
        .map_err(io("start cargo"))?;
    let failed = |problem: &str| Failure::Target {
        target: "jeton".to_owned(),
        problem: format!("cargo {} in {}: {problem}", arguments.join(" "), root.display()),
    };
    if !output.status.success() {
        return Err(failed(&output.status.to_string()));
    }
    executable(&output.stdout).ok_or_else(|| failed("it names no executable"))
}

/// The executable of `jeton` among cargo's messages.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    let messages = messages.split(|&byte| byte == b'\n');
    let mut messages = messages.filter_map(|line| serde_json::from_slice(line).ok());
    messages.find_map(|message: serde_json::Value| {
        let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == "jeton";
        ours.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    })
}

/// Where temporary data goes: the one given; else cargo's target directory where the harness lies
/// in one; else `/var/tmp`, which is on a disk where `/tmp` may be memory.
pub(super) fn scratch(given: Option<&Path>) -> PathBuf {
    let harness = std::env::current_exe().unwrap_or_default();
    let target = || {
        let mut folders = harness.ancestors().skip(1);
        // Cargo writes the first into a directory that it makes, the second into any it builds in.
        let is_target = |folder: &&Path| {
            ["CACHEDIR.TAG", ".rustc_info.json"].iter().any(|name| folder.join(name).is_file())
        };
        folders.find(is_target).map(Path::to_owned)
    };
    given.map(Path::to_owned).or_else(target).unwrap_or_else(|| PathBuf::from("/var/tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_given_must_be_there() {
        let error = jeton(Some("/no/such/jeton".as_ref())).expect_err("it is missing").to_string();
        assert!(error.contains("/no/such/jeton, which --server-bin names"), "{error}");
        let this = std::env::current_exe().expect("this program");
        assert_eq!(jeton(Some(&this)).expect("it is there"), this);
    }

    #[test]
    fn the_executable_is_read_from_the_messages() {
        let messages =
            br#"{"reason":"compiler-artifact","target":{"name":"bytes"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"jeton"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"jeton"},"executable":"/x/jeton"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/x/jeton")));
        assert_eq!(executable(b"{}"), None);
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh".as_ref()).is_some_and(|path| path.is_absolute()));
        assert_eq!(on_path("no-such-program-anywhere".as_ref()), None);
        assert_eq!(on_path("/no/such/program".as_ref()), None);
    }

    #[test]
    fn scratch_lies_where_cargo_builds() {
        let folder = scratch(None).canonicalize().expect("cargo has made it");
        let program = std::env::current_exe().and_then(std::fs::canonicalize).expect("it runs");
        assert!(
            program.starts_with(&folder),
            "{} is not in {}",
            program.display(),
            folder.display()
        );
        assert_eq!(scratch(Some("/x".as_ref())), PathBuf::from("/x"));
    }
}
