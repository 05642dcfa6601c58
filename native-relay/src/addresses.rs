//! Which addresses a relay listens on by default, and which it tells others. Pure: what the host has is an argument.
//!
//! Rules for what is announced:
//! 1. What the user gave, and nothing else; `/webrtc-direct` gets our certificate's hash.
//! 2. Else every listening address; one on all interfaces stands for each interface's address.
//! 3. Addresses found on interfaces must be of the exposure's scope: loopback for loopback, private for the LAN, public
//!    for the public. Never those of container bridges, never link-local ones.
//! 4. Best host first (public, then private, IPv4 before IPv6), for each WebSocket, WebRTC-direct, QUIC, TCP; the first
//!    [`MAX_EXTERNAL_ADDRESSES`] of them.

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
    if !config.external.is_empty() {
        let hash = listening
            .iter()
            .find_map(|listening| certificate_hash(&listening.bound));
        return config
            .external
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
    hosts
}

fn expand(listening: &Listening, exposure: Exposure, interfaces: &[Interface]) -> Vec<(IpAddr, Multiaddr)> {
    let ip = listening.requested;
    let scope = wanted_scope(exposure);
    if ip.is_unspecified() {
        let same_family = interfaces
            .iter()
            .filter(|interface| interface.ip.is_ipv4() == ip.is_ipv4());
        let wanted = same_family.filter(|interface| scope_of(interface.ip) == scope && is_ours(interface));
        return wanted
            .map(|interface| (interface.ip, with_host(&listening.bound, interface.ip)))
            .collect();
    }
    // Listeners on loopback are for this host's own page; a relay that is meant for others does not tell them.
    let announced = match scope_of(ip) {
        Scope::Loopback => exposure == Exposure::Loopback,
        Scope::Private => exposure != Exposure::Public,
        Scope::Public => true,
        Scope::Unusable => false,
    };
    if announced {
        vec![(ip, with_host(&listening.bound, ip))]
    } else {
        Vec::new()
    }
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
