//! What those who run a relay see of it: who is answered, with what, and that everything which dashboard and alerts ask
//! for is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::Path,
};

use libp2p::{PeerId, gossipsub, multiaddr::Protocol, swarm::SwarmEvent};
use native_relay::{Admin, Config, Limits, Relay};
use peerway_core::protocol::DISCOVERY_TOPIC;
use serde_json::Value;
use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use yaml_rust2::{Yaml, YamlLoader};

use crate::{
    support::promql::{metric_names, selectors},
    support::{
        PATIENCE, Peer, PeerBehaviourEvent, TestRelay, admin, admin_as, eventually, exchange, get, try_anew,
        until_closed,
    },
};

const TRANSPORTS: [(&str, &str); 4] = [
    ("tcp", "tcp"),
    ("ws", "websocket"),
    ("quic-v1", "quic"),
    ("webrtc-direct", "webrtc-direct"),
];

/// What a metric's family says of itself, by the name that its samples begin with.
type Families = BTreeMap<String, String>;

fn families(text: &str) -> Families {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            (name.to_owned(), kind.to_owned())
        })
        .collect()
}

/// The names of all samples, without their labels.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect()
}

/// The value of one sample, whose labels are in this order.
fn value(text: &str, sample: &str) -> f64 {
    let mut found = text
        .lines()
        .filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = found.next().unwrap_or_else(|| panic!("{sample} is not in {text}"));
    assert_eq!(found.next(), None, "{sample} is there twice");
    value.parse().unwrap()
}

async fn json(relay: &TestRelay, path: &str) -> Value {
    let answer = admin(relay, path).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json"),
        "{path}"
    );
    serde_json::from_slice(&answer.body).unwrap()
}

/// One that can dial over this transport: the native WebRTC transport dials only from a socket that it listens on.
async fn peer(transport: &str) -> Peer {
    let mut peer = Peer::new();
    if transport == "webrtc-direct" {
        let listen = "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap();
        peer.swarm.listen_on(listen).unwrap();
        let listens = |event| matches!(event, SwarmEvent::NewListenAddr { .. }).then_some(());
        peer.until("it listens", listens).await;
    }
    peer
}

#[tokio::test]
async fn every_path_has_its_status_and_type_and_the_pages_port_has_none_of_them() {
    let relay = TestRelay::start().await;
    for (path, content_type) in [
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("/stats", "application/json"),
        ("/peers", "application/json"),
        ("/healthz", "text/plain; charset=utf-8"),
    ] {
        let answer = admin(&relay, path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, content_type),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
    assert_eq!(admin(&relay, "/").await.status, 404);
    assert_eq!(admin(&relay, "/relay.json").await.status, 404);
    assert_eq!(admin(&relay, "/peers?after=nobody").await.status, 400);
    for path in ["/metrics", "/stats", "/peers"] {
        assert_eq!(get(relay.relay.http_addr(), path, "").await.status, 404, "{path}");
    }
    let admin = relay.relay.admin_addr().unwrap();
    relay.relay.shutdown().await;
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn when_a_request_comes_by_another_name_it_is_refused_unless_the_address_is_not_loopback() {
    let relay = TestRelay::start().await;
    let address = relay.relay.admin_addr().unwrap();
    for (host, status) in [
        ("localhost:9090", 200),
        ("127.0.0.1", 200),
        ("rebound.example", 421),
        ("rebound.example:9090", 421),
        ("192.0.2.1", 421),
    ] {
        for path in ["/metrics", "/stats", "/peers", "/healthz"] {
            assert_eq!(admin_as(host, address, path).await.status, status, "{host}{path}");
        }
    }
    let everywhere = TestRelay::start_with(|mut config| {
        config.admin = Admin::At(([0, 0, 0, 0], 0).into());
        config
    })
    .await;
    let port = everywhere.relay.admin_addr().unwrap().port();
    let answer = admin_as("relay.example", ([127, 0, 0, 1], port).into(), "/stats").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn when_too_many_look_at_once_the_next_is_closed_until_there_is_a_place() {
    const AS_MANY_AS_MAY: usize = 32;
    let relay = TestRelay::start().await;
    let address = relay.relay.admin_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..AS_MANY_AS_MAY {
        waiting.push(TcpStream::connect(address).await.unwrap());
    }
    let next = TcpStream::connect(address).await.unwrap();
    timeout(PATIENCE, until_closed(next)).await.unwrap();
    waiting.pop();
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    eventually("there is a place", async || {
        let answer = exchange(address, head.as_bytes()).await;
        answer.starts_with(b"HTTP/1.1 200").then_some(())
    })
    .await;
    drop(waiting);
}

#[tokio::test]
async fn when_the_port_is_taken_it_matters_only_if_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::ephemeral(dir.path().to_owned());
    config.admin = Admin::At(taken.local_addr().unwrap());
    let error = Relay::start(config.clone()).await.err().unwrap().to_string();
    let port = taken.local_addr().unwrap().port();
    assert!(
        error.contains(&format!("port {port} (TCP) is taken")) && error.contains("--admin"),
        "{error}"
    );

    // Whoever has the default port, one of these two does not.
    config.admin = Admin::IfFree;
    let one = Relay::start(config.clone()).await.unwrap();
    let other = Relay::start(config.clone()).await.unwrap();
    assert!(one.admin_addr().is_none() || other.admin_addr().is_none());

    config.admin = Admin::Off;
    assert_eq!(Relay::start(config).await.unwrap().admin_addr(), None);
}

#[tokio::test]
async fn when_peers_come_each_is_counted_at_its_transport_and_shown_without_its_address() {
    let relay = TestRelay::start().await;
    for (part, name) in TRANSPORTS {
        let mut peer = try_anew(async || {
            let mut peer = peer(part).await;
            peer.reserve(&relay.address(part)).await;
            peer
        })
        .await;
        let stats = json(&relay, "/stats").await;
        assert_eq!(
            (&stats["peers"], &stats["reservations"]),
            (&1.into(), &1.into()),
            "{name}"
        );
        assert_eq!(stats["peerId"], relay.relay.peer_id().to_string());
        for (_, other) in TRANSPORTS {
            assert_eq!(stats["connections"][other], u64::from(other == name), "{name}: {stats}");
        }
        let shown = json(&relay, "/peers").await;
        let one = &shown["peers"][0];
        assert_eq!((&shown["total"], &shown["next"]), (&1.into(), &Value::Null));
        assert_eq!(one["peerId"], peer.id().to_string());
        assert_eq!(one["connections"][0]["transport"], name);
        assert_eq!(one["reservations"], 1);
        assert!(!shown.to_string().contains("127.0.0.1"), "{shown}");
        let behind = json(&relay, &format!("/peers?after={}", peer.id())).await;
        assert_eq!(behind["peers"], Value::Array(Vec::new()));

        if part == "webrtc-direct" {
            // The end of such a connection is noticed when pings are not answered.
            continue;
        }
        peer.swarm.disconnect_peer_id(relay.relay.peer_id()).unwrap();
        peer.until("it has left", |event| {
            matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
        })
        .await;
        eventually("it is gone", async || {
            (json(&relay, "/stats").await["peers"] == 0).then_some(())
        })
        .await;
        let stats = json(&relay, "/stats").await;
        assert_eq!(stats["totals"]["connectionsClosed"][name], 1, "{stats}");
        assert_eq!(stats["connections"][name], 0);
    }
}

/// Over whatever else it is about, so that every metric there is is shown.
#[tokio::test]
async fn what_is_said_asked_and_denied_is_counted_by_what_it_is_about() {
    const ROOM: &str = "peerway/room/1/0123456789abcdef0123456789abcdef";
    let relay = TestRelay::start().await;
    let address = relay.address("tcp");
    let (mut one, mut other) = (Peer::new(), Peer::new());
    tokio::join!(
        one.join(&address, &[DISCOVERY_TOPIC, ROOM]),
        other.join(&address, &[DISCOVERY_TOPIC, ROOM])
    );
    // The relay follows the room because two are in it.
    one.until("the relay is in the room", |event| match event {
        SwarmEvent::Behaviour(PeerBehaviourEvent::Gossip(gossipsub::Event::Subscribed { topic, .. })) => {
            (topic.as_str() == ROOM).then_some(())
        }
        _ => None,
    })
    .await;
    let good = one.announcement();
    one.publish(DISCOVERY_TOPIC, good).unwrap();
    one.publish(DISCOVERY_TOPIC, b"{}".to_vec()).unwrap();
    one.publish(ROOM, b"hello".to_vec()).unwrap();
    let nobody = address
        .clone()
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(PeerId::random()));
    one.swarm.dial(nobody).unwrap();

    let stun = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = b"\x00\x01\x00\x00\x21\x12\xa4\x42any id is ok";
    for datagram in [&request[..], b"nonsense", b"more of it"] {
        stun.send_to(datagram, relay.relay.stun_addrs()[0]).await.unwrap();
    }

    let counted = eventually("all is counted", async || {
        let totals = json(&relay, "/stats").await["totals"].clone();
        let gossip = &totals["gossipMessages"];
        let seen = [
            &gossip["discovery"]["accepted"],
            &gossip["discovery"]["rejected"],
            &gossip["room"]["accepted"],
            &totals["denials"]["circuit"]["no_reservation"],
            &totals["stunDatagrams"]["answered"],
        ];
        (seen.iter().all(|count| **count == 1) && totals["stunDatagrams"]["malformed"] == 2).then_some(())
    });
    let served = async {
        tokio::join!(one.until("never", |_| None::<()>), other.until("never", |_| None::<()>));
    };
    tokio::select! {
        () = counted => {}
        () = served => unreachable!("they only serve"),
    }
    let text = admin(&relay, "/metrics").await.text();
    assert_eq!(
        value(
            &text,
            "peerway_relay_gossip_messages_total{topic=\"room\",outcome=\"accepted\"}"
        ),
        1.0
    );
    assert_eq!(value(&text, "peerway_relay_rooms"), 1.0);
    assert_eq!(value(&text, "libp2p_gossipsub_messages_total"), 3.0);
    assert_eq!(value(&text, "libp2p_identify_received_total"), 2.0);
    check_format(&text);
    check_cardinality(&text, [one.id(), other.id(), relay.relay.peer_id()]);
}

/// As OpenMetrics 1.0 wants it, as far as it can be seen from outside.
fn check_format(text: &str) {
    assert!(text.ends_with("\n# EOF\n"));
    let families = families(text);
    for (family, kind) in &families {
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("{family} is a {other}"),
        };
        let of = |name: &String| suffixes.iter().any(|suffix| *name == format!("{family}{suffix}"));
        assert!(
            samples(text).iter().any(of) || family.starts_with("libp2p_"),
            "{family}"
        );
        assert!(!family.ends_with("_total"), "{family}");
    }
    for sample in samples(text) {
        let stem = ["_total", "_info", "_bucket", "_count", "_sum", ""];
        let belongs = stem.iter().any(|suffix| {
            let family = sample.strip_suffix(suffix);
            family.is_some_and(|family| families.contains_key(family))
        });
        assert!(belongs, "{sample} belongs to nothing");
    }
    for (name, expected) in [
        ("process_open_fds", 3.0..1e6),
        ("process_resident_memory_bytes", 1e6..1e12),
        ("process_start_time_seconds", 1.6e9..1e11),
        ("process_cpu_seconds_total", 0.0..1e6),
        ("peerway_relay_limit{limit=\"reservations\"}", 8_192.0..8_193.0),
    ] {
        if cfg!(target_os = "linux") || !name.starts_with("process") {
            let found = value(text, name);
            assert!(expected.contains(&found), "{name} is {found}");
        }
    }
    let unique: BTreeSet<_> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(
        unique.len(),
        text.lines().count(),
        "a sample or a line about one is there twice"
    );
}

/// No label says who or where somebody is: these would be without end.
fn check_cardinality(text: &str, ids: [PeerId; 3]) {
    for id in ids {
        assert!(!text.contains(&id.to_string()), "{id}");
    }
    assert!(!text.contains("127.0.0.1") && !text.contains("12D3Koo"), "{text}");
    let mut series = BTreeMap::<&str, usize>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        *series.entry(line.split(['{', ' ']).next().unwrap()).or_default() += 1;
    }
    assert!(series.values().all(|count| *count <= 64), "{series:?}");
}

/// A peer chooses what it says of itself and of us; none of it is kept by name.
#[tokio::test]
async fn when_peers_say_strange_things_of_themselves_no_label_is_made_of_it() {
    let relay = TestRelay::start().await;
    let address = relay.address("tcp");
    let mut peer = Peer::new();
    for number in 0..20_u16 {
        let strange = "/tls/ws".repeat(usize::from(number % 5) + 1);
        let at = format!("/ip4/203.0.113.7/tcp/{}{strange}", number + 1);
        peer.swarm.add_external_address(at.parse().unwrap());
    }
    peer.reserve(&address).await;
    let known = async {
        eventually("it is identified", async || {
            let text = admin(&relay, "/metrics").await.text();
            (value(&text, "libp2p_identify_received_total") >= 1.0).then_some(text)
        })
        .await
    };
    let text = tokio::select! {
        text = known => text,
        () = peer.until("never", |_| None) => unreachable!("it only serves"),
    };
    assert!(!text.contains("/tls"), "{text}");
    assert!(!text.contains("libp2p_swarm_external_addr_candidates_total"), "{text}");
}

#[tokio::test]
async fn everything_that_dashboard_and_alerts_ask_for_is_there() {
    let relay = TestRelay::start_with(|mut config| {
        config.limits = Limits::default();
        config
    })
    .await;
    let text = admin(&relay, "/metrics").await.text();
    let mut there = samples(&text);
    // Prometheus' own.
    there.insert("up".to_owned());
    let expressions = [dashboard(), alerts()].concat();
    assert!(expressions.len() > 40, "{expressions:?}");
    for expression in &expressions {
        let names = metric_names(expression);
        assert!(!names.is_empty(), "{expression} asks for nothing");
        for name in names {
            let is_unknown_here = cfg!(not(target_os = "linux")) && name.starts_with("process_");
            assert!(
                there.contains(&name) || is_unknown_here,
                "{name} does not exist: {expression}"
            );
        }
        for (name, label, expected) in selectors(expression) {
            let exists = text.contains(&format!("{label}=\"{expected}\"")) || ["job", "instance"].contains(&&*label);
            assert!(exists, "{name} has no {label}=\"{expected}\": {expression}");
        }
    }
    // And what there is of ours is shown somewhere, or is there for those who look for it.
    const UNSEEN: [&str; 4] = [
        "peerway_relay_build",
        "peerway_relay_connections_closed",
        "peerway_relay_requests_rejected",
        "peerway_relay_circuits_accepted",
    ];
    for family in families(&text)
        .keys()
        .filter(|family| family.starts_with("peerway_relay_"))
    {
        let is_seen = expressions
            .iter()
            .flat_map(|expression| metric_names(expression))
            .any(|name| name.starts_with(family));
        assert_eq!(is_seen, !UNSEEN.contains(&family.as_str()), "{family}");
    }
}

fn read(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    fs::read_to_string(docs.join(name)).unwrap()
}

/// Every `expr` of the dashboard, wherever it stands.
fn dashboard() -> Vec<String> {
    fn find(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| find(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| find(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    find(
        &serde_json::from_str(&read("grafana-dashboard.json")).unwrap(),
        &mut found,
    );
    found
}

/// Every `expr` of the alerts, each of which says what it means.
fn alerts() -> Vec<String> {
    let documents = YamlLoader::load_from_str(&read("alerts.yml")).unwrap();
    let groups = documents[0]["groups"].as_vec().unwrap();
    let rules: Vec<&Yaml> = groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().unwrap())
        .collect();
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(rule["labels"]["severity"].as_str().is_some(), "{name}");
        for annotation in ["summary", "description"] {
            assert!(rule["annotations"][annotation].as_str().is_some(), "{name}");
        }
    }
    rules
        .iter()
        .map(|rule| rule["expr"].as_str().unwrap().to_owned())
        .collect()
}
