//! Rights, credentials and certificates: the rights of the documentation suffice, and files that
//! were replaced count from the next connection on.

use std::time::Duration;

use jeton::cluster::nats::{Config, Names, Nats};
use jeton::cluster::stream::{Hint, Stream, StreamError};
use rustix::process::Signal;

use super::accounts::{Accounts, Subjects};
use super::contract::{self, land, read};
use super::servers::{Cluster, NAME, Setup, opened, within};
use crate::pki::{Ca, Files};

/// The rights of a node, as `cluster::nats` lists them.
fn rights(node: &str) -> Subjects {
    let names = Names::new(NAME);
    let Names { stream, tail, .. } = &names;
    let api = ["STREAM.INFO", "STREAM.MSG.GET", "STREAM.PURGE", "DIRECT.GET"];
    let mut publish: Vec<_> = api.iter().map(|name| format!("$JS.API.{name}.{stream}")).collect();
    publish.push(names.subject(node));
    let subscribe = vec![tail.clone(), format!("{}.>", names.inbox(node))];
    Subjects { publish, subscribe }
}

/// A cluster with accounts, whose stream was made with an operator's credentials.
fn with_accounts(check: &str) -> Option<(Cluster, Accounts)> {
    let (accounts, dir) = (Accounts::new(), tempfile::tempdir().expect("a folder"));
    let operator = dir.path().join("operator.creds");
    accounts.write_user(&operator, None, None);
    let setup = Setup { more: accounts.lines(), credentials: Some(operator), ..Setup::default() };
    let cluster = Cluster::start_in(check, dir, setup)?;
    cluster.create(cluster.config());
    Some((cluster, accounts))
}

/// A node's configuration, with credentials of its own.
fn node(cluster: &Cluster, name: &str) -> Config {
    let file = cluster.dir.path().join(format!("{name}.creds"));
    Config { node: name.to_owned(), credentials: Some(file), ..cluster.config() }
}

#[test]
fn rights_of_a_node_suffice_for_the_whole_contract() {
    let Some((cluster, accounts)) = with_accounts("rights on NATS") else { return };
    let config = node(&cluster, "a");
    let file = config.credentials.clone().expect("a file");
    accounts.write_user(&file, Some(rights("a")), None);
    contract::holds(&mut || Box::new(opened(config.clone())));

    // And no more: it makes no stream, and does not publish as another node.
    let own = opened(config.clone());
    let chosen = jeton::cluster::nats::Creation { copies: 3, bytes_max: 1 << 30 };
    let made = own.create(chosen);
    assert!(made.is_err(), "{made:?}");
    let mut other = opened(Config { node: "b".to_owned(), ..config });
    other.propose(b"as another node").expect("connected");
    let refused = within("the refusal is told", || match other.answer() {
        Some(Err(Hint::Refused(why))) if why.contains("jeton.shop.from.b") => Ok(why),
        other => Err(format!("{other:?}")),
    });
    assert!(refused.to_lowercase().contains("permissions violation"), "{refused}");
}

#[test]
fn credentials_that_were_replaced_count_when_the_old_ones_expire() {
    let Some((cluster, accounts)) = with_accounts("credentials on NATS") else { return };
    let config = node(&cluster, "a");
    let file = config.credentials.clone().expect("a file");
    accounts.write_user(&file, Some(rights("a")), Some(3));
    let mut nats = opened(config);
    assert_eq!(land(&mut nats, 1, b"with the first"), 1);
    within("the first have expired", || match nats.connected() {
        Err(why) => Ok(why),
        Ok(()) => Err("connected".to_owned()),
    });
    accounts.write_user(&file, Some(rights("a")), None);
    within("connected with the second", || nats.connected());
    assert_eq!(land(&mut nats, 2, b"with the second"), 2);
    // Garbage is named, without what is in it.
    std::fs::write(&file, "a secret that is no JWT").expect("written");
    let mut refused = Nats::open(node(&cluster, "a")).expect("a thread");
    let why = within("the file is named", || match refused.bounds() {
        Err(StreamError::NotConnected(why)) if why.contains("a.creds") => Ok(why),
        other => Err(format!("{other:?}")),
    });
    assert!(!why.contains("secret"), "{why}");
}

#[test]
fn certificate_authority_that_was_replaced_counts_from_the_next_connection_on() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let dir = tempfile::tempdir().expect("a folder");
    let files = Files::in_dir(dir.path(), &old.issue(&["127.0.0.1"]), &old);
    let (cert, key) = (files.cert.display(), files.key.display());
    let more = format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}");
    let setup = Setup { more, ca: Some(files.ca.clone()), ..Setup::default() };
    let Some(cluster) = Cluster::start_in("TLS on NATS", dir, setup) else { return };
    cluster.create(cluster.config());
    let mut nats = cluster.open();
    assert_eq!(land(&mut nats, 1, b"over TLS"), 1);
    let promised = super::servers::promises(&mut nats);
    assert_eq!((promised.mistakes, promised.unverified), (vec![], vec![]));

    // The servers get certificates of another authority: who trusts the old one is not connected.
    let folder = cluster.dir.path().to_owned();
    Files::in_dir(&folder, &new.issue(&["127.0.0.1"]), &old);
    (0..3).for_each(|n| cluster.signal(n, Signal::HUP));
    std::thread::sleep(Duration::from_millis(500));
    let stranger = Nats::open(cluster.config()).expect("a thread");
    within("the certificate is refused", || match stranger.connected() {
        Err(why) if why.to_lowercase().contains("certificate") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Who was connected stays so, and a new connection reads the new file.
    assert_eq!(nats.connected(), Ok(()));
    Files::in_dir(&folder, &new.issue(&["127.0.0.1"]), &new);
    within("connected with the new authority", || stranger.connected());
    assert_eq!(read(&mut cluster.open_as("b"), 1).bytes, &b"over TLS"[..]);

    // With an authority any address is reached over TLS.
    let plain: Vec<_> =
        cluster.config().servers.iter().map(|url| url.replace("tls:", "nats:")).collect();
    let still_tls = Config { servers: plain, ..cluster.config() };
    assert_eq!(read(&mut opened(still_tls), 1).seq, 1);
}
