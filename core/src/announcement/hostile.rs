//! Announcements that nobody should make, for tests: here, in the peer book, and against real nodes.
//!
//! Deterministic: the same peers give the same list.

use libp2p::{Multiaddr, PeerId, identity::Keypair};
use serde_json::{Value, json};

use super::MAX_ACCEPTED_BYTES;

/// One message that a hostile peer publishes on the discovery topic.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What is wrong with it.
    pub what: &'static str,
    /// The gossip payload.
    pub payload: Vec<u8>,
}

/// A peer id that is the same in every run.
#[must_use]
pub fn peer(seed: u8) -> PeerId {
    keypair(seed).public().to_peer_id()
}

/// The key of [`peer`].
#[must_use]
pub fn keypair(seed: u8) -> Keypair {
    let mut secret = [seed; 32];
    secret[0] = seed.wrapping_mul(31).wrapping_add(7);
    Keypair::ed25519_from_bytes(secret).expect("any 32 bytes are an ed25519 secret")
}

/// At least 200 announcements that `source` signs to harm `victim`, an honest peer, or whoever reads them.
#[must_use]
pub fn announcements(source: PeerId, victim: PeerId) -> Vec<Hostile> {
    let mut list = Vec::new();
    let mut add = |what, payload: Vec<u8>| list.push(Hostile { what, payload });
    let own = source.to_base58();
    let relay = peer(200);
    let good = format!("/ip4/203.0.113.7/tcp/443/wss/p2p/{relay}/p2p-circuit/p2p/{own}");
    let with = |addrs: Value| json!({ "peerId": own, "addrs": addrs }).to_string().into_bytes();
    let valid = with(json!([good]));

    for bytes in [MAX_ACCEPTED_BYTES + 1, 20_000, 70_000] {
        add("oversize", with(json!(["x".repeat(bytes)])));
        add("oversize whitespace", [valid.clone(), vec![b' '; bytes]].concat());
    }
    for n in 0..20 {
        let other = peer(100 + n);
        add(
            "speaks for another",
            json!({ "peerId": other.to_base58(), "addrs": [good] })
                .to_string()
                .into_bytes(),
        );
        add(
            "leads to another",
            with(json!([good, format!("/ip4/203.0.113.{n}/tcp/443/wss/p2p/{other}")])),
        );
    }
    add(
        "speaks for the victim",
        json!({ "peerId": victim.to_base58(), "addrs": [] })
            .to_string()
            .into_bytes(),
    );
    add(
        "leads to the victim",
        with(json!([good.replace(&own, &victim.to_base58())])),
    );
    for count in [33, 100, 400, 1_000, 2_000] {
        add("thousands of addresses", with(Value::Array(vec![json!(""); count])));
        add("thousands of addresses", with(Value::Array(vec![json!("/"); count])));
        add("thousands of lists", with(Value::Array(vec![json!([]); count])));
    }
    for depth in 2..22 {
        let hops = format!("/p2p/{relay}/p2p-circuit").repeat(depth);
        add(
            "nested circuits",
            with(json!([format!("/ip4/203.0.113.7/tcp/443/wss{hops}/p2p/{own}")])),
        );
        add(
            "circuits without a relay",
            with(json!([format!("{}/p2p/{own}", "/p2p-circuit".repeat(depth))])),
        );
    }
    for host in victims_hosts() {
        add("a victim's host", with(json!([format!("{host}/p2p/{own}")])));
        add(
            "a victim's host as relay",
            with(json!([format!("{host}/p2p/{victim}/p2p-circuit/webrtc/p2p/{own}")])),
        );
        add("a victim's host many times", with(Value::Array(vec![json!(host); 30])));
    }
    for depth in [10, 127, 128, 129, 1_000, 4_000] {
        add(
            "deep list",
            format!(
                "{{\"peerId\":\"{own}\",\"addrs\":{}{}}}",
                "[".repeat(depth),
                "]".repeat(depth)
            )
            .into(),
        );
        let deep = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        add(
            "deep unknown key",
            format!("{{\"x\":{deep},\"peerId\":\"{own}\",\"addrs\":[\"{good}\"]}}").into(),
        );
        add(
            "unfinished",
            format!("{{\"peerId\":\"{own}\",\"addrs\":{}", "[".repeat(depth)).into(),
        );
        add("only brackets", "[".repeat(depth).into());
    }
    for at in 0..16 {
        let mut bytes = valid.clone();
        bytes[at * 7] = 0xC0 | at as u8;
        add("not UTF-8", bytes);
        let mut bytes = valid.clone();
        bytes.truncate(at * 9);
        add("cut short", bytes);
    }
    for shape in [
        "",
        "null",
        "true",
        "0",
        "1e999999",
        "\"\"",
        "[]",
        "{}",
        "[[]]",
        "{\"peerId\":1}",
        "{\"addrs\":[]}",
    ] {
        add("another shape", shape.into());
    }
    add("fields in a list", json!([own, [good]]).to_string().into());
    add(
        "twice the same key",
        format!("{{\"peerId\":\"{own}\",\"peerId\":\"{victim}\",\"addrs\":[]}}").into(),
    );
    add(
        "twice the same key",
        format!("{{\"peerId\":\"{own}\",\"addrs\":[],\"addrs\":[\"{good}\"]}}").into(),
    );
    add(
        "a long peer id",
        json!({ "peerId": "z".repeat(8_000), "addrs": [] }).to_string().into(),
    );
    for name in [
        "\\u202e\\u0000",
        "\\ud83d",
        "\\udc00\\ud800",
        "\\u200b\\u2066admin",
        &"\\u0301".repeat(900),
    ] {
        add(
            "a bad name",
            format!("{{\"peerId\":\"{own}\",\"addrs\":[\"{good}\"],\"name\":\"{name}\"}}").into(),
        );
    }
    for name in ["1", "null", "{}", "[[[]]]", "1e400", "true"] {
        add(
            "a name that is none",
            format!("{{\"peerId\":\"{own}\",\"addrs\":[\"{good}\"],\"name\":{name}}}").into(),
        );
    }
    list
}

/// Transport addresses that a hostile peer would like others to dial.
#[must_use]
pub fn victims_hosts() -> Vec<String> {
    let hosts = [
        "/ip4/127.0.0.1",
        "/ip4/0.0.0.0",
        "/ip4/10.0.0.1",
        "/ip4/169.254.169.254",
        "/ip4/192.168.1.1",
        "/ip4/224.0.0.251",
        "/ip4/255.255.255.255",
        "/ip4/198.51.100.1",
        "/ip6/::1",
        "/ip6/::",
        "/ip6/fe80::1",
        "/ip6/fc00::1",
        "/ip6/ff02::1",
        "/ip6/::ffff:127.0.0.1",
        "/dns/localhost",
        "/dns4/router.local",
        "/dns/victim.example",
        "/dns6/victim.example",
    ];
    let transports = ["/tcp/22", "/tcp/25/ws", "/tcp/443/tls/ws", "/udp/53/quic-v1"];
    hosts
        .iter()
        .flat_map(|host| transports.map(|transport| format!("{host}{transport}")))
        .collect()
}

/// An honest announcement's address: through the relay `relay`, at a public host.
#[must_use]
pub fn honest_address(peer: PeerId, relay: PeerId) -> Multiaddr {
    format!("/ip4/203.0.113.7/tcp/443/wss/p2p/{relay}/p2p-circuit/p2p/{peer}")
        .parse()
        .expect("a valid multiaddr")
}
