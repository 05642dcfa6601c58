//! What an address says about where a connection comes from: through a circuit or not, and from which network.
//!
//! Resolves nothing. Which networks are counted is for the application to say
//! ([`Behaviour::set_networks`](crate::Behaviour::set_networks)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p_core::{Multiaddr, multiaddr::Protocol};

/// How many bits of an IPv6 address say whose it is: a site gets a /56 or more.
const IPV6_PREFIX: u32 = 56;

/// What counts as one where something is limited per network: one IPv4 address, or one IPv6 /56, which is what a provider
/// gives to one household at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(Prefix);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Prefix {
    V4(Ipv4Addr),
    /// With the rest of the address cleared.
    V6(Ipv6Addr),
}

/// In which network a connection from an address is counted; `None`: in none.
pub(crate) type Networks = dyn Fn(&Multiaddr) -> Option<Network> + Send;

impl Network {
    /// Of the first IP address in `address`. `None`: there is none.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: no other part is an IP address"
    )]
    pub fn of(address: &Multiaddr) -> Option<Self> {
        address.iter().find_map(|part| match part {
            Protocol::Ip4(ip) => Some(Self::from(IpAddr::V4(ip))),
            Protocol::Ip6(ip) => Some(Self::from(IpAddr::V6(ip))),
            _ => None,
        })
    }
}

/// An IPv4 address that is written as an IPv6 one is an IPv4 address.
impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => Prefix::V4(ip),
            IpAddr::V6(ip) => {
                let mask = u128::MAX << (u128::BITS - IPV6_PREFIX);
                Prefix::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        })
    }
}

/// How a connection comes to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Direct,
    /// Through another relay.
    Relayed,
}

impl Route {
    /// Relayed is what ends in a circuit: an address that goes on after `/p2p-circuit`, as one with `/webrtc` does, used the
    /// circuit to find a way of its own.
    pub(crate) fn of(address: &Multiaddr) -> Self {
        let last = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).last();
        match last {
            Some(Protocol::P2pCircuit) => Self::Relayed,
            _ => Self::Direct,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("valid")
    }

    #[test]
    fn when_two_addresses_are_of_one_site_they_are_one_network() {
        for (left, right, same) in [
            ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/2/quic-v1", true),
            ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1", false),
            ("/ip6/2001:db8:0:1200::1/tcp/1", "/ip6/2001:db8:0:12ff:9::2/tcp/1", true),
            ("/ip6/2001:db8:0:1200::1/tcp/1", "/ip6/2001:db8:0:1300::1/tcp/1", false),
            ("/ip6/::ffff:192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1", true),
        ] {
            let (left, right) = (Network::of(&address(left)), Network::of(&address(right)));
            assert!(left.is_some());
            assert_eq!(left == right, same, "{left:?} {right:?}");
        }
        assert_eq!(Network::of(&address("/memory/7")), None);
    }

    #[test]
    fn when_an_address_ends_in_a_circuit_it_is_relayed() {
        const RELAY: &str = "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWL3XJ9EMCyZvmmGXL2LMiVBtrVa2BuESsJiXkSj7333Jw";
        for (end, expected) in [
            ("", Route::Direct),
            ("/p2p-circuit", Route::Relayed),
            (
                "/p2p-circuit/p2p/12D3KooWL3XJ9EMCyZvmmGXL2LMiVBtrVa2BuESsJiXkSj7333Jw",
                Route::Relayed,
            ),
            ("/p2p-circuit/webrtc", Route::Direct),
        ] {
            assert_eq!(Route::of(&address(&format!("{RELAY}{end}"))), expected, "{end}");
        }
    }
}
