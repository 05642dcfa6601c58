//! Whole nodes over a memory relay: they meet, talk, part, and hear those that are made of layer 2 alone.

use std::time::Duration;

use libp2p::{PeerId, gossipsub::IdentTopic, identity::Keypair, swarm::SwarmEvent};
use peerway_core::{
    chat::RoomName,
    dial::Route,
    node::{self, Event, Events, Node},
    transport,
};
use tokio::time::timeout;

use super::discovery::until_discovered;
use crate::support::{Relay, first, own, pingless};

struct Peer {
    node: Node,
    events: Events,
}

impl Peer {
    fn start(relay: &Relay) -> Self {
        let key = Keypair::generate_ed25519();
        let transports = transport::memory(&key).unwrap();
        let (node, events, event_loop) = node::builder(key)
            .transports(transports)
            .relay(relay.spec())
            .room(RoomName::default())
            .build()
            .unwrap();
        tokio::spawn(event_loop.run());
        Self { node, events }
    }

    fn id(&self) -> PeerId {
        self.node.local_peer_id()
    }

    async fn until<T>(&mut self, what: &str, wanted: impl FnMut(Event) -> Option<T>) -> T {
        first(&mut self.events, what, wanted).await
    }

    async fn until_discovered(&mut self, wanted: PeerId) {
        self.until("discovered", |event| match event {
            Event::PeerDiscovered { peer, .. } if peer == wanted => Some(()),
            _ => None,
        })
        .await;
    }

    async fn until_connected(&mut self, wanted: PeerId) -> Route {
        self.until("connected", |event| match event {
            Event::RouteChanged { peer, route } if peer == wanted => route,
            _ => None,
        })
        .await
    }

    async fn until_heard(&mut self, text: &str) {
        self.until("heard", |event| match event {
            Event::MessageReceived { message, .. } if message.text == text && !message.own => Some(()),
            _ => None,
        })
        .await;
    }

    async fn say(&self, text: &str) {
        let said = self.node.say(RoomName::default(), text.to_owned()).await;
        said.unwrap().unwrap();
    }
}

#[tokio::test]
async fn two_nodes_meet_on_a_circuit_and_a_line_goes_both_ways() {
    let mut relay = Relay::start().await;
    // No gossip runs on a circuit: the relay passes the room on.
    relay.follow(IdentTopic::new(RoomName::default().topic())).await;
    let (mut a, mut b) = (Peer::start(&relay), Peer::start(&relay));
    let (a_id, b_id) = (a.id(), b.id());
    let through = Route::Circuit {
        relay: relay.running.id,
    };
    a.until_discovered(b_id).await;
    assert_eq!(a.until_connected(b_id).await, through);
    assert_eq!(b.until_connected(a_id).await, through);
    a.say("from a").await;
    b.until_heard("from a").await;
    b.say("from b").await;
    a.until_heard("from b").await;
}

#[tokio::test]
async fn when_a_node_shuts_down_the_other_hears_that_it_is_gone() {
    let relay = Relay::start().await;
    let (mut a, b) = (Peer::start(&relay), Peer::start(&relay));
    let b_id = b.id();
    a.until_connected(b_id).await;
    b.node.shutdown().await;
    a.until("gone", |event| match event {
        Event::PeerGone { peer } if peer == b_id => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_node_and_a_swarm_of_layer_two_hear_of_each_other_and_connect() {
    let relay = Relay::start().await;
    let mut node = Peer::start(&relay);
    let mut swarm = own(&relay);
    let (node_id, swarm_id) = (node.id(), swarm.id);
    until_discovered(&mut swarm, node_id).await;
    let through = Route::Circuit {
        relay: relay.running.id,
    };
    assert_eq!(node.until_connected(swarm_id).await, through);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_ping_stays_connected() {
    /// A node pings at once, and closes a connection at the first ping that fails.
    const LONG_ENOUGH: Duration = Duration::from_secs(1);

    let relay = Relay::start().await;
    let (mut node, mut peer) = (Peer::start(&relay), pingless());
    node.until("reserved", |event| match event {
        Event::RelayReserved { .. } => Some(()),
        _ => None,
    })
    .await;
    let (node_id, circuit) = (node.id(), relay.circuit_to(node.id()));
    peer.with(|swarm| swarm.dial(circuit)).await.unwrap();
    peer.until("connected", |event| match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == node_id => Some(()),
        _ => None,
    })
    .await;
    let closed = peer.until("closed", |event| match event {
        SwarmEvent::ConnectionClosed { cause, .. } => Some(cause),
        _ => None,
    });
    if let Ok(cause) = timeout(LONG_ENOUGH, closed).await {
        panic!("closed: {cause:?}");
    }
}
