//! The program nats-server: where it is, and whether it is new enough. It is never downloaded.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::failure::DemoFailure;
use crate::cluster::nats::is_new_enough;

const NAME: &str = "nats-server";

/// A nats-server that is new enough.
pub(super) struct NatsServer {
    pub(super) program: PathBuf,
    pub(super) version: String,
}

impl NatsServer {
    /// The program in `given`, or the one on the PATH.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, DemoFailure> {
        let program = given.unwrap_or(Path::new(NAME)).to_owned();
        let said = Command::new(&program).arg("--version").stdin(Stdio::null()).output();
        let said = said.map_err(|error| match (error.kind(), given) {
            (io::ErrorKind::NotFound, None) => {
                DemoFailure::NatsServer { why: format!("{NAME} is not on the PATH") }
            }
            _ => DemoFailure::nats_server(&program, &error.to_string()),
        })?;
        let text = String::from_utf8_lossy(&said.stdout);
        let Some(version) = version_of(&text).filter(|_| said.status.success()) else {
            return Err(DemoFailure::nats_server(&program, "this is not a nats-server"));
        };
        if !is_new_enough(version) {
            return Err(DemoFailure::nats_server(&program, &format!("{version} is too old")));
        }
        Ok(Self { program, version: version.to_owned() })
    }
}

/// The version in `nats-server: v2.15.1`.
fn version_of(text: &str) -> Option<&str> {
    let version = text.trim().strip_prefix("nats-server: v")?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_of_a_nats_server_has_a_version() {
        assert_eq!(version_of("nats-server: v2.15.1\n"), Some("2.15.1"));
        for text in ["", "curl 8.5.0", "nats-server: ", "nats-server: vX", "v2.15.1"] {
            assert_eq!(version_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_program_that_is_none_is_refused_with_the_command_that_installs_one() {
        for (program, why) in [
            ("/does/not/exist", "No such file"),
            ("/", "ermission denied"),
            ("true", "this is not a nats-server"),
            ("false", "this is not a nats-server"),
        ] {
            let Err(refused) = NatsServer::find(Some(Path::new(program))) else {
                panic!("{program} was accepted");
            };
            let text = refused.to_string();
            assert!(text.contains(program) && text.contains(why), "{text}");
            assert!(text.contains("go install ") && refused.code() == 2, "{text}");
        }
    }
}
