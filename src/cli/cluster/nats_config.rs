//! `jeton cluster nats-config`: the configuration of one NATS server of a cluster, to copy.

use std::path::PathBuf;

use clap::Args;

use super::failure::ClusterFailure;
use crate::cli::out;
use crate::cluster;
use crate::cluster::config::{is_name, is_place, name_form};
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
    #[arg(
        long,
        env = "JETON_CLUSTER_NAME",
        default_value_t = cluster::Config::default().name,
        value_name = "NAME"
    )]
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
        let mut mistakes = Vec::new();
        let mut unless = |is_right: bool, flag: &str, form: &str, given: &str| {
            if !is_right {
                mistakes.push(format!("--{flag} {form}, not {given:?}"));
            }
        };
        for (flag, name) in
            [("server-name", &self.server_name), ("cluster-name", &self.cluster_name)]
        {
            unless(is_name(name), flag, &name_form(), name);
        }
        for (flag, address) in [
            ("listen", &self.listen),
            ("route-listen", &self.route_listen),
            ("monitor-listen", &self.monitor_listen),
        ] {
            let form = "must be an address with a port, such as 10.0.0.1:4222 or [::]:4222";
            unless(is_place(address), flag, form, address);
        }
        for route in &self.routes {
            let is_right = route.starts_with("nats://") && is_quotable(route);
            unless(is_right, "routes", "must be addresses such as nats://10.0.0.1:6222", route);
        }
        let store_dir = self.store_dir.to_string_lossy();
        let form = "must have no quotation mark, no backslash and no line break";
        unless(is_quotable(&store_dir), "store-dir", form, &store_dir);
        let store_max = parse_size(&self.store_max_bytes);
        let form = "must be a size such as 80GiB";
        unless(store_max.is_ok(), "store-max-bytes", form, &self.store_max_bytes);
        match store_max {
            Ok(store_max) if mistakes.is_empty() => Ok(self.render(&store_dir, store_max)),
            _ => Err(ClusterFailure::Mistake(mistakes.join("\nerror: "))),
        }
    }

    fn render(&self, store_dir: &str, store_max: u64) -> String {
        let Self { server_name, listen, route_listen, monitor_listen, cluster_name, .. } = self;
        let routes: Vec<String> =
            self.routes.iter().map(|route| format!("    \"{route}\"\n")).collect();
        let routes = routes.concat();
        let names = Names::new(cluster_name);
        let (subject, inbox) = (names.subject("NODE"), names.inbox("NODE"));
        let Names { stream, tail, .. } = names;
        let open = self.open();
        format!(
            "# One of the NATS servers of the jeton cluster {cluster_name}: nats-server 2.14.6 or later.
# The servers must be on disks of their own, in zones of their own if there are several.
#
# This file has no authentication and no encryption: anyone who reaches the ports below may stop the
# cluster (a message without the secret counts nowhere, but fills the stream).{open}
server_name: \"{server_name}\"
listen: \"{listen}\"
# Nodes ask here whether the server syncs each message (--cluster-monitor). Anyone who can
# reach this port reads names and counts: keep it inside the network of the cluster.
http: \"{monitor_listen}\"
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
  name: \"jeton-{cluster_name}\"
  listen: \"{route_listen}\"
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
# $JS.API.STREAM.CREATE.{stream}; that of reseed, whose NODE is reseed, to this
# and $JS.API.STREAM.DELETE.{stream}. The NODE of jeton cluster check is check.
# Nobody may publish to {tail}: the servers do.
"
        )
    }

    /// Comment lines about the listeners on all interfaces.
    fn open(&self) -> String {
        let all = [
            ("--listen", &self.listen),
            ("--route-listen", &self.route_listen),
            ("--monitor-listen", &self.monitor_listen),
        ];
        let is_open = |address: &str| {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            ["0.0.0.0", "[::]"].contains(&host)
        };
        let open: Vec<&str> =
            all.iter().filter(|(_, address)| is_open(address)).map(|(flag, _)| *flag).collect();
        match open.is_empty() {
            true => String::new(),
            false => format!(
                " The
# server listens on all interfaces of its machine; this was printed without an address for
# {}. Give that of the cluster's own network, or close the ports to others.",
                open.join(", ")
            ),
        }
    }
}

/// Whether a text means itself between quotation marks.
fn is_quotable(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == '"' || c == '\\' || c.is_control())
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
            "server_name: \"n1\"\n",
            "listen: \"10.0.0.1:4222\"\n",
            "sync_interval: always\n",
            "max_payload: 2097152\n",
            "    \"nats://10.0.0.2:6222\"\n",
            "jeton.shop.from.NODE\n",
            "_INBOX.jeton.shop.NODE.>\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn what_would_be_another_setting_in_the_file_is_refused_by_its_flag() {
        type Change = fn(&mut NatsConfigArgs);
        let wrong: [(&str, Change); 9] = [
            ("server-name", |args| args.server_name = "n 1".to_owned()),
            ("cluster-name", |args| args.cluster_name = "a.b".to_owned()),
            ("cluster-name", |args| args.cluster_name = "a".repeat(65)),
            ("listen", |args| args.listen = "0.0.0.0:4222\nallow: all".to_owned()),
            ("route-listen", |args| args.route_listen = "::1:6222".to_owned()),
            ("monitor-listen", |args| args.monitor_listen = "10.0.0.1".to_owned()),
            ("routes", |args| args.routes.push("nats://x\"]".to_owned())),
            ("store-dir", |args| args.store_dir = "/x\" }".into()),
            ("store-max-bytes", |args| args.store_max_bytes = "much".to_owned()),
        ];
        for (flag, change) in wrong {
            let mut args = args();
            change(&mut args);
            let said = args.text().unwrap_err().to_string();
            assert!(said.starts_with(&format!("--{flag} must ")), "{flag}: {said}");
        }
        let mut all = args();
        wrong.into_iter().for_each(|(_, change)| change(&mut all));
        let said = all.text().unwrap_err().to_string();
        assert_eq!(said.matches("error: --").count(), 7, "all at once: {said}");
    }

    #[test]
    fn listeners_on_all_interfaces_are_told_in_the_file() {
        let mut args = args();
        let told = "listens on all interfaces";
        assert!(!args.text().unwrap().contains(told));
        args.listen = "0.0.0.0:4222".to_owned();
        args.monitor_listen = "[::]:8222".to_owned();
        let text = args.text().unwrap();
        assert!(text.contains(told) && text.contains("--listen, --monitor-listen. Give"), "{text}");
        assert!(text.contains("This file has no authentication"), "{text}");
    }
}
