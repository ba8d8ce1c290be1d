//! `jeton cluster nats-config`: the configuration of one NATS server of a cluster, to copy.

use std::path::PathBuf;

use clap::Args;

use super::failure::ClusterFailure;
use crate::cli::out;
use crate::cluster::nats::Names;
use crate::cluster::node::MESSAGE_LEN_MAX;
use crate::model::text::parse_size;

/// `jeton cluster nats-config`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct NatsConfigArgs {
    /// Name of the server, such as n1; different on each
    #[arg(long, value_name = "NAME")]
    server_name: String,

    /// Where all servers reach each other, such as nats://10.0.0.1:6222, one for each with commas
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true)]
    routes: Vec<String>,

    /// Name of the cluster, as that of `jeton serve`
    #[arg(long, env = "JETON_CLUSTER_NAME", default_value = "main", value_name = "NAME")]
    cluster_name: String,

    /// Address for nodes
    #[arg(long, default_value = "0.0.0.0:4222", value_name = "ADDRESS")]
    listen: String,

    /// Address for the other servers
    #[arg(long, default_value = "0.0.0.0:6222", value_name = "ADDRESS")]
    route_listen: String,

    /// Address of the monitor, which tells nodes that this server syncs each message
    #[arg(long, default_value = "0.0.0.0:8222", value_name = "ADDRESS")]
    monitor_listen: String,

    /// Directory of the streams
    #[arg(long, default_value = "/var/lib/nats", value_name = "DIR")]
    store_dir: PathBuf,

    /// Bytes that all streams may use; more than the stream of the cluster may hold
    #[arg(long, default_value = "80GiB", value_name = "SIZE")]
    store_max_bytes: String,
}

pub(super) fn run(args: &NatsConfigArgs) -> Result<(), ClusterFailure> {
    out::print(args.text()?)?;
    Ok(())
}

impl NatsConfigArgs {
    fn text(&self) -> Result<String, ClusterFailure> {
        let mistake = |text: String| Err(ClusterFailure::Mistake(text));
        let is_plain = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        for (flag, name) in
            [("server-name", &self.server_name), ("cluster-name", &self.cluster_name)]
        {
            if !is_plain(name) {
                return mistake(format!(
                    "--{flag} must have letters, digits, - and _, not {name:?}"
                ));
            }
        }
        let values = [&self.listen, &self.route_listen, &self.monitor_listen];
        let store_dir = self.store_dir.to_string_lossy();
        let is_bare = |text: &str| !text.contains(['"', '\n', '{', '}', '\\']);
        let mut texts = values.into_iter().chain(&self.routes).map(String::as_str);
        if !texts.all(|text| is_bare(text) && !text.contains([' ', ','])) || !is_bare(&store_dir) {
            return mistake(
                "an address, a route or --store-dir has a character of its own in the \
                            file of NATS"
                    .to_owned(),
            );
        }
        let Ok(store_max) = parse_size(&self.store_max_bytes) else {
            return mistake(format!(
                "--store-max-bytes must be a size, not {:?}",
                self.store_max_bytes
            ));
        };
        Ok(self.render(&store_dir, store_max))
    }

    fn render(&self, store_dir: &str, store_max: u64) -> String {
        let Self { server_name, listen, route_listen, monitor_listen, cluster_name, .. } = self;
        let routes: Vec<String> =
            self.routes.iter().map(|route| format!("    {route}\n")).collect();
        let routes = routes.concat();
        let names = Names::new(cluster_name);
        let (subject, inbox) = (names.subject("NODE"), names.inbox("NODE"));
        let Names { stream, tail, .. } = names;
        format!(
            "# One of the NATS servers of the jeton cluster {cluster_name}: nats-server 2.14.6 or later.
# The servers must be on disks of their own, in zones of their own if there are several.
server_name: {server_name}
listen: {listen}
# Nodes ask here whether the server syncs each message (--cluster-monitor). Anyone who can
# reach this port reads names and counts: keep it inside the network of the cluster.
http: {monitor_listen}
# The longest message of a node.
max_payload: {MESSAGE_LEN_MAX}

jetstream {{
  store_dir: \"{store_dir}\"
  max_file_store: {store_max}
  # Every message is synced before it counts. Without this line a power cut of all servers can
  # lose the stream, and nodes refuse to start.
  sync_interval: always
}}

cluster {{
  name: jeton-{cluster_name}
  listen: {route_listen}
  routes: [
{routes}  ]
}}

# Encrypt all of it, and let nobody in without credentials: see the chapters TLS and JWT of the
# manual of NATS. The user of a node needs these rights and no others. NODE is the content of the
# file node.id in its data directory; * in its place is all nodes.
#   publish    {subject}
#              $JS.API.STREAM.INFO.{stream}
#              $JS.API.STREAM.MSG.GET.{stream}
#              $JS.API.DIRECT.GET.{stream}
#              $JS.API.STREAM.PURGE.{stream}
#   subscribe  {tail}
#              {inbox}.>
# The user of jeton cluster init, whose NODE is init, also publishes to
# $JS.API.STREAM.CREATE.{stream}. The NODE of jeton cluster check is check.
# Nobody may publish to {tail}: the servers do.
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> NatsConfigArgs {
        NatsConfigArgs {
            server_name: "n1".to_owned(),
            routes: vec!["nats://10.0.0.1:6222".to_owned(), "nats://10.0.0.2:6222".to_owned()],
            cluster_name: "shop".to_owned(),
            listen: "10.0.0.1:4222".to_owned(),
            route_listen: "10.0.0.1:6222".to_owned(),
            monitor_listen: "10.0.0.1:8222".to_owned(),
            store_dir: "/var/lib/nats".into(),
            store_max_bytes: "80GiB".to_owned(),
        }
    }

    #[test]
    fn the_file_has_what_nodes_check() {
        let text = args().text().unwrap();
        for line in [
            "server_name: n1\n",
            "sync_interval: always\n",
            "max_payload: 2097152\n",
            "    nats://10.0.0.2:6222\n",
            "jeton.shop.from.NODE\n",
            "_INBOX.jeton.shop.NODE.>\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn what_would_be_another_setting_in_the_file_is_refused() {
        let wrong: [fn(&mut NatsConfigArgs); 5] = [
            |args| args.server_name = "n 1".to_owned(),
            |args| args.cluster_name = "a.b".to_owned(),
            |args| args.listen = "0.0.0.0:4222\nallow: all".to_owned(),
            |args| args.store_dir = "/x\" }".into(),
            |args| args.store_max_bytes = "much".to_owned(),
        ];
        for (n, change) in wrong.into_iter().enumerate() {
            let mut args = args();
            change(&mut args);
            assert!(args.text().is_err(), "mistake {n}");
        }
    }
}
