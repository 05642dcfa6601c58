//! Which addresses have a form we know, and which of them are worth keeping.
//!
//! Never decides what may be dialled from here: that is [`crate::dial`].

use std::{cmp::Reverse, collections::BTreeMap};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::dial::route::{Scope, Transport as Kind};

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
    reach: Reach,
    /// The one that most peers can dial first; `None` if only the relay is named.
    kind: Option<Kind>,
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

/// From where the transport part can be reached, widest first; from nowhere if there is none, or if it names no machine
/// that others could dial. Such an address is of use to those who hold the relay.
type Reach = Reverse<Option<Scope>>;

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
            Some((reach, kind)) if kind.is_some() || way != Way::Direct => {
                let transport = transport.iter().cloned().collect();
                Form::Known(Known {
                    address: complete,
                    way,
                    relay,
                    reach,
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

fn transport_form(parts: &[Protocol<'_>]) -> Option<(Reach, Option<Kind>)> {
    let Some((host, rest)) = parts.split_first() else {
        return Some((Reverse(None), None));
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
    Some((reach(host)?, Some(kind)))
}

/// `None` for what is no host at all.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum: whatever is no host has no scope"
)]
fn reach(host: &Protocol<'_>) -> Option<Reach> {
    match host {
        Protocol::Ip4(ip) => Some(Reverse(Scope::of_ip((*ip).into()))),
        Protocol::Ip6(ip) => Some(Reverse(Scope::of_ip((*ip).into()))),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            is_host_name(name).then(|| Reverse(Some(Scope::of_name(&name.to_ascii_lowercase()))))
        }
        _ => None,
    }
}

/// What is none would end in somebody's resolver, log or screen.
fn is_host_name(name: &str) -> bool {
    let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= MAX_DNS_NAME_BYTES && labels_fit && name.chars().all(is_host)
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
        ranked.sort_by_key(|(turn, known)| (known.reach, *turn, known.kind, known.way));
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
        let best_of = |kinds: &[Option<Kind>]| {
            let candidates = way.iter().filter(|known| kinds.contains(&known.kind));
            candidates
                .min_by_key(|known| (known.reach, known.kind))
                .map(|known| known.transport.clone())
        };
        let mut transports = [
            best_of(&[Some(Kind::Wss), Some(Kind::Ws)]),
            best_of(&[Some(Kind::WebRtcDirect)]),
        ];
        if transports.iter().all(Option::is_none) {
            transports[0] = best_of(&[Some(Kind::QuicV1), Some(Kind::Tcp), None]);
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
    groups.sort_by_key(|group| group.iter().map(|known| known.reach).min());
    groups
}

/// How many other hosts of the same scope and kind were named before this one.
fn turn(known: &Known, all: &[Known]) -> usize {
    let mut earlier: Vec<&Multiaddr> = Vec::new();
    for other in all
        .iter()
        .filter(|other| other.reach == known.reach && other.kind == known.kind)
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
