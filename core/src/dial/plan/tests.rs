use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::dial::testing::{ids, parse};

const PUBLIC_HTTP: Vantage = Vantage::Page {
    scheme: PageScheme::Http,
    scope: Scope::Public,
};
const PUBLIC_HTTPS: Vantage = Vantage::Page {
    scheme: PageScheme::Https,
    scope: Scope::Public,
};
const LAN: Vantage = Vantage::Page {
    scheme: PageScheme::Http,
    scope: Scope::Private,
};
const LOOPBACK: Vantage = Vantage::Page {
    scheme: PageScheme::Http,
    scope: Scope::Loopback,
};
const NATIVE: Vantage = Vantage::Native { scope: Scope::Public };
const CERT: &str = "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g";

/// Ids: 0 we, 1 the peer, 2 a relay we hold at 192.0.2.10 (a public address), 3 a foreign relay.
fn dialled(vantage: Vantage, rungs: Rungs, announced: &[&str]) -> Vec<String> {
    let ids = ids(4);
    let expand = |text: &&str| parse(text, &ids);
    let announced: Vec<_> = announced.iter().map(expand).collect();
    let held = [HeldRelay {
        peer: ids[2],
        address: parse("/ip4/192.0.2.10/tcp/80/ws", &ids),
    }];
    let peer = PeerFacts {
        peer: ids[1],
        announced: &announced,
        given: None,
        interest: Interest::Chosen,
    };
    let ours = OurFacts {
        local: ids[0],
        held: &held,
        vantage,
        rungs,
    };
    let shorten = |rung: Rung| {
        let text = rung.address.to_string();
        let name = |text: String, at: usize| text.replace(&ids[at].to_string(), &format!("<{at}>"));
        (0..4).fold(text, name)
    };
    plan(peer, ours).into_iter().map(shorten).collect()
}

fn one(vantage: Vantage, announced: &str) -> bool {
    !dialled(vantage, Rungs::CircuitOnly, &[announced]).is_empty()
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_we_hold_is_judged_by_its_id_and_dialled_at_our_own_address() {
    for transport in [
        "/ip4/127.0.0.1/tcp/1/ws",
        "/ip4/10.0.0.1/tcp/9/ws",
        "/dns/victim.example/tcp/22",
        "/memory/1",
        "",
    ] {
        let announced = format!("{transport}/p2p/<2>/p2p-circuit/p2p/<1>");
        assert_eq!(
            dialled(PUBLIC_HTTPS, Rungs::CircuitOnly, &[&announced]),
            ["/ip4/192.0.2.10/tcp/80/ws/p2p/<2>/p2p-circuit/p2p/<1>"],
            "{announced}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_foreign_relay_is_planned_only_where_the_rules_allow_it() {
    let circuit = |transport: &str| format!("{transport}/p2p/<3>/p2p-circuit/p2p/<1>");
    let webrtc_direct = format!("/ip4/198.51.100.1/udp/4/webrtc-direct/certhash/{CERT}");
    let cases: [(&str, &[Vantage], &[Vantage]); 12] = [
        (
            "/ip4/198.51.100.1/tcp/80/ws",
            &[PUBLIC_HTTP, LAN, LOOPBACK, NATIVE],
            &[PUBLIC_HTTPS],
        ),
        (
            "/ip4/192.168.1.1/tcp/80/ws",
            &[LAN, LOOPBACK],
            &[PUBLIC_HTTP, PUBLIC_HTTPS, NATIVE],
        ),
        ("/ip4/127.0.0.1/tcp/80/ws", &[LOOPBACK], &[PUBLIC_HTTP, LAN, NATIVE]),
        ("/dns/localhost/tcp/80/ws", &[LOOPBACK], &[PUBLIC_HTTP, LAN, NATIVE]),
        (
            "/ip4/169.254.169.254/tcp/80/ws",
            &[],
            &[PUBLIC_HTTP, LAN, LOOPBACK, NATIVE],
        ),
        (
            "/dns/relay.example/tcp/443/tls/ws",
            &[PUBLIC_HTTP, PUBLIC_HTTPS, LAN, LOOPBACK, NATIVE],
            &[],
        ),
        (
            "/dns/router.local/tcp/443/tls/ws",
            &[LAN, LOOPBACK],
            &[PUBLIC_HTTPS, NATIVE],
        ),
        (
            "/ip4/198.51.100.1/tcp/443/tls/ws",
            &[],
            &[PUBLIC_HTTP, PUBLIC_HTTPS, LAN, LOOPBACK, NATIVE],
        ),
        (
            "/dns/relay.example/tcp/80/ws",
            &[],
            &[PUBLIC_HTTP, PUBLIC_HTTPS, LAN, LOOPBACK, NATIVE],
        ),
        (&webrtc_direct, &[PUBLIC_HTTP, PUBLIC_HTTPS, LAN, LOOPBACK, NATIVE], &[]),
        (
            "/ip4/198.51.100.1/udp/4/quic-v1",
            &[NATIVE],
            &[PUBLIC_HTTP, PUBLIC_HTTPS, LAN, LOOPBACK],
        ),
        (
            "/ip4/198.51.100.1/tcp/4",
            &[NATIVE],
            &[PUBLIC_HTTP, PUBLIC_HTTPS, LAN, LOOPBACK],
        ),
    ];
    for (transport, yes, no) in cases {
        for vantage in yes {
            assert!(one(*vantage, &circuit(transport)), "{transport} from {vantage:?}");
        }
        for vantage in no {
            assert!(!one(*vantage, &circuit(transport)), "{transport} from {vantage:?}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_announcement_never_makes_us_dial_a_host_directly_or_another_peer() {
    for hostile in [
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<1>",
        "/ip4/198.51.100.1/tcp/80/ws",
        "/dns/victim.example/tcp/443/tls/ws/p2p/<1>",
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<2>/p2p-circuit/p2p/<3>",
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<1>/p2p-circuit/p2p/<1>",
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<0>/p2p-circuit/p2p/<1>",
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<2>/p2p-circuit/p2p/<3>/p2p-circuit/p2p/<1>",
    ] {
        assert!(!one(PUBLIC_HTTP, hostile), "{hostile}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn webrtc_comes_before_circuits_held_before_foreign_and_the_rest_is_cut() {
    let mut announced = vec![
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<3>/p2p-circuit/p2p/<1>",
        "/dns/relay.example/tcp/443/tls/ws/p2p/<3>/p2p-circuit/p2p/<1>",
        "/ip4/192.0.2.10/tcp/80/ws/p2p/<2>/p2p-circuit/p2p/<1>",
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<3>/p2p-circuit/webrtc/p2p/<1>",
        "/ip4/192.0.2.10/tcp/80/ws/p2p/<2>/p2p-circuit/webrtc/p2p/<1>",
        "/ip4/192.0.2.10/udp/9/quic-v1/p2p/<2>/p2p-circuit/webrtc/p2p/<1>",
    ];
    let expected = [
        "/ip4/192.0.2.10/tcp/80/ws/p2p/<2>/p2p-circuit/webrtc/p2p/<1>",
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<3>/p2p-circuit/webrtc/p2p/<1>",
        "/ip4/192.0.2.10/tcp/80/ws/p2p/<2>/p2p-circuit/p2p/<1>",
        "/dns/relay.example/tcp/443/tls/ws/p2p/<3>/p2p-circuit/p2p/<1>",
        "/ip4/198.51.100.1/tcp/80/ws/p2p/<3>/p2p-circuit/p2p/<1>",
    ];
    assert_eq!(dialled(PUBLIC_HTTP, Rungs::WebRtcAndCircuit, &announced), expected);
    assert_eq!(dialled(PUBLIC_HTTP, Rungs::CircuitOnly, &announced), expected[2..]);
    let many: Vec<String> = (1..20)
        .map(|at| format!("/ip4/198.51.100.{at}/tcp/80/ws/p2p/<3>/p2p-circuit/p2p/<1>"))
        .collect();
    announced.extend(many.iter().map(String::as_str));
    assert_eq!(
        dialled(PUBLIC_HTTP, Rungs::WebRtcAndCircuit, &announced).len(),
        MAX_RUNGS
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_the_user_opened_is_tried_through_what_the_user_gave_and_every_relay_we_hold() {
    let ids = ids(4);
    let held = [HeldRelay {
        peer: ids[2],
        address: parse("/ip4/192.0.2.10/tcp/80/ws", &ids),
    }];
    let given = parse("/ip4/10.0.0.9/tcp/80/ws/p2p/<1>", &ids);
    let routes = |reach: Reach| {
        let peer = PeerFacts {
            peer: ids[1],
            announced: &[],
            given: Some(&given),
            interest: Interest::Opened(reach),
        };
        let ours = OurFacts {
            local: ids[0],
            held: &held,
            vantage: PUBLIC_HTTP,
            rungs: Rungs::CircuitOnly,
        };
        plan(peer, ours).into_iter().map(|rung| rung.route).collect::<Vec<_>>()
    };
    let circuit = Route::Circuit { relay: ids[2] };
    assert_eq!(routes(Reach::PreferDirect), [Route::Direct, circuit]);
    assert_eq!(routes(Reach::DirectOnly), [Route::Direct]);
    assert_eq!(routes(Reach::RelayOnly), [circuit]);
}
