//! A network in the configuration: an address, or addresses with a common prefix.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::units::as_text;

/// Addresses with a common prefix, written as `ADDRESS/BITS` or, if it is only one, as `ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub struct NetworkError;

const EXPECTED: &str = "an address or a network, such as \"203.0.113.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"";

impl Network {
    /// Whether the address is one of them. An IPv4 address that is written as an IPv6 one is an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>()
            .or_else(|_| address())
            .map(|network| Self(network.trunc()))
            .map_err(|_| NetworkError)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

as_text!(Network, EXPECTED);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_an_address_has_the_prefix_it_is_in_the_network() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.1.2.3/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("0.0.0.0/0", "203.0.113.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{address} in {network}"
            );
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn when_a_text_is_no_network_it_says_what_is() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0/8", "/8", "::/129"] {
            assert!(
                text.parse::<Network>().unwrap_err().to_string().contains("10.0.0.0/8"),
                "{text}"
            );
        }
    }
}
