//! A relay that is a client of relays that nobody named to it: it learns of them when they connect, by what identify says.

use std::net::{Ipv4Addr, SocketAddr};

use libp2p::{Multiaddr, multiaddr::Protocol, swarm::SwarmEvent};
use native_relay::{CandidateStatus, Config, Endpoint, Mode, NeighbourState, Reach, SlotState, Status};
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
        config
    })
    .await
}

fn naming(inner: &TestRelay) -> impl FnOnce(Config) -> Config {
    let address = inner.address("tcp").to_string();
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
    // Over nothing else can it be had from where it comes.
    let listening = [
        ("tcp", Endpoint::Tcp(HERE), ELSEWHERE),
        ("quic-v1", Endpoint::Quic(HERE), ELSEWHERE),
        ("webrtc-direct", Endpoint::WebRtcDirect(HERE), ELSEWHERE),
        ("ws", Endpoint::Tcp(ELSEWHERE), HERE),
    ];
    for (transport, endpoint, http) in listening {
        let (inner, public, status) = try_anew(async || {
            let inner = client(Mode::Both, 1).await;
            let named = naming(&inner);
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

    let public = TestRelay::start_with(naming(&inner)).await;
    let held = |status: &Status| slots(status).contains(&&SlotState::Held);
    let status = until(&inner, "the other one's slot", held).await;
    let holds = status.unnamed.iter().find(|relay| relay.slot == SlotState::Held);
    assert_eq!(holds.map(|relay| relay.peer), Some(public.relay.peer_id()));
    reaches(&public.address("tcp"), &inner).await;
    serves.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_that_nobody_named_is_named_its_slot_is_that_of_a_named_one() {
    for with_id in [true, false] {
        let inner = client(Mode::Both, 2).await;
        let public = TestRelay::start_with(naming(&inner)).await;
        until(&inner, "its slot", |status| slots(status) == [&SlotState::Held]).await;
        let address = public.address("tcp");
        let name = if with_id { address.clone() } else { without_id(&address) };
        inner.relay.name_relay(name.to_string().parse().unwrap()).await.unwrap();
        let named = |status: &Status| {
            status.unnamed.is_empty()
                && status.relays[0].peer == Some(public.relay.peer_id())
                && status.relays[0].state == NeighbourState::Joined
                && status.relays[0].slot == SlotState::Held
        };
        until(&inner, "named, joined, held", named).await;
        reaches(&address, &inner).await;
    }
}
