//! Which addresses a relay listens on by default, and which it tells others. Pure: what the host has is an argument.
//!
//! Rules for what is announced:
//! 1. What the user gave, and nothing else; `/webrtc-direct` gets our certificate's hash.
//! 2. Else every listening address; one on all interfaces stands for each interface's address.
//! 3. Addresses found on interfaces must be of the exposure's scope: loopback for loopback, private for the LAN, public
//!    for the public. Never those of container bridges, never link-local ones.
//! 4. Best host first (public, then private, IPv4 before IPv6), for each WebSocket, WebRTC-direct, QUIC, TCP; the first
//!    [`MAX_EXTERNAL_ADDRESSES`] of them.

pub(crate) mod stun;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::{
    config::{Config, DEFAULT_HTTP_PORT, Exposure, LOOPBACKS, MAX_EXTERNAL_ADDRESSES, default_endpoints},
    listeners::Endpoint,
};

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Everybody. The documentation networks count: they are what test networks are made of.
    Public,
    /// The networks this host is in.
    Private,
    /// This host.
    Loopback,
    /// Nobody that could use it in a multiaddr: link-local, multicast, unspecified.
    Unusable,
}

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
}

/// What a listener was asked for, and what it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    /// The address it was given: says whether it is on all interfaces.
    pub(crate) requested: IpAddr,
    /// One address that it reported, with the real port and, for WebRTC-direct, the certificate hash.
    pub(crate) bound: Multiaddr,
}

/// Whether a listener that fails is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It was asked for by name.
    Always,
    /// It is a default; a host without that address family does without.
    IfPossible,
}

/// Where the page is served.
pub(crate) fn http_sockets(config: &Config, interfaces: &[Interface]) -> Vec<(SocketAddr, Wanted)> {
    match config.http {
        Some(socket) => vec![(socket, Wanted::Always)],
        None => default_hosts(config.exposure, interfaces)
            .map(|ip| (SocketAddr::from((ip, DEFAULT_HTTP_PORT)), Wanted::IfPossible))
            .collect(),
    }
}

/// Where libp2p listens besides.
pub(crate) fn endpoints(config: &Config, interfaces: &[Interface]) -> Vec<(Endpoint, Wanted)> {
    if config.listen.is_empty() {
        let hosts = default_hosts(config.exposure, interfaces);
        hosts
            .flat_map(default_endpoints)
            .map(|endpoint| (endpoint, Wanted::IfPossible))
            .collect()
    } else {
        config
            .listen
            .iter()
            .map(|endpoint| (*endpoint, Wanted::Always))
            .collect()
    }
}

fn default_hosts(exposure: Exposure, interfaces: &[Interface]) -> impl Iterator<Item = IpAddr> {
    let (fixed, scope) = match exposure {
        Exposure::Loopback => (LOOPBACKS, None),
        Exposure::Lan => (LOOPBACKS, Some(Scope::Private)),
        Exposure::Public => ([Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], None),
    };
    let found = interfaces
        .iter()
        .filter(move |interface| Some(scope_of(interface.ip)) == scope && is_ours(interface));
    fixed.into_iter().chain(found.map(|interface| interface.ip))
}

/// What to announce; without `/p2p`.
pub(crate) fn external(config: &Config, listening: &[Listening], interfaces: &[Interface]) -> Vec<Multiaddr> {
    if !config.external_address.is_empty() {
        let hash = listening
            .iter()
            .find_map(|listening| certificate_hash(&listening.bound));
        return config
            .external_address
            .iter()
            .map(|address| with_certificate_hash(address.clone(), hash.clone()))
            .collect();
    }
    let mut found: Vec<_> = listening
        .iter()
        .flat_map(|one| expand(one, config.exposure, interfaces))
        .collect();
    found.sort_by_cached_key(|(ip, address)| (scope_of(*ip), !ip.is_ipv4(), *ip, transport_rank(address)));
    found.dedup();
    found
        .into_iter()
        .map(|(_, address)| address)
        .take(MAX_EXTERNAL_ADDRESSES)
        .collect()
}

/// The hosts at which the page can be opened, best first, for the line that the user sees.
pub(crate) fn page_hosts(exposure: Exposure, bound: &[SocketAddr], interfaces: &[Interface]) -> Vec<SocketAddr> {
    let scope = wanted_scope(exposure);
    let mut hosts = Vec::new();
    for socket in bound {
        if !socket.ip().is_unspecified() {
            hosts.push(*socket);
            continue;
        }
        let same_family = interfaces
            .iter()
            .filter(|interface| interface.ip.is_ipv4() == socket.is_ipv4());
        let wanted = same_family.filter(|one| one.ip.is_loopback() || (scope_of(one.ip) == scope && is_ours(one)));
        hosts.extend(wanted.map(|interface| SocketAddr::from((interface.ip, socket.port()))));
    }
    // A page on loopback needs no explanation and works for whoever started the relay; what others open comes after.
    hosts.sort_by_key(|host| (!host.ip().is_loopback(), scope_of(host.ip()), !host.is_ipv4()));
    hosts.dedup();
    // One way to say "this host" is enough.
    let others = hosts.iter().skip(1).skip_while(|host| host.ip().is_loopback()).copied();
    hosts.first().copied().into_iter().chain(others).collect()
}

fn expand(listening: &Listening, exposure: Exposure, interfaces: &[Interface]) -> Vec<(IpAddr, Multiaddr)> {
    announced_hosts(listening.requested, exposure, interfaces)
        .into_iter()
        .map(|ip| (ip, with_host(&listening.bound, ip)))
        .collect()
}

/// The addresses that others are told of a socket on `ip`: rules 2 and 3.
fn announced_hosts(ip: IpAddr, exposure: Exposure, interfaces: &[Interface]) -> Vec<IpAddr> {
    let scope = wanted_scope(exposure);
    if ip.is_unspecified() {
        let same_family = interfaces
            .iter()
            .filter(|interface| interface.ip.is_ipv4() == ip.is_ipv4());
        let wanted = same_family.filter(|interface| scope_of(interface.ip) == scope && is_ours(interface));
        return wanted.map(|interface| interface.ip).collect();
    }
    // Listeners on loopback are for this host's own page; a relay that is meant for others does not tell them.
    let announced = match scope_of(ip) {
        Scope::Loopback => exposure == Exposure::Loopback,
        Scope::Private => exposure != Exposure::Public,
        Scope::Public => true,
        Scope::Unusable => false,
    };
    if announced { vec![ip] } else { Vec::new() }
}

fn wanted_scope(exposure: Exposure) -> Scope {
    match exposure {
        Exposure::Loopback => Scope::Loopback,
        Exposure::Lan => Scope::Private,
        Exposure::Public => Scope::Public,
    }
}

/// RFC 6890's registries, as far as they matter to someone who wants to be reached.
pub(crate) fn scope_of(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            // RFC 6598: behind the provider's NAT.
            let shared = first == 100 && (64..128).contains(&second);
            if ip.is_loopback() {
                Scope::Loopback
            } else if ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || first == 0 || first >= 240 {
                Scope::Unusable
            } else if ip.is_private() || shared {
                Scope::Private
            } else {
                Scope::Public
            }
        }
        IpAddr::V6(ip) => {
            if ip.is_loopback() {
                Scope::Loopback
            } else if ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.is_unspecified()
                || ip.to_ipv4_mapped().is_some()
            {
                Scope::Unusable
            } else if ip.is_unique_local() {
                Scope::Private
            } else {
                Scope::Public
            }
        }
    }
}

/// Whether an interface connects this host with others, rather than with its own containers and virtual machines.
fn is_ours(interface: &Interface) -> bool {
    const CONTAINERS: [&str; 10] = [
        "docker", "veth", "virbr", "vmnet", "cni", "flannel", "cali", "podman", "lxcbr", "lxdbr",
    ];
    let name = interface.name.as_str();
    // Docker's networks are `br-` and twelve hex digits; OpenWrt's `br-lan` is a real one.
    let docker_network = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    !docker_network && !CONTAINERS.iter().any(|prefix| name.starts_with(prefix))
}

fn with_host(address: &Multiaddr, ip: IpAddr) -> Multiaddr {
    Multiaddr::from(ip).into_iter().chain(address.iter().skip(1)).collect()
}

fn certificate_hash(address: &Multiaddr) -> Option<Protocol<'static>> {
    address
        .iter()
        .find(|part| matches!(part, Protocol::Certhash(_)))
        .map(Protocol::acquire)
}

fn with_certificate_hash(address: Multiaddr, hash: Option<Protocol<'static>>) -> Multiaddr {
    match (address.iter().last(), hash) {
        (Some(Protocol::WebRTCDirect), Some(hash)) => address.with(hash),
        _ => address,
    }
}

/// WebSocket first: it is what a page tries first.
fn transport_rank(address: &Multiaddr) -> usize {
    let is = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    if is(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_))) {
        0
    } else if is(|part| matches!(part, Protocol::WebRTCDirect)) {
        1
    } else if is(|part| matches!(part, Protocol::QuicV1)) {
        2
    } else {
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(exposure: Exposure) -> Config {
        Config {
            exposure,
            http: None,
            listen: Vec::new(),
            ..Config::ephemeral("unused".into())
        }
    }

    /// A laptop with a LAN, a VPN, containers, and a public IPv6 address.
    fn host() -> Vec<Interface> {
        [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "192.168.1.7"),
            ("eth0", "203.0.113.9"),
            ("eth0", "2001:db8::9"),
            ("eth0", "fe80::1"),
            ("wg0", "10.8.0.2"),
            ("tailscale0", "100.100.1.1"),
            ("docker0", "172.17.0.1"),
            ("br-0123456789ab", "172.18.0.1"),
            ("br-lan", "192.168.9.1"),
            ("veth12ab", "169.254.3.3"),
            ("virbr0", "192.168.122.1"),
        ]
        .map(|(name, ip)| Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
        })
        .to_vec()
    }

    fn listening(requested: &str, bound: &str) -> Listening {
        Listening {
            requested: requested.parse().unwrap(),
            bound: bound.parse().unwrap(),
        }
    }

    fn announced(config: &Config, listening: &[Listening]) -> Vec<String> {
        external(config, listening, &host())
            .iter()
            .map(Multiaddr::to_string)
            .collect()
    }

    #[test]
    fn every_address_has_its_scope() {
        for (ip, scope) in [
            ("127.3.2.1", Scope::Loopback),
            ("::1", Scope::Loopback),
            ("10.0.0.1", Scope::Private),
            ("172.31.255.255", Scope::Private),
            ("172.32.0.1", Scope::Public),
            ("192.168.0.1", Scope::Private),
            ("100.64.0.1", Scope::Private),
            ("100.128.0.1", Scope::Public),
            ("fd00::1", Scope::Private),
            ("198.51.100.1", Scope::Public),
            ("2001:db8::1", Scope::Public),
            ("1.1.1.1", Scope::Public),
            ("169.254.1.1", Scope::Unusable),
            ("fe80::1", Scope::Unusable),
            ("0.0.0.0", Scope::Unusable),
            ("224.0.0.1", Scope::Unusable),
            ("255.255.255.255", Scope::Unusable),
            ("::", Scope::Unusable),
            ("::ffff:1.1.1.1", Scope::Unusable),
            ("ff02::1", Scope::Unusable),
        ] {
            assert_eq!(scope_of(ip.parse().unwrap()), scope, "{ip}");
        }
    }

    #[test]
    fn when_listening_everywhere_only_addresses_of_the_exposures_scope_are_announced() {
        let everywhere = [
            listening("0.0.0.0", "/ip4/127.0.0.1/tcp/4001"),
            listening("::", "/ip6/::1/tcp/4001"),
        ];
        for (exposure, expected) in [
            (
                Exposure::Loopback,
                &["/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/4001"][..],
            ),
            (
                Exposure::Lan,
                &[
                    "/ip4/10.8.0.2/tcp/4001",
                    "/ip4/100.100.1.1/tcp/4001",
                    "/ip4/192.168.1.7/tcp/4001",
                    "/ip4/192.168.9.1/tcp/4001",
                ],
            ),
            (
                Exposure::Public,
                &["/ip4/203.0.113.9/tcp/4001", "/ip6/2001:db8::9/tcp/4001"],
            ),
        ] {
            assert_eq!(announced(&config(exposure), &everywhere), expected, "{exposure:?}");
        }
    }

    #[test]
    fn when_a_relay_is_meant_for_others_its_loopback_listeners_are_not_announced() {
        let both = [
            listening("127.0.0.1", "/ip4/127.0.0.1/tcp/8080/ws"),
            listening("192.168.1.7", "/ip4/192.168.1.7/tcp/8080/ws"),
            listening("172.17.0.1", "/ip4/172.17.0.1/tcp/8080/ws"),
        ];
        assert_eq!(announced(&config(Exposure::Public), &both), Vec::<String>::new());
        let lan = announced(&config(Exposure::Lan), &both);
        assert!(!lan.iter().any(|address| address.contains("127.0.0.1")), "{lan:?}");
        assert!(lan.contains(&"/ip4/192.168.1.7/tcp/8080/ws".to_owned()), "{lan:?}");
    }

    #[test]
    fn when_there_are_many_the_best_hosts_keep_all_their_transports() {
        const HASH: &str = "uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";
        let all: Vec<_> = ["0.0.0.0", "::"]
            .into_iter()
            .flat_map(|any| {
                let ip = if any == "::" { "/ip6/::1" } else { "/ip4/127.0.0.1" };
                [
                    listening(any, &format!("{ip}/tcp/4001")),
                    listening(any, &format!("{ip}/udp/4001/quic-v1")),
                    listening(any, &format!("{ip}/udp/4003/webrtc-direct/certhash/{HASH}")),
                    listening(any, &format!("{ip}/tcp/8080/ws")),
                ]
            })
            .collect();
        let many: Vec<_> = (1..=9)
            .map(|n| Interface {
                name: format!("eth{n}"),
                ip: format!("203.0.113.{n}").parse().unwrap(),
            })
            .collect();
        let addresses = external(&config(Exposure::Public), &all, &many);
        assert_eq!(addresses.len(), MAX_EXTERNAL_ADDRESSES);
        let first: Vec<_> = addresses.iter().take(4).map(Multiaddr::to_string).collect();
        assert_eq!(
            first,
            [
                "/ip4/203.0.113.1/tcp/8080/ws".to_owned(),
                format!("/ip4/203.0.113.1/udp/4003/webrtc-direct/certhash/{HASH}"),
                "/ip4/203.0.113.1/udp/4001/quic-v1".to_owned(),
                "/ip4/203.0.113.1/tcp/4001".to_owned(),
            ]
        );
    }

    #[test]
    fn when_addresses_are_given_they_are_announced_and_nothing_else() {
        const HASH: &str = "uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";
        let given = [
            "/dns/relay.example/tcp/443/tls/ws",
            "/ip4/203.0.113.1/udp/4003/webrtc-direct",
        ];
        let external_address = given.iter().map(|address| address.parse().unwrap()).collect();
        let config = Config {
            external_address,
            ..config(Exposure::Public)
        };
        let bound = format!("/ip4/203.0.113.9/udp/4003/webrtc-direct/certhash/{HASH}");
        assert_eq!(
            announced(&config, &[listening("0.0.0.0", &bound)]),
            [given[0].to_owned(), format!("{}/certhash/{HASH}", given[1])]
        );
    }

    #[test]
    fn without_flags_everything_is_on_loopback_in_both_families() {
        let config = config(Exposure::Loopback);
        let sockets: Vec<_> = http_sockets(&config, &host())
            .iter()
            .map(|(socket, _)| socket.to_string())
            .collect();
        assert_eq!(sockets, ["127.0.0.1:8080", "[::1]:8080"]);
        let endpoints: Vec<_> = endpoints(&config, &host())
            .iter()
            .map(|(endpoint, _)| endpoint.to_string())
            .collect();
        assert_eq!(
            endpoints,
            [
                "/ip4/127.0.0.1/tcp/4001",
                "/ip4/127.0.0.1/udp/4001/quic-v1",
                "/ip4/127.0.0.1/udp/4003/webrtc-direct",
                "/ip6/::1/tcp/4001",
                "/ip6/::1/udp/4001/quic-v1",
                "/ip6/::1/udp/4004/webrtc-direct",
            ]
        );
    }

    #[test]
    fn on_the_lan_private_interfaces_are_listened_on_and_shown_after_loopback() {
        let config = config(Exposure::Lan);
        let sockets: Vec<_> = http_sockets(&config, &host())
            .into_iter()
            .map(|(socket, _)| socket)
            .collect();
        let hosts: Vec<_> = page_hosts(Exposure::Lan, &sockets, &host())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            hosts,
            [
                "127.0.0.1:8080",
                "192.168.1.7:8080",
                "10.8.0.2:8080",
                "100.100.1.1:8080",
                "192.168.9.1:8080",
            ]
        );
    }
}
