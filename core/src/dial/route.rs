//! What an address or an endpoint says about the way to a peer: its form, its transport, how far it reaches.
//!
//! Only reads addresses. Never resolves a name, and never decides whether an address may be dialled: that is
//! [`plan`](super::plan).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, multiaddr::Protocol};

use super::Route;
use crate::reservation::HeldRelay;

/// More parts than any form we know has; an address with more is not looked at further.
const MAX_PARTS: usize = 16;

/// How far an address reaches. The order is from the nearest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This machine only.
    Loopback,
    /// A private network: RFC 1918, carrier-grade NAT (RFC 6598), unique local (RFC 4193), benchmarking (RFC 2544), and names
    /// that only a local resolver knows.
    Private,
    /// The Internet; the documentation networks count as part of it.
    Public,
}

impl Scope {
    /// The scope of an IP address. `None`: nobody can be dialled there from another machine or without a zone
    /// (unspecified, multicast, broadcast, reserved, link-local).
    #[must_use]
    pub fn of_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        match address.octets() {
            [127, ..] => Some(Self::Loopback),
            // "This network", link-local (cloud metadata services live there), multicast, reserved, broadcast.
            [0, ..] | [169, 254, ..] | [224..=255, ..] => None,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Some(Self::Private),
            [198, 18 | 19, ..] | [192, 0, 0, _] => Some(Self::Private),
            _ => Some(Self::Public),
        }
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        if let Some(v4) = address.to_ipv4_mapped() {
            return Self::of_v4(v4);
        }
        let [first, second, third, _, _, _, seventh, eighth] = address.segments();
        match first {
            0 if address == Ipv6Addr::LOCALHOST => Some(Self::Loopback),
            // NAT64 and 6to4 reach an IPv4 address: only a public one means anything beyond this host's own translator.
            0x0064 if second == 0xff9b => public_v4(seventh, eighth),
            0x2002 => public_v4(second, third),
            0x2000..=0x3fff => Some(Self::Public),
            0xfc00..=0xfdff => Some(Self::Private),
            _ => None,
        }
    }

    /// The scope of a DNS name in lower case, without a final dot.
    pub(crate) fn of_name(name: &str) -> Self {
        const LOCAL_SUFFIXES: [&str; 3] = [".local", ".internal", ".home.arpa"];
        if name == "localhost" || name.ends_with(".localhost") {
            Self::Loopback
        } else if !name.contains('.') || LOCAL_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            Self::Private
        } else {
            Self::Public
        }
    }
}

fn public_v4(high: u16, low: u16) -> Option<Scope> {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Scope::of_v4(Ipv4Addr::new(a, b, c, d)).filter(|scope| *scope == Scope::Public)
}

/// The machine that a transport address names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// By number; an IPv4-mapped IPv6 address is the IPv4 one.
    Ip(IpAddr),
    /// By name, in lower case, without the final dot.
    Name(String),
}

/// A transport that we know how to dial somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// WebSocket over TLS.
    Wss,
    /// WebSocket in the clear.
    Ws,
    /// WebRTC towards a server whose certificate hash is in the address.
    WebRtcDirect,
    /// QUIC, version 1.
    QuicV1,
    /// Plain TCP.
    Tcp,
}

/// The part of an address that a transport dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportAddress {
    /// The address itself, without `/p2p`.
    pub address: Multiaddr,
    /// What it is spoken over.
    pub transport: Transport,
    /// The machine.
    pub host: Host,
    /// The TCP or UDP port, never zero.
    pub port: u16,
    /// How far it reaches.
    pub scope: Scope,
}

/// The relay that an address leads through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The relay.
    pub relay: PeerId,
    /// How to get to it; `None` if that part is absent or has no form we know, which is no matter once we are connected to it.
    pub transport: Option<TransportAddress>,
}

/// The forms of address that we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressForm {
    /// `<transport>/p2p/<relay>/p2p-circuit`: the plain circuit.
    Circuit(Hop),
    /// `<transport>/p2p/<relay>/p2p-circuit/webrtc`: browser to browser, signalled over the circuit.
    WebRtc(Hop),
    /// A transport address of the peer's own.
    Direct(TransportAddress),
}

/// An address, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// The final `/p2p`, if there is one.
    pub target: Option<PeerId>,
    /// Everything before it.
    pub form: AddressForm,
}

/// Reads an address. `None`: it has no form we know (circuits within circuits among them).
#[must_use]
pub fn classify(address: &Multiaddr) -> Option<Classified> {
    let parts: Vec<Protocol<'_>> = address.iter().take(MAX_PARTS + 1).collect();
    if parts.len() > MAX_PARTS {
        return None;
    }
    let is_circuit = |part: &Protocol<'_>| matches!(part, Protocol::P2pCircuit);
    let Some(at) = parts.iter().position(is_circuit) else {
        let (transport, target) = match parts.as_slice() {
            [transport @ .., Protocol::P2p(target)] => (transport, Some(*target)),
            transport => (transport, None),
        };
        let form = AddressForm::Direct(transport_address(transport)?);
        return Some(Classified { target, form });
    };
    let [transport @ .., Protocol::P2p(relay)] = &parts[..at] else {
        return None;
    };
    // Two relays in front of the circuit mean nothing.
    if transport.iter().any(|part| matches!(part, Protocol::P2p(_))) {
        return None;
    }
    let hop = Hop {
        relay: *relay,
        transport: transport_address(transport),
    };
    let (target, form) = match &parts[at + 1..] {
        [] => (None, AddressForm::Circuit(hop)),
        [Protocol::P2p(target)] => (Some(*target), AddressForm::Circuit(hop)),
        [Protocol::WebRTC] => (None, AddressForm::WebRtc(hop)),
        [Protocol::WebRTC, Protocol::P2p(target)] => (Some(*target), AddressForm::WebRtc(hop)),
        _ => return None,
    };
    Some(Classified { target, form })
}

/// Whether a WebSocket client can put it into the first line of its request (RFC 3986, 3.3 and 3.4) and nothing comes of it
/// but a path: who says where it is could say there, too, what is to be sent.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

fn transport_address(parts: &[Protocol<'_>]) -> Option<TransportAddress> {
    let (first, rest) = parts.split_first()?;
    let (host, scope) = host(first)?;
    let (port, transport) = match rest {
        [Protocol::Tcp(port)] => (*port, Transport::Tcp),
        [Protocol::Tcp(port), Protocol::Ws(path)] if is_path(path) => (*port, Transport::Ws),
        [Protocol::Tcp(port), Protocol::Wss(path)]
        | [Protocol::Tcp(port), Protocol::Tls, Protocol::Ws(path)]
        | [Protocol::Tcp(port), Protocol::Tls, Protocol::Sni(_), Protocol::Ws(path)]
            if is_path(path) =>
        {
            (*port, Transport::Wss)
        }
        [Protocol::Udp(port), Protocol::QuicV1] => (*port, Transport::QuicV1),
        [Protocol::Udp(port), Protocol::WebRTCDirect, Protocol::Certhash(_)] => (*port, Transport::WebRtcDirect),
        _ => return None,
    };
    if port == 0 {
        return None;
    }
    Some(TransportAddress {
        address: parts.iter().cloned().collect(),
        transport,
        host,
        port,
        scope,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many protocols of multiaddr only these begin an address we know"
)]
fn host(part: &Protocol<'_>) -> Option<(Host, Scope)> {
    match part {
        Protocol::Ip4(v4) => Some((Host::Ip((*v4).into()), Scope::of_v4(*v4)?)),
        Protocol::Ip6(v6) => Some((Host::Ip(IpAddr::V6(*v6).to_canonical()), Scope::of_v6(*v6)?)),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            // A number in a name's place would escape the rules for numbers.
            if name.is_empty() || name.rsplit('.').next().is_some_and(looks_numeric) || name.contains([':', '/', '@']) {
                return None;
            }
            let scope = Scope::of_name(&name);
            Some((Host::Name(name), scope))
        }
        _ => None,
    }
}

/// Whether resolvers and URL parsers would take a name that ends in this label for an IPv4 address (`1`, `0x7f`, `017`).
fn looks_numeric(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
        || label
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Route {
    /// How an established connection reaches its peer. `held` names the relay of an inbound circuit whose local address does
    /// not: the one learnt without its peer id. `None`: a circuit through a relay that can no longer be told; close it.
    ///
    /// [`ConnectedPoint::is_relayed`] is no help: it also says so of a browser-to-browser connection, because the address
    /// that was dialled for it leads through a circuit.
    #[must_use]
    pub fn of(endpoint: &ConnectedPoint, held: &[HeldRelay]) -> Option<Self> {
        let address = match endpoint {
            ConnectedPoint::Dialer { address, .. } => address,
            ConnectedPoint::Listener {
                local_addr,
                send_back_addr,
            } => {
                if [local_addr, send_back_addr].into_iter().any(is_webrtc) {
                    return Some(Self::WebRtc);
                }
                local_addr
            }
        };
        if is_webrtc(address) {
            return Some(Self::WebRtc);
        }
        if !address.iter().any(|part| matches!(part, Protocol::P2pCircuit)) {
            return Some(Self::Direct);
        }
        let before: Vec<_> = address
            .iter()
            .take_while(|part| !matches!(part, Protocol::P2pCircuit))
            .collect();
        if let Some(Protocol::P2p(relay)) = before.last() {
            return Some(Self::Circuit { relay: *relay });
        }
        let transport: Multiaddr = before.into_iter().collect();
        let relay = held.iter().find(|relay| relay.address == transport)?.peer;
        Some(Self::Circuit { relay })
    }
}

fn is_webrtc(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::WebRTC))
}

/// The same address without a final `/p2p`.
#[must_use]
pub fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

#[cfg(test)]
mod tests {
    use libp2p::core::{Endpoint, transport::PortUse};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const PEER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn address(text: &str) -> Multiaddr {
        text.replace("RELAY", RELAY)
            .replace("PEER", PEER)
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_websocket_path_is_one_or_the_address_is_none() {
        for (path, known) in [
            ("%2F", true),
            ("%2Frelay.ws%3Fa=b", true),
            ("relay.ws", false),
            ("%2F%20HTTP%2F1.1%0D%0AHost:%20victim%0D%0A%0D%0A", false),
            ("%2Fa%0Ab", false),
            ("%2F%C3%A9", false),
        ] {
            for transport in ["x-parity-ws", "x-parity-wss", "tls/x-parity-ws"] {
                let text = format!("/ip4/203.0.113.7/tcp/80/{transport}/{path}");
                assert_eq!(classify(&address(&text)).is_some(), known, "{text}");
            }
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn every_kind_of_host_has_its_scope_or_none() {
        let cases = [
            ("/ip4/127.8.0.1", Some(Scope::Loopback)),
            ("/ip6/::1", Some(Scope::Loopback)),
            ("/dns4/LocalHost", Some(Scope::Loopback)),
            ("/dns/a.localhost.", Some(Scope::Loopback)),
            ("/ip6/::ffff:127.0.0.1", Some(Scope::Loopback)),
            ("/ip4/10.1.2.3", Some(Scope::Private)),
            ("/ip4/172.31.0.1", Some(Scope::Private)),
            ("/ip4/192.168.1.9", Some(Scope::Private)),
            ("/ip4/100.64.0.1", Some(Scope::Private)),
            ("/ip6/fd00::1", Some(Scope::Private)),
            ("/ip6/::ffff:10.0.0.1", Some(Scope::Private)),
            ("/dns/router", Some(Scope::Private)),
            ("/dns/printer.local", Some(Scope::Private)),
            ("/ip4/172.32.0.1", Some(Scope::Public)),
            ("/ip4/100.128.0.1", Some(Scope::Public)),
            ("/ip4/192.0.2.1", Some(Scope::Public)),
            ("/ip4/198.51.100.7", Some(Scope::Public)),
            ("/ip4/203.0.113.7", Some(Scope::Public)),
            ("/ip6/2001:db8::1", Some(Scope::Public)),
            ("/ip6/2606:4700::1111", Some(Scope::Public)),
            ("/ip6/64:ff9b::808:808", Some(Scope::Public)),
            ("/dns6/relay.example", Some(Scope::Public)),
            ("/ip4/0.0.0.0", None),
            ("/ip4/169.254.169.254", None),
            ("/ip4/224.0.0.251", None),
            ("/ip4/255.255.255.255", None),
            ("/ip6/::", None),
            ("/ip6/fe80::1", None),
            ("/ip6/ff02::1", None),
            ("/ip6/::ffff:169.254.169.254", None),
            ("/ip6/64:ff9b::7f00:1", None),
            ("/ip6/2002:7f00:1::", None),
            ("/dns/127.0.0.1", None),
            ("/dns/0x7f000001", None),
            ("/dns/2130706433", None),
        ];
        for (host, expected) in cases {
            let scope = match classify(&address(&format!("{host}/tcp/443/tls/ws"))) {
                Some(Classified {
                    form: AddressForm::Direct(direct),
                    ..
                }) => Some(direct.scope),
                _ => None,
            };
            assert_eq!(scope, expected, "{host}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn every_transport_is_told_by_its_parts() {
        const CERT: &str = "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g";
        let cases = [
            ("/ip4/192.0.2.1/tcp/1", Some(Transport::Tcp)),
            ("/ip4/192.0.2.1/tcp/1/ws", Some(Transport::Ws)),
            ("/dns/a.example/tcp/1/wss", Some(Transport::Wss)),
            ("/dns/a.example/tcp/1/tls/ws", Some(Transport::Wss)),
            ("/dns/a.example/tcp/1/tls/sni/a.example/ws", Some(Transport::Wss)),
            ("/ip4/192.0.2.1/udp/1/quic-v1", Some(Transport::QuicV1)),
            (
                &format!("/ip4/192.0.2.1/udp/1/webrtc-direct/certhash/{CERT}"),
                Some(Transport::WebRtcDirect),
            ),
            ("/ip4/192.0.2.1/udp/1/webrtc-direct", None),
            ("/ip4/192.0.2.1/udp/1/quic-v1/webtransport", None),
            ("/ip4/192.0.2.1/tcp/0/ws", None),
            ("/ip4/192.0.2.1", None),
            ("/memory/7", None),
            ("/dnsaddr/a.example", None),
            ("/tcp/1/ip4/192.0.2.1", None),
        ];
        for (text, expected) in cases {
            let transport = match classify(&address(text)) {
                Some(Classified {
                    form: AddressForm::Direct(direct),
                    ..
                }) => Some(direct.transport),
                _ => None,
            };
            assert_eq!(transport, expected, "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_circuit_is_told_from_webrtc_and_a_nested_circuit_is_nothing() {
        let form = |text: &str| classify(&address(text));
        let relay: PeerId = RELAY.parse().unwrap();
        let peer: PeerId = PEER.parse().unwrap();
        let circuit = form("/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/p2p/PEER").unwrap();
        assert_eq!(circuit.target, Some(peer));
        assert!(
            matches!(circuit.form, AddressForm::Circuit(Hop { relay: through, transport: Some(_) }) if through == relay)
        );
        let webrtc = form("/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/webrtc/p2p/PEER").unwrap();
        assert!(matches!(webrtc.form, AddressForm::WebRtc(_)));
        let by_id_alone = form("/p2p/RELAY/p2p-circuit").unwrap();
        assert_eq!(by_id_alone.target, None);
        assert!(matches!(
            by_id_alone.form,
            AddressForm::Circuit(Hop { transport: None, .. })
        ));
        for nonsense in [
            "/ip4/192.0.2.1/tcp/1/ws/p2p-circuit/p2p/PEER",
            "/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/p2p/RELAY/p2p-circuit/p2p/PEER",
            "/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p/RELAY/p2p-circuit/p2p/PEER",
            "/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/ip4/192.0.2.9/tcp/1",
        ] {
            assert_eq!(form(nonsense), None, "{nonsense}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn an_endpoint_is_a_circuit_only_if_its_bytes_go_through_the_relay() {
        let relay: PeerId = RELAY.parse().unwrap();
        let held = [HeldRelay {
            peer: relay,
            address: address("/memory/5"),
        }];
        let dialer = |text: &str| ConnectedPoint::Dialer {
            address: address(text),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        let listener = |local: &str, remote: &str| ConnectedPoint::Listener {
            local_addr: address(local),
            send_back_addr: address(remote),
        };
        let circuit = Some(Route::Circuit { relay });
        let cases = [
            (dialer("/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY"), Some(Route::Direct)),
            (
                dialer("/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/p2p/PEER"),
                circuit,
            ),
            (
                dialer("/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/webrtc/p2p/PEER"),
                Some(Route::WebRtc),
            ),
            (
                listener("/ip4/192.0.2.1/tcp/1/p2p/RELAY/p2p-circuit", "/p2p/PEER"),
                circuit,
            ),
            (listener("/memory/5/p2p-circuit", "/p2p/PEER"), circuit),
            (listener("/memory/6/p2p-circuit", "/p2p/PEER"), None),
            (listener("/webrtc", "/webrtc/p2p/PEER"), Some(Route::WebRtc)),
            (listener("/memory/1", "/memory/2"), Some(Route::Direct)),
        ];
        for (endpoint, expected) in cases {
            assert_eq!(Route::of(&endpoint, &held), expected, "{endpoint:?}");
        }
    }
}
