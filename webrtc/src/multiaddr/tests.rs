use libp2p_core::{Endpoint, transport::PortUse};
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const SELF: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
const OTHER: &str = "12D3KooWH3uVF6wv47WnArKHk5p6cvgCJEb74UTmxztmQDc298L3";

fn address(text: &str) -> Multiaddr {
    let text = text
        .replace("RELAY", RELAY)
        .replace("SELF", SELF)
        .replace("OTHER", OTHER);
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn local() -> PeerId {
    SELF.parse().unwrap()
}

#[wasm_bindgen_test(unsupported = test)]
fn every_circuit_of_our_own_is_advertised_and_nothing_else() {
    let cases = [
        (
            "/ip4/192.0.2.1/tcp/80/ws/p2p/RELAY/p2p-circuit",
            Some("/ip4/192.0.2.1/tcp/80/ws/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF"),
        ),
        (
            "/ip4/192.0.2.1/tcp/80/ws/p2p/RELAY/p2p-circuit/p2p/SELF",
            Some("/ip4/192.0.2.1/tcp/80/ws/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF"),
        ),
        (
            "/dns/relay.example/udp/1/webrtc-direct/p2p/RELAY/p2p-circuit",
            Some("/dns/relay.example/udp/1/webrtc-direct/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF"),
        ),
        ("/p2p/RELAY/p2p-circuit", Some("/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF")),
        // Somebody else's, and one that is advertised already.
        ("/ip4/192.0.2.1/tcp/1/p2p/RELAY/p2p-circuit/p2p/OTHER", None),
        ("/ip4/192.0.2.1/tcp/1/p2p/RELAY/p2p-circuit/webrtc", None),
        ("/ip4/192.0.2.1/tcp/1/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF", None),
        // No relay, no circuit, two circuits.
        ("/ip4/192.0.2.1/tcp/1/p2p-circuit", None),
        ("/ip4/192.0.2.1/tcp/1/p2p/RELAY", None),
        ("/p2p/RELAY/p2p-circuit/p2p/OTHER/p2p-circuit", None),
        ("/p2p/RELAY/p2p-circuit/webrtc/p2p/OTHER/p2p-circuit", None),
        ("/p2p-circuit", None),
        ("/webrtc", None),
    ];
    for (circuit, expected) in cases {
        assert_eq!(
            advertise(&address(circuit), local()),
            expected.map(address),
            "{circuit}"
        );
    }
    assert_eq!(advertise(&Multiaddr::empty(), local()), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn every_form_of_address_splits_or_is_refused_for_its_reason() {
    let ok = |circuit: &'static str| Ok(circuit);
    let cases = [
        (
            "/dns4/relay.example/tcp/443/tls/ws/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF",
            ok("/dns4/relay.example/tcp/443/tls/ws/p2p/RELAY/p2p-circuit/p2p/SELF"),
        ),
        (
            "/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF",
            ok("/p2p/RELAY/p2p-circuit/p2p/SELF"),
        ),
        ("/p2p/RELAY/p2p-circuit/p2p/SELF", Err(SplitError::NotWebRtc)),
        ("/ip4/192.0.2.1/tcp/1/ws/p2p/SELF", Err(SplitError::NotWebRtc)),
        (
            "/ip4/192.0.2.1/udp/1/webrtc-direct/p2p/SELF",
            Err(SplitError::NotWebRtc),
        ),
        ("/webrtc/p2p/SELF", Err(SplitError::NotWebRtc)),
        ("/p2p/RELAY/p2p-circuit/webrtc", Err(SplitError::NoTarget)),
        ("/p2p-circuit/webrtc/p2p/SELF", Err(SplitError::NoRelay)),
        (
            "/ip4/192.0.2.1/tcp/1/p2p-circuit/webrtc/p2p/SELF",
            Err(SplitError::NoRelay),
        ),
        (
            "/p2p/RELAY/p2p-circuit/p2p/OTHER/p2p-circuit/webrtc/p2p/SELF",
            Err(SplitError::NestedCircuit),
        ),
        (
            "/p2p/RELAY/p2p-circuit/webrtc/p2p/OTHER/p2p-circuit/p2p/SELF",
            Err(SplitError::NestedCircuit),
        ),
        (
            "/p2p/RELAY/p2p-circuit/p2p/SELF/webrtc/p2p/SELF",
            Err(SplitError::Malformed),
        ),
        (
            "/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF/p2p/SELF",
            Err(SplitError::Malformed),
        ),
        (
            "/p2p/RELAY/p2p-circuit/webrtc/webrtc/p2p/SELF",
            Err(SplitError::Malformed),
        ),
        (
            "/webrtc/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF",
            Err(SplitError::Malformed),
        ),
        ("/webrtc/p2p/RELAY/p2p-circuit/p2p/SELF", Err(SplitError::Malformed)),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|circuit| Target {
            circuit: address(circuit),
            peer: local(),
        });
        assert_eq!(split(&address(text)), expected, "{text}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_connection_is_direct_if_webrtc_is_its_last_hop() {
    let dialer = |text: &str| ConnectedPoint::Dialer {
        address: address(text),
        role_override: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let inbound = ConnectedPoint::Listener {
        local_addr: inbound_local(),
        send_back_addr: inbound_remote(local()),
    };
    let inbound_signalled = ConnectedPoint::Listener {
        local_addr: inbound_local(),
        send_back_addr: address("/ip4/192.0.2.1/tcp/80/ws/p2p/RELAY/p2p-circuit/webrtc/p2p/OTHER"),
    };
    let inbound_circuit = ConnectedPoint::Listener {
        local_addr: address("/ip4/192.0.2.1/tcp/80/ws/p2p/RELAY/p2p-circuit"),
        send_back_addr: address("/p2p/OTHER"),
    };
    let cases = [
        (
            dialer("/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/webrtc/p2p/SELF"),
            true,
        ),
        (dialer("/p2p/RELAY/p2p-circuit/webrtc"), true),
        (dialer("/ip4/192.0.2.1/tcp/1/ws/p2p/RELAY/p2p-circuit/p2p/SELF"), false),
        (
            dialer("/p2p/RELAY/p2p-circuit/webrtc/p2p/OTHER/p2p-circuit/p2p/SELF"),
            false,
        ),
        (dialer("/ip4/192.0.2.1/udp/1/webrtc-direct/p2p/SELF"), false),
        (dialer("/p2p/SELF"), false),
        (inbound.clone(), true),
        (inbound_signalled.clone(), true),
        (inbound_circuit, false),
    ];
    for (endpoint, expected) in cases {
        assert_eq!(is_direct_endpoint(&endpoint), expected, "{endpoint:?}");
    }
    assert!(!inbound.is_relayed() && !inbound_signalled.is_relayed());
    assert!(!is_direct(&Multiaddr::empty()));
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("/ip4/192.0.2.1/tcp/80/ws".to_owned()),
            Just("/dns/relay.example/udp/1/quic-v1".to_owned()),
            Just("/p2p-circuit".to_owned()),
            Just("/webrtc".to_owned()),
            Just(format!("/p2p/{RELAY}")),
            Just(format!("/p2p/{SELF}")),
        ]
    }

    /// An address that is as it should be, but for at most one part too many or too few.
    fn nearly_right() -> impl Strategy<Value = Multiaddr> {
        let right = [
            "/ip4/192.0.2.1/tcp/80/ws",
            "/p2p/RELAY",
            "/p2p-circuit",
            "/webrtc",
            "/p2p/SELF",
        ];
        (
            proptest::option::of((0..=right.len(), part())),
            proptest::option::of(0..right.len()),
        )
            .prop_map(move |(more, less)| {
                let mut parts: Vec<String> = right.map(str::to_owned).to_vec();
                if let Some(at) = less {
                    parts.remove(at);
                }
                if let Some((at, part)) = more {
                    parts.insert(at.min(parts.len()), part);
                }
                address(&parts.concat())
            })
    }

    proptest! {
        #[test]
        fn whatever_is_advertised_splits_into_the_circuit_it_came_from(way in proptest::collection::vec(part(), 0..2)) {
            let circuit = address(&format!("{}/p2p/RELAY/p2p-circuit", way.concat()));
            let is_plain = !circuit.iter().any(|part| part == Protocol::WebRTC)
                && circuit.iter().filter(|part| *part == Protocol::P2pCircuit).count() == 1;
            let advertised = advertise(&circuit, local());
            prop_assert_eq!(advertised.is_some(), is_plain);
            if let Some(advertised) = advertised {
                let target = split(&advertised).unwrap();
                prop_assert_eq!(target.circuit, circuit.with(Protocol::P2p(local())));
                prop_assert_eq!(target.peer, local());
                prop_assert!(is_direct(&advertised));
            }
        }

        #[test]
        fn whatever_splits_is_direct_and_its_circuit_neither_is_nor_does(dialled in nearly_right()) {
            if let Ok(Target { circuit, peer }) = split(&dialled) {
                prop_assert!(is_direct(&dialled) && !is_direct(&circuit));
                prop_assert_eq!(split(&circuit), Err(SplitError::NotWebRtc));
                prop_assert_eq!(advertise(&circuit, peer), Some(dialled));
            }
        }
    }
}
