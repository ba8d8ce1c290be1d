//! Configuration of a node.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::fence::STALENESS;
use crate::model::setting::SettingError;
use crate::model::text::duration_text;

/// Maximum servers, and maximum monitor URLs.
const SERVERS_MAX: usize = 16;
/// Maximum length of the name of a cluster.
const NAME_LEN_MAX: usize = 64;
/// Range of `answer_within`.
const ANSWER_WITHIN_LIMITS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(600));
/// Range of `staleness`. The lower end is above the silence of a planned change of leader.
const STALENESS_LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));
/// Range of `keep`.
const KEEP_LIMITS: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(7 * 24 * 3_600));

/// Configuration of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers that keep the stream.
    pub servers: Vec<ServerUrl>,
    /// Name of the cluster. The names of its stream and subjects contain it.
    pub name: String,
    /// File with the credentials for the servers.
    pub credentials: Option<PathBuf>,
    /// CA of the servers' certificates (PEM); with it every connection is encrypted.
    pub ca: Option<PathBuf>,
    /// The servers' monitor listeners, which alone say whether they sync each message.
    pub monitors: Vec<MonitorUrl>,
    /// Time after which a change that has not landed is answered as unknown.
    pub answer_within: Duration,
    /// Maximum age of what a read without a wait may return.
    pub staleness: Duration,
    /// Time for which the stream keeps what a node has not landed that is not heard of.
    pub keep: Duration,
    /// Address at which other nodes and people reach this node; for information only.
    pub address: Option<String>,
    /// Whether servers are accepted that do not say how they sync.
    pub accepts_unverified_sync: bool,
    /// Whether the node is not ready for changes while most nodes have another keys file.
    pub requires_same_keys: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            name: "main".to_owned(),
            credentials: None,
            ca: None,
            monitors: Vec::new(),
            answer_within: Duration::from_secs(10),
            staleness: STALENESS,
            keep: Duration::from_secs(3_600),
            address: None,
            accepts_unverified_sync: false,
            requires_same_keys: false,
        }
    }
}

impl Config {
    /// All mistakes in the configuration, each with its limits.
    #[must_use]
    pub fn mistakes(&self) -> Vec<SettingError> {
        let mut mistakes = Vec::new();
        let mut unless = |is_right: bool, setting: &'static str, text: String| {
            if !is_right {
                mistakes.push(SettingError::new(setting, text));
            }
        };
        let has_servers = (1..=SERVERS_MAX).contains(&self.servers.len());
        unless(has_servers, "cluster", format!("must name 1 to {SERVERS_MAX} servers"));
        let has_few = self.monitors.len() <= SERVERS_MAX;
        unless(has_few, "cluster-monitor", format!("must name at most {SERVERS_MAX} servers"));
        unless(
            is_name(&self.name),
            "cluster-name",
            format!("{}, not {:?}", name_form(), self.name),
        );
        for (setting, (least, most), value) in [
            ("cluster-answer-within", ANSWER_WITHIN_LIMITS, self.answer_within),
            ("cluster-staleness", STALENESS_LIMITS, self.staleness),
            ("cluster-keep", KEEP_LIMITS, self.keep),
        ] {
            let limits =
                format!("must be from {} to {}", duration_text(least), duration_text(most));
            unless((least..=most).contains(&value), setting, limits);
        }
        mistakes
    }
}

/// What a name must be, as a message says it.
#[must_use]
pub fn name_form() -> String {
    format!("must have 1 to {NAME_LEN_MAX} characters, each a letter, a digit, - or _")
}

/// Whether the text can be part of the name of a stream and of a subject.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.chars().all(is_part)
}

/// Port of a NATS server whose address names none.
const NATS_PORT: u16 = 4_222;

/// A NATS server: `nats://HOST:PORT` or `tls://HOST:PORT`. Without a port it is 4222.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(String);

impl FromStr for ServerUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let place = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
        let with_port = format!("{text}:{NATS_PORT}");
        match place {
            Some(place) if is_place(place) => Ok(Self(text.to_owned())),
            Some(place) if is_place(&format!("{place}:{NATS_PORT}")) => Ok(Self(with_port)),
            _ => Err("servers such as nats://10.0.0.1:4222 or tls://n1.example:4222"),
        }
    }
}

/// The monitor listener of a server: `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorUrl(String);

impl FromStr for MonitorUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().trim_end_matches('/');
        let place = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        match place.is_some_and(is_place) {
            true => Ok(Self(text.to_owned())),
            false => Err("addresses of monitor listeners such as http://10.0.0.1:8222"),
        }
    }
}

/// Whether the text is a host and a port, and nothing else.
#[must_use]
pub fn is_place(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:%".contains(c);
    let is_bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    !host.is_empty()
        && host.chars().all(is_host)
        && is_bare
        && port.parse().is_ok_and(|port: u16| port > 0)
}

impl AsRef<str> for ServerUrl {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for MonitorUrl {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MonitorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        for right in ["nats://127.0.0.1:4222", "tls://n1.example:4222", "nats://[::1]:4222"] {
            assert_eq!(right.parse::<ServerUrl>().unwrap().to_string(), right);
        }
        for without in ["nats://n1", "tls://n1.example", "nats://[::1]"] {
            let url: ServerUrl = without.parse().unwrap();
            assert_eq!(url.to_string(), format!("{without}:4222"));
        }
        let wrong = [
            "",
            "127.0.0.1:4222",
            "http://n1:4222",
            "nats://",
            "nats://n1:",
            "nats://::1",
            "nats://:4222",
            "nats://n1:0",
            "nats://user:pass@n1:4222",
            "nats://n1:4222/x",
            "nats://n1:99999",
            "nats://a:b:4222",
        ];
        for wrong in wrong {
            assert!(wrong.parse::<ServerUrl>().is_err(), "{wrong}");
        }
        assert_eq!("http://n1:8222/".parse::<MonitorUrl>().unwrap().to_string(), "http://n1:8222");
        for wrong in ["n1:8222", "nats://n1:8222", "http://n1:8222/jsz", "http://a@n1:8222"] {
            assert!(wrong.parse::<MonitorUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_mistake_is_reported_with_its_flag() {
        let config = Config {
            name: "a.b".to_owned(),
            answer_within: Duration::ZERO,
            staleness: Duration::from_secs(7_200),
            keep: Duration::ZERO,
            ..Config::default()
        };
        let mistakes = config.mistakes();
        let flags: Vec<&str> = mistakes.iter().map(SettingError::setting).collect();
        let said = |flag| mistakes.iter().find(|said| said.setting() == flag).unwrap().to_string();
        for (flag, limits) in [
            ("cluster-answer-within", "from 1s to 10m"),
            ("cluster-staleness", "from 1s to 1h"),
            ("cluster-keep", "from 60s to 7d"),
        ] {
            assert!(said(flag).contains(limits), "{}", said(flag));
        }
        assert_eq!(
            flags,
            [
                "cluster",
                "cluster-name",
                "cluster-answer-within",
                "cluster-staleness",
                "cluster-keep"
            ]
        );
        let right = Config { servers: vec![ServerUrl("nats://a:1".into())], ..Config::default() };
        assert_eq!(right.mistakes(), []);
    }
}
