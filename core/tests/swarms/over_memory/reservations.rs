//! `Reservations` in a swarm that is not ours.

use libp2p::{
    Multiaddr,
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use peerway_core::{
    behaviours::ReservationsEvent,
    reservation::{RelayEvent, RelayFailure, RelaySpec},
};

use crate::support::{Own, OwnEvent, Relay, Running, own, own_with, stock};

pub(crate) async fn until_reserved(peer: &mut Running<Own>, relay: &Relay) {
    let wanted = relay.running.id;
    peer.until("reserved", |event| match event {
        SwarmEvent::Behaviour(OwnEvent::Reservations(ReservationsEvent::Relay(RelayEvent::Reserved {
            peer, ..
        }))) if peer == wanted => Some(()),
        _ => None,
    })
    .await;
}

async fn until_lost(peer: &mut Running<Own>) -> RelayFailure {
    peer.until("lost", |event| match event {
        SwarmEvent::Behaviour(OwnEvent::Reservations(ReservationsEvent::Relay(RelayEvent::Lost {
            reason, ..
        }))) => Some(reason),
        _ => None,
    })
    .await
}

/// A stock peer reaches `peer` through `relay`.
async fn assert_reachable(peer: &Running<Own>, relay: &Relay) {
    let mut guest = stock();
    let through = relay
        .address
        .clone()
        .with(Protocol::P2p(relay.running.id))
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(peer.id));
    let options = DialOpts::peer_id(peer.id).addresses(vec![through]).build();
    guest.with(move |swarm| swarm.dial(options)).await.unwrap();
    let wanted = peer.id;
    let endpoint = guest
        .until("a circuit", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if peer_id == wanted => Some(endpoint),
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("no circuit: {error}"),
            _ => None,
        })
        .await;
    assert!(endpoint.is_relayed());
}

#[tokio::test]
async fn a_relay_that_is_added_is_reserved_and_strangers_get_through_it() {
    let relay = Relay::start().await;
    let mut peer = own(&relay);
    until_reserved(&mut peer, &relay).await;
    assert_reachable(&peer, &relay).await;
    let held = peer.with(|swarm| swarm.behaviour().reservations.held()).await;
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].peer, &held[0].address), (relay.running.id, &relay.address));
}

#[tokio::test]
async fn when_the_relay_drops_the_connection_the_reservation_is_had_again() {
    let mut relay = Relay::start().await;
    let mut peer = own(&relay);
    until_reserved(&mut peer, &relay).await;
    let dropped = peer.id;
    relay
        .running
        .with(move |swarm| swarm.disconnect_peer_id(dropped))
        .await
        .unwrap();
    assert_eq!(until_lost(&mut peer).await, RelayFailure::Disconnected);
    until_reserved(&mut peer, &relay).await;
    assert_reachable(&peer, &relay).await;
}

#[tokio::test]
async fn when_the_relay_restarts_the_reservation_is_had_again() {
    let relay = Relay::start().await;
    let mut peer = own(&relay);
    until_reserved(&mut peer, &relay).await;
    let (key, address) = (relay.key.clone(), relay.address.clone());
    relay.stop().await;
    until_lost(&mut peer).await;
    let relay = Relay::start_as(key, address).await;
    until_reserved(&mut peer, &relay).await;
    assert_reachable(&peer, &relay).await;
}

#[tokio::test]
async fn when_nothing_answers_at_an_address_the_next_one_is_tried() {
    let relay = Relay::start().await;
    let gone = Relay::start().await;
    let nowhere = gone.address.clone();
    gone.stop().await;
    let mut peer = own_with(Keypair::generate_ed25519());
    let spec = RelaySpec {
        peer: None,
        addrs: vec![nowhere, relay.address.clone()],
    };
    peer.with(|swarm| swarm.behaviour_mut().reservations.add_relay(spec))
        .await
        .unwrap();
    until_reserved(&mut peer, &relay).await;
}

#[tokio::test]
async fn when_a_relay_is_removed_its_connection_is_closed_and_its_addresses_expire() {
    let relay = Relay::start().await;
    let mut peer = own(&relay);
    until_reserved(&mut peer, &relay).await;
    let key = peer.with(|swarm| {
        let again = RelaySpec {
            peer: swarm.behaviour().reservations.held().first().map(|held| held.peer),
            addrs: vec![Multiaddr::empty().with(Protocol::Memory(1))],
        };
        swarm.behaviour_mut().reservations.add_relay(again)
    });
    let key = key.await.unwrap();
    peer.with(move |swarm| swarm.behaviour_mut().reservations.remove_relay(key))
        .await;
    let wanted = relay.running.id;
    let (mut closed, mut expired) = (false, false);
    peer.until("given up", |event| {
        match event {
            SwarmEvent::ConnectionClosed { peer_id, .. } => closed |= peer_id == wanted,
            SwarmEvent::ListenerClosed { .. } => expired = true,
            _ => {}
        }
        (closed && expired).then_some(())
    })
    .await;
    let left = peer.with(|swarm| (swarm.listeners().count(), swarm.behaviour().reservations.held().len()));
    assert_eq!(left.await, (0, 0));
}

#[tokio::test]
async fn when_the_relay_has_dialled_us_its_connection_is_used_and_outlives_the_slot() {
    let mut relay = Relay::start().await;
    let mut peer = own_with(Keypair::generate_ed25519());
    let (id, at) = (peer.id, peer.listen().await);
    let options = DialOpts::peer_id(id).addresses(vec![at]).build();
    relay.running.with(move |swarm| swarm.dial(options)).await.unwrap();
    let wanted = relay.running.id;
    peer.until("the relay is here", |event| {
        matches!(event, SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == wanted).then_some(())
    })
    .await;
    // Nobody is there: whoever dials fails.
    let nowhere = Multiaddr::empty().with(Protocol::Memory(1));
    for _ in 0..2 {
        let spec = RelaySpec {
            peer: Some(wanted),
            addrs: vec![nowhere.clone()],
        };
        let added = peer
            .with(|swarm| swarm.behaviour_mut().reservations.add_relay(spec))
            .await;
        until_reserved(&mut peer, &relay).await;
        assert_reachable(&peer, &relay).await;
        let key = added.unwrap();
        peer.with(move |swarm| swarm.behaviour_mut().reservations.remove_relay(key))
            .await;
        peer.until("its addresses are gone", |event| {
            matches!(event, SwarmEvent::ListenerClosed { .. }).then_some(())
        })
        .await;
        assert!(peer.with(move |swarm| swarm.is_connected(&wanted)).await);
    }
}

#[tokio::test]
async fn a_peer_that_is_no_relay_is_told_apart() {
    let mut peer = own_with(Keypair::generate_ed25519());
    let mut no_relay = own_with(Keypair::generate_ed25519());
    let address = no_relay.listen().await;
    let spec = RelaySpec {
        peer: Some(no_relay.id),
        addrs: vec![address],
    };
    peer.with(|swarm| swarm.behaviour_mut().reservations.add_relay(spec))
        .await
        .unwrap();
    assert_eq!(until_lost(&mut peer).await, RelayFailure::NotARelay);
}
