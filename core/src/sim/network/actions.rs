//! What engines ask for, done in the simulated network.

use super::{Delivery, Network};
use crate::{
    dial::Disconnection,
    engine::{Action, PublishKey},
    sim::{NodeId, RelayId},
};

impl Network {
    pub(super) fn carry_out_actions(&mut self, node: NodeId) {
        while let Some(action) = self.nodes[node.0].engine.poll_action() {
            match action {
                Action::Dial { key, peer, address } => self.soon(Delivery::Dialed {
                    node,
                    key,
                    peer,
                    address,
                }),
                Action::Listen { relay: key, address } => {
                    if let Some(relay) = self.relay_at(&address) {
                        self.nodes[node.0].listeners.insert(key, relay);
                        self.soon(Delivery::ReservationAsked { node, relay, key });
                    }
                }
                Action::StopListening { relay } => {
                    if let Some(at) = self.nodes[node.0].listeners.remove(&relay) {
                        self.relays[at.0].reserved.remove(&node);
                    }
                }
                Action::Close { connection } => self.close(node, connection, Disconnection::Clean),
                Action::Subscribe { topic } => self.subscribe(node, topic),
                Action::Unsubscribe { topic } => {
                    self.nodes[node.0].topics.remove(&topic);
                    for relay in &mut self.relays {
                        if let Some(topics) = relay.topics.get_mut(&node) {
                            topics.remove(&topic);
                        }
                    }
                }
                Action::Publish { key, topic, data } => self.publish(node, &key, &topic, &data),
                // No simulated relay asks for tokens.
                Action::Present { relay, .. } => {
                    let now = self.now;
                    self.nodes[node.0].engine.handle_token_answer(relay, None, now);
                }
                Action::RequestSnapshot { relay } => {
                    if let Some(relay) = self.relay_of(relay) {
                        self.soon(Delivery::SnapshotAsked { node, relay });
                    }
                }
                Action::Report(event) => {
                    let now = self.now;
                    let _ = self.nodes[node.0].view.apply(&event, now);
                    self.nodes[node.0].events.push(event);
                }
            }
        }
    }

    pub(super) fn subscribe(&mut self, node: NodeId, topic: String) {
        self.nodes[node.0].topics.insert(topic.clone());
        let relays: Vec<RelayId> = self.nodes[node.0].relays().collect();
        for relay in relays {
            let topics = self.relays[relay.0].topics.entry(node).or_default();
            topics.insert(topic.clone());
        }
    }

    pub(super) fn publish(&mut self, node: NodeId, key: &PublishKey, topic: &str, data: &[u8]) {
        let relays: Vec<RelayId> = self.nodes[node.0].relays().collect();
        let now = self.now;
        if relays.is_empty() {
            self.nodes[node.0].engine.handle_publish_failed(key, now);
            return;
        }
        self.nodes[node.0].next_sequence += 1;
        let sequence = self.nodes[node.0].next_sequence;
        for relay in relays {
            self.soon(Delivery::GossipAtRelay {
                relay,
                by: node,
                sequence,
                topic: topic.to_owned(),
                data: data.to_vec(),
            });
        }
        self.nodes[node.0].engine.handle_published(key, now);
    }
}
