//! Reservations that are renewed, and one that is renewed too late: when it ends.
//!
//! Our relay grants an hour. Here its part that grants, and libp2p's beneath it, run with a lifetime of seconds.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what fails here fails the test, and most events of a swarm are not what it waits for"
)]

mod support;

use std::{future::Future, pin::pin, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::try_join_all};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    multiaddr::Protocol,
    noise, relay,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use native_relay::RelayGuard;
use peerway_core::behaviours::Streams;
use support::{PATIENCE, Peer, PeerBehaviourEvent};
use tokio::{task::JoinHandle, time::timeout};

/// The protocol of whoever wants something of a relay (circuit relay v2).
const HOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
/// A request for a reservation: its length, then field 1 (`type`) with the value `RESERVE`.
const RESERVE: [u8; 3] = [2, 8, 0];

/// How long a reservation lasts here. Its end is told in whole seconds, and clients renew at three quarters of it.
const LIFETIME: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn when_many_renew_again_and_again_all_keep_their_reservations() {
    const CLIENTS: usize = 20;
    const RENEWALS: u32 = 6;
    let (relay, address) = listening_relay(guarded(config())).await;
    let relay = serve(relay);
    let clients = (0..CLIENTS).map(|_| {
        let address = address.clone().with(Protocol::P2pCircuit);
        tokio::spawn(async move {
            let mut peer = Peer::new();
            peer.swarm.listen_on(address).unwrap();
            let mut renewals = 0;
            peer.until("renewed", |event| match event {
                SwarmEvent::Behaviour(PeerBehaviourEvent::Relay(relay::client::Event::ReservationReqAccepted {
                    renewal: true,
                    ..
                })) => {
                    renewals += 1;
                    (renewals == RENEWALS).then_some(())
                }
                SwarmEvent::ListenerClosed { reason, .. } => panic!("after {renewals} renewals: {reason:?}"),
                _ => None,
            })
            .await;
        })
    });
    try_join_all(clients).await.unwrap();
    assert!(!relay.is_finished(), "the relay lives");
    relay.abort();
}

/// Pins a defect of libp2p-relay 0.22, which [`RelayGuard`] is for: while a renewal is on its way from the connection's
/// task to the behaviour and back, the old reservation ends, the behaviour forgets the connection, and takes for
/// impossible what comes next. When this test fails, libp2p has mended it, and the guard can go.
#[tokio::test]
#[should_panic(expected = "valid connection")]
async fn when_a_reservation_ends_while_it_is_renewed_libp2ps_relay_panics() {
    let limits = slow_to_renew(1);
    let (relay, address) = listening_relay(|local| relay::Behaviour::new(local, limits)).await;
    renew_too_late(relay, &address).await;
}

#[tokio::test]
async fn when_a_reservation_ends_while_it_is_renewed_our_relay_grants_it_anew() {
    let (relay, address) = listening_relay(guarded(slow_to_renew(2))).await;
    let said = renew_too_late(relay, &address).await;
    assert_eq!(said, ["accepted", "timed out", "accepted", "timed out", "accepted"]);
}

#[tokio::test]
async fn when_a_reservation_ended_while_it_was_renewed_circuits_reach_its_holder() {
    let (mut relay, address) = listening_relay(guarded(slow_to_renew(1))).await;
    let circuit = address.with(Protocol::P2pCircuit);
    let mut host = Peer::new();
    host.swarm.listen_on(circuit.clone()).unwrap();
    let mut said = Vec::new();
    while said != ["accepted", "timed out", "accepted"] {
        tokio::select! {
            event = relay.select_next_some() => said.extend(of_reservations(&event)),
            () = host.until("never", |_| None) => unreachable!("it only serves"),
        }
    }

    let mut guest = Peer::new();
    let host_id = host.id();
    guest.swarm.dial(circuit.with(Protocol::P2p(host_id))).unwrap();
    let meet = async {
        let connected = guest.until("the circuit is up", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if peer_id == host_id => Some(endpoint),
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("no circuit: {error}"),
            _ => None,
        });
        tokio::select! {
            endpoint = connected => endpoint,
            () = host.until("never", |_| None) => unreachable!("it only serves"),
        }
    };
    let endpoint = drive(&mut relay, meet).await;
    assert!(endpoint.is_relayed());
}

/// A client asks for a reservation, and again and again so late that the one before ends meanwhile. What the relay says
/// of it. All on one thread, so that nothing goes on while the relay thinks; if anything panics it is the relay.
async fn renew_too_late<B>(mut relay: Swarm<B>, address: &Multiaddr) -> Vec<&'static str>
where
    B: NetworkBehaviour<ToSwarm = relay::Event>,
{
    let address = address.clone();
    let mut client = tokio::spawn(async move {
        let (mut swarm, relay) = connect(&address).await;
        for _ in 0..3 {
            reserve(&mut swarm, relay).await;
        }
    });
    let mut said = Vec::new();
    let done = async {
        let mut answered = false;
        // The client may hear of the last one before we do.
        while !answered || said.last() != Some(&"accepted") {
            tokio::select! {
                ended = &mut client, if !answered => {
                    ended.unwrap();
                    answered = true;
                }
                event = relay.select_next_some() => said.extend(of_reservations(&event)),
            }
        }
    };
    timeout(PATIENCE, done).await.unwrap();
    said
}

/// What an event says about reservations.
fn of_reservations(event: &SwarmEvent<relay::Event>) -> Option<&'static str> {
    match event {
        SwarmEvent::Behaviour(event) => match event {
            relay::Event::ReservationReqAccepted { .. } => Some("accepted"),
            relay::Event::ReservationReqDenied { .. } => Some("denied"),
            relay::Event::ReservationTimedOut { .. } => Some("timed out"),
            _ => None,
        },
        _ => None,
    }
}

/// With a rate limiter that thinks about the first `slow` renewals for as long as a reservation lasts: whenever they
/// come, they come too late.
fn slow_to_renew(slow: u32) -> relay::Config {
    let mut asked = 0;
    let think = move |_: PeerId, _: &Multiaddr, _: web_time::Instant| {
        asked += 1;
        if (2..=slow + 1).contains(&asked) {
            std::thread::sleep(LIFETIME);
        }
        true
    };
    relay::Config {
        reservation_rate_limiters: vec![Box::new(think)],
        ..config()
    }
}

fn guarded(config: relay::Config) -> impl FnOnce(PeerId) -> RelayGuard {
    |local| RelayGuard::new(relay::Behaviour::new(local, config))
}

/// Limits as ours: none that could be met here.
fn config() -> relay::Config {
    relay::Config {
        max_reservations: usize::MAX,
        reservation_duration: LIFETIME,
        reservation_rate_limiters: Vec::new(),
        ..relay::Config::default()
    }
}

/// A relay on loopback that is nothing but this behaviour.
async fn listening_relay<B: NetworkBehaviour>(behaviour: impl FnOnce(PeerId) -> B) -> (Swarm<B>, Multiaddr) {
    let mut swarm = swarm(behaviour);
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.add_external_address(address.clone());
    let address = address.with(Protocol::P2p(*swarm.local_peer_id()));
    (swarm, address)
}

fn serve(mut relay: Swarm<RelayGuard>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            relay.select_next_some().await;
        }
    })
}

/// A client that is nothing but streams, connected to the relay.
async fn connect(relay: &Multiaddr) -> (Swarm<Streams>, PeerId) {
    let mut swarm = swarm(|_| Streams::new());
    swarm.dial(relay.clone()).unwrap();
    let peer = loop {
        if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
            break peer_id;
        }
    };
    (swarm, peer)
}

/// Asks for a reservation and waits for the answer, whatever it is.
async fn reserve(swarm: &mut Swarm<Streams>, relay: PeerId) {
    let opening = swarm.behaviour_mut().open(relay, HOP);
    let mut stream = drive(swarm, opening).await.unwrap();
    let answered = async {
        stream.write_all(&RESERVE).await?;
        stream.flush().await?;
        stream.read(&mut [0; 512]).await
    };
    assert_ne!(drive(swarm, answered).await.unwrap(), 0);
}

/// Runs a swarm until something else is done.
async fn drive<B: NetworkBehaviour, T>(swarm: &mut Swarm<B>, until: impl Future<Output = T>) -> T {
    let mut until = pin!(until);
    let done = async {
        loop {
            tokio::select! {
                done = &mut until => return done,
                _ = swarm.select_next_some() => {}
            }
        }
    };
    timeout(PATIENCE, done).await.unwrap()
}

fn swarm<B: NetworkBehaviour>(behaviour: impl FnOnce(PeerId) -> B) -> Swarm<B> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|keys| behaviour(keys.public().to_peer_id()))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build()
}
