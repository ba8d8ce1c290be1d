//! The flags of a cluster.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::values::Reader;
use crate::cluster;
use crate::engine;
use crate::model::setting::SettingError;
use crate::model::text::size_text;

/// Minimum segment of a node: a frame is at most a quarter of it, and holds the longest message.
const SEGMENT_SIZE_MIN: u64 = 16 << 20;

/// Default of `--sync` of a node: what a power cut takes from its log it follows again.
pub(super) const SYNC: &str = "1s";

/// The flags of a cluster.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Run as a node of a cluster whose stream these NATS servers keep, such as nats://n1,n2,n3 or
    /// tls://n1:4222,tls://n2:4222 [default: a single server]
    #[arg(long, env = "JETON_CLUSTER", value_name = "URL", value_delimiter = ',')]
    cluster: Vec<String>,

    /// Name of the cluster, which is part of the names of its stream and subjects [default: main]
    #[arg(long, env = "JETON_CLUSTER_NAME", value_name = "NAME")]
    cluster_name: Option<String>,

    /// File with the NATS credentials of this node; read again at each connect
    #[arg(long, env = "JETON_CLUSTER_CREDENTIALS", value_name = "FILE")]
    cluster_credentials: Option<PathBuf>,

    /// CA of the NATS servers' certificates (PEM), instead of the system's roots; read again at
    /// each connect
    #[arg(long, env = "JETON_CLUSTER_CA", value_name = "FILE")]
    cluster_ca: Option<PathBuf>,

    /// Monitor listeners of the NATS servers, such as http://10.0.0.1:8222, several with commas:
    /// they alone say whether a server syncs each message
    #[arg(long, env = "JETON_CLUSTER_MONITOR", value_name = "URL", value_delimiter = ',')]
    cluster_monitor: Vec<String>,

    /// Time after which a change whose outcome is not known gets 503 `unknown`; it may still happen
    /// [default: 10s]
    #[arg(long, env = "JETON_CLUSTER_ANSWER_WITHIN", value_name = "DURATION")]
    cluster_answer_within: Option<String>,

    /// Maximum age of what a resolve may return while this node hears nothing of its cluster;
    /// resolves get 503 afterwards [default: 30s]
    #[arg(long, env = "JETON_CLUSTER_STALENESS", value_name = "DURATION")]
    cluster_staleness: Option<String>,

    /// Time for which the stream keeps what a node that is not heard of still needs [default: 1h]
    #[arg(long, env = "JETON_CLUSTER_KEEP", value_name = "DURATION")]
    cluster_keep: Option<String>,

    /// Address of this node as `jeton cluster status` shows it, such as n1.example:7450
    #[arg(long, env = "JETON_NODE_ADDRESS", value_name = "ADDRESS")]
    node_address: Option<String>,

    /// Run although the NATS servers do not say whether they sync each message; if they do not,
    /// one power cut of all of them can lose the stream
    #[arg(
        long,
        env = "JETON_CLUSTER_ACCEPT_UNVERIFIED_SYNC",
        value_parser = FalseyValueParser::new()
    )]
    cluster_accept_unverified_sync: bool,

    /// Not ready for changes while most nodes have another keys file than this one
    #[arg(long, env = "JETON_CLUSTER_REQUIRE_SAME_KEYS", value_parser = FalseyValueParser::new())]
    cluster_require_same_keys: bool,
}

impl ClusterArgs {
    /// Whether the server is a node of a cluster.
    pub(super) fn is_given(&self) -> bool {
        !self.cluster.is_empty()
    }

    /// The configuration of the node; `None` for a single server.
    pub(super) fn read(&self, reader: &mut Reader) -> Option<cluster::Config> {
        let servers = without_users("cluster", &self.cluster, reader);
        let monitors = without_users("cluster-monitor", &self.cluster_monitor, reader);
        let defaults = cluster::Config::default();
        let duration = |reader: &mut Reader, flag, given: &Option<String>, default| match given {
            Some(text) => reader.duration(flag, text),
            None => default,
        };
        let (answer_within, staleness, keep) = (
            duration(
                reader,
                "cluster-answer-within",
                &self.cluster_answer_within,
                defaults.answer_within,
            ),
            duration(reader, "cluster-staleness", &self.cluster_staleness, defaults.staleness),
            duration(reader, "cluster-keep", &self.cluster_keep, defaults.keep),
        );
        let config = cluster::Config {
            servers: reader.all("cluster", &with_schemes(servers)),
            name: self.cluster_name.clone().unwrap_or(defaults.name),
            credentials: self.cluster_credentials.clone(),
            ca: self.cluster_ca.clone(),
            monitors: reader.all("cluster-monitor", &monitors),
            answer_within,
            staleness,
            keep,
            address: self.node_address.clone(),
            accepts_unverified_sync: self.cluster_accept_unverified_sync,
            requires_same_keys: self.cluster_require_same_keys,
        };
        self.is_given().then_some(config)
    }

    /// The flags that have no effect without `--cluster`.
    pub(super) fn lonely(&self) -> Vec<SettingError> {
        let given = [
            ("cluster-name", self.cluster_name.is_some()),
            ("cluster-answer-within", self.cluster_answer_within.is_some()),
            ("cluster-staleness", self.cluster_staleness.is_some()),
            ("cluster-keep", self.cluster_keep.is_some()),
            ("cluster-credentials", self.cluster_credentials.is_some()),
            ("cluster-ca", self.cluster_ca.is_some()),
            ("cluster-monitor", !self.cluster_monitor.is_empty()),
            ("node-address", self.node_address.is_some()),
            ("cluster-accept-unverified-sync", self.cluster_accept_unverified_sync),
            ("cluster-require-same-keys", self.cluster_require_same_keys),
        ];
        let lonely = given.into_iter().filter(|(_, is_given)| *is_given && !self.is_given());
        lonely.map(|(flag, _)| SettingError::new(flag, "needs ").name("cluster")).collect()
    }
}

/// The addresses without those that have a user and perhaps a password, which no message repeats.
fn without_users(flag: &'static str, addresses: &[String], reader: &mut Reader) -> Vec<String> {
    let (wrong, right): (Vec<_>, Vec<_>) =
        addresses.iter().cloned().partition(|address| address.contains('@'));
    if !wrong.is_empty() {
        let mistake = SettingError::new(flag, "must have no user and no password: they are for ");
        reader.mistakes.push(mistake.name("cluster-credentials"));
    }
    right
}

/// The addresses, each with a scheme: one without has that of the address before it, so that no
/// connection is less encrypted than its neighbours.
fn with_schemes(addresses: Vec<String>) -> Vec<String> {
    let mut scheme = None;
    let with_scheme = |address: String| match (address.trim().split_once("://"), &scheme) {
        (Some((own, _)), _) => {
            scheme = Some(own.to_owned());
            address
        }
        (None, Some(scheme)) => format!("{scheme}://{}", address.trim()),
        (None, None) => address,
    };
    addresses.into_iter().map(with_scheme).collect()
}

/// All mistakes in the configuration of a node, those with other parts of it included.
pub(super) fn mistakes(
    cluster: Option<&cluster::Config>,
    engine: &engine::Config,
    has_secret: bool,
) -> Vec<SettingError> {
    let Some(cluster) = cluster else { return Vec::new() };
    let mut mistakes = cluster.mistakes();
    if !has_secret {
        let mistake = SettingError::new("cluster", "needs ").name("secret-file");
        let mistake = mistake.text(" or ").name("secret-command");
        mistakes.push(mistake.text(": the same 32 bytes on each node, never made by a node"));
    }
    if engine.data_dir.is_none() {
        let mistake = SettingError::new("memory-only", "cannot be used with ").name("cluster");
        mistakes.push(mistake.text(": each node keeps a log of its own"));
    }
    if engine.wal.segment_size < SEGMENT_SIZE_MIN {
        let text = format!("must be at least {} with ", size_text(SEGMENT_SIZE_MIN));
        let mistake = SettingError::new("segment-size", text).name("cluster");
        mistakes.push(mistake.text(": a message of another node must fit in a frame"));
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::duration_text;

    #[test]
    fn the_help_names_the_defaults() {
        let mut command = ClusterArgs::augment_args(clap::Command::new("x"));
        let help = command.render_long_help().to_string();
        let cluster::Config { name, answer_within, staleness, keep, .. } =
            cluster::Config::default();
        let durations = [answer_within, staleness, keep].map(duration_text);
        for default in durations.iter().chain([&name]) {
            assert!(help.contains(&format!("[default: {default}]")), "{default}: {help}");
        }
    }

    #[test]
    fn an_address_without_a_scheme_has_that_of_the_one_before() {
        let read = |text: &str| with_schemes(text.split(',').map(str::to_owned).collect());
        assert_eq!(read("nats://a,b:1, c"), ["nats://a", "nats://b:1", "nats://c"]);
        assert_eq!(read("tls://a,b,nats://c,d"), ["tls://a", "tls://b", "nats://c", "nats://d"]);
        assert_eq!(read("a,nats://b"), ["a", "nats://b"]);
    }
}
