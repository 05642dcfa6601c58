//! Hosts and how far they can be reached from. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// How the page was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Where the page was loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageOrigin {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl PageOrigin {
    /// `None` for schemes without a host (`file:`, `about:`).
    pub(crate) fn new(scheme: &str, host: &str, port: u16) -> Option<Self> {
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let host = Host::parse(host)?;
        Some(Self { scheme, host, port })
    }
}

/// How far a place can be reached from. Wider is less: a page of one scope may use that scope and all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// From everywhere; the documentation networks count as such.
    Public,
    /// From one network.
    Private,
    /// From one machine.
    Loopback,
}

/// A host, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    /// As a URL writes it, an IPv6 address in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = text.trim_start_matches('[').trim_end_matches(']');
        match number.parse() {
            Ok(ip) => Some(Self::Ip(ip)),
            Err(_) if text.is_empty() => None,
            Err(_) => Some(Self::Name(text.to_ascii_lowercase())),
        }
    }

    /// The host an address begins with. `None` if there is none, or if it is no place at all (`0.0.0.0`).
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other protocol is no host")]
    pub(crate) fn of(address: &Multiaddr) -> Option<Self> {
        let host = match address.iter().next()? {
            Protocol::Ip4(ip) => Self::Ip(ip.into()),
            Protocol::Ip6(ip) => Self::Ip(ip.into()),
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Self::Name(name.to_ascii_lowercase()),
            _ => return None,
        };
        match &host {
            Self::Ip(ip) if ip.is_unspecified() || ip.is_multicast() => None,
            Self::Ip(_) | Self::Name(_) => Some(host),
        }
    }

    pub(crate) fn protocol(&self) -> Protocol<'static> {
        match self {
            Self::Ip(IpAddr::V4(ip)) => Protocol::Ip4(*ip),
            Self::Ip(IpAddr::V6(ip)) => Protocol::Ip6(*ip),
            Self::Name(name) => Protocol::Dns(name.clone().into()),
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Ip(IpAddr::V4(ip)) => scope_v4(*ip),
            Self::Ip(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
                Some(ip) => scope_v4(ip),
                None => scope_v6(*ip),
            },
            Self::Name(name) if name == "localhost" || name.ends_with(".localhost") => Scope::Loopback,
            // Multicast DNS, and names without a dot, which only a local resolver answers.
            Self::Name(name) if name.ends_with(".local") || !name.contains('.') => Scope::Private,
            Self::Name(_) => Scope::Public,
        }
    }
}

fn scope_v4(ip: Ipv4Addr) -> Scope {
    let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    if ip.is_loopback() {
        Scope::Loopback
    } else if ip.is_private() || ip.is_link_local() || shared {
        Scope::Private
    } else {
        Scope::Public
    }
}

fn scope_v6(ip: Ipv6Addr) -> Scope {
    if ip.is_loopback() {
        Scope::Loopback
    } else if ip.is_unique_local() || ip.is_unicast_link_local() {
        Scope::Private
    } else {
        Scope::Public
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn hosts_have_the_scope_from_which_they_can_be_reached() {
        for (host, scope) in [
            ("127.0.0.1", Scope::Loopback),
            ("127.9.9.9", Scope::Loopback),
            ("[::1]", Scope::Loopback),
            ("localhost", Scope::Loopback),
            ("LOCALHOST", Scope::Loopback),
            ("page.localhost", Scope::Loopback),
            ("10.1.2.3", Scope::Private),
            ("192.168.0.1", Scope::Private),
            ("172.31.0.1", Scope::Private),
            ("172.32.0.1", Scope::Public),
            ("169.254.1.1", Scope::Private),
            ("100.64.0.1", Scope::Private),
            ("100.128.0.1", Scope::Public),
            ("[fd00::1]", Scope::Private),
            ("[fe80::1]", Scope::Private),
            ("[::ffff:192.168.0.1]", Scope::Private),
            ("nas", Scope::Private),
            ("nas.local", Scope::Private),
            ("198.51.100.1", Scope::Public),
            ("[2001:db8::1]", Scope::Public),
            ("relay.example", Scope::Public),
        ] {
            assert_eq!(Host::parse(host).unwrap().scope(), scope, "{host}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_page_without_a_host_has_no_origin() {
        assert_eq!(PageOrigin::new("file", "", 80), None);
        assert_eq!(PageOrigin::new("http", "", 80), None);
        assert!(PageOrigin::new("http", "a", 80).is_some());
    }
}
