//! Which server is asked, and where it is.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::patience::Patience;
use crate::target::kind::Kind;

/// How long one address may take to accept the first connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Servers that one run asks.
const NODES_MAX: usize = 16;

/// A server that is to be asked, as `--target` names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// One that the harness starts and stops.
    Start(Kind),
    /// A running one.
    Remote(Remote),
    /// Several nodes of one cluster, at least two.
    Nodes(Vec<Remote>),
}

/// Where a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remote {
    /// The kind of server there.
    pub kind: Kind,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    /// 1 to 65,535.
    pub port: u16,
}

impl Address {
    /// Reads `jeton`, `jeton-resp`, `floor`, `redis`, `valkey`, `memcached`, `pogocache`, or a URL
    /// `http://HOST:PORT`, `https://…`, `resp://…` and `resps://…` (jeton in the protocol of Redis),
    /// `redis://…`, `rediss://…`, `valkey://…`, `valkeys://…`,
    /// `memcached://…`, `pogocache://…`; or several URLs of jeton with commas, the nodes of a cluster.
    ///
    /// # Errors
    /// [`Failure::Input`] says what is wrong with it, or what the harness does not do.
    pub fn parse(text: &str) -> Result<Self> {
        match text.contains(',') {
            true => nodes(text),
            false => Self::parse_one(text),
        }
    }

    fn parse_one(text: &str) -> Result<Self> {
        // The part before an `@` may be a password.
        let shown = match (text.split_once("://"), text.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
            (None, Some((_, host))) => format!("…@{host}"),
            _ => text.to_owned(),
        };
        let refuse = |problem: &str| Failure::Input(format!("--target {shown}: {problem}"));
        if let Some(kind) = Kind::from_word(text) {
            return Ok(Self::Start(kind));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            refuse(
                "neither jeton, jeton-resp, floor, redis, valkey, memcached, pogocache nor a URL such \
                 as http://HOST:PORT",
            )
        })?;
        let (kind, is_tls, default_port) = Kind::from_scheme(scheme).ok_or_else(|| {
            refuse(
                "the scheme must be http, https, resp, resps, redis, rediss, valkey, valkeys, \
                 memcached or pogocache",
            )
        })?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(refuse(
                "other users can see a user and a password here: give them in a file, with \
                 --auth-file",
            ));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(refuse("only host and port can be given, without a path"));
        }
        let (host, port) = split_port(authority).map_err(|problem| refuse(&problem))?;
        let port = port.unwrap_or(default_port);
        Ok(Self::Remote(Remote { kind, is_tls, host: host.to_owned(), port }))
    }
}

impl FromStr for Address {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(kind) => f.write_str(kind.name()),
            Self::Remote(remote) => remote.fmt(f),
            Self::Nodes(nodes) => {
                let texts: Vec<String> = nodes.iter().map(Remote::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.scheme(self.is_tls), self.authority())
    }
}

impl Remote {
    /// Host and port as a URL or a Host header has them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Looks the name up and gives the first of its addresses that accepts a connection.
    ///
    /// # Errors
    /// [`Failure::Target`] where the name is unknown or no server listens.
    pub fn resolve(&self) -> Result<SocketAddr> {
        let failed = |problem: String| Failure::Target { target: self.to_string(), problem };
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| failed(format!("the host cannot be looked up: {error}")))?;
        let mut problem = "the host has no address".to_owned();
        for address in addresses {
            match Patience::of(CONNECT_TIME).connect(address) {
                Ok(_) => return Ok(address),
                Err(error) => problem = format!("no connection to {address}: {error}"),
            }
        }
        Err(failed(format!("{problem}; is a server running there?")))
    }
}

/// Reads `http://a,http://b,http://c`.
fn nodes(text: &str) -> Result<Address> {
    let mut nodes: Vec<Remote> = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let Address::Remote(node) = Address::parse_one(part)? else {
            let problem =
                "several targets are running servers, each a URL such as http://HOST:PORT";
            return Err(Failure::Input(format!("--target {part}: {problem}")));
        };
        let refuse = |problem: String| Err(Failure::Input(format!("--target {node}: {problem}")));
        if node.kind != Kind::Jeton {
            return refuse("several targets are the nodes of a jeton cluster".to_owned());
        }
        if nodes.contains(&node) {
            return refuse("is given twice".to_owned());
        }
        if nodes.first().is_some_and(|first| first.is_tls != node.is_tls) {
            return refuse("either all targets speak TLS, or none".to_owned());
        }
        if nodes.len() == NODES_MAX {
            return refuse(format!("at most {NODES_MAX} targets can be given"));
        }
        nodes.push(node);
    }
    Ok(Address::Nodes(nodes))
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(authority: &str) -> std::result::Result<(&str, Option<u16>), String> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("a `[` without its `]`")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("`{host}` is not an IPv6 address"));
        }
        let after = port.strip_prefix(':');
        if after.is_none() && !port.is_empty() {
            return Err("a port is written behind a colon".to_owned());
        }
        (host, after)
    } else {
        match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address is written in brackets".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() || host.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return Err("the host is missing or not a host".to_owned());
    }
    match port.map(str::parse) {
        None => Ok((host, None)),
        Some(Ok(port)) if port != 0 => Ok((host, Some(port))),
        Some(_) => Err("the port must be 1 to 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(kind: Kind, host: &str, port: u16) -> Address {
        Address::Remote(Remote { kind, is_tls: false, host: host.to_owned(), port })
    }

    fn by_tls(kind: Kind, host: &str, port: u16) -> Address {
        Address::Remote(Remote { kind, is_tls: true, host: host.to_owned(), port })
    }

    #[test]
    fn addresses_are_read_and_written_alike() {
        for (text, address, shown) in [
            ("jeton", Address::Start(Kind::Jeton), "jeton"),
            ("floor", Address::Start(Kind::Floor), "floor"),
            ("http://a.b:7450", remote(Kind::Jeton, "a.b", 7450), "http://a.b:7450"),
            ("http://localhost/", remote(Kind::Jeton, "localhost", 80), "http://localhost:80"),
            ("jeton-resp", Address::Start(Kind::JetonResp), "jeton-resp"),
            ("resp://a.b", remote(Kind::JetonResp, "a.b", 7452), "resp://a.b:7452"),
            ("resps://a.b:1", by_tls(Kind::JetonResp, "a.b", 1), "resps://a.b:1"),
            ("redis://10.0.0.1", remote(Kind::Redis, "10.0.0.1", 6379), "redis://10.0.0.1:6379"),
            ("valkey://[::1]", remote(Kind::Valkey, "::1", 6379), "valkey://[::1]:6379"),
            ("pogocache", Address::Start(Kind::Pogocache), "pogocache"),
            ("pogocache://a", remote(Kind::Pogocache, "a", 9401), "pogocache://a:9401"),
            ("https://a.b", by_tls(Kind::Jeton, "a.b", 443), "https://a.b:443"),
            ("rediss://[::1]:7", by_tls(Kind::Redis, "::1", 7), "rediss://[::1]:7"),
            ("valkeys://a", by_tls(Kind::Valkey, "a", 6379), "valkeys://a:6379"),
            ("memcached://[::1]:9", remote(Kind::Memcached, "::1", 9), "memcached://[::1]:9"),
        ] {
            let parsed = Address::parse(text).expect(text);
            assert_eq!((&parsed, parsed.to_string().as_str()), (&address, shown));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, said) in [
            ("", "neither"),
            ("localhost:7450", "neither"),
            ("memcacheds://a:1", "scheme"),
            ("ftp://a", "scheme"),
            ("http://a:1/v1", "without a path"),
            ("http://a:1?x", "without a path"),
            ("http://", "host"),
            ("http://:80", "host"),
            ("http://a b", "host"),
            ("http://a:0", "port"),
            ("http://a:65536", "port"),
            ("http://a:", "port"),
            ("http://::1", "brackets"),
            ("http://[::1", "`]`"),
            ("http://[::1]80", "colon"),
            ("http://[x]:80", "IPv6"),
            ("http://a:1,b:2", "neither"),
            ("http://a:1,", "neither"),
            ("http://a:1,jeton", "running servers"),
            ("http://a:1,redis://b:2", "nodes of a jeton cluster"),
            ("http://a:1,http://a:1", "is given twice"),
            ("http://a:1,https://b:2", "either all"),
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            let last = text.rsplit(',').next().unwrap_or(text);
            assert!(error.contains(said) && error.contains(last), "{error} does not say {said}");
        }
    }

    #[test]
    fn p9_a_password_in_an_address_is_not_repeated() {
        for text in
            ["http://user:hunter2@a:1", "redis://:hunter2@a", "ftp://hunter2@a", "x://@hunter2@a"]
        {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = Address::parse("redis://:hunter2@a").expect_err("a password").to_string();
        assert!(error.contains("--auth-file") && error.contains("redis://…@a"), "{error}");
    }

    #[test]
    fn several_nodes_are_read_and_written_alike() {
        let text = "http://a:1,http://b:2,http://[::1]:3";
        let Address::Nodes(nodes) = Address::parse(text).expect(text) else { panic!("one") };
        assert_eq!(nodes.len(), 3);
        assert_eq!(Address::Nodes(nodes).to_string(), text);
        let many: Vec<String> = (1..=17).map(|port| format!("http://a:{port}")).collect();
        let error = Address::parse(&many.join(",")).expect_err("too many").to_string();
        assert!(error.contains("at most 16") && error.contains("http://a:17"), "{error}");
    }

    #[test]
    fn where_nobody_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let there = Remote { kind: Kind::Jeton, is_tls: false, host: "127.0.0.1".to_owned(), port };
        assert_eq!(there.resolve().expect("it listens").port(), port);
        drop(listener);
        let error = there.resolve().expect_err("nobody listens").to_string();
        assert!(error.contains(&format!("http://127.0.0.1:{port}")), "{error}");
        assert!(error.contains("refused"), "{error}");
        let unknown = Remote { host: "no-such-host.invalid".to_owned(), ..there };
        let error = unknown.resolve().expect_err("no such host").to_string();
        assert!(error.contains("cannot be looked up"), "{error}");
    }
}
