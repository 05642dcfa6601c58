//! Where a relay answers STUN by default, and which URIs it tells pages. Pure.
//!
//! The hosts are those that the relay announces for libp2p, by the same rules; only that a host that the user gave counts
//! once, whatever transports it was given with.

use std::net::{IpAddr, SocketAddr};

use libp2p::{Multiaddr, multiaddr::Protocol};

use super::{Interface, Wanted, announced_hosts, default_hosts, scope_of};
use crate::config::{Config, DEFAULT_STUN_PORT, MAX_EXTERNAL_ADDRESSES, Stun};

/// The most URIs that pages are told; of more than a few a browser complains, and a page picks among them.
const MAX_URIS: usize = MAX_EXTERNAL_ADDRESSES;

/// Where STUN is answered.
pub(crate) fn sockets(config: &Config, interfaces: &[Interface]) -> Vec<(SocketAddr, Wanted)> {
    match &config.stun {
        Stun::Off => Vec::new(),
        Stun::At(sockets) => sockets.iter().map(|socket| (*socket, Wanted::Always)).collect(),
        Stun::ByExposure => default_hosts(config.exposure, interfaces)
            .map(|ip| (SocketAddr::from((ip, DEFAULT_STUN_PORT)), Wanted::IfPossible))
            .collect(),
    }
}

/// What pages are told, as in RFC 7064, best first.
pub(crate) fn uris(config: &Config, bound: &[SocketAddr], interfaces: &[Interface]) -> Vec<String> {
    let mut uris: Vec<String> = if config.external_address.is_empty() {
        let mut found: Vec<SocketAddr> = bound
            .iter()
            .flat_map(|socket| {
                let hosts = announced_hosts(socket.ip(), config.exposure, interfaces);
                hosts.into_iter().map(|ip| SocketAddr::from((ip, socket.port())))
            })
            .collect();
        found.sort_by_key(|socket| (scope_of(socket.ip()), !socket.is_ipv4(), *socket));
        // An IPv6 address as a `SocketAddr` has the brackets that a URI needs.
        found.iter().map(|socket| format!("stun:{socket}")).collect()
    } else {
        config
            .external_address
            .iter()
            .filter_map(|given| given_uri(given, bound))
            .collect()
    };
    let mut seen = std::collections::BTreeSet::new();
    uris.retain(|uri| seen.insert(uri.clone()));
    uris.truncate(MAX_URIS);
    uris
}

/// The host of an address that the user gave, with the port of a socket that can be behind it.
fn given_uri(given: &Multiaddr, bound: &[SocketAddr]) -> Option<String> {
    let port_for = |fits: fn(&SocketAddr) -> bool| bound.iter().find(|socket| fits(socket)).map(SocketAddr::port);
    let any = |_: &SocketAddr| true;
    let ip = |ip: IpAddr| {
        let port = port_for(if ip.is_ipv4() {
            SocketAddr::is_ipv4
        } else {
            SocketAddr::is_ipv6
        });
        port.map(|port| format!("stun:{}", SocketAddr::from((ip, port))))
    };
    let name = |name: &str, port: Option<u16>| port.map(|port| format!("stun:{name}:{port}"));
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the configuration lets only these through"
    )]
    match given.iter().next()? {
        Protocol::Ip4(given) => ip(given.into()),
        Protocol::Ip6(given) => ip(given.into()),
        Protocol::Dns(host) => name(&host, port_for(any)),
        Protocol::Dns4(host) => name(&host, port_for(SocketAddr::is_ipv4)),
        Protocol::Dns6(host) => name(&host, port_for(SocketAddr::is_ipv6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Exposure;

    fn config(exposure: Exposure, stun: Stun) -> Config {
        Config {
            exposure,
            stun,
            ..Config::ephemeral("unused".into())
        }
    }

    fn host() -> Vec<Interface> {
        [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "192.168.1.7"),
            ("eth0", "203.0.113.9"),
            ("eth0", "2001:db8::9"),
            ("eth0", "fd00::9"),
            ("eth0", "fe80::1"),
            ("docker0", "172.17.0.1"),
        ]
        .map(|(name, ip)| Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
        })
        .to_vec()
    }

    fn parsed(sockets: &[&str]) -> Vec<SocketAddr> {
        sockets.iter().map(|socket| socket.parse().unwrap()).collect()
    }

    #[test]
    fn by_default_the_exposure_says_where_and_whom_it_is_told() {
        for (exposure, at, told) in [
            (
                Exposure::Loopback,
                &["127.0.0.1:3478", "[::1]:3478"][..],
                &["stun:127.0.0.1:3478", "stun:[::1]:3478"][..],
            ),
            (
                Exposure::Lan,
                &["127.0.0.1:3478", "[::1]:3478", "192.168.1.7:3478", "[fd00::9]:3478"],
                &["stun:192.168.1.7:3478", "stun:[fd00::9]:3478"],
            ),
            (
                Exposure::Public,
                &["0.0.0.0:3478", "[::]:3478"],
                &["stun:203.0.113.9:3478", "stun:[2001:db8::9]:3478"],
            ),
        ] {
            let config = config(exposure, Stun::ByExposure);
            let sockets = sockets(&config, &host());
            assert!(sockets.iter().all(|(_, wanted)| *wanted == Wanted::IfPossible));
            let sockets: Vec<_> = sockets.into_iter().map(|(socket, _)| socket).collect();
            assert_eq!(sockets, parsed(at), "{exposure:?}");
            assert_eq!(uris(&config, &sockets, &host()), told, "{exposure:?}");
        }
    }

    #[test]
    fn when_given_it_is_there_and_must_work_and_when_off_nowhere() {
        let at = parsed(&["192.168.1.7:5000"]);
        let given = config(Exposure::Lan, Stun::At(at.clone()));
        assert_eq!(sockets(&given, &host()), [(at[0], Wanted::Always)]);
        assert_eq!(uris(&given, &at, &host()), ["stun:192.168.1.7:5000"]);

        let off = config(Exposure::Public, Stun::Off);
        assert_eq!(sockets(&off, &host()), []);
        assert_eq!(uris(&off, &[], &host()), Vec::<String>::new());
    }

    #[test]
    fn when_external_addresses_are_given_each_of_their_hosts_is_told_once_with_a_port_of_its_family() {
        let external = [
            "/dns4/relay.example/tcp/443/tls/ws",
            "/dns4/relay.example/tcp/4001",
            "/ip4/198.51.100.7/tcp/8080/ws",
            "/ip6/2001:db8::7/udp/4001/quic-v1",
            "/dns/both.example/tcp/4001",
            "/dns6/six.example/tcp/4001",
        ];
        let config = Config {
            external_address: external.map(|address| address.parse().unwrap()).to_vec(),
            ..config(Exposure::Public, Stun::ByExposure)
        };
        let both = parsed(&["0.0.0.0:3478", "[::]:3479"]);
        assert_eq!(
            uris(&config, &both, &host()),
            [
                "stun:relay.example:3478",
                "stun:198.51.100.7:3478",
                "stun:[2001:db8::7]:3479",
                "stun:both.example:3478",
                "stun:six.example:3479",
            ]
        );
        assert_eq!(
            uris(&config, &both[..1], &host()),
            [
                "stun:relay.example:3478",
                "stun:198.51.100.7:3478",
                "stun:both.example:3478"
            ]
        );
        assert_eq!(uris(&config, &[], &host()), Vec::<String>::new());
    }
}
