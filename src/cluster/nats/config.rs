//! Where the stream is, and the names in it.

use std::path::PathBuf;

use async_nats::ServerAddr;
use http::Uri;

use crate::cluster::config::{is_name, name_form};

/// The setting that names the CA.
pub(super) const CA: &str = "cluster-ca";

/// How to reach the stream.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers, such as `nats://10.0.0.1:4222` or `tls://nats.example:4222`.
    pub servers: Vec<String>,
    /// The name of the cluster. The stream is called `jeton-` and this name.
    pub name: String,
    /// The last part of the subject to which this node publishes.
    pub node: String,
    /// The file with the JWT and the seed of the user. Read again at each connect.
    pub credentials: Option<PathBuf>,
    /// The CA of the servers' certificates; with it TLS is required. Read again at each connect.
    pub ca: Option<PathBuf>,
    /// The servers' monitor ports, such as `http://10.0.0.1:8222`.
    pub monitors: Vec<String>,
    /// The longest message that will be proposed, in bytes.
    pub message_len_max: usize,
}

impl Config {
    /// Everything that is wrong in it, each as a sentence.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.servers.is_empty() {
            mistakes.push("no NATS server is given".to_owned());
        }
        mistakes.extend(self.servers.iter().filter_map(|server| address(server).err()));
        for (what, name) in [("name of the cluster", &self.name), ("name of the node", &self.node)]
        {
            if !is_name(name) {
                mistakes.push(format!("the {what} {}", name_form()));
            }
        }
        for monitor in &self.monitors {
            if let Err(mistake) = monitor_address(monitor) {
                mistakes.push(mistake);
            }
        }
        mistakes
    }

    pub(super) fn names(&self) -> Names {
        Names::new(&self.name)
    }
}

/// The address of a server.
pub(super) fn address(server: &str) -> Result<ServerAddr, String> {
    if server.contains('@') {
        // Not quoted: it may have a password.
        return Err(
            "a NATS server is given with a user: put it into the credentials file".to_owned()
        );
    }
    let address: ServerAddr = server.parse().map_err(|_| {
        format!("the NATS server {server:?} is not an address such as nats://HOST:4222")
    })?;
    if address.host().is_empty() {
        return Err(format!("the NATS server {server:?} has no host"));
    }
    if address.is_websocket() {
        return Err(format!("the NATS server {server:?} is a WebSocket; give its nats:// address"));
    }
    Ok(address)
}

/// The address of a monitor port.
pub(super) fn monitor_address(monitor: &str) -> Result<Uri, String> {
    let address: Option<Uri> = monitor.parse().ok();
    let is_http = |uri: &Uri| {
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        is_known && uri.host().is_some() && matches!(uri.path(), "" | "/") && uri.query().is_none()
    };
    address.filter(is_http).ok_or_else(|| {
        format!("the monitor {monitor:?} is not an address such as http://HOST:8222")
    })
}

/// The names of a stream and of its subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The stream.
    pub stream: String,
    /// What the stream stores: one subject for each node.
    pub subjects: String,
    /// Where the leader publishes what was stored.
    pub tail: String,
    prefix: String,
}

impl Names {
    /// The names for this cluster.
    #[must_use]
    pub fn new(cluster: &str) -> Self {
        let prefix = format!("jeton.{cluster}");
        Self {
            stream: format!("jeton-{cluster}"),
            subjects: format!("{prefix}.from.*"),
            tail: format!("{prefix}.tail"),
            prefix,
        }
    }

    /// The subject to which this node publishes.
    #[must_use]
    pub fn subject(&self, node: &str) -> String {
        format!("{}.from.{node}", self.prefix)
    }

    /// The begin of the subjects on which this node gets answers.
    #[must_use]
    pub fn inbox(&self, node: &str) -> String {
        format!("_INBOX.{}.{node}", self.prefix)
    }

    /// The subject of a request about the stream, such as `STREAM.INFO`.
    pub(super) fn api(&self, request: &str) -> String {
        format!("$JS.API.{request}.{}", self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: &str) -> Config {
        Config {
            servers: vec![server.to_owned()],
            name: "shop".to_owned(),
            node: "a1".to_owned(),
            credentials: None,
            ca: None,
            monitors: Vec::new(),
            message_len_max: 1 << 20,
        }
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let mut wrong = config("nats://ann:secret@host");
        // As it stands it cannot be parsed, and a token has no colon.
        wrong.servers.push("nats://ann:secret#x@host".to_owned());
        wrong.servers.push("nats://secret@host".to_owned());
        wrong.servers.push("ws://host".to_owned());
        wrong.servers.push("http://host".to_owned());
        wrong.name = "a.b".to_owned();
        wrong.node = String::new();
        wrong.monitors = vec!["ftp://host".to_owned()];
        let mistakes = wrong.mistakes();
        assert_eq!(mistakes.len(), 8, "{mistakes:#?}");
        assert!(mistakes.iter().all(|mistake| !mistake.contains("secret")), "{mistakes:#?}");
    }

    #[test]
    fn plain_addresses_are_taken() {
        for server in ["nats://10.0.0.1:4222", "tls://nats.example", "host:4222", "nats://[::1]:4"]
        {
            assert_eq!(config(server).mistakes(), Vec::<String>::new(), "{server}");
        }
    }

    #[test]
    fn tail_is_no_subject_of_the_stream() {
        let names = Names::new("shop");
        assert_eq!(names.subjects, "jeton.shop.from.*");
        assert_eq!(names.subject("a1"), "jeton.shop.from.a1");
        assert_eq!(names.tail, "jeton.shop.tail");
        assert_eq!(names.inbox("a1"), "_INBOX.jeton.shop.a1");
        assert_eq!(names.api("STREAM.INFO"), "$JS.API.STREAM.INFO.jeton-shop");
    }
}
