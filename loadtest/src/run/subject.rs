//! The server under test: a running one, or one that is started for the run and stopped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use crate::drive::session::Endpoint;
use crate::failure::{Failure, Result};
use crate::protocol::{Caller, Protocol};
use crate::quantity::ByteSize;
use crate::report::model::Target;
use crate::secret;
use crate::target::access::Access;
use crate::target::usage::Watched;
use crate::target::{self, Options, Spawned};
use crate::target::{Address, Kind, Remote, probe};
use crate::tls::{self, Tls};
use crate::traffic::payload::Payloads;
use crate::workload::{Connect, Operation, Workload};

/// jeton's own default; larger payloads need its flag.
const JETON_PAYLOAD_MAX: u64 = 64 * 1024;

/// A server that can be asked.
pub struct Subject {
    /// As the report names it.
    pub target: Target,
    /// Its process, where it was started here or its number is given.
    pub process: Option<Watched>,
    /// As an error names it.
    called: String,
    endpoints: Vec<Endpoint>,
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
            Address::Start(kind) => Self::start(*kind, workload, payloads, options),
            Address::Remote(remote) => Self::find(remote, workload, options, pid),
            Address::Nodes(nodes) => Self::find_all(nodes, workload, options),
        }
    }

    fn start(
        kind: Kind,
        workload: &Workload,
        payloads: &Payloads,
        options: &Options,
    ) -> Result<Self> {
        check(kind, workload, options.tls)?;
        let given = given(kind, options)?;
        let mut options = options.clone();
        options.floor_body_bytes = payloads.typical_len();
        options.arguments.extend(arguments(kind, workload));
        let spawned = target::start(kind, &options)?;
        let made = spawned.access().clone();
        let access = Access {
            key: made.key.or(given.key),
            credentials: made.credentials.or(given.credentials),
            ..made
        };
        let host = spawned.address().to_string();
        Ok(Self {
            target: spawned.report(),
            process: Watched::new(spawned.pid()).ok(),
            called: host.clone(),
            endpoints: vec![endpoint(kind, workload, spawned.address(), host, access)],
            spawned: Some(spawned),
        })
    }

    fn find(
        remote: &Remote,
        workload: &Workload,
        options: &Options,
        pid: Option<u32>,
    ) -> Result<Self> {
        check_remote(remote, options)?;
        check(remote.kind, workload, remote.is_tls)?;
        let mut access = given(remote.kind, options)?;
        if remote.is_tls {
            let alpn = (remote.kind == Kind::Jeton).then_some(tls::HTTP1);
            access.tls = Some(Tls::new(&options.trust, &remote.host, alpn)?);
        }
        let process = pid.map(is_there).transpose()?;
        let address = remote.resolve()?;
        target::access::check(remote, address, &access)?;
        let (kind, version) = match probe::server_version(remote.kind, address, &access) {
            Some((kind, version)) => (kind, Some(version)),
            None => (remote.kind, None),
        };
        let target = Target {
            kind: kind.name().to_owned(),
            address: remote.authority(),
            version,
            command: None,
            config: configuration(kind, address, options.admin, &access)?,
            nodes: Vec::new(),
        };
        let endpoint = endpoint(remote.kind, workload, address, remote.authority(), access);
        let (called, endpoints) = (remote.to_string(), vec![endpoint]);
        Ok(Self { target, process, called, endpoints, spawned: None })
    }

    /// All nodes of a cluster. Each must be there when the run begins.
    fn find_all(nodes: &[Remote], workload: &Workload, options: &Options) -> Result<Self> {
        check_shares(nodes.len(), workload)?;
        let found = nodes.iter().map(|node| Self::find(node, workload, options, None));
        let mut found = found.collect::<Result<Vec<_>>>()?.into_iter();
        let Some(mut all) = found.next() else {
            return Err(Failure::Input("--target: no server is given".to_owned()));
        };
        all.endpoints.extend(found.flat_map(|one| one.endpoints));
        all.called = Address::Nodes(nodes.to_vec()).to_string();
        all.target.nodes = nodes.iter().map(Remote::authority).collect();
        all.target.address = all.target.nodes.join(", ");
        Ok(all)
    }

    /// Whether it certainly runs on another machine.
    pub fn is_elsewhere(&self) -> bool {
        self.spawned.is_none()
            && self.process.is_none()
            && !self.endpoints.iter().any(|one| one.address.ip().is_loopback())
    }

    /// Whether TLS is spoken.
    pub fn is_by_tls(&self) -> bool {
        self.endpoints.iter().any(|one| one.tls.is_some())
    }

    /// Where and how it is asked; one for each node.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// A failure during the run, with what the server logged where it was started here.
    pub fn explain(&self, failure: Failure) -> Failure {
        match (&self.spawned, failure) {
            (Some(spawned), Failure::Target { problem, .. }) => spawned.failed(&problem),
            (None, Failure::Target { problem, .. }) => {
                Failure::Target { target: self.called.clone(), problem }
            }
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

/// Each thread has tokens of its own: only with a connection to each node are they looked for on
/// another than the one that issued them.
fn check_shares(nodes: usize, workload: &Workload) -> Result<()> {
    let load = &workload.load;
    if load.connections / load.threads.max(1) >= nodes {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "--connections (load.connections): is {}, and must be {} or more: one to each of the {nodes} \
         targets for each of {} threads",
        load.connections,
        nodes * load.threads.max(1),
        load.threads.max(1)
    )))
}

/// How a server that is there says it is configured. jeton says it on its admin listener alone, which
/// asks for TLS as the other one does, and for a key of its own.
fn configuration(
    kind: Kind,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    access: &Access,
) -> Result<Option<BTreeMap<String, String>>> {
    let Some(admin) = admin else {
        return Ok(probe::configuration(kind, address, None, access));
    };
    let config = probe::jeton_configuration(admin, access);
    config.map(Some).map_err(|failure| Failure::Input(format!("--server-admin: {failure}")))
}

/// `host` is the server as it is called.
fn endpoint(
    kind: Kind,
    workload: &Workload,
    address: SocketAddr,
    host: String,
    access: Access,
) -> Endpoint {
    let Access { tls, key, credentials, .. } = access;
    let protocol = kind.protocol(workload.load.http);
    let alpn = match protocol {
        Protocol::Http1 | Protocol::Floor => Some(tls::HTTP1),
        Protocol::Http2 => Some(tls::HTTP2),
        Protocol::Resp | Protocol::Memcached => None,
    };
    let caller = Caller { host, is_tls: tls.is_some(), key, credentials, replicas: 0 };
    Endpoint::new(protocol, address, caller).by(tls.map(|tls| tls.speaking(alpn)))
}

/// The secrets that files hold, for a server of this kind.
fn given(kind: Kind, options: &Options) -> Result<Access> {
    let refuse = |flag: &str, file: &Path, problem: &str| {
        Failure::Input(format!("{flag} {}: {problem}", file.display()))
    };
    let name = kind.name();
    let is_store = matches!(kind, Kind::Redis | Kind::Valkey);
    let mut access = Access::default();
    if let Some(file) = &options.key_file {
        if kind != Kind::Jeton {
            let instead = if is_store { ": its password is given with --auth-file" } else { "" };
            let problem = format!("{name} takes no API key{instead}");
            return Err(refuse("--key-file", file, &problem));
        }
        access.key = Some(secret::key("--key-file", file)?);
    }
    if let Some(file) = &options.admin_key_file {
        access.admin_key = Some(secret::key("--server-admin-key-file", file)?);
    }
    if let Some(file) = &options.auth_file {
        if !is_store {
            let instead =
                if kind == Kind::Jeton { ": its key is given with --key-file" } else { "" };
            let problem = format!("{name} takes no password{instead}");
            return Err(refuse("--auth-file", file, &problem));
        }
        access.credentials = Some(secret::credentials("--auth-file", file)?);
    }
    Ok(access)
}

/// Refuses flags that mean nothing for a server that is there.
fn check_remote(remote: &Remote, options: &Options) -> Result<()> {
    let by_tls = Remote { is_tls: true, ..remote.clone() };
    let problem = if options.tls {
        match remote.kind {
            Kind::Memcached | Kind::Pogocache => {
                format!("--tls: the harness speaks to {} without TLS only", remote.kind.name())
            }
            _ => format!(
                "--tls: is for a server that the harness starts; for a running one give --target \
                 {by_tls}"
            ),
        }
    } else if options.with_key {
        let flag = if remote.kind == Kind::Jeton { "--key-file" } else { "--auth-file" };
        format!(
            "--with-key: is for a server that the harness starts; for a running one give {flag}"
        )
    } else if options.trust.is_given() && !remote.is_tls {
        let flags = if options.trust.ca.is_some() { "--ca" } else { "--cert and --key" };
        format!("{flags}: the target has no TLS: is {by_tls} meant?")
    } else {
        return Ok(());
    };
    Err(Failure::Input(problem))
}

/// A process id that shows no figures is refused.
fn is_there(pid: u32) -> Result<Watched> {
    Watched::new(pid).map_err(|failure| Failure::Input(format!("--server-pid: {failure}")))
}

/// Refuses what a server of this kind can't do, before anything is started.
fn check(kind: Kind, workload: &Workload, is_tls: bool) -> Result<()> {
    let protocol = kind.protocol(workload.load.http);
    let unsupported = |operation: &&Operation| {
        workload.mix.weight(**operation) > 0.0 && !protocol.supports(**operation)
    };
    if let Some(operation) = Operation::ALL.iter().find(unsupported) {
        let name = operation.name();
        return Err(Failure::Input(format!(
            "mix.{name}: {} cannot read and remove in one step; leave {name} out of the mix",
            kind.name()
        )));
    }
    if matches!(workload.load.connect, Connect::Resumed | Connect::Both) && !is_tls {
        return Err(Failure::Input(
            "load.connect: resumed and both are kinds of TLS handshakes: give --tls, a --target that \
             begins with https://, or --connect full for connections without TLS"
                .to_owned(),
        ));
    }
    if protocol == Protocol::Floor && workload.load.http == crate::workload::Http::Two {
        return Err(Failure::Input("load.http: the floor speaks HTTP/1.1 only".to_owned()));
    }
    Ok(())
}

/// Arguments that a server needs to accept the workload at all.
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
