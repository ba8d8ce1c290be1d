//! What each server promises: its version and its longest message, which it says to anyone who
//! connects, and whether it syncs each message, which only its monitor port says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::config::{CA, Config, address, monitor_address};
use crate::cluster::stream::{Mistake, Promises, Server};
use crate::tls;

/// The first version with all corrections that jeton relies on.
pub const VERSION_MIN: [u32; 3] = [2, 14, 6];
/// Time for one server.
const LIMIT: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// What one server said, or why it said nothing.
pub(super) type Asked = (String, Result<Server, String>);

/// What a server says of itself, to a client and on `/varz`.
#[derive(Deserialize)]
struct Varz {
    server_name: String,
    version: String,
    max_payload: usize,
}

impl Varz {
    fn into_server(self, syncs_always: Option<bool>) -> Server {
        Server {
            name: self.server_name,
            version: Some(self.version),
            message_len_max: Some(self.max_payload),
            syncs_always,
            has_copy: false,
            copy_fault: None,
        }
    }
}

/// `/jsz`. A server that does not sync each message leaves `sync_always` out, and so does one whose
/// JetStream is shut down: that one stores nothing, so it breaks no promise.
#[derive(Deserialize)]
struct Jsz {
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    config: Storage,
}

#[derive(Default, Deserialize)]
struct Storage {
    #[serde(default)]
    sync_always: bool,
}

/// What is wrong with the copy of a server whose JetStream is shut down.
const SHUT: &str = "stores nothing, because its JetStream is shut down, as after a full disk: its log \
    has the reason; restart it when there is space";

impl Jsz {
    fn syncs_always(&self) -> Option<bool> {
        (!self.disabled).then_some(self.config.sync_always)
    }

    fn fault(&self) -> Option<String> {
        self.disabled.then(|| SHUT.to_owned())
    }
}

/// Asks every server and every monitor port at the same time.
pub(super) async fn ask(config: &Config) -> Vec<Asked> {
    let servers = config
        .servers
        .iter()
        .map(|server| async move { (server.clone(), limited(greeting(server)).await) });
    let monitors = config.monitors.iter().map(|monitor| async move {
        (monitor.clone(), limited(monitored(monitor, config.ca.as_deref())).await)
    });
    let (mut servers, monitors) = join(join_all(servers), join_all(monitors)).await;
    servers.extend(monitors);
    servers
}

async fn limited(work: impl Future<Output = Result<Server, String>>) -> Result<Server, String> {
    timeout(LIMIT, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// The line with which a server greets a connection, before any handshake.
async fn greeting(server: &str) -> Result<Server, String> {
    let address = address(server)?;
    let socket = TcpStream::connect((address.host(), address.port())).await;
    let socket = socket.map_err(|error| error.to_string())?;
    let mut line = String::new();
    let mut reader = BufReader::new(socket).take(ANSWER_LEN_MAX as u64);
    reader.read_line(&mut line).await.map_err(|error| error.to_string())?;
    let info = line.strip_prefix("INFO ").ok_or("it does not greet as a NATS server")?;
    let info: Varz = serde_json::from_str(info).map_err(|error| error.to_string())?;
    Ok(info.into_server(None))
}

async fn monitored(monitor: &str, ca: Option<&Path>) -> Result<Server, String> {
    let address = monitor_address(monitor)?;
    let varz: Varz = get(&address, "/varz", ca).await?;
    let jsz: Jsz = get(&address, "/jsz", ca).await?;
    Ok(Server { copy_fault: jsz.fault(), ..varz.into_server(jsz.syncs_always()) })
}

async fn get<T: DeserializeOwned>(
    monitor: &Uri,
    path: &str,
    ca: Option<&Path>,
) -> Result<T, String> {
    let host = monitor.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_tls = monitor.scheme_str() == Some("https");
    let port = monitor.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let authority = monitor.authority().map_or("", |authority| authority.as_str());
    let body = if is_tls {
        let config = tls::client::config_of(CA, ca, None).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let socket = TlsConnector::from(config).connect(name, socket).await;
        exchange(socket.map_err(|error| error.to_string())?, authority, path).await?
    } else {
        exchange(socket, authority, path).await?
    };
    serde_json::from_slice(&body).map_err(|error| format!("{path}: {error}"))
}

async fn exchange(
    socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
    authority: &str,
    path: &str,
) -> Result<Bytes, String> {
    let handshake = http1::handshake(TokioIo::new(socket)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    // Ends with the socket, when the sender is dropped.
    spawn_local(connection);
    let request = Request::get(path).header(header::HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("{path}: {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
    Ok(body.map_err(|error| error.to_string())?.to_bytes())
}

/// Adds the servers, their mistakes, and what could not be found out.
pub(super) fn check(
    asked: Vec<Asked>,
    copies: &[(String, Option<String>)],
    message_len_max: usize,
    mut promises: Promises,
) -> Promises {
    let mut servers: BTreeMap<String, Server> = BTreeMap::new();
    for (address, said) in asked {
        match said {
            Ok(said) => {
                let server = servers.entry(said.name.clone()).or_default();
                let syncs_always = said.syncs_always.or(server.syncs_always);
                let copy_fault = said.copy_fault.or(server.copy_fault.take());
                *server = Server { syncs_always, copy_fault, ..said };
            }
            Err(why) => promises.unverified.push(format!("{address} could not be asked: {why}")),
        }
    }
    for (name, fault) in copies {
        let server = servers.entry(name.clone()).or_default();
        server.name.clone_from(name);
        server.has_copy = true;
        // What the server says of itself is nearer to the cause than what the leader misses.
        server.copy_fault = server.copy_fault.take().or_else(|| fault.clone());
    }
    for server in servers.values() {
        promises.mistakes.extend(mistakes(server, message_len_max));
        promises.unverified.extend(unverified(server));
    }
    promises.servers = servers.into_values().collect();
    promises
}

fn mistakes(server: &Server, message_len_max: usize) -> Vec<Mistake> {
    let mistake = |setting: &str, found: String, needed: String| Mistake {
        place: format!("server {}", server.name),
        setting: setting.to_owned(),
        found,
        needed,
    };
    let mut mistakes = Vec::new();
    if let Some(version) = &server.version
        && !is_new_enough(version)
    {
        let [major, minor, patch] = VERSION_MIN;
        let needed = format!("at least {major}.{minor}.{patch}");
        mistakes.push(mistake("its version", version.clone(), needed));
    }
    if let Some(most) = server.message_len_max
        && most < message_len_max
    {
        let needed = format!("at least {message_len_max}");
        mistakes.push(mistake("max_payload", most.to_string(), needed));
    }
    if server.has_copy && server.syncs_always == Some(false) {
        let found = "not always".to_owned();
        mistakes.push(mistake("sync_interval", found, "always".to_owned()));
    }
    mistakes
}

fn unverified(server: &Server) -> Vec<String> {
    let mut unknown = Vec::new();
    if server.version.is_none() {
        unknown.push("its version and max_payload are");
    }
    let is_shut = server.copy_fault.as_deref() == Some(SHUT);
    if server.has_copy && server.syncs_always.is_none() && !is_shut {
        unknown.push("its sync_interval is");
    }
    let sentence =
        |what| format!("server {}: {what} not known: give its monitor port", server.name);
    unknown.into_iter().map(sentence).collect()
}

/// Whether a server of this version has all corrections that jeton relies on.
#[must_use]
pub fn is_new_enough(version: &str) -> bool {
    parts(version) >= VERSION_MIN
}

/// The three numbers of a version, such as 2.15.1 or 2.15.0-RC.1.
fn parts(version: &str) -> [u32; 3] {
    let plain = version.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|number| number.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, version: &str, max_payload: usize, syncs: Option<bool>) -> Asked {
        let varz = Varz { server_name: name.to_owned(), version: version.to_owned(), max_payload };
        (name.to_owned(), Ok(varz.into_server(syncs)))
    }

    fn said(asked: Vec<Asked>) -> (Vec<String>, Vec<String>) {
        let copies = ["n1", "n2", "n3"].map(|name| (name.to_owned(), None));
        let promises = check(asked, &copies, 2 << 20, Promises::default());
        (promises.mistakes.iter().map(ToString::to_string).collect(), promises.unverified)
    }

    #[test]
    fn servers_that_promise_all_have_no_mistake() {
        let asked = vec![
            server("n1", "2.14.6", 2 << 20, None),
            server("n2", "2.15.1", 8 << 20, None),
            server("n3", "3.0.0-RC.1", 2 << 20, Some(true)),
            server("n1", "2.14.6", 2 << 20, Some(true)),
            server("n2", "2.15.1", 8 << 20, Some(true)),
            // Without a copy it need not sync.
            server("n4", "2.15.1", 2 << 20, Some(false)),
        ];
        assert_eq!(said(asked), (vec![], vec![]));
    }

    #[test]
    fn each_mistake_of_each_server_is_named() {
        let asked = vec![
            server("n1", "2.14.5", 1 << 20, Some(false)),
            server("n2", "2.9.25", 2 << 20, Some(true)),
            server("n3", "2.15.1", 2 << 20, Some(true)),
        ];
        let wrong = [
            "server n1: its version is 2.14.5, but must be at least 2.14.6",
            "server n1: max_payload is 1048576, but must be at least 2097152",
            "server n1: sync_interval is not always, but must be always",
            "server n2: its version is 2.9.25, but must be at least 2.14.6",
        ];
        assert_eq!(said(asked), (wrong.map(str::to_owned).to_vec(), vec![]));
    }

    #[test]
    fn p8_a_server_whose_jetstream_is_shut_down_is_a_fault_of_its_copy_and_no_mistake() {
        let jsz = |text: &str| serde_json::from_str::<Jsz>(text).unwrap();
        let shut = jsz(r#"{"disabled":true,"config":{"max_memory":0,"max_storage":0}}"#);
        let lazy = jsz(r#"{"config":{"sync_interval":120000000000}}"#);
        let right = jsz(r#"{"config":{"sync_always":true}}"#);
        let known = [&shut, &lazy, &right].map(|jsz| (jsz.syncs_always(), jsz.fault().is_some()));
        assert_eq!(known, [(None, true), (Some(false), false), (Some(true), false)]);
        let asked = |name: &str, jsz: &Jsz| {
            let (name, server) = server(name, "2.15.1", 2 << 20, jsz.syncs_always());
            (name, server.map(|server| Server { copy_fault: jsz.fault(), ..server }))
        };
        let asked = vec![asked("n1", &shut), asked("n2", &right), asked("n3", &right)];
        let copies =
            ["n1", "n2", "n3"].map(|name| (name.to_owned(), Some("is offline".to_owned())));
        let promises = check(asked, &copies, 2 << 20, Promises::default());
        assert_eq!((promises.mistakes, promises.unverified), (vec![], vec![]));
        let faults: Vec<_> = promises.servers.into_iter().map(|one| one.copy_fault).collect();
        let offline = Some("is offline".to_owned());
        assert_eq!(faults, [Some(SHUT.to_owned()), offline.clone(), offline]);
    }

    #[test]
    fn what_is_not_known_is_told_and_is_no_mistake() {
        let asked = vec![
            server("n1", "2.15.1", 2 << 20, None),
            server("n2", "2.15.1", 2 << 20, Some(true)),
            ("http://n3:8222".to_owned(), Err("no answer in time".to_owned())),
        ];
        let unknown = [
            "http://n3:8222 could not be asked: no answer in time",
            "server n1: its sync_interval is not known: give its monitor port",
            "server n3: its version and max_payload are not known: give its monitor port",
            "server n3: its sync_interval is not known: give its monitor port",
        ];
        assert_eq!(said(asked), (vec![], unknown.map(str::to_owned).to_vec()));
    }
}
