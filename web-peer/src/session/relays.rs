//! Which relay addresses the page tries, and in which order. Pure.
//!
//! 1. The page's own origin: whoever could load the page can reach it.
//! 2. The addresses that `/relay.json` lists: WebSocket before WebRTC-direct; among each, those on the page's own host,
//!    then public ones, then private ones, then loopback ones.
//!
//! Left out is what cannot work from here: transports no browser speaks, plain `ws` from an https page, private and
//! loopback addresses unless the page itself was loaded from such a place, addresses of another peer.
//! The page holds a second slot, on another relay of its relay's network ([`second`] says which), by the same rules for
//! addresses.
//! What the user gives as `?relay=` is the user's word: it replaces everything, and only the transport is judged.

mod document;
mod parameter;
mod place;
pub(crate) mod second;
pub(crate) mod stun;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::{
    config::Config,
    dial::{
        self,
        plan::{PageScheme, Vantage},
    },
    reservation::RelaySpec,
};

pub(crate) use self::{
    document::{DocumentError, Reach, RelayDocument},
    parameter::{ParameterError, from_parameters},
    place::{Host, PageOrigin, Scheme, Scope},
};

/// Addresses tried for one relay; it may not make us try more.
pub(crate) const MAX_ADDRESSES: usize = 16;

/// The path under which a debug build looks for the relay's WebSocket at its own origin: Trunk's development server
/// can pass a WebSocket on only under a path of its own. The relay takes any path.
const OWN_ORIGIN_PATH: &str = if cfg!(debug_assertions) { "/relay.ws" } else { "/" };

/// A transport that pages speak. Its order is the order of trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    /// `ws`.
    WebSocket,
    /// `tls/ws`, also written `wss`.
    SecureWebSocket,
    /// `webrtc-direct`, with the hash of its certificate.
    WebRtcDirect,
}

/// The relay that serves the page, in the order in which its addresses are tried.
pub(crate) fn from_document(origin: &PageOrigin, document: &RelayDocument) -> RelaySpec {
    let mut addrs = vec![own_address(origin)];
    for address in listed(origin, document.peer, &document.addrs) {
        if addrs.len() < MAX_ADDRESSES && !addrs.contains(&address) && !same_place(&addrs[0], &address) {
            addrs.push(address);
        }
    }
    RelaySpec {
        peer: Some(document.peer),
        addrs,
    }
}

/// The other relays of the network that this page could use.
pub(crate) fn others(origin: &PageOrigin, document: &RelayDocument) -> Vec<RelaySpec> {
    let others = document.relays.iter().filter(|(peer, _)| *peer != document.peer);
    let specs = others.map(|(peer, addrs)| RelaySpec {
        peer: Some(*peer),
        addrs: listed(origin, *peer, addrs).into_iter().take(MAX_ADDRESSES).collect(),
    });
    specs.filter(|spec| !spec.addrs.is_empty()).collect()
}

/// Those addresses of a relay that can work from here, in the order in which they are tried; without `/p2p`.
fn listed(origin: &PageOrigin, relay: PeerId, addrs: &[Multiaddr]) -> Vec<Multiaddr> {
    let usable = addrs.iter().filter_map(|address| usable(origin, relay, address));
    let mut listed: Vec<(Rank, Multiaddr)> = usable.collect();
    // Stable: among equals the relay's own order stands.
    listed.sort_by_key(|(rank, _)| *rank);
    listed.into_iter().map(|(_, address)| address).collect()
}

/// How this page looks at the addresses of strangers: never nearer to the user's machine than the page itself is.
pub(crate) fn config(origin: Option<&PageOrigin>) -> Config {
    let (scheme, scope) = match origin {
        Some(origin) => (origin.scheme, origin.host.scope()),
        None => (Scheme::Https, Scope::Public),
    };
    let mut config = Config::default();
    config.dial.vantage = Vantage::Page {
        scheme: match scheme {
            Scheme::Http => PageScheme::Http,
            Scheme::Https => PageScheme::Https,
        },
        scope: match scope {
            Scope::Public => dial::route::Scope::Public,
            Scope::Private => dial::route::Scope::Private,
            Scope::Loopback => dial::route::Scope::Loopback,
        },
    };
    config
}

/// The WebSocket at the page's own origin.
fn own_address(origin: &PageOrigin) -> Multiaddr {
    let address = Multiaddr::empty()
        .with(origin.host.protocol())
        .with(Protocol::Tcp(origin.port));
    match origin.scheme {
        Scheme::Http => address.with(Protocol::Ws(OWN_ORIGIN_PATH.into())),
        Scheme::Https => address.with(Protocol::Tls).with(Protocol::Ws(OWN_ORIGIN_PATH.into())),
    }
}

/// Host, port and transport are the same, whatever the path.
fn same_place(own: &Multiaddr, other: &Multiaddr) -> bool {
    let place = |address: &Multiaddr| {
        let parts: Vec<_> = address.iter().take(2).map(Protocol::acquire).collect();
        (parts, transport(address))
    };
    place(own) == place(other)
}

/// WebSocket before WebRTC-direct, then the nearest host that is sure to be ours.
type Rank = (Family, Nearness);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    WebSocket,
    WebRtcDirect,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    OwnHost,
    Public,
    Private,
    Loopback,
}

/// A listed address without its final `/p2p`, and its rank; `None` if it cannot work from here.
fn usable(origin: &PageOrigin, relay: PeerId, address: &Multiaddr) -> Option<(Rank, Multiaddr)> {
    let (address, peer) = split_peer(address);
    if peer.is_some_and(|peer| peer != relay) {
        return None;
    }
    let transport = transport(&address)?;
    if !allowed(origin, transport) {
        return None;
    }
    let host = Host::of(&address)?;
    let nearness = match host.scope() {
        _ if host == origin.host => Nearness::OwnHost,
        Scope::Public => Nearness::Public,
        Scope::Private => Nearness::Private,
        Scope::Loopback => Nearness::Loopback,
    };
    let family = match transport {
        Transport::WebSocket | Transport::SecureWebSocket => Family::WebSocket,
        Transport::WebRtcDirect => Family::WebRtcDirect,
    };
    (host.scope() <= origin.host.scope()).then_some(((family, nearness), address))
}

/// Whether a page of this origin may use the transport at all.
fn allowed(origin: &PageOrigin, transport: Transport) -> bool {
    match (origin.scheme, transport) {
        (Scheme::Https, Transport::WebSocket) => false,
        (Scheme::Http | Scheme::Https, Transport::SecureWebSocket | Transport::WebRtcDirect)
        | (Scheme::Http, Transport::WebSocket) => true,
    }
}

/// The transport of an address without `/p2p`; `None` if pages do not speak it.
fn transport(address: &Multiaddr) -> Option<Transport> {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    match parts.as_slice() {
        [_, Protocol::Tcp(_), Protocol::Ws(_)] => Some(Transport::WebSocket),
        [_, Protocol::Tcp(_), Protocol::Wss(_)] | [_, Protocol::Tcp(_), Protocol::Tls, Protocol::Ws(_)] => {
            Some(Transport::SecureWebSocket)
        }
        [
            Protocol::Ip4(_) | Protocol::Ip6(_),
            Protocol::Udp(_),
            Protocol::WebRTCDirect,
            Protocol::Certhash(_),
        ] => Some(Transport::WebRtcDirect),
        _ => None,
    }
}

/// The address without its final `/p2p`, and what stood there.
fn split_peer(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut transport = address.clone();
    match transport.pop() {
        Some(Protocol::P2p(peer)) => (transport, Some(peer)),
        _ => (address.clone(), None),
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const OTHER: &str = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
    const CERT: &str = "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g";

    fn origin(url: (&str, &str, u16)) -> PageOrigin {
        PageOrigin::new(url.0, url.1, url.2).unwrap()
    }

    fn order(page: (&str, &str, u16), listed: &[&str]) -> Vec<String> {
        let document = RelayDocument {
            peer: RELAY.parse().unwrap(),
            addrs: listed.iter().map(|address| address.parse().unwrap()).collect(),
            stun: Vec::new(),
            relays: Vec::new(),
            reach: Reach::Direct,
        };
        from_document(&origin(page), &document)
            .addrs
            .iter()
            .skip(1)
            .map(ToString::to_string)
            .collect()
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_own_origin_comes_first_in_the_form_of_its_scheme() {
        let path = if cfg!(debug_assertions) {
            "/x-parity-ws/%2Frelay.ws"
        } else {
            "/ws"
        };
        for (page, expected) in [
            (("http", "127.0.0.1", 8080), format!("/ip4/127.0.0.1/tcp/8080{path}")),
            (("http", "localhost", 8080), format!("/dns/localhost/tcp/8080{path}")),
            (("http", "[::1]", 8080), format!("/ip6/::1/tcp/8080{path}")),
            (
                ("https", "relay.example", 443),
                format!("/dns/relay.example/tcp/443/tls{path}"),
            ),
        ] {
            assert_eq!(own_address(&origin(page)).to_string(), expected);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn websocket_comes_before_webrtc_direct_and_the_own_host_before_others() {
        let own_rtc = format!("/ip4/203.0.113.1/udp/4003/webrtc-direct/certhash/{CERT}");
        let other_rtc = format!("/ip4/203.0.113.2/udp/4003/webrtc-direct/certhash/{CERT}");
        let listed = [
            other_rtc.as_str(),
            own_rtc.as_str(),
            "/ip4/203.0.113.2/tcp/8080/ws",
            "/ip4/203.0.113.1/tcp/9000/ws",
        ];
        assert_eq!(
            order(("http", "203.0.113.1", 8080), &listed),
            [
                "/ip4/203.0.113.1/tcp/9000/ws",
                "/ip4/203.0.113.2/tcp/8080/ws",
                own_rtc.as_str(),
                other_rtc.as_str(),
            ]
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_page_uses_only_places_of_its_own_scope_or_a_wider_one() {
        let listed = [
            "/ip4/127.0.0.1/tcp/9000/ws",
            "/ip4/192.168.1.7/tcp/9000/ws",
            "/ip4/203.0.113.1/tcp/9000/ws",
            "/dns/localhost/tcp/9000/ws",
            "/dns/nas.local/tcp/9000/ws",
            "/ip6/fe80::1/tcp/9000/ws",
            "/ip6/::ffff:10.0.0.1/tcp/9000/ws",
        ];
        assert_eq!(
            order(("http", "relay.example", 80), &listed),
            ["/ip4/203.0.113.1/tcp/9000/ws"]
        );
        assert_eq!(
            order(("http", "192.168.1.9", 80), &listed),
            [
                "/ip4/203.0.113.1/tcp/9000/ws",
                "/ip4/192.168.1.7/tcp/9000/ws",
                "/dns/nas.local/tcp/9000/ws",
                "/ip6/fe80::1/tcp/9000/ws",
                "/ip6/::ffff:10.0.0.1/tcp/9000/ws",
            ]
        );
        assert_eq!(order(("http", "127.0.0.1", 80), &listed).len(), listed.len());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn from_https_only_what_a_browser_lets_through_is_tried() {
        let rtc = format!("/ip4/203.0.113.1/udp/4003/webrtc-direct/certhash/{CERT}");
        let listed = [
            "/ip4/203.0.113.1/tcp/8080/ws",
            "/dns/relay.example/tcp/8443/tls/ws",
            "/dns/relay.example/tcp/8444/wss",
            rtc.as_str(),
        ];
        assert_eq!(
            order(("https", "relay.example", 443), &listed),
            [
                "/dns/relay.example/tcp/8443/tls/ws",
                "/dns/relay.example/tcp/8444/wss",
                rtc.as_str()
            ]
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_no_page_can_dial_is_left_out() {
        let foreign = format!("/ip4/203.0.113.1/tcp/1/ws/p2p/{OTHER}");
        let nested = format!("/ip4/203.0.113.1/tcp/1/ws/p2p/{RELAY}/p2p-circuit");
        let listed = [
            "/ip4/203.0.113.1/tcp/4001",
            "/ip4/203.0.113.1/udp/4001/quic-v1",
            "/ip4/203.0.113.1/udp/4003/webrtc-direct",
            "/memory/1",
            "/ip4/0.0.0.0/tcp/1/ws",
            foreign.as_str(),
            nested.as_str(),
        ];
        assert!(order(("http", "127.0.0.1", 8080), &listed).is_empty());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_final_peer_id_is_dropped_and_nothing_is_tried_twice() {
        let with_id = format!("/ip4/203.0.113.1/tcp/9000/ws/p2p/{RELAY}");
        let own = format!("/ip4/127.0.0.1/tcp/8080/ws/p2p/{RELAY}");
        assert_eq!(
            order(
                ("http", "127.0.0.1", 8080),
                &[&own, &with_id, "/ip4/203.0.113.1/tcp/9000/ws"]
            ),
            ["/ip4/203.0.113.1/tcp/9000/ws"]
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn of_other_relays_those_count_that_can_be_used_from_here() {
        let addresses = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<Multiaddr>>()
        };
        let public = ["/ip4/203.0.113.1/tcp/4001", "/ip4/203.0.113.1/tcp/8080/ws"];
        let ids: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        let document = RelayDocument {
            peer: RELAY.parse().unwrap(),
            addrs: Vec::new(),
            stun: Vec::new(),
            relays: vec![
                (RELAY.parse().unwrap(), addresses(&public)),
                (ids[0], addresses(&public)),
                (ids[1], addresses(&["/ip4/127.0.0.1/tcp/8080/ws"])),
                (ids[2], addresses(&public)),
            ],
            reach: Reach::Direct,
        };
        let others = others(&origin(("http", "203.0.113.9", 80)), &document);
        let named: Vec<_> = others.iter().filter_map(|spec| spec.peer).collect();
        assert_eq!(named, [ids[0], ids[2]]);
        assert_eq!(others[0].addrs, addresses(&public[1..]));
        assert_eq!(super::others(&origin(("https", "203.0.113.9", 443)), &document), []);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_thousands_are_listed_a_few_are_tried() {
        let listed: Vec<String> = (1..3000)
            .map(|port| format!("/ip4/203.0.113.1/tcp/{port}/ws"))
            .collect();
        let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
        assert_eq!(order(("http", "127.0.0.1", 8080), &listed).len(), MAX_ADDRESSES - 1);
    }
}
