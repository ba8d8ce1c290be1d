//! Networks of addresses in CIDR notation, as the keys file and `--trusted-proxy` name them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A network: all addresses with the same first bits, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(IpNet);

/// What a network looks like, for messages.
pub const NETWORK_FORM: &str = "an address or a network without bits beyond its prefix, such as \
                                10.0.0.0/8 or 2001:db8::/32, and no IPv4 address in the form of an \
                                IPv6 one, such as ::ffff:10.0.0.0/104";

impl Network {
    /// Whether the network contains `address`. An IPv4 address that is written as an IPv6 one
    /// (`::ffff:192.0.2.1`) counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Whether one of the networks contains `address`.
#[must_use]
pub fn any_contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

impl FromStr for Network {
    type Err = &'static str;

    /// Reads a network, or one address.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let read = match text.contains('/') {
            true => text.parse::<IpNet>().ok(),
            false => text.parse::<IpAddr>().ok().map(IpNet::from),
        };
        // A network of IPv4 addresses in the form of IPv6 ones would contain no client.
        let is_mapped = |net: &IpNet| match net {
            IpNet::V4(_) => false,
            IpNet::V6(net) => net.addr().to_ipv4_mapped().is_some(),
        };
        let read = read.filter(|net| net.trunc() == *net && !is_mapped(net));
        read.map(Self).ok_or(NETWORK_FORM)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        let networks = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"].map(|n| n.parse().unwrap());
        let is_in = |address: &str| any_contains(&networks, address.parse().unwrap());
        for address in ["10.255.0.1", "::ffff:10.1.1.1", "2001:db8:1::1", "192.0.2.7"] {
            assert!(is_in(address), "{address}");
        }
        for address in ["11.0.0.1", "::ffff:11.0.0.1", "2001:db9::1", "192.0.2.8", "::10.0.0.1"] {
            assert!(!is_in(address), "{address}");
        }
        assert!(!any_contains(&[], [10, 0, 0, 1].into()));
        assert_eq!(networks.map(|net| net.to_string())[2], "192.0.2.7/32");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10/8",
            "::ffff:10.0.0.0/104",
            "localhost",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NETWORK_FORM), "{text}");
        }
    }
}
