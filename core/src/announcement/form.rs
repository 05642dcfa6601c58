//! Which addresses have a form we know, and which of them are worth keeping.
//!
//! Never decides what may be dialled from here: that is [`crate::dial`].

use std::{collections::BTreeMap, net::Ipv4Addr, net::Ipv6Addr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// The longest DNS name (RFC 1035, 2.3.4), as text.
const MAX_DNS_NAME_BYTES: usize = 253;

/// What an address turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Known(Known),
    /// Of no form we know: skipped.
    Unknown,
    /// It leads to another peer.
    Foreign,
}

/// An address of a known form, complete with a final `/p2p/<peer>`. The fields are its rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) address: Multiaddr,
    pub(super) way: Way,
    /// `None` for a direct address.
    relay: Option<PeerId>,
    scope: Scope,
    kind: Kind,
    /// The transport part: what two forms of one way in have in common.
    transport: Multiaddr,
}

/// How the address leads to its peer, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// `…/p2p/RELAY/p2p-circuit/webrtc/p2p/PEER`
    WebRtc,
    /// `…/p2p/RELAY/p2p-circuit/p2p/PEER`
    Circuit,
    /// `…/p2p/PEER`
    Direct,
}

/// From where the transport part can be reached, widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Public,
    Private,
    Loopback,
    /// From nowhere: no transport part, or an unspecified or multicast one. Of use to those who hold the relay.
    Nowhere,
}

/// The transport, the one that most peers can dial first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Wss,
    Ws,
    WebRtcDirect,
    QuicV1,
    Tcp,
    /// Only the relay is named.
    None,
}

/// What `address`, announced by `peer`, is.
pub(super) fn recognise(peer: PeerId, address: &Multiaddr) -> Form {
    let parts = address.iter().collect::<Vec<_>>();
    let (way_in, complete) = match parts.as_slice() {
        [rest @ .., Protocol::P2p(last)] if *last == peer => (rest, address.clone()),
        [.., Protocol::P2p(_)] => return Form::Foreign,
        rest => (rest, address.clone().with(Protocol::P2p(peer))),
    };
    match way_in_form(peer, way_in) {
        Some((way, relay, transport)) => match transport_form(transport) {
            Some((scope, kind)) if kind != Kind::None || way != Way::Direct => {
                let transport = transport.iter().cloned().collect();
                Form::Known(Known {
                    address: complete,
                    way,
                    relay,
                    scope,
                    kind,
                    transport,
                })
            }
            Some(_) | None => Form::Unknown,
        },
        None => Form::Unknown,
    }
}

/// Splits `…/p2p/RELAY/p2p-circuit[/webrtc]`, or takes it as a direct address. One circuit only: none leads through two.
fn way_in_form<'a, 'p>(peer: PeerId, parts: &'a [Protocol<'p>]) -> Option<(Way, Option<PeerId>, &'a [Protocol<'p>])> {
    let (way, hop) = match parts {
        [hop @ .., Protocol::P2pCircuit, Protocol::WebRTC] => (Way::WebRtc, hop),
        [hop @ .., Protocol::P2pCircuit] => (Way::Circuit, hop),
        direct => return Some((Way::Direct, None, direct)),
    };
    match hop {
        [transport @ .., Protocol::P2p(relay)] if *relay != peer => Some((way, Some(*relay), transport)),
        _ => None,
    }
}

fn transport_form(parts: &[Protocol<'_>]) -> Option<(Scope, Kind)> {
    let Some((host, rest)) = parts.split_first() else {
        return Some((Scope::Nowhere, Kind::None));
    };
    let kind = match rest {
        [Protocol::Tcp(1..)] => Kind::Tcp,
        // A path would let an announcement choose what is asked of somebody's web server.
        [Protocol::Tcp(1..), Protocol::Ws(path)] if path == "/" => Kind::Ws,
        [Protocol::Tcp(1..), Protocol::Wss(path)] if path == "/" => Kind::Wss,
        [Protocol::Tcp(1..), Protocol::Tls, Protocol::Ws(path)] if path == "/" => Kind::Wss,
        [Protocol::Udp(1..), Protocol::QuicV1] => Kind::QuicV1,
        [Protocol::Udp(1..), Protocol::WebRTCDirect, hashes @ ..]
            if !hashes.is_empty() && hashes.iter().all(|part| matches!(part, Protocol::Certhash(_))) =>
        {
            Kind::WebRtcDirect
        }
        _ => return None,
    };
    Some((host_scope(host)?, kind))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum: whatever is no host has no scope"
)]
fn host_scope(host: &Protocol<'_>) -> Option<Scope> {
    match host {
        Protocol::Ip4(ip) => Some(ip4_scope(*ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or_else(|| ip6_scope(*ip), ip4_scope)),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => dns_scope(name),
        _ => None,
    }
}

/// The documentation networks count as public: they are the public ones of every lab.
fn ip4_scope(ip: Ipv4Addr) -> Scope {
    let [a, b, ..] = ip.octets();
    match (a, b) {
        (0 | 224.., _) => Scope::Nowhere,
        (127, _) => Scope::Loopback,
        (10, _) | (172, 16..=31) | (192, 168) | (169, 254) | (100, 64..=127) => Scope::Private,
        _ => Scope::Public,
    }
}

fn ip6_scope(ip: Ipv6Addr) -> Scope {
    match ip.segments()[0] {
        _ if ip.is_loopback() => Scope::Loopback,
        _ if ip.is_unspecified() => Scope::Nowhere,
        0xff00.. => Scope::Nowhere,
        0xfc00..=0xfdff | 0xfe80..=0xfebf => Scope::Private,
        _ => Scope::Public,
    }
}

/// `None` for what cannot be a host name: it would end in somebody's resolver, log or screen.
fn dns_scope(name: &str) -> Option<Scope> {
    let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > MAX_DNS_NAME_BYTES || !labels_fit || !name.chars().all(is_host) {
        return None;
    }
    match name.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
        Some("localhost") => Some(Scope::Loopback),
        Some("local") => Some(Scope::Private),
        _ => Some(Scope::Public),
    }
}

/// The best `keep` addresses, best first, without duplicates. The same addresses in the same order give the same result,
/// and what was kept once is kept, in that order, again.
///
/// 1. Circuits before direct addresses: nobody dials a direct address that gossip told.
/// 2. Several relays before several ways to one: each relay's best address, then each one's second, and so on; a relay
///    with a wider scope first, then the one named first.
/// 3. Of one relay: public before private before loopback; one of each transport, WebSocket first, before a second host
///    of any; `/webrtc` before the plain circuit.
pub(super) fn best(known: Vec<Known>, keep: usize) -> Vec<Multiaddr> {
    let mut ways: Vec<Vec<Known>> = by_relay(known);
    for way in &mut ways {
        let turns: Vec<usize> = way.iter().map(|known| turn(known, way)).collect();
        let mut ranked: Vec<(usize, Known)> = turns.into_iter().zip(way.drain(..)).collect();
        ranked.sort_by_key(|(turn, known)| (known.scope, *turn, known.kind, known.way));
        way.extend(ranked.into_iter().map(|(_, known)| known));
    }
    let mut ranked: Vec<(bool, usize, usize, Multiaddr)> = Vec::new();
    for (order, way) in ways.into_iter().enumerate() {
        for (round, known) in way.into_iter().enumerate() {
            ranked.push((known.way == Way::Direct, round, order, known.address));
        }
    }
    ranked.sort_by_key(|(direct, round, order, _)| (*direct, *round, *order));
    ranked.into_iter().take(keep).map(|(.., address)| address).collect()
}

/// Of at most `relays` relays the ways in that we send: the best WebSocket and the best WebRTC-direct one, or the best
/// other one if there is neither. Each with all its forms.
pub(super) fn select_for_sending(known: Vec<Known>, relays: usize) -> Vec<Known> {
    let mut selected = Vec::new();
    for way in by_relay(known).into_iter().take(relays) {
        let best_of = |kinds: &[Kind]| {
            let candidates = way.iter().filter(|known| kinds.contains(&known.kind));
            candidates
                .min_by_key(|known| (known.scope, known.kind))
                .map(|known| known.transport.clone())
        };
        let mut transports = [best_of(&[Kind::Wss, Kind::Ws]), best_of(&[Kind::WebRtcDirect])];
        if transports.iter().all(Option::is_none) {
            transports[0] = best_of(&[Kind::QuicV1, Kind::Tcp, Kind::None]);
        }
        let chosen = |known: &Known| {
            transports
                .iter()
                .flatten()
                .any(|transport| *transport == known.transport)
        };
        selected.extend(way.iter().filter(|known| chosen(known)).cloned());
    }
    selected
}

/// Grouped by relay (direct addresses are one group), duplicates dropped; groups by their widest scope, then by first
/// appearance.
fn by_relay(known: Vec<Known>) -> Vec<Vec<Known>> {
    let mut places: BTreeMap<Option<PeerId>, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<Known>> = Vec::new();
    for known in known {
        let place = *places.entry(known.relay).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        if !groups[place].contains(&known) {
            groups[place].push(known);
        }
    }
    groups.sort_by_key(|group| group.iter().map(|known| known.scope).min());
    groups
}

/// How many other hosts of the same scope and kind were named before this one.
fn turn(known: &Known, all: &[Known]) -> usize {
    let mut earlier: Vec<&Multiaddr> = Vec::new();
    for other in all
        .iter()
        .filter(|other| other.scope == known.scope && other.kind == known.kind)
    {
        if other.transport == known.transport {
            break;
        }
        if !earlier.contains(&&other.transport) {
            earlier.push(&other.transport);
        }
    }
    earlier.len()
}
