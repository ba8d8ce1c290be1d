//! Network namespaces on one bridge. A host cannot reach another while it believes in a wrong
//! hardware address of that one: its packets arrive nowhere, and those in the other direction do.
//! No error tells it, as with a broken switch.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::process::geteuid;

use crate::cluster::servers::Host;
use crate::support::not_run;

/// The servers and the nodes; their addresses end with 2, 3, ….
pub const HOSTS: [&str; 6] = ["n0", "n1", "n2", "a", "b", "c"];
/// Networks that this machine may have at the same time. The range is that of RFC 2544, for tests.
const NETWORKS: u32 = 200;
/// A hardware address that nobody has.
const NOWHERE: &str = "02:00:00:00:00:00";

/// What is said where this machine has no such networks. Anything else is a fault of the test.
const MISSING: [&str; 5] =
    ["needs root", "not installed", "not permitted", "not supported", "Unknown device type"];

/// What a cut lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Both,
    /// What the others send.
    Sent,
    /// What the host sends.
    Received,
}

/// A network. It is gone when this is dropped; the processes in it must have ended before.
pub struct Net {
    number: u32,
    /// Who cannot reach whom now.
    cuts: Mutex<Vec<(&'static str, &'static str)>>,
}

impl Net {
    /// `None` where this process may not make it, which is told.
    pub fn new(check: &str) -> Option<Self> {
        let made = if geteuid().is_root() { Self::claim() } else { Err("needs root".to_owned()) };
        // From here on its end removes what there is.
        let built = made.and_then(|net| net.build().map(|()| net));
        let is_missing = |why: &str| MISSING.iter().any(|one| why.contains(one));
        match built {
            Err(why) if is_missing(&why) => {
                not_run(check, &why);
                None
            }
            built => Some(built.unwrap_or_else(|why| panic!("{why}"))),
        }
    }

    /// The namespace of the bridge. Its name is taken by one process alone.
    fn claim() -> Result<Self, String> {
        let begin = std::process::id() % NETWORKS;
        for turn in 0..NETWORKS {
            let net = Self { number: (begin + turn) % NETWORKS, cuts: Mutex::default() };
            match ip(&format!("netns add {}", net.name())) {
                Ok(()) => return Ok(net),
                Err(why) => {
                    // It is that of another run.
                    std::mem::forget(net);
                    if !why.contains("File exists") {
                        return Err(why);
                    }
                }
            }
        }
        Err(format!("{NETWORKS} networks of tests are in use"))
    }

    fn build(&self) -> Result<(), String> {
        let hub = self.name();
        ip(&format!("-n {hub} link add name bridge type bridge"))?;
        ip(&format!("-n {hub} link set dev bridge up"))?;
        for (name, n) in HOSTS.into_iter().zip(2..) {
            let host = self.namespace(name);
            ip(&format!("netns add {host}"))?;
            ip(&format!("-n {hub} link add name {name} type veth peer name eth0 netns {host}"))?;
            ip(&format!("-n {hub} link set dev {name} master bridge up"))?;
            ip(&format!("-n {host} address add {}/24 dev eth0", self.address(n)))?;
            ip(&format!("-n {host} link set dev lo up"))?;
            ip(&format!("-n {host} link set dev eth0 up"))?;
        }
        // The test's own end.
        ip(&format!("link add name {hub} type veth peer name test netns {hub}"))?;
        ip(&format!("-n {hub} link set dev test master bridge up"))?;
        ip(&format!("address add {}/24 dev {hub}", self.address(1)))?;
        ip(&format!("link set dev {hub} up"))
    }

    /// Of the bridge's namespace and of the test's end: at most 15 bytes.
    fn name(&self) -> String {
        format!("jeton-cut-{}", self.number)
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.name())
    }

    fn address(&self, n: usize) -> String {
        format!("198.18.{}.{n}", self.number)
    }

    fn address_of(&self, host: &str) -> String {
        let n = HOSTS.iter().position(|one| *one == host).expect("a host");
        self.address(n + 2)
    }

    /// Where a process of this host runs.
    pub fn host(&self, name: &str) -> Host {
        let namespace = self.namespace(name);
        let wrapper = ["ip", "netns", "exec", &namespace].map(ToOwned::to_owned);
        Host { address: self.address_of(name), wrapper: wrapper.to_vec() }
    }

    /// Cuts a host off from others.
    pub fn cut(&self, host: &'static str, others: &[&'static str], cut: Cut) {
        for other in others {
            if cut != Cut::Received {
                self.block(host, other);
            }
            if cut != Cut::Sent {
                self.block(other, host);
            }
        }
    }

    /// Ends all cuts.
    pub fn heal(&self) {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        for (from, to) in cuts.drain(..) {
            let (from, to) = (self.namespace(from), self.address_of(to));
            done(&format!("-n {from} neigh del {to} dev eth0"));
        }
    }

    fn block(&self, from: &'static str, to: &'static str) {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner).push((from, to));
        let (from, to) = (self.namespace(from), self.address_of(to));
        done(&format!("-n {from} neigh replace {to} lladdr {NOWHERE} nud permanent dev eth0"));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // What was not made yet cannot be removed: that is no fault.
        let _ = ip(&format!("link del dev {}", self.name()));
        for host in HOSTS {
            let _ = ip(&format!("netns del {}", self.namespace(host)));
        }
        let _ = ip(&format!("netns del {}", self.name()));
    }
}

/// A command that must succeed.
fn done(arguments: &str) {
    ip(arguments).unwrap_or_else(|why| panic!("{why}"));
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|_| "the program ip is not installed".to_owned())?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("ip {arguments}: {}", said.trim()))
        }
    }
}

#[test]
fn cut_is_in_one_direction_and_nothing_is_left_behind() {
    let Some(net) = Net::new("cut of a network") else { return };
    let there = |net: &Net| {
        let listed = Command::new("ip").args(["netns", "list"]).output().expect("it runs");
        String::from_utf8_lossy(&listed.stdout).contains(&format!("{}-a", net.name()))
    };
    assert!(there(&net));
    let heard = |from: &str, to: &str| {
        // An answer to a probe is sent to whoever asked, whatever the receiver believes: so the
        // table of the sender alone says where its packets go.
        let (from, to) = (net.namespace(from), net.address_of(to));
        let table = Command::new("ip").args(["-n", &from, "neigh", "show", &to]).output();
        !String::from_utf8_lossy(&table.expect("it runs").stdout).contains(NOWHERE)
    };
    net.cut("a", &["n0", "n1"], Cut::Sent);
    net.cut("n2", &["b"], Cut::Received);
    let pairs = [("a", "n0"), ("n0", "a"), ("a", "n1"), ("a", "n2"), ("n2", "b"), ("b", "n2")];
    assert_eq!(pairs.map(|(from, to)| heard(from, to)), [false, true, false, true, true, false]);
    net.heal();
    assert_eq!(pairs.map(|(from, to)| heard(from, to)), [true; 6]);
    let other = Net::new("second network").expect("as the first");
    assert_ne!(net.number, other.number);
    let gone = Net { number: net.number, cuts: Mutex::default() };
    drop(net);
    assert!(!there(&gone));
    std::mem::forget(gone);
}
