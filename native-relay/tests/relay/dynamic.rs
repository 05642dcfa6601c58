//! A slot on a relay that became known at run time, perhaps only by what identify says of a peer: over every transport; and
//! what is told when it cannot be had.

use std::time::Duration;

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, identify,
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use peerway_core::{
    behaviours::{Reservations, ReservationsEvent},
    reservation::{AddRelayError, RelayEvent, RelayFailure, RelaySpec, RelaySpecError, ReservationConfig},
};
use peerway_hop::HOP_PROTOCOL;
use tokio::time::timeout;

use crate::support::{self, Peer, Refuses, TestRelay, try_anew};

/// Within which every cause is told.
const SECONDS: Duration = Duration::from_secs(8);

/// Somebody's programme, which knows no relay when it starts.
#[derive(NetworkBehaviour)]
struct Client {
    reservations: Reservations,
    identify: identify::Behaviour,
}

fn client() -> Swarm<Client> {
    let keys = Keypair::generate_ed25519();
    let (transport, relay) = support::transport(&keys);
    let Ok(builder) = SwarmBuilder::with_existing_identity(keys.clone())
        .with_tokio()
        .with_other_transport(|_| transport);
    let behaviour = Client {
        reservations: Reservations::new(relay, ReservationConfig::without_gossip(), 7),
        identify: identify::Behaviour::new(identify::Config::new("test/1".to_owned(), keys.public())),
    };
    let Ok(builder) = builder.with_behaviour(|_| behaviour);
    let mut swarm = builder
        .with_swarm_config(|config| config.with_idle_connection_timeout(support::PATIENCE * 4))
        .build();
    // WebRTC dials from the port that it listens on.
    swarm
        .listen_on("/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap())
        .unwrap();
    swarm
}

async fn until<T>(swarm: &mut Swarm<Client>, what: &str, wanted: impl Fn(SwarmEvent<ClientEvent>) -> Option<T>) -> T {
    until_within(support::PATIENCE, swarm, what, wanted).await
}

async fn until_within<T>(
    within: Duration,
    swarm: &mut Swarm<Client>,
    what: &str,
    wanted: impl Fn(SwarmEvent<ClientEvent>) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(swarm.select_next_some().await) {
                return found;
            }
        }
    };
    timeout(within, found)
        .await
        .unwrap_or_else(|_| panic!("not within {within:?}: {what}"))
}

/// A client that dialled there, and whom identify said to be a relay.
async fn learn(address: &Multiaddr) -> (Swarm<Client>, PeerId) {
    let mut swarm = client();
    swarm.dial(address.clone()).unwrap();
    let relay = until(&mut swarm, "a peer that offers HOP", |event| match event {
        SwarmEvent::Behaviour(ClientEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
            info.protocols.contains(&HOP_PROTOCOL).then_some(peer_id)
        }
        SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error:?}"),
        _ => None,
    });
    let relay = relay.await;
    (swarm, relay)
}

/// Why the slot is not had.
async fn why(swarm: &mut Swarm<Client>) -> RelayFailure {
    until_within(SECONDS, swarm, "a cause", |event| match event {
        SwarmEvent::Behaviour(ClientEvent::Reservations(ReservationsEvent::Relay(event))) => match event {
            RelayEvent::Lost { reason, .. } => Some(reason),
            RelayEvent::Reserved { .. } => panic!("it has a slot"),
            _ => None,
        },
        _ => None,
    })
    .await
}

fn at(address: &Multiaddr) -> RelaySpec {
    address.to_string().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_identify_says_that_a_peer_is_a_relay_a_slot_is_had_there_over_every_transport() {
    let relay = TestRelay::start().await;
    for transport in ["tcp", "quic-v1", "ws", "webrtc-direct"] {
        let address = relay.address(transport);
        // It dials a peer, as it would any; that this is a relay, and who it is, identify tells.
        let anonymous: Multiaddr = address
            .iter()
            .filter(|part| !matches!(part, Protocol::P2p(_)))
            .collect();
        let (mut swarm, learnt) = try_anew(async || learn(&anonymous).await).await;
        let spec = RelaySpec {
            peer: Some(learnt),
            addrs: vec![anonymous],
        };
        swarm.behaviour_mut().reservations.add_relay(spec).unwrap();
        let relayed = until(&mut swarm, "an address through the relay", |event| match event {
            SwarmEvent::NewListenAddr { address, .. } => address
                .iter()
                .any(|part| part == Protocol::P2pCircuit)
                .then_some(address),
            SwarmEvent::ListenerClosed { reason, .. } => panic!("{transport}: {reason:?}"),
            _ => None,
        })
        .await;
        let local = *swarm.local_peer_id();
        let reserved: Vec<PeerId> = swarm
            .behaviour()
            .reservations
            .reserved()
            .map(|(peer, _)| peer)
            .collect();
        assert_eq!(reserved, [relay.relay.peer_id()], "{transport}");

        // The request has reached the relay: a stranger gets through.
        let mut stranger = Peer::new();
        stranger.swarm.dial(relayed.clone()).unwrap();
        let reaches = stranger.until("a circuit", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if peer_id == local => {
                Some(endpoint.is_relayed())
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{transport}: {error:?}"),
            _ => None,
        });
        let serves = async {
            loop {
                swarm.select_next_some().await;
            }
        };
        tokio::select! {
            relayed = reaches => assert!(relayed),
            () = serves => unreachable!("it only serves"),
        }
    }
}

#[tokio::test]
async fn when_nobody_says_where_the_relay_is_that_is_refused_at_once() {
    let id = PeerId::random();
    for text in [format!("/p2p/{id}"), format!("/p2p/{id}/p2p-circuit")] {
        let error = text.parse::<RelaySpec>().unwrap_err();
        assert!(
            matches!(error, RelaySpecError::NoAddress | RelaySpecError::Circuit),
            "{error:?}"
        );
    }
    let nowhere = RelaySpec {
        peer: Some(id),
        addrs: Vec::new(),
    };
    let mut swarm = client();
    let refused = swarm.behaviour_mut().reservations.add_relay(nowhere);
    assert_eq!(refused, Err(AddRelayError::NoAddress));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_cannot_be_reached_the_cause_is_told_within_seconds() {
    let gone = Refuses::new();
    let address = gone.address(PeerId::random());
    let mut swarm = client();
    swarm.behaviour_mut().reservations.add_relay(at(&address)).unwrap();
    let RelayFailure::Unreachable(cause) = why(&mut swarm).await else {
        panic!("another cause");
    };
    assert!(cause.contains("refused"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_says_anything_at_the_address_the_cause_is_told_within_seconds() {
    // The kernel takes the connection, and nobody ever reads from it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", PeerId::random())
        .parse()
        .unwrap();
    let mut swarm = client();
    swarm.behaviour_mut().reservations.add_relay(at(&address)).unwrap();
    assert_eq!(why(&mut swarm).await, RelayFailure::TimedOut);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_somebody_else_answers_the_cause_is_told_within_seconds() {
    let relay = TestRelay::start().await;
    let mut address = relay.address("tcp");
    address.pop();
    let address = address.with(Protocol::P2p(PeerId::random()));
    let mut swarm = client();
    swarm.behaviour_mut().reservations.add_relay(at(&address)).unwrap();
    assert_eq!(why(&mut swarm).await, RelayFailure::WrongPeer);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_goes_away_with_the_slot_the_cause_is_told_within_seconds() {
    let relay = TestRelay::start().await;
    let mut swarm = client();
    let spec = at(&relay.address("tcp"));
    swarm.behaviour_mut().reservations.add_relay(spec).unwrap();
    until(&mut swarm, "a slot", |event| match event {
        SwarmEvent::Behaviour(ClientEvent::Reservations(ReservationsEvent::Relay(RelayEvent::Reserved { .. }))) => {
            Some(())
        }
        _ => None,
    })
    .await;
    let gone = tokio::spawn(relay.relay.shutdown());
    assert_eq!(why(&mut swarm).await, RelayFailure::Disconnected);
    gone.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_peer_speaks_no_hop_the_cause_is_told_within_seconds() {
    let mut nobody = Peer::new();
    nobody.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = nobody
        .until("listens", |event| match event {
            SwarmEvent::NewListenAddr { address, .. } => Some(address),
            _ => None,
        })
        .await;
    let serves = tokio::spawn(async move { nobody.until("never", |_| None::<()>).await });
    let mut swarm = client();
    swarm.behaviour_mut().reservations.add_relay(at(&address)).unwrap();
    assert_eq!(why(&mut swarm).await, RelayFailure::NotARelay);
    serves.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_is_full_or_denies_access_the_cause_is_told_within_seconds() {
    let full = TestRelay::start_with(|mut config| {
        config.limits.reservations = 1.try_into().unwrap();
        config
    })
    .await;
    let mut first = client();
    first
        .behaviour_mut()
        .reservations
        .add_relay(at(&full.address("tcp")))
        .unwrap();
    until(&mut first, "the only slot", |event| match event {
        SwarmEvent::Behaviour(ClientEvent::Reservations(ReservationsEvent::Relay(RelayEvent::Reserved { .. }))) => {
            Some(())
        }
        _ => None,
    })
    .await;
    let mut second = client();
    second
        .behaviour_mut()
        .reservations
        .add_relay(at(&full.address("tcp")))
        .unwrap();
    let cause = tokio::select! {
        cause = why(&mut second) => cause,
        () = async { loop { first.select_next_some().await; } } => unreachable!("it only serves"),
    };
    let RelayFailure::Refused(cause) = cause else {
        panic!("{cause:?}")
    };
    assert!(cause.contains("refused"), "{cause}");

    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), "0123456789abcdef\n").unwrap();
    let closed = TestRelay::start_with(|mut config| {
        config.access.token_file = Some(tokens.path().to_owned());
        config
    })
    .await;
    let mut third = client();
    third
        .behaviour_mut()
        .reservations
        .add_relay(at(&closed.address("tcp")))
        .unwrap();
    assert_eq!(why(&mut third).await, RelayFailure::NotAllowed);
}
