//! The server under test: one that is there, or one that is started for the run and stopped.

use std::net::SocketAddr;

use crate::drive::session::Endpoint;
use crate::failure::{Failure, Result};
use crate::protocol::Protocol;
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
        match address {
            Address::Start(kind) => {
                check(*kind, workload)?;
                let mut options = options.clone();
                options.floor_body_bytes = payloads.typical_len();
                options.arguments.extend(arguments(*kind, workload));
                let spawned = target::start(*kind, &options)?;
                let host = spawned.address().to_string();
                Ok(Self {
                    target: spawned.report(),
                    pid: Some(spawned.pid()),
                    endpoint: endpoint(*kind, workload, spawned.address(), host),
                    spawned: Some(spawned),
                })
            }
            Address::Remote(remote) => {
                check(remote.kind, workload)?;
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
                };
                let endpoint = endpoint(remote.kind, workload, address, remote.authority());
                Ok(Self { target, pid, endpoint, spawned: None })
            }
        }
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

fn endpoint(kind: Kind, workload: &Workload, address: SocketAddr, host: String) -> Endpoint {
    Endpoint::new(kind.protocol(workload.load.http), address, host)
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
    fn a_process_that_is_not_there_is_refused() {
        assert!(is_there(std::process::id()).is_ok());
        // Beyond the greatest process id there can be.
        let refused = is_there(1 << 23).unwrap_err().to_string();
        assert!(refused.contains("--server-pid") && refused.contains("8388608"), "{refused}");
    }
}
