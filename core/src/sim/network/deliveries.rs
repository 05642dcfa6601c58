//! What arrives, and what it does to the node it arrives at.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::ConnectionId};
use rand::Rng;

use super::{Network, circuit};
use crate::{
    announcement::Announcement,
    dial::{DialFailure, Disconnection},
    engine::{DialKey, Ping},
    protocol,
    reservation::{RelayFailure, RelayKey},
    sim::{GOSSIP_OVERHEAD, NodeId, RelayId, relay::RelayState},
    snapshot::Snapshot,
};

/// Something that happens to a node at a time.
pub(super) enum Delivery {
    Dialed {
        node: NodeId,
        key: DialKey,
        peer: Option<PeerId>,
        address: Multiaddr,
    },
    DialTimedOut {
        node: NodeId,
        key: DialKey,
        peer: Option<PeerId>,
        address: Multiaddr,
    },
    ReservationAsked {
        node: NodeId,
        relay: RelayId,
        key: RelayKey,
    },
    ReservationAnswered {
        node: NodeId,
        relay: RelayId,
        key: RelayKey,
    },
    Subscribed {
        node: NodeId,
        relay: RelayId,
        topic: String,
    },
    Gossip {
        node: NodeId,
        from: PeerId,
        sequence: u64,
        topic: String,
        data: Vec<u8>,
    },
    GossipAtRelay {
        relay: RelayId,
        by: NodeId,
        sequence: u64,
        topic: String,
        data: Vec<u8>,
    },
    SnapshotAsked {
        node: NodeId,
        relay: RelayId,
    },
    Snapshot {
        node: NodeId,
        snapshot: Snapshot,
    },
    Ping {
        node: NodeId,
        connection: ConnectionId,
    },
    PingLost {
        node: NodeId,
        connection: ConnectionId,
    },
    Closed {
        node: NodeId,
        connection: ConnectionId,
        how: Disconnection,
    },
}
impl Network {
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Dialed {
                node,
                key,
                peer,
                address,
            } => self.dial(node, key, peer, address),
            Delivery::DialTimedOut {
                node,
                key,
                peer,
                address,
            } => {
                self.dial_failed(node, key, peer, &address, RelayFailure::TimedOut, DialFailure::TimedOut);
            }
            Delivery::ReservationAsked { node, relay, key } => {
                let reachable = self.relays[relay.0].connected.contains(&node) && !self.is_silent(node);
                if reachable {
                    self.relays[relay.0].reserved.insert(node);
                    self.soon(Delivery::ReservationAnswered { node, relay, key });
                }
            }
            Delivery::ReservationAnswered { node, relay, key } => {
                if self.nodes[node.0].to_relay(relay).is_some() && !self.is_silent(node) {
                    let peer = self.relays[relay.0].peer;
                    let address = circuit(&self.relays[relay.0]).with(Protocol::P2p(self.nodes[node.0].peer));
                    let engine = &mut self.nodes[node.0].engine;
                    engine.handle_reservation_accepted(peer, now);
                    engine.handle_listen_address(key, address, now);
                    self.carry_out(node);
                }
            }
            Delivery::Subscribed { node, relay, topic } => {
                if self.nodes[node.0].to_relay(relay).is_some() && !self.is_silent(node) {
                    let peer = self.relays[relay.0].peer;
                    self.nodes[node.0].engine.handle_subscribed(peer, &topic, now);
                    self.carry_out(node);
                }
            }
            Delivery::Gossip {
                node,
                from,
                sequence,
                topic,
                data,
            } => {
                if !self.is_silent(node) {
                    if topic == protocol::DISCOVERY_TOPIC {
                        self.nodes[node.0].discovery_bytes += data.len() + GOSSIP_OVERHEAD;
                    }
                    let engine = &mut self.nodes[node.0].engine;
                    engine.handle_gossip(from, Some(sequence), &topic, &data, now);
                    self.carry_out(node);
                }
            }
            Delivery::GossipAtRelay {
                relay,
                by,
                sequence,
                topic,
                data,
            } => {
                self.forward(relay, by, sequence, &topic, &data);
            }
            Delivery::SnapshotAsked { node, relay } => {
                if self.relays[relay.0].connected.contains(&node) && !self.is_silent(node) {
                    let snapshot = self.relays[relay.0].recent.answer(now);
                    self.soon(Delivery::Snapshot { node, snapshot });
                }
            }
            Delivery::Snapshot { node, snapshot } => {
                if !self.is_silent(node) {
                    let size = serde_json::to_vec(&snapshot).map(|json| json.len()).unwrap_or_default();
                    self.nodes[node.0].discovery_bytes += size;
                    self.nodes[node.0].engine.handle_snapshot(&snapshot, now);
                    self.carry_out(node);
                }
            }
            Delivery::Ping { node, connection } => self.ping(node, connection),
            Delivery::PingLost { node, connection } => self.tell_ping(node, connection, Ping::Lost),
            Delivery::Closed { node, connection, how } => self.closed(node, connection, how),
        }
    }

    pub(super) fn forward(&mut self, relay: RelayId, by: NodeId, sequence: u64, topic: &str, data: &[u8]) {
        let from = self.nodes[by.0].peer;
        if self.is_silent(by) || self.relays[relay.0].state == RelayState::Down {
            return;
        }
        let now = self.now;
        if topic == protocol::DISCOVERY_TOPIC {
            let Ok(announcement) = Announcement::decode(from, data) else {
                return;
            };
            self.relays[relay.0]
                .recent
                .handle_announcement(&announcement, Some(sequence), now);
        }
        let subscribers: Vec<NodeId> = self.relays[relay.0]
            .topics
            .iter()
            .filter(|(node, topics)| **node != by && topics.contains(topic))
            .map(|(node, _)| *node)
            .collect();
        for node in subscribers {
            if !self.rng.random_bool(self.link.gossip_loss) {
                self.soon(Delivery::Gossip {
                    node,
                    from,
                    sequence,
                    topic: topic.to_owned(),
                    data: data.to_vec(),
                });
            }
        }
    }
}
