//! Peers that meet through the relay: reservations and circuits over each of its transports.

use libp2p::{Multiaddr, identify, multiaddr::Protocol, ping, swarm::SwarmEvent};

use crate::support::{Peer, PeerBehaviourEvent, TestRelay, admin, eventually, try_anew};

/// One peer reserves over `transport`, another one reaches it through the relay over the same.
async fn meet_over(transport: &str) {
    let relay = TestRelay::start().await;
    let address = relay.address(transport);
    let mut host = peer(transport).await;
    let relayed = host.reserve(&address).await;
    assert!(relayed.iter().any(|part| part == Protocol::P2pCircuit), "{relayed}");
    assert_eq!(relay.relay.status().await.unwrap().reservations, 1);

    let mut guest = peer(transport).await;
    let host_id = host.id();
    let through: Multiaddr = address.with(Protocol::P2pCircuit).with(Protocol::P2p(host_id));
    guest.swarm.dial(through).unwrap();
    let (mut circuit, mut said) = (None, false);
    let talks = guest.until("the host answers over the circuit", |event| match event {
        SwarmEvent::ConnectionEstablished {
            peer_id,
            endpoint,
            connection_id,
            ..
        } if peer_id == host_id => {
            assert!(endpoint.is_relayed());
            circuit = Some(connection_id);
            None
        }
        SwarmEvent::OutgoingConnectionError { error, .. } => panic!("no circuit over {transport}: {error}"),
        SwarmEvent::Behaviour(PeerBehaviourEvent::Identify(identify::Event::Received {
            connection_id, info, ..
        })) if Some(connection_id) == circuit => {
            said = info.public_key.to_peer_id() == host_id;
            None
        }
        SwarmEvent::Behaviour(PeerBehaviourEvent::Ping(ping::Event {
            connection,
            result: Ok(_),
            ..
        })) if Some(connection) == circuit => said.then_some(()),
        _ => None,
    });
    tokio::select! {
        () = talks => {}
        () = host.until("never", |_| None) => unreachable!("the host only serves"),
    }
    let stats: serde_json::Value = serde_json::from_slice(&admin(&relay, "/stats").await.body).unwrap();
    let carried = &stats["totals"];
    for direction in ["bytesToDestination", "bytesToSource"] {
        assert!(carried[direction].as_u64() > Some(1_000), "{carried}");
    }
}

/// A peer that can dial over `transport`. The native WebRTC transport dials only from a socket that it listens on.
async fn peer(transport: &str) -> Peer {
    let mut peer = Peer::new();
    if transport == "webrtc-direct" {
        peer.swarm
            .listen_on("/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap())
            .unwrap();
        let listens = |event| matches!(event, SwarmEvent::NewListenAddr { .. }).then_some(());
        peer.until("the peer listens", listens).await;
    }
    peer
}

#[tokio::test]
async fn peers_meet_over_websocket_on_the_pages_port() {
    meet_over("ws").await;
}

#[tokio::test]
async fn peers_meet_over_tcp() {
    meet_over("tcp").await;
}

#[tokio::test]
async fn peers_meet_over_quic() {
    meet_over("quic-v1").await;
}

#[tokio::test]
async fn peers_meet_over_webrtc_direct() {
    try_anew(async || meet_over("webrtc-direct").await).await;
}

#[tokio::test]
async fn when_reserved_the_addresses_are_those_that_the_relay_announces() {
    let relay = TestRelay::start().await;
    let mut host = Peer::new();
    host.reserve(&relay.address("ws")).await;
    // Each comes in an event of its own; the first was waited for.
    let listeners = async || {
        let _ = tokio::time::timeout(
            std::time::Duration::from_millis(10),
            host.until("never", |_| None::<()>),
        )
        .await;
        let found: Vec<Multiaddr> = host.swarm.listeners().cloned().collect();
        (found.len() == relay.relay.addresses().len()).then_some(found)
    };
    let mut found = eventually("all addresses are there", listeners).await;
    let circuit = |address: &Multiaddr| {
        address
            .clone()
            .with(Protocol::P2pCircuit)
            .with(Protocol::P2p(host.id()))
    };
    let mut announced: Vec<_> = relay.relay.addresses().iter().map(circuit).collect();
    found.sort();
    announced.sort();
    assert_eq!(found, announced);
}

#[tokio::test]
async fn when_the_holder_is_gone_its_reservation_is_no_longer_counted() {
    let relay = TestRelay::start().await;
    let mut host = Peer::new();
    host.reserve(&relay.address("tcp")).await;
    drop(host);
    eventually("the reservation is gone", async || {
        let status = relay.relay.status().await.unwrap();
        (status.reservations == 0 && status.connected == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_the_relay_shuts_down_its_peers_are_told() {
    let relay = TestRelay::start().await;
    let mut host = Peer::new();
    host.reserve(&relay.address("ws")).await;
    let relay_id = relay.relay.peer_id();
    let http = relay.relay.http_addr();
    relay.relay.shutdown().await;
    host.until("the connection closes", |event| match event {
        SwarmEvent::ConnectionClosed { peer_id, .. } if peer_id == relay_id => Some(()),
        _ => None,
    })
    .await;
    assert!(tokio::net::TcpStream::connect(http).await.is_err());
}
