//! A relay that is a client of relays that nobody named to it: it learns of them when they connect, by what identify says.

use std::net::{Ipv4Addr, SocketAddr};

use libp2p::{Multiaddr, multiaddr::Protocol, swarm::SwarmEvent};
use native_relay::{
    AccessRules, CandidateStatus, Config, Endpoint, Mode, NeighbourState, NeighbourStatus, Reach, SlotState, Status,
};
use peerway_core::reservation::RelayFailure;

use crate::support::{Peer, TestRelay, admin, eventually, try_anew};

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Of this machine, too, and no address that anybody comes from.
const ELSEWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);

/// A relay to which no other is named, and which takes slots on this many.
async fn client(mode: Mode, unnamed: u8) -> TestRelay {
    TestRelay::start_with(|mut config| {
        config.relays.mode = mode;
        config.relays.unnamed = unnamed;
        // Nobody's proxy is in front of it.
        config.limits.shared_networks.clear();
        config
    })
    .await
}

fn naming(inner: &TestRelay) -> impl FnOnce(Config) -> Config {
    naming_by(inner, "tcp")
}

fn naming_by(inner: &TestRelay, transport: &str) -> impl FnOnce(Config) -> Config {
    let address = inner.address(transport).to_string();
    move |mut config| {
        config.relays.addresses = vec![address.parse().unwrap()];
        config
    }
}

fn without_id(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .filter(|part| !matches!(part, Protocol::P2p(_)))
        .collect()
}

async fn until(relay: &TestRelay, what: &str, is: impl Fn(&Status) -> bool) -> Status {
    eventually(what, async || relay.relay.status().await.filter(&is)).await
}

fn slots(status: &Status) -> Vec<&SlotState> {
    status.unnamed.iter().map(|relay| &relay.slot).collect()
}

/// Dials `to` through `through`, as a stranger.
async fn reaches(through: &Multiaddr, to: &TestRelay) {
    let wanted = to.relay.peer_id();
    let mut stranger = Peer::new();
    let circuit = through.clone().with(Protocol::P2pCircuit).with(Protocol::P2p(wanted));
    stranger.swarm.dial(circuit).unwrap();
    let relayed = stranger.until("a circuit", |event| match event {
        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if peer_id == wanted => Some(endpoint.is_relayed()),
        SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error:?}"),
        _ => None,
    });
    assert!(relayed.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_identify_says_that_whoever_came_is_a_relay_a_slot_is_taken_there_over_every_transport() {
    // It comes over this, and is to be had over nothing else from where it comes.
    let listening = [
        ("tcp", "tcp", Endpoint::Tcp(HERE), ELSEWHERE),
        ("quic-v1", "quic", Endpoint::Quic(HERE), ELSEWHERE),
        (
            "webrtc-direct",
            "webrtc-direct",
            Endpoint::WebRtcDirect(HERE),
            ELSEWHERE,
        ),
        ("ws", "websocket", Endpoint::Tcp(ELSEWHERE), HERE),
    ];
    for (transport, counted, endpoint, http) in listening {
        let (inner, public, status) = try_anew(async || {
            let inner = client(Mode::Both, 1).await;
            let named = naming_by(&inner, transport);
            let public = TestRelay::start_with(|config| {
                let mut config = named(config);
                config.http = Some(http);
                config.listen = vec![endpoint];
                config
            })
            .await;
            let status = until(&inner, transport, |status| slots(status) == [&SlotState::Held]).await;
            (inner, public, status)
        })
        .await;
        let address = public.address(transport);
        let expected = CandidateStatus {
            peer: public.relay.peer_id(),
            addresses: vec![without_id(&address)],
            slot: SlotState::Held,
        };
        assert_eq!(status.unnamed, [expected], "{transport}");
        assert_eq!((status.relays, status.reach), (vec![], Reach::Circuit));
        reaches(&public.address("ws"), &inner).await;

        let stats: serde_json::Value = serde_json::from_slice(&admin(&inner, "/stats").await.body).unwrap();
        let shown = serde_json::json!([{ "peerId": public.relay.peer_id().to_string(), "slot": "held" }]);
        assert_eq!(stats["unnamedRelays"], shown);
        let peers: serde_json::Value = serde_json::from_slice(&admin(&public, "/peers").await.body).unwrap();
        let holder = peers["peers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|peer| peer["peerId"] == inner.relay.peer_id().to_string())
            .unwrap();
        let connections = holder["connections"].as_array().unwrap();
        assert_eq!((connections.len(), &holder["reservations"]), (1, &1.into()), "{peers}");
        assert_eq!(connections[0]["transport"], counted);
        // They stay one network.
        let joined = |status: &Status| status.relays[0].state == NeighbourState::Joined;
        until(&public, "the relay that it named", joined).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_those_that_nobody_named_gives_no_slot_the_cause_is_told_and_another_one_does() {
    let inner = client(Mode::Client, 1).await;
    let full = TestRelay::start_with(|mut config| {
        config.limits.reservations = 1.try_into().unwrap();
        config
    })
    .await;
    let mut only = Peer::new();
    only.reserve(&full.address("tcp")).await;
    let serves = tokio::spawn(async move { only.until("never", |_| None::<()>).await });
    full.relay
        .name_relay(inner.address("tcp").to_string().parse().unwrap())
        .await
        .unwrap();
    let refused = |status: &Status| matches!(slots(status)[..], [SlotState::Failed(RelayFailure::Refused(_))]);
    until(&inner, "the cause", refused).await;

    // That it has no slot for us is no reason to part.
    let stats: serde_json::Value = serde_json::from_slice(&admin(&full, "/stats").await.body).unwrap();
    let closed = stats["totals"]["connectionsClosed"].as_object().unwrap();
    assert!(closed.values().all(|count| count == 0), "{stats}");

    let public = TestRelay::start_with(naming(&inner)).await;
    let held = |status: &Status| slots(status).contains(&&SlotState::Held);
    let status = until(&inner, "the other one's slot", held).await;
    let holds = status.unnamed.iter().find(|relay| relay.slot == SlotState::Held);
    assert_eq!(holds.map(|relay| relay.peer), Some(public.relay.peer_id()));
    reaches(&public.address("tcp"), &inner).await;
    serves.abort();
}

/// Names the relay there, and waits until all is well with it, and with nobody besides.
async fn name(inner: &TestRelay, public: &TestRelay, address: &Multiaddr) {
    inner
        .relay
        .name_relay(address.to_string().parse().unwrap())
        .await
        .unwrap();
    let named = |status: &Status| {
        let fine = |relay: &NeighbourStatus| {
            relay.peer == Some(public.relay.peer_id())
                && relay.state == NeighbourState::Joined
                && relay.slot == SlotState::Held
        };
        status.unnamed.is_empty() && !status.relays.is_empty() && status.relays.iter().all(fine)
    };
    until(inner, "named, joined, held", named).await;
    reaches(&public.address("tcp"), inner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_that_nobody_named_is_named_its_slot_is_that_of_a_named_one() {
    for with_id in [true, false] {
        let inner = client(Mode::Both, 2).await;
        let public = TestRelay::start_with(naming(&inner)).await;
        until(&inner, "its slot", |status| slots(status) == [&SlotState::Held]).await;
        let address = public.address("tcp");
        let address = if with_id { address } else { without_id(&address) };
        name(&inner, &public, &address).await;
        // Said in another way it is the same one.
        name(&inner, &public, &public.address("tcp")).await;
        name(&inner, &public, &without_id(&public.address("tcp"))).await;
        name(&inner, &public, &without_id(&public.address("ws"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_that_nobody_named_answers_at_an_address_that_is_named_it_is_that_relay() {
    let inner = client(Mode::Both, 2).await;
    let named = naming(&inner);
    let public = TestRelay::start_with(|config| {
        let mut config = named(config);
        config.listen.push(Endpoint::Tcp(HERE));
        config
    })
    .await;
    let status = until(&inner, "its slot", |status| slots(status) == [&SlotState::Held]).await;
    let known = &status.unnamed[0].addresses;
    let mut addresses = public.relay.addresses().iter().map(without_id);
    let another = addresses.find(|address| !known.contains(address)).unwrap();
    name(&inner, &public, &another).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_reached_through_a_relay_that_the_operator_lets_nothing_do() {
    let inner = client(Mode::Both, 1).await;
    let public = TestRelay::start_with(naming(&inner)).await;
    until(&inner, "its slot", |status| slots(status) == [&SlotState::Held]).await;
    let rules = AccessRules {
        deny_peers: vec![public.relay.peer_id()],
        ..AccessRules::default()
    };
    inner.relay.replace_access(&rules).await.unwrap();
    until(&inner, "it is gone", |status| {
        status.unnamed.is_empty() && status.connected == 0 && status.reach == Reach::Direct
    })
    .await;

    // One that shows no token may stay for a while, and is asked for nothing meanwhile.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef").unwrap();
    let inner = TestRelay::start_with(|mut config| {
        config.relays.mode = Mode::Both;
        config.relays.unnamed = 1;
        config.limits.shared_networks.clear();
        config.access.token_file = Some(file.path().to_owned());
        config
    })
    .await;
    let public = TestRelay::start_with(naming(&inner)).await;
    let joined = |status: &Status| status.relays[0].state == NeighbourState::Joined;
    until(&public, "they know each other", joined).await;
    let hung_up = |status: &Status| matches!(status.relays[0].state, NeighbourState::Failed(_));
    let watch = until(&public, "it shows no token", hung_up);
    let never = async {
        loop {
            let status = inner.relay.status().await.unwrap();
            assert_eq!(status.unnamed, []);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = watch => {}
        () = never => unreachable!("it only looks"),
    }
}
