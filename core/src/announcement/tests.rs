use libp2p::{Multiaddr, PeerId};
use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{hostile::peer, *};
use crate::name::NAME_MAX_CHARS;

const HASH: &str = "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g";

fn multiaddr(text: &str) -> Multiaddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn texts(announcement: &Announcement) -> Vec<String> {
    announcement.addrs().iter().map(Multiaddr::to_string).collect()
}

fn decode(source: PeerId, addrs: &[String]) -> Result<Announcement, DecodeError> {
    Announcement::decode(
        source,
        json!({ "peerId": source.to_base58(), "addrs": addrs })
            .to_string()
            .as_bytes(),
    )
}

#[wasm_bindgen_test(unsupported = test)]
fn the_wire_format_is_what_other_implementations_read() {
    let (me, relay) = (peer(1), peer(9));
    let address = format!("/dns4/relay.example/tcp/443/tls/ws/p2p/{relay}/p2p-circuit/p2p/{me}");
    let announcement = Announcement::new(me, [multiaddr(&address)], Some("Ada"));
    let wanted = format!(r#"{{"peerId":"{me}","addrs":["{address}"],"name":"Ada"}}"#);
    assert_eq!(String::from_utf8(announcement.encode()).unwrap(), wanted);
    let goodbye = Announcement::goodbye(me);
    assert_eq!(
        String::from_utf8(goodbye.encode()).unwrap(),
        format!(r#"{{"peerId":"{me}","addrs":[]}}"#)
    );
    assert!(goodbye.is_goodbye() && !announcement.is_goodbye());
    assert_eq!(Announcement::decode(me, &goodbye.encode()).unwrap(), goodbye);
}

#[wasm_bindgen_test(unsupported = test)]
fn each_known_form_is_kept_and_every_other_is_skipped() {
    let (me, relay, other) = (peer(1), peer(9), peer(8));
    let known = [
        format!("/ip4/203.0.113.7/tcp/4001/p2p/{relay}/p2p-circuit"),
        format!("/ip6/2001:db8::7/tcp/80/ws/p2p/{relay}/p2p-circuit/p2p/{me}"),
        format!("/dns4/a.example/tcp/443/wss/p2p/{relay}/p2p-circuit/webrtc"),
        format!("/dns/a.example/tcp/443/tls/ws/p2p/{relay}/p2p-circuit/webrtc/p2p/{me}"),
        format!("/ip4/203.0.113.7/udp/4001/quic-v1/p2p/{relay}/p2p-circuit"),
        format!("/ip4/203.0.113.7/udp/4003/webrtc-direct/certhash/{HASH}/p2p/{relay}/p2p-circuit"),
        format!("/p2p/{relay}/p2p-circuit/p2p/{me}"),
        "/ip4/203.0.113.7/tcp/4001".to_owned(),
        format!("/ip4/203.0.113.7/udp/4001/quic-v1/p2p/{me}"),
        format!("/ip4/203.0.113.7/udp/4003/webrtc-direct/certhash/{HASH}/certhash/{HASH}"),
    ];
    for address in &known {
        let kept = texts(&decode(me, std::slice::from_ref(address)).unwrap());
        let complete = if address.ends_with(&me.to_base58()) {
            address.clone()
        } else {
            format!("{address}/p2p/{me}")
        };
        assert_eq!(kept, [complete]);
    }
    let unknown = [
        String::new(),
        "/".to_owned(),
        "nonsense".to_owned(),
        format!("/p2p/{me}"),
        format!("/p2p-circuit/p2p/{me}"),
        format!("/ip4/203.0.113.7/tcp/80/p2p-circuit/p2p/{me}"),
        format!("/ip4/203.0.113.7/tcp/80/ws/p2p/{me}/p2p-circuit/p2p/{me}"),
        format!("/ip4/203.0.113.7/tcp/80/p2p/{relay}/p2p-circuit/p2p/{other}/p2p-circuit/p2p/{me}"),
        format!("/ip4/203.0.113.7/tcp/80/p2p/{relay}/p2p-circuit/p2p-circuit/p2p/{me}"),
        format!("/ip4/203.0.113.7/tcp/80/p2p/{relay}/p2p-circuit/webrtc/webrtc/p2p/{me}"),
        format!("/ip4/203.0.113.7/tcp/80/p2p/{other}/p2p/{relay}/p2p-circuit/p2p/{me}"),
        format!("/ip4/203.0.113.7/udp/4003/webrtc-direct/p2p/{relay}/p2p-circuit"),
        format!("/ip4/203.0.113.7/tcp/0/ws/p2p/{relay}/p2p-circuit"),
        format!("/ip4/203.0.113.7/tcp/80/x-parity-ws/%2Fadmin/p2p/{relay}/p2p-circuit"),
        format!("/dns4/a b/tcp/80/ws/p2p/{relay}/p2p-circuit"),
        format!("/dns4/{}/tcp/80/ws/p2p/{relay}/p2p-circuit", "a.".repeat(130)),
        format!("/dnsaddr/a.example/p2p/{relay}/p2p-circuit"),
        "/ip4/203.0.113.7/udp/4001/quic".to_owned(),
        "/ip4/203.0.113.7/udp/4001/quic-v1/webtransport".to_owned(),
        "/unix/tmp/socket".to_owned(),
        "/memory/7".to_owned(),
    ];
    for address in &unknown {
        let announcement = decode(me, std::slice::from_ref(address)).unwrap();
        assert!(announcement.addrs().is_empty(), "{address}");
        assert!(
            !announcement.is_goodbye(),
            "an address that we cannot read is no goodbye: {address}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_wrong_as_a_whole_is_refused_as_a_whole() {
    let (me, relay, other) = (peer(1), peer(9), peer(8));
    let good = format!("/ip4/203.0.113.7/tcp/80/ws/p2p/{relay}/p2p-circuit");
    let foreign = decode(me, &[good.clone(), format!("{good}/p2p/{other}")]);
    assert!(matches!(foreign, Err(DecodeError::ForeignAddress)));
    let relayed_by_name = decode(me, &[format!("/ip4/203.0.113.7/tcp/80/ws/p2p/{relay}")]);
    assert!(matches!(relayed_by_name, Err(DecodeError::ForeignAddress)));
    let signed_by_another = Announcement::decode(other, &decode(me, &[good]).unwrap().encode());
    assert!(matches!(signed_by_another, Err(DecodeError::ForeignPeer)));
    let large = format!(r#"{{"peerId":"{me}","addrs":[]}}{}"#, " ".repeat(MAX_ACCEPTED_BYTES));
    assert!(matches!(
        Announcement::decode(me, large.as_bytes()),
        Err(DecodeError::TooLarge { .. })
    ));
    let no_peer = Announcement::decode(me, br#"{"peerId":"nobody","addrs":[]}"#);
    assert!(matches!(no_peer, Err(DecodeError::ForeignPeer)));
    for shape in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"peerId":7,"addrs":[]}"#,
        &format!(r#"["{me}",[]]"#),
    ] {
        assert!(
            matches!(
                Announcement::decode(me, shape.as_bytes()),
                Err(DecodeError::Malformed(_))
            ),
            "{shape}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_there_are_many_addresses_only_the_first_are_read() {
    let (me, relay) = (peer(1), peer(9));
    let mut addrs = vec!["/memory/1".to_owned(); MAX_ADDRESSES_READ];
    addrs.push(format!("/ip4/203.0.113.7/tcp/80/ws/p2p/{relay}/p2p-circuit"));
    assert!(decode(me, &addrs).unwrap().addrs().is_empty());
    addrs.swap_remove(0);
    assert_eq!(decode(me, &addrs).unwrap().addrs().len(), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn an_address_that_grows_too_long_by_its_final_id_is_skipped() {
    let (me, relay) = (peer(1), peer(9));
    let host = |len: usize| {
        "a234567890123456789012345678901234567890.".repeat(7)[..len]
            .trim_end_matches('.')
            .to_owned()
    };
    let tail = format!("/tcp/80/ws/p2p/{relay}/p2p-circuit");
    let hashes = format!("/certhash/{HASH}").repeat(6);
    let long = format!(
        "/dns4/{}/udp/80/webrtc-direct{hashes}/p2p/{relay}/p2p-circuit",
        host(60)
    );
    assert!(long.len() <= MAX_ADDRESS_BYTES && long.len() + "/p2p/".len() + me.to_base58().len() > MAX_ADDRESS_BYTES);
    assert!(decode(me, &[long]).unwrap().addrs().is_empty());
    assert_eq!(
        decode(me, &[format!("/dns4/{}{tail}", host(200))])
            .unwrap()
            .addrs()
            .len(),
        1
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_stock_js_peer_behind_a_dual_stack_relay_is_heard() {
    let (me, relay) = (peer(1), peer(9));
    let mut addrs = Vec::new();
    for host in ["/ip4/127.0.0.1", "/ip4/203.0.113.7", "/ip6/::1", "/ip6/2001:db8::7"] {
        let hash = format!("/udp/4003/webrtc-direct/certhash/{HASH}");
        for transport in ["/tcp/8080/ws", &hash] {
            for way in ["", "/webrtc"] {
                addrs.push(format!("{host}{transport}/p2p/{relay}/p2p-circuit{way}/p2p/{me}"));
            }
        }
    }
    assert_eq!(addrs.len(), 16);
    let kept = texts(&decode(me, &addrs).unwrap());
    assert_eq!(kept.len(), MAX_ADDRESSES_KEPT);
    assert!(
        kept.iter()
            .all(|address| address.contains("203.0.113.7") || address.contains("2001:db8")),
        "{kept:?}"
    );
    assert!(
        kept[0].starts_with("/ip4/203.0.113.7/tcp/8080/ws") && kept[0].contains("/webrtc/p2p/"),
        "{kept:?}"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn every_relay_is_kept_before_a_second_way_to_one_and_direct_addresses_come_last() {
    let me = peer(1);
    let mut addrs: Vec<String> = (1..=6).map(|n| format!("/ip4/203.0.113.{n}/tcp/4001")).collect();
    for (n, seed) in (20..25).enumerate() {
        for transport in ["tcp/80/ws", "tcp/443/wss"] {
            addrs.push(format!("/ip4/10.0.0.{n}/{transport}/p2p/{}/p2p-circuit", peer(seed)));
        }
    }
    addrs.push(format!("/ip4/203.0.113.9/tcp/80/ws/p2p/{}/p2p-circuit", peer(25)));
    let kept = texts(&decode(me, &addrs).unwrap());
    assert!(
        kept[0].starts_with("/ip4/203.0.113.9/tcp/80/ws"),
        "public first: {kept:?}"
    );
    let order: Vec<&str> = kept.iter().map(|address| address.split('/').nth(2).unwrap()).collect();
    assert_eq!(
        order[1..],
        [
            "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.0", "10.0.0.1"
        ]
    );
    assert!(kept[1].contains("/wss/") && kept[6].contains("/ws/"), "{kept:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn we_send_two_relays_with_the_best_of_two_transports_in_the_forms_given() {
    let me = peer(1);
    let mut given = Vec::new();
    for (host, seed) in [
        ("/ip4/10.0.0.1", 20),
        ("/ip4/203.0.113.1", 21),
        ("/ip4/203.0.113.2", 22),
    ] {
        let relay = peer(seed);
        for transport in [
            "/tcp/4001".to_owned(),
            "/udp/4001/quic-v1".to_owned(),
            "/tcp/8080/ws".to_owned(),
            "/tcp/443/tls/ws".to_owned(),
            format!("/udp/4003/webrtc-direct/certhash/{HASH}"),
        ] {
            given.push(multiaddr(&format!(
                "{host}{transport}/p2p/{relay}/p2p-circuit/p2p/{me}"
            )));
            given.push(multiaddr(&format!("{host}{transport}/p2p/{relay}/p2p-circuit/webrtc")));
        }
    }
    given.push(multiaddr("/ip4/203.0.113.50/tcp/4001"));
    given.push(multiaddr(&format!("/ip4/203.0.113.50/tcp/4001/p2p/{}", peer(30))));
    let announcement = Announcement::new(me, given.clone(), Some(" Ada\u{202E} "));
    let sent = texts(&announcement);
    assert_eq!(sent.len(), 8);
    for transport in ["/tcp/443/tls/ws/", "/udp/4003/webrtc-direct/"] {
        for host in ["203.0.113.1", "203.0.113.2"] {
            for way in ["/p2p-circuit/p2p/", "/p2p-circuit/webrtc/p2p/"] {
                let fits = |a: &&String| a.contains(host) && a.contains(transport) && a.contains(way);
                assert_eq!(
                    sent.iter().filter(fits).count(),
                    1,
                    "{host} {transport} {way}: {sent:?}"
                );
            }
        }
    }
    assert_eq!(announcement.name(), Some("Ada"));
    assert!(announcement.encode().len() <= MAX_SENT_BYTES);
    assert_eq!(Announcement::decode(me, &announcement.encode()).unwrap(), announcement);

    let plain = given
        .into_iter()
        .filter(|address| !address.to_string().contains("/p2p-circuit/webrtc"));
    assert_eq!(
        Announcement::new(me, plain, None).addrs().len(),
        4,
        "no form is invented"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_without_browser_transports_is_still_announced() {
    let (me, relay) = (peer(1), peer(9));
    let given = ["/tcp/4001", "/udp/4001/quic-v1"]
        .map(|transport| multiaddr(&format!("/ip4/203.0.113.1{transport}/p2p/{relay}/p2p-circuit")));
    let sent = texts(&Announcement::new(me, given, None));
    assert_eq!(
        sent,
        [format!(
            "/ip4/203.0.113.1/udp/4001/quic-v1/p2p/{relay}/p2p-circuit/p2p/{me}"
        )]
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_bad_name_is_never_a_reason_to_refuse() {
    let me = peer(1);
    let long = format!("\"{}\"", "ä".repeat(100));
    let table = [
        ("\"Ada\"", Some("Ada")),
        ("\"\\ud83d Ada\"", Some("Ada")),
        ("\"\\ud83d\\ude80\"", Some("🚀")),
        ("\"\"", None),
        ("null", None),
        ("7", None),
        ("[\"Ada\"]", None),
        ("{\"Ada\":1}", None),
        (&long, Some(&long[1..=2 * NAME_MAX_CHARS])),
    ];
    for (name, wanted) in table {
        let bytes = format!(r#"{{"name":{name},"peerId":"{me}","addrs":[],"later":{{"version":2}}}}"#);
        let announcement = Announcement::decode(me, bytes.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(announcement.name(), wanted, "{name}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn hostile_announcements_are_refused_or_harmless() {
    let (source, victim) = (peer(1), peer(2));
    let list = hostile::announcements(source, victim);
    assert!(list.len() >= 200, "{}", list.len());
    for hostile in &list {
        let Ok(announcement) = Announcement::decode(source, &hostile.payload) else {
            continue;
        };
        assert_eq!(announcement.peer(), source, "{}", hostile.what);
        assert!(announcement.addrs().len() <= MAX_ADDRESSES_KEPT, "{}", hostile.what);
        for address in texts(&announcement) {
            assert!(
                address.ends_with(&format!("/p2p/{source}")),
                "{}: {address}",
                hostile.what
            );
            assert!(
                address.matches("p2p-circuit").count() <= 1,
                "{}: {address}",
                hostile.what
            );
        }
        assert!(
            announcement
                .name()
                .is_none_or(|name| name.chars().count() <= NAME_MAX_CHARS),
            "{}",
            hostile.what
        );
        assert!(announcement.encode().len() <= MAX_ACCEPTED_BYTES, "{}", hostile.what);
    }
    let refused = |what: &str| {
        let mut of_kind = list.iter().filter(|hostile| hostile.what == what).peekable();
        assert!(of_kind.peek().is_some(), "{what}");
        assert!(
            of_kind.all(|hostile| Announcement::decode(source, &hostile.payload).is_err()),
            "{what}"
        );
    };
    for what in [
        "oversize",
        "oversize whitespace",
        "speaks for another",
        "leads to another",
        "speaks for the victim",
        "leads to the victim",
        "not UTF-8",
        "cut short",
        "another shape",
        "fields in a list",
        "twice the same key",
        "a long peer id",
        "unfinished",
        "only brackets",
    ] {
        refused(what);
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn address() -> impl Strategy<Value = String> {
        let host = select(vec![
            "/ip4/203.0.113.7",
            "/ip4/198.51.100.3",
            "/ip4/10.1.2.3",
            "/ip4/127.0.0.1",
            "/ip6/::1",
            "/ip6/2001:db8::1",
            "/dns4/relay.example",
            "/dns/localhost",
            "/ip4/0.0.0.0",
        ]);
        let transport = select(vec![
            "/tcp/1".to_owned(),
            "/tcp/2/ws".to_owned(),
            "/tcp/3/wss".to_owned(),
            "/tcp/4/tls/ws".to_owned(),
            "/udp/5/quic-v1".to_owned(),
            format!("/udp/6/webrtc-direct/certhash/{HASH}"),
            "/udp/7".to_owned(),
        ]);
        let way = (0..4u8, 20..26u8).prop_map(|(way, relay)| match way {
            0 => String::new(),
            1 => format!("/p2p/{}/p2p-circuit", peer(relay)),
            2 => format!("/p2p/{}/p2p-circuit/p2p/{}", peer(relay), peer(1)),
            _ => format!("/p2p/{}/p2p-circuit/webrtc", peer(relay)),
        });
        (host, transport, way).prop_map(|(host, transport, way)| format!("{host}{transport}{way}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_decoded_survives_the_round_trip(addrs in vec(address(), 0..30), name in any::<String>()) {
            let bytes = json!({ "peerId": peer(1).to_base58(), "addrs": addrs, "name": name }).to_string();
            prop_assume!(bytes.len() <= MAX_ACCEPTED_BYTES);
            let decoded = Announcement::decode(peer(1), bytes.as_bytes()).unwrap();
            prop_assert!(decoded.addrs().len() <= MAX_ADDRESSES_KEPT);
            prop_assert!(decoded.encode().len() <= MAX_ACCEPTED_BYTES);
            if decoded.is_goodbye() || !decoded.addrs().is_empty() {
                prop_assert_eq!(Announcement::decode(peer(1), &decoded.encode()).unwrap(), decoded);
            }
        }

        #[test]
        fn whatever_we_send_is_small_and_decodes_to_itself(addrs in vec(address(), 0..60), name in any::<String>()) {
            let addrs = addrs.iter().map(|text| multiaddr(text));
            let announcement = Announcement::new(peer(1), addrs, Some(&name));
            let bytes = announcement.encode();
            prop_assert!(bytes.len() <= MAX_SENT_BYTES);
            prop_assert_eq!(Announcement::decode(peer(1), &bytes).unwrap(), announcement);
        }

        #[test]
        fn no_bytes_crash_the_decoder(bytes in vec(any::<u8>(), 0..9_000)) {
            let _ = Announcement::decode(peer(1), &bytes);
        }

        #[test]
        fn no_mutation_of_a_good_one_crashes_the_decoder_or_breaks_a_bound(
            addrs in vec(address(), 1..12),
            name in any::<String>(),
            edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..12),
        ) {
            let mut bytes = json!({ "peerId": peer(1).to_base58(), "addrs": addrs, "name": name }).to_string().into_bytes();
            for (at, byte, edit) in edits {
                let at = at.index(bytes.len());
                match edit {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    2 if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => bytes.extend_from_within(at..),
                }
                bytes.truncate(20_000);
            }
            if let Ok(announcement) = Announcement::decode(peer(1), &bytes) {
                prop_assert!(announcement.addrs().len() <= MAX_ADDRESSES_KEPT);
                prop_assert!(announcement.encode().len() <= MAX_ACCEPTED_BYTES);
            }
        }

        #[test]
        fn no_text_of_an_address_crashes_the_decoder(texts in vec("(/[a-z0-9-]{1,14}|/p2p-circuit|/webrtc|/tcp/80|/ip4/1.2.3.4|/ws|/[^/]{0,9}){0,12}", 1..8)) {
            let _ = decode(peer(1), &texts);
        }
    }
}
