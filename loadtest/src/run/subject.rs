//! The server under test: one that is there, or one that is started for the run and stopped.

use std::net::SocketAddr;
use std::path::Path;

use crate::drive::session::Endpoint;
use crate::failure::{Failure, Result};
use crate::protocol::{Caller, Protocol};
use crate::quantity::ByteSize;
use crate::report::model::Target;
use crate::target::{self, Options, Spawned};
use crate::target::{Address, Kind, probe, usage};
use crate::traffic::payload::Payloads;
use crate::workload::{Operation, Workload};

/// jeton's own default; beyond it the server must be told.
const JETON_PAYLOAD_MAX: u64 = 64 * 1024;

/// A server that can be asked.
pub struct Subject {
    /// As the report names it.
    pub target: Target,
    /// Its process id, where it was started here or is given.
    pub pid: Option<u32>,
    endpoint: Endpoint,
    spawned: Option<Spawned>,
}

impl Subject {
    /// Finds the server, or starts it. `pid` is that of a server that is there.
    ///
    /// # Errors
    /// The server can't do what the workload asks, can't be found, or does not start.
    pub fn reach(
        address: &Address,
        workload: &Workload,
        payloads: &Payloads,
        options: &Options,
        pid: Option<u32>,
    ) -> Result<Self> {
        let caller = |kind: Kind, host: String| -> Result<Caller> {
            Ok(Caller {
                host,
                key: options.key_file.as_deref().map(|file| key(kind, file)).transpose()?,
            })
        };
        match address {
            Address::Start(kind) => {
                check(*kind, workload)?;
                let caller = caller(*kind, String::new())?;
                let mut options = options.clone();
                options.floor_body_bytes = payloads.typical_len();
                options.arguments.extend(arguments(*kind, workload));
                let spawned = target::start(*kind, &options)?;
                let caller = Caller { host: spawned.address().to_string(), ..caller };
                Ok(Self {
                    target: spawned.report(),
                    pid: Some(spawned.pid()),
                    endpoint: endpoint(*kind, workload, spawned.address(), caller),
                    spawned: Some(spawned),
                })
            }
            Address::Remote(remote) => {
                check(remote.kind, workload)?;
                let caller = caller(remote.kind, remote.authority())?;
                pid.map_or(Ok(()), is_there)?;
                let address = remote.resolve()?;
                let (kind, version) = match probe::server_version(remote.kind, address) {
                    Some((kind, version)) => (kind, Some(version)),
                    None => (remote.kind, None),
                };
                let target = Target {
                    kind: kind.name().to_owned(),
                    address: remote.authority(),
                    version,
                    command: None,
                    config: probe::configuration(kind, address, None),
                };
                let endpoint = endpoint(remote.kind, workload, address, caller);
                Ok(Self { target, pid, endpoint, spawned: None })
            }
        }
    }

    /// Whether it certainly runs on another machine.
    pub fn is_elsewhere(&self) -> bool {
        self.spawned.is_none() && self.pid.is_none() && !self.endpoint.address.ip().is_loopback()
    }

    /// Whom to ask.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A failure during the run, with what the server logged where it was started here.
    pub fn explain(&self, failure: Failure) -> Failure {
        match (&self.spawned, failure) {
            (Some(spawned), Failure::Target { problem, .. }) => spawned.failed(&problem),
            (_, failure) => failure,
        }
    }

    /// Ends a server that was started here, in order.
    ///
    /// # Errors
    /// It had ended before, or had to be killed.
    pub fn stop(self) -> Result<()> {
        self.spawned.map_or(Ok(()), Spawned::stop)
    }
}

fn endpoint(kind: Kind, workload: &Workload, address: SocketAddr, caller: Caller) -> Endpoint {
    Endpoint::new(kind.protocol(workload.load.http), address, caller)
}

/// The longest key that is taken, in bytes; jeton's have 47.
const KEY_LEN_MAX: usize = 1 << 10;

/// The key in `file`, for a server of this kind.
fn key(kind: Kind, file: &Path) -> Result<String> {
    let refuse =
        |problem: &str| Failure::Input(format!("--key-file {}: {problem}", file.display()));
    if kind != Kind::Jeton {
        return Err(refuse(&format!("{} is not asked with a key", kind.name())));
    }
    let text = std::fs::read(file).map_err(|error| refuse(&error.to_string()))?;
    let key = text.trim_ascii();
    if key.is_empty() || key.len() > KEY_LEN_MAX || !key.iter().all(u8::is_ascii_graphic) {
        return Err(refuse("must hold one key and nothing else"));
    }
    Ok(String::from_utf8_lossy(key).into_owned())
}

/// Without its figures the process id would have been given in vain.
fn is_there(pid: u32) -> Result<()> {
    usage::cpu(pid).map(drop).map_err(|failure| Failure::Input(format!("--server-pid: {failure}")))
}

/// Refuses what a server of this kind can't do, before anything is started.
fn check(kind: Kind, workload: &Workload) -> Result<()> {
    let protocol = kind.protocol(workload.load.http);
    let unsupported = |operation: &&Operation| {
        workload.mix.weight(**operation) > 0.0 && !protocol.supports(**operation)
    };
    if let Some(operation) = Operation::ALL.iter().find(unsupported) {
        let name = operation.name();
        return Err(Failure::Input(format!(
            "mix.{name}: {} has nothing that reads and removes in one step, so it can't {name}; \
             leave it out of the mix",
            kind.name()
        )));
    }
    if protocol == Protocol::Floor && workload.load.http == crate::workload::Http::Two {
        return Err(Failure::Input("load.http: the floor speaks HTTP/1.1 only".to_owned()));
    }
    Ok(())
}

/// What a server must be told so that it takes the workload at all.
fn arguments(kind: Kind, workload: &Workload) -> Vec<String> {
    let size = workload.payload.size;
    if kind == Kind::Jeton && size > ByteSize(JETON_PAYLOAD_MAX) && workload.payload.file.is_none()
    {
        return vec!["--max-payload".to_owned(), size.0.to_string()];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_all_that_is_in_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        for (text, expected) in [
            ("jeton_1\n", Some("jeton_1")),
            ("", None),
            ("two words", None),
            ("a\r\nHost: b", None),
            (&*"x".repeat(KEY_LEN_MAX + 1), None),
        ] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(key(Kind::Jeton, &file).ok().as_deref(), expected);
        }
        std::fs::write(&file, "jeton_1").expect("written");
        let refused = key(Kind::Redis, &file).unwrap_err().to_string();
        assert!(refused.contains("--key-file") && refused.contains("redis"), "{refused}");
        assert!(key(Kind::Jeton, &folder.path().join("none")).is_err());
    }

    #[test]
    fn a_process_that_is_not_there_is_refused() {
        assert!(is_there(std::process::id()).is_ok());
        // Beyond the greatest process id there can be.
        let refused = is_there(1 << 23).unwrap_err().to_string();
        assert!(refused.contains("--server-pid") && refused.contains("8388608"), "{refused}");
    }
}
