//! Reservations that are renewed, and one that is renewed too late: when it ends.
//!
//! Our relay grants an hour. Here libp2p's behaviour runs with limits as ours and a lifetime of seconds.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what fails here fails the test, and most events of a swarm are not what it waits for"
)]

mod support;

use std::{future::Future, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::try_join_all};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    multiaddr::Protocol,
    noise, relay,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use peerway_core::behaviours::Streams;
use support::{PATIENCE, Peer, PeerBehaviourEvent};
use tokio::{task::JoinHandle, time::timeout};

/// The protocol of whoever wants something of a relay (circuit relay v2).
const HOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
/// A request for a reservation: its length, then field 1 (`type`) with the value `RESERVE`.
const RESERVE: [u8; 3] = [2, 8, 0];

#[tokio::test(flavor = "multi_thread")]
async fn when_many_renew_again_and_again_all_keep_their_reservations() {
    const CLIENTS: usize = 20;
    const RENEWALS: u32 = 6;
    // The end is told in whole seconds: with one there would be nothing left of some reservations.
    let (relay, address) = listening_relay(config(Duration::from_secs(2))).await;
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

/// Pins a defect of libp2p-relay 0.22: while a renewal is on its way from the connection's task to the behaviour and
/// back, the old reservation ends, the behaviour forgets the connection, and takes for impossible what comes next.
/// Whoever asks again at the right moment ends the relay; here a rate limiter that thinks for long makes every moment
/// right. When this test fails, libp2p has mended it.
#[tokio::test]
#[should_panic(expected = "valid connection")]
async fn when_a_reservation_ends_while_it_is_renewed_libp2ps_relay_panics() {
    const LIFETIME: Duration = Duration::from_secs(1);
    let mut asked = 0;
    let think = move |_: PeerId, _: &Multiaddr, _: web_time::Instant| {
        asked += 1;
        if asked > 1 {
            std::thread::sleep(LIFETIME);
        }
        true
    };
    let limits = relay::Config {
        reservation_rate_limiters: vec![Box::new(think)],
        ..config(LIFETIME)
    };
    let (mut relay, address) = listening_relay(limits).await;
    // On this one thread, so that nothing goes on while the limiter thinks; the panic is the relay's, not the client's.
    let client = tokio::spawn(async move {
        let (mut swarm, relay) = connect(&address).await;
        reserve(&mut swarm, relay).await;
        reserve(&mut swarm, relay).await;
    });
    drive(&mut relay, client).await.unwrap();
}

/// Limits as ours: none that could be met here.
fn config(lifetime: Duration) -> relay::Config {
    relay::Config {
        max_reservations: usize::MAX,
        reservation_duration: lifetime,
        reservation_rate_limiters: Vec::new(),
        ..relay::Config::default()
    }
}

/// A relay on loopback that is nothing but libp2p's behaviour.
async fn listening_relay(config: relay::Config) -> (Swarm<relay::Behaviour>, Multiaddr) {
    let mut swarm = swarm(|local| relay::Behaviour::new(local, config));
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

fn serve(mut relay: Swarm<relay::Behaviour>) -> JoinHandle<()> {
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
    let mut until = std::pin::pin!(until);
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
